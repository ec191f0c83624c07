//! The program under test: where it is, and running it to its end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Names the binary, built beforehand.
const NODE_BINARY: &str = "RDB_NET_NODE_BIN";
/// Names the binary of the previous release.
const PREVIOUS_BINARY: &str = "RDB_NET_PREVIOUS_BIN";
/// Names the file that collects the tests that could not run.
const SKIPPED_FILE: &str = "RDB_SKIPPED_FILE";

/// The program `rdbnet`.
#[derive(Debug, Clone)]
pub struct Rdbnet {
    path: PathBuf,
}

impl Rdbnet {
    /// The binary that `RDB_NET_NODE_BIN` names, else the one that cargo built beside this test. Without either the test is
    /// skipped: it gets `None` and returns.
    ///
    /// # Panics
    ///
    /// When the variable names something that is not there.
    pub fn find() -> Option<Self> {
        if let Some(named) = Self::named(NODE_BINARY) {
            return Some(named);
        }
        // target/PROFILE/deps/test-HASH, beside target/PROFILE/rdbnet.
        let test = std::env::current_exe().expect("a running test has a path");
        let beside = test.parent().and_then(Path::parent).map(|profile| profile.join("rdbnet"));
        let found = beside.filter(|path| path.is_file()).map(|path| Self { path });
        if found.is_none() {
            skip("rdbnet is not built: cargo build -p rdb-net-node, or name it in RDB_NET_NODE_BIN");
        }
        found
    }

    /// The binary of the previous release, which `RDB_NET_PREVIOUS_BIN` names. Without one the test is skipped: it gets `None`
    /// and returns.
    ///
    /// # Panics
    ///
    /// When the variable names something that is not there.
    pub fn find_previous() -> Option<Self> {
        let named = Self::named(PREVIOUS_BINARY);
        if named.is_none() {
            skip(
                "there is no rdbnet of the previous release: cargo xtask test builds it where the history of the repository \
                 has its commit, or name it in RDB_NET_PREVIOUS_BIN",
            );
        }
        named
    }

    fn named(variable: &str) -> Option<Self> {
        let path = PathBuf::from(std::env::var_os(variable)?);
        assert!(path.is_file(), "{variable} names {}, which is no file", path.display());
        Some(Self { path })
    }

    /// Where the program is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The program with these arguments, without the caller's settings of it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_in(None, arguments)
    }

    /// The same in a network namespace.
    pub(crate) fn command_in(&self, namespace: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = match namespace {
            // It becomes the program: the process is the node itself.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.path);
                command
            }
            None => Command::new(&self.path),
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RUSTYDB_")) {
            command.env_remove(name);
        }
        command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs the program to its end. For commands that end by themselves; a node that should not start is a
    /// [`Node`](crate::Node).
    ///
    /// # Panics
    ///
    /// When it cannot be started, or goes on for a minute.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_within(arguments, Duration::from_secs(60))
    }

    /// Runs the program to its end, for at most this long.
    ///
    /// # Panics
    ///
    /// When it cannot be started, or goes on; then it is killed.
    pub fn run_within(&self, arguments: &[&str], limit: Duration) -> Output {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let pid = Pid::from_child(&child);
        let (told, ended) = sync_channel(1);
        std::thread::spawn(move || told.send(child.wait_with_output()));
        match ended.recv_timeout(limit) {
            Ok(output) => output.expect("a child can be waited for"),
            Err(_) => {
                // It may end in this moment by itself.
                let _ = kill_process(pid, Signal::KILL);
                panic!("rdbnet {} goes on after {limit:?}", arguments.join(" "));
            }
        }
    }
}

/// Tells that a test cannot run here.
///
/// # Panics
///
/// When the file that collects such lines cannot be written.
#[expect(clippy::print_stdout, reason = "a test speaks through its output")]
pub fn skip(reason: &str) {
    let line = format!("SKIPPED: {reason}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os(SKIPPED_FILE) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skipped tests can be written");
    }
}

/// Tells that a test is skipped because these tests are built without the agent of Consul.
pub fn skip_consul() {
    skip("rdb-net-tests is built without the feature consul");
}

/// Output as text.
///
/// # Panics
///
/// When it is none.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes text")
}
