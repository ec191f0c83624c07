//! What happens to a session, out of any input: bytes that arrive, time that passes, and calls of its owner.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use rdb_net_session::Side;
use rdb_net_types::{ClusterId, Lane, ProtocolRange};
use rdb_net_wire::{Close, Fence, Flags, FrameHead, Hello, Message, Pong, TypeCost};

use crate::frames::{self, Fault, Written};
use crate::series::{self, Kind};
use crate::{messages, sides};

const STEPS_MAX: usize = 40;
const FRAMES_MAX: usize = 8;
/// How many messages are under way at once where they come in fragments.
const SERIES_MAX: usize = 5;

/// A session's life.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) side: Side,
    /// Whether a dialer is let in.
    pub(crate) accepts: bool,
    /// Whether the session wants checksums.
    pub(crate) checksum: bool,
    /// Whether the session compresses what it writes.
    pub(crate) compresses: bool,
    /// How much the session may reserve beyond its first windows.
    pub(crate) budget_bytes: u64,
    /// Whether the owner takes replies of streams only when a step says so.
    pub(crate) slow: bool,
    /// Whether each lane has a stream of its own.
    pub(crate) apart: bool,
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Step {
    /// Bytes arrive, in one piece or in several.
    Arrive(Vec<u8>),
    /// Bytes arrive on one lane's stream, whichever lane their frames name.
    ArriveOn(Lane, Vec<u8>),
    Wait(Duration),
    Request {
        lane: Lane,
        timeout: Option<Duration>,
        bytes: usize,
    },
    OneWay {
        lane: Lane,
        bytes: usize,
    },
    Stream {
        lane: Lane,
        window_bytes: u32,
        bytes: usize,
    },
    /// Takes the next reply of a stream.
    TakeItem(usize),
    Cancel(usize),
    ReplyItem {
        which: usize,
        bytes: usize,
    },
    Reply {
        which: usize,
        bytes: usize,
    },
    ReplyError(usize),
    Finish(usize),
    Write,
    Drain,
    Close,
    Lose,
}

impl Script {
    /// As the input tells it. It ends where the input does.
    pub(crate) fn read(side: Side, input: &mut Unstructured<'_>) -> Self {
        let mut script = Self::new(side);
        // What was read so far is a script too.
        let _end = script.extend(input);
        script
    }

    /// A life in which nothing happens yet.
    pub(crate) fn new(side: Side) -> Self {
        let budget_bytes = sides::BUDGET_BYTES_MAX;
        Self {
            side,
            accepts: true,
            checksum: true,
            compresses: false,
            budget_bytes,
            slow: false,
            apart: false,
            steps: Vec::new(),
        }
    }

    /// A connection that comes up, and then messages in fragments, as the input tells them.
    pub(crate) fn of_fragments(side: Side, input: &mut Unstructured<'_>) -> Self {
        let mut script = Self::new(side);
        // What was read so far is a script too.
        let _end = script.extend_by_fragments(input);
        script
    }

    /// A connection on which each lane has a stream of its own, as the input tells it.
    pub(crate) fn of_lanes(side: Side, input: &mut Unstructured<'_>) -> Self {
        let mut script = Self { apart: true, ..Self::new(side) };
        // What was read so far is a script too.
        let _end = script.extend_by_lanes(input);
        script
    }

    fn extend_by_lanes(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let peer = if matches!(self.side, Side::Acceptor) { "dialer" } else { "acceptor" };
        let hello = sides::hello(peer);
        self.slow = input.arbitrary()?;
        if !input.ratio(1u8, 16)? {
            self.steps.push(Step::Arrive(hello_frame(&hello)));
        }
        while self.steps.len() < STEPS_MAX && !input.is_empty() {
            let step = match input.int_in_range(0..=9u8)? {
                0 => Step::Arrive(fence(input)?),
                1 => Step::ArriveOn(lane(input)?, frames::frame(input, &hello)?.bytes()),
                2 => {
                    let length = input.int_in_range(0..=64usize)?.min(input.len());
                    Step::ArriveOn(lane(input)?, input.bytes(length)?.to_vec())
                }
                _ => step(input, &hello)?,
            };
            self.steps.push(step);
        }
        Ok(())
    }

