//! A run of frames on their way to a socket: small pieces copied into one buffer, large ones shared and woven in between, so
//! that a burst of messages is one vectored write and a large payload is never copied.

use std::io::IoSlice;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use rdb_net_types::Payload;

use crate::EncodeError;
use crate::body::{BodyWriter, Encode};
use crate::frame::{CHECKSUM_BYTES, Flags, FrameHead, HEAD_BYTES, HEADER_BYTES};

/// Pieces up to this size are copied: cheaper than a slice of their own in a vectored write.
pub const INLINE_BYTES_MAX: usize = 4096;

/// A shared piece, and how many bytes of the buffer come before it.
#[derive(Debug, Clone)]
struct Splice {
    at: usize,
    piece: Bytes,
}

/// Where a frame lies in its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMark {
    start: u32,
    end: u32,
    first_splice: u32,
    end_splice: u32,
    /// The frame's length on the wire, in bytes.
    pub wire_bytes: u32,
}

impl FrameMark {
    /// The mark of the same frame after [`FrameBuffer::append`].
    #[must_use]
    pub fn moved(self, by: (u32, u32)) -> Self {
        Self {
            start: self.start + by.0,
            end: self.end + by.0,
            first_splice: self.first_splice + by.1,
            end_splice: self.end_splice + by.1,
            ..self
        }
    }
}

/// Encoded frames in order.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    splices: Vec<Splice>,
    spliced_bytes: usize,
}

