//! What this member has to tell, and how often it has told it.
//!
//! SWIM (DSN 2002), section 4.1: updates travel on the protocol's own packets, the least told first, each a bounded number of
//! times. The queue holds subjects, not bytes: one per member, confirmation, refusal and tombstone that is held, and each goes with
//! what it is about. So it is bounded by what is held, and what is sent is what holds at that moment.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::NodeId;

use crate::table::Slot;

/// How many updates that do not fit are passed over in search of smaller ones.
const LOOK_AHEAD: usize = 16;

/// How many of which nothing is to be said to this receiver are passed over. Of itself it needs to hear its state, eight that confirm
/// a suspicion and eight refusals at the most, and the sender's own word makes eighteen.
const PASSED_MAX: usize = 32;

/// What an update is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// How a member stands.
    State(Slot),
    /// That this member confirms the suspicion of another.
    Doubt(Slot, NodeId),
    /// That this observer was refused by this member.
    Refusal(Slot, NodeId),
    /// That this member was dropped.
    Forgotten(NodeId),
}

/// What became of an update that was offered to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is in the packet.
    Written,
    /// It does not fit.
    TooLarge,
    /// The receiver has no use for it.
    Skipped,
    /// There is nothing to say of it any more.
    Obsolete,
}

/// Topics by how often they were told, the newest first among equals.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    order: BTreeSet<(u32, Reverse<u64>, Topic)>,
    topics: BTreeMap<Topic, (u32, u64)>,
    serial: u64,
    /// How many topics were offered to packets: what filling them costs, whatever the machine.
    #[cfg(test)]
    steps: u64,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    #[cfg(test)]
    pub(crate) fn holds(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Puts a topic first. What was queued about it is replaced.
    pub(crate) fn push(&mut self, topic: Topic) {
        self.remove(&topic);
        self.serial += 1;
        self.order.insert((0, Reverse(self.serial), topic.clone()));
        self.topics.insert(topic, (0, self.serial));
    }

    pub(crate) fn remove(&mut self, topic: &Topic) {
        if let Some((told, serial)) = self.topics.remove(topic) {
            self.order.remove(&(told, Reverse(serial), topic.clone()));
        }
    }

    /// Offers topics to a packet, the least told first. Those written count as told once more, and leave at `limit`.
    ///
    /// However many wait, it offers no more than fit, and [`LOOK_AHEAD`] and [`PASSED_MAX`] besides.
    pub(crate) fn fill(&mut self, limit: u32, mut offer: impl FnMut(&Topic) -> Offer) -> usize {
        let (mut written, mut obsolete, mut too_large, mut passed) = (Vec::new(), Vec::new(), 0, 0);
        for (_, _, topic) in &self.order {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            match offer(topic) {
                Offer::Written => written.push(topic.clone()),
                Offer::Obsolete => {
                    obsolete.push(topic.clone());
                    passed += 1;
                }
                Offer::Skipped => passed += 1,
                Offer::TooLarge => too_large += 1,
            }
            if too_large > LOOK_AHEAD || passed > PASSED_MAX {
                break;
            }
        }
        for topic in obsolete {
            self.remove(&topic);
        }
        for topic in &written {
            self.count(topic, limit);
        }
        written.len()
    }

    fn count(&mut self, topic: &Topic, limit: u32) {
        let Some((told, serial)) = self.topics.get(topic).copied() else { return };
        self.remove(topic);
        if told + 1 < limit {
            self.order.insert((told + 1, Reverse(serial), topic.clone()));
            self.topics.insert(topic.clone(), (told + 1, serial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills one packet with room for `room` updates.
    fn packet(queue: &mut Queue, room: usize, limit: u32) -> Vec<Slot> {
        let mut told = Vec::new();
        queue.fill(limit, |topic| match topic {
            Topic::State(slot) if told.len() < room => {
                told.push(*slot);
                Offer::Written
            }
            _ => Offer::TooLarge,
        });
        told
    }

    #[test]
    fn the_least_told_is_first_and_the_newest_among_equals() {
        let mut queue = Queue::default();
        [1, 2, 3].into_iter().for_each(|slot| queue.push(Topic::State(slot)));
        assert_eq!(packet(&mut queue, 2, 9), [3, 2]);
        assert_eq!(packet(&mut queue, 2, 9), [1, 3]);
        queue.push(Topic::State(4));
        assert_eq!(packet(&mut queue, 9, 9), [4, 2, 1, 3]);
    }

    #[test]
    fn an_update_is_told_as_often_as_the_limit_says() {
        let mut queue = Queue::default();
        queue.push(Topic::State(1));
        queue.push(Topic::State(2));
        let told: Vec<Slot> = (0..20).flat_map(|_| packet(&mut queue, 1, 4)).collect();
        assert_eq!(told.iter().filter(|slot| **slot == 1).count(), 4);
        assert_eq!(told.len(), 8);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_newer_update_replaces_the_older_of_its_subject() {
        let mut queue = Queue::default();
        queue.push(Topic::State(1));
        packet(&mut queue, 1, 4);
        queue.push(Topic::State(1));
        assert_eq!(queue.len(), 1);
        assert_eq!((0..9).flat_map(|_| packet(&mut queue, 1, 4)).count(), 4);
    }
}