    fn extend_by_fragments(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        self.budget_bytes = budget(input)?;
        self.slow = input.arbitrary()?;
        let (peer, kind) = match self.side {
            Side::Acceptor => ("dialer", Kind::Message),
            Side::Dialer { .. } => ("acceptor", Kind::Reply),
        };
        self.steps.push(Step::Arrive(hello_frame(&sides::hello(peer))));
        while self.steps.len() < STEPS_MAX && !input.is_empty() {
            let step = match input.int_in_range(0..=7u8)? {
                0..=3 => Step::Arrive(interleaved(input, kind)?),
                4 if kind == Kind::Reply => {
                    let timeout = if input.arbitrary()? { Some(milliseconds(input)?) } else { None };
                    Step::Request { lane: lane(input)?, timeout, bytes: 10 }
                }
                5 if kind == Kind::Reply => stream(input)?,
                4 | 5 => Step::Finish(input.int_in_range(0..=7)?),
                _ => step(input, &sides::hello(peer))?,
            };
            self.steps.push(step);
        }
        Ok(())
    }

    fn extend(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let peer = if matches!(self.side, Side::Acceptor) { "dialer" } else { "acceptor" };
        let hello = said(input, sides::hello(peer))?;
        self.accepts = !input.ratio(1u8, 16)?;
        self.checksum = !input.ratio(1u8, 8)?;
        self.compresses = input.ratio(1u8, 4)?;
        self.budget_bytes = budget(input)?;
        self.slow = input.arbitrary()?;
        let hello = Hello { checksum: hello.checksum && self.checksum, ..hello };
        if !input.ratio(1u8, 8)? {
            let mut arriving = hello_frame(&hello);
            if input.ratio(1u8, 4)? {
                arriving.extend(frames::frame(input, &hello)?.bytes());
            }
            self.steps.push(Step::Arrive(arriving));
        }
        while self.steps.len() < STEPS_MAX && !input.is_empty() {
            let step = step(input, &hello)?;
            self.steps.push(step);
        }
        Ok(())
    }
}

/// A hello that is mostly sound.
fn said(input: &mut Unstructured<'_>, sound: Hello) -> Result<Hello> {
    Ok(match input.int_in_range(0..=31u8)? {
        0 => Hello { cluster: ClusterId::new("another").expect("legal"), ..sound },
        1 => Hello { node: sides::hello("self").node, ..sound },
        2 => Hello { target: Some(sides::hello("nobody").node), ..sound },
        3 => Hello { protocol: ProtocolRange { min: input.arbitrary()?, max: input.arbitrary()? }, ..sound },
        4 => Hello { frame_bytes_max: input.arbitrary()?, ..sound },
        5 => Hello { requests_max: input.arbitrary()?, ..sound },
        6 => Hello { credits: vec![input.arbitrary()?; input.int_in_range(0..=6)?], ..sound },
        7 => Hello { liveness_ms: input.arbitrary()?, ..sound },
        8 => Hello { features: input.arbitrary()?, ..sound },
        9 => Hello { codecs: vec![input.arbitrary()?; 3], ..sound },
        10 => {
            let cost = TypeCost { message_type: 0x8001, bytes_per_byte: input.arbitrary()? };
            Hello { costs: vec![cost; input.int_in_range(0..=70)?], ..sound }
        }
        11 => messages::hello(input)?,
        _ => sound,
    })
}

/// The frame of a hello.
pub(crate) fn hello_frame(hello: &Hello) -> Vec<u8> {
    let written = Written {
        message_type: Hello::TYPE,
        flags: Flags::ONE_WAY.with(Flags::CHECKSUM),
        lane: 0,
        correlation: 0,
        deadline_us: 0,
        extensions: Vec::new(),
        body: messages::body(hello).structure().to_vec(),
        raw_bytes: None,
        fault: Fault::None,
    };
    written.bytes()
}

