//! The datagrams: a fixed header, the sender, one body, and records about members until the end.
//!
//! ```text
//! 'R' 'S' | version u8 | cluster hash u32 | kind u8 | sender: id, boot u64, incarnation u64 | body | records
//! id      = length u8, bytes        address = 4 or 6, octets, port u16        integers big-endian, varint = LEB128
//! record  = varint length, tag u8, fields; unknown tags and unknown bytes at a record's end are passed over
//! alive   = id, incarnation u64, boot u64, address, metadata: varint length, bytes; versions: lowest u8, highest u8, both
//!           left out where they are 1
//! ```
//!
//! Every version keeps the header and the id that follows it, here and in requests for a view: whoever does not understand the
//! rest can tell whose it is, and which version it would have to understand.

use std::net::SocketAddr;

use bytes::Bytes;
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeId};

use crate::broadcast::Broadcast;
use crate::config::PACKET_BYTES_LIMIT;
use crate::versions::Versions;
use crate::wire::{DecodeError, Reader, Write, fnv64};

const MAGIC: [u8; 2] = *b"RS";

/// Kinds from here on belong to the reliable plane.
pub(crate) const KIND_SYNC_REQUEST: u8 = 16;
pub(crate) const KIND_SYNC_REPLY: u8 = 17;

/// The number of a cluster in a header. It tells stray packets apart and protects from nothing else.
pub(crate) fn cluster_hash(cluster: &ClusterId) -> u32 {
    let hash = fnv64(cluster.as_str().as_bytes());
    (hash ^ (hash >> 32)) as u32
}

/// Who sent a packet, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The version in which the packet is written.
    pub(crate) version: u8,
    pub(crate) id: NodeId,
    pub(crate) boot: BootId,
    pub(crate) incarnation: Incarnation,
}

/// What a packet asks or answers. The sequence 0 means that no particular answer is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// Are you this life of this node?
    Ping { sequence: u32, target: NodeId, target_boot: BootId },
    /// I am, and this is the hash of my view.
    Ack { sequence: u32, digest: u64 },
    /// Ping this member for me, and answer within the budget.
    PingRequest { sequence: u32, target: NodeId, target_boot: BootId, budget_ms: u64 },
    /// I am here, but the member you asked for does not answer.
    Nack { sequence: u32 },
    /// Only records.
    Gossip,
    /// I am leaving; tell me that you know.
    Farewell { sequence: u32 },
    /// I know that you are leaving.
    FarewellAck { sequence: u32 },
    /// The member that you asked me to ping is there.
    RelayedAck { sequence: u32, target: NodeId, target_boot: BootId },
}

impl Body {
    /// Whether the packet asks or answers whether somebody is there.
    pub(crate) const fn is_of_probe(&self) -> bool {
        !matches!(self, Self::Gossip | Self::Farewell { .. } | Self::FarewellAck { .. })
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Ping { .. } => 1,
            Self::Ack { .. } => 2,
            Self::PingRequest { .. } => 3,
            Self::Nack { .. } => 4,
            Self::Gossip => 5,
            Self::Farewell { .. } => 6,
            Self::FarewellAck { .. } => 7,
            Self::RelayedAck { .. } => 8,
        }
    }
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: BootId,
    pub(crate) address: SocketAddr,
    pub(crate) meta: Bytes,
    /// What it understands.
    pub(crate) versions: Versions,
}

/// What one member says of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accusation {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) from: NodeId,
}

/// A record about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update {
    Alive(Alive),
    Suspect(Accusation),
    Failed(Accusation),
    /// `from` is the member itself.
    Left(Accusation),
    /// `from` was refused by the member's advertised address.
    Refused(Accusation),
    /// An operator has dropped the member; `from` is the member itself.
    Forgotten(Accusation),
    /// The application of a member has something to say.
    Broadcast(Broadcast),
}

impl Update {
    /// Whether it says of this member that it may be, or is, not there.
    pub(crate) fn accuses(&self, node: &NodeId) -> bool {
        match self {
            Self::Suspect(accusation) | Self::Failed(accusation) | Self::Refused(accusation) => accusation.id == *node,
            Self::Alive(_) | Self::Left(_) | Self::Forgotten(_) | Self::Broadcast(_) => false,
        }
    }
}

/// A whole datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) sender: Sender,
    pub(crate) body: Body,
    pub(crate) updates: Vec<Update>,
}

