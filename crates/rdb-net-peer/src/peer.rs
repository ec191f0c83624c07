//! The machine: wanted, dialled, up, waiting, replaced.

use std::collections::VecDeque;
use std::time::Duration;

use rdb_net_session::CloseReason;
use rdb_net_types::{RefusalReason, SeededRandom};

use crate::backoff::Backoff;
use crate::config::PeerConfig;
use crate::failure::{DialFailure, Failure};
use crate::place::{Place, Up};
use crate::slot::{CONNECTIONS_MAX, Epoch, Slot};

/// Where the peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody wants a connection.
    Idle,
    /// A dial or its hello is under way, and nothing is up.
    Dialing,
    /// The next dial is due at this time.
    Waiting {
        /// When.
        until: Duration,
        /// What went wrong.
        failure: Failure,
    },
    /// A connection is up.
    Up {
        /// Since when one has been up without a pause, as far as its present connections tell.
        since: Duration,
    },
}

/// What the owner does next for this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: what is wanted is up or being made.
    None,
    /// Dial now for this slot. The machine counts the dial as under way until it is told how it ended.
    Dial(Slot),
    /// Tell with [`Peer::looked`] whether the slot's connection has carried anything for the application since the last look.
    Look(Slot),
    /// Let this connection run out: it has no place any more.
    Drain(Slot, Epoch),
    /// Ask again at this time.
    WaitUntil(Duration),
}

/// A pause between dials.
#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Duration,
    /// What those are told who want something meanwhile; `None` lets them wait.
    failure: Option<Failure>,
}

/// One peer.
#[derive(Debug)]
pub struct Peer {
    config: PeerConfig,
    places: Vec<Place>,
    rest: Option<Rest>,
    backoff: Backoff,
    random: SeededRandom,
    /// A connection was lost before it was stable, and none has been stable since.
    lost_early: bool,
    /// Whether the first connection is kept when nobody uses it.
    kept: bool,
    /// Connections that have lost their place.
    surplus: VecDeque<(Slot, Epoch)>,
}

