//! The buffer that a connection is read into.

use bytes::BytesMut;
use rdb_net_session::Terms;

/// How much a read asks for, where the frame at hand does not ask for more.
const READ_BYTES: usize = 64 * 1024;
/// Room below which the buffer is renewed.
const READ_BYTES_MIN: usize = 4 * 1024;

/// Bytes that were read and are no whole frame yet, and room for more.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) bytes: BytesMut,
    /// How much the next buffer holds.
    ahead: usize,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self { bytes: BytesMut::with_capacity(READ_BYTES), ahead: READ_BYTES }
    }

    /// Makes room for the frame at hand, and for what is likely to follow: where large frames come, a buffer of just their
    /// size, so that the next one is read to its place and never moved.
    pub(crate) fn make_room(&mut self, terms: Terms) {
        let wanted = terms.bytes_wanted(&self.bytes);
        let room = self.bytes.capacity() - self.bytes.len();
        if room < wanted || room < READ_BYTES_MIN {
            self.bytes.reserve(wanted.max(self.ahead));
        }
    }

    /// Tells how long the longest frame of the last read was.
    pub(crate) fn expect(&mut self, frame_bytes: usize) {
        self.ahead = frame_bytes.max(READ_BYTES);
    }

    /// Throws everything away, and makes room for more that is thrown away.
    pub(crate) fn discard(&mut self) {
        self.bytes.clear();
        self.bytes.reserve(READ_BYTES_MIN);
    }
}
