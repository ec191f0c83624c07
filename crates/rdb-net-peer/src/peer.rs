//! The machine: wanted, dialled, up, waiting.

use std::time::Duration;

use rdb_net_session::CloseReason;
use rdb_net_types::{RefusalReason, SeededRandom};

use crate::backoff::{Backoff, BackoffConfig};

/// Times of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerConfig {
    /// Waits between dials.
    pub backoff: BackoffConfig,
    /// How long a connection must have been up for its loss to count as the first failure of a new series. Default 30 s.
    pub stable_after: Duration,
    /// How long a refused hello is not repeated, where only a change of configuration would help. Default 30 s.
    pub refused_wait: Duration,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            backoff: BackoffConfig::default(),
            stable_after: Duration::from_secs(30),
            refused_wait: Duration::from_secs(30),
        }
    }
}

/// Why a dial had no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialFailure {
    /// Connection refused: nothing listens at the address.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The name could not be resolved.
    Unresolved,
    /// The network says that there is no way.
    NoRoute,
    /// Any other error of the socket, or a limit of this process.
    Io,
}

impl DialFailure {
    /// A short name, for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "dial_refused",
            Self::TimedOut => "dial_timed_out",
            Self::Unresolved => "dial_unresolved",
            Self::NoRoute => "dial_no_route",
            Self::Io => "dial_io",
        }
    }
}

/// The last thing that went wrong, as those who wait for the connection are told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection.
    Dial(DialFailure),
    /// There was one, and the peer did not accept our hello, or we not its.
    Hello(RefusalReason),
    /// It ended before or after it was up.
    Ended(CloseReason),
}

/// Where the peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody wants a connection.
    Idle,
    /// A dial or its hello is under way.
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
        /// Since when.
        since: Duration,
    },
}

/// What the owner does next for this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: a connection is up, being made, or not wanted.
    None,
    /// Dial now. The machine counts the dial as under way until it is told how it ended.
    Dial,
    /// Ask again at this time.
    WaitUntil(Duration),
}

/// One peer.
#[derive(Debug)]
pub struct Peer {
    config: PeerConfig,
    state: State,
    backoff: Backoff,
    /// Whether the connection is kept when nobody uses it.
    kept: bool,
    /// Whether somebody waits for the connection.
    wanted: bool,
}

impl Peer {
    /// A peer nobody wanted yet.
    pub fn new(config: PeerConfig, seed: u64) -> Self {
        Self {
            config,
            state: State::Idle,
            backoff: Backoff::new(config.backoff, SeededRandom::new(seed)),
            kept: false,
            wanted: false,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Keeps a connection to this peer whether it is used or not, or stops keeping it.
    pub fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    /// Nobody wants the connection any more, whoever wanted it before.
    pub fn give_up(&mut self) {
        self.kept = false;
        self.wanted = false;
    }

    /// Whether a connection is kept.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Somebody wants to send. `Err` where a dial failed a short while ago and the next is not due: whoever asks now is told
    /// at once instead of waiting for a peer that is away.
    ///
    /// # Errors
    ///
    /// The last [`Failure`].
    pub fn want(&mut self, now: Duration) -> Result<(), Failure> {
        match self.state {
            State::Waiting { until, failure } if now < until => Err(failure),
            _ => {
                self.wanted = true;
                Ok(())
            }
        }
    }

    /// Something happened that makes a dial worth trying now: new evidence, a new address.
    pub fn hurry(&mut self, now: Duration) {
        if let State::Waiting { until, failure } = self.state {
            self.state = State::Waiting { until: until.min(now), failure };
        }
    }

    /// What is to be done.
    pub fn poll_action(&mut self, now: Duration) -> Action {
        if !(self.kept || self.wanted) {
            return Action::None;
        }
        match self.state {
            State::Dialing | State::Up { .. } => Action::None,
            State::Waiting { until, .. } if now < until && self.kept => Action::WaitUntil(until),
            State::Waiting { until, .. } if now < until => Action::None,
            State::Idle | State::Waiting { .. } => {
                self.state = State::Dialing;
                Action::Dial
            }
        }
    }

    /// There is no connection. Those who wait are told.
    pub fn handle_dial_failed(&mut self, now: Duration, failure: DialFailure) {
        self.wait(now, Failure::Dial(failure));
    }

    /// Our hello was answered.
    pub fn handle_up(&mut self, now: Duration) {
        self.state = State::Up { since: now };
        self.wanted = false;
    }

    /// The connection that was up, or was being made, has ended.
    pub fn handle_ended(&mut self, now: Duration, reason: CloseReason) {
        match (self.state, reason) {
            (_, CloseReason::Refused(refusal) | CloseReason::Rejected(refusal)) => {
                self.wanted = false;
                self.wait_refused(now, refusal);
            }
            // A connection that was up and is lost is made anew at once: that is how a killed process is told from a
            // restarted one.
            (State::Up { since }, _) => {
                if now.saturating_sub(since) >= self.config.stable_after {
                    self.backoff.reset();
                }
                self.state = State::Idle;
            }
            (_, reason) => self.wait(now, Failure::Ended(reason)),
        }
    }

    fn wait_refused(&mut self, now: Duration, refusal: RefusalReason) {
        let wait = if refusal.is_transient() { self.backoff.next_wait() } else { self.config.refused_wait };
        self.state = State::Waiting { until: now + wait, failure: Failure::Hello(refusal) };
    }

    fn wait(&mut self, now: Duration, failure: Failure) {
        self.wanted = false;
        let until = now + self.backoff.next_wait();
        self.state = State::Waiting { until, failure };
    }
}
