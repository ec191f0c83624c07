//! A disk that forgets, in a crash, what was written since the last sync: all of it, or its end.

use std::collections::VecDeque;

use rdb_net_patterns::replication::{Entries, LogError, LogStorage, MemoryLog, Position, Promise};
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
    fn apply(&self, log: &mut MemoryLog) {
        let done = match self {
            Self::Promise(promise) => log.keep_promise(promise),
            Self::Append(entries) => log.append(entries),
            Self::Cut(keep) => log.cut(*keep),
            Self::Compact(up_to) => log.compact(*up_to),
            Self::Restore(base) => log.restore(*base),
        };
        done.expect("memory does not fail");
    }
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    written: MemoryLog,
    durable: MemoryLog,
    /// What is not durable yet.
    writes: VecDeque<Write>,
}

impl Disk {
    fn write(&mut self, write: Write) -> Result<(), LogError> {
        write.apply(&mut self.written);
        self.writes.push_back(write);
        Ok(())
    }

    /// How many writes a sync makes durable that begins now.
    pub(crate) fn unsynced(&self) -> usize {
        self.writes.len()
    }

    /// The first so many writes are durable.
    pub(crate) fn make_durable(&mut self, writes: usize) {
        self.writes.drain(..writes).for_each(|write| write.apply(&mut self.durable));
    }

    /// Whether an entry would be there after a crash.
    pub(crate) fn holds_for_good(&self, position: Position) -> bool {
        self.durable.position(position.index) == Some(position)
    }

    /// The process dies: of what was not durable some may be, from the beginning on.
    pub(crate) fn crash(mut self, random: &mut SeededRandom) -> Self {
        let survive = if random.chance(0.5) { 0 } else { random.index(self.writes.len() + 1) };
        self.make_durable(survive);
        Self { written: self.durable.clone(), durable: self.durable, writes: VecDeque::new() }
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
