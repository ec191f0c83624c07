//! Reading: from bytes to checked frames, without the session, so that whoever shares a session holds it only for what the
//! frames do and not for parsing them.

use bytes::BytesMut;
use rdb_net_wire::{Body, FrameError, FrameHead, decode_frame, frame_length, split_frame};

/// What a reader has to know of the session that it reads for. It changes only by what frames do, so it is asked for again
/// after each [`Session::handle_arrivals`](crate::Session::handle_arrivals).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub(crate) frame_bytes_max: u32,
    pub(crate) checksum_required: bool,
    /// The next frame decides how those behind it are read.
    pub(crate) one_by_one: bool,
}

/// A frame that was read and not yet handled.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) head: FrameHead,
    pub(crate) deadline_us: u32,
    pub(crate) wire_bytes: u32,
    pub(crate) body: Body,
}

/// Frames that were read, in order, and what is wrong behind them. Keeps its memory for the next read.
#[derive(Debug, Default)]
pub struct Arrivals {
    pub(crate) frames: Vec<Arrived>,
    pub(crate) wire_bytes: u64,
    pub(crate) problem: Option<FrameError>,
}

impl Reading {
    /// How many more bytes the frame at the head of the buffer needs, so that a reader can make room for them. Bounded by
    /// the largest frame; 0 where that is not known yet.
    pub fn bytes_wanted(self, input: &[u8]) -> usize {
        match frame_length(input, self.frame_bytes_max) {
            Ok(Some(length)) => length.saturating_sub(input.len()),
            Ok(None) | Err(_) => 0,
        }
    }
}

impl Arrivals {
    /// Takes whole frames out of the buffer and checks them; what remains is the beginning of one. Returns whether there is
    /// more to read once these are handled.
    pub fn read(&mut self, reading: Reading, input: &mut BytesMut) -> bool {
        debug_assert!(self.is_empty(), "what was read before is handled first");
        let whole = self.measure(reading, input);
        if whole == 0 {
            return false;
        }
        self.wire_bytes = whole as u64;
        let frames = input.split_to(whole).freeze();
        let mut rest = &frames[..];
        while let Some((frame, behind)) = split_frame(rest) {
            match decode_frame(frame, reading.checksum_required) {
                Ok(read) => {
                    let start = whole - rest.len();
                    self.frames.push(Arrived {
                        head: read.head,
                        deadline_us: read.deadline_us,
                        wire_bytes: frame.len() as u32,
                        body: Body::within(&read, &frames, start),
                    });
                }
                Err(error) => {
                    // Nothing behind it can be trusted either.
                    self.problem = Some(error);
                    return false;
                }
            }
            rest = behind;
        }
        reading.one_by_one && self.problem.is_none()
    }

    /// How many bytes at the head of the buffer are whole frames.
    fn measure(&mut self, reading: Reading, input: &[u8]) -> usize {
        let mut whole = 0;
        loop {
            match frame_length(&input[whole..], reading.frame_bytes_max) {
                Ok(Some(length)) if whole + length <= input.len() => whole += length,
                Ok(_) => return whole,
                Err(error) => {
                    self.problem = Some(error);
                    return whole;
                }
            }
            if reading.one_by_one {
                return whole;
            }
        }
    }

    /// Whether nothing was read that is not handled.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.problem.is_none()
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.wire_bytes = 0;
        self.problem = None;
    }
}
