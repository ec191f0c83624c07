//! Many members that vanish together: more likely the network has come apart than that they are all gone.
//!
//! SWIM gives up each member by itself, and forgets that others went with it. Both sides of a partition then look like healthy,
//! smaller clusters. So a member that has seen many others fail within a short time says so, drops none of them for room, and
//! goes on calling on them as on all that have failed; the partition is over once most of them are back. What to do meanwhile is
//! the application's to decide, by a [`Strategy`](crate::Strategy) or by quorums of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::NodeState;

use crate::event::Event;
use crate::swim::Swim;
use crate::table::Slot;

/// In a large cluster so many failures are ordinary.
const ORDINARY_MIN: usize = 3;

/// And so is one in ten members.
const ORDINARY_SHARE: usize = 10;

/// A member's own word on the partition that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// When the first of those failed who have vanished together.
    pub since: Duration,
    /// When the last of them failed or came back: a decision is safe only some time after both sides have come to rest.
    pub changed: Duration,
    /// How many members are reached, this one included.
    pub reachable: usize,
    /// How many have vanished and are not back.
    pub unreachable: usize,
}

/// Members that this one has seen fail, lately or in the partition.
#[derive(Debug, Default)]
pub(crate) struct Vanished {
    failed: BTreeMap<Slot, Duration>,
    /// When the partition began and when it changed last, while there is one.
    begun: Option<(Duration, Duration)>,
}

/// How many of `known` members may fail together before that is a partition: three, a tenth of a large cluster, half of a
/// small one.
pub(crate) fn ordinary_failures(known: usize) -> usize {
    (known / ORDINARY_SHARE).max(ORDINARY_MIN).min(known / 2)
}

impl Swim {
    /// The partition that this member is in, as far as it can tell.
    pub fn partition(&self) -> Option<Partition> {
        let (since, changed) = self.vanished.begun?;
        let (reachable, unreachable) = (self.table.alive_count(), self.vanished.failed.len());
        Some(Partition { since, changed, reachable, unreachable })
    }

    /// A member has come from one state to another.
    pub(crate) fn note_vanishing(&mut self, now: Duration, slot: Slot, former: Option<NodeState>, state: NodeState) {
        let is_vanishing = state == NodeState::Failed && former.is_some_and(NodeState::is_routable);
        if is_vanishing {
            self.vanished.failed.insert(slot, now);
            self.look_for_partition(now);
        } else if state != NodeState::Failed && former == Some(NodeState::Failed) {
            self.note_return(now, slot);
        }
    }

    fn look_for_partition(&mut self, now: Duration) {
        if let Some((_, changed)) = &mut self.vanished.begun {
            *changed = now;
            return;
        }
        let oldest = now.saturating_sub(self.config.partition_window);
        self.vanished.failed.retain(|_, failed| *failed >= oldest);
        let known = self.table.alive_count() + self.table.failed().len();
        if self.vanished.failed.len() > ordinary_failures(known) {
            let since = self.vanished.failed.values().min().copied().unwrap_or(now);
            self.vanished.begun = Some((since, now));
            self.stats.partitions += 1;
            self.emit_partition(Event::Partitioned);
        }
    }

    /// A vanished member is back, has left after all, or was dropped.
    pub(crate) fn note_return(&mut self, now: Duration, slot: Slot) {
        if self.vanished.failed.remove(&slot).is_none() {
            return;
        }
        let Some((_, changed)) = &mut self.vanished.begun else { return };
        *changed = now;
        let known = self.table.alive_count() + self.table.failed().len();
        // Half of what it takes to begin: who is on the edge does not go back and forth.
        if self.vanished.failed.len() <= ordinary_failures(known) / 2 {
            self.stats.partitions_healed += 1;
            self.emit_partition(Event::Healed);
            self.vanished.begun = None;
        }
    }

    fn emit_partition(&mut self, event: fn(Partition) -> Event) {
        if let Some(partition) = self.partition() {
            self.emit(event(partition));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordinary_follows_the_size_of_the_cluster() {
        let ordinary = [1, 2, 3, 4, 5, 6, 10, 30, 50, 1_000, 10_000].map(ordinary_failures);
        assert_eq!(ordinary, [0, 1, 1, 2, 2, 3, 3, 3, 5, 100, 1_000]);
    }
}
