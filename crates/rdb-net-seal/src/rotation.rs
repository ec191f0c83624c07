//! The member that leads a rotation: every member gets the new key before anybody seals with it, and keeps the former one until
//! nobody does.
//!
//! Install everywhere → use → a time of grace → remove, as in Serf's key manager, but resumable and with an answer per member.
//! A phase ends when all members have acknowledged its step, or when its time is over: one dead member does not hold a rotation
//! up. A member that was left behind is told its steps from the first one on, for as long as the rotation lasts; later it
//! recovers by [asking](crate::Recovery).
//!
//! The machine holds no key. Should the leader die, another member that has the key starts a rotation to the same key: the
//! steps that were done already are acknowledged at once.

mod member;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rdb_net_types::NodeId;

use crate::key::KeyId;
use crate::offer::RotationOrder;
use member::{Member, Waiting};

/// Times and bounds of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationConfig {
    /// How long the members have to install the key, to use it, and to remove the former one. Default 60 s each.
    pub phase_max: Duration,
    /// How long the former key is kept after the new one is in use. Default 2 min. Shorter than a packet may be under way
    /// ([`SealConfig::age_max`](crate::SealConfig) and its skew), packets are lost that were sealed before.
    pub grace: Duration,
    /// How long an answer may take, and how long after a failure the member is told again. Default 2 s.
    pub retry_after: Duration,
    /// Members told at the same time. Default 32, at least 1.
    pub in_flight_max: usize,
    /// The share of members that must have installed the key when the time for it is over, in percent. Default 51. With fewer
    /// the rotation is abandoned: to use the key would cut this member off from the others.
    pub installed_percent_min: u8,
    /// The most members. Default 20,000. More are not told, and have to recover by asking.
    pub members_max: usize,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self {
            phase_max: Duration::from_secs(60),
            grace: Duration::from_secs(120),
            retry_after: Duration::from_secs(2),
            in_flight_max: 32,
            installed_percent_min: 51,
            members_max: 20_000,
        }
    }
}

/// What a member is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Install the new key: it is sent as a [`KeyringOffer`](crate::KeyringOffer).
    Install,
    /// Use the new key.
    Use,
    /// Remove the former key.
    Remove,
}

impl Step {
    fn next(self) -> Option<Self> {
        match self {
            Self::Install => Some(Self::Use),
            Self::Use => Some(Self::Remove),
            Self::Remove => None,
        }
    }
}

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The members install the new key.
    Installing,
    /// The members begin to seal with the new key.
    Using,
    /// What was sealed with the former key arrives.
    Grace,
    /// The members remove the former key.
    Removing,
    /// It is done.
    Finished,
    /// Too few members have installed the key. The former one seals as before; the new one may be used by another try.
    Abandoned,
}

impl Phase {
    /// The phase in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Installing => "installing",
            Self::Using => "using",
            Self::Grace => "grace",
            Self::Removing => "removing",
            Self::Finished => "finished",
            Self::Abandoned => "abandoned",
        }
    }

    /// How far members are led in this phase.
    fn target(self) -> Option<Step> {
        match self {
            Self::Installing => Some(Step::Install),
            Self::Using | Self::Grace => Some(Step::Use),
            Self::Removing => Some(Step::Remove),
            Self::Finished | Self::Abandoned => None,
        }
    }
}

/// What the leader does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationAction {
    /// Tell a member a step, and tell the machine of its answer: [`Rotation::handle_acknowledged`] or
    /// [`Rotation::handle_failed`]. The leader is a member as well.
    Tell {
        /// Whom.
        node: NodeId,
        /// What.
        step: Step,
    },
    /// Poll again at this time, or when something has happened.
    WaitUntil(Duration),
    /// There is nothing more to do. [`Rotation::phase`] tells how it ended, [`Rotation::missing`] who is behind.
    Ended,
}

