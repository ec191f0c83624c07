//! When an answer is believed: the settings of a reconciler.

use std::time::Duration;

use crate::RemovalReason;

/// How often, and over which time, a source must repeat itself before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// Full answers that agree, the first included. 0 and 1 mean that one is enough.
    pub answers: u32,
    /// Least time between the first of them and the last.
    pub over: Duration,
}

/// When the loss of nodes in one step is too large to be believed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MassRemoval {
    /// A step that removes more than this share of the listed nodes is held, in percent. Range 0 to 100.
    pub share_percent: u8,
    /// A step that removes fewer nodes than this is never held: in small clusters one node is a large share.
    pub nodes_min: usize,
    /// What the source must do to be believed. The same nodes must be missing each time; some of them may come back.
    pub confirmation: Confirmation,
}

/// When an answer is believed.
///
/// The guards hold removals only: nodes that are new or changed in the same answer are told at once. They look at removals
/// that nobody meant ([`RemovalReason::is_meant`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What it means that a full answer does not name a node. A meant reason lifts the guards.
    pub absence: RemovalReason,
    /// What an answer without any node needs to be believed. `None`: nothing.
    ///
    /// DNS servers, catalogues and caches answer "nothing" while they restart; believing that empties a cluster's view.
    /// Too long a hold keeps dialling nodes that are gone, which membership notices by itself. Default 3 answers over 30 s.
    pub empty_answer: Option<Confirmation>,
    /// Which losses are held. `None`: none. Default more than 50 % and at least 3 nodes, 2 answers over 10 s.
    pub mass_removal: Option<MassRemoval>,
    /// How long the source must be quiet before a change is told, so that a burst becomes one step. Zero tells at once.
    /// The first answer is never delayed. Default 200 ms; more delays changes, less splits bursts.
    ///
    /// Who comes and goes between two steps is told to nobody, and counted in [`ReconcilerStats::passed`](crate::ReconcilerStats).
    /// So a node is surely told only where it is registered for longer than `debounce_max`.
    pub debounce: Duration,
    /// How long a source that is never quiet can delay a change. Default 2 s; below `debounce` it is `debounce`.
    pub debounce_max: Duration,
    /// Nodes that are taken at most; those beyond are refused, known nodes before new ones and low keys before high ones.
    /// Default 20,000, twice the cluster size that the membership protocol is sized for.
    pub nodes_max: usize,
}

impl Policy {
    /// For a source that loses nodes by accident: DNS, etcd, Consul. The default.
    pub const fn remote() -> Self {
        Self {
            absence: RemovalReason::Absent,
            empty_answer: Some(Confirmation { answers: 3, over: Duration::from_secs(30) }),
            mass_removal: Some(MassRemoval {
                share_percent: 50,
                nodes_min: 3,
                confirmation: Confirmation { answers: 2, over: Duration::from_secs(10) },
            }),
            debounce: Duration::from_millis(200),
            debounce_max: Duration::from_secs(2),
            nodes_max: 20_000,
        }
    }

    /// For a file: what an operator took out of it was meant, so nothing is held.
    pub const fn file() -> Self {
        Self { absence: RemovalReason::FileEdited, empty_answer: None, mass_removal: None, ..Self::remote() }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::remote()
    }
}
