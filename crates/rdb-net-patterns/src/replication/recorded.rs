//! A replica's log over a durable log of records: what is written survives a loss of power, what is read comes from memory.
//!
//! It holds its entries in memory until it is compacted, each with its data and 56 bytes more, and those that came together with some
//! 100 beside; [`within`](RecordedLog::within) says how large that may become. The file is not shortened by a compaction: it is for
//! logs that may grow. A database that has a log of its own implements [`LogStorage`] over that.

use std::io;

use rdb_net_types::{LogEntry, NodeId};

use super::entries::Entries;
use super::log::{LogError, LogStorage, Position, Promise};
use super::memory::MemoryLog;
use crate::storage::{self, Log};

const PROMISE: u8 = 0;
const ENTRY: u8 = 1;
const CUT: u8 = 2;
const COMPACT: u8 = 3;
const RESTORE: u8 = 4;

/// A replica's log over a [`Log`] of records.
#[derive(Debug)]
pub struct RecordedLog<L> {
    memory: MemoryLog,
    records: L,
    recovered: storage::Recovered,
    memory_bytes_max: u64,
}

impl<L: Log> RecordedLog<L> {
    /// Opens a log of records with this function, which is given what takes each record, and puts the replica's log together from
    /// them.
    ///
    /// ```no_run
    /// # #[cfg(feature = "files")]
    /// # fn open() -> Result<(), rdb_net_patterns::replication::LogError> {
    /// use rdb_net_patterns::{replication::RecordedLog, storage::FileLog};
    /// let log = RecordedLog::open(|visit| FileLog::open("replica.log", visit))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LogError`] where it cannot be opened, or holds records of something else.
    ///
    /// A torn end was cut off: [`recovered`](Self::recovered) says how much.
    pub fn open(
        open: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(L, storage::Recovered), storage::LogError>,
    ) -> Result<Self, LogError> {
        let (mut replay, mut is_foreign) = (Replay::default(), false);
        let opened = open(&mut |record| is_foreign |= is_foreign || replay.record(record).is_none());
        let (records, recovered) = opened.map_err(failed("be opened"))?;
        is_foreign |= replay.flush().is_none();
        let memory = replay.memory;
        if is_foreign {
            let source = io::Error::new(io::ErrorKind::InvalidData, "it holds records of something else");
            return Err(LogError { operation: "be opened", source });
        }
        Ok(Self { memory, records, recovered, memory_bytes_max: u64::MAX })
    }

    /// Takes no more entries than fit into so many bytes of memory; without it there is no limit. Beyond it the replica stops, as if
    /// its disk were full: what it has acknowledged is there. Of a [`Piece`](super::Piece) only the entries that are there are counted, and
    /// all of it is kept.
    #[must_use]
    pub fn within(self, memory_bytes_max: u64) -> Self {
        Self { memory_bytes_max, ..self }
    }

    /// How many bytes of memory its entries take.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.memory_bytes()
    }

    /// What was found when it was opened.
    pub const fn recovered(&self) -> storage::Recovered {
        self.recovered
    }
}

fn failed(operation: &'static str) -> impl FnOnce(storage::LogError) -> LogError {
    move |error| LogError { operation, source: io::Error::other(error) }
}

/// Up to how many bytes of entries are put together when a log is opened: one by one they would take more than before.
const TOGETHER_BYTES: usize = 1024 * 1024;

/// Does again what records say.
#[derive(Default)]
struct Replay {
    memory: MemoryLog,
    /// Entries that are not in the log yet, and how many bytes they have.
    together: Vec<LogEntry>,
    together_bytes: usize,
}

