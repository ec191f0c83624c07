//! What connections show: who is there, whose process is gone, and who has fallen silent.
//!
//! Only a refused connection accuses; everything else brings a question forward. A connection that is lost without a farewell
//! is dialled again at once, because the answer tells a killed process (refused) from a lost connection (up again).

use std::time::Duration;

use rdb_health::PingId;
use rdb_net_peer::{DialFailure, Failure, LinkSide, PeerEvent};
use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::{BootId, Evidence, EvidenceKind, NodeAddress, NodeId, NodeState, RefusalReason};

use crate::command::Command;
use crate::engine::Engine;

impl Engine {
    /// Takes what happened to the connections of a peer.
    pub fn handle_peer(&mut self, now: Duration, event: &PeerEvent) {
        match event {
            PeerEvent::Up { node, boot, side, .. } => self.came_up(now, node, *boot, *side),
            PeerEvent::Down { node, boot, side, reason } => self.went_down(now, node, *boot, *side, *reason),
            PeerEvent::Traffic { node, side: LinkSide::Dialer } => self.traffic(now, node),
            PeerEvent::DialFailed { node: Some(node), address, failure } => {
                self.dial_failed(now, node, address, *failure);
            }
            // A seed that does not answer is told of by the exchange that wanted it.
            _ => {}
        }
        self.settle(now);
    }

    fn came_up(&mut self, now: Duration, node: &NodeId, boot: BootId, side: LinkSide) {
        self.links.came_up(node, side);
        if side == LinkSide::Dialer {
            // Once: how well it is asked after from here on depends on what the link carries.
            self.health.ask(now, node);
        }
        let Some((held, state)) = self.roster.find(node).map(|member| (member.boot, member.state)) else { return };
        match state {
            NodeState::Alive | NodeState::Suspect if held == boot => {
                // Its hello was answered: whatever was refused before, this life is there.
                let kind = EvidenceKind::Alive { round_trip: Duration::ZERO };
                self.swim.handle_evidence(now, &Evidence { node: node.clone(), boot: Some(boot), kind });
            }
            NodeState::Alive | NodeState::Suspect => {
                // Another life than the known one: ask, and each learns of the other.
                self.counters.other_lives += 1;
                let evidence = Evidence { node: node.clone(), boot: None, kind: EvidenceKind::Reset };
                self.swim.handle_evidence(now, &evidence);
            }
            // It was given up, and is there after all.
            NodeState::Failed => self.sync_with(now, node),
            NodeState::Left => {}
        }
    }

    fn went_down(&mut self, now: Duration, node: &NodeId, boot: BootId, side: LinkSide, reason: CloseReason) {
        self.links.went_down(node, side);
        let kind = match reason {
            CloseReason::Lost(Loss::TimedOut) | CloseReason::Silent => Some(EvidenceKind::Silent),
            CloseReason::Lost(_) => Some(EvidenceKind::Reset),
            // A farewell, or a quarrel about the protocol: neither says that the process is gone.
            _ => None,
        };
        if let Some(kind) = kind {
            self.counters.links_lost += 1;
            self.take_evidence(now, &Evidence { node: node.clone(), boot: Some(boot), kind });
            let is_held =
                self.roster.find(node).is_some_and(|member| member.boot == boot && member.state.is_routable());
            if is_held && kind == EvidenceKind::Reset {
                self.order(Command::Hurry { node: node.clone() });
            }
        }
        if !self.links.is_dialled(node) {
            self.flows.end(node);
            self.unwatch(node);
        }
    }

    fn traffic(&mut self, now: Duration, node: &NodeId) {
        if self.links.is_dialled(node) && self.flows.note(now, node) {
            self.health.watch(now, node);
            self.phi.watch(now, node);
        }
    }

    fn unwatch(&mut self, node: &NodeId) {
        self.health.unwatch(node);
        if self.phi.unwatch(node) {
            self.balancer.set_trust(node, 1.0);
        }
    }

    /// The answer to a ping.
    pub(crate) fn take_pong(&mut self, now: Duration, id: PingId, round_trip: Duration) {
        if let Some(node) = self.health.pinged(id) {
            self.hear(now, &node);
        }
        self.health.handle_pong(now, id, round_trip);
    }

    /// Whatever puts off a node's next ping is a heartbeat as well: otherwise its absence would look like silence.
    pub(crate) fn hear(&mut self, now: Duration, node: &NodeId) {
        if self.phi.heartbeat(now, node) {
            self.balancer.set_trust(node, 1.0);
        }
    }

    /// Links whose silence is unusual carry fewer calls, and are asked at once in the end.
    pub(crate) fn mistrust_silent_links(&mut self, now: Duration) {
        while let Some(silence) = self.phi.poll(now) {
            self.balancer.set_trust(&silence.node, silence.trust);
            if silence.is_crossed {
                self.counters.phi_crossed += 1;
                let boot = self.roster.find(&silence.node).map(|member| member.boot);
                self.take_evidence(now, &Evidence { node: silence.node, boot, kind: EvidenceKind::PhiCrossed });
            }
        }
    }

    /// Links that carry nothing any more are asked about no longer.
    pub(crate) fn expire_flows(&mut self, now: Duration) {
        while let Some(node) = self.flows.poll_quiet(now) {
            self.unwatch(&node);
        }
    }

    fn dial_failed(&mut self, now: Duration, node: &NodeId, address: &NodeAddress, failure: Failure) {
        let Some(member) = self.roster.find(node) else { return };
        // What an address says that the member has moved away from is nothing about the member.
        if member.address != *address {
            return;
        }
        let kind = match failure {
            Failure::Dial(DialFailure::Refused) => EvidenceKind::Refused,
            Failure::Dial(DialFailure::TimedOut | DialFailure::NoRoute) | Failure::Ended(CloseReason::HelloTimeout) => {
                EvidenceKind::Silent
            }
            // Somebody else listens there.
            Failure::Hello(RefusalReason::TargetNode) => EvidenceKind::Reset,
            _ => return,
        };
        self.counters.refusals_seen += u64::from(kind == EvidenceKind::Refused);
        let evidence = Evidence { node: node.clone(), boot: Some(member.boot), kind };
        self.take_evidence(now, &evidence);
    }
}
