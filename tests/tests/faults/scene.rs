//! A cluster of five in a laboratory: what is done to it, and what its nodes said of each other since.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use rdb_net_admin::views::TopologyView;
use rdb_net_tests::{Cluster, Lab, Rdbnet};
use rdb_net_types::{HealthStatus, NodeState};

use crate::Lengths;

pub(crate) const NODES: usize = 5;

/// How long is waited for what has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it takes at most until something is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Five nodes that know each other, and where their logs stood when they did.
pub(crate) struct Scene {
    // Before the laboratory: nodes end before their network does.
    pub(crate) cluster: Cluster,
    pub(crate) lab: Lab,
    pub(crate) lengths: Lengths,
    marks: Vec<usize>,
}

impl Scene {
    #[track_caller]
    pub(crate) fn open(rdbnet: &Rdbnet, number: usize, settings: &[&str], lengths: Lengths) -> Self {
        let lab = Lab::new(&format!("faults{number}"), NODES).unwrap_or_else(|told| panic!("{told}"));
        lab.heal();
        let mut cluster = Cluster::in_lab(rdbnet, &lab, NODES);
        for index in 0..NODES {
            cluster.spec_mut(index).set.extend(settings.iter().map(|setting| (*setting).to_owned()));
            cluster.spawn(index);
        }
        cluster.wait_agreed();
        let marks = cluster.marks();
        Self { cluster, lab, lengths, marks }
    }

    /// All is well in the end; and how long the row took.
    pub(crate) fn close(self, began: Instant) -> String {
        self.cluster.wait_settled();
        format!("all of it {} s", began.elapsed().as_secs())
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            // A log that has ended is no reason to go on at once.
            std::thread::park_timeout(left);
        }
    }

    /// Looks until it is so, and tells how long that took.
    #[track_caller]
    pub(crate) fn until(&self, limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
        let began = Instant::now();
        while !is_so() {
            let took = began.elapsed();
            assert!(took < limit, "not within {limit:?}: {what}\n{}", self.story());
            self.pass(LOOK_AGAIN);
        }
        began.elapsed()
    }

    /// Who was failed by whom since the scene was opened, and when.
    pub(crate) fn failed(&self) -> Vec<(usize, usize, SystemTime)> {
        let index_of = |id: &str| (0..NODES).find(|index| self.cluster.id(*index) == id).expect("one of ours");
        let of = |observer: usize| {
            let changes = self.cluster.node(observer).log.changes(self.marks[observer]);
            let failed = changes.into_iter().filter(|change| change.event == "NodeFailed");
            failed.map(move |change| (observer, index_of(&change.node), change.at)).collect::<Vec<_>>()
        };
        (0..NODES).flat_map(of).collect()
    }

    /// Nobody was failed.
    #[track_caller]
    pub(crate) fn nobody_failed(&self) {
        assert!(self.failed().is_empty(), "failed: {}", self.story());
    }

    /// Nobody was failed but this one.
    #[track_caller]
    pub(crate) fn nobody_failed_but(&self, victim: usize) {
        assert!(self.failed().iter().all(|(_, of, _)| *of == victim), "others failed: {}", self.story());
    }

    /// How often nodes were suspected.
    pub(crate) fn suspicions(&self) -> usize {
        let of = |index: usize| self.cluster.node(index).log.changes(self.marks[index]);
        (0..NODES).flat_map(of).filter(|change| change.event == "NodeSuspected").count()
    }

    /// Waits until these observers have failed all of these, and tells how long after the act the last one did.
    #[track_caller]
    pub(crate) fn until_failed(
        &self,
        act: SystemTime,
        limit: Duration,
        observers: &[usize],
        subjects: &[usize],
    ) -> Duration {
        let mut last = act;
        self.until(limit, "failed everywhere", || {
            let failed = self.failed();
            observers.iter().all(|observer| {
                subjects.iter().all(|subject| {
                    let found = failed.iter().find(|(by, of, at)| by == observer && of == subject && *at >= act);
                    found.inspect(|(_, _, at)| last = last.max(*at)).is_some()
                })
            })
        });
        last.duration_since(act).expect("after the act")
    }

    /// Waits until all nodes hold one view, in which all are alive.
    #[track_caller]
    pub(crate) fn until_one_view(&self, limit: Duration) -> Duration {
        self.until(limit, "one view of all alive", || {
            let views = self.views();
            let digests: BTreeSet<&str> = views.iter().map(|view| view.view_digest.as_str()).collect();
            let is_complete = |view: &TopologyView| {
                view.members.len() == NODES && view.members.iter().all(|member| member.state == NodeState::Alive)
            };
            digests.len() == 1 && views.iter().all(is_complete)
        })
    }

    pub(crate) fn views(&self) -> Vec<TopologyView> {
        (0..NODES).map(|index| self.cluster.node(index).topology()).collect()
    }

    /// In which state a node holds another one.
    pub(crate) fn state(&self, observer: usize, of: usize) -> NodeState {
        let view = self.cluster.node(observer).topology();
        let found = view.members.iter().find(|member| member.node_id.as_str() == self.cluster.id(of));
        found.unwrap_or_else(|| panic!("evicted: {}", self.story())).state
    }

    /// How a node finds another one.
    pub(crate) fn health(&self, observer: usize, of: usize) -> HealthStatus {
        let view = self.cluster.node(observer).topology();
        let found = view.members.iter().find(|member| member.node_id.as_str() == self.cluster.id(of));
        found.unwrap_or_else(|| panic!("evicted: {}", self.story())).health
    }

    /// Two nodes of which the first keeps a link to the second, and the second none to the first.
    #[track_caller]
    pub(crate) fn link(&self) -> (usize, usize) {
        let keeps = |node: usize, other: usize| {
            let peers = self.cluster.node(node).peers().peers;
            peers.iter().any(|peer| peer.kept && peer.member.node_id.as_str() == self.cluster.id(other))
        };
        let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
        let mut found = pairs.filter(|(from, to)| from != to && keeps(*from, *to) && !keeps(*to, *from));
        found.next().expect("in a ring of five each has one whom it does not keep a link to")
    }

    pub(crate) fn patience(&self) -> Duration {
        PATIENCE
    }

    /// What nodes said of each other since the scene was opened.
    pub(crate) fn story(&self) -> String {
        let of = |index: usize| {
            let lines = self.cluster.node(index).log.lines().split_off(self.marks[index]);
            format!("--- {}\n{}", self.cluster.id(index), lines.join("\n"))
        };
        (0..NODES).map(of).collect::<Vec<_>>().join("\n")
    }
}

/// Seconds, for the table.
pub(crate) fn secs(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
