//! Frames out of any input: written by hand, byte by byte, sound unless the input says otherwise. Sizes and checksums are set
//! right behind whatever else the input has changed, since nothing gets past them otherwise.

use arbitrary::{Result, Unstructured};
use rdb_net_types::MessageType;
use rdb_net_wire::{
    CHECKSUM_BYTES, Close, Codec, Credit, Encode, ErrorReply, Flags, GoAway, HEADER_BYTES, Hello, MAGIC, Ping, Pong,
    Reject, StreamCredit, VERSION, control_type,
};

use crate::{compressed, messages};

/// Everything that stands in a frame.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) message_type: MessageType,
    pub(crate) flags: Flags,
    pub(crate) lane: u8,
    pub(crate) correlation: u64,
    pub(crate) deadline_us: u32,
    /// Whole words.
    pub(crate) extensions: Vec<u8>,
    /// Struct and attachment.
    pub(crate) body: Vec<u8>,
    /// How long the body was before it was compressed; `None` where it is as it was.
    pub(crate) raw_bytes: Option<u32>,
    pub(crate) fault: Fault,
}

/// What is wrong with a frame although its checksum fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Words(u8),
    RawBytes(u32),
    Size(u32),
    Version(u16),
    /// A bit flipped before the checksum was computed, at this share of the frame.
    Flip(u16),
    /// A bit flipped behind it.
    Corrupt(u16),
}

impl Written {
    /// The frame's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = ((20 + self.extensions.len()) / 4).min(255) as u8;
        let sum_bytes = if self.flags.has(Flags::CHECKSUM) { 4 } else { 0 };
        let size = 20 + self.extensions.len() + self.body.len() + sum_bytes;
        let mut out = Vec::with_capacity(size + HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        let version = if let Fault::Version(version) = self.fault { version } else { VERSION };
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&self.message_type.0.to_be_bytes());
        let size = if let Fault::Size(size) = self.fault { size } else { size as u32 };
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&self.flags.0.to_be_bytes());
        out.push(self.lane);
        out.push(if let Fault::Words(words) = self.fault { words } else { words });
        out.extend_from_slice(&self.correlation.to_be_bytes());
        out.extend_from_slice(&self.deadline_us.to_be_bytes());
        let raw = self.raw_bytes.unwrap_or(self.body.len() as u32);
        let raw = if let Fault::RawBytes(raw) = self.fault { raw } else { raw };
        out.extend_from_slice(&raw.to_be_bytes());
        out.extend_from_slice(&self.extensions);
        out.extend_from_slice(&self.body);
        if let Fault::Flip(at) = self.fault {
            flip(&mut out[HEADER_BYTES..], at);
        }
        if sum_bytes > 0 {
            let sum = crc_fast::crc32_iscsi(&out);
            out.extend_from_slice(&sum.to_be_bytes());
        }
        if let Fault::Corrupt(at) = self.fault {
            flip(&mut out, at);
        }
        out
    }
}

/// The frame with these bytes at this offset, and the checksum that fits where there is one.
pub(crate) fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    if Flags(u16::from_be_bytes([frame[12], frame[13]])).has(Flags::CHECKSUM)
        && let Some((covered, sum)) = frame.split_last_chunk_mut::<CHECKSUM_BYTES>()
    {
        *sum = crc_fast::crc32_iscsi(covered).to_be_bytes();
    }
    frame
}

fn flip(bytes: &mut [u8], at: u16) {
    let bit = usize::from(at) % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn fault(input: &mut Unstructured<'_>) -> Result<Fault> {
    Ok(match input.int_in_range(0..=40u8)? {
        1 => Fault::Words(input.arbitrary()?),
        2 => Fault::RawBytes(input.arbitrary()?),
        3 => Fault::Size(input.arbitrary()?),
        4 => Fault::Version(input.arbitrary()?),
        5 | 6 => Fault::Flip(input.arbitrary()?),
        7 => Fault::Corrupt(input.arbitrary()?),
        _ => Fault::None,
    })
}

/// Extensions, and how many bytes of the body they call the attachment.
fn extensions(input: &mut Unstructured<'_>, body_bytes: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match input.int_in_range(0..=9u8)? {
        0..=5 => {}
        6 | 7 => {
            let attachment_bytes = input.int_in_range(0..=body_bytes as u32)?;
            out.extend_from_slice(&[4, 2, 0, 0]);
            out.extend_from_slice(&attachment_bytes.to_be_bytes());
        }
        8 => {
            let words = input.int_in_range(1..=8u8)?;
            out.extend_from_slice(&[input.arbitrary()?, words]);
            out.resize(usize::from(words) * 4, 0);
        }
        _ => {
            let words = input.int_in_range(0..=16usize)?.min(input.len() / 4);
            out.extend_from_slice(input.bytes(words * 4)?);
        }
    }
    Ok(out)
}

/// A correlation id: often one that a session gives out first, or one that was used already.
pub(crate) fn correlation(input: &mut Unstructured<'_>) -> Result<u64> {
    let generation = input.int_in_range(1..=2u64)?;
    Ok(match input.int_in_range(0..=7u8)? {
        0 => input.arbitrary()?,
        _ => generation << 32 | input.int_in_range(0..=7u64)?,
    })
}

