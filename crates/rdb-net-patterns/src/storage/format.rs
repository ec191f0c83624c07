//! The bytes of a log, the same in a file and in memory.
//!
//! A file begins with a header: 8 bytes that name format and version, a number that differs from file to file (`salt`), and the
//! CRC32C of both. Each record is, little-endian:
//!
//! ```text
//! length u32 | CRC32C of the record u32 | synced u64 | CRC32C of salt, offset and the 16 bytes before u32 | record
//! ```
//!
//! The header's own checksum lets a length be believed before it is used. It covers the place at which it stands and the file's
//! salt, so that no copy of a record, inside another one or of an older file, passes for one. `synced` is up to which byte the
//! file had been synced when the record was written: a whole record with a higher one than a damaged record's place proves that
//! the damaged one had been durable.
//!
//! A log that replaces another one is durable as a whole before it has its name, so its end is never torn. It ends with a seal: the
//! header of a record without the record, of a length that no record has, whose `synced` is its own place. So what is damaged before
//! it is told from a torn end before anything else is appended.

use std::io::{self, Read, Seek, SeekFrom};

use super::{LogError, Recovered};

/// The largest record: 128 MiB.
pub const RECORD_BYTES_MAX: usize = 128 * 1024 * 1024;

const MAGIC: [u8; 8] = *b"RDBLOG\x00\x01";
/// How long a file's header is.
pub(super) const FILE_HEADER_BYTES: usize = 20;
/// The length that a seal has in its header.
const SEAL: u32 = u32::MAX;
/// How long a record's header is.
pub(super) const RECORD_HEADER_BYTES: usize = 20;

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize() as u32
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the caller has checked the length")
}

/// The header of a new file.
pub(super) fn file_header(salt: u64) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&salt.to_le_bytes());
    let sum = checksum(&[&header[..16]]);
    header[16..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// The salt of a file's header; `None` where it is not one.
#[cfg(feature = "files")]
pub(super) fn salt_of(header: &[u8; FILE_HEADER_BYTES]) -> Option<u64> {
    let is_whole = header[..8] == MAGIC && checksum(&[&header[..16]]) == u32::from_le_bytes(number(header, 16));
    is_whole.then(|| u64::from_le_bytes(number(header, 8)))
}

/// A number that differs from file to file.
#[cfg(feature = "files")]
pub(super) fn new_salt() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The header of a record.
#[derive(Debug, Clone, Copy)]
struct RecordHeader {
    length: u32,
    sum: u32,
    synced: u64,
}

impl RecordHeader {
    /// Reads a header at this offset of the file; `None` where there is none.
    fn read(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let header = Self {
            length: u32::from_le_bytes(number(bytes, 0)),
            sum: u32::from_le_bytes(number(bytes, 4)),
            synced: u64::from_le_bytes(number(bytes, 8)),
        };
        // What cannot be is ruled out first: a search looks at every byte.
        let may_be = header.synced <= offset && (header.length as usize <= RECORD_BYTES_MAX || header.length == SEAL);
        let sum = || checksum(&[&salt.to_le_bytes(), &offset.to_le_bytes(), &bytes[..16]]);
        (may_be && sum() == u32::from_le_bytes(number(bytes, 16))).then_some(header)
    }
}

/// Puts records into bytes, and knows where in the file they stand.
#[derive(Debug)]
pub(super) struct Writer {
    salt: u64,
    /// Where the next record begins.
    end: u64,
    /// Up to where the file is synced.
    synced: u64,
}

impl Writer {
    /// A writer behind everything that is there, all of which is synced.
    pub(super) const fn new(salt: u64, end: u64) -> Self {
        Self { salt, end, synced: end }
    }

    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Adds a record to the bytes.
    ///
    /// # Errors
    ///
    /// [`LogError::TooLarge`]; nothing was added.
    pub(super) fn write(&mut self, record: &[u8], into: &mut Vec<u8>) -> Result<(), LogError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(LogError::TooLarge { bytes: record.len(), bytes_max: RECORD_BYTES_MAX });
        }
        self.write_header(record.len() as u32, checksum(&[record]), self.synced, into);
        into.extend_from_slice(record);
        self.end += record.len() as u64;
        Ok(())
    }

    /// Adds the seal of a log that is durable as a whole before it is read. One without records has nothing to lose, and gets none.
    pub(super) fn seal(&mut self, into: &mut Vec<u8>) {
        if self.end > FILE_HEADER_BYTES as u64 {
            self.write_header(SEAL, checksum(&[]), self.end, into);
        }
    }

    fn write_header(&mut self, length: u32, record_sum: u32, synced: u64, into: &mut Vec<u8>) {
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..8].copy_from_slice(&record_sum.to_le_bytes());
        header[8..16].copy_from_slice(&synced.to_le_bytes());
        let sum = checksum(&[&self.salt.to_le_bytes(), &self.end.to_le_bytes(), &header[..16]]);
        header[16..].copy_from_slice(&sum.to_le_bytes());
        into.extend_from_slice(&header);
        self.end += RECORD_HEADER_BYTES as u64;
    }

    /// Everything written so far is durable.
    pub(super) const fn synced(&mut self) {
        self.synced = self.end;
    }
}

