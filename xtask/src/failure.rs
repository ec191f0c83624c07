//! Why a command ended without success, and the exit code that says so.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is wrong; the caller corrects it.
    #[error("{0}")]
    Usage(String),
    /// A program ran and reported a failure; its own output says why.
    #[error("`{command}` failed ({status})")]
    Program { command: String, status: ExitStatus },
    /// A program could not be started at all.
    #[error("`{command}` could not be started")]
    Start {
        command: String,
        #[source]
        source: std::io::Error,
    },
    /// A file of the workspace could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// Cargo could not describe the workspace; a manifest is probably broken.
    #[error("the workspace cannot be read: {0}")]
    Workspace(#[from] cargo_metadata::Error),
    /// A check found something; the text tells what.
    #[error("{0}")]
    Check(String),
}

impl Failure {
    /// 2 for a wrong command line, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }

    /// Success when nothing was found; otherwise prints the findings and fails with `what` and their number.
    pub(crate) fn unless_empty<T: std::fmt::Display>(what: &str, findings: &[T]) -> Result<(), Self> {
        for finding in findings {
            println!("  {finding}");
        }
        match findings.len() {
            0 => Ok(()),
            1 => Err(Self::Check(format!("{what}: 1 finding"))),
            count => Err(Self::Check(format!("{what}: {count} findings"))),
        }
    }
}

/// Whether `--deny-skips` is given; refuses everything else.
pub(crate) fn only_deny_skips(command: &str, arguments: &[String]) -> Result<bool, Failure> {
    match arguments {
        [] => Ok(false),
        [flag] if flag == "--deny-skips" => Ok(true),
        own => Err(Failure::Usage(format!("`{command}` takes --deny-skips; it was given `{}`", own.join(" ")))),
    }
}

/// Refuses arguments that a command does not take.
pub(crate) fn no_arguments(command: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(Failure::Usage(format!("`{command}` does not take `{argument}`"))),
    }
}
