//! Header and envelope: what stands in front of a body, and how it is read back.

use std::ops::Range;

use rdb_net_types::{Lane, MessageType};

use crate::extension::Extensions;
use crate::{COMPRESSION_RATIO_MAX, Codec, Codecs, FRAGMENT_BYTES_MIN, Fragment, FrameError};

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

pub(crate) const WORD: usize = 4;
const ENVELOPE_WORDS: usize = (HEAD_BYTES - HEADER_BYTES) / WORD;

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
    /// More fragments of the message follow.
    pub const MORE: Self = Self(0x0008);
    /// The number of the [`Codec`] of a compressed body (two bits).
    pub const CODEC: Self = Self(0x0030);
    /// The frame ends in a CRC32C of everything before it.
    pub const CHECKSUM: Self = Self(0x0040);
    /// Carrying the message out twice is the same as once.
    pub const IDEMPOTENT: Self = Self(0x0080);
    /// Of a request: a stream of replies is wanted. Of a reply: others follow.
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
    /// Appends header and envelope with an unknown size, and those extensions that say something.
    #[inline(always)]
    pub(crate) fn write(&self, out: &mut Vec<u8>, extensions: &Extensions) {
        let words = (ENVELOPE_WORDS + extensions.words()) as u8;
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..6].copy_from_slice(&VERSION.to_be_bytes());
        head[6..8].copy_from_slice(&self.message_type.0.to_be_bytes());
        head[12..14].copy_from_slice(&self.flags.0.to_be_bytes());
        head[14] = self.lane as u8;
        head[15] = words;
        head[16..24].copy_from_slice(&self.correlation.to_be_bytes());
        out.extend_from_slice(&head);
        if words as usize != ENVELOPE_WORDS {
            extensions.write(out);
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
    /// Where the body is, as it came.
    pub body: Range<usize>,
    /// How many bytes of the whole message, at its end, are the attachment.
    pub attachment_bytes: u32,
    /// How the body is compressed.
    pub codec: Option<Codec>,
    /// Which part of its message it is; `None` for all of it.
    pub fragment: Option<Fragment>,
    /// Of a request for a stream of replies: how many bytes may come before more are asked for.
    pub stream_window: u32,
}

impl Frame {
    /// Where the struct is, in a frame that is neither compressed nor a fragment.
    pub fn structure(&self) -> Range<usize> {
        self.body.start..self.body.end - self.attachment_bytes as usize
    }

    /// Where the attachment is, in a frame that is neither compressed nor a fragment; empty for none.
    pub fn attachment(&self) -> Range<usize> {
        self.body.end - self.attachment_bytes as usize..self.body.end
    }
}

/// A frame whose checksum is right, as far as all frames are alike.
#[derive(Debug, Clone, Copy)]
pub struct CheckedFrame {
    /// What the sender says of it.
    pub head: FrameHead,
    /// Microseconds that remain until its deadline, 0 for none.
    pub deadline_us: u32,
    raw_bytes: u32,
    words: u8,
    end: usize,
}

impl CheckedFrame {
    /// Whether it is a whole message without extensions, as it was.
    #[inline]
    pub fn is_plain(&self) -> bool {
        usize::from(self.words) == ENVELOPE_WORDS
            && !self.head.flags.has(AGREED)
            && self.end.checked_sub(HEAD_BYTES) == Some(self.raw_bytes as usize)
    }

    /// Where the body of a plain frame is.
    #[inline]
    pub fn plain_body(&self) -> Range<usize> {
        HEAD_BYTES..self.end
    }
}

/// What a frame may have only where it was agreed.
const AGREED: Flags = Flags(Flags::MORE.0 | Flags::CODEC.0 | Flags::STREAM.0);

/// What was agreed of frames, so that a reader takes no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRules {
    /// Whether every frame must carry a checksum.
    pub checksum: bool,
    /// The codecs that this side said it reads.
    pub codecs: Codecs,
    /// Whether this side said that it puts fragments together.
    pub fragments: bool,
    /// Whether this side said that it takes and gives streams of replies.
    pub streams: bool,
    /// The largest body of one frame after decompression, in bytes.
    pub raw_bytes_max: u32,
    /// The largest message, in bytes of its body.
    pub message_bytes_max: u32,
}

impl FrameRules {
    /// Frames without anything that has to be agreed.
    pub const fn plain(checksum: bool) -> Self {
        Self {
            checksum,
            codecs: Codecs::NONE,
            fragments: false,
            streams: false,
            raw_bytes_max: u32::MAX,
            message_bytes_max: u32::MAX,
        }
    }

    /// Reads a whole frame: `frame` is exactly as long as [`frame_length`] said, which has looked at magic, version and size.
    /// The body is not looked into.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; the connection must end, since nothing in the frame can be trusted.
    #[inline]
    pub fn read(&self, frame: &[u8]) -> Result<Frame, FrameError> {
        let checked = self.check(frame)?;
        self.read_checked(frame, &checked)
    }