/// One rotation.
#[derive(Debug)]
pub struct Rotation {
    config: RotationConfig,
    key: KeyId,
    former: KeyId,
    phase: Phase,
    phase_ends: Duration,
    members: BTreeMap<NodeId, Member>,
    /// Members with something to do, in the order in which it came up.
    ready: VecDeque<NodeId>,
    /// When members that are told, or rest after a failure, are told again.
    again: BTreeSet<(Duration, NodeId)>,
    in_flight: usize,
    /// How many members have done each step.
    done: [usize; 3],
}

impl Rotation {
    /// Begins to lead these members, the leader among them, from the former primary key to another. The leader has both keys
    /// installed.
    pub fn new(
        config: RotationConfig,
        key: KeyId,
        former: KeyId,
        members: impl IntoIterator<Item = NodeId>,
        now: Duration,
    ) -> Self {
        let mut rotation = Self {
            config,
            key,
            former,
            phase: Phase::Installing,
            phase_ends: now.saturating_add(config.phase_max),
            members: BTreeMap::new(),
            ready: VecDeque::new(),
            again: BTreeSet::new(),
            in_flight: 0,
            done: [0; 3],
        };
        members.into_iter().for_each(|node| {
            rotation.handle_joined(node);
        });
        rotation
    }

    /// The key that the members are led to.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The key that they are led away from.
    pub fn former(&self) -> KeyId {
        self.former
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The order by which a member is told a step; `None` for the first, which is told by an offer of keys.
    pub fn order(&self, step: Step) -> Option<RotationOrder> {
        match step {
            Step::Install => None,
            Step::Use => Some(RotationOrder::Use(self.key)),
            Step::Remove => Some(RotationOrder::Remove(self.former)),
        }
    }

    /// How many members have done this step, and how many there are.
    pub fn progress(&self, step: Step) -> (usize, usize) {
        (self.done[step as usize], self.members.len())
    }

    /// Members that have not done the step of the present phase, or of the last one, with the last step that they have done.
    pub fn missing(&self) -> impl Iterator<Item = (&NodeId, Option<Step>)> {
        let target = match self.phase {
            Phase::Abandoned => Step::Install,
            phase => phase.target().unwrap_or(Step::Remove),
        };
        self.members
            .iter()
            .filter(move |(_, member)| member.done < Some(target))
            .map(|(node, member)| (node, member.done))
    }

    /// What to do at this time. Asked again until it is to wait, or has ended.
    pub fn poll_action(&mut self, now: Duration) -> RotationAction {
        self.advance(now);
        let Some(target) = self.phase.target() else { return RotationAction::Ended };
        while let Some((_, node)) = self.again.first().filter(|(at, _)| *at <= now).cloned() {
            self.requeue(&node);
        }
        while self.in_flight < self.config.in_flight_max.max(1) {
            let Some(node) = self.ready.pop_front() else { break };
            let Some(member) = self.members.get_mut(&node).filter(|member| member.waiting == Waiting::Ready) else {
                continue;
            };
            let Some(step) = member.next_step(target) else {
                member.waiting = Waiting::Idle;
                continue;
            };
            let until = now.saturating_add(self.config.retry_after);
            member.waiting = Waiting::Answer { step, until };
            self.again.insert((until, node.clone()));
            self.in_flight += 1;
            return RotationAction::Tell { node, step };
        }
        let again = self.again.first().map(|(at, _)| *at);
        RotationAction::WaitUntil(again.map_or(self.phase_ends, |at| at.min(self.phase_ends)))
    }

    /// A member has done what it was told. A late answer counts as well; one to a step that it was not told does not.
    pub fn handle_acknowledged(&mut self, node: &NodeId, step: Step) {
        let Some(member) = self.members.get_mut(node) else { return };
        if !member.acknowledge(step) {
            return;
        }
        self.done[step as usize] += 1;
        self.requeue(node);
    }

    /// A member could not be told, or refused. It is told again after a while. One that says that it lacks a key is
    /// [behind](Self::handle_behind).
    pub fn handle_failed(&mut self, now: Duration, node: &NodeId, step: Step) {
        let Some(member) = self.members.get(node) else { return };
        if !matches!(member.waiting, Waiting::Answer { step: told, .. } if told == step) {
            return;
        }
        self.settle(node);
        let until = now.saturating_add(self.config.retry_after);
        if let Some(member) = self.members.get_mut(node) {
            member.waiting = Waiting::Rest { until };
            self.again.insert((until, node.clone()));
        }
    }

    /// A member is behind: it lacks the key, or has started anew. It is led from the first step on.
    pub fn handle_behind(&mut self, node: &NodeId) {
        let Some(member) = self.members.get_mut(node) else { return };
        uncount(&mut self.done, member.forget());
        self.requeue(node);
    }

    /// A member has joined. `false` where there are as many as there may be. One that was there has started anew.
    pub fn handle_joined(&mut self, node: NodeId) -> bool {
        if self.members.contains_key(&node) {
            self.handle_behind(&node);
            return true;
        }
        if self.members.len() >= self.config.members_max {
            return false;
        }
        self.members.insert(node.clone(), Member::new());
        self.requeue(&node);
        true
    }

    /// A node is no member any more: it is not waited for.
    pub fn handle_left(&mut self, node: &NodeId) {
        self.settle(node);
        if let Some(mut member) = self.members.remove(node) {
            uncount(&mut self.done, member.forget());
            self.ready.retain(|ready| ready != node);
        }
    }

    /// Passes to the next phase while the present one is over.
    fn advance(&mut self, now: Duration) {
        while let Some(target) = self.phase.target() {
            let is_over = now >= self.phase_ends;
            let is_done = self.phase != Phase::Grace && self.progress(target).0 == self.members.len();
            if !is_over && !is_done {
                return;
            }
            let (next, lasts) = match self.phase {
                Phase::Installing if !self.is_installed_widely() => (Phase::Abandoned, Duration::ZERO),
                Phase::Installing => (Phase::Using, self.config.phase_max),
                Phase::Using => (Phase::Grace, self.config.grace),
                Phase::Grace => (Phase::Removing, self.config.phase_max),
                _ => (Phase::Finished, Duration::ZERO),
            };
            self.phase = next;
            self.phase_ends = now.saturating_add(lasts);
            let idle: Vec<NodeId> = self.idle().cloned().collect();
            idle.iter().for_each(|node| self.requeue(node));
        }
    }

    fn is_installed_widely(&self) -> bool {
        let (installed, members) = self.progress(Step::Install);
        installed * 100 >= members * usize::from(self.config.installed_percent_min)
    }

    fn idle(&self) -> impl Iterator<Item = &NodeId> {
        self.members.iter().filter(|(_, member)| member.waiting == Waiting::Idle).map(|(node, _)| node)
    }

    /// Ends what a member waits for.
    fn settle(&mut self, node: &NodeId) {
        let Some(member) = self.members.get_mut(node) else { return };
        match std::mem::replace(&mut member.waiting, Waiting::Idle) {
            Waiting::Answer { until, .. } => {
                self.in_flight -= 1;
                self.again.remove(&(until, node.clone()));
            }
            Waiting::Rest { until } => {
                self.again.remove(&(until, node.clone()));
            }
            // It stays in the queue, where it is passed over, or comes to be ready again.
            Waiting::Ready => member.waiting = Waiting::Ready,
            Waiting::Idle => {}
        }
    }

    /// Puts a member into the queue, unless it is there.
    fn requeue(&mut self, node: &NodeId) {
        self.settle(node);
        let Some(member) = self.members.get_mut(node) else { return };
        if member.waiting != Waiting::Ready {
            member.waiting = Waiting::Ready;
            self.ready.push_back(node.clone());
        }
    }
}

/// Takes back what a member has done.
fn uncount(done: &mut [usize; 3], last: Option<Step>) {
    let steps = last.map_or(0, |step| step as usize + 1);
    done[..steps].iter_mut().for_each(|count| *count -= 1);
}