/// A fence that may be passed at once, some time, or never, and what may come behind it.
fn fence(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let ceiling = *input.choose(&[0u64, 200, 20_000, u64::MAX])?;
    let mut sent_bytes = Vec::new();
    for _ in 0..input.int_in_range(0..=5)? {
        sent_bytes.push(input.int_in_range(0..=ceiling)?);
    }
    let control = |message_type| FrameHead { message_type, flags: Flags::ONE_WAY, lane: Lane::System, correlation: 0 };
    let fence = messages::framed(control(Fence::TYPE), &Fence { sent_bytes }).to_vec();
    Ok(match input.int_in_range(0..=2u8)? {
        0 => fence,
        1 => [fence, messages::framed(control(Pong::TYPE), &Pong { token: 1, clock_us: 0 }).to_vec()].concat(),
        _ => [fence, messages::framed(control(Close::TYPE), &Close { code: 1 }).to_vec()].concat(),
    })
}

fn lane(input: &mut Unstructured<'_>) -> Result<Lane> {
    input.choose(&Lane::ALL).copied()
}

fn milliseconds(input: &mut Unstructured<'_>) -> Result<Duration> {
    let ceiling = *input.choose(&[0u64, 1, 50, 5000, 60_000])?;
    input.int_in_range(0..=ceiling).map(Duration::from_millis)
}

fn budget(input: &mut Unstructured<'_>) -> Result<u64> {
    input.int_in_range(0..=sides::BUDGET_BYTES_MAX)
}

fn stream(input: &mut Unstructured<'_>) -> Result<Step> {
    Ok(Step::Stream { lane: lane(input)?, window_bytes: input.int_in_range(0..=5000)?, bytes: bytes(input)? })
}

/// Several messages in fragments, in any order beside each other.
fn interleaved(input: &mut Unstructured<'_>, kind: Kind) -> Result<Vec<u8>> {
    let mut messages = Vec::new();
    for _ in 0..input.int_in_range(1..=SERIES_MAX)? {
        messages.push(series::series(input, kind)?.into_iter());
    }
    let mut arriving = Vec::new();
    while !messages.is_empty() {
        let which = input.int_in_range(0..=messages.len() - 1)?;
        match messages[which].next() {
            Some(frame) => arriving.extend(frame),
            None => drop(messages.remove(which)),
        }
    }
    Ok(arriving)
}

fn bytes(input: &mut Unstructured<'_>) -> Result<usize> {
    let ceiling = *input.choose(&[0usize, 40, 4200])?;
    input.int_in_range(0..=ceiling)
}

fn step(input: &mut Unstructured<'_>, hello: &Hello) -> Result<Step> {
    Ok(match input.int_in_range(0..=27u8)? {
        24 => stream(input)?,
        25 => Step::TakeItem(input.int_in_range(0..=7)?),
        26 => Step::ReplyItem { which: input.int_in_range(0..=7)?, bytes: bytes(input)? },
        27 => {
            let kind = *input.choose(&[Kind::Message, Kind::Reply])?;
            Step::Arrive(interleaved(input, kind)?)
        }
        0..=9 => {
            let count = input.int_in_range(1..=FRAMES_MAX)?;
            let mut arriving = Vec::new();
            for _ in 0..count {
                arriving.extend(frames::frame(input, hello)?.bytes());
            }
            Step::Arrive(arriving)
        }
        10 => {
            let length = input.int_in_range(0..=64usize)?.min(input.len());
            Step::Arrive(input.bytes(length)?.to_vec())
        }
        11 | 12 => Step::Wait(milliseconds(input)?),
        13..=15 => {
            let timeout = if input.arbitrary()? { Some(milliseconds(input)?) } else { None };
            Step::Request { lane: lane(input)?, timeout, bytes: bytes(input)? }
        }
        16 => Step::OneWay { lane: lane(input)?, bytes: bytes(input)? },
        17 => Step::Cancel(input.int_in_range(0..=7)?),
        18 | 19 => Step::Reply { which: input.int_in_range(0..=7)?, bytes: bytes(input)? },
        20 => Step::ReplyError(input.int_in_range(0..=7)?),
        21 => Step::Finish(input.int_in_range(0..=7)?),
        22 => Step::Write,
        _ => match input.int_in_range(0..=5u8)? {
            0 => Step::Close,
            1 => Step::Lose,
            2 | 3 => Step::Drain,
            _ => Step::Write,
        },
    })
}
