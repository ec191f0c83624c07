//! What this member has to tell, and how often it has told it.
//!
//! SWIM (DSN 2002), section 4.1: updates travel on the protocol's own packets, the least told first, each a bounded number of
//! times. The queue holds subjects, not bytes: one per member and one per refusal, so it is bounded by what the table holds,
//! and what is sent is what holds at that moment.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::NodeId;

use crate::table::Slot;

/// How many updates that do not fit are passed over in search of smaller ones.
const LOOK_AHEAD: usize = 16;

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
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
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
    pub(crate) fn fill(&mut self, limit: u32, mut offer: impl FnMut(&Topic) -> Offer) -> usize {
        let (mut written, mut obsolete, mut too_large) = (Vec::new(), Vec::new(), 0);
        for (_, _, topic) in &self.order {
            match offer(topic) {
                Offer::Written => written.push(topic.clone()),
                Offer::Obsolete => obsolete.push(topic.clone()),
                Offer::Skipped => {}
                Offer::TooLarge => {
                    too_large += 1;
                    if too_large > LOOK_AHEAD {
                        break;
                    }
                }
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
