//! Exchanges of views with seeds and members: asked, answered, timed out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_types::{BootId, NodeId, Reason, RefusalReason, SeededRandom};
use rdb_swim::SyncOutcome;

use crate::command::{Command, EngineEvent, SyncAnswer, SyncRefusal, SyncTarget, SyncToken};
use crate::engine::{Engine, Phase};
use crate::seeds::CallEnd;

/// How many exchanges with members may be under way.
const NODE_SYNCS_MAX: usize = 16;

#[derive(Debug)]
struct Sync {
    target: SyncTarget,
    deadline: Duration,
}

/// Exchanges that this node has asked for.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    next: u64,
    under_way: BTreeMap<SyncToken, Sync>,
}

impl Syncs {
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        // All have the same patience, so the first asked is the first to expire.
        self.under_way.first_key_value().map(|(_, sync)| sync.deadline)
    }

    fn begin(&mut self, target: SyncTarget, deadline: Duration) -> SyncToken {
        let token = SyncToken(self.next);
        self.next += 1;
        self.under_way.insert(token, Sync { target, deadline });
        token
    }

    fn with_node(&self, node: &NodeId) -> bool {
        self.with_nodes().any(|asked| asked == node)
    }

    fn with_nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.under_way.values().filter_map(|sync| match &sync.target {
            SyncTarget::Node { node, .. } => Some(node),
            SyncTarget::Seed(_) => None,
        })
    }
}

/// Looks at the cluster once more after having joined it.
///
/// The view that a seed gives is as old as the seed's own, and in a cluster that starts as a whole that is very little: what
/// is told by gossip meanwhile misses a few, and the regular exchange of views is seldom. So a newcomer exchanges views with a
/// random member a few times: soon while others may be joining, then after longer waits. Where the views are equal, that is a hundred bytes.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    due: Option<Duration>,
    looks: usize,
}

/// How long a newcomer waits at the most before each time that it looks again, in milliseconds, and half of that at the least.
const LOOKS_MS: [u64; 6] = [200, 200, 300, 600, 1_200, 2_400];

impl Settling {
    pub(crate) fn begin(&mut self, now: Duration, random: &mut SeededRandom) {
        *self = Self::default();
        self.wait(now, random);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.due
    }

    fn wait(&mut self, now: Duration, random: &mut SeededRandom) {
        let wait = LOOKS_MS.get(self.looks).map(|ms| Duration::from_millis(*ms));
        self.due = wait.map(|wait| now + random.duration(wait / 2, wait));
        self.looks += 1;
    }
}

/// How an exchange went, as far as this node's own part is concerned.
enum End {
    Accepted,
    Busy,
    Itself,
    /// Another living process has this node's id.
    Duplicate(Option<SocketAddr>),
    Failed,
}

impl Engine {
    /// Takes another node's request for an exchange of views. `from` is the node that the connection has proved: a request
    /// that speaks for another one is refused.
    pub fn handle_sync_request(&mut self, now: Duration, from: &NodeId, request: &[u8]) -> SyncAnswer {
        let answer = self.answer_sync(now, from, request);
        if matches!(answer, SyncAnswer::Refused(_)) {
            self.counters.syncs_refused += 1;
        }
        self.settle(now);
        answer
    }

    fn answer_sync(&mut self, now: Duration, from: &NodeId, request: &[u8]) -> SyncAnswer {
        let answer = match self.swim.sync_asker(request) {
            Ok(claimed) if claimed != *from => {
                let proved = from.clone();
                return SyncAnswer::Refused(SyncRefusal::OtherNode { claimed, proved });
            }
            Ok(_) => self.swim.handle_sync_request(now, request),
            Err(error) => Err(error),
        };
        match answer {
            Ok(rdb_swim::SyncAnswer::Ready(reply)) => SyncAnswer::Ready(reply),
            Ok(rdb_swim::SyncAnswer::Pending(id)) => SyncAnswer::Pending(id),
            Err(error) => SyncAnswer::Refused(SyncRefusal::Malformed(error)),
        }
    }

    /// Takes the reply to a [`Command::Sync`], or why there is none.
    pub fn handle_sync_reply(&mut self, now: Duration, token: SyncToken, reply: Result<Vec<u8>, Reason>) {
        let Some(sync) = self.syncs.under_way.remove(&token) else {
            self.counters.late_replies += 1;
            return;
        };
        let end = self.judge(now, &sync.target, reply);
        self.end_sync(now, &sync.target, &end);
        self.settle(now);
    }

