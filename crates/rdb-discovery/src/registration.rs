//! The machine that keeps one node registered at a source: when to write, to renew, to try again and to withdraw.
//!
//! Its driver carries out one [`RegistrationCommand`] at a time and tells how it went. The machine knows no source: a lease of
//! etcd and a check of Consul are both a promise that holds for a time and has to be renewed, and both can be gone when the
//! source comes back.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::{BootId, NodeInfo, SeededRandom, Weight};

use crate::Cause;

/// Renewals within the life of a promise. Two may be lost before it ends.
const RENEWALS: u32 = 3;

/// The times of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// The first wait after a failure; each further one doubles, with jitter. Default 200 ms.
    pub retry_min: Duration,
    /// The longest wait after a failure. Default 5 s; more spares a source that comes back to a thousand nodes at once.
    pub retry_max: Duration,
    /// How often a name that another process holds is tried for. Default 5 s.
    pub conflict_retry: Duration,
    /// How long a withdrawal is tried before the registration is left to expire. Default 3 s.
    pub withdraw_patience: Duration,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(5),
            conflict_retry: Duration::from_secs(5),
            withdraw_patience: Duration::from_secs(3),
        }
    }
}

/// How a node stands at its source. Times are on the clock of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// It has not been registered yet.
    Registering {
        /// What the last attempt met.
        cause: Option<Cause>,
    },
    /// It is registered.
    Active {
        /// How often it was registered: more than 1 means that it was lost in between.
        epoch: u64,
        /// Since when.
        since: Duration,
    },
    /// It was registered, and is not, or cannot be known to be. It is registered anew as soon as the source lets it.
    Lost {
        /// Since when.
        since: Duration,
        /// Why.
        cause: Cause,
    },
    /// Another process holds the name. An operator must act; the name is tried for again and again.
    Conflict {
        /// Since when.
        since: Duration,
        /// What is known of the other one.
        other: Arc<str>,
    },
    /// It is still registered, with weight 0, so that others stop choosing it.
    Draining {
        /// Since when.
        since: Duration,
    },
    /// It is withdrawn, or was left to expire.
    Ended,
}

impl RegistrationState {
    /// The state in lower case, as metrics and commands show it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registering { .. } => "registering",
            Self::Active { .. } => "active",
            Self::Lost { .. } => "lost",
            Self::Conflict { .. } => "conflict",
            Self::Draining { .. } => "draining",
            Self::Ended => "ended",
        }
    }
}

/// What the driver has to do, and then to tell the outcome of. There is one at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistrationCommand {
    /// Write this node to the source, unless another process holds its name. Outcomes:
    /// [`handle_written`](Registration::handle_written), [`handle_conflict`](Registration::handle_conflict),
    /// [`handle_lapsed`](Registration::handle_lapsed), [`handle_failure`](Registration::handle_failure).
    Write {
        /// The node.
        node: Arc<NodeInfo>,
        /// Begin a new promise: nothing is known of a former one. Else only the facts change.
        anew: bool,
    },
    /// Renew the promise. Outcomes: [`handle_renewed`](Registration::handle_renewed), lapsed, failure.
    Renew,
    /// Take the node out of the source. Outcomes: [`handle_withdrawn`](Registration::handle_withdrawn), failure.
    Withdraw,
}

/// The counters of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegistrationStats {
    /// Times that the node was registered anew or for the first time.
    pub registered: u64,
    /// Times that it was lost.
    pub lost: u64,
    /// Attempts that found another process with its name.
    pub conflicts: u64,
    /// Renewals that succeeded.
    pub renewals: u64,
    /// Commands that failed.
    pub failures: u64,
    /// Withdrawals that were given up.
    pub abandoned: u64,
}

/// Whether what stands at a source by a name gives way to this process's node of the same name.
///
/// It does where it is of this very process, where no process has written it (an operator did), and where it is an earlier life of
/// the same node: at the same address, and not of a later generation. What is elsewhere is another process with the same name.
pub fn gives_way(standing: &NodeInfo, own: &NodeInfo) -> bool {
    let same_process = standing.boot == own.boot;
    let no_process = standing.boot == BootId(0);
    let earlier_life =
        standing.address == own.address && standing.incarnation.generation() <= own.incarnation.generation();
    same_process || no_process || earlier_life
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Renew,
    Withdraw,
}

