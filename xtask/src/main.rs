//! Every command of those who work on this repository: `cargo xtask <command>`.
//!
//! The rules of the house are checked by a program, because a rule that only a document states is broken by the third
//! change. One file per command; `house` reads the workspace, `process` runs cargo.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks through its output")]

mod bench;
mod ci;
mod claims;
mod deny;
mod failure;
mod faults;
mod features;
mod fuzz;
mod house;
mod layers;
mod layout;
mod lint;
mod matrix;
mod process;
mod sim;
mod test;

use std::process::ExitCode;

use failure::Failure;
use house::House;

/// What a command does with the workspace and its arguments.
type Run = fn(&House, &[String]) -> Result<(), Failure>;

/// A command: its name, its arguments as the help shows them, what it does, and the function that does it.
struct Command {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: Run,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        arguments: "[--deny-skips] [-- ARGS]",
        summary: "build what the tests need, then run all of them; ARGS go to the test programs",
        run: test::run,
    },
    Command {
        name: "lint",
        arguments: "",
        summary: "format, clippy, documentation, and the rules of the house for source files",
        run: lint::run,
    },
    Command {
        name: "layers",
        arguments: "",
        summary: "who may import whom; prints the house floor by floor",
        run: layers::run,
    },
    Command {
        name: "features",
        arguments: "[--profile NAME|--crate NAME]",
        summary: "profiles of rdb-net-manager, and every library by itself: what is not used is not compiled",
        run: features::run,
    },
    Command {
        name: "claims",
        arguments: "[--deny-skips]",
        summary: "what the documents claim is shown by tests that passed in the last run, and by commands",
        run: claims::run,
    },
    Command {
        name: "bench",
        arguments: "[NAME] [ARGS]",
        summary: "run a program of the benches in release mode: race (the default), micro, membership, ...",
        run: bench::run,
    },
    Command {
        name: "sim",
        arguments: "[ARGS]",
        summary: "run the simulator in release mode; --seeds N plays N storms, nothing some with fresh seeds for 20 s",
        run: sim::run,
    },
    Command {
        name: "faults",
        arguments: "",
        summary: "play the table of faults in network namespaces for its whole length: some six minutes",
        run: faults::run,
    },
    Command {
        name: "layout",
        arguments: "PROGRAM FILE...",
        summary: "put the functions that a node runs side by side in its program, from recordings of callgrind",
        run: layout::run,
    },
    Command {
        name: "fuzz",
        arguments: "[--seconds N] [--target NAME] [--keep]",
        summary: "look for inputs that break a promise, 60 s a target by default; --keep commits to the corpus",
        run: fuzz::run,
    },
    Command {
        name: "deny",
        arguments: "[--deny-skips]",
        summary: "licences, sources, banned crates and advisories, where cargo-deny is installed",
        run: deny::run,
    },
    Command {
        name: "ci",
        arguments: "",
        summary: "test, claims, sim, lint, layers, features and deny in order, with the time of each",
        run: ci::run,
    },
    Command {
        name: "ci-matrix",
        arguments: "",
        summary: "the profiles and crates that CI builds apart from each other, as JSON",
        run: matrix::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(format!("no command is given\n\n{}", help())));
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", help());
        return Ok(());
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(Failure::Usage(format!("there is no command `{name}`\n\n{}", help())));
    };
    let house = House::load()?;
    (command.run)(&house, rest)
}

fn help() -> String {
    let rows = COMMANDS.iter().map(|command| (format!("{} {}", command.name, command.arguments), command.summary));
    let rows: Vec<String> = rows.map(|(usage, summary)| format!("  {usage:<46} {summary}")).collect();
    format!("usage: cargo xtask <command>\n\n{}", rows.join("\n"))
}
