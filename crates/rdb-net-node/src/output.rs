//! Results on stdout: as a table or as JSON.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::cli::Format;
use crate::exit::Failure;

/// Where results go, and how they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Writes a result: for people as `table` writes it, for programs as it is, in one line.
    pub(crate) fn result<T: Serialize>(self, result: &T, table: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        if self.is_json() { self.json(result) } else { self.text(&table(result)) }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Writes a result for programs, whatever was asked for.
    pub(crate) fn json<T: Serialize>(self, result: &T) -> Result<(), Failure> {
        let json = serde_json::to_string(result).map_err(Failure::other)?;
        self.text(&json)
    }

    /// Writes text as it is, and ends its last line.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let line_end = if text.ends_with('\n') { "" } else { "\n" };
        match write!(stdout, "{text}{line_end}").and_then(|()| stdout.flush()) {
            // Whoever reads has seen enough, as in `rdbnet members | head -1`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Failure::Other(format!("cannot write to stdout: {error}"))),
        }
    }
}

/// Tells people something that is no result.
pub(crate) fn note(text: &str) {
    // A note that nobody can read changes nothing.
    let _ = writeln!(io::stderr().lock(), "rdbnet: {text}");
}
