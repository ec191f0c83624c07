//! The processes of one system, and what they have told of each other so far.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::counters::{self, Memory};
use crate::error::Error;
use crate::namespace::{Namespace, Sent};
use crate::system::{Kind, Launcher, Told};

/// What was told, by whom, when.
#[derive(Debug, Clone, Copy)]
struct Line {
    at: Instant,
    by: usize,
    told: Told,
}

#[derive(Debug, Default)]
struct Book {
    lines: Mutex<Vec<Line>>,
    grown: Condvar,
}

impl Book {
    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nodes of one system, in their network.
pub(crate) struct Cluster {
    launcher: Launcher,
    nodes: Vec<Option<Child>>,
    book: Arc<Book>,
    // Behind the processes: they end before their network does.
    namespace: Namespace,
}

impl Cluster {
    pub(crate) fn new(launcher: Launcher, nodes: usize) -> Result<Self, Error> {
        let namespace = launcher.namespace()?;
        launcher.prepare(nodes)?;
        Ok(Self { launcher, nodes: (0..nodes).map(|_| None).collect(), book: Arc::default(), namespace })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.launcher.kind
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn start(&mut self, index: usize) -> Result<(), Error> {
        let mut command = self.launcher.command(&self.namespace, index, self.nodes.len())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io(self.kind().name()))?;
        let (kind, out, err) = (self.kind(), child.stdout.take(), child.stderr.take());
        self.nodes[index] = Some(child);
        if let (Some(out), Some(err)) = (out, err) {
            let streams: [Box<dyn Read + Send>; 2] = [Box::new(out), Box::new(err)];
            for stream in streams {
                let book = Arc::clone(&self.book);
                // It ends with the process.
                std::thread::spawn(move || follow(kind, index, stream, &book));
            }
        }
        Ok(())
    }

    /// Kills a process and waits for its end; when it was killed.
    pub(crate) fn kill(&mut self, index: usize) -> Instant {
        let at = Instant::now();
        if let Some(mut child) = self.nodes[index].take() {
            // It may have ended by itself.
            let _killed = child.kill();
            let _ended = child.wait();
        }
        at
    }

    /// Stops a process; when that was.
    pub(crate) fn stop(&self, index: usize) -> Result<Instant, Error> {
        let at = Instant::now();
        if let Some(child) = &self.nodes[index] {
            kill_process(Pid::from_child(child), Signal::STOP)
                .map_err(|error| Error::io(self.kind().name())(error.into()))?;
        }
        Ok(at)
    }

    /// Waits until each of the others has told this of it since then; when the first and the last did.
    pub(crate) fn wait_told(&self, told: Told, since: Instant, limit: Duration) -> Result<(Instant, Instant), Error> {
        let (Told::Up(of) | Told::Down(of)) = told;
        let others: BTreeSet<usize> = (0..self.count()).filter(|index| *index != of).collect();
        self.wait(&format!("{told:?}"), since, limit, |lines| {
            let mut missing = others.clone();
            let (mut first, mut last) = (None, since);
            for line in lines.iter().filter(|line| line.at >= since && line.told == told) {
                if missing.remove(&line.by) {
                    (first, last) = (first.or(Some(line.at)), last.max(line.at));
                }
            }
            if missing.is_empty() { Ok((first.unwrap_or(last), last)) } else { Err(missing.len()) }
        })
    }

    /// Waits until everybody has told that everybody else is up; when the last did.
    pub(crate) fn wait_agreed(&self, since: Instant, limit: Duration) -> Result<Instant, Error> {
        self.wait("agreement", since, limit, |lines| {
            let mut told = BTreeSet::new();
            let mut last = since;
            for line in lines {
                if let Told::Up(of) = line.told
                    && of != line.by
                    && told.insert((line.by, of))
                {
                    last = line.at;
                }
            }
            let wanted = self.count() * (self.count() - 1);
            if told.len() >= wanted { Ok(last) } else { Err(wanted - told.len()) }
        })
    }

    /// How often anybody was told to be down since then.
    pub(crate) fn downs(&self, since: Instant) -> usize {
        self.book.lines().iter().filter(|line| line.at >= since && matches!(line.told, Told::Down(_))).count()
    }

    pub(crate) fn sent(&self) -> Result<Sent, Error> {
        self.namespace.sent()
    }

    /// The processor time of all its processes.
    pub(crate) fn cpu(&self) -> Duration {
        self.pids().map(counters::cpu).sum()
    }

    pub(crate) fn memory(&self) -> Vec<Memory> {
        self.pids().map(counters::memory).collect()
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().flatten().map(Child::id)
    }

    fn wait<T>(
        &self,
        what: &str,
        since: Instant,
        limit: Duration,
        mut find: impl FnMut(&[Line]) -> Result<T, usize>,
    ) -> Result<T, Error> {
        let deadline = since + limit;
        let mut lines = self.book.lines();
        loop {
            let missing = match find(&lines) {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (system, what) = (self.kind().name(), what.to_owned());
                return Err(Error::Waited { system, what, secs: limit.as_secs(), left: missing });
            }
            // A moment for more of them, so that thousands of lines are not looked through a thousand times.
            drop(lines);
            std::thread::sleep(Duration::from_millis(20));
            lines = self.book.lines();
            if missing > 0 {
                let waited = self.book.grown.wait_timeout(lines, left.min(Duration::from_millis(200)));
                lines = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|index| {
            self.kill(index);
        });
    }
}

/// Notes what a process tells until it ends.
fn follow(kind: Kind, by: usize, stream: impl Read, book: &Book) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        if let Some(told) = kind.parse(&line) {
            let at = Instant::now();
            book.lines().push(Line { at, by, told });
            book.grown.notify_all();
        }
    }
}