impl Replay {
    /// Does again what a record says; `None` for what says nothing.
    fn record(&mut self, record: &[u8]) -> Option<()> {
        let (kind, rest) = record.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let number = u64::from_be_bytes(*number);
        if *kind == ENTRY {
            let index = self.memory.last().index + 1 + self.together.len() as u64;
            self.together.push(LogEntry { index, epoch: number, data: rest.to_vec().into() });
            self.together_bytes += rest.len();
            return if self.together_bytes >= TOGETHER_BYTES { self.flush() } else { Some(()) };
        }
        self.flush()?;
        let memory = &mut self.memory;
        match *kind {
            PROMISE => {
                let leader = std::str::from_utf8(rest).ok()?;
                let leader = if leader.is_empty() { None } else { Some(NodeId::new(leader).ok()?) };
                memory.keep_promise(&Promise { epoch: number, leader }).ok()
            }
            CUT => memory.cut(number).ok(),
            COMPACT => memory.compact(number).ok(),
            RESTORE => {
                let (epoch, rest) = rest.split_first_chunk()?;
                let (epoch, digest) = (u64::from_be_bytes(*epoch), u64::from_be_bytes(rest.try_into().ok()?));
                memory.restore(Position { index: number, epoch, digest }).ok()
            }
            _ => None,
        }
    }

    fn flush(&mut self) -> Option<()> {
        self.together_bytes = 0;
        let entries = Entries::from(std::mem::take(&mut self.together));
        self.memory.append(&Entries::joined([&entries].into_iter())).ok()
    }
}

fn record(kind: u8, number: u64, rest: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(9 + rest.len());
    record.push(kind);
    record.extend_from_slice(&number.to_be_bytes());
    record.extend_from_slice(rest);
    record
}

impl<L: Log> LogStorage for RecordedLog<L> {
    fn promise(&self) -> Promise {
        self.memory.promise()
    }

    fn keep_promise(&mut self, promise: &Promise) -> Result<(), LogError> {
        let leader = promise.leader.as_ref().map_or("", NodeId::as_str);
        let written = self.records.append(&record(PROMISE, promise.epoch, leader.as_bytes()));
        written.map_err(failed("take a promise"))?;
        self.memory.keep_promise(promise)
    }

    fn base(&self) -> Position {
        self.memory.base()
    }

    fn last(&self) -> Position {
        self.memory.last()
    }

    fn position(&self, index: u64) -> Option<Position> {
        self.memory.position(index)
    }

    fn append(&mut self, entries: &Entries) -> Result<(), LogError> {
        if self.memory.memory_bytes_with(entries) > self.memory_bytes_max {
            self.memory.shorten();
        }
        let bytes = self.memory.memory_bytes_with(entries);
        if bytes > self.memory_bytes_max {
            let text = format!("{bytes} bytes of memory are more than its limit of {}", self.memory_bytes_max);
            return Err(LogError {
                operation: "take an entry",
                source: io::Error::new(io::ErrorKind::QuotaExceeded, text),
            });
        }
        for entry in entries.iter() {
            let written = self.records.append(&record(ENTRY, entry.epoch, &entry.data));
            written.map_err(failed("take an entry"))?;
        }
        self.memory.append(entries)
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        self.records.append(&record(CUT, keep, &[])).map_err(failed("be cut"))?;
        self.memory.cut(keep)
    }

    fn compact(&mut self, up_to: u64) -> Result<(), LogError> {
        self.records.append(&record(COMPACT, up_to, &[])).map_err(failed("be compacted"))?;
        self.memory.compact(up_to)
    }

