//! The second implementation of the wire, in Python: its programs as processes.
//!
//! They lie in `tests/python` and need the standard library alone. Each prints one line of JSON for each thing that happened;
//! that is what a test looks at.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binary::skip;
use crate::log::Log;

/// How long a program may take. Only a broken one takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The interpreter, and the folder of the programs.
#[derive(Debug, Clone)]
pub struct Python {
    folder: PathBuf,
}

impl Python {
    /// The `python3` of the path. Without one the test is skipped: it gets `None` and returns.
    pub fn find() -> Option<Self> {
        let version = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            skip("there is no python3");
            return None;
        }
        Some(Self { folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("python") })
    }

    /// Starts a program of the folder.
    ///
    /// # Panics
    ///
    /// When the machine does not let it.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Script {
        let mut command = Command::new("python3");
        // -B: no compiled files beside the sources.
        command.arg("-B").arg(self.folder.join(program)).args(arguments).stdin(Stdio::null());
        Script::start(program, command)
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    ///
    /// When it goes on for a minute.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        self.spawn(program, arguments).wait_exit()
    }
}

/// A running program, killed when it is dropped.
#[derive(Debug)]
pub struct Script {
    name: String,
    output: Arc<Log>,
    errors: Arc<Log>,
    child: Child,
    readers: Vec<JoinHandle<()>>,
}

impl Script {
    pub(crate) fn start(name: &str, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let copy = || tempfile::tempfile().expect("a temporary file");
        let (output, out) = Log::follow(child.stdout.take().expect("piped"), copy());
        let (errors, err) = Log::follow(child.stderr.take().expect("piped"), copy());
        Self { name: name.to_owned(), output, errors, child, readers: vec![out, err] }
    }

    /// Waits for the first event of this name.
    ///
    /// # Panics
    ///
    /// When the program ends without it, or goes on for a minute.
    pub fn wait_event(&self, event: &str) -> Value {
        let found = |lines: &[String]| events(lines).into_iter().find(|value| value["event"] == event);
        let found = self.output.wait(Instant::now() + DEADLINE, found);
        found.unwrap_or_else(|| panic!("{} does not tell {event:?}:\n{}", self.name, self.told()))
    }

    /// Waits until the program has ended by itself, and everything that it wrote is read.
    ///
    /// # Panics
    ///
    /// When it goes on for a minute.
    pub fn wait_exit(mut self) -> Ran {
        let deadline = Instant::now() + DEADLINE;
        let ended = self.output.wait_end(deadline) && self.errors.wait_end(deadline);
        assert!(ended, "{} goes on:\n{}", self.name, self.told());
        let status = self.child.wait().expect("a child can be waited for");
        Ran { code: status.code(), output: self.output.lines(), errors: self.errors.lines().join("\n") }
    }

    fn told(&self) -> String {
        [self.output.lines(), self.errors.lines()].concat().join("\n")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            // A reader that panicked has told so, and its log has ended.
            let _ = reader.join();
        }
    }
}

/// What a program that has ended wrote.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Its standard output, line by line.
    pub output: Vec<String>,
    /// Its error output.
    pub errors: String,
}

impl Ran {
    /// The events of this name, in order.
    pub fn events(&self, event: &str) -> Vec<Value> {
        events(&self.output).into_iter().filter(|value| value["event"] == event).collect()
    }

    /// The one event of this name.
    ///
    /// # Panics
    ///
    /// When there is none or another one.
    #[track_caller]
    pub fn event(&self, event: &str) -> Value {
        let found = self.events(event);
        assert_eq!(found.len(), 1, "{event:?}: {self:?}");
        found.into_iter().next().unwrap_or_default()
    }
}

fn events(lines: &[String]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
