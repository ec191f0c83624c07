//! The TLS client of OpenSSL, a foreign one: its command line, `openssl s_client`.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::binary::skip;
use crate::python::{Ran, Script};

/// The program `openssl`.
#[derive(Debug, Clone, Copy)]
pub struct Openssl;

impl Openssl {
    /// The `openssl` of the path. Without one the test is skipped: it gets `None` and returns.
    pub fn find() -> Option<Self> {
        let version = Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            skip("there is no openssl: Debian has it in the package of this name");
            return None;
        }
        Some(Self)
    }

    /// Connects to a node, with these options, and says nothing. It ends when the node ends the connection.
    ///
    /// # Panics
    ///
    /// When it goes on for a minute.
    pub fn s_client(self, address: SocketAddr, options: &[&str]) -> Ran {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string()]).args(options);
        // It is asked nothing and never sees the end of its input: only the node ends the connection.
        command.stdin(Stdio::piped());
        Script::start("openssl s_client", command).wait_exit()
    }
}
