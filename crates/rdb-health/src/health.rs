//! The machine: inputs in, pings and events out.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{
    Evidence, EvidenceKind, HealthReport, HealthStatus, NodeId, NodeState, OverloadScope, Reason, SeededRandom,
};

use crate::config::{Config, Scope};
use crate::event::{Cause, HealthEvent, Statistics};
use crate::record::{NodeHealth, Record};
use crate::schedule::{Phase, Ping, PingId, Schedule};

/// Follows the health of nodes. Every operation on one node costs O(log n).
#[derive(Debug)]
pub struct Health {
    config: Config,
    random: SeededRandom,
    nodes: BTreeMap<NodeId, Record>,
    schedule: Schedule,
    /// At most one per node: where two changes meet, they are one.
    events: BTreeMap<u64, HealthEvent>,
    event_of: BTreeMap<NodeId, u64>,
    statistics: Statistics,
}

impl Health {
    /// A machine that follows nobody. The seed gives the jitter.
    pub fn new(config: Config, seed: u64, _now: Duration) -> Self {
        Self {
            config: config.clamped(),
            random: SeededRandom::new(seed),
            nodes: BTreeMap::new(),
            schedule: Schedule::default(),
            events: BTreeMap::new(),
            event_of: BTreeMap::new(),
            statistics: Statistics::default(),
        }
    }

    /// This node has a link to that one which is to be looked after, because it carries traffic: it is pinged from here on, for
    /// the first time at a random moment within an interval. False where it is not followed, because there are `nodes_max` already.
    pub fn watch(&mut self, now: Duration, node: &NodeId) -> bool {
        self.admit(node) && self.change(now, node, None, |record, _| record.watched = true)
    }

    /// Pings a node once, as soon as the driver polls: a link with it is new. It is followed from here on.
    pub fn ask(&mut self, now: Duration, node: &NodeId) {
        if self.admit(node) {
            self.bring_forward(now, node);
        }
    }

    /// A node was asked over a connection whether it is there, by somebody else than this machine. An answer counts like that to a
    /// ping. Silence bodes ill, and the machine asks by itself; what failed on this side says nothing of the node.
    pub fn handle_answer(&mut self, now: Duration, node: &NodeId, result: Result<Duration, Reason>) {
        let kind = match result {
            Ok(round_trip) => EvidenceKind::Alive { round_trip },
            Err(reason) if is_our_own(reason) => return,
            Err(_) => EvidenceKind::Silent,
        };
        self.handle_evidence(now, &Evidence { node: node.clone(), boot: None, kind });
    }

    /// The link is gone, or quiet. Where membership knows the node it is still followed, by what is heard of it; else it is forgotten.
    pub fn unwatch(&mut self, node: &NodeId) {
        let Some(record) = self.nodes.get_mut(node) else { return };
        record.watched = false;
        if record.member.is_none() {
            self.forget(node, Cause::Unwatched);
        } else if !wants_pings(&self.config, record) && !matches!(record.phase, Phase::InFlight { .. }) {
            self.schedule.enter(node, &mut record.phase, Phase::Idle);
        }
    }

    /// Membership holds a node in this state. A node that has left is forgotten; tell the same of one that membership forgets.
    pub fn handle_member(&mut self, now: Duration, node: &NodeId, state: NodeState) {
        if state == NodeState::Left {
            self.forget(node, Cause::Membership(state));
            return;
        }
        if !self.admit(node) {
            return;
        }
        let mut is_back = false;
        self.change(now, node, Some(Cause::Membership(state)), |record, _| {
            let former = record.member.replace(state);
            is_back = former == Some(NodeState::Failed) && state != NodeState::Failed;
            if is_back {
                record.start_anew();
            }
        });
        if is_back || state == NodeState::Suspect {
            self.bring_forward(now, node);
        }
    }