    /// Checks a whole frame, and reads what every frame has. One that is [plain](CheckedFrame::is_plain) has nothing else.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    #[inline(always)]
    pub fn check(&self, frame: &[u8]) -> Result<CheckedFrame, FrameError> {
        let Some(head) = frame.first_chunk::<HEAD_BYTES>() else {
            return Err(FrameError::TooSmall { size: frame.len().saturating_sub(HEADER_BYTES) as u32 });
        };
        let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);

        let flags = Flags(u16_at(12));
        let end = check_sum(frame, flags, self.checksum)?;
        let lane = Lane::from_u8(head[14]).ok_or(FrameError::Lane { found: head[14] })?;
        Ok(CheckedFrame {
            head: FrameHead {
                message_type: MessageType(u16_at(6)),
                flags,
                lane,
                correlation: u64::from(u32_at(16)) << 32 | u64::from(u32_at(20)),
            },
            deadline_us: u32_at(24),
            raw_bytes: u32_at(28),
            words: head[15],
            end,
        })
    }

    /// Reads what only some frames have.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_checked(&self, bytes: &[u8], checked: &CheckedFrame) -> Result<Frame, FrameError> {
        let frame = Frame {
            head: checked.head,
            deadline_us: checked.deadline_us,
            raw_bytes: checked.raw_bytes,
            body: checked.plain_body(),
            attachment_bytes: 0,
            codec: None,
            fragment: None,
            stream_window: 0,
        };
        if checked.is_plain() { Ok(frame) } else { self.read_on(bytes, frame, checked.words) }
    }

    /// Reads a frame that has extensions, is not whole or not as it was, or is no frame.
    fn read_on(&self, bytes: &[u8], frame: Frame, words: u8) -> Result<Frame, FrameError> {
        let end = frame.body.end;
        let body_start = HEADER_BYTES + usize::from(words) * WORD;
        if body_start < HEAD_BYTES || body_start > end {
            return Err(FrameError::TooSmall { size: (bytes.len() - HEADER_BYTES) as u32 });
        }
        let Extensions { attachment_bytes, fragment, stream_window } =
            Extensions::read(&bytes[HEAD_BYTES..body_start])?;
        let codec = Codec::of(frame.head.flags);
        let frame = Frame { body: body_start..end, attachment_bytes, codec, fragment, stream_window, ..frame };
        if frame.head.flags.has(AGREED) || fragment.is_some() {
            self.check_agreed(&frame)?;
        } else if frame.raw_bytes as usize != end - body_start {
            return Err(FrameError::NotAgreed);
        } else if attachment_bytes > frame.raw_bytes {
            return Err(FrameError::Extension);
        }
        Ok(frame)
    }

    /// Whether a frame that is compressed, or a part of something, is so as was agreed.
    fn check_agreed(&self, frame: &Frame) -> Result<(), FrameError> {
        let flags = frame.head.flags;
        let wire_bytes = frame.body.len();
        let is_part = flags.has(Flags::MORE) || frame.fragment.is_some();
        if (flags.has(Flags::STREAM) && !self.streams) || (is_part && !self.fragments) {
            return Err(FrameError::NotAgreed);
        }
        match frame.codec {
            None if frame.raw_bytes as usize != wire_bytes => return Err(FrameError::NotAgreed),
            None => {}
            Some(codec) if !self.codecs.has(codec) => return Err(FrameError::NotAgreed),
            Some(_) if frame.raw_bytes > self.raw_bytes_max => return Err(FrameError::Compression),
            Some(_) if u64::from(frame.raw_bytes) > wire_bytes as u64 * u64::from(COMPRESSION_RATIO_MAX) => {
                return Err(FrameError::Compression);
            }
            Some(_) => {}
        }
        let Some(fragment) = frame.fragment else {
            let is_whole = !flags.has(Flags::MORE);
            let fits = frame.attachment_bytes <= frame.raw_bytes;
            return if is_whole && fits { Ok(()) } else { Err(FrameError::Extension) };
        };
        if fragment.total_bytes > self.message_bytes_max {
            return Err(FrameError::MessageTooLarge { total: fragment.total_bytes, limit: self.message_bytes_max });
        }
        let end = u64::from(fragment.offset) + u64::from(frame.raw_bytes);
        let total = u64::from(fragment.total_bytes);
        let is_sound = if flags.has(Flags::MORE) {
            end < total && frame.raw_bytes >= FRAGMENT_BYTES_MIN
        } else {
            // A message of one frame is none of fragments.
            end == total && frame.raw_bytes > 0 && fragment.offset > 0
        };
        if is_sound && frame.attachment_bytes <= fragment.total_bytes { Ok(()) } else { Err(FrameError::Fragment) }
    }
}

/// Reads a whole frame that has nothing in it which must be agreed.
///
/// # Errors
///
/// As [`FrameRules::read`].
#[inline]
pub fn decode_frame(frame: &[u8], checksum_required: bool) -> Result<Frame, FrameError> {
    FrameRules::plain(checksum_required).read(frame)
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
