//! `cargo xtask sim`: the simulator in release mode, with the caller's arguments.

use crate::failure::Failure;
use crate::house::House;
use crate::process;

/// Builds and runs the simulator.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let mut command = process::cargo(house, &["run", "--release", "-p", "rdb-net-sim", "--"]);
    process::run(command.args(arguments))
}