/// The promise of the source, as of the last success.
#[derive(Debug, Clone, Copy)]
struct Promise {
    time_to_live: Duration,
    /// By this clock the source may have let go of the node. Counted from when the command was given, not from its answer.
    expires: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Drain {
    /// When the node is withdrawn.
    withdraw_at: Duration,
    give_up_at: Duration,
}

/// Keeps one node registered.
#[derive(Debug)]
pub struct Registration {
    config: RegistrationConfig,
    random: SeededRandom,
    node: Arc<NodeInfo>,
    state: RegistrationState,
    epoch: u64,
    promise: Option<Promise>,
    drain: Option<Drain>,
    /// The facts at the source are older than `node`.
    unwritten: bool,
    in_flight: Option<(Kind, Duration)>,
    next: Duration,
    attempts: u32,
    stats: RegistrationStats,
}

impl Registration {
    /// A registration of this node that is tried at once.
    pub fn new(config: RegistrationConfig, node: Arc<NodeInfo>, seed: u64, now: Duration) -> Self {
        Self {
            config,
            random: SeededRandom::new(seed),
            node,
            state: RegistrationState::Registering { cause: None },
            epoch: 0,
            promise: None,
            drain: None,
            unwritten: true,
            in_flight: None,
            next: now,
            attempts: 0,
            stats: RegistrationStats::default(),
        }
    }

    /// How the node stands.
    pub fn state(&self) -> &RegistrationState {
        &self.state
    }

    /// What was done so far.
    pub fn stats(&self) -> RegistrationStats {
        self.stats
    }

    /// The node has other facts, which are written as soon as may be. Ignored once it drains.
    pub fn handle_node(&mut self, now: Duration, node: Arc<NodeInfo>) {
        if self.drain.is_none() && *self.node != *node {
            self.node = node;
            self.unwritten = true;
            if matches!(self.state, RegistrationState::Active { .. }) {
                self.next = now;
            }
        }
    }

    /// The node goes: others are told to stop choosing it, and after this grace it is withdrawn.
    pub fn handle_drain(&mut self, now: Duration, grace: Duration) {
        if self.drain.is_some() || self.state == RegistrationState::Ended {
            return;
        }
        let is_known = matches!(self.state, RegistrationState::Active { .. });
        let withdraw_at = if is_known { now.saturating_add(grace) } else { now };
        let give_up_at = withdraw_at.saturating_add(self.config.withdraw_patience);
        self.drain = Some(Drain { withdraw_at, give_up_at });
        self.state = RegistrationState::Draining { since: now };
        self.unwritten = is_known && !grace.is_zero();
        if let Ok(weight) = Weight::new(0.0) {
            self.node = Arc::new(NodeInfo { weight, ..NodeInfo::clone(&self.node) });
        }
        (self.next, self.attempts) = (now, 0);
    }

    /// The node is written, under a promise that holds this long.
    pub fn handle_written(&mut self, now: Duration, time_to_live: Duration) {
        if self.succeed(now, Kind::Write, time_to_live) && self.drain.is_none() {
            match self.state {
                RegistrationState::Active { .. } => {}
                _ => {
                    self.epoch += 1;
                    self.stats.registered += 1;
                    self.state = RegistrationState::Active { epoch: self.epoch, since: now };
                }
            }
        }
    }

    /// The promise is renewed, and holds this long from now.
    pub fn handle_renewed(&mut self, now: Duration, time_to_live: Duration) {
        if self.succeed(now, Kind::Renew, time_to_live) {
            self.stats.renewals += 1;
        }
    }

    /// The source knows nothing of the promise any more: it expired, or the source forgot.
    pub fn handle_lapsed(&mut self, now: Duration, cause: Cause) {
        self.in_flight = None;
        self.lose(now, cause);
        // The source answers, so that nothing speaks for waiting; but a source that takes and forgets is not asked in a loop.
        self.attempts += 1;
        self.next = now.saturating_add(if self.attempts > 1 { self.backoff() } else { Duration::ZERO });
    }

    /// Another process holds the name.
    pub fn handle_conflict(&mut self, now: Duration, other: impl Into<Arc<str>>) {
        self.in_flight = None;
        self.stats.conflicts += 1;
        self.promise = None;
        if self.drain.is_some() {
            // What stands there is not ours to withdraw.
            self.state = RegistrationState::Ended;
            return;
        }
        let since = match self.state {
            RegistrationState::Conflict { since, .. } => since,
            _ => now,
        };
        self.state = RegistrationState::Conflict { since, other: other.into() };
        self.next = now.saturating_add(self.jittered(self.config.conflict_retry));
    }

