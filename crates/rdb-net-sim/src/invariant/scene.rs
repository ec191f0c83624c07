//! What the rules know of the world that no node knows: who is down, who has reason to hold whom for failed, and how far each
//! member has raised its incarnation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_net_types::{Incarnation, NodeId};

/// How long the traces of a misfortune may be seen after its end: the longest suspicion of somebody who thinks itself ill, the
/// exchange of views that comes next, and a little more.
pub(crate) const ECHO: Duration = Duration::from_secs(60);

/// Why somebody may be held for failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The node has no process, or had none a while ago.
    Down(usize),
    /// A fault of this number.
    Fault(usize),
    /// The scenario says so.
    Scenario,
}

/// Whom somebody may hold for failed; everybody, where nobody is named.
#[derive(Debug)]
struct Excuse {
    reason: Reason,
    observers: Option<BTreeSet<usize>>,
    subjects: Option<BTreeSet<usize>>,
    until: Duration,
}

/// How long a process has stood still.
#[derive(Debug, Clone, Copy, Default)]
struct Pauses {
    since: Option<Duration>,
    altogether: Duration,
}

/// The world as the simulation sees it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) ids: Vec<NodeId>,
    /// The highest incarnation that each node ever had.
    pub(crate) reached: Vec<Incarnation>,
    /// Hosts without a process, and since when.
    pub(crate) down: BTreeMap<usize, Duration>,
    excuses: Vec<Excuse>,
    paused: Vec<Pauses>,
    /// When each engine took its last step.
    stepped: Vec<Duration>,
    /// Since when nothing was wrong with the network or with a process that runs; `None` while something is.
    calm_since: Option<Duration>,
    /// When the last process was started.
    started: Duration,
}

impl Scene {
    pub(crate) fn new(ids: Vec<NodeId>) -> Self {
        Self {
            reached: vec![Incarnation::default(); ids.len()],
            paused: vec![Pauses::default(); ids.len()],
            stepped: vec![Duration::ZERO; ids.len()],
            ids,
            down: BTreeMap::new(),
            excuses: Vec::new(),
            calm_since: Some(Duration::ZERO),
            started: Duration::ZERO,
        }
    }

    pub(crate) fn number_of(&self, id: &NodeId) -> Option<usize> {
        // The ids of a simulation are in order.
        self.ids.binary_search(id).ok()
    }

    /// Whether one node has reason to hold another one for failed.
    pub(crate) fn is_excused(&self, observer: usize, subject: usize, now: Duration) -> bool {
        let is_named = |nodes: &Option<BTreeSet<usize>>, node| nodes.as_ref().is_none_or(|nodes| nodes.contains(&node));
        let mut fresh = self.excuses.iter().filter(|excuse| now <= excuse.until);
        fresh.any(|excuse| is_named(&excuse.observers, observer) && is_named(&excuse.subjects, subject))
    }

    /// From here on these have reason to hold those for failed.
    pub(crate) fn excuse(
        &mut self,
        reason: Reason,
        observers: Option<BTreeSet<usize>>,
        subjects: Option<BTreeSet<usize>>,
    ) {
        self.excuses.push(Excuse { reason, observers, subjects, until: Duration::MAX });
    }

    /// The reason is gone; its traces may be seen for a while.
    pub(crate) fn pardon(&mut self, reason: Reason, now: Duration) {
        self.excuses.retain(|excuse| now <= excuse.until);
        for excuse in self.excuses.iter_mut().filter(|excuse| excuse.reason == reason) {
            excuse.until = excuse.until.min(now + ECHO);
        }
    }

    /// For how long nothing was wrong, and nobody has started.
    pub(crate) fn calm_for(&self, now: Duration) -> Option<Duration> {
        self.calm_since.map(|since| now.saturating_sub(since.max(self.started)))
    }

    pub(crate) fn set_calm(&mut self, is_calm: bool, now: Duration) {
        if is_calm != self.calm_since.is_some() {
            self.calm_since = is_calm.then_some(now);
        }
    }

    pub(crate) fn started(&mut self, node: usize, now: Duration) {
        self.started = now;
        self.down.remove(&node);
        self.paused[node] = Pauses::default();
        self.pardon(Reason::Down(node), now);
    }

    pub(crate) fn ended(&mut self, node: usize, now: Duration) {
        self.down.insert(node, now);
    }

    pub(crate) fn stepped(&mut self, node: usize, now: Duration) {
        self.stepped[node] = now;
    }

    /// To the process its pause begins with the last that it has done.
    pub(crate) fn paused(&mut self, node: usize) {
        self.paused[node].since = Some(self.stepped[node]);
    }

    pub(crate) fn woken(&mut self, node: usize, now: Duration) {
        let pauses = &mut self.paused[node];
        pauses.altogether += pauses.since.take().map_or(Duration::ZERO, |since| now.saturating_sub(since));
    }

    /// How long this process has stood still so far, as far as it can tell itself.
    pub(crate) fn pauses(&self, node: usize) -> Duration {
        self.paused[node].altogether
    }
}
