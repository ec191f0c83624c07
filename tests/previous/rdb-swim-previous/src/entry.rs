//! One member as the table holds it, in 24 bytes, and as everybody else sees it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState, SeededRandom};

use crate::event::MemberRecord;
use crate::merge::{Standing, rank};
use crate::profile::Profile;
use crate::round_trip::RoundTrips;
use crate::wire::fnv64;

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
    /// Since when it is in this state, to the millisecond.
    pub since: Duration,
    /// How long its answers to this node's probes take, smoothed; `None` before the first one.
    pub round_trip: Option<Duration>,
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

    pub(crate) fn standing(&self) -> Standing {
        Standing::new(self.incarnation, self.state)
    }
}

/// How many bits of [`Entry::mark`] hold the time: in milliseconds they last for eight years, and what is later counts as then.
const SINCE_BITS: u32 = 38;
const SINCE_MASK: u64 = (1 << SINCE_BITS) - 1;
const STATE_SHIFT: u32 = SINCE_BITS + RoundTrips::BITS;

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) profile: Profile,
    pub(crate) incarnation: Incarnation,
    /// From above: the state's rank, the round trips, since when the state holds.
    mark: u64,
}

impl Entry {
    pub(crate) fn new(profile: Profile, incarnation: Incarnation, state: NodeState, since: Duration) -> Self {
        Self { profile, incarnation, mark: mark_of(state, RoundTrips::default(), since) }
    }

    pub(crate) fn state(&self) -> NodeState {
        match self.mark >> STATE_SHIFT {
            0 => NodeState::Alive,
            1 => NodeState::Suspect,
            2 => NodeState::Failed,
            _ => NodeState::Left,
        }
    }

    pub(crate) fn since(&self) -> Duration {
        Duration::from_millis(self.mark & SINCE_MASK)
    }

    pub(crate) fn set(&mut self, state: NodeState, since: Duration) {
        self.mark = mark_of(state, self.round_trips(), since);
    }

    /// How long its answers take.
    pub(crate) fn round_trips(&self) -> RoundTrips {
        RoundTrips::from_bits((self.mark >> SINCE_BITS) as u32 & ((1 << RoundTrips::BITS) - 1))
    }

    pub(crate) fn set_round_trips(&mut self, round_trips: RoundTrips) {
        self.mark = mark_of(self.state(), round_trips, self.since());
    }

    /// Sets the state; where it stays, so does the time since when it holds.
    pub(crate) fn turn(&mut self, state: NodeState, now: Duration) {
        if self.state() != state {
            self.set(state, now);
        }
    }

    /// Takes the member's newer word of itself. Equal words change nothing, so that the shared copy stays shared.
    pub(crate) fn introduce(&mut self, boot: BootId, address: SocketAddr, meta: Bytes) {
        if (self.profile.boot(), self.profile.address()) != (boot, address) {
            // Another process or another way to it: what was measured says nothing of it.
            self.set_round_trips(RoundTrips::default());
        }
        if !self.profile.says(boot, address, &meta) {
            self.profile = Profile::new(self.profile.id().clone(), boot, address, meta);
        }
    }

    pub(crate) fn view(&self) -> Member<'_> {
        Member {
            id: self.profile.id(),
            boot: self.profile.boot(),
            incarnation: self.incarnation,
            address: self.profile.address(),
            state: self.state(),
            meta: self.profile.meta(),
            since: self.since(),
            round_trip: self.round_trips().smoothed(),
        }
    }

    /// This entry's share of the digest: a 64-bit mix of id, incarnation and state.
    pub(crate) fn hash(&self) -> u64 {
        let seed = fnv64(self.profile.id().as_str().as_bytes())
            ^ self.incarnation.as_u64().rotate_left(17)
            ^ (u64::from(rank(self.state())) << 62);
        SeededRandom::new(seed).next_u64()
    }
}

fn mark_of(state: NodeState, round_trips: RoundTrips, since: Duration) -> u64 {
    let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).min(SINCE_MASK);
    u64::from(rank(state)) << STATE_SHIFT | u64::from(round_trips.bits()) << SINCE_BITS | since_ms
}
