//! The buffer that a connection is read into.

use bytes::BytesMut;
use rdb_net_session::Terms;

/// The largest buffer, where the frame at hand does not ask for more.
const READ_BYTES_MAX: usize = 64 * 1024;
/// The smallest one: what a connection has that carries little. A message that is kept keeps its buffer.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Room below which the buffer is renewed.
const ROOM_BYTES_MIN: usize = 1024;

/// Bytes that were read and are no whole frame yet, and room for more.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) bytes: BytesMut,
    /// How much the present buffer holds.
    buffer_bytes: usize,
    /// How much the next buffer holds.
    ahead: usize,
}

impl Input {
    pub(crate) fn new() -> Self {
        let bytes = BytesMut::with_capacity(READ_BYTES_MIN);
        Self { buffer_bytes: bytes.capacity(), bytes, ahead: READ_BYTES_MIN }
    }

    /// Makes room for the frame at hand, and for what is likely to follow: where large frames come, a buffer of just their
    /// size, so that the next one is read to its place and never moved. Returns how large the buffer is.
    pub(crate) fn make_room(&mut self, terms: Terms) -> usize {
        let wanted = terms.bytes_wanted(&self.bytes);
        let room = self.bytes.capacity() - self.bytes.len();
        if room < wanted || room < ROOM_BYTES_MIN {
            self.bytes.reserve(wanted.max(self.ahead));
            self.buffer_bytes = self.bytes.capacity();
        }
        self.buffer_bytes
    }

    /// Tells how much was just read.
    pub(crate) fn took(&mut self, read_bytes: usize) {
        let filled = self.bytes.capacity() - self.bytes.len() < ROOM_BYTES_MIN;
        if filled {
            self.ahead = (self.ahead * 4).min(READ_BYTES_MAX);
        } else if read_bytes < self.ahead / 16 {
            self.ahead = (self.ahead / 2).max(READ_BYTES_MIN);
        }
    }

    /// Tells how long the longest frame was that was read.
    pub(crate) fn expect(&mut self, frame_bytes: usize) {
        self.ahead = if frame_bytes > READ_BYTES_MAX { frame_bytes } else { self.ahead.min(READ_BYTES_MAX) };
    }

    /// Throws everything away, and makes room for more that is thrown away.
    pub(crate) fn discard(&mut self) {
        self.bytes.clear();
        self.bytes.reserve(READ_BYTES_MIN);
    }
}
