//! `rdbnet`: a node of the networking layer as a process, and the command line that asks a running one.
//!
//! Results go to stdout, as a table for people or as JSON for programs; everything else goes to stderr. The exit codes are in
//! [`exit`] and do not change.

mod cli;
mod client;
mod config_command;
mod demo;
mod doctor;
mod exit;
mod logging;
mod output;
#[cfg(feature = "tls")]
mod pki;
mod query;
mod render;
mod run;

use std::process::ExitCode;

use clap::Parser;

use cli::{Arguments, Command, DiscoveryCommand};
use exit::Failure;
use output::Output;

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let arguments = Arguments::parse();
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    let output = Output::new(arguments.output);
    match arguments.command {
        Command::Node(options) => run_node(run::run(options, output)),
        Command::Members(asked) => block_on(query::members(asked, output)),
        Command::Status(asked) => block_on(query::status(asked, output)),
        Command::Config(command) => config_command::run(command, output),
        Command::Discovery(DiscoveryCommand::Doctor(options)) => block_on(doctor::run(options, output)),
        #[cfg(feature = "tls")]
        Command::Pki(command) => pki::run(command, output),
        Command::Completions { shell } => output.text(&cli::completions(shell)),
        Command::Demo(options) => block_on(demo::run(options, output)),
        Command::DemoNode(options) => run_node(demo::run_node(options)),
    }
}

/// Runs a node, with a thread for each processor.
fn run_node(node: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::runtime)?;
    let result = runtime.block_on(Box::pin(node));
    // After a second signal nothing is waited for.
    runtime.shutdown_background();
    result
}

/// Runs what mostly waits, such as a question to a node: it needs no threads.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    runtime.block_on(Box::pin(work))
}