    fn restore(&mut self, base: Position) -> Result<(), LogError> {
        let rest = [base.epoch.to_be_bytes(), base.digest.to_be_bytes()].concat();
        self.records.append(&record(RESTORE, base.index, &rest)).map_err(failed("begin behind a copy"))?;
        self.memory.restore(base)
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Entries, LogError> {
        self.memory.read(from, bytes_max, entries_max)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.records.sync().map_err(failed("be synced"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::entries::BATCH_BYTES;
    use crate::storage::MemoryDisk;

    fn entry(index: u64, epoch: u64) -> LogEntry {
        LogEntry { index, epoch, data: index.to_string().into() }
    }

    #[test]
    fn what_was_synced_is_there_after_a_restart() {
        let disk = MemoryDisk::new();
        let mut log = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        let promise = Promise { epoch: 3, leader: Some(NodeId::new("n2").unwrap()) };
        log.append(&vec![entry(1, 1), entry(2, 1), entry(3, 2)].into()).unwrap();
        log.cut(2).unwrap();
        log.append(&vec![entry(3, 3)].into()).unwrap();
        log.keep_promise(&promise).unwrap();
        log.sync().unwrap();
        let last = log.last();
        log.append(&vec![entry(4, 3)].into()).unwrap();
        let mut random = rdb_net_types::SeededRandom::new(1);
        disk.crash(&mut random);
        let log = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        assert_eq!(log.position(3), Some(last));
        assert_eq!(log.promise(), promise);
        let entries = log.read(1, 100, 3).unwrap();
        assert!(entries.iter().eq([entry(1, 1), entry(2, 1), entry(3, 3)]));
    }

    #[test]
    fn what_it_takes_in_memory_is_counted_and_limited() {
        let (disk, together) = (MemoryDisk::new(), BATCH_BYTES as u64);
        let mut log = RecordedLog::open(|visit| disk.open(visit)).unwrap().within(together + 3 * (1 + 56));
        log.append(&vec![entry(1, 1), entry(2, 1), entry(3, 1)].into()).unwrap();
        assert_eq!(log.memory_bytes(), together + 3 * (1 + 56));
        let error = log.append(&vec![entry(4, 1)].into()).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the log's storage cannot take an entry: {} bytes of memory are more than its limit of {}",
                together + 228,
                together + 171
            )
        );
        assert_eq!(log.last().index, 3, "nothing of it is there");
        log.cut(1).unwrap();
        assert_eq!(log.memory_bytes(), together + 1 + 56);
        log.append(&vec![entry(2, 2)].into()).unwrap();
        log.sync().unwrap();
        let again = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        assert_eq!(again.memory_bytes(), together + 2 * (1 + 56));
    }

    #[test]
    fn how_much_of_a_torn_end_was_cut_off_is_told() {
        let disk = MemoryDisk::new();
        let mut log = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        assert_eq!(log.recovered().cut_bytes, 0);
        log.append(&vec![entry(1, 1)].into()).unwrap();
        log.sync().unwrap();
        disk.damage(crate::storage::FIRST_RECORD_BYTE);
        let log = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        assert_eq!((log.last().index, log.recovered().records), (0, 0));
        assert_eq!(log.recovered().cut_bytes, 20 + 9 + 1);
    }

    #[test]
    fn where_it_was_compacted_or_restored_it_begins_after_a_restart() {
        let disk = MemoryDisk::new();
        let mut log = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        log.append(&vec![entry(1, 1), entry(2, 1), entry(3, 2)].into()).unwrap();
        log.compact(2).unwrap();
        let (base, last) = (log.base(), log.last());
        let mut log = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        assert_eq!((log.base(), log.last()), (base, last));
        let elsewhere = Position { index: 77, epoch: 5, digest: 6 };
        log.restore(elsewhere).unwrap();
        log.append(&vec![entry(78, 5)].into()).unwrap();
        let last = log.last();
        let again = RecordedLog::open(|visit| disk.open(visit)).unwrap();
        assert_eq!((again.base(), again.last()), (elsewhere, last));
        assert_eq!(again.read(1, 1, 1).unwrap(), vec![entry(78, 5)].into());
    }

    #[test]
    fn records_of_something_else_are_refused() {
        for foreign in [vec![], vec![ENTRY], record(9, 1, &[]), record(PROMISE, 1, b"no node id!")] {
            let disk = MemoryDisk::new();
            let (mut records, _) = disk.open(&mut |_| {}).unwrap();
            records.append(&foreign).unwrap();
            records.sync().unwrap();
            assert!(RecordedLog::open(|visit| disk.open(visit)).is_err(), "{foreign:?}");
        }
    }
}
