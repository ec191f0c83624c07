//! `demo`: scenarios of failing clusters on this machine.

use crate::cli::DemoOptions;
use crate::exit::Failure;
use crate::output::Output;

pub(crate) fn run(_options: DemoOptions, _output: Output) -> Result<(), Failure> {
    Err(Failure::other("demo: not built yet"))
}
