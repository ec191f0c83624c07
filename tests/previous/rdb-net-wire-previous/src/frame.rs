//! Header and envelope: what stands in front of a body, and how it is read back.

use std::ops::Range;

use rdb_net_types::{Lane, MessageType};

use crate::FrameError;

/// The first four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"RDBN";
/// The wire version that this build writes. Hello and reject have this version for ever.
pub const VERSION: u16 = 1;
/// Magic, version, message type, size.
pub const HEADER_BYTES: usize = 12;
/// Header and fixed envelope: where extensions, or else the body, begin.
pub const HEAD_BYTES: usize = 32;
/// The checksum at the end of a frame.
pub const CHECKSUM_BYTES: usize = 4;

const WORD: usize = 4;
const ENVELOPE_WORDS: usize = (HEAD_BYTES - HEADER_BYTES) / WORD;

/// Extension types. A reader skips those it does not know.
pub(crate) mod extension {
    /// How many bytes of the body, at its end, are the attachment: u32.
    pub(crate) const ATTACHMENT: u8 = 0x04;
}

/// What a frame is. Bits that are not named here are sent as 0 and ignored when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// Answers the request of this correlation id.
    pub const RESPONSE: Self = Self(0x0001);
    /// The answer is an error: the body is an [`ErrorReply`](crate::ErrorReply).
    pub const ERROR: Self = Self(0x0002);
    /// Nobody waits for an answer.
    pub const ONE_WAY: Self = Self(0x0004);
    /// Reserved: more fragments follow.
    pub const MORE: Self = Self(0x0008);
    /// Reserved: the codec of a compressed body (two bits).
    pub const CODEC: Self = Self(0x0030);
    /// The frame ends in a CRC32C of everything before it.
    pub const CHECKSUM: Self = Self(0x0040);
    /// Carrying the message out twice is the same as once.
    pub const IDEMPOTENT: Self = Self(0x0080);
    /// Reserved: the frame belongs to a stream of replies.
    pub const STREAM: Self = Self(0x0100);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any bit of the other set is in this one.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The first 12 bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadHeader {
    /// The message type.
    pub message_type: MessageType,
    /// Bytes after these 12.
    pub size: u32,
}

impl PayloadHeader {
    /// Reads the header; `None` while fewer than 12 bytes are there. A wrong magic is told from its first wrong byte.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the bytes are not ours, not a version we speak, or tell a size that cannot be.
    #[inline]
    pub fn read(bytes: &[u8], frame_bytes_max: u32) -> Result<Option<Self>, FrameError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Self::check_magic(bytes).map(|()| None);
        };
        let [a, b, c, d, v, w, ..] = *header;
        if [a, b, c, d] != MAGIC {
            return Err(FrameError::Magic { found: [a, b, c, d] });
        }
        let version = u16::from_be_bytes([v, w]);
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        let size = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if (size as usize) < HEAD_BYTES - HEADER_BYTES {
            return Err(FrameError::TooSmall { size });
        }
        if size > frame_bytes_max.saturating_sub(HEADER_BYTES as u32) {
            return Err(FrameError::TooLarge { size, limit: frame_bytes_max });
        }
        Ok(Some(Self { message_type: MessageType(u16::from_be_bytes([header[6], header[7]])), size }))
    }

    /// Whether the few bytes that are there begin the magic.
    fn check_magic(bytes: &[u8]) -> Result<(), FrameError> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] == MAGIC[..seen] {
            return Ok(());
        }
        let mut found = [0; 4];
        found[..seen].copy_from_slice(&bytes[..seen]);
        Err(FrameError::Magic { found })
    }
}

/// How long the first frame in the buffer is, header included; `None` while its header is not whole.
///
/// # Errors
///
/// As [`PayloadHeader::read`].
#[inline]
pub fn frame_length(bytes: &[u8], frame_bytes_max: u32) -> Result<Option<usize>, FrameError> {
    Ok(PayloadHeader::read(bytes, frame_bytes_max)?.map(|header| header.size as usize + HEADER_BYTES))
}

/// Splits the first frame off bytes that begin with whole frames, each of which [`frame_length`] has looked at; `None` at
/// their end.
#[inline]
pub fn split_frame(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let &[_, _, _, _, _, _, _, _, a, b, c, d, ..] = frames else { return None };
    frames.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize + HEADER_BYTES)
}

/// What the sender says of a frame; the deadline is filled in when the frame is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// The message type.
    pub message_type: MessageType,
    /// What the frame is.
    pub flags: Flags,
    /// The lane it travels on.
    pub lane: Lane,
    /// Which request it is or answers; 0 for one-way messages.
    pub correlation: u64,
}

