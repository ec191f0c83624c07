//! The command line: what can be written, and what it asks for.
//!
//! Each command has the options that it uses and no others, and a value that it cannot take is refused by name rather than bent
//! into range: whoever asks for one run must not be given another.

mod experiments;
mod values;
mod whole;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rdb_net_sim::report::Format;

use crate::experiment::Experiment;
use crate::storms::Storms;
use experiments::ExperimentCommand;
use values::SEED_MAX;
use whole::{ScenarioOptions, StormOptions};

const AFTER_HELP: &str = "\
Of the experiments, which are all other commands, `idle` and `killed` are of whole nodes too; the others measure the membership \
protocol alone. What a command takes, and by default: rdb-net-sim COMMAND --help.

Exit codes:
  0  everything was as it must be
  1  it was not
  2  the command line is wrong";

/// Runs scenarios, storms and experiments on a simulated cluster, and tells for what fails the command that does it again.
#[derive(Debug, Parser)]
#[command(name = "rdb-net-sim", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the scenarios.
    List,
    /// Does something to a cluster of whole nodes, of which something must come within a time.
    Scenario(ScenarioOptions),
    /// Plays what a seed draws: 5 to 50 whole nodes, two to five faults, ten simulated minutes; every rule must hold of it.
    Storm(StormOptions),
    #[command(flatten)]
    Experiment(ExperimentCommand),
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    List,
    Scenarios { names: Vec<&'static str>, nodes: usize, first: u64, seeds: u64, json: bool },
    Storms(Storms),
    Experiment { experiment: Experiment, format: Format, picture: Option<PathBuf> },
}

/// What these words ask for, the program's name first.
///
/// # Errors
///
/// Says what is wrong, and how it is used; or it is the help that was asked for.
pub(crate) fn parse(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Task, clap::Error> {
    let matches = definition().try_get_matches_from(words)?;
    let command = Arguments::from_arg_matches(&matches)?.command;
    let task = match command {
        Command::List => Ok(Task::List),
        Command::Scenario(options) => options.task(),
        Command::Storm(options) => options.task(),
        Command::Experiment(command) => command.task(),
    };
    task.map_err(Discord::told)
}

/// What can be written. That a number below zero is none that an option takes is told of the option, as of any other value.
fn definition() -> clap::Command {
    Arguments::command().mut_subcommands(|command| command.mut_args(|argument| argument.allow_negative_numbers(true)))
}

/// Options of which each is legal, and which do not go together.
#[derive(Debug)]
struct Discord {
    command: &'static str,
    option: &'static str,
    value: u64,
    why: String,
}

impl Discord {
    /// In the words of the parser, with the usage of the command.
    fn told(self) -> clap::Error {
        let Self { command, option, value, why } = self;
        let message = format!("invalid value '{value}' for '{option}': {why}");
        let mut arguments = definition();
        arguments.build();
        match arguments.find_subcommand_mut(command) {
            Some(command) => command.error(ErrorKind::ValueValidation, message),
            None => arguments.error(ErrorKind::ValueValidation, message),
        }
    }
}

/// Each seed must be one that can be given, to play it again.
fn check_last(command: &'static str, first: u64, seeds: u64) -> Result<(), Discord> {
    let most = SEED_MAX - first + 1;
    if seeds <= most {
        return Ok(());
    }
    let why = format!("the last seed is {SEED_MAX}, so no more than {most} begin with {first}");
    Err(Discord { command, option: "--seeds <K>", value: seeds, why })
}

#[cfg(test)]
mod tests;
