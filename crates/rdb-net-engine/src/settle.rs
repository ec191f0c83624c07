//! Bringing the parts together after each input: what one has to tell goes to the others, until all are silent.

use std::sync::Arc;
use std::time::Duration;

use rdb_balance::Backend;
use rdb_net_types::{Evidence, EvidenceKind, HealthStatus, MembershipEvent, NodeState, Reason};
use rdb_swim::Event;

use crate::command::{Command, EngineEvent};
use crate::engine::{Engine, Phase};
use crate::roster::is_reachable;

/// Changes of health are dropped while this many events wait; changes of membership never are.
const HEALTH_WAITING_MAX: usize = 4_096;

/// Up to this many members the balancer's list is built at every change.
const EAGER_MEMBERS_MAX: usize = 64;

/// Beyond, it is built at most once in this time: a thousand nodes that join at once are not a thousand lists. Who may not be
/// picked any more is marked at once in either case.
const BALANCER_GAP: Duration = Duration::from_millis(50);

impl Engine {
    /// Brings the parts together: whatever one has to tell goes to the others, until all are silent.
    ///
    /// This comes to an end: membership tells health, health tells membership only of nodes that have just become unhealthy,
    /// and what membership makes of that is a probe.
    pub(crate) fn settle(&mut self, now: Duration) {
        loop {
            let mut is_quiet = !self.drain_swim(now);
            while let Some(event) = self.health.poll_event() {
                is_quiet = false;
                self.on_health(now, event);
            }
            if is_quiet {
                break;
            }
        }
        self.build_list(now);
        self.send_pings(now);
        let roster = &self.roster;
        let commands = self.links.update(|node| roster.address_of(node));
        self.commands.extend(commands);
        self.call_seeds(now);
        self.look_whether_joined(now);
    }

    /// Takes what membership has to tell. Gives whether there was anything.
    pub(crate) fn drain_swim(&mut self, now: Duration) -> bool {
        let mut is_any = false;
        while let Some(event) = self.swim.poll_event() {
            is_any = true;
            self.on_swim(now, event);
        }
        is_any
    }

    fn on_swim(&mut self, now: Duration, event: Event) {
        if let Some(change) = self.roster.take(&event) {
            return self.on_change(now, change);
        }
        match event {
            Event::SelfRefuted { .. } => self.publish_local(),
            Event::Conflict { id, address, boot } => self.on_conflict(id, address, boot),
            Event::Incompatible { node, theirs, ours } => {
                self.tell(EngineEvent::Incompatible { node, theirs, ours });
            }
            Event::SyncWanted { node } => self.sync_with(now, &node),
            Event::SyncAnswered { id, reply } => self.order(Command::AnswerSync { id, reply }),
            Event::Partitioned(partition) => self.tell(EngineEvent::Partitioned(partition)),
            Event::Healed(partition) => self.tell(EngineEvent::Healed(partition)),
            Event::Farewell { acknowledged } => self.on_farewell(acknowledged),
            // Gossip answers for the transport only as long as nothing is held against it: who does not answer over
            // connections but over gossip would otherwise be well again with each probe, and the doubt itself brings one.
            Event::RoundTrip { node, round_trip } if self.health.status(&node) <= HealthStatus::Unknown => {
                self.hear(now, &node);
                let evidence = Evidence { node, boot: None, kind: EvidenceKind::Alive { round_trip } };
                self.health.handle_evidence(now, &evidence);
            }
            Event::StreamPingWanted { node, sequence, timeout } => {
                if let Some(address) = self.roster.address_of(&node) {
                    self.ping_over_stream(node, sequence, timeout, address);
                }
            }
            // Suspicion follows, and is an event of its own.
            Event::ProbeFailed { .. } => self.counters.probes_failed += 1,
            _ => {}
        }
    }