/// What a scan found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// Whole records up to this byte; what follows is a torn end.
    Whole {
        /// Where the last whole record ends.
        end: u64,
        /// How many there are, and how much is to be cut off.
        recovered: Recovered,
    },
    /// A damaged record that had been durable.
    Corrupt {
        /// Where it begins.
        offset: u64,
        /// Up to where the file had been synced when a later record was written.
        synced: u64,
    },
}

/// Reads the records of a file from behind its header to its end. A record is passed on when it is known to be whole; those
/// before a damage have been passed on when it is found.
///
/// # Errors
///
/// Those of the reader.
pub(super) fn scan<R: Read + Seek>(
    reader: &mut R,
    salt: u64,
    length: u64,
    visit: &mut dyn FnMut(&[u8]),
) -> io::Result<Scanned> {
    let mut recovered = Recovered::default();
    let mut offset = FILE_HEADER_BYTES as u64;
    let mut header_bytes = [0; RECORD_HEADER_BYTES];
    let mut record = Vec::new();
    while length.saturating_sub(offset) >= RECORD_HEADER_BYTES as u64 {
        reader.read_exact(&mut header_bytes)?;
        let Some(header) = RecordHeader::read(&header_bytes, salt, offset) else { break };
        if header.length == SEAL {
            offset += RECORD_HEADER_BYTES as u64;
            continue;
        }
        let end = offset + RECORD_HEADER_BYTES as u64 + u64::from(header.length);
        if end > length {
            break;
        }
        record.resize(header.length as usize, 0);
        reader.read_exact(&mut record)?;
        if checksum(&[&record]) != header.sum {
            break;
        }
        visit(&record);
        recovered.records += 1;
        offset = end;
    }
    if let Some(synced) = witness(reader, salt, offset, length)? {
        return Ok(Scanned::Corrupt { offset, synced });
    }
    recovered.cut_bytes = length - offset;
    Ok(Scanned::Whole { end: offset, recovered })
}

/// Looks behind a damaged record for one that was written after it had been synced.
fn witness<R: Read + Seek>(reader: &mut R, salt: u64, damaged: u64, length: u64) -> io::Result<Option<u64>> {
    const WINDOW_BYTES: usize = 64 * 1024;
    let mut window = Vec::with_capacity(WINDOW_BYTES + RECORD_HEADER_BYTES);
    let mut offset = damaged;
    reader.seek(SeekFrom::Start(damaged))?;
    while offset + (window.len() as u64) < length {
        let read = reader.by_ref().take(WINDOW_BYTES as u64).read_to_end(&mut window)?;
        if read == 0 {
            break;
        }
        let starts = (window.len() + 1).saturating_sub(RECORD_HEADER_BYTES);
        for start in 0..starts {
            let at = offset + start as u64;
            if let Some(header) = RecordHeader::read(&window[start..], salt, at)
                && header.synced > damaged
            {
                return Ok(Some(header.synced));
            }
        }
        window.drain(..starts);
        offset += starts as u64;
    }
    Ok(None)
}
