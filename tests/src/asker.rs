//! A node that asks: `rdbnet demo-node`, which carries out queries that it is ordered to, over every member that is alive, and
//! answers those of others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::binary::Rdbnet;

/// How long something may take that has no bound of its own. Only a broken node takes so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// What became of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// How many members were asked.
    pub asked: usize,
    /// Why some of them have no part in the answer.
    pub failures: Vec<String>,
    /// The answers as one number; `None` for those to `select`.
    pub number: Option<u64>,
}

/// What the node has told.
#[derive(Debug, Default)]
struct Told {
    answers: BTreeMap<u64, Reply>,
    is_started: bool,
    failed_members: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something; `None` when there was nothing until then.
    fn wait<T>(&self, deadline: Instant, mut look: impl FnMut(&mut Told) -> Option<T>) -> Option<T> {
        let mut told = self.lock();
        loop {
            if let Some(found) = look(&mut told) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            told = self.changed.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A process that is killed when it is dropped. All of its table is one partition, so that each member has all rows.
#[derive(Debug)]
pub struct Asker {
    child: Mutex<Child>,
    orders: Mutex<ChildStdin>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Asker {
    /// Starts the process with this configuration; its log goes to the end of the other file.
    ///
    /// # Panics
    ///
    /// When the machine does not let it, or it does not start.
    pub fn start(rdbnet: &Rdbnet, config: &Path, log: &Path) -> Self {
        let config = config.to_str().expect("the test's folder has a name of text");
        let mut command = rdbnet.command(&["demo-node", "--config", config, "--partition", "1/1"]);
        let errors = File::options().append(true).create(true).open(log).expect("the test's folder can be written");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the binary can be started");
        let shared = Arc::new(Shared::default());
        let (orders, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let reader = Some(read(output, Arc::clone(&shared)));
        let asker = Self { child: Mutex::new(child), orders: Mutex::new(orders), shared, reader };
        let started = asker.shared.wait(Instant::now() + DEADLINE, |told| told.is_started.then_some(()));
        assert!(started.is_some(), "{config} did not start");
        asker
    }

    /// Orders a query of this number, which no other one has, and waits for what becomes of it. `None` when nothing did in
    /// this time, or the process has ended.
    pub fn ask(&self, id: u64, text: &str, patience: Duration) -> Option<Reply> {
        let order = json!({ "query": { "id": id, "text": text } });
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(orders, "{order}").ok()?;
        drop(orders);
        let found = self.shared.wait(Instant::now() + patience, |told| match told.answers.remove(&id) {
            Some(reply) => Some(Some(reply)),
            None => told.ended.then_some(None),
        });
        found.flatten()
    }

    /// How often it has told that a member failed.
    pub fn failed_members(&self) -> u64 {
        self.shared.lock().failed_members
    }

    /// Asks it to leave (SIGTERM), and waits until it is gone; its exit code.
    ///
    /// # Panics
    ///
    /// When it goes on.
    pub fn leave(&self) -> Option<i32> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        kill_process(Pid::from_child(&child), Signal::TERM).expect("the process is there");
        let ended = self.shared.wait(Instant::now() + DEADLINE, |told| told.ended.then_some(()));
        assert!(ended.is_some(), "it goes on after SIGTERM");
        child.wait().expect("a child can be waited for").code()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has told so.
            let _ = reader.join();
        }
    }
}

/// Takes in what the process tells until it ends.
fn read(output: ChildStdout, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            let mut told = shared.lock();
            match line["event"].as_str() {
                Some("started") => told.is_started = true,
                Some("membership") => told.failed_members += u64::from(line["change"] == "NodeFailed"),
                Some("answered") => {
                    let id = line["id"].as_u64().expect("an answer tells its query");
                    told.answers.insert(id, reply_of(&line));
                }
                _ => {}
            }
            drop(told);
            shared.changed.notify_all();
        }
        shared.lock().ended = true;
        shared.changed.notify_all();
    })
}

fn reply_of(line: &Value) -> Reply {
    let outcomes = line["outcomes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let failure = |outcome: &Value| (!outcome["failure"].is_null()).then(|| outcome.to_string());
    Reply {
        asked: line["asked"].as_array().map_or(0, Vec::len),
        failures: outcomes.iter().filter_map(failure).collect(),
        number: line["merged"]["number"].as_u64(),
    }
}
