//! One member as the table holds it, in 24 bytes, and as everybody else sees it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState, SeededRandom};

use crate::event::MemberRecord;
use crate::merge::{Standing, rank};
use crate::profile::Profile;
use crate::round_trip::RoundTrips;
use crate::versions::Versions;
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
    /// Which versions of the protocol it understands.
    pub versions: Versions,
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
            versions: self.versions,
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
    pub(crate) fn introduce(&mut self, boot: BootId, address: SocketAddr, meta: Bytes, versions: Versions) {
        if (self.profile.boot(), self.profile.address()) != (boot, address) {
            // Another process or another way to it: what was measured says nothing of it.
            self.set_round_trips(RoundTrips::default());
        }
        if !self.profile.says(boot, address, &meta, versions) {
            self.profile = Profile::of_versions(self.profile.id().clone(), boot, address, meta, versions);
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
            versions: self.profile.versions(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_state_and_time_in_24_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 24);
        let address = "10.0.0.1:1".parse().expect("legal");
        let profile = Profile::new(NodeId::new("a").expect("legal"), BootId(1), address, Bytes::new());
        let states = [NodeState::Alive, NodeState::Suspect, NodeState::Failed, NodeState::Left];
        for state in states {
            for since in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(8 * 365 * 86_400)] {
                let mut entry = Entry::new(profile.clone(), Incarnation::first_of(1), state, since);
                assert_eq!((entry.state(), entry.since(), entry.view().round_trip), (state, since, None));
                let measured = RoundTrips::default().with(Duration::from_secs(3_000));
                entry.set_round_trips(measured);
                assert_eq!((entry.state(), entry.since(), entry.round_trips()), (state, since, measured));
                entry.set(NodeState::Suspect, since);
                assert_eq!((entry.state(), entry.round_trips()), (NodeState::Suspect, measured));
            }
        }
    }

    #[test]
    fn another_process_or_address_has_no_round_trip_yet() {
        let address = "10.0.0.1:1".parse().expect("legal");
        let profile = Profile::new(NodeId::new("a").expect("legal"), BootId(1), address, Bytes::new());
        let measured = RoundTrips::default().with(Duration::from_millis(3));
        let introduced = |boot, address: &str, meta: &'static [u8]| {
            let mut entry = Entry::new(profile.clone(), Incarnation::first_of(1), NodeState::Alive, Duration::ZERO);
            entry.set_round_trips(measured);
            entry.introduce(BootId(boot), address.parse().expect("legal"), Bytes::from_static(meta), Versions::FIRST);
            entry.round_trips()
        };
        assert_eq!(introduced(1, "10.0.0.1:1", b"news"), measured);
        assert_eq!(introduced(2, "10.0.0.1:1", b""), RoundTrips::default());
        assert_eq!(introduced(1, "10.0.0.2:1", b""), RoundTrips::default());
    }

    #[test]
    fn a_state_that_stays_keeps_its_time() {
        let address = "10.0.0.1:1".parse().expect("legal");
        let profile = Profile::new(NodeId::new("a").expect("legal"), BootId(1), address, Bytes::new());
        let mut entry = Entry::new(profile, Incarnation::first_of(1), NodeState::Alive, Duration::from_secs(1));
        entry.turn(NodeState::Alive, Duration::from_secs(2));
        assert_eq!(entry.since(), Duration::from_secs(1));
        entry.turn(NodeState::Failed, Duration::from_secs(3));
        assert_eq!(entry.since(), Duration::from_secs(3));
    }
}