    fn judge(&mut self, now: Duration, target: &SyncTarget, reply: Result<Vec<u8>, Reason>) -> End {
        let reply = match reply {
            Ok(reply) => reply,
            Err(Reason::Refused(RefusalReason::SelfConnection)) => return End::Itself,
            Err(Reason::Refused(RefusalReason::DuplicateNode)) => return End::Duplicate(None),
            Err(_) => return End::Failed,
        };
        let outcome = match target {
            SyncTarget::Node { node, .. } => self.swim.handle_sync_reply_of(now, node, &reply),
            SyncTarget::Seed(_) => self.swim.handle_sync_reply(now, &reply),
        };
        match outcome {
            Ok(SyncOutcome::Accepted { .. }) => End::Accepted,
            Ok(SyncOutcome::Busy | SyncOutcome::AnotherVersion) => End::Busy,
            Ok(SyncOutcome::Itself) => End::Itself,
            Ok(SyncOutcome::Conflict { address, .. }) => End::Duplicate(Some(address)),
            Ok(_) => End::Failed,
            Err(_) => {
                self.counters.replies_undecodable += 1;
                End::Failed
            }
        }
    }

    fn end_sync(&mut self, now: Duration, target: &SyncTarget, end: &End) {
        self.counters.syncs_failed += u64::from(matches!(end, End::Failed));
        if let (End::Duplicate(address), Phase::Joining) = (end, self.phase) {
            self.tell(EngineEvent::DuplicateNode { address: *address });
        }
        if let SyncTarget::Seed(address) = target {
            let call = match end {
                End::Accepted => CallEnd::Accepted,
                End::Busy | End::Duplicate(_) => CallEnd::Busy,
                End::Itself => CallEnd::Itself,
                End::Failed => CallEnd::Failed,
            };
            self.seeds.ended(now, address, call, self.phase == Phase::Joined);
            if call == CallEnd::Itself {
                self.order(Command::ForgetSeed { address: address.clone() });
            }
        }
        if matches!(end, End::Accepted) {
            // The reply's members are told before the joining is.
            self.drain_swim(now);
            self.joined(now);
        }
    }

    /// The newcomer of two processes with one id was told so by the answer to its own request; everybody else goes on.
    pub(crate) fn on_conflict(&mut self, node: NodeId, address: SocketAddr, boot: BootId) {
        let is_told_already = node == *self.swim.local().id && self.phase == Phase::Joining;
        if !is_told_already {
            self.tell(EngineEvent::Conflict { node, address, boot });
        }
    }

    pub(crate) fn expire_syncs(&mut self, now: Duration) {
        while self.syncs.poll_timeout().is_some_and(|deadline| deadline <= now) {
            let Some((_, sync)) = self.syncs.under_way.pop_first() else { return };
            self.counters.syncs_timed_out += 1;
            self.end_sync(now, &sync.target, &End::Failed);
        }
    }

    /// Exchanges views with a random member, one that is connected where there is one, if this node has just joined.
    pub(crate) fn look_again(&mut self, now: Duration) {
        if self.settling.due.is_none_or(|due| due > now) {
            return;
        }
        self.settling.wait(now, &mut self.random);
        // A connection that is up costs nothing. To dial others for it, inside TLS, was what a cluster that starts did most.
        let connected = self.links.connected();
        let node = if connected > 0 {
            self.links.connected_nodes().nth(self.random.index(connected)).cloned()
        } else {
            let others = self.roster.reachable().count();
            (others > 0)
                .then(|| self.roster.reachable().nth(self.random.index(others)).map(|node| node.id.clone()))
                .flatten()
        };
        if let Some(node) = node {
            self.sync_with(now, &node);
        }
    }

    /// Exchanges views with a member, unless that is under way.
    pub(crate) fn sync_with(&mut self, now: Duration, node: &NodeId) {
        let Some(address) =
            self.roster.find(node).map(|node| node.address.clone()).filter(|address| address.port() != 0)
        else {
            return;
        };
        if self.syncs.with_node(node) {
            return;
        }
        if self.syncs.with_nodes().count() >= NODE_SYNCS_MAX {
            self.counters.limit_syncs += 1;
            return;
        }
        self.begin_sync(now, SyncTarget::Node { node: node.clone(), address });
    }

    pub(crate) fn call_seeds(&mut self, now: Duration) {
        for address in self.seeds.take_removed() {
            self.order(Command::ForgetSeed { address });
        }
        if !matches!(self.phase, Phase::Joining | Phase::Joined) {
            return;
        }
        while let Some(address) = self.seeds.next_call(now, |address| self.roster.is_live_address(address)) {
            self.begin_sync(now, SyncTarget::Seed(address));
        }
    }

    fn begin_sync(&mut self, now: Duration, to: SyncTarget) {
        let timeout = self.config.sync_timeout;
        let token = self.syncs.begin(to.clone(), now + timeout);
        self.counters.syncs_started += 1;
        let request = match &to {
            SyncTarget::Node { node, .. } => self.swim.sync_request_to(node),
            SyncTarget::Seed(_) => self.swim.sync_request(),
        };
        self.order(Command::Sync { token, to, request, timeout });
    }
}
