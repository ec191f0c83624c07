//! What a source says and what subscribers are told: keys, changes, causes, snapshots and events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::{NodeAddress, NodeId, NodeInfo};

/// By what a node is told apart from others: its id, or its address while the id is
/// [`provisional`](NodeInfo::provisional).
///
/// A provisional id is made from the address and may collide where long host names are cut; the address cannot. A node whose
/// real id becomes known is therefore one node added and one removed; ids sort before addresses, so the addition is told
/// first and a list is never short of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKey {
    /// A node that has told its name.
    Id(NodeId),
    /// A seed.
    Address(NodeAddress),
}

impl NodeKey {
    /// The key of this node.
    pub fn of(node: &NodeInfo) -> Self {
        if node.provisional { Self::Address(node.address.clone()) } else { Self::Id(node.id.clone()) }
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, f),
            Self::Address(address) => fmt::Display::fmt(address, f),
        }
    }
}

/// Why a node is no longer listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RemovalReason {
    /// It took itself off the source.
    Deregistered,
    /// Its lease or its check ran out.
    Expired,
    /// A full answer of the source does not name it, and nobody says why.
    Absent,
    /// An operator took it out of a file.
    FileEdited,
}

impl RemovalReason {
    /// Whether somebody meant it. Meant removals pass the guards of a [`Policy`](crate::Policy) at once: they are for
    /// sources that lose nodes by accident.
    pub const fn is_meant(self) -> bool {
        matches!(self, Self::Deregistered | Self::FileEdited)
    }

    /// The reason in lower case, as metrics and logs show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deregistered => "deregistered",
            Self::Expired => "expired",
            Self::Absent => "absent",
            Self::FileEdited => "file_edited",
        }
    }
}

/// A change that a watched source reports by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// A node is listed with these facts, anew or still.
    Put(Arc<NodeInfo>),
    /// A node is no longer listed.
    Remove {
        /// Which node.
        key: NodeKey,
        /// Why.
        why: RemovalReason,
    },
}

/// Why a list cannot be fully trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The source could not be asked. It is tried again.
    #[error("the source cannot be reached: {detail}")]
    Unavailable {
        /// What happened, with the source's name.
        detail: Arc<str>,
    },
    /// The source says that there is no such thing as what it was asked for: a file, a name.
    #[error("the source is missing: {detail}")]
    Missing {
        /// What is missing.
        detail: Arc<str>,
    },
    /// The source refused this process. An operator must act.
    #[error("the source refuses us: {detail}")]
    Refused {
        /// What it said; never a secret.
        detail: Arc<str>,
    },
    /// The source gave an answer that makes no sense. Whoever writes there must act.
    #[error("the source's answer is no good: {detail}")]
    Invalid {
        /// What is wrong, and where.
        detail: Arc<str>,
    },
    /// The source names no node any more; held until confirmed.
    #[error("the source names no node; the last {kept} are kept until it confirms that")]
    EmptyAnswer {
        /// Nodes that are kept.
        kept: usize,
    },
    /// The source stopped naming many nodes at once; held until confirmed.
    #[error("the source no longer names {missing} of {of} nodes; they are kept until it confirms that")]
    MassRemoval {
        /// Nodes that are kept though the source does not name them.
        missing: usize,
        /// Nodes that were listed before.
        of: usize,
    },
    /// The source has not answered since the start; the list is the one that was saved in a former life.
    #[error("the source has not answered yet; its list was saved {saved_ago:?} ago")]
    Remembered {
        /// How old the list was at the start.
        saved_ago: Duration,
    },
    /// One of several sources cannot be fully trusted.
    #[error("{source_name}: {cause}")]
    OfSource {
        /// Its name.
        source_name: Arc<str>,
        /// What it says of itself.
        cause: Arc<Cause>,
    },
    /// The source names more nodes than are taken. Raise the limit or look at the source.
    #[error("the source names {refused} nodes more than the limit of {limit}")]
    TooManyNodes {
        /// Nodes that were not taken.
        refused: usize,
        /// The limit.
        limit: usize,
    },
}

impl Cause {
    /// [`Cause::Unavailable`] with these words.
    pub fn unavailable(detail: impl Into<Arc<str>>) -> Self {
        Self::Unavailable { detail: detail.into() }
    }

    /// [`Cause::Missing`] with these words.
    pub fn missing(detail: impl Into<Arc<str>>) -> Self {
        Self::Missing { detail: detail.into() }
    }

    /// [`Cause::Refused`] with these words.
    pub fn refused(detail: impl Into<Arc<str>>) -> Self {
        Self::Refused { detail: detail.into() }
    }

    /// [`Cause::Invalid`] with these words.
    pub fn invalid(detail: impl Into<Arc<str>>) -> Self {
        Self::Invalid { detail: detail.into() }
    }

    /// The cause in lower case, as metrics show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Missing { .. } => "missing",
            Self::Refused { .. } => "refused",
            Self::Invalid { .. } => "invalid",
            Self::EmptyAnswer { .. } => "empty_answer",
            Self::MassRemoval { .. } => "mass_removal",
            Self::Remembered { .. } => "remembered",
            Self::OfSource { cause, .. } => cause.name(),
            Self::TooManyNodes { .. } => "too_many_nodes",
        }
    }
}

/// How much a list can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// The source has not answered yet; the list is empty and says nothing.
    Never {
        /// What the last attempt met.
        cause: Option<Cause>,
    },
    /// The list is what the source says.
    Live,
    /// The list is the last good one, or holds nodes that the source no longer names.
    Stale {
        /// When that began.
        since: Duration,
        /// Why.
        cause: Cause,
    },
}

/// The nodes of a source at one time. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The nodes, by ascending [`NodeKey`].
    pub nodes: Arc<[Arc<NodeInfo>]>,
    /// When the source last answered, on the caller's clock.
    pub as_of: Duration,
    /// How much the list can be trusted.
    pub freshness: Freshness,
}

/// What a subscriber is told. The first event is always a snapshot, even an empty one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryEvent {
    /// The whole list. Comes first, and again when the receiver lagged behind: it replaces whatever was told before.
    Snapshot(Snapshot),
    /// A node is listed.
    Added(Arc<NodeInfo>),
    /// A listed node has other facts.
    Updated {
        /// As it was told before.
        old: Arc<NodeInfo>,
        /// As it is.
        new: Arc<NodeInfo>,
    },
    /// A node is no longer listed.
    Removed {
        /// As it was told last.
        node: Arc<NodeInfo>,
        /// Why.
        why: RemovalReason,
    },
    /// The list can no longer be fully trusted, or that has another cause than before.
    Degraded {
        /// Why.
        cause: Cause,
    },
    /// The list is what the source says again.
    Restored,
    /// A watch had broken, the source was listed anew, and the changes told just before were all the difference.
    Resynced {
        /// Nodes added by it.
        added: usize,
        /// Nodes updated by it.
        updated: usize,
        /// Nodes removed by it.
        removed: usize,
    },
}
