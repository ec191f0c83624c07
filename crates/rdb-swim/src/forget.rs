//! Dropping members: on an operator's word, for age, or for room.
//!
//! What one member drops and another keeps would come back with the next exchange of views. So a dropped member leaves a
//! tombstone, an operator's word is told around, and whoever still tells of the dropped one is told again.

use std::time::Duration;

use rdb_net_types::{Incarnation, NodeId, NodeState};

use crate::entry::Member;
use crate::event::Event;
use crate::gossip::Topic;
use crate::merge::{Standing, is_plausible};
use crate::packet::Accusation;
use crate::schedule::Timer;
use crate::swim::Swim;
use crate::table::{SELF, Slot};

/// Time between two looks for members that are gone for too long.
pub(crate) const REAP_INTERVAL: Duration = Duration::from_secs(60);

impl Swim {
    /// Drops a member that has failed or left, here and, by gossip, everywhere. Its records up to this incarnation are
    /// refused from here on; where it is there after all, it comes back by raising its incarnation.
    ///
    /// Gives whether there was such a member.
    pub fn forget(&mut self, now: Duration, node: &NodeId) -> bool {
        let is_dropped = self.drop_member(now, node);
        if is_dropped {
            self.tell_forgotten(now, node);
        }
        is_dropped
    }

    /// Tells of a member that has a tombstone; so there is never more to tell than there are tombstones.
    pub(crate) fn tell_forgotten(&mut self, now: Duration, node: &NodeId) {
        if self.tombstones.incarnation(node).is_some() {
            self.queue.push(Topic::Forgotten(node.clone()));
            self.hurry_gossip(now);
        }
    }

    /// Somebody tells that a member was dropped.
    pub(crate) fn apply_forgotten(&mut self, now: Duration, word: Accusation) {
        let Accusation { id, incarnation, .. } = word;
        let Some((slot, held)) = self.table.slot_of(&id).and_then(|slot| Some((slot, self.table.get(slot)?))) else {
            return self.entomb_stranger(now, &id, incarnation);
        };
        if incarnation < held.incarnation {
            self.stats.updates_stale += 1;
        } else if slot == SELF {
            self.refute(now, Standing::new(incarnation, NodeState::Failed));
        } else if !held.state.is_routable() {
            // Of a later life than the held one, too: that one was never heard of here, and is dropped with it.
            self.stats.updates_taken += 1;
            self.drop_member(now, &id);
            self.entomb(now, &id, incarnation);
            self.tell_forgotten(now, &id);
        } else if is_plausible(incarnation, held.incarnation) {
            // It seems to be there, and must hear that it has to speak anew.
            self.raise_suspicion(now, slot);
        } else {
            self.stats.updates_implausible += 1;
        }
    }

    /// Keeps out a member that is not held here but may yet be told of.
    ///
    /// Where there is no room for another tombstone the word is not taken: whoever tells of many strangers must not take the place
    /// of those that keep out who was a member here, nor have given up for room what is news again when the next one tells it.
    fn entomb_stranger(&mut self, now: Duration, id: &NodeId, incarnation: Incarnation) {
        if self.tombstones.incarnation(id).is_some_and(|dead| incarnation <= dead) {
            self.stats.updates_stale += 1;
            return;
        }
        let is_known = self.tombstones.incarnation(id).is_some();
        if !is_known && self.tombstones.len() >= self.config.members_max {
            self.stats.limit_tombstones += 1;
            return;
        }
        self.stats.updates_taken += 1;
        self.entomb(now, id, incarnation);
        self.tell_forgotten(now, id);
    }

    fn entomb(&mut self, now: Duration, id: &NodeId, incarnation: Incarnation) {
        let until = now + self.config.tombstone_age;
        for lost in self.tombstones.insert(id, incarnation, until, self.config.members_max) {
            self.stats.limit_tombstones += 1;
            self.queue.remove(&Topic::Forgotten(lost));
        }
    }

    /// Removes the tombstone of a member that is taken in again, with what is told of it.
    pub(crate) fn disinter(&mut self, id: &NodeId) {
        self.tombstones.remove(id);
        self.queue.remove(&Topic::Forgotten(id.clone()));
    }

    /// Drops a member that has failed or left, here only.
    fn drop_member(&mut self, now: Duration, node: &NodeId) -> bool {
        let Some(slot) = self.table.slot_of(node).filter(|slot| *slot != SELF) else { return false };
        if self.table.get(slot).is_none_or(|entry| entry.state.is_routable()) {
            return false;
        }
        let Some(entry) = self.table.remove(slot) else { return false };
        self.entomb(now, node, entry.incarnation);
        self.drop_doubts(slot);
        self.note_return(now, slot);
        self.queue.remove(&Topic::State(slot));
        self.emit(Event::Forgotten(entry.view().to_record()));
        true
    }

    /// Drops the member that is gone for the longest time; in a partition one that has left, since the failed are on the other
    /// side.
    pub(crate) fn make_room(&mut self, now: Duration) -> bool {
        let oldest = match self.partition() {
            None => self.table.longest_gone(),
            Some(_) => self.table.longest_left().map(|(_, slot)| slot),
        };
        let oldest = oldest.and_then(|slot| self.table.get(slot));
        let Some(oldest) = oldest.map(|entry| entry.id.clone()) else { return false };
        self.stats.limit_members_evicted += 1;
        self.drop_member(now, &oldest)
    }

    /// Drops members that left long ago, tombstones that have stood long enough, and who was refused by members that have
    /// failed: by then it was told.
    pub(crate) fn reap(&mut self, now: Duration) {
        self.schedule.set(Timer::Reap, now + REAP_INTERVAL);
        while let Some(expired) = self.tombstones.expire(now) {
            self.queue.remove(&Topic::Forgotten(expired));
        }
        self.broadcasts.retain(|id| self.table.slot_of(id).is_some());
        let is_over = |entry: &Member<'_>| entry.state == NodeState::Failed && entry.since + REAP_INTERVAL <= now;
        let refused = self.refusals.keys().copied();
        let told: Vec<Slot> = refused.filter(|slot| self.table.get(*slot).is_some_and(|e| is_over(&e))).collect();
        for slot in told {
            self.drop_refusals(slot);
            self.refusals.remove(&slot);
        }
        let age = self.config.tombstone_age;
        while let Some((_, slot)) = self.table.longest_left().filter(|(since, _)| *since + age <= now) {
            let Some(id) = self.table.get(slot).map(|entry| entry.id.clone()) else { return };
            self.drop_member(now, &id);
        }
    }
}
