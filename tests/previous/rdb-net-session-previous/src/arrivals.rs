//! Reading: from bytes to checked frames, without the session, so that whoever shares a session holds it only for what the
//! frames do and not for parsing them.

use bytes::BytesMut;
use rdb_net_wire::{Body, FrameError, FrameHead, decode_frame, frame_length, split_frame};

use crate::Terms;

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

impl Arrivals {
    /// Takes whole frames out of the buffer and checks them; what remains is the beginning of one. Returns whether there is
    /// more to read once these are handled.
    pub fn read(&mut self, terms: Terms, input: &mut BytesMut) -> bool {
        debug_assert!(self.is_empty(), "what was read before is handled first");
        let whole = self.measure(terms, input);
        if whole == 0 {
            return false;
        }
        self.wire_bytes = whole as u64;
        let frames = input.split_to(whole).freeze();
        let mut rest = &frames[..];
        while let Some((frame, behind)) = split_frame(rest) {
            match decode_frame(frame, terms.checksum) {
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
        terms.one_by_one && self.problem.is_none()
    }

    /// How many bytes at the head of the buffer are whole frames.
    fn measure(&mut self, terms: Terms, input: &[u8]) -> usize {
        let mut whole = 0;
        loop {
            match frame_length(&input[whole..], terms.frame_bytes_max) {
                Ok(Some(length)) if whole + length <= input.len() => whole += length,
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
        self.frames.is_empty() && self.problem.is_none()
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.wire_bytes = 0;
        self.problem = None;
    }
}
