//! What is agreed of frames, for those who read and write them without holding the session.

use rdb_net_types::Lane;
use rdb_net_wire::{Codec, FrameRules, Prepared, frame_length};

/// What both sides agreed of frames. It changes only by what frames do and whom the owner lets in, so it is asked for again
/// after either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The largest frame that is read, in bytes.
    pub(crate) frame_bytes_max: u32,
    /// What else is read.
    pub(crate) rules: FrameRules,
    /// Whether this side dials: it keeps replies, the other side messages.
    pub(crate) dials: bool,
    /// The next frame decides how those behind it are read.
    pub(crate) one_by_one: bool,
    /// The hello is done with: frames may come on any lane.
    pub(crate) is_up: bool,
    /// What the other side reads.
    pub(crate) peer: PeerTerms,
}

/// What the other side reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerTerms {
    pub(crate) frame_bytes_max: u32,
    pub(crate) message_bytes_max: u32,
    /// Whether frames carry a checksum.
    pub(crate) checksum: bool,
    /// How bodies are compressed that are worth it.
    pub(crate) codec: Option<Codec>,
    /// Whether it puts fragments together.
    pub(crate) fragments: bool,
    /// Whether it accounts four lanes and not two.
    pub(crate) lanes: bool,
}

impl PeerTerms {
    /// Before anything is agreed.
    pub(crate) fn of_strangers(frame_bytes_max: u32) -> Self {
        Self {
            frame_bytes_max,
            message_bytes_max: frame_bytes_max,
            checksum: true,
            codec: None,
            fragments: false,
            lanes: false,
        }
    }

    /// The lane that a message of this lane travels on.
    #[inline]
    pub(crate) const fn carrier(&self, lane: Lane) -> Lane {
        match lane {
            Lane::Replication | Lane::Bulk if !self.lanes => Lane::Interactive,
            lane => lane,
        }
    }

    /// The largest message that can be sent: one frame where fragments were not agreed.
    pub(crate) fn takes(&self, prepared: &Prepared) -> Result<(), usize> {
        if prepared.fits_frame(self.frame_bytes_max) {
            return Ok(());
        }
        let limit = if self.fragments { self.message_bytes_max } else { self.frame_bytes_max };
        if self.fragments && prepared.total_bytes() <= limit { Ok(()) } else { Err(limit as usize) }
    }
}

impl Terms {
    /// Whether anything but the hello may come. Where each lane has a stream, only the System lane's is read before.
    pub fn is_up(self) -> bool {
        self.is_up
    }

    /// How many more bytes the frame at the head of the buffer needs, so that a reader can make room for them. Bounded by
    /// the largest frame; 0 where that is not known yet.
    pub fn bytes_wanted(self, input: &[u8]) -> usize {
        match frame_length(input, self.frame_bytes_max) {
            Ok(Some(length)) => length.saturating_sub(input.len()),
            Ok(None) | Err(_) => 0,
        }
    }

    /// How a large message can be compressed, if at all, and the largest frame that its blocks must fit.
    pub fn compression(self) -> Option<(Codec, u32)> {
        self.peer.codec.map(|codec| (codec, self.peer.frame_bytes_max))
    }
}
