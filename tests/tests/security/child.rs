//! Nodes in processes of their own: this very test program, started again for one test, which plays the node's part in it.
//!
//! What a process may hold, and how many files it may open, can be counted and limited only where nothing else runs.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// Says that this is the child, and where its files are.
pub(crate) const FOLDER: &str = "RDB_SECURITY_CHILD";
const PATIENCE: Duration = Duration::from_secs(30);

/// In the child: the folder with its files.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// In the child: answers each line of its input, until that ends.
pub(crate) fn serve(mut answer: impl FnMut(&str) -> Value) {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { return };
        // On a line of its own, whatever the harness has written before.
        println!("\n{}", answer(&line));
    }
}

/// How many files this process has open; `None` where it cannot open one more to find out.
pub(crate) fn descriptors() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// A process that plays the child's part, killed when it is dropped.
pub(crate) struct Child {
    process: Process,
    answers: Receiver<Value>,
}

impl Child {
    /// Starts the part of this test.
    pub(crate) fn start(test: &str, folder: PathBuf) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a running test has a path"));
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it can be started");
        let output = process.stdout.take().expect("piped");
        let (told, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                if told.send(value).is_err() {
                    return;
                }
            }
        });
        Self { process, answers }
    }

    /// Asks the child.
    #[track_caller]
    pub(crate) fn ask(&mut self, question: &str) -> Value {
        let input = self.process.stdin.as_mut().expect("piped");
        writeln!(input, "{question}").expect("it listens");
        self.answers.recv_timeout(PATIENCE).expect("it answers")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
