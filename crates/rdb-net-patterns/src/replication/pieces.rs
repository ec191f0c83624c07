//! Data that lie in several pieces of memory, read as one, and their checksums.

use std::hash::Hasher as _;
use std::ops::Range;

use bytes::Bytes;
use rdb_net_types::Payload;
use twox_hash::XxHash3_64;

/// The checksum of an entry's data: XXH3 of 64 bits. A CRC of 64 bits takes two and a half times as long where an entry does not begin
/// where its registers want it, which is everywhere behind a message's head.
pub(super) fn checksum(data: &[u8]) -> u64 {
    XxHash3_64::oneshot(data)
}

/// Reads pieces of data, one length after the other.
pub(super) struct Reader<'a> {
    rest: std::slice::Iter<'a, Bytes>,
    piece: Option<&'a Bytes>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// From this byte on.
    pub(super) fn new(data: &'a Payload, start: u64) -> Self {
        let mut reader = Self { rest: data.pieces().iter(), piece: None, at: 0 };
        reader.read(start as usize, |_, _| {});
        reader
    }

    /// The next so many bytes: in which pieces they are, and where.
    pub(super) fn read(&mut self, mut bytes: usize, mut each: impl FnMut(&Bytes, Range<usize>)) {
        while bytes > 0 {
            let Some(piece) = self.piece.filter(|piece| self.at < piece.len()) else {
                let Some(next) = self.rest.next() else { return };
                (self.piece, self.at) = (Some(next), 0);
                continue;
            };
            let range = self.at..piece.len().min(self.at + bytes);
            bytes -= range.len();
            self.at = range.end;
            each(piece, range);
        }
    }

    /// The checksum of the next so many bytes, which are mostly in one piece.
    pub(super) fn checksum(&mut self, bytes: usize) -> u64 {
        let (mut whole, mut parts) = (None, None);
        self.read(bytes, |piece, range| {
            if range.len() == bytes {
                whole = Some(checksum(&piece[range]));
            } else {
                parts.get_or_insert_with(XxHash3_64::new).write(&piece[range]);
            }
        });
        whole.or(parts.map(|parts| parts.finish())).unwrap_or_else(|| checksum(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_an_entry_in_two_pieces_is_that_of_the_entry() {
        let bytes: Bytes = (0..10_000u32).map(|number| (number * 7) as u8).collect();
        for end in [1, 127, 128, 129, 1023, 1024, 5000] {
            let data: Payload = [bytes.slice(..end), bytes.slice(end..)].into_iter().collect();
            for length in [0, 1024, 1777, 4999] {
                let start = end / 2;
                let read = Reader::new(&data, start as u64).checksum(length);
                assert_eq!(read, checksum(&bytes[start..start + length]), "{end} {length}");
            }
        }
    }
}
