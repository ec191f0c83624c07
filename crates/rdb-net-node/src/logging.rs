//! Logs on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// What is logged where nobody said so.
const DEFAULT_LEVEL: &str = "info";

/// Checks `--log-level`.
pub(crate) fn parse_level(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging: as the flag says, else as `RUST_LOG` says, else from INFO on. Colours only for a terminal, and not where
/// `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn start(level: Option<&str>) {
    let named = level.map(str::to_owned).or_else(|| std::env::var(EnvFilter::DEFAULT_ENV).ok());
    let named = named.filter(|level| !level.is_empty());
    let filter = EnvFilter::new(named.as_deref().unwrap_or(DEFAULT_LEVEL));
    let has_colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(has_colour).finish();
    // Fails only where a subscriber was set before, and then that one stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