pub(crate) fn write_header(out: &mut Vec<u8>, version: u8, cluster: u32, kind: u8) {
    out.extend_from_slice(&MAGIC);
    out.push(version);
    out.extend_from_slice(&cluster.to_be_bytes());
    out.push(kind);
}

/// Reads a header of this cluster, whatever its version, and gives its version and kind.
pub(crate) fn read_any_header(reader: &mut Reader<'_>, cluster: u32) -> Result<(u8, u8), DecodeError> {
    if reader.take(2, "magic")? != MAGIC {
        return Err(DecodeError::Magic);
    }
    let version = reader.u8("version")?;
    if reader.u32("cluster")? != cluster {
        return Err(DecodeError::Cluster);
    }
    Ok((version, reader.u8("kind")?))
}

/// Reads a header of this cluster and of a version that is understood, and gives its version and kind.
pub(crate) fn read_header(reader: &mut Reader<'_>, versions: Versions, cluster: u32) -> Result<(u8, u8), DecodeError> {
    match read_any_header(reader, cluster)? {
        (version, _) if !versions.contains(version) => Err(DecodeError::Version { version }),
        header => Ok(header),
    }
}

/// Who sent a packet that cannot be read because of its version.
pub(crate) fn sender_of_any_version(packet: &[u8], cluster: u32) -> Option<NodeId> {
    let mut reader = Reader::new(packet);
    read_any_header(&mut reader, cluster).ok()?;
    reader.id().ok()
}

/// Writes everything of a packet but its records.
pub(crate) fn write_start(out: &mut Vec<u8>, cluster: u32, sender: &Sender, body: &Body) {
    write_header(out, sender.version, cluster, body.kind());
    out.id(&sender.id);
    out.boot(sender.boot);
    out.incarnation(sender.incarnation);
    match body {
        Body::Ping { sequence, target, target_boot } | Body::RelayedAck { sequence, target, target_boot } => {
            out.varint(u64::from(*sequence));
            out.id(target);
            out.boot(*target_boot);
        }
        Body::Ack { sequence, digest } => {
            out.varint(u64::from(*sequence));
            out.extend_from_slice(&digest.to_be_bytes());
        }
        Body::PingRequest { sequence, target, target_boot, budget_ms } => {
            out.varint(u64::from(*sequence));
            out.id(target);
            out.boot(*target_boot);
            out.varint(*budget_ms);
        }
        Body::Nack { sequence } | Body::Farewell { sequence } | Body::FarewellAck { sequence } => {
            out.varint(u64::from(*sequence));
        }
        Body::Gossip => {}
    }
}

/// Writes one record if the whole then has at most `bytes_max` bytes.
pub(crate) fn write_update(out: &mut Vec<u8>, bytes_max: usize, update: &Update) -> bool {
    let mut record = Vec::with_capacity(64);
    let (tag, accusation) = match update {
        Update::Alive(alive) => {
            record.push(1);
            write_alive(&mut record, alive);
            alive.versions.write(&mut record);
            return write_record(out, bytes_max, &record);
        }
        Update::Broadcast(Broadcast { origin, boot, number, payload }) => {
            record.push(7);
            record.id(origin);
            record.boot(*boot);
            record.varint(*number);
            record.varint(payload.len() as u64);
            record.extend_from_slice(payload);
            return write_record(out, bytes_max, &record);
        }
        Update::Suspect(accusation) => (2, accusation),
        Update::Failed(accusation) => (3, accusation),
        Update::Left(accusation) => (4, accusation),
        Update::Refused(accusation) => (5, accusation),
        Update::Forgotten(accusation) => (6, accusation),
    };
    record.push(tag);
    record.id(&accusation.id);
    record.incarnation(accusation.incarnation);
    if !matches!(update, Update::Left(_) | Update::Forgotten(_)) {
        record.id(&accusation.from);
    }
    write_record(out, bytes_max, &record)
}

fn write_record(out: &mut Vec<u8>, bytes_max: usize, record: &[u8]) -> bool {
    let before = out.len();
    out.varint(record.len() as u64);
    out.extend_from_slice(record);
    if out.len() > bytes_max {
        out.truncate(before);
        return false;
    }
    true
}

/// Writes a member's word of itself but for its versions, which stand at the end of the whole.
pub(crate) fn write_alive(out: &mut Vec<u8>, alive: &Alive) {
    out.id(&alive.id);
    out.incarnation(alive.incarnation);
    out.boot(alive.boot);
    out.address(alive.address);
    out.meta(&alive.meta);
}