fn of(message: &impl Encode) -> (MessageType, Vec<u8>) {
    (message.message_type(), messages::body(message).structure().to_vec())
}

/// A message of the protocol's own.
fn control(input: &mut Unstructured<'_>, hello: &Hello) -> Result<(MessageType, Vec<u8>)> {
    Ok(match input.int_in_range(0..=9u8)? {
        0 => of(hello),
        1 => of(&Reject { code: input.int_in_range(0..=12)?, retry_after_ms: input.arbitrary()? }),
        2 => of(&Ping { token: input.arbitrary()? }),
        3 => of(&Pong { token: input.int_in_range(0..=5)?, clock_us: input.arbitrary()? }),
        4 | 5 => of(&Credit { lane: input.int_in_range(0..=5)?, limit: limit(input)? }),
        6 => (control_type::CANCEL, Vec::new()),
        7 => of(&GoAway { last: input.arbitrary()?, accepted: vec![input.int_in_range(0..=4)?; 4] }),
        8 => of(&Close { code: input.int_in_range(0..=9)? }),
        _ => (MessageType(input.int_in_range(0..=0xff)?), input.arbitrary::<[u8; 4]>()?.to_vec()),
    })
}

/// One frame. `hello` is what the sender says of itself where it says hello.
pub(crate) fn frame(input: &mut Unstructured<'_>, hello: &Hello) -> Result<Written> {
    let one_way = Flags::ONE_WAY;
    let (message_type, body, flags, correlation) = match input.int_in_range(0..=13u8)? {
        0..=3 => {
            let (message_type, body) = control(input, hello)?;
            let correlation = if message_type == control_type::CANCEL { correlation(input)? } else { 0 };
            (message_type, body, one_way, correlation)
        }
        4 | 5 => (MessageType(0x8001), small(input)?, Flags::default(), correlation(input)?),
        6 => (MessageType(0x8001), small(input)?, one_way, 0),
        7 => (control_type::REPLY, small(input)?, Flags::RESPONSE, correlation(input)?),
        8 => {
            let error = ErrorReply {
                not_started: input.arbitrary()?,
                code: input.int_in_range(0..=12)?,
                detail: String::from("detail"),
            };
            let (message_type, body) = of(&error);
            (message_type, body, Flags::RESPONSE.with(Flags::ERROR), correlation(input)?)
        }
        9 => (MessageType(0x8001), small(input)?, Flags::STREAM, correlation(input)?),
        10 | 11 => (control_type::REPLY, small(input)?, Flags::RESPONSE.with(Flags::STREAM), correlation(input)?),
        12 => {
            let (message_type, body) = of(&StreamCredit { limit: limit(input)? });
            (message_type, body, one_way, correlation(input)?)
        }
        _ => {
            let (message_type, flags) = (MessageType(input.arbitrary()?), Flags(input.arbitrary()?));
            (message_type, small(input)?, flags, input.arbitrary()?)
        }
    };
    let checksum = if input.ratio(1u8, 16)? { Flags::default() } else { Flags::CHECKSUM };
    let extra = if input.ratio(1u8, 16)? { Flags(1 << input.int_in_range(0..=15u16)?) } else { Flags::default() };
    let mut extensions = extensions(input, body.len())?;
    if flags.has(Flags::STREAM) && !flags.has(Flags::RESPONSE) && !input.ratio(1u8, 8)? {
        extensions.extend_from_slice(&[7, 2, 0, 0]);
        extensions.extend_from_slice(&input.int_in_range(0..=5000u32)?.to_be_bytes());
    }
    let written = Written {
        message_type,
        flags: flags.with(checksum).with(extra),
        lane: input.int_in_range(0..=3u8)? + u8::from(input.ratio(1u8, 32)?),
        correlation,
        deadline_us: *input.choose(&[0, 0, 1, 1000, 1_000_000, u32::MAX])?,
        extensions,
        body,
        raw_bytes: None,
        fault: fault(input)?,
    };
    if input.ratio(1u8, 8)? { compressed(input, written) } else { Ok(written) }
}

/// The frame with its body compressed, where that saves something; where it does not, it says so all the same now and then.
fn compressed(input: &mut Unstructured<'_>, written: Written) -> Result<Written> {
    let codec = *input.choose(&Codec::ALL)?;
    let flags = written.flags.with(Flags(u16::from(codec.number()) << 4));
    Ok(match compressed::compress(codec, &written.body) {
        Some(body) => Written { raw_bytes: Some(written.body.len() as u32), body, flags, ..written },
        None if input.ratio(1u8, 8)? => Written { flags, ..written },
        None => written,
    })
}

/// Credits up to a limit: few or any number.
fn limit(input: &mut Unstructured<'_>) -> Result<u64> {
    if input.arbitrary()? { input.arbitrary() } else { input.int_in_range(0..=20_000) }
}

/// Plain bytes, few or some thousands.
fn small(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if input.ratio(1u8, 8)? {
        return Ok(vec![7; input.int_in_range(0..=5000usize)?]);
    }
    let length = input.int_in_range(0..=40usize)?.min(input.len());
    input.bytes(length).map(<[u8]>::to_vec)
}