    /// The next ping to send. At most one per node is in flight.
    pub fn poll_ping(&mut self, now: Duration) -> Option<Ping> {
        let node = self.schedule.first_queued()?;
        let record = self.nodes.get_mut(&node).expect("only nodes that are followed are queued");
        let (id, timeout) = (PingId(self.schedule.number()), self.config.timeout);
        record.last_ping = Some(now);
        self.schedule.enter(&node, &mut record.phase, Phase::InFlight { id, deadline: now + timeout });
        self.statistics.pings += 1;
        Some(Ping { node, id, timeout })
    }

    /// Whom a ping in flight asks.
    pub fn pinged(&self, id: PingId) -> Option<NodeId> {
        self.schedule.pinged(id)
    }

    /// A ping was answered. An answer after the time-out is counted and changes nothing.
    pub fn handle_pong(&mut self, now: Duration, id: PingId, round_trip: Duration) {
        let Some(node) = self.settle(id) else { return };
        self.statistics.pongs += 1;
        self.change(now, &node, Some(Cause::Pong), |record, config| record.success(config, now, round_trip));
    }

    /// A ping could not be sent, or its connection was lost. What failed on this side says nothing of the node.
    pub fn handle_ping_failed(&mut self, now: Duration, id: PingId, reason: Reason) {
        let Some(node) = self.settle(id) else { return };
        if is_our_own(reason) {
            self.statistics.pings_unsent += 1;
            self.change(now, &node, None, |_, _| {});
        } else {
            self.statistics.pings_failed += 1;
            self.change(now, &node, Some(Cause::PingFailed(reason)), Record::failure);
        }
    }

    /// Takes a ping out of flight.
    fn settle(&mut self, id: PingId) -> Option<NodeId> {
        let Some(node) = self.schedule.pinged(id) else {
            self.statistics.late += 1;
            return None;
        };
        let record = self.nodes.get_mut(&node).expect("only nodes that are followed are pinged");
        self.schedule.enter(&node, &mut record.phase, Phase::Idle);
        Some(node)
    }

    /// Something was seen of a node besides pings: by membership, by a connection, by phi.
    pub fn handle_evidence(&mut self, now: Duration, evidence: &Evidence) {
        let (node, kind) = (&evidence.node, evidence.kind);
        if !self.nodes.contains_key(node) {
            self.statistics.ignored += 1;
            return;
        }
        self.statistics.evidence += 1;
        match kind {
            EvidenceKind::Alive { round_trip } => {
                self.change(now, node, Some(Cause::Evidence(kind)), |record, config| {
                    record.success(config, now, round_trip)
                });
            }
            EvidenceKind::Refused | EvidenceKind::Reset | EvidenceKind::Silent => {
                self.change(now, node, Some(Cause::Evidence(kind)), |record, _| record.doubt());
                self.bring_forward(now, node);
            }
            _ => self.bring_forward(now, node),
        }
    }

    /// An application check of a node says how it is. It stands until the check speaks again or is removed. False where the
    /// node is not followed or has `checks_per_node_max` other checks.
    pub fn handle_application(&mut self, now: Duration, node: &NodeId, check: &str, status: HealthStatus) -> bool {
        let Some(record) = self.nodes.get(node) else {
            self.statistics.ignored += 1;
            return false;
        };
        if record.checks.len() >= self.config.checks_per_node_max && !record.checks.contains_key(check) {
            self.statistics.checks_refused += 1;
            return false;
        }
        let cause = Cause::Application { check: check.to_owned() };
        self.change(now, node, Some(cause), |record, _| {
            record.checks.insert(check.to_owned(), status);
        })
    }

    /// Removes an application check.
    pub fn remove_application(&mut self, now: Duration, node: &NodeId, check: &str) {
        let cause = Cause::Application { check: check.to_owned() };
        self.change(now, node, Some(cause), |record, _| {
            record.checks.remove(check);
        });
    }

