//! Whatever happens, in whatever order: one dial and one connection a slot, and what is wanted comes about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::RefusalReason;
use rdb_net_wire::CloseCode;

use super::{ms, secs};
use crate::{Action, DialFailure, Epoch, Peer, PeerConfig, Slot, State};

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Want(usize),
    Keep(bool),
    Hurry,
    Look(usize, bool),
    Evict(usize),
    DialFails(usize),
    HelloFails(usize, CloseReason),
    ComesUp(usize),
    IsLent,
    Ends(usize, CloseReason),
}

fn reason() -> impl Strategy<Value = CloseReason> {
    prop_oneof![
        Just(CloseReason::Local),
        Just(CloseReason::Silent),
        Just(CloseReason::Peer(CloseCode::Normal)),
        Just(CloseReason::Lost(Loss::Reset)),
        Just(CloseReason::Refused(RefusalReason::Cluster)),
        Just(CloseReason::Refused(RefusalReason::ConnectionLimit)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..4usize;
    prop_oneof![
        4 => prop_oneof![0..100u64, 0..60_000u64, 0..10_000_000u64].prop_map(Step::Pass),
        4 => slot.clone().prop_map(Step::Want),
        1 => any::<bool>().prop_map(Step::Keep),
        1 => Just(Step::Hurry),
        2 => (slot.clone(), any::<bool>()).prop_map(|(slot, used)| Step::Look(slot, used)),
        1 => slot.clone().prop_map(Step::Evict),
        2 => slot.clone().prop_map(Step::DialFails),
        1 => (slot.clone(), reason()).prop_map(|(slot, reason)| Step::HelloFails(slot, reason)),
        4 => slot.clone().prop_map(Step::ComesUp),
        1 => Just(Step::IsLent),
        2 => (slot, reason()).prop_map(|(slot, reason)| Step::Ends(slot, reason)),
    ]
}

/// What the owner of the machine holds.
struct World {
    peer: Peer,
    now: Duration,
    slots: Vec<Slot>,
    dialing: BTreeSet<Slot>,
    up: BTreeMap<Slot, Vec<Epoch>>,
    last: BTreeMap<Slot, Epoch>,
}

impl World {
    fn new(seed: u64) -> Self {
        let peer = Peer::new(PeerConfig { connections: 3, ..PeerConfig::default() }, seed);
        Self {
            peer,
            now: ms(0),
            slots: Slot::all(3).collect(),
            dialing: BTreeSet::new(),
            up: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// Carries out what the machine says. Returns when it wants to be asked again.
    fn settle(&mut self) -> Option<Duration> {
        for _ in 0..100 {
            match self.peer.poll_action(self.now) {
                Action::Dial(slot) => assert!(self.dialing.insert(slot), "a second dial for {slot:?}"),
                Action::Drain(slot, epoch) => {
                    let up = self.up.get_mut(&slot).expect("it was up");
                    let index = up.iter().position(|up| *up == epoch).expect("it has not drained yet");
                    up.remove(index);
                }
                Action::Look(slot) => self.peer.looked(self.now, slot, false),
                Action::WaitUntil(at) => {
                    assert!(at > self.now, "a wait for what is past");
                    return Some(at);
                }
                Action::None => return None,
            }
        }
        panic!("there is always something to do");
    }

    fn enter(&mut self, slot: Slot, epoch: Epoch) {
        let last = self.last.insert(slot, epoch).unwrap_or(Epoch(0));
        assert_eq!(epoch.0, last.0 + 1, "epochs grow by one");
        self.up.entry(slot).or_default().push(epoch);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Pass(passed) => self.now += ms(*passed),
            Step::Want(index) => {
                let _told = self.peer.want(self.now, self.slots[*index]);
            }
            Step::Keep(kept) => self.peer.keep(*kept),
            Step::Hurry => self.peer.hurry(self.now),
            Step::Look(index, used) => self.peer.looked(self.now, self.slots[*index], *used),
            Step::Evict(index) => self.peer.evict(self.slots[*index]),
            Step::DialFails(index) => {
                if self.dialing.remove(&self.slots[*index]) {
                    self.peer.handle_dial_failed(self.now, self.slots[*index], DialFailure::TimedOut);
                }
            }
            Step::HelloFails(index, reason) => {
                if self.dialing.remove(&self.slots[*index]) {
                    self.peer.handle_dial_ended(self.now, self.slots[*index], *reason);
                }
            }
            Step::ComesUp(index) => self.come_up(self.slots[*index]),
            Step::IsLent => {
                if self.peer.epoch(Slot::FIRST).is_none() {
                    let epoch = self.peer.handle_lent(self.now, Slot::FIRST);
                    self.enter(Slot::FIRST, epoch);
                }
            }
            Step::Ends(index, reason) => {
                let slot = self.slots[*index];
                if let Some(epoch) = self.up.get_mut(&slot).and_then(Vec::pop) {
                    self.peer.handle_ended(self.now, slot, epoch, *reason);
                }
            }
        }
    }

    fn come_up(&mut self, slot: Slot) {
        if !self.dialing.remove(&slot) {
            return;
        }
        if self.peer.is_dial_needed(self.now, slot) {
            let epoch = self.peer.handle_up(self.now, slot);
            self.enter(slot, epoch);
        } else {
            self.peer.handle_dial_dropped(slot);
        }
    }

    fn check(&self) {
        for slot in &self.slots {
            let up = self.up.get(slot).map_or(&[][..], Vec::as_slice);
            assert!(up.len() <= 1, "{up:?} in {slot:?}");
            assert_eq!(self.peer.epoch(*slot), up.first().copied(), "{slot:?}");
        }
        let is_up = self.up.values().any(|up| !up.is_empty());
        assert_eq!(is_up, matches!(self.peer.state(), State::Up { .. }));
    }

    /// From here on every dial succeeds.
    fn heal(&mut self, wanted: Slot) {
        let patience = self.now + secs(60);
        while self.peer.epoch(wanted).is_none() {
            assert!(self.now < patience, "{wanted:?} is not dialled");
            let told = self.peer.want(self.now, wanted);
            let due = self.settle();
            let dialing: Vec<Slot> = self.dialing.iter().copied().collect();
            dialing.iter().for_each(|slot| self.come_up(*slot));
            self.settle();
            if dialing.is_empty() && self.peer.epoch(wanted).is_none() {
                // Whoever is told that the peer is away asks again later.
                let later = told.is_err().then_some(self.now + secs(1));
                self.now = later.or(due).expect("what is wanted is due at some time");
            }
        }
    }
}

proptest! {
    #[test]
    fn one_dial_and_one_connection_a_slot_and_what_is_wanted_comes_about(
        seed: u64,
        steps in proptest::collection::vec(step(), 0..120),
        wanted in 0..4usize,
    ) {
        let mut world = World::new(seed);
        for step in &steps {
            world.take(step);
            world.settle();
            world.check();
        }
        let wanted = world.slots[wanted];
        world.heal(wanted);
        world.check();
    }
}
