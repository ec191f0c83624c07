//! The members as one node holds them: by id, in probe order, and by state, with the digest of the view kept up to date.
//!
//! At 10,000 members nothing here may cost a walk over all of them, and each of them should cost few bytes: 24 for the entry,
//! about nine for finding it by id, twelve for its places in the rings. What it says of itself is shared.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use hashbrown::HashTable;
use rdb_net_types::{NodeId, NodeState, SeededRandom};

use crate::entry::{Entry, Member};
use crate::ring::{Ring, push_tight};
use crate::round_trip::RoundTrips;

/// A member's place in the table, for as long as it is held.
pub(crate) type Slot = u32;

/// This node's own slot: the first one, never given up.
pub(crate) const SELF: Slot = 0;

#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    by_id: HashTable<Slot>,
    /// Keeps members from choosing ids that all fall into one place.
    secret: u64,
    live: Ring,
    failed: Ring,
    /// Failed members, the longest failed first.
    failed_since: BTreeSet<(Duration, Slot)>,
    /// Members that have left, the longest gone first.
    left_since: BTreeSet<(Duration, Slot)>,
    /// Who said so, where a member is suspect or failed.
    accusers: BTreeMap<Slot, NodeId>,
    digest: u64,
}

impl Table {
    pub(crate) fn new(local: Entry, secret: u64) -> Self {
        let mut table = Self {
            entries: Vec::new(),
            free: Vec::new(),
            by_id: HashTable::new(),
            secret,
            live: Ring::default(),
            failed: Ring::default(),
            failed_since: BTreeSet::new(),
            left_since: BTreeSet::new(),
            accusers: BTreeMap::new(),
            digest: local.hash(),
        };
        let hash = hash_of(secret, local.profile.id());
        table.entries.push(Some(local));
        table.by_id.insert_unique(hash, SELF, |_| hash);
        table
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn local(&self) -> Member<'_> {
        self.get(SELF).expect("invariant: this node's own entry is never removed")
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<Member<'_>> {
        self.entry(slot).map(Entry::view)
    }

    fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    pub(crate) fn slot_of(&self, id: &NodeId) -> Option<Slot> {
        let is_it = |slot: &Slot| self.entry(*slot).is_some_and(|entry| entry.profile.id() == id);
        self.by_id.find(hash_of(self.secret, id), is_it).copied()
    }

