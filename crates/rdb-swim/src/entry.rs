//! One member as the table holds it, in 24 bytes, and as everybody else sees it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId, NodeState, SeededRandom};

use crate::event::MemberRecord;
use crate::merge::{Standing, rank};
use crate::profile::Profile;
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

    pub(crate) fn standing(&self) -> Standing {
        Standing::new(self.incarnation, self.state)
    }
}

/// How many bits of [`Entry::mark`] hold the time: in nanoseconds they last for 146 years.
const SINCE_BITS: u32 = 62;

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) profile: Profile,
    pub(crate) incarnation: Incarnation,
    /// The state's rank above, since when it holds below.
    mark: u64,
}

impl Entry {
    pub(crate) fn new(profile: Profile, incarnation: Incarnation, state: NodeState, since: Duration) -> Self {
        Self { profile, incarnation, mark: mark_of(state, since) }
    }

    pub(crate) fn state(&self) -> NodeState {
        match self.mark >> SINCE_BITS {
            0 => NodeState::Alive,
            1 => NodeState::Suspect,
            2 => NodeState::Failed,
            _ => NodeState::Left,
        }
    }

    pub(crate) fn since(&self) -> Duration {
        Duration::from_nanos(self.mark & ((1 << SINCE_BITS) - 1))
    }

    pub(crate) fn set(&mut self, state: NodeState, since: Duration) {
        self.mark = mark_of(state, since);
    }

    /// Sets the state; where it stays, so does the time since when it holds.
    pub(crate) fn turn(&mut self, state: NodeState, now: Duration) {
        if self.state() != state {
            self.set(state, now);
        }
    }

    /// Takes the member's newer word of itself. Equal words change nothing, so that the shared copy stays shared.
    pub(crate) fn introduce(&mut self, boot: BootId, address: SocketAddr, meta: Bytes) {
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

fn mark_of(state: NodeState, since: Duration) -> u64 {
    let since_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).min((1 << SINCE_BITS) - 1);
    u64::from(rank(state)) << SINCE_BITS | since_ns
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
            for since in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(140 * 365 * 86_400)] {
                let entry = Entry::new(profile.clone(), Incarnation::first_of(1), state, since);
                assert_eq!((entry.state(), entry.since()), (state, since));
            }
        }
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
