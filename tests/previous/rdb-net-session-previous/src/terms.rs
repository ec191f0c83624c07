//! What is agreed of frames, for those who read and write them without holding the session.

use rdb_net_wire::frame_length;

/// What both sides agreed of frames. It changes only by what frames do and whom the owner lets in, so it is asked for again
/// after either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The largest frame that is read, in bytes.
    pub(crate) frame_bytes_max: u32,
    /// The largest frame that the other side reads.
    pub(crate) peer_frame_bytes_max: u32,
    /// Whether frames carry a checksum, and must.
    pub(crate) checksum: bool,
    /// The next frame decides how those behind it are read.
    pub(crate) one_by_one: bool,
}

impl Terms {
    /// How many more bytes the frame at the head of the buffer needs, so that a reader can make room for them. Bounded by
    /// the largest frame; 0 where that is not known yet.
    pub fn bytes_wanted(self, input: &[u8]) -> usize {
        match frame_length(input, self.frame_bytes_max) {
            Ok(Some(length)) => length.saturating_sub(input.len()),
            Ok(None) | Err(_) => 0,
        }
    }
}