pub(crate) fn read_alive(reader: &mut Reader<'_>) -> Result<Alive, DecodeError> {
    Ok(Alive {
        id: reader.id()?,
        incarnation: reader.incarnation()?,
        boot: reader.boot()?,
        address: reader.address()?,
        meta: reader.meta()?,
        versions: Versions::FIRST,
    })
}

/// Reads a member's word of itself that ends where the bytes end.
pub(crate) fn read_whole_alive(reader: &mut Reader<'_>) -> Result<Alive, DecodeError> {
    let alive = read_alive(reader)?;
    Ok(Alive { versions: Versions::read(reader)?, ..alive })
}

fn read_sequence(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint("sequence")?).map_err(|_| DecodeError::Value { field: "sequence" })
}

fn read_body(kind: u8, reader: &mut Reader<'_>) -> Result<Body, DecodeError> {
    Ok(match kind {
        1 => Body::Ping { sequence: read_sequence(reader)?, target: reader.id()?, target_boot: reader.boot()? },
        2 => Body::Ack { sequence: read_sequence(reader)?, digest: reader.u64("digest")? },
        3 => Body::PingRequest {
            sequence: read_sequence(reader)?,
            target: reader.id()?,
            target_boot: reader.boot()?,
            budget_ms: reader.varint("budget")?,
        },
        4 => Body::Nack { sequence: read_sequence(reader)? },
        5 => Body::Gossip,
        6 => Body::Farewell { sequence: read_sequence(reader)? },
        7 => Body::FarewellAck { sequence: read_sequence(reader)? },
        8 => Body::RelayedAck { sequence: read_sequence(reader)?, target: reader.id()?, target_boot: reader.boot()? },
        kind => return Err(DecodeError::Kind { kind }),
    })
}

/// Reads one record; `None` where its tag is of a later version.
fn read_update(reader: &mut Reader<'_>) -> Result<Option<Update>, DecodeError> {
    let tag = reader.u8("record")?;
    if tag == 1 {
        return read_whole_alive(reader).map(|alive| Some(Update::Alive(alive)));
    }
    if tag == 7 {
        let (origin, boot, number) = (reader.id()?, reader.boot()?, reader.varint("number")?);
        let length = reader.length(PACKET_BYTES_LIMIT, "broadcast")?;
        let payload = Bytes::copy_from_slice(reader.take(length, "broadcast")?);
        return Ok(Some(Update::Broadcast(Broadcast { origin, boot, number, payload })));
    }
    if !(2..=6).contains(&tag) {
        return Ok(None);
    }
    let (id, incarnation) = (reader.id()?, reader.incarnation()?);
    let from = if matches!(tag, 4 | 6) { id.clone() } else { reader.id()? };
    let accusation = Accusation { id, incarnation, from };
    Ok(Some(match tag {
        2 => Update::Suspect(accusation),
        3 => Update::Failed(accusation),
        4 => Update::Left(accusation),
        5 => Update::Refused(accusation),
        _ => Update::Forgotten(accusation),
    }))
}

impl Packet {
    /// Reads a whole datagram of this cluster and one of these versions. Total: any bytes give a packet or an error.
    pub(crate) fn decode(bytes: &[u8], versions: Versions, cluster: u32) -> Result<Self, DecodeError> {
        if bytes.len() > PACKET_BYTES_LIMIT {
            return Err(DecodeError::TooLong { bytes: bytes.len(), limit: PACKET_BYTES_LIMIT });
        }
        let mut reader = Reader::new(bytes);
        let (version, kind) = read_header(&mut reader, versions, cluster)?;
        let sender = Sender { version, id: reader.id()?, boot: reader.boot()?, incarnation: reader.incarnation()? };
        let body = read_body(kind, &mut reader)?;
        let mut updates = Vec::new();
        while !reader.is_empty() {
            let length = reader.length(PACKET_BYTES_LIMIT, "record")?;
            updates.extend(read_update(&mut Reader::new(reader.take(length, "record")?))?);
        }
        Ok(Self { sender, body, updates })
    }

    /// The datagram as bytes, whatever its length.
    #[cfg(test)]
    pub(crate) fn encode(&self, cluster: u32) -> Vec<u8> {
        let mut out = Vec::new();
        write_start(&mut out, cluster, &self.sender, &self.body);
        for update in &self.updates {
            assert!(write_update(&mut out, usize::MAX, update));
        }
        out
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
