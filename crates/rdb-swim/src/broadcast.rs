//! What the application tells all members: small messages that spread by gossip.
//!
//! A broadcast reaches every member that is there with the probability of any other gossip, at most once each, in no order. It
//! comes after everything that membership has to tell, and what waits is bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, NodeId};

use crate::event::Event;
use crate::packet::Update;
use crate::swim::{Phase, Swim};
use crate::table::SELF;

/// How many of a process's broadcasts may overtake each other: as many as wait by default. What is older than that is dropped.
const WINDOW: u64 = 1_024;

/// A number that is so far above the highest one is a mistake, or a lie that would have all others dropped.
const LEAP_MAX: u64 = 1 << 20;

/// What a broadcast takes besides its payload, more or less.
const OVERHEAD_BYTES: usize = 64;

/// How many that do not fit into a packet are passed over in search of smaller ones.
const LOOK_AHEAD: usize = 16;

/// A broadcast as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broadcast {
    pub(crate) origin: NodeId,
    pub(crate) boot: BootId,
    /// Counts the process's broadcasts from 1.
    pub(crate) number: u64,
    pub(crate) payload: Bytes,
}

/// A broadcast was not taken; nothing was told to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastRefused {
    /// It is longer than [`Config::broadcast_bytes_max`](crate::Config::broadcast_bytes_max). The caller is at fault.
    #[error("a broadcast of {bytes} bytes is longer than the limit of {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many bytes wait to be told; see [`Config::broadcast_queue_bytes`](crate::Config::broadcast_queue_bytes). Try again after
    /// a few gossip ticks.
    #[error("{waiting} bytes of broadcasts wait, and the limit is {limit}")]
    QueueFull {
        /// What waits.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// This node is leaving, or has left.
    #[error("this node has left the cluster")]
    Left,
}

/// Which broadcasts of one process were heard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    boot: BootId,
    /// 0 before the first.
    highest: u64,
    /// Which numbers of the window were heard, a bit each, by what is left of them divided by the window: 128 bytes, whatever was told in
    /// this process's name.
    recent: [u64; WINDOW as usize / 64],
}

/// What a number is to whoever hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Novelty {
    New,
    Heard,
    /// Too old, or too far ahead, to tell.
    OutOfReach,
}

impl Heard {
    fn new(boot: BootId) -> Self {
        Self { boot, highest: 0, recent: [0; WINDOW as usize / 64] }
    }

    /// What this number is; a new one is none any more.
    fn take(&mut self, number: u64) -> Novelty {
        let is_leap = self.highest > 0 && number > self.highest.saturating_add(LEAP_MAX);
        if is_leap || self.highest.saturating_sub(number) >= WINDOW {
            return Novelty::OutOfReach;
        }
        // Numbers that come into the window take the places of those that leave it.
        for back in 0..number.saturating_sub(self.highest).min(WINDOW) {
            let (word, bit) = place(number - back);
            self.recent[word] &= !bit;
        }
        self.highest = self.highest.max(number);
        let (word, bit) = place(number);
        let is_heard = self.recent[word] & bit != 0;
        self.recent[word] |= bit;
        if is_heard { Novelty::Heard } else { Novelty::New }
    }
}

/// Where the bit of a number is.
const fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

/// Broadcasts that are being told, and who was heard.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    /// The least told first: each that is told goes to the end.
    queue: VecDeque<(u32, Broadcast)>,
    bytes: usize,
    heard: BTreeMap<NodeId, Heard>,
    last: u64,
}

impl Broadcast {
    fn weight(&self) -> usize {
        self.payload.len() + OVERHEAD_BYTES
    }
}

impl Broadcasts {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, broadcast: Broadcast) {
        self.bytes += broadcast.weight();
        // Behind those that were not told yet either: in a burst each has its turn.
        let at = self.queue.partition_point(|(told, _)| *told == 0);
        self.queue.insert(at, (0, broadcast));
    }

    /// Drops what is longer than is allowed now: it might never find room in a packet.
    pub(crate) fn limit(&mut self, bytes_max: usize) {
        self.queue.retain(|(_, broadcast)| broadcast.payload.len() <= bytes_max);
        self.bytes = self.queue.iter().map(|(_, broadcast)| broadcast.weight()).sum();
    }

    /// Offers each to a packet, the least told first. Those written count as told once more, and leave at `limit`.
    pub(crate) fn fill(&mut self, limit: u32, mut write: impl FnMut(&Update) -> bool) -> usize {
        let (mut at, mut too_large, mut written) = (0, 0, Vec::new());
        while at < self.queue.len() && too_large <= LOOK_AHEAD {
            if write(&Update::Broadcast(self.queue[at].1.clone())) {
                written.extend(self.queue.remove(at));
            } else {
                (at, too_large) = (at + 1, too_large + 1);
            }
        }
        let count = written.len();
        for (told, broadcast) in written {
            if told + 1 < limit {
                self.queue.push_back((told + 1, broadcast));
            } else {
                self.bytes -= broadcast.weight();
            }
        }
        count
    }

    /// Forgets what was heard of those that are held no more.
    pub(crate) fn retain(&mut self, is_held: impl Fn(&NodeId) -> bool) {
        self.heard.retain(|id, _| is_held(id));
    }
}

