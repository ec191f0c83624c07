//! Reading: from bytes to checked frames, without the session, so that whoever shares a session holds it only for what the
//! frames do and not for parsing them.

use bytes::{Bytes, BytesMut};
use rdb_net_types::Lane;
use rdb_net_wire::{
    Body, CheckedFrame, Flags, Fragment, Frame, FrameError, FrameHead, FrameRules, HEAD_BYTES, control_type,
    frame_length, split_frame,
};

use crate::Terms;
use crate::costs::Sizes;

/// A frame that was read and not yet handled.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) head: FrameHead,
    pub(crate) deadline_us: u32,
    pub(crate) wire_bytes: u32,
    pub(crate) body: Body,
    /// Of a frame that is compressed, a part of something, or asks for a stream.
    pub(crate) special: Option<Box<Special>>,
}

/// What only some frames have to say.
#[derive(Debug, Default)]
pub(crate) struct Special {
    pub(crate) saved_bytes: u32,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) stream_window: u32,
}

impl Arrived {
    /// Reads the frame that begins at `start` of these bytes.
    #[inline(always)]
    fn read(rules: &FrameRules, bytes: &Bytes, start: usize, frame: &[u8]) -> Result<Self, FrameError> {
        let checked = rules.check(frame)?;
        let CheckedFrame { head, deadline_us, .. } = checked;
        let wire_bytes = frame.len() as u32;
        if !checked.is_plain() {
            return Self::read_special(rules, bytes, start, frame, &checked);
        }
        let body = checked.plain_body();
        let body = if body.is_empty() { Bytes::new() } else { bytes.slice(start + body.start..start + body.end) };
        Ok(Self { head, deadline_us, wire_bytes, body: Body::plain(body), special: None })
    }

    #[inline(never)]
    fn read_special(
        rules: &FrameRules,
        bytes: &Bytes,
        start: usize,
        frame: &[u8],
        checked: &CheckedFrame,
    ) -> Result<Self, FrameError> {
        let read = rules.read_checked(frame, checked)?;
        let body = Body::unpacked(&read, bytes, start)?;
        let is_special = read.codec.is_some() || read.fragment.is_some() || read.stream_window != 0;
        let special = if is_special { Some(Self::special(&read)) } else { None };
        let wire_bytes = frame.len() as u32;
        Ok(Self { head: read.head, deadline_us: read.deadline_us, wire_bytes, body, special })
    }

    /// Whether it outlives the read: a message for a handler, or a reply for a caller.
    #[inline]
    fn is_kept(&self, dials: bool) -> bool {
        let message_type = self.head.message_type;
        let is_reply = self.head.flags.has(Flags::RESPONSE);
        let is_own = message_type.is_control() && message_type != control_type::MEMBERSHIP_SYNC;
        if dials { is_reply } else { !is_own && !is_reply }
    }

    fn special(frame: &Frame) -> Box<Special> {
        let saved_bytes = frame.raw_bytes.saturating_sub(frame.body.len() as u32);
        Box::new(Special { saved_bytes, fragment: frame.fragment, stream_window: frame.stream_window })
    }

    pub(crate) fn fragment(&self) -> Option<Fragment> {
        self.special.as_ref().and_then(|special| special.fragment)
    }

    pub(crate) fn stream_window(&self) -> u32 {
        self.special.as_ref().map_or(0, |special| special.stream_window)
    }

    /// What the frame's sizes are to its cost.
    #[inline]
    pub(crate) fn sizes(&self) -> Sizes {
        let saved_bytes = self.special.as_ref().map_or(0, |special| special.saved_bytes);
        let structure_bytes = (self.body.len() as u32).saturating_sub(self.body.attachment_bytes());
        Sizes { wire_bytes: self.wire_bytes, saved_bytes, structure_bytes }
    }
}

/// Frames that were read, in order, and what is wrong behind them. Keeps its memory for the next read.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Whose stream they came on, where each lane has one.
    pub(crate) lane: Option<Lane>,
    /// One of them belongs on another lane's stream; those from it on were thrown away.
    pub(crate) misplaced: bool,
    pub(crate) frames: Vec<Arrived>,
    pub(crate) wire_bytes: u64,
    pub(crate) problem: Option<FrameError>,
    /// What was read becomes so large that the rest waits until it is admitted.
    stopped: bool,
}

