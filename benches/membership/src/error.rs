//! What can go wrong with a run.

use std::io;

/// Why a run ends without figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, a socket or a process.
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    /// A tool of the system refused. Network namespaces need root, iproute2 and nftables.
    #[error("{command}: {told}")]
    Tool { command: String, told: String },
    /// A cluster did not come to what was waited for.
    #[error("{system}: {what} did not come within {secs} s: {left} are missing")]
    Waited { system: &'static str, what: String, secs: u64, left: usize },
    /// A part of the run ended in a panic.
    #[error("{0} ended in a panic")]
    Panicked(&'static str),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}