    /// Does what is due. A call that comes later than half a time-out after [`poll_timeout`](Self::poll_timeout) shows that
    /// this process stood still: answers may be waiting unread, so the pings in flight get their time anew.
    pub fn handle_timeout(&mut self, now: Duration) {
        let late = self.schedule.next().map_or(Duration::ZERO, |due| now.saturating_sub(due));
        let paused = late > self.config.timeout / 2;
        self.statistics.pauses += u64::from(paused);
        while let Some(node) = self.schedule.due(now) {
            let record = self.nodes.get_mut(&node).expect("only nodes that are followed have timers");
            match record.phase {
                Phase::InFlight { id, .. } if paused => {
                    let deadline = now + self.config.timeout;
                    self.schedule.enter(&node, &mut record.phase, Phase::InFlight { id, deadline });
                }
                Phase::InFlight { .. } => {
                    self.statistics.pings_timed_out += 1;
                    self.schedule.enter(&node, &mut record.phase, Phase::Idle);
                    // Who was heard of since the ping was sent is there, whatever became of the ping.
                    let was_heard = record.heard > record.last_ping;
                    let apply = if was_heard { |_: &mut Record, _: &Config| {} } else { Record::failure };
                    self.change(now, &node, (!was_heard).then_some(Cause::PingTimedOut), apply);
                }
                Phase::Idle | Phase::Due(_) | Phase::Queued(_) => {
                    let number = self.schedule.number();
                    self.schedule.enter(&node, &mut record.phase, Phase::Queued(number));
                }
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// The next change of a status.
    pub fn poll_event(&mut self) -> Option<HealthEvent> {
        let (_, event) = self.events.pop_first()?;
        self.event_of.remove(&event.node);
        Some(event)
    }

    /// How a node is; `Unknown` where it is not followed.
    pub fn status(&self, node: &NodeId) -> HealthStatus {
        self.nodes.get(node).map_or(HealthStatus::Unknown, Record::status)
    }

    /// All that is known of a node.
    pub fn node(&self, node: &NodeId) -> Option<NodeHealth> {
        self.nodes.get(node).map(Record::report)
    }

    /// The nodes that are followed, by ascending id.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, NodeHealth)> {
        self.nodes.iter().map(|(node, record)| (node, record.report()))
    }

    /// The nodes that are unhealthy, by ascending id.
    pub fn unhealthy(&self) -> Vec<NodeId> {
        let unhealthy = self.nodes.iter().filter(|(_, record)| record.status() == HealthStatus::Unhealthy);
        unhealthy.map(|(node, _)| node.clone()).collect()
    }

    /// Every node with its status and the reason, worst first.
    pub fn report(&self) -> HealthReport {
        let part = |(node, health): (&NodeId, NodeHealth)| (node.to_string(), health.status, health.cause.to_string());
        HealthReport::of(self.nodes().map(part).collect())
    }

    /// What was done so far.
    pub fn stats(&self) -> Statistics {
        self.statistics
    }

    /// Pings that are waiting for their answer.
    pub fn pings_in_flight(&self) -> usize {
        self.schedule.in_flight()
    }

    fn admit(&mut self, node: &NodeId) -> bool {
        if !self.nodes.contains_key(node) {
            if self.nodes.len() >= self.config.nodes_max {
                self.statistics.nodes_refused += 1;
                return false;
            }
            self.nodes.insert(node.clone(), Record::default());
        }
        true
    }

    /// Applies a change to a node, tells of it, and sets its next ping. False where the node is not followed.
    fn change(
        &mut self,
        now: Duration,
        node: &NodeId,
        cause: Option<Cause>,
        apply: impl FnOnce(&mut Record, &Config),
    ) -> bool {
        let Some(record) = self.nodes.get_mut(node) else { return false };
        let (before, was_well) = (record.status(), record.is_well());
        let (watched, successes) = (record.watched, record.successes_in_a_row);
        apply(record, &self.config);
        let (after, round_trip) = (record.status(), record.round_trip);
        // A ping that is due keeps its time, unless what it was to find out has changed.
        let reset = record.is_well() != was_well || record.watched != watched || record.successes_in_a_row != successes;
        if before != after {
            record.cause = cause.clone().or(record.cause.take());
            self.tell(node, before, after, cause.unwrap_or(Cause::Nothing), round_trip);
        }
        self.set_next_ping(now, node, reset);
        true
    }

    fn set_next_ping(&mut self, now: Duration, node: &NodeId, reset: bool) {
        let Some(record) = self.nodes.get_mut(node) else { return };
        let failed = record.member == Some(NodeState::Failed);
        if failed || !wants_pings(&self.config, record) && !matches!(record.phase, Phase::InFlight { .. }) {
            self.schedule.enter(node, &mut record.phase, Phase::Idle);
            return;
        }
        let wait = match record.phase {
            Phase::InFlight { .. } => return,
            Phase::Due(_) | Phase::Queued(_) if !reset => return,
            _ if record.last_ping.is_none() && record.successes_in_a_row == 0 && record.is_well() => {
                self.random.duration(Duration::from_millis(1), self.config.interval)
            }
            _ if record.is_well() => {
                let tenth = self.config.interval / 10;
                self.random.duration(self.config.interval - tenth, self.config.interval + tenth)
            }
            _ => {
                let doublings = record.failures_in_a_row.saturating_sub(1).min(30);
                let backoff = self.config.backoff_first.saturating_mul(1 << doublings).min(self.config.backoff_max);
                self.random.duration(backoff / 2, backoff)
            }
        };
        self.schedule.enter(node, &mut record.phase, Phase::Due(now + wait));
    }

    /// Pings a node as soon as the driver polls, but not twice within the first backoff.
    fn bring_forward(&mut self, now: Duration, node: &NodeId) {
        let Some(record) = self.nodes.get_mut(node) else { return };
        if record.member == Some(NodeState::Failed) {
            return;
        }
        let earliest = record.last_ping.map_or(now, |last| last + self.config.backoff_first);
        let next = match record.phase {
            Phase::Queued(_) | Phase::InFlight { .. } => return,
            Phase::Due(at) if at <= earliest && earliest > now => return,
            _ if earliest > now => Phase::Due(earliest),
            _ => Phase::Queued(self.schedule.number()),
        };
        self.schedule.enter(node, &mut record.phase, next);
    }

    fn forget(&mut self, node: &NodeId, cause: Cause) {
        let Some(mut record) = self.nodes.remove(node) else { return };
        self.schedule.enter(node, &mut record.phase, Phase::Idle);
        let waits = self.event_of.contains_key(node);
        if record.status() != HealthStatus::Unknown || waits {
            if !waits && self.events.len() >= self.config.nodes_max {
                self.statistics.events_dropped += 1;
                return;
            }
            self.tell(node, record.status(), HealthStatus::Unknown, cause, record.round_trip);
        }
    }

    fn tell(
        &mut self,
        node: &NodeId,
        from: HealthStatus,
        to: HealthStatus,
        cause: Cause,
        round_trip: Option<Duration>,
    ) {
        if let Some(number) = self.event_of.get(node) {
            let event = self.events.get_mut(number).expect("the two maps hold the same events");
            (event.to, event.cause, event.round_trip) = (to, cause, round_trip);
            if event.from == to {
                self.events.remove(number);
                self.event_of.remove(node);
            }
            return;
        }
        let number = self.schedule.number();
        self.event_of.insert(node.clone(), number);
        self.events.insert(number, HealthEvent { node: node.clone(), from, to, cause, round_trip });
    }
}

/// Whether a node is asked at all, by itself or by the scope.
fn wants_pings(config: &Config, record: &Record) -> bool {
    record.watched || config.scope == Scope::All || !record.is_well()
}

/// Whether a ping failed on this side, before it could say anything of the node.
fn is_our_own(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Cancelled
            | Reason::ShuttingDown
            | Reason::Withdrawn
            | Reason::Overloaded(OverloadScope::Process | OverloadScope::Requests | OverloadScope::Lane)
    )
}