/// How much the compressed frames of one read may become before their credits are looked at.
const UNPACKED_BYTES_MAX: usize = 1024 * 1024;

/// What the frame at the head of these bytes becomes, if it is compressed; 0 if not.
fn unpacked_bytes(frames: &[u8]) -> usize {
    match frames.first_chunk::<HEAD_BYTES>() {
        Some(head) if Flags(u16::from_be_bytes([head[12], head[13]])).has(Flags::CODEC) => {
            u32::from_be_bytes([head[28], head[29], head[30], head[31]]) as usize
        }
        _ => 0,
    }
}

impl Arrivals {
    /// Takes whole frames out of the buffer and checks them; what remains is the beginning of one. Returns whether there is
    /// more to read once these are handled.
    ///
    /// A message that is kept keeps the memory of its buffer, so that should not be much larger than what was read into it.
    pub fn read(&mut self, terms: Terms, input: &mut BytesMut) -> bool {
        debug_assert!(self.is_empty(), "what was read before is handled first");
        let whole = self.measure(terms, input);
        if whole == 0 {
            return false;
        }
        self.wire_bytes = whole as u64;
        let frames = input.split_to(whole).freeze();
        let (mut start, mut own_bytes) = (0, 0);
        while let Some((frame, _)) = split_frame(&frames[start..]) {
            match Arrived::read(&terms.rules, &frames, start, frame) {
                Ok(arrived) => {
                    own_bytes += if arrived.is_kept(terms.dials) { 0 } else { frame.len() };
                    self.frames.push(arrived);
                }
                Err(error) => {
                    // Nothing behind it can be trusted either.
                    self.problem = Some(error);
                    break;
                }
            }
            start += frame.len();
        }
        if own_bytes > whole / 2 {
            self.detach();
        }
        if let Some(lane) = self.lane {
            self.check_places(lane);
        }
        (terms.one_by_one || std::mem::take(&mut self.stopped)) && self.problem.is_none()
    }

    /// What is read from now on came on this lane's own stream, where no other lane's frames belong.
    pub fn begin_lane(&mut self, lane: Lane) {
        self.lane = Some(lane);
    }

    #[cold]
    fn check_places(&mut self, lane: Lane) {
        // A request is given up where it was sent, by a frame of the protocol's own.
        let belongs = |frame: &Arrived| frame.head.lane == lane || frame.head.message_type == control_type::CANCEL;
        if let Some(first) = self.frames.iter().position(|frame| !belongs(frame)) {
            self.frames.truncate(first);
            self.misplaced = true;
        }
    }

    /// Most of what came is the protocol's own and will be gone in a moment. The few messages among it get memory of their
    /// own, so that they do not keep all of it: what a peer makes us hold is what it is charged for.
    #[cold]
    fn detach(&mut self) {
        for arrived in self.frames.iter_mut().filter(|arrived| !arrived.body.is_empty()) {
            arrived.body = arrived.body.detach();
        }
    }

    /// How many bytes at the head of the buffer are whole frames.
    fn measure(&mut self, terms: Terms, input: &[u8]) -> usize {
        let (mut whole, mut unpacked) = (0, 0);
        loop {
            match frame_length(&input[whole..], terms.frame_bytes_max) {
                Ok(Some(length)) if whole + length <= input.len() => {
                    whole += length;
                    unpacked += unpacked_bytes(&input[whole - length..]);
                    if unpacked >= UNPACKED_BYTES_MAX {
                        self.stopped = true;
                        return whole;
                    }
                }
                Ok(_) => return whole,
                Err(error) => {
                    self.problem = Some(error);
                    return whole;
                }
            }
            if terms.one_by_one {
                return whole;
            }
        }
    }

    /// Whether nothing was read that is not handled.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.problem.is_none() && !self.misplaced
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.wire_bytes = 0;
        self.problem = None;
        self.misplaced = false;
    }
}
