//! What a process remembers of its cluster, so that a later life finds it without anybody's help.
//!
//! Alive and failed members are remembered, never those that have left: who remembers only the living is an island after a
//! restart that began in a partition (hashicorp/serf #333). A later life takes the generation after the remembered one.
//!
//! Where a cluster is restarted as a whole, a memory is about as good as a view. A single process that comes back knows less: nobody
//! may be there whom it remembers, and it must not send to them, count them, or belong to a cluster on their account. It takes its memory
//! as [`unheard`](Snapshot::unheard).
//!
//! ```text
//! header as a packet's, of its own kind | own id, incarnation | records: varint length, state u8, alive | FNV-1a of all that u64
//! ```

use std::time::Duration;

use rdb_net_types::{ClusterId, Incarnation, NodeId, NodeState};

use crate::apply::Spread;
use crate::event::MemberRecord;
use crate::packet::{Alive, cluster_hash, read_header, read_whole_alive, write_alive, write_header};
use crate::swim::Swim;
use crate::versions::Versions;
use crate::wire::{DecodeError, Reader, Write, fnv64};

const KIND_SNAPSHOT: u8 = 18;

/// The version of the file, which is not that of packets.
const FORMAT: u8 = 1;

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
        write_header(&mut out, FORMAT, cluster_hash(cluster), KIND_SNAPSHOT);
        out.id(&self.node);
        out.incarnation(self.incarnation);
        for member in &self.members {
            let mut record = vec![u8::from(member.state == NodeState::Failed)];
            write_alive(&mut record, &alive_of(member));
            member.versions.write(&mut record);
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
        match read_header(&mut reader, Versions::only(FORMAT), cluster_hash(cluster))? {
            (_, KIND_SNAPSHOT) => {}
            (_, kind) => return Err(DecodeError::Kind { kind }),
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

impl Snapshot {
    /// The same for a process that has heard of nobody yet: whoever was alive has failed, in the incarnation before its own.
    ///
    /// So any word of that member, or of anybody who holds it for there, brings it back; and what this process holds against it is old
    /// news to all who know better, which makes nobody suspect anybody. Failed in its very incarnation it would have to refute that
    /// first, and with it everybody else, at each restart of anyone.
    #[must_use]
    pub fn unheard(mut self) -> Self {
        for member in self.members.iter_mut().filter(|member| member.state != NodeState::Failed) {
            member.state = NodeState::Failed;
            member.incarnation = Incarnation::from_u64(member.incarnation.as_u64().saturating_sub(1));
        }
        self
    }
}

fn read_member(reader: &mut Reader<'_>) -> Result<MemberRecord, DecodeError> {
    let state = match reader.u8("state")? {
        0 => NodeState::Alive,
        1 => NodeState::Failed,
        _ => return Err(DecodeError::Value { field: "state" }),
    };
    let Alive { id, incarnation, boot, address, meta, versions } = read_whole_alive(reader)?;
    Ok(MemberRecord { id, boot, incarnation, address, state, meta, versions })
}

fn alive_of(member: &MemberRecord) -> Alive {
    let MemberRecord { id, boot, incarnation, address, meta, versions, .. } = member.clone();
    Alive { id, incarnation, boot, address, meta, versions }
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
    /// it is, and [`Config::members_max`](crate::Config::members_max) holds: nobody is dropped for one that is only remembered.
    pub fn recall(&mut self, now: Duration, snapshot: &Snapshot) {
        let own = self.table.local().id.clone();
        for member in snapshot.members.iter().filter(|member| member.id != own) {
            if self.table.slot_of(&member.id).is_some() {
                continue;
            }
            if self.table.len() >= self.config.members_max {
                self.stats.limit_members += 1;
                continue;
            }
            self.admit(now, alive_of(member), member.state, Spread::No);
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