impl FrameBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it holds for the socket.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.spliced_bytes
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory it holds on to for reuse, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.splices.clear();
        self.spliced_bytes = 0;
    }

    /// Appends a frame. Deadline and checksum are filled in by [`seal`](Self::seal).
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLarge`] when the frame would exceed `frame_bytes_max`; the buffer is as before.
    // Always inlined: a mark that is returned through memory is read back before its parts are stored, once a frame.
    #[inline(always)]
    pub fn push(
        &mut self,
        head: FrameHead,
        message: &(impl Encode + ?Sized),
        frame_bytes_max: u32,
    ) -> Result<FrameMark, EncodeError> {
        let (start, first_splice, spliced_before) = (self.bytes.len(), self.splices.len(), self.spliced_bytes);
        let attachment_bytes = message.attachment_bytes();
        head.write(&mut self.bytes, u32::try_from(attachment_bytes).unwrap_or(u32::MAX));
        let head_end = self.bytes.len();
        message.encode(&mut BodyWriter { buffer: self });
        let spliced_bytes = self.spliced_bytes - spliced_before;
        let body_bytes = self.bytes.len() - head_end + spliced_bytes;
        if head.flags.has(Flags::CHECKSUM) {
            self.bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
        }
        let wire_bytes = self.bytes.len() - start + spliced_bytes;
        if wire_bytes > frame_bytes_max as usize {
            self.bytes.truncate(start);
            self.splices.truncate(first_splice);
            self.spliced_bytes = spliced_before;
            let limit = frame_bytes_max as usize;
            return Err(EncodeError::TooLarge { message_type: head.message_type, size: wire_bytes, limit });
        }
        let written = self.head_mut(start);
        written[8..12].copy_from_slice(&((wire_bytes - HEADER_BYTES) as u32).to_be_bytes());
        written[28..32].copy_from_slice(&(body_bytes as u32).to_be_bytes());
        Ok(FrameMark {
            start: start as u32,
            end: self.bytes.len() as u32,
            first_splice: first_splice as u32,
            end_splice: self.splices.len() as u32,
            wire_bytes: wire_bytes as u32,
        })
    }

    /// Header and envelope of the frame that starts here.
    #[inline]
    fn head_mut(&mut self, start: usize) -> &mut [u8; HEAD_BYTES] {
        self.bytes[start..].first_chunk_mut().expect("every frame begins with a whole head")
    }

    /// Writes the remaining time and the checksum into a frame that is about to leave. 0 µs means no deadline.
    #[inline]
    pub fn seal(&mut self, mark: &FrameMark, deadline_us: u32) {
        let (start, end) = (mark.start as usize, mark.end as usize);
        let head = self.head_mut(start);
        head[24..28].copy_from_slice(&deadline_us.to_be_bytes());
        if !Flags(u16::from_be_bytes([head[12], head[13]])).has(Flags::CHECKSUM) {
            return;
        }
        let splices = &self.splices[mark.first_splice as usize..mark.end_splice as usize];
        let (covered, sum_place) = self.bytes[start..end]
            .split_last_chunk_mut::<CHECKSUM_BYTES>()
            .expect("a frame with a checksum has room for it");
        let sum = match splices {
            [] => crc_fast::crc32_iscsi(covered),
            splices => spliced_checksum(covered, start, splices),
        };
        *sum_place = sum.to_be_bytes();
    }

    /// Takes over the frames of another buffer, which is empty afterwards: small pieces are copied. Returns what its marks must
    /// be [moved](FrameMark::moved) by.
    pub fn append(&mut self, other: &mut Self) -> (u32, u32) {
        let by = (self.bytes.len(), self.splices.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.splices.extend(other.splices.drain(..).map(|splice| Splice { at: splice.at + by.0, ..splice }));
        self.spliced_bytes += other.spliced_bytes;
        other.clear();
        (by.0 as u32, by.1 as u32)
    }

    /// Takes a frame out again that must not be sent. Costs a move of what lies behind it; for the rare frame whose request
    /// ended while it was queued.
    pub fn remove(&mut self, mark: &FrameMark, later: &mut [FrameMark]) {
        let (start, end) = (mark.start as usize, mark.end as usize);
        let (first, last) = (mark.first_splice as usize, mark.end_splice as usize);
        self.bytes.drain(start..end);
        let removed: usize = self.splices.drain(first..last).map(|splice| splice.piece.len()).sum();
        self.spliced_bytes -= removed;
        self.splices[first..].iter_mut().for_each(|splice| splice.at -= end - start);
        for mark in later {
            mark.start -= (end - start) as u32;
            mark.end -= (end - start) as u32;
            mark.first_splice -= (last - first) as u32;
            mark.end_splice -= (last - first) as u32;
        }
    }

    /// The pieces to write, from byte `written` on, at most `slices.len()` of them. Returns how many were filled.
    pub fn io_slices<'a>(&'a self, written: usize, slices: &mut [IoSlice<'a>]) -> usize {
        if self.splices.is_empty() {
            return match (slices.first_mut(), self.bytes.get(written..)) {
                (Some(slice), Some(rest)) if !rest.is_empty() => {
                    *slice = IoSlice::new(rest);
                    1
                }
                _ => 0,
            };
        }
        let mut skip = written;
        let mut filled = 0;
        let mut put = |piece: &'a [u8]| -> bool {
            if skip >= piece.len() {
                skip -= piece.len();
                return true;
            }
            if filled == slices.len() {
                return false;
            }
            slices[filled] = IoSlice::new(&piece[skip..]);
            skip = 0;
            filled += 1;
            true
        };
        let mut from = 0;
        for splice in &self.splices {
            if !put(&self.bytes[from..splice.at]) || !put(&splice.piece) {
                return filled;
            }
            from = splice.at;
        }
        put(&self.bytes[from..]);
        filled
    }

    /// Everything as one piece, copied. For transports that take datagrams or whole buffers, and for tests.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.len());
        let mut from = 0;
        for splice in &self.splices {
            whole.extend_from_slice(&self.bytes[from..splice.at]);
            whole.extend_from_slice(&splice.piece);
            from = splice.at;
        }
        whole.extend_from_slice(&self.bytes[from..]);
        whole
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    #[inline]
    pub(crate) fn share(&mut self, payload: &Payload) {
        for piece in payload.pieces() {
            if piece.len() <= INLINE_BYTES_MAX {
                self.bytes.extend_from_slice(piece);
            } else {
                self.spliced_bytes += piece.len();
                self.splices.push(Splice { at: self.bytes.len(), piece: piece.clone() });
            }
        }
    }
}

/// The checksum of a frame whose own bytes, from `start` of the buffer on, have these pieces between them.
fn spliced_checksum(own: &[u8], start: usize, splices: &[Splice]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    let mut from = 0;
    for splice in splices {
        digest.update(&own[from..splice.at - start]);
        digest.update(&splice.piece);
        from = splice.at - start;
    }
    digest.update(&own[from..]);
    digest.finalize() as u32
}

const _: () = assert!(HEAD_BYTES > 28 + 3, "raw length lies inside the head");
