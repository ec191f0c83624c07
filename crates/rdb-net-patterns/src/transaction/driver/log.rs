//! The log's own thread: takes all that waits, writes it, syncs once, and says what is durable.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::caught::{Panicked, caught};
use super::shared::{Machines, Shared};
use crate::storage::{Log, LogError, LogStep};
use crate::transaction::{Record, Ticket};

const LOCKED: &str = "no code panics while it holds this lock";

/// A record that waits, and whose ticket it is that waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) coordinator: Option<Ticket>,
    pub(super) participant: Option<Ticket>,
}

impl Entry {
    const fn is_forced(&self) -> bool {
        self.coordinator.is_some() || self.participant.is_some()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    is_closed: bool,
}

/// Records on their way to the log. Each is of a transaction that the machines hold, a few for each at most: their limits bound it.
#[derive(Debug, Default)]
pub(super) struct LogQueue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl LogQueue {
    pub(super) fn push(&self, entry: Entry) {
        self.waiting.lock().expect(LOCKED).entries.push_back(entry);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.waiting.lock().expect(LOCKED).is_closed = true;
        self.changed.notify_one();
    }

    fn take(&self) -> VecDeque<Entry> {
        std::mem::take(&mut self.waiting.lock().expect(LOCKED).entries)
    }

    /// Waits for entries; `None` at the end.
    fn wait(&self) -> Option<VecDeque<Entry>> {
        let mut waiting = self.waiting.lock().expect(LOCKED);
        while waiting.entries.is_empty() && !waiting.is_closed {
            waiting = self.changed.wait(waiting).expect(LOCKED);
        }
        // What waits at the end is written: a former life's records spare the next one some questions.
        if waiting.entries.is_empty() { None } else { Some(std::mem::take(&mut waiting.entries)) }
    }
}

/// The thread, for as long as the log is open.
#[derive(Debug)]
pub(super) struct LogThread(JoinHandle<()>);

impl LogThread {
    /// Makes what waits durable, then goes on in a thread.
    pub(super) fn start(shared: Arc<Shared>, log: Box<dyn Log>, bytes_max: u64) -> Result<Self, LogError> {
        let mut writer = Writer { shared, log, bytes_max, replace_at: bytes_max };
        let first = writer.shared.queue.take();
        guarded(|| writer.write(first))?;
        let thread = std::thread::Builder::new().name("rdb-txn-log".to_owned()).spawn(move || writer.run());
        let failed = |source| LogError::Io { step: LogStep::Open, path: "(a thread for the log)".into(), source };
        Ok(Self(thread.map_err(failed)?))
    }

    pub(super) fn join(self) {
        if let Err(panic) = self.0.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    log: Box<dyn Log>,
    bytes_max: u64,
    replace_at: u64,
}

impl Writer {
    fn run(mut self) {
        while let Some(entries) = self.shared.queue.wait() {
            if let Err(error) = guarded(|| self.write(entries).and_then(|()| self.shorten())) {
                tracing::error!(%error, "the transactions' log has failed; this node takes part in none until its restart");
                self.shared.cancel();
                return;
            }
        }
        // A record that nobody waits for may be lost; it costs nothing to keep it.
        if let Err(error) = guarded(|| self.log.sync()) {
            tracing::warn!(%error, "the last records of the transactions' log may be lost; none was promised");
        }
    }

    fn write(&mut self, entries: VecDeque<Entry>) -> Result<(), LogError> {
        for entry in &entries {
            self.log.append(&entry.record.encode())?;
        }
        if entries.iter().any(Entry::is_forced) {
            self.log.sync()?;
            self.shared.sync_count.fetch_add(1, Ordering::Relaxed);
            self.tell(&entries);
        }
        Ok(())
    }

    fn tell(&self, entries: &VecDeque<Entry>) {
        let coordinator = entries.iter().rev().find_map(|entry| entry.coordinator);
        let participant = entries.iter().rev().find_map(|entry| entry.participant);
        self.shared.with(|machines, now| {
            if let Some(ticket) = coordinator {
                machines.coordinator.handle_synced(now, ticket);
            }
            if let Some(ticket) = participant {
                machines.participant.handle_synced(now, ticket);
            }
        });
    }

    /// Replaces a log that has grown by what is needed of it.
    fn shorten(&mut self) -> Result<(), LogError> {
        if self.log.size_bytes() < self.replace_at {
            return Ok(());
        }
        // What waits is in the machines' state already, and so in the new log.
        let (entries, live) = self.shared.with(|machines, _| (self.shared.queue.take(), live_records(machines)));
        let mut live = live.iter().map(|record| Bytes::from(record.encode()));
        match self.log.replace(&mut live) {
            Ok(()) => self.tell(&entries),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the transactions' log could not be shortened; it grows on");
                self.write(entries)?;
            }
        }
        self.replace_at = self.bytes_max.max(2 * self.log.size_bytes());
        Ok(())
    }
}

/// The log may be the application's own. Where it panics it has failed: nobody waits for what it will never say.
fn guarded(write: impl FnOnce() -> Result<(), LogError>) -> Result<(), LogError> {
    caught(write).unwrap_or_else(|Panicked| {
        let (path, source) = ("(its own code)".into(), io::Error::other("it panicked"));
        Err(LogError::Io { step: LogStep::Write, path, source })
    })
}

fn live_records(machines: &Machines) -> Vec<Record> {
    let mut live = machines.coordinator.live_records();
    live.extend(machines.participant.live_records());
    live
}