    pub(crate) fn find(&self, id: &NodeId) -> Option<Member<'_>> {
        self.get(self.slot_of(id)?)
    }

    /// All members, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        (0..self.entries.len() as Slot).filter_map(|slot| self.get(slot))
    }

    /// Each member's id with its share of the digest.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = (&NodeId, u64)> {
        let slots = 0..self.entries.len() as Slot;
        slots.filter_map(|slot| self.entry(slot)).map(|entry| (entry.profile.id(), entry.hash()))
    }

    /// All members, by ascending id. Sorts them.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = Member<'_>> {
        let slots = 0..self.entries.len() as Slot;
        let mut entries: Vec<&Entry> = slots.filter_map(|slot| self.entry(slot)).collect();
        entries.sort_unstable_by_key(|entry| entry.profile.id());
        entries.into_iter().map(Entry::view)
    }

    /// The other members that are alive or suspect, in probe order.
    pub(crate) fn live(&self) -> &Ring {
        &self.live
    }

    /// Members that have failed.
    pub(crate) fn failed(&self) -> &Ring {
        &self.failed
    }

    /// How long a member's answers take.
    pub(crate) fn round_trips(&self, slot: Slot) -> RoundTrips {
        self.entry(slot).map_or_else(RoundTrips::default, Entry::round_trips)
    }

    pub(crate) fn set_round_trips(&mut self, slot: Slot, round_trips: RoundTrips) {
        if let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::as_mut) {
            entry.set_round_trips(round_trips);
        }
    }

    /// The next member to probe.
    pub(crate) fn pick_live(&mut self, random: &mut SeededRandom) -> Option<Slot> {
        self.live.pick(random)
    }

    /// Who said that a member is suspect or failed; this node, where nobody else did.
    pub(crate) fn accuser(&self, slot: Slot) -> &NodeId {
        self.accusers.get(&slot).unwrap_or(self.local().id)
    }

    pub(crate) fn accuse(&mut self, slot: Slot, accuser: NodeId) {
        if self.entry(slot).is_some_and(|entry| is_accused(entry.state())) {
            self.accusers.insert(slot, accuser);
        }
    }

    /// The other member that has been failed, or gone, for the longest time.
    pub(crate) fn longest_gone(&self) -> Option<Slot> {
        let (failed, left) = (self.failed_since.first(), self.left_since.first());
        failed.into_iter().chain(left).min().map(|(_, slot)| *slot)
    }

    /// The other member that left the longest time ago, and when that was.
    pub(crate) fn longest_left(&self) -> Option<(Duration, Slot)> {
        self.left_since.first().copied()
    }

    /// Alive and suspect members, this node included unless it has left.
    pub(crate) fn alive_count(&self) -> usize {
        let is_here = self.entry(SELF).is_some_and(|own| own.state().is_routable());
        self.live.len() + usize::from(is_here)
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Makes room for so many more members, and no more than that.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.entries.reserve_exact(more);
        self.live.reserve(self.entries.len() + more);
        let (entries, secret) = (&self.entries, self.secret);
        self.by_id.reserve(more, |slot| place_of(entries, secret, *slot));
    }

    /// Takes in a member whose id is not held yet.
    pub(crate) fn insert(&mut self, entry: Entry, random: &mut SeededRandom) -> Slot {
        debug_assert!(self.slot_of(entry.profile.id()).is_none(), "invariant: an id has one entry");
        let slot = self.free.pop().unwrap_or(self.entries.len() as Slot);
        self.digest ^= entry.hash();
        let (state, since) = (entry.state(), entry.since());
        let hash = hash_of(self.secret, entry.profile.id());
        if slot as usize == self.entries.len() {
            push_tight(&mut self.entries, Some(entry));
        } else {
            self.entries[slot as usize] = Some(entry);
        }
        let (entries, secret) = (&self.entries, self.secret);
        self.by_id.insert_unique(hash, slot, |slot| place_of(entries, secret, *slot));
        self.file(slot, state, since, random);
        slot
    }

    /// Changes an entry in place; its lists and the digest follow. The id must stay.
    pub(crate) fn update(&mut self, slot: Slot, random: &mut SeededRandom, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let (hash, former, former_since) = (entry.hash(), entry.state(), entry.since());
        change(entry);
        let (state, since) = (entry.state(), entry.since());
        self.digest ^= hash ^ entry.hash();
        if !is_accused(state) {
            self.accusers.remove(&slot);
        }
        let is_moved = former.is_routable() != state.is_routable() || former != state && !state.is_routable();
        if is_moved || !state.is_routable() && since != former_since {
            self.unfile(slot, former, former_since);
            self.file(slot, state, since, random);
        }
    }

    /// Drops an entry; its slot may be given to another member.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.digest ^= entry.hash();
        if let Ok(place) = self.by_id.find_entry(hash_of(self.secret, entry.profile.id()), |other| *other == slot) {
            place.remove();
        }
        self.unfile(slot, entry.state(), entry.since());
        self.accusers.remove(&slot);
        self.free.push(slot);
        Some(entry)
    }

    fn file(&mut self, slot: Slot, state: NodeState, since: Duration, random: &mut SeededRandom) {
        if slot == SELF {
            return;
        }
        match state {
            NodeState::Alive | NodeState::Suspect => self.live.insert(slot, random),
            NodeState::Failed => {
                self.failed.insert(slot, random);
                self.failed_since.insert((since, slot));
            }
            NodeState::Left => {
                self.left_since.insert((since, slot));
            }
        }
    }

    fn unfile(&mut self, slot: Slot, state: NodeState, since: Duration) {
        match state {
            NodeState::Alive | NodeState::Suspect => self.live.remove(slot),
            NodeState::Failed => {
                self.failed.remove(slot);
                self.failed_since.remove(&(since, slot));
            }
            NodeState::Left => {
                self.left_since.remove(&(since, slot));
            }
        }
    }
}

const fn is_accused(state: NodeState) -> bool {
    matches!(state, NodeState::Suspect | NodeState::Failed)
}

fn place_of(entries: &[Option<Entry>], secret: u64, slot: Slot) -> u64 {
    let entry = entries.get(slot as usize).and_then(Option::as_ref);
    entry.map_or(0, |entry| hash_of(secret, entry.profile.id()))
}

/// Where the index looks for an id. Nothing but the place depends on it.
fn hash_of(secret: u64, id: &NodeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    hasher.write(id.as_str().as_bytes());
    hasher.finish()
}