    /// The command failed, and it may or may not have had an effect.
    pub fn handle_failure(&mut self, now: Duration, cause: Cause) {
        let kind = self.in_flight.take().map(|(kind, _)| kind);
        self.unwritten |= kind == Some(Kind::Write);
        self.stats.failures += 1;
        self.attempts = self.attempts.saturating_add(1);
        match &mut self.state {
            RegistrationState::Registering { cause: last } => *last = Some(cause),
            RegistrationState::Lost { cause: last, .. } => *last = cause,
            _ => self.expire(now, Some(cause)),
        }
        let mut wait = self.backoff();
        if let Some(promise) = self.promise.filter(|_| kind != Some(Kind::Withdraw)) {
            // While it may be saved, it is tried often enough to be saved.
            wait = wait.min(promise.time_to_live / (2 * RENEWALS));
        }
        self.next = now.saturating_add(wait);
    }

    /// The node is out of the source.
    pub fn handle_withdrawn(&mut self, _now: Duration) {
        self.in_flight = None;
        self.state = RegistrationState::Ended;
    }

    /// A time named by [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.expire(now, None);
        if let Some(drain) = self.drain
            && now >= drain.give_up_at
            && self.state != RegistrationState::Ended
        {
            self.stats.abandoned += 1;
            self.in_flight = None;
            self.state = RegistrationState::Ended;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, or [`poll_command`](Self::poll_command) has something.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.state == RegistrationState::Ended {
            return None;
        }
        let expires = self.promise.filter(|_| self.drain.is_none()).map(|promise| promise.expires);
        let give_up = self.drain.map(|drain| drain.give_up_at);
        let command = self.in_flight.is_none().then(|| self.due());
        [expires, give_up, command].into_iter().flatten().min()
    }

    /// What to do, once it is time. The outcome has to be told before there is another one.
    pub fn poll_command(&mut self, now: Duration) -> Option<RegistrationCommand> {
        if self.in_flight.is_some() || self.state == RegistrationState::Ended || now < self.due() {
            return None;
        }
        let write = |node: &Arc<NodeInfo>, anew| RegistrationCommand::Write { node: Arc::clone(node), anew };
        let command = match self.drain {
            Some(drain) if now >= drain.withdraw_at => RegistrationCommand::Withdraw,
            _ if self.promise.is_none() => write(&self.node, true),
            _ if self.unwritten => write(&self.node, false),
            _ => RegistrationCommand::Renew,
        };
        let kind = match &command {
            RegistrationCommand::Write { .. } => Kind::Write,
            RegistrationCommand::Renew => Kind::Renew,
            RegistrationCommand::Withdraw => Kind::Withdraw,
        };
        if kind == Kind::Write {
            self.unwritten = false;
        }
        self.in_flight = Some((kind, now));
        Some(command)
    }

    /// When the next command is due.
    fn due(&self) -> Duration {
        match self.drain {
            // A retry of a withdrawal waits; a renewal in the grace does not hold up the withdrawal.
            Some(drain) if self.next < drain.withdraw_at || self.attempts == 0 => self.next.min(drain.withdraw_at),
            _ => self.next,
        }
    }

    /// Takes over a promise; false where nobody asked for it.
    fn succeed(&mut self, now: Duration, kind: Kind, time_to_live: Duration) -> bool {
        let Some((_, asked)) = self.in_flight.take_if(|(in_flight, _)| *in_flight == kind) else {
            return false;
        };
        self.attempts = 0;
        self.promise = Some(Promise { time_to_live, expires: asked.saturating_add(time_to_live) });
        self.next = if self.unwritten { now } else { asked.saturating_add(time_to_live / RENEWALS) };
        if let Some(drain) = self.drain {
            self.next = self.next.min(drain.withdraw_at);
        }
        true
    }

    /// Notes that the promise has ended by this clock.
    fn expire(&mut self, now: Duration, cause: Option<Cause>) {
        if let Some(promise) = self.promise.filter(|promise| promise.expires <= now) {
            let silence = || Cause::unavailable("the source did not answer for as long as the registration holds");
            self.lose(promise.expires, cause.unwrap_or_else(silence));
        }
    }

    fn lose(&mut self, since: Duration, cause: Cause) {
        self.promise = None;
        self.unwritten = true;
        match &mut self.state {
            RegistrationState::Active { .. } => {
                self.stats.lost += 1;
                self.state = RegistrationState::Lost { since, cause };
            }
            RegistrationState::Registering { cause: last } => *last = Some(cause),
            _ => {}
        }
    }

    fn backoff(&mut self) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(16);
        let wait = self.config.retry_min.saturating_mul(1 << doublings).min(self.config.retry_max);
        self.jittered(wait)
    }

    /// Between half of it and all of it, so that nodes that failed together do not try together.
    fn jittered(&mut self, wait: Duration) -> Duration {
        self.random.duration(wait / 2, wait)
    }
}

#[cfg(test)]
mod tests;
