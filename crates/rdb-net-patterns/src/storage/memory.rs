//! A log in memory, on a disk that loses what was not synced: for tests of what must survive.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rdb_net_types::SeededRandom;

use super::format::{self, FILE_HEADER_BYTES, Scanned, Writer};
use super::{Log, LogError, LogStep, PENDING_BYTES_MAX, Recovered};

/// Of how many bytes a disk writes all or none.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
struct Disk {
    durable: Vec<u8>,
    /// Written behind it, and not synced.
    pending: Vec<u8>,
    /// How often it was opened or lost power; what was opened before writes no more.
    life: u64,
    fails_syncs: bool,
}

/// A disk with one log on it. A clone is the same disk.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    disk: Arc<Mutex<Disk>>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// A disk with an empty log.
    pub fn new() -> Self {
        // Memory has one log a disk: no older file's records can be mistaken for its own.
        let durable = format::file_header(0).to_vec();
        Self { disk: Arc::new(Mutex::new(Disk { durable, pending: Vec::new(), life: 0, fails_syncs: false })) }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no code panics while it holds this lock")
    }

    /// Opens the log and passes on its records. What was opened before takes no more.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] where a durable record was damaged.
    pub fn open(&self, visit: &mut dyn FnMut(&[u8])) -> Result<(MemoryLog, Recovered), LogError> {
        let mut disk = self.lock();
        let pending = std::mem::take(&mut disk.pending);
        disk.durable.extend(pending);
        disk.life += 1;
        let mut reader = Cursor::new(disk.durable.as_slice());
        reader.set_position(FILE_HEADER_BYTES as u64);
        let scanned = format::scan(&mut reader, 0, disk.durable.len() as u64, visit);
        let scanned = scanned.map_err(|source| LogError::Io { step: LogStep::Read, path: path(), source })?;
        match scanned {
            Scanned::Whole { end, recovered } => {
                disk.durable.truncate(end as usize);
                let writer = Writer::new(0, end);
                Ok((MemoryLog { disk: self.clone(), writer, life: disk.life }, recovered))
            }
            Scanned::Corrupt { offset, synced } => {
                Err(LogError::Corrupt { path: path(), offset, synced_bytes: synced })
            }
        }
    }

    /// Loses power: of what was not synced, chance keeps some bytes, and may keep later sectors without earlier ones.
    pub fn crash(&self, random: &mut SeededRandom) {
        let mut disk = self.lock();
        let mut kept = std::mem::take(&mut disk.pending);
        kept.truncate(random.index(kept.len() + 1));
        if random.chance(0.25) {
            let begin = random.index(kept.len() + 1) / SECTOR_BYTES * SECTOR_BYTES;
            let end = kept.len().min(begin + SECTOR_BYTES);
            kept[begin..end].fill(0);
        }
        disk.durable.extend(kept);
        disk.life += 1;
    }

    /// Whether syncs fail from here on.
    pub fn fail_syncs(&self, fails: bool) {
        self.lock().fails_syncs = fails;
    }

    #[cfg(test)]
    pub(super) fn durable(&self) -> Vec<u8> {
        self.lock().durable.clone()
    }

    #[cfg(test)]
    pub(super) fn pending_bytes(&self) -> usize {
        self.lock().pending.len()
    }

    /// Loses everything durable from this byte on, counted from the beginning of the log.
    pub fn cut(&self, byte: usize) {
        self.lock().durable.truncate(byte);
    }

    /// Turns one bit of what is durable, counted from the beginning of the log.
    pub fn damage(&self, byte: usize) {
        if let Some(byte) = self.lock().durable.get_mut(byte) {
            *byte ^= 1;
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from("(memory)")
}

/// A log on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryLog {
    disk: MemoryDisk,
    writer: Writer,
    life: u64,
}

impl MemoryLog {
    fn disk(&self) -> Result<MutexGuard<'_, Disk>, LogError> {
        let disk = self.disk.lock();
        if disk.life == self.life { Ok(disk) } else { Err(LogError::Broken { path: path() }) }
    }
}

impl Log for MemoryLog {
    fn append(&mut self, record: &[u8]) -> Result<(), LogError> {
        let mut bytes = Vec::with_capacity(record.len() + format::RECORD_HEADER_BYTES);
        drop(self.disk()?);
        self.writer.write(record, &mut bytes)?;
        let waiting = {
            let mut disk = self.disk()?;
            disk.pending.extend(bytes);
            disk.pending.len()
        };
        if waiting > PENDING_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), LogError> {
        {
            let mut disk = self.disk()?;
            if disk.fails_syncs {
                disk.life += 1;
                let source = std::io::Error::other("the disk was told to fail");
                return Err(LogError::Io { step: LogStep::Sync, path: path(), source });
            }
            let pending = std::mem::take(&mut disk.pending);
            disk.durable.extend(pending);
        }
        self.writer.synced();
        Ok(())
    }

    fn replace(&mut self, records: &mut dyn Iterator<Item = Bytes>) -> Result<(), LogError> {
        let mut durable = format::file_header(0).to_vec();
        let mut writer = Writer::new(0, FILE_HEADER_BYTES as u64);
        for record in records {
            writer.write(&record, &mut durable)?;
        }
        writer.seal(&mut durable);
        writer.synced();
        {
            let mut disk = self.disk()?;
            disk.durable = durable;
            disk.pending.clear();
        }
        self.writer = writer;
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.writer.end()
    }
}