impl Swim {
    /// Tells every member a message of the application; each hears [`Event::Broadcast`], this node does not.
    ///
    /// # Errors
    ///
    /// [`BroadcastRefused`]; nothing was told.
    pub fn broadcast(&mut self, now: Duration, payload: Bytes) -> Result<(), BroadcastRefused> {
        if !matches!(self.phase, Phase::Active) {
            return Err(BroadcastRefused::Left);
        }
        let (bytes, limit) = (payload.len(), self.config.broadcast_bytes_max);
        if bytes > limit {
            return Err(BroadcastRefused::TooLong { bytes, limit });
        }
        let (waiting, limit) = (self.broadcasts.bytes, self.config.broadcast_queue_bytes);
        if waiting + bytes + OVERHEAD_BYTES > limit {
            return Err(BroadcastRefused::QueueFull { waiting, limit });
        }
        self.broadcasts.last += 1;
        let (own, number) = (self.table.local(), self.broadcasts.last);
        let broadcast = Broadcast { origin: own.id.clone(), boot: own.boot, number, payload };
        self.broadcasts.push(broadcast);
        self.hurry_gossip(now);
        Ok(())
    }

    /// Hears another member's broadcast, and tells it on.
    pub(crate) fn hear_broadcast(&mut self, now: Duration, broadcast: Broadcast) {
        let slot = self.table.slot_of(&broadcast.origin);
        if slot == Some(SELF) {
            return;
        }
        // Whoever is not known here yet is heard once gossip has told of it: others repeat themselves.
        let is_known = slot.and_then(|slot| self.table.get(slot)).is_some_and(|held| held.boot == broadcast.boot);
        if !is_known || broadcast.payload.len() > self.config.broadcast_bytes_max {
            self.stats.broadcasts_dropped += 1;
            return;
        }
        let (heard, boot) = (&mut self.broadcasts.heard, broadcast.boot);
        let heard = heard.entry(broadcast.origin.clone()).or_insert(Heard::new(boot));
        if heard.boot != boot {
            *heard = Heard::new(boot);
        }
        match heard.take(broadcast.number) {
            Novelty::New => {}
            Novelty::Heard => return,
            Novelty::OutOfReach => {
                self.stats.broadcasts_dropped += 1;
                return;
            }
        }
        self.stats.broadcasts_heard += 1;
        self.advise(Event::Broadcast { origin: broadcast.origin.clone(), payload: broadcast.payload.clone() });
        if self.broadcasts.bytes + broadcast.weight() > self.config.broadcast_queue_bytes {
            // It is told here; others tell it on.
            self.stats.limit_broadcasts += 1;
            return;
        }
        self.broadcasts.push(broadcast);
        self.hurry_gossip(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_in_whatever_order_within_the_window() {
        let mut heard = Heard::new(BootId(1));
        assert!([3, 1, 2, 5, 4, 1_030].into_iter().all(|number| heard.take(number) == Novelty::New));
        assert!([1_030, 1_030].into_iter().all(|number| heard.take(number) == Novelty::Heard));
        assert_eq!(heard.take(7), Novelty::New, "1,023 behind");
        assert_eq!(heard.take(6), Novelty::OutOfReach, "1,024 behind");
        assert_eq!(heard.take(5_000), Novelty::New);
        assert_eq!((heard.take(4_000), heard.take(4_000)), (Novelty::New, Novelty::Heard), "the places were free");
        assert_eq!(size_of_val(&heard), 144, "and no more than that for each process");
    }

    #[test]
    fn one_number_far_ahead_does_not_silence_those_that_follow() {
        let mut heard = Heard::new(BootId(1));
        assert_eq!(heard.take(5_000_000), Novelty::New, "whoever comes late hears any number first");
        assert_eq!(heard.take(u64::MAX), Novelty::OutOfReach);
        assert_eq!(heard.take(5_000_001), Novelty::New);
    }

    #[test]
    fn numbers_at_the_end_of_counting_are_no_overflow() {
        let mut heard = Heard::new(BootId(1));
        assert_eq!(heard.take(u64::MAX), Novelty::New);
        assert_eq!(heard.take(u64::MAX - 1), Novelty::New);
        assert_eq!(heard.take(0), Novelty::OutOfReach);
    }
}
