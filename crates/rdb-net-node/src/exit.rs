//! How a command ends when it does not succeed: one clear line on stderr, and a code that scripts can rely on.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::client::ClientError;

/// Why a command had no success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Anything without a code of its own.
    #[error("{0}")]
    Other(String),
    /// The admin listener did not answer, or did so wrongly.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Each thing that is wrong with the configuration.
    #[error("{}", .0.join("\n"))]
    Configuration(Vec<String>),
    /// The node answered that it is unhealthy.
    #[error("{0}")]
    Unhealthy(String),
    /// A source of discovery is away, or what is told differs; each thing was told.
    #[error("{0}")]
    Discovery(String),
}

impl Failure {
    pub(crate) fn other(problem: impl Display) -> Self {
        Self::Other(problem.to_string())
    }

    pub(crate) fn configuration<E: Display>(errors: impl IntoIterator<Item = E>) -> Self {
        Self::Configuration(errors.into_iter().map(|error| error.to_string()).collect())
    }

    /// The threads or the poller of the runtime could not be made.
    pub(crate) fn runtime(error: io::Error) -> Self {
        Self::Other(format!("cannot start the runtime: {error}"))
    }

    /// The code that the process ends with.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Unreachable { .. } | ClientError::Silent { .. }) => 3,
            Self::Other(_) | Self::Client(_) => 1,
            Self::Configuration(_) => 6,
            Self::Unhealthy(_) => 7,
            Self::Discovery(_) => 8,
        }
    }

    /// Tells it on stderr, line by line.
    pub(crate) fn report(&self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        for line in self.to_string().lines() {
            // Nobody is left to be told that stderr is closed; the code still tells.
            let _ = writeln!(stderr, "rdbnet: {line}");
        }
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_documentation() {
        let address = || "127.0.0.1:1".parse().expect("legal");
        let unreachable =
            ClientError::Unreachable { address: address(), cause: io::ErrorKind::ConnectionRefused.into() };
        let refused = ClientError::Refused { address: address(), detail: String::new() };
        for (failure, code) in [
            (Failure::other("x"), 1),
            (refused.into(), 1),
            (unreachable.into(), 3),
            (ClientError::Silent { address: address() }.into(), 3),
            (Failure::configuration(["x"]), 6),
            (Failure::Unhealthy(String::new()), 7),
            (Failure::Discovery(String::new()), 8),
        ] {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
    }
}