impl Peer {
    /// A peer nobody wanted yet. A number of connections beyond its range is taken for the nearest end of it.
    pub fn new(config: PeerConfig, seed: u64) -> Self {
        let config = PeerConfig { connections: config.connections.clamp(1, CONNECTIONS_MAX), ..config };
        Self {
            config,
            places: Slot::all(config.connections).map(Place::new).collect(),
            rest: None,
            backoff: Backoff::new(config.backoff, SeededRandom::new(seed)),
            random: SeededRandom::new(!seed),
            lost_early: false,
            kept: false,
            surplus: VecDeque::new(),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        let up_since = self.places.iter().filter_map(|place| place.up).map(|up| up.since).min();
        match (up_since, self.rest) {
            (Some(since), _) => State::Up { since },
            (None, Some(Rest { until, failure: Some(failure) })) => State::Waiting { until, failure },
            _ if self.is_dialing() => State::Dialing,
            _ => State::Idle,
        }
    }

    fn is_dialing(&self) -> bool {
        self.places.iter().any(|place| place.is_dialing)
    }

    fn place(&mut self, slot: Slot) -> &mut Place {
        let index = slot.index(self.config.connections).min(self.places.len() - 1);
        &mut self.places[index]
    }

    /// The epoch of the connection that is up in this slot.
    pub fn epoch(&self, slot: Slot) -> Option<Epoch> {
        self.places.iter().find(|place| place.slot == slot)?.up.map(|up| up.epoch)
    }

    /// Keeps the first connection whether it is used or not, or stops keeping it.
    pub fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    /// Nobody wants a connection any more, whoever wanted it before.
    pub fn give_up(&mut self) {
        self.kept = false;
        self.places.iter_mut().for_each(|place| place.is_wanted = false);
    }

    /// Whether the first connection is kept.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Somebody wants to send on this slot's connection. `Err` where a dial failed a short while ago and the next is not due:
    /// whoever asks now is told at once instead of waiting for a peer that is away.
    ///
    /// # Errors
    ///
    /// The last [`Failure`].
    pub fn want(&mut self, now: Duration, slot: Slot) -> Result<(), Failure> {
        let failure = self.rest.filter(|rest| now < rest.until).and_then(|rest| rest.failure);
        let place = self.place(slot);
        match failure {
            Some(failure) if !place.is_dialing && place.up.is_none() => Err(failure),
            _ => {
                place.is_wanted |= place.up.is_none();
                Ok(())
            }
        }
    }

    /// Something happened that makes a dial worth trying now: new evidence, a new address.
    pub fn hurry(&mut self, now: Duration) {
        if let Some(rest) = &mut self.rest {
            rest.until = rest.until.min(now);
        }
    }

    /// What is to be done. Asked again until it is nothing, or a wait.
    pub fn poll_action(&mut self, now: Duration) -> Action {
        if let Some((slot, epoch)) = self.surplus.pop_front() {
            return Action::Drain(slot, epoch);
        }
        if let Some(place) = self.places.iter().find(|place| place.look_is_due(now)) {
            return Action::Look(place.slot);
        }
        let needs_dial = self
            .places
            .iter()
            .position(|place| !place.is_dialing && place.needs_connection(now, self.kept && place.slot == Slot::FIRST));
        let resting_until = self.rest.map(|rest| rest.until).filter(|until| now < *until);
        match (needs_dial, resting_until) {
            (Some(index), None) if self.may_dial() => {
                self.rest = None;
                self.places[index].is_dialing = true;
                Action::Dial(self.places[index].slot)
            }
            (needs_dial, resting_until) => {
                let dial_at = resting_until.filter(|_| needs_dial.is_some());
                let timeouts = self.places.iter().filter_map(Place::poll_timeout).filter(|at| now < *at);
                timeouts.chain(dial_at).min().map_or(Action::None, Action::WaitUntil)
            }
        }
    }

    /// After a failure one dial tries whether the peer is there, before others follow.
    fn may_dial(&self) -> bool {
        !self.backoff.has_failed() || self.places.iter().any(|place| place.up.is_some()) || !self.is_dialing()
    }

    /// Whether the connection that was dialled for this slot has something to do there.
    pub fn is_dial_needed(&self, now: Duration, slot: Slot) -> bool {
        let place = self.places.iter().find(|place| place.slot == slot);
        place.is_some_and(|place| place.is_dialing && (place.up.is_none() || place.needs_connection(now, false)))
    }

    /// The dial for this slot was given up, because nobody needs it any more.
    pub fn handle_dial_dropped(&mut self, slot: Slot) {
        self.place(slot).is_dialing = false;
    }

    /// There is no connection. Those who wait are told.
    pub fn handle_dial_failed(&mut self, now: Duration, slot: Slot, failure: DialFailure) {
        self.place(slot).is_dialing = false;
        self.wait(now, Failure::Dial(failure));
    }

    /// The connection that was dialled has ended before it was up.
    pub fn handle_dial_ended(&mut self, now: Duration, slot: Slot, reason: CloseReason) {
        self.place(slot).is_dialing = false;
        match Failure::of_end(reason) {
            Failure::Hello(refusal) => self.wait_refused(now, refusal),
            failure => self.wait(now, failure),
        }
    }

    /// Our hello was answered. A connection that was up in the slot loses its place.
    pub fn handle_up(&mut self, now: Duration, slot: Slot) -> Epoch {
        let (config, random) = (self.config, &mut self.random);
        let index = slot.index(config.connections).min(self.places.len() - 1);
        let place = &mut self.places[index];
        place.is_dialing = false;
        let former = place.come_up(now, &config, random);
        self.came_up(slot, former)
    }

    /// A connection of another peer's machine turned out to lead to this peer, and serves this slot as well. It is neither
    /// replaced nor closed from here. A dial under way goes on, and finds that it is not needed.
    pub fn handle_lent(&mut self, now: Duration, slot: Slot) -> Epoch {
        let former = self.place(slot).come_up_lent(now);
        self.came_up(slot, former)
    }

    fn came_up(&mut self, slot: Slot, former: Option<Up>) -> Epoch {
        self.surplus.extend(former.map(|former| (slot, former.epoch)));
        self.rest = None;
        self.place(slot).up.map_or(Epoch(0), |up| up.epoch)
    }

    /// The slot's connection takes no more messages: it has ended, or the other side lets it run out. One that has lost its
    /// place already changes nothing.
    pub fn handle_ended(&mut self, now: Duration, slot: Slot, epoch: Epoch, reason: CloseReason) {
        let Some(up) = self.place(slot).up.take_if(|up| up.epoch == epoch) else { return };
        if now.saturating_sub(up.since) >= self.config.stable_after {
            self.backoff.reset();
            self.lost_early = false;
        }
        if reason == CloseReason::Local {
            return;
        }
        let is_first = !std::mem::replace(&mut self.lost_early, true);
        self.rest = match (is_first, reason.is_orderly()) {
            // A connection that was up and is lost is made anew at once: that is how a killed process is told from a
            // restarted one.
            (true, false) => None,
            // Those whom the peer bids farewell do not all come back in one moment.
            (true, true) => {
                let until = now + self.random.duration(Duration::ZERO, self.config.backoff.shortest);
                Some(Rest { until, failure: None })
            }
            (false, is_orderly) => {
                let failure = (!is_orderly).then_some(Failure::Ended(reason));
                Some(Rest { until: now + self.backoff.next_wait(), failure })
            }
        };
    }

    /// What the owner found when it looked: whether the slot's connection has carried anything for the application since the
    /// last look, or carries it now.
    pub fn looked(&mut self, now: Duration, slot: Slot, was_used: bool) {
        let is_kept = self.kept && slot == Slot::FIRST;
        let place = self.place(slot);
        let is_idle = place.up.as_mut().is_some_and(|up| up.looked(now, was_used));
        if is_idle && !is_kept && !place.is_dialing {
            self.evict(slot);
        }
    }

    /// Another connection is to take the place of the slot's, as if it had reached its age: no message is lost by it.
    pub fn renew(&mut self, now: Duration, slot: Slot) {
        self.place(slot).renew(now);
    }

    /// Since when the slot's connection has not been seen in use, where it may be closed for it.
    pub fn unused_since(&self, slot: Slot) -> Option<Duration> {
        let place = self.places.iter().find(|place| place.slot == slot)?;
        let is_kept = self.kept && slot == Slot::FIRST;
        place.up.filter(|up| !up.is_lent && !is_kept).map(|up| up.used_at)
    }

    /// Takes the slot's connection its place, and lets it run out.
    pub fn evict(&mut self, slot: Slot) {
        if let Some(up) = self.place(slot).up.take() {
            self.surplus.push_back((slot, up.epoch));
        }
    }

    fn wait_refused(&mut self, now: Duration, refusal: RefusalReason) {
        let wait = if refusal.is_transient() { self.backoff.next_wait() } else { self.config.refused_wait };
        self.rest_until(now + wait, Failure::Hello(refusal));
    }

    fn wait(&mut self, now: Duration, failure: Failure) {
        let until = now + self.backoff.next_wait();
        self.rest_until(until, failure);
    }

    /// Whoever waits for a dial that is not under way is told.
    fn rest_until(&mut self, until: Duration, failure: Failure) {
        self.places.iter_mut().filter(|place| !place.is_dialing).for_each(|place| place.is_wanted = false);
        self.rest = Some(Rest { until, failure: Some(failure) });
    }
}