impl FrameHead {
    /// Appends header and envelope with an unknown size. `attachment_bytes` of 0 writes no extension.
    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>, attachment_bytes: u32) {
        let has_attachment = attachment_bytes != 0;
        let words = (ENVELOPE_WORDS + if has_attachment { 2 } else { 0 }) as u8;
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..6].copy_from_slice(&VERSION.to_be_bytes());
        head[6..8].copy_from_slice(&self.message_type.0.to_be_bytes());
        head[12..14].copy_from_slice(&self.flags.0.to_be_bytes());
        head[14] = self.lane as u8;
        head[15] = words;
        head[16..24].copy_from_slice(&self.correlation.to_be_bytes());
        out.extend_from_slice(&head);
        if has_attachment {
            out.extend_from_slice(&[extension::ATTACHMENT, 2, 0, 0]);
            out.extend_from_slice(&attachment_bytes.to_be_bytes());
        }
    }
}

/// A frame that was read: what its envelope says, and where in the frame its body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the sender says of it.
    pub head: FrameHead,
    /// Microseconds that remain until its deadline, 0 for none.
    pub deadline_us: u32,
    /// Length of the body before compression.
    pub raw_bytes: u32,
    /// Where the struct is.
    pub structure: Range<usize>,
    /// Where the attachment is, empty for none.
    pub attachment: Range<usize>,
}

/// Reads a whole frame: `frame` is exactly as long as [`frame_length`] said, which has looked at magic, version and size. The
/// body is not looked into.
///
/// # Errors
///
/// [`FrameError`]; the connection must end, since nothing in the frame can be trusted.
#[inline]
pub fn decode_frame(frame: &[u8], checksum_required: bool) -> Result<Frame, FrameError> {
    let Some(head) = frame.first_chunk::<HEAD_BYTES>() else {
        return Err(FrameError::TooSmall { size: frame.len().saturating_sub(HEADER_BYTES) as u32 });
    };
    let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let u32_at = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);

    let flags = Flags(u16_at(12));
    let end = check_sum(frame, flags, checksum_required)?;
    if flags.has(Flags(Flags::MORE.0 | Flags::CODEC.0 | Flags::STREAM.0)) {
        return Err(FrameError::NotAgreed);
    }
    let lane = Lane::from_u8(head[14]).ok_or(FrameError::Lane { found: head[14] })?;
    let body_start = HEADER_BYTES + usize::from(head[15]) * WORD;
    if body_start < HEAD_BYTES || body_start > end {
        return Err(FrameError::TooSmall { size: (frame.len() - HEADER_BYTES) as u32 });
    }
    let attachment_bytes = match &frame[HEAD_BYTES..body_start] {
        [] => 0,
        extensions => read_extensions(extensions)?,
    };
    let attachment_start = end.checked_sub(attachment_bytes as usize).filter(|start| *start >= body_start);
    let attachment_start = attachment_start.ok_or(FrameError::Extension)?;
    let raw_bytes = u32_at(28);
    if raw_bytes as usize != end - body_start {
        return Err(FrameError::NotAgreed);
    }
    Ok(Frame {
        head: FrameHead {
            message_type: MessageType(u16_at(6)),
            flags,
            lane,
            correlation: u64::from(u32_at(16)) << 32 | u64::from(u32_at(20)),
        },
        deadline_us: u32_at(24),
        raw_bytes,
        structure: body_start..attachment_start,
        attachment: attachment_start..end,
    })
}

/// Checks the checksum where there is one, and tells where the body ends.
#[inline]
fn check_sum(frame: &[u8], flags: Flags, required: bool) -> Result<usize, FrameError> {
    if !flags.has(Flags::CHECKSUM) {
        return if required { Err(FrameError::Checksum) } else { Ok(frame.len()) };
    }
    let Some((covered, sum)) = frame.split_last_chunk::<CHECKSUM_BYTES>() else { return Err(FrameError::Checksum) };
    if crc_fast::crc32_iscsi(covered) != u32::from_be_bytes(*sum) {
        return Err(FrameError::Checksum);
    }
    Ok(covered.len())
}

/// Walks over the extensions and returns the length of the attachment. Each extension is a type, its whole length in words,
/// and data; at least one word, so the walk is bounded by the envelope's 1,020 bytes.
fn read_extensions(mut rest: &[u8]) -> Result<u32, FrameError> {
    let mut attachment_bytes = 0;
    while let [kind, words, ..] = *rest {
        let length = usize::from(words) * WORD;
        if length == 0 || length > rest.len() {
            return Err(FrameError::Extension);
        }
        let (this, behind) = rest.split_at(length);
        if kind == extension::ATTACHMENT {
            let [_, _, _, _, a, b, c, d] = *this else { return Err(FrameError::Extension) };
            attachment_bytes = u32::from_be_bytes([a, b, c, d]);
        }
        rest = behind;
    }
    Ok(attachment_bytes)
}
