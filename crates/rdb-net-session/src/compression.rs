//! Whether a message is worth compressing: by its size, its type, and what compression made of that type before.

use std::sync::Arc;

use rdb_net_types::{Lane, MessageType};
use rdb_net_wire::{Codec, control_type};

/// How many types are remembered by themselves; others are compressed without a memory of them.
const TYPES_MAX: usize = 64;
/// Above this share of its size, in thousandths, a compressed body is not worth the time.
const WORTH_PERMILLE: u32 = 900;
/// Of a type that is not worth it, one message in so many is tried again.
const PROBE_EVERY: u32 = 64;

/// Which messages are compressed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionConfig {
    /// The codecs that are written, the preferred first; the first that the other side reads is used.
    pub codecs: Vec<Codec>,
    /// Bodies of fewer bytes are sent as they are. Default 1,024 bytes.
    pub above_bytes: u32,
    /// Types that are compressed, or not, against what the registry says of them.
    pub types: Vec<(MessageType, bool)>,
}

impl Default for CompressionConfig {
    /// LZ4, where it is built in.
    fn default() -> Self {
        let codecs = [Codec::Lz4].into_iter().filter(|codec| codec.is_built_in()).collect();
        Self { codecs, above_bytes: 1024, types: Vec::new() }
    }
}

impl CompressionConfig {
    /// Nothing is compressed; what comes is still read.
    pub fn off() -> Self {
        Self { codecs: Vec::new(), ..Self::default() }
    }
}

/// What compression made of a type so far.
#[derive(Debug, Clone, Copy)]
struct Seen {
    message_type: MessageType,
    /// Smoothed size after compression, in thousandths of the size before.
    permille: u32,
    /// How many were sent as they are since the last trial.
    skipped: u32,
}

/// The choice, message by message, of one who writes frames.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compression {
    codec: Option<Codec>,
    above_bytes: u32,
    types: Arc<[(MessageType, bool)]>,
    seen: Vec<Seen>,
    /// Bytes before and after, of all bodies that were tried.
    pub(crate) raw_bytes: u64,
    pub(crate) compressed_bytes: u64,
}

impl Compression {
    pub(crate) fn new(config: &CompressionConfig) -> Self {
        Self { above_bytes: config.above_bytes, types: config.types.clone().into(), ..Self::default() }
    }

    /// What was agreed.
    pub(crate) fn set_codec(&mut self, codec: Option<Codec>) {
        self.codec = codec;
    }

    /// How to compress a body of this size, if at all. Nothing of the System lane is: it is small and urgent.
    #[inline]
    pub(crate) fn choose(&mut self, lane: Lane, message_type: MessageType, body_bytes: u32) -> Option<Codec> {
        if body_bytes < self.above_bytes {
            return None;
        }
        let is_own = message_type.is_control() && message_type != control_type::REPLY;
        let codec = self.codec.filter(|_| lane != Lane::System && !is_own)?;
        self.pays(message_type).then_some(codec)
    }

    #[cold]
    fn pays(&mut self, message_type: MessageType) -> bool {
        let configured = self.types.iter().find(|(configured, _)| *configured == message_type);
        if !configured.map_or_else(|| message_type.spec().compressible, |(_, compressed)| *compressed) {
            return false;
        }
        let Some(seen) = self.seen.iter_mut().find(|seen| seen.message_type == message_type) else { return true };
        seen.skipped += 1;
        if seen.permille <= WORTH_PERMILLE || seen.skipped >= PROBE_EVERY {
            seen.skipped = 0;
            return true;
        }
        false
    }

    /// Bytes before and after since the last call.
    pub(crate) fn take_totals(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.raw_bytes), std::mem::take(&mut self.compressed_bytes))
    }

    /// Remembers what came of it.
    pub(crate) fn record(&mut self, message_type: MessageType, raw_bytes: u64, compressed_bytes: u64) {
        self.raw_bytes += raw_bytes;
        self.compressed_bytes += compressed_bytes;
        let permille = (compressed_bytes * 1000 / raw_bytes.max(1)) as u32;
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.message_type == message_type) {
            seen.permille = (seen.permille * 7 + permille) / 8;
        } else if self.seen.len() < TYPES_MAX {
            self.seen.push(Seen { message_type, permille, skipped: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MessageType = MessageType::FIRST_APPLICATION;

    fn compression() -> Compression {
        let mut compression = Compression::new(&CompressionConfig {
            types: vec![(MessageType::HEARTBEAT, true), (MessageType::REPLICATION_LOG, false)],
            ..CompressionConfig::off()
        });
        compression.set_codec(Some(Codec::Lz4));
        compression
    }

    #[test]
    fn size_lane_and_type_decide() {
        let mut compression = compression();
        assert_eq!(compression.choose(Lane::Bulk, OWN, 1023), None);
        assert_eq!(compression.choose(Lane::Bulk, OWN, 1024), Some(Codec::Lz4));
        assert_eq!(compression.choose(Lane::System, OWN, 1024), None);
        assert_eq!(compression.choose(Lane::Interactive, MessageType::HEARTBEAT, 4096), Some(Codec::Lz4));
        assert_eq!(compression.choose(Lane::Replication, MessageType::REPLICATION_LOG, 4096), None);
        compression.set_codec(None);
        assert_eq!(compression.choose(Lane::Bulk, OWN, 1024), None);
    }

    #[test]
    fn a_type_that_does_not_shrink_is_tried_once_in_64_and_comes_back_when_it_does() {
        let mut compression = compression();
        let mut tried = |ratio_permille: u64| {
            let chosen = (0..6400).filter(|_| {
                let chosen = compression.choose(Lane::Bulk, OWN, 4096).is_some();
                if chosen {
                    compression.record(OWN, 4096, 4096 * ratio_permille / 1000);
                }
                chosen
            });
            chosen.count()
        };
        assert_eq!(tried(500), 6400);
        let noise = tried(1000);
        assert!((100..130).contains(&noise), "{noise}");
        let text = tried(300);
        assert!(text > 6000, "{text}");
    }
}
