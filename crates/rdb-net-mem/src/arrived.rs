//! What has arrived and was not read yet: frames of different lanes in an order that the seed draws.
//!
//! Frames of a lane keep their order. The protocol's own frames on the System lane keep their place among all: hello, credits,
//! farewells and cancellations speak of what was sent before them. A frame that is not there as a whole is handed out as it
//! comes, once nothing is left before it, so that no frame has to fit into the buffer. Bytes that are no frames pass unchanged.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use rdb_net_types::{Lane, MessageType, SeededRandom};
use rdb_net_wire::frame_length;

/// A longer frame is legal under no configuration, and what claims to be one is not looked at any further.
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Where the message type and the lane stand in a frame.
const TYPE_AT: usize = 6;
const LANE_AT: usize = 14;

/// How much of what comes next is handed out as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// The rest of a frame of which a part was handed out.
    Bytes(usize),
    /// Everything: order is kept, or these are no frames.
    All,
}

/// Bytes that have arrived and were not read.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Not taken apart yet.
    raw: BytesMut,
    /// Whole frames that no other frame's place lies between.
    lanes: [VecDeque<Bytes>; Lane::ALL.len()],
    /// What is handed out at present.
    reading: Bytes,
    passing: Passing,
    random: SeededRandom,
}

impl Arrived {
    /// With lanes shuffled or not.
    pub(crate) fn new(shuffles: bool, random: SeededRandom) -> Self {
        Self {
            raw: BytesMut::new(),
            lanes: Default::default(),
            reading: Bytes::new(),
            passing: if shuffles { Passing::Bytes(0) } else { Passing::All },
            random,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Forgets everything that was not read.
    pub(crate) fn clear(&mut self) {
        self.raw.clear();
        self.lanes.iter_mut().for_each(VecDeque::clear);
        self.reading.clear();
    }

    /// The next bytes to be read, at most so many; none where the rest of a header has to come first.
    pub(crate) fn take(&mut self, bytes_max: usize) -> Bytes {
        if self.reading.is_empty() {
            self.reading = self.next();
        }
        self.reading.split_to(bytes_max.min(self.reading.len()))
    }

    /// Nothing more will come: what is no whole header is handed out too.
    pub(crate) fn end(&mut self) {
        if self.lanes.iter().all(VecDeque::is_empty) && matches!(frame_length(&self.raw, FRAME_BYTES_MAX), Ok(None)) {
            self.passing = Passing::All;
        }
    }

    fn next(&mut self) -> Bytes {
        match self.passing {
            Passing::Bytes(0) => self.next_frame(),
            Passing::Bytes(rest) => {
                let now = rest.min(self.raw.len());
                self.passing = Passing::Bytes(rest - now);
                self.raw.split_to(now).freeze()
            }
            Passing::All => self.raw.split().freeze(),
        }
    }

    fn next_frame(&mut self) -> Bytes {
        while let Some(bytes) = self.whole_frame() {
            match lane_of(&self.raw[..bytes]) {
                Some(lane) => self.lanes[lane].push_back(self.raw.split_to(bytes).freeze()),
                None => break,
            }
        }
        let waiting: Vec<usize> = (0..self.lanes.len()).filter(|lane| !self.lanes[*lane].is_empty()).collect();
        if !waiting.is_empty() {
            let lane = waiting[self.random.index(waiting.len())];
            return self.lanes[lane].pop_front().unwrap_or_default();
        }
        match frame_length(&self.raw, FRAME_BYTES_MAX) {
            Ok(Some(bytes)) => self.passing = Passing::Bytes(bytes),
            Ok(None) => return Bytes::new(),
            Err(_) => self.passing = Passing::All,
        }
        self.next()
    }

    /// How long the first frame is, where all of it is there.
    fn whole_frame(&self) -> Option<usize> {
        frame_length(&self.raw, FRAME_BYTES_MAX).ok().flatten().filter(|bytes| *bytes <= self.raw.len())
    }
}

/// Among which frames a whole frame may be moved; `None` for one that keeps its place.
fn lane_of(frame: &[u8]) -> Option<usize> {
    let message_type = MessageType(u16::from_be_bytes([*frame.get(TYPE_AT)?, *frame.get(TYPE_AT + 1)?]));
    let lane = Lane::from_u8(*frame.get(LANE_AT)?)?;
    (lane != Lane::System || !message_type.is_control()).then_some(lane as usize)
}