    /// Carries a change of a member to everybody whom it concerns.
    fn on_change(&mut self, now: Duration, change: MembershipEvent) {
        let node = Arc::clone(change.node());
        let id = &node.id;
        let is_gone = matches!(change, MembershipEvent::NodeForgotten(_));
        let state = if is_gone { NodeState::Left } else { node.state };
        self.health.handle_member(now, id, state);
        if !is_gone && is_reachable(&node) {
            if !matches!(change, MembershipEvent::NodeSuspected(_) | MembershipEvent::NodeTrusted(_)) {
                self.links.enter(id);
            }
        } else {
            self.links.leave(id);
        }
        if state == NodeState::Left {
            // No new calls, although the list may be built a moment later.
            self.balancer.set_draining(id, true);
            self.drained.push(id.clone());
            self.order(Command::ForgetPeer { node: id.clone() });
        }
        self.is_list_stale = true;
        self.tell(EngineEvent::Membership(change.clone()));
        self.stir_split(now, &change);
    }

    fn on_health(&mut self, now: Duration, event: rdb_health::HealthEvent) {
        self.balancer.set_status(&event.node, event.to);
        let is_own_finding = !matches!(event.cause, rdb_health::Cause::Membership(_));
        if event.to == HealthStatus::Unhealthy && is_own_finding {
            let boot = self.roster.find(&event.node).map(|node| node.boot);
            let evidence = Evidence { node: event.node.clone(), boot, kind: EvidenceKind::Silent };
            self.swim.handle_evidence(now, &evidence);
        }
        if self.events.len() >= HEALTH_WAITING_MAX {
            self.counters.limit_events += 1;
        } else {
            self.tell(EngineEvent::Health(event));
        }
    }

    fn on_farewell(&mut self, acknowledged: usize) {
        self.phase = Phase::Left;
        let commands = self.links.drop_all();
        self.commands.extend(commands);
        self.tell(EngineEvent::LeaveFinished { acknowledged });
    }

    fn send_pings(&mut self, now: Duration) {
        while let Some(ping) = self.health.poll_ping(now) {
            match self.roster.address_of(&ping.node) {
                _ if self.phase == Phase::Left => self.health.handle_ping_failed(now, ping.id, Reason::ShuttingDown),
                Some(address) => {
                    self.order(Command::Ping { id: ping.id, node: ping.node, address, timeout: ping.timeout });
                }
                None => self.health.handle_ping_failed(now, ping.id, Reason::UnknownNode),
            }
        }
    }

    /// Gives the balancer the members that messages are sent to.
    fn build_list(&mut self, now: Duration) {
        let is_small = self.roster.census().routable() <= EAGER_MEMBERS_MAX;
        if !self.is_list_stale || !is_small && now < self.list_due {
            return;
        }
        self.is_list_stale = false;
        self.list_due = now + BALANCER_GAP;
        self.balancer.set_nodes(self.roster.reachable().map(|node| Backend::from(Arc::clone(node))).collect());
        for node in self.roster.reachable() {
            // Who comes back starts as unknown there; what is known of him must not be lost.
            let status = self.health.status(&node.id);
            if status != HealthStatus::Unknown {
                self.balancer.set_status(&node.id, status);
            }
        }
        // Who left and is back before the list was built was never off it.
        for node in std::mem::take(&mut self.drained) {
            self.balancer.set_draining(&node, false);
        }
    }

    fn look_whether_joined(&mut self, now: Duration) {
        if self.phase != Phase::Joining {
            return;
        }
        let members = self.roster.census().routable();
        if members > 1 || self.seeds.is_alone() {
            self.joined(now);
        } else if let Some((attempts, seeds)) = self.seeds.take_unreachable() {
            self.tell(EngineEvent::SeedsUnreachable { attempts, seeds });
        }
    }

    pub(crate) fn joined(&mut self, now: Duration) {
        if self.phase == Phase::Joining {
            self.phase = Phase::Joined;
            self.settling.begin(now, &mut self.random);
            let members = self.roster.census().routable();
            self.tell(EngineEvent::ClusterJoined { members });
        }
    }
}
