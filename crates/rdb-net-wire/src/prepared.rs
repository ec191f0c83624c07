//! A message that was encoded by itself, before anybody is held up by it: one that is too large for a frame, or worth
//! compressing. It is cut into frames when its turn comes, so that no lane waits for the whole of it.

use std::collections::VecDeque;

use bytes::Bytes;
use rdb_net_types::MessageType;

use crate::body::{BodyWriter, Encode};
use crate::extension::{Extensions, Fragment};
use crate::frame::{CHECKSUM_BYTES, Flags, HEAD_BYTES};
use crate::{Codec, FrameBuffer};

/// What a fragment's frame needs beside its body: head, three extensions, checksum.
const OVERHEAD_BYTES: u32 = HEAD_BYTES as u32 + 12 + 8 + 8 + CHECKSUM_BYTES as u32;
/// How much is compressed at once: a block that a reader decompresses in some tens of microseconds.
const BLOCK_BYTES: u32 = 64 * 1024;

/// A part of a body that was compressed, or was not worth it.
#[derive(Debug)]
struct Block {
    codec: Option<Codec>,
    raw_bytes: u32,
    pieces: Vec<Bytes>,
}

/// A message's body on its way into frames.
#[derive(Debug)]
pub struct Prepared {
    message_type: MessageType,
    attachment_bytes: u32,
    total_bytes: u32,
    /// How many bytes were put into frames.
    offset: u32,
    /// Of a request for a stream of replies; 0 for all others.
    stream_window: u32,
    /// What is not in a frame yet, and is cut by the frames' size.
    rest: VecDeque<Bytes>,
    /// What is not in a frame yet and was cut by compression.
    blocks: VecDeque<Block>,
}

impl Prepared {
    /// Encodes a message: large pieces are shared, nothing else is copied twice. `None` for one of 4 GiB or more.
    pub fn new(message: &(impl Encode + ?Sized)) -> Option<Self> {
        let attachment_bytes = u32::try_from(message.attachment_bytes()).ok()?;
        let mut buffer = FrameBuffer::new();
        message.encode(&mut BodyWriter { buffer: &mut buffer });
        let total_bytes = u32::try_from(buffer.len()).ok()?;
        let rest = buffer.into_pieces();
        let message_type = message.message_type();
        Some(Self {
            message_type,
            attachment_bytes,
            total_bytes,
            offset: 0,
            stream_window: 0,
            rest,
            blocks: VecDeque::new(),
        })
    }

    /// Compresses what is worth it, block by block. A block, with what its frame needs, is no larger than a frame. Returns how
    /// many bytes were looked at, and how many they have become.
    pub fn compress(&mut self, codec: Codec, frame_bytes_max: u32) -> (u64, u64) {
        let block_bytes = BLOCK_BYTES.min(frame_bytes_max.saturating_sub(OVERHEAD_BYTES).max(1));
        let (mut before, mut after) = (0, 0);
        let mut gathered = Vec::new();
        while !self.rest.is_empty() {
            let mut pieces = Vec::new();
            let raw_bytes = take(&mut self.rest, block_bytes, |piece| pieces.push(piece));
            let raw: &[u8] = match &pieces[..] {
                [whole] => whole,
                several => {
                    gathered.clear();
                    several.iter().for_each(|piece| gathered.extend_from_slice(piece));
                    &gathered
                }
            };
            let mut compressed = Vec::new();
            let codec = codec.compress(raw, &mut compressed).then_some(codec);
            before += u64::from(raw_bytes);
            after += if codec.is_some() { compressed.len() as u64 } else { u64::from(raw_bytes) };
            if codec.is_some() {
                compressed.shrink_to_fit();
                pieces = vec![compressed.into()];
            }
            self.blocks.push_back(Block { codec, raw_bytes, pieces });
        }
        (before, after)
    }

    /// Makes it a request for a stream of replies, of which so many bytes may come before more are asked for.
    pub fn ask_for_stream(&mut self, window_bytes: u32) {
        self.stream_window = window_bytes;
    }

    /// The message's type.
    pub fn message_type(&self) -> MessageType {
        self.message_type
    }

    /// Length of the body, in bytes before compression.
    pub fn total_bytes(&self) -> u32 {
        self.total_bytes
    }

    /// How many bytes of the body are its struct.
    pub fn structure_bytes(&self) -> u32 {
        self.total_bytes.saturating_sub(self.attachment_bytes)
    }

    /// How many bytes of the body, before compression, are in no frame yet.
    pub fn remaining_bytes(&self) -> u32 {
        self.total_bytes - self.offset
    }

    /// Whether it fits one frame as it is.
    pub fn fits_frame(&self, frame_bytes_max: u32) -> bool {
        self.total_bytes <= frame_bytes_max.saturating_sub(OVERHEAD_BYTES)
    }

    /// How many frames it takes at most.
    pub fn parts_max(&self, frame_bytes_max: u32) -> u32 {
        let room = frame_bytes_max.saturating_sub(OVERHEAD_BYTES).max(1);
        self.blocks.len() as u32 + self.remaining_bytes().div_ceil(room) + 1
    }

    /// Whether a part of it is in a frame already.
    pub fn has_begun(&self) -> bool {
        self.offset > 0
    }

    /// Whether everything is in frames.
    pub fn is_done(&self) -> bool {
        self.offset == self.total_bytes && self.rest.is_empty() && self.blocks.is_empty()
    }

    /// The flags, extensions, length and pieces of the next frame.
    pub(crate) fn next_part(&mut self, frame_bytes_max: u32) -> Part {
        let offset = self.offset;
        let (codec, raw_bytes, pieces) = match self.blocks.pop_front() {
            Some(block) => (block.codec, block.raw_bytes, block.pieces),
            None => {
                let room = frame_bytes_max.saturating_sub(OVERHEAD_BYTES).max(1);
                let mut pieces = Vec::new();
                let raw_bytes = take(&mut self.rest, room, |piece| pieces.push(piece));
                (None, raw_bytes, pieces)
            }
        };
        self.offset += raw_bytes;
        let is_whole = raw_bytes == self.total_bytes;
        let is_last = self.offset == self.total_bytes;
        let flags = codec.map_or(Flags::default(), Codec::flags);
        let flags = if is_last { flags } else { flags.with(Flags::MORE) };
        let fragment = (!is_whole).then_some(Fragment { total_bytes: self.total_bytes, offset });
        let (attachment_bytes, stream_window) =
            if offset == 0 { (self.attachment_bytes, self.stream_window) } else { (0, 0) };
        Part { flags, extensions: Extensions { attachment_bytes, fragment, stream_window }, raw_bytes, pieces }
    }
}

/// What the next frame of a prepared message consists of.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) flags: Flags,
    pub(crate) extensions: Extensions,
    pub(crate) raw_bytes: u32,
    pub(crate) pieces: Vec<Bytes>,
}

/// Takes up to so many bytes off the front.
fn take(pieces: &mut VecDeque<Bytes>, bytes_max: u32, mut taken: impl FnMut(Bytes)) -> u32 {
    let mut room = bytes_max as usize;
    while room > 0
        && let Some(piece) = pieces.front_mut()
    {
        if piece.len() > room {
            taken(piece.split_to(room));
            room = 0;
        } else {
            room -= piece.len();
            pieces.pop_front().into_iter().for_each(&mut taken);
        }
    }
    bytes_max - room as u32
}
