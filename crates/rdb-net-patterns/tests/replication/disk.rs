//! A disk that forgets, in a crash, what was written since the last sync: all of it, or its end.
//!
//! What is durable lies in a [`RecordedLog`] over a disk's own bytes, as that of a process lies in a file: each start reads it back from there,
//! behind whatever end a crash has torn.

use std::collections::VecDeque;

use rdb_net_patterns::replication::{Entries, LogError, LogStorage, MemoryLog, Position, Promise, RecordedLog};
use rdb_net_patterns::storage;
use rdb_net_types::SeededRandom;

#[derive(Debug, Clone)]
enum Write {
    Promise(Promise),
    Append(Entries),
    Cut(u64),
    Compact(u64),
    Restore(Position),
}

impl Write {
    fn apply(&self, log: &mut impl LogStorage) {
        let done = match self {
            Self::Promise(promise) => log.keep_promise(promise),
            Self::Append(entries) => log.append(entries),
            Self::Cut(keep) => log.cut(*keep),
            Self::Compact(up_to) => log.compact(*up_to),
            Self::Restore(base) => log.restore(*base),
        };
        done.expect("this disk takes everything");
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Promise(_) => "a promise",
            Self::Append(_) => "entries",
            Self::Cut(_) => "a cut",
            Self::Compact(_) => "a compaction",
            Self::Restore(_) => "a restoration",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Disk {
    written: MemoryLog,
    durable: RecordedLog<storage::MemoryLog>,
    bytes: storage::MemoryDisk,
    /// What is not durable yet.
    writes: VecDeque<Write>,
    /// Whether nothing reaches it any more.
    has_failed: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self::opened(storage::MemoryDisk::new())
    }
}

impl Disk {
    /// What a process finds at its start.
    fn opened(bytes: storage::MemoryDisk) -> Self {
        let durable = RecordedLog::open(|visit| bytes.open(visit)).expect("it loses only what was not synced");
        let mut written = MemoryLog::new();
        if durable.base() != Position::START {
            written.restore(durable.base()).expect("memory");
        }
        while written.last() != durable.last() {
            let entries = durable.read(written.last().index + 1, 1 << 20, 1000).expect("memory");
            assert!(!entries.is_empty(), "the log ends where it says");
            written.append(&entries).expect("memory");
        }
        written.keep_promise(&durable.promise()).expect("memory");
        Self { written, durable, bytes, writes: VecDeque::new(), has_failed: false }
    }

    fn write(&mut self, write: Write) -> Result<(), LogError> {
        write.apply(&mut self.written);
        self.writes.push_back(write);
        Ok(())
    }

    /// How many writes a sync makes durable that begins now.
    pub(crate) fn unsynced(&self) -> usize {
        self.writes.len()
    }

    /// What the writes behind so many are, each kind once.
    pub(crate) fn kinds_of(&self, writes: std::ops::Range<usize>) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.writes.range(writes).map(Write::name).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// The first so many writes are durable.
    pub(crate) fn make_durable(&mut self, writes: usize) {
        self.reach(writes);
        self.durable.sync().expect("this disk syncs");
    }

    /// The first so many writes are on their way.
    fn reach(&mut self, writes: usize) {
        let writes = self.writes.drain(..writes);
        if !self.has_failed {
            writes.for_each(|write| write.apply(&mut self.durable));
        }
    }

    /// A sync fails: nothing reaches the disk any more.
    pub(crate) fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Whether an entry would be there after a crash.
    pub(crate) fn holds_for_good(&self, position: Position) -> bool {
        self.durable.position(position.index) == Some(position)
    }

    /// The process dies: of what was not durable some may be, from the beginning on.
    pub(crate) fn crash(mut self, random: &mut SeededRandom) -> Self {
        let survive = if random.chance(0.5) { 0 } else { random.index(self.writes.len() + 1) };
        self.reach(survive);
        self.bytes.crash(random);
        Self::opened(self.bytes)
    }
}

impl LogStorage for Disk {
    fn promise(&self) -> Promise {
        self.written.promise()
    }

    fn keep_promise(&mut self, promise: &Promise) -> Result<(), LogError> {
        self.write(Write::Promise(promise.clone()))
    }

    fn base(&self) -> Position {
        self.written.base()
    }

    fn last(&self) -> Position {
        self.written.last()
    }

    fn position(&self, index: u64) -> Option<Position> {
        self.written.position(index)
    }

    fn append(&mut self, entries: &Entries) -> Result<(), LogError> {
        self.write(Write::Append(entries.clone()))
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        self.write(Write::Cut(keep))
    }

    fn compact(&mut self, up_to: u64) -> Result<(), LogError> {
        self.write(Write::Compact(up_to))
    }

    fn restore(&mut self, base: Position) -> Result<(), LogError> {
        self.write(Write::Restore(base))
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Entries, LogError> {
        self.written.read(from, bytes_max, entries_max)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.make_durable(self.writes.len());
        Ok(())
    }
}
