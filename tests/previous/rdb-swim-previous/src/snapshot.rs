//! What a process remembers of its cluster, so that a later life finds it without anybody's help.
//!
//! Alive and failed members are remembered, never those that have left: who remembers only the living is an island after a
//! restart that began in a partition (hashicorp/serf #333). A later life takes the generation after the remembered one.
//!
//! ```text
//! header as a packet's, of its own kind | own id, incarnation | records: varint length, state u8, alive | FNV-1a of all that u64
//! ```

use std::time::Duration;

use rdb_net_types::{ClusterId, Incarnation, NodeId, NodeState};

use crate::apply::Spread;
use crate::event::MemberRecord;
use crate::packet::{Alive, cluster_hash, read_alive, read_header, write_alive, write_header};
use crate::swim::Swim;
use crate::wire::{DecodeError, Reader, Write, fnv64};

const KIND_SNAPSHOT: u8 = 18;

/// A view at one moment, without members that have left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose view.
    pub node: NodeId,
    /// Its incarnation then. The next life's generation must be above it.
    pub incarnation: Incarnation,
    /// The others, by ascending id: alive or failed.
    pub members: Vec<MemberRecord>,
}

impl Snapshot {
    /// The bytes of a file.
    pub fn encode(&self, cluster: &ClusterId) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, cluster_hash(cluster), KIND_SNAPSHOT);
        out.id(&self.node);
        out.incarnation(self.incarnation);
        for member in &self.members {
            let mut record = vec![u8::from(member.state == NodeState::Failed)];
            write_alive(&mut record, &alive_of(member));
            out.varint(record.len() as u64);
            out.extend_from_slice(&record);
        }
        let sum = fnv64(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// The bytes are torn, or no snapshot of this version and cluster. Start without one: seeds will do.
    pub fn decode(bytes: &[u8], cluster: &ClusterId) -> Result<Self, DecodeError> {
        let (bytes, sum) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Truncated { field: "checksum" })?;
        let mut reader = Reader::new(bytes);
        match read_header(&mut reader, cluster_hash(cluster))? {
            KIND_SNAPSHOT => {}
            kind => return Err(DecodeError::Kind { kind }),
        }
        if fnv64(bytes) != u64::from_be_bytes(*sum) {
            return Err(DecodeError::Value { field: "checksum" });
        }
        let (node, incarnation) = (reader.id()?, reader.incarnation()?);
        let mut members = Vec::new();
        while !reader.is_empty() {
            let length = reader.length(usize::MAX, "record")?;
            members.push(read_member(&mut Reader::new(reader.take(length, "record")?))?);
        }
        Ok(Self { node, incarnation, members })
    }
}

fn read_member(reader: &mut Reader<'_>) -> Result<MemberRecord, DecodeError> {
    let state = match reader.u8("state")? {
        0 => NodeState::Alive,
        1 => NodeState::Failed,
        _ => return Err(DecodeError::Value { field: "state" }),
    };
    let Alive { id, incarnation, boot, address, meta } = read_alive(reader)?;
    Ok(MemberRecord { id, boot, incarnation, address, state, meta })
}

fn alive_of(member: &MemberRecord) -> Alive {
    let MemberRecord { id, boot, incarnation, address, meta, .. } = member.clone();
    Alive { id, incarnation, boot, address, meta }
}

impl Swim {
    /// What is worth remembering of this view. Looks at every member.
    pub fn snapshot(&self) -> Snapshot {
        let own = self.table.local();
        let others = self.table.sorted().filter(|member| member.id != own.id && member.state != NodeState::Left);
        let members = others.map(|member| {
            let state = if member.state == NodeState::Failed { NodeState::Failed } else { NodeState::Alive };
            MemberRecord { state, ..member.to_record() }
        });
        Snapshot { node: own.id.clone(), incarnation: own.incarnation, members: members.collect() }
    }

    /// Takes in what a former life remembered. Each member is told to the application as joined or failed, and is probed or
    /// called on like any other: who is not there fails, and who has a new life is heard of by it. Who is held already stays as
    /// it is.
    pub fn recall(&mut self, now: Duration, snapshot: &Snapshot) {
        let own = self.table.local().id.clone();
        for member in snapshot.members.iter().filter(|member| member.id != own) {
            if self.table.slot_of(&member.id).is_none() {
                self.admit(now, alive_of(member), member.state, Spread::No);
            }
        }
    }
}
