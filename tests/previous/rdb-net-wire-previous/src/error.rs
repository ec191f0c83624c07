//! What can be wrong with bytes from a peer, and with a message of ours.

use rdb_net_types::MessageType;

/// Bytes that are no frame. The peer is at fault, or the network changed the bytes; where the next frame begins is not known,
/// so the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first four bytes are not the magic: something else speaks on this port.
    #[error("not our protocol: the magic is {found:02x?}")]
    Magic {
        /// What stood there.
        found: [u8; 4],
    },
    /// The version is one that this side does not speak.
    #[error("wire version {found} is not spoken here")]
    Version {
        /// What stood there.
        found: u16,
    },
    /// The frame says that it is larger than was agreed.
    #[error("a frame of 12 + {size} bytes is above the agreed {limit}")]
    TooLarge {
        /// The size that the header tells: bytes behind the header.
        size: u32,
        /// The agreed size, header included.
        limit: u32,
    },
    /// The frame is too small to hold its own envelope.
    #[error("a frame of 12 + {size} bytes cannot hold its envelope")]
    TooSmall {
        /// The size that the header tells: bytes behind the header.
        size: u32,
    },
    /// An extension or attachment reaches beyond the frame.
    #[error("an extension or attachment reaches beyond its frame")]
    Extension,
    /// The lane does not exist.
    #[error("there is no lane {found}")]
    Lane {
        /// What stood there.
        found: u8,
    },
    /// The checksum does not fit: bytes were changed on the way.
    #[error("the checksum does not fit")]
    Checksum,
    /// The frame is compressed or fragmented in a way that was not agreed.
    #[error("the frame uses a feature that was not agreed")]
    NotAgreed,
}

impl FrameError {
    /// A short name for counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Magic { .. } => "bad_magic",
            Self::Version { .. } => "bad_version",
            Self::TooLarge { .. } => "frame_too_large",
            Self::TooSmall { .. } => "frame_too_small",
            Self::Extension => "bad_extension",
            Self::Lane { .. } => "bad_lane",
            Self::Checksum => "bad_checksum",
            Self::NotAgreed => "not_agreed",
        }
    }
}

/// A body that cannot be read as its message type. The two sides disagree on the type; the connection is not harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The struct ends before its fields do, or a field is not legal.
    #[error("the body of {message_type} is malformed")]
    Malformed {
        /// The type as which the body was read.
        message_type: MessageType,
    },
    /// The lengths in the struct do not fit the attachment.
    #[error("the attachment of {message_type} does not fit its struct")]
    Attachment {
        /// The type as which the body was read.
        message_type: MessageType,
    },
    /// There is no such cluster message here.
    #[error("{message_type} is not known here")]
    UnknownType {
        /// The type.
        message_type: MessageType,
    },
}

/// A message that cannot be sent. The caller is at fault; nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The encoded message is larger than a frame may be.
    #[error("{message_type} takes {size} bytes, and a frame takes at most {limit}")]
    TooLarge {
        /// The type.
        message_type: MessageType,
        /// The encoded size, in bytes.
        size: usize,
        /// The largest frame, in bytes.
        limit: usize,
    },
}
