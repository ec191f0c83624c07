//! The members as one node holds them: by id, in probe order, and by state, with the digest of the view kept up to date.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState, SeededRandom};

use crate::event::MemberRecord;
use crate::merge::{Standing, rank};
use crate::ring::Ring;
use crate::wire::fnv64;

/// A member's place in the table, for as long as it is held.
pub(crate) type Slot = u32;

/// This node's own slot: the first one, never given up.
pub(crate) const SELF: Slot = 0;

/// A member as this node holds it.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its id.
    pub id: &'a NodeId,
    /// Which process of it.
    pub boot: BootId,
    /// The newest incarnation heard of.
    pub incarnation: Incarnation,
    /// Where its gossip socket listens.
    pub address: SocketAddr,
    /// The state in which it is held.
    pub state: NodeState,
    /// What it tells of itself.
    pub meta: &'a Bytes,
    /// Since when it is in this state.
    pub since: Duration,
}

impl Member<'_> {
    /// A copy that outlives the table.
    pub fn to_record(&self) -> MemberRecord {
        MemberRecord {
            id: self.id.clone(),
            boot: self.boot,
            incarnation: self.incarnation,
            address: self.address,
            state: self.state,
            meta: self.meta.clone(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: NodeId,
    pub(crate) boot: BootId,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: SocketAddr,
    pub(crate) state: NodeState,
    pub(crate) meta: Bytes,
    pub(crate) since: Duration,
    /// Who said so, where the state is `Suspect` or `Failed`.
    pub(crate) accuser: NodeId,
}

impl Entry {
    pub(crate) fn standing(&self) -> Standing {
        Standing::new(self.incarnation, self.state)
    }

    pub(crate) fn view(&self) -> Member<'_> {
        Member {
            id: &self.id,
            boot: self.boot,
            incarnation: self.incarnation,
            address: self.address,
            state: self.state,
            meta: &self.meta,
            since: self.since,
        }
    }

    /// This entry's share of the digest: a 64-bit mix of id, incarnation and state.
    fn hash(&self) -> u64 {
        let seed = fnv64(self.id.as_str().as_bytes())
            ^ self.incarnation.as_u64().rotate_left(17)
            ^ (u64::from(rank(self.state)) << 62);
        SeededRandom::new(seed).next_u64()
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    by_id: BTreeMap<NodeId, Slot>,
    live: Ring,
    failed: Ring,
    digest: u64,
}

impl Table {
    pub(crate) fn new(local: Entry) -> Self {
        let digest = local.hash();
        let by_id = BTreeMap::from([(local.id.clone(), SELF)]);
        Self {
            entries: vec![Some(local)],
            free: Vec::new(),
            by_id,
            live: Ring::default(),
            failed: Ring::default(),
            digest,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn local(&self) -> &Entry {
        self.get(SELF).expect("invariant: this node's own entry is never removed")
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    pub(crate) fn slot_of(&self, id: &NodeId) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn find(&self, id: &NodeId) -> Option<&Entry> {
        self.get(self.slot_of(id)?)
    }

    /// All entries, by ascending id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_id.values().filter_map(|slot| self.get(*slot))
    }

    /// The other members that are alive or suspect, in probe order.
    pub(crate) fn live(&self) -> &Ring {
        &self.live
    }

    /// Members that have failed.
    pub(crate) fn failed(&self) -> &Ring {
        &self.failed
    }

    /// The next member to probe.
    pub(crate) fn pick_live(&mut self, random: &mut SeededRandom) -> Option<Slot> {
        self.live.pick(random)
    }

    /// Alive and suspect members, this node included unless it has left.
    pub(crate) fn alive_count(&self) -> usize {
        self.live.len() + usize::from(self.local().state.is_routable())
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Takes in a member whose id is not held yet.
    pub(crate) fn insert(&mut self, entry: Entry, random: &mut SeededRandom) -> Slot {
        debug_assert!(!self.by_id.contains_key(&entry.id), "invariant: an id has one entry");
        let slot = self.free.pop().unwrap_or(self.entries.len() as Slot);
        self.digest ^= entry.hash();
        self.by_id.insert(entry.id.clone(), slot);
        let state = entry.state;
        if slot as usize == self.entries.len() {
            self.entries.push(Some(entry));
        } else {
            self.entries[slot as usize] = Some(entry);
        }
        self.file(slot, state, random);
        slot
    }

    /// Changes an entry in place; its lists and the digest follow. The id must stay.
    pub(crate) fn update(&mut self, slot: Slot, random: &mut SeededRandom, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let (hash, former) = (entry.hash(), entry.state);
        change(entry);
        let state = entry.state;
        self.digest ^= hash ^ entry.hash();
        if former.is_routable() != state.is_routable() || former != state && !state.is_routable() {
            self.live.remove(slot);
            self.failed.remove(slot);
            self.file(slot, state, random);
        }
    }

    /// Drops an entry; its slot may be given to another member.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.digest ^= entry.hash();
        self.by_id.remove(&entry.id);
        self.live.remove(slot);
        self.failed.remove(slot);
        self.free.push(slot);
        Some(entry)
    }

    fn file(&mut self, slot: Slot, state: NodeState, random: &mut SeededRandom) {
        if slot == SELF {
            return;
        }
        match state {
            NodeState::Alive | NodeState::Suspect => self.live.insert(slot, random),
            NodeState::Failed => self.failed.insert(slot, random),
            NodeState::Left => {}
        }
    }
}
