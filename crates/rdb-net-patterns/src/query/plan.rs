//! What is asked of whom, how long, and what became of it.

use std::time::Duration;

use rdb_net_types::{Effect, NodeId, Payload, RequestError};

/// A part of a query: a fragment, and who can answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its fragment's number; the node gets it with the query.
    pub fragment: u32,
    /// Who can answer it, who is to be asked first in front: one node, or the replicas of a partition.
    pub nodes: Vec<NodeId>,
    /// The fragment's text.
    pub query: String,
    /// Its parameters, encoded by the database.
    pub parameters: Payload,
}

impl Part {
    /// The same query for each of these nodes, whose parts are numbered in their order.
    pub fn for_each(nodes: impl IntoIterator<Item = NodeId>, query: &str) -> Vec<Self> {
        let part = |(fragment, node)| Self {
            fragment,
            nodes: vec![node],
            query: query.to_owned(),
            parameters: Payload::new(),
        };
        (0..).zip(nodes).map(part).collect()
    }
}

/// How many parts are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// All of them.
    #[default]
    All,
    /// As many as this, whichever are complete first; the others are cancelled then.
    First(usize),
}

/// After which failures the next node of a part is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// After none.
    Never,
    /// Where the node before it has not begun: the query is carried out once at most.
    #[default]
    NotStarted,
    /// Always, as long as no row has come: the query changes nothing, and may be carried out twice.
    Always,
}

impl Repeat {
    pub(super) fn allows(self, error: &RequestError) -> bool {
        match self {
            Self::Never => false,
            Self::NotStarted => error.effect != Effect::Unknown,
            Self::Always => true,
        }
    }
}

/// How a query is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many parts are wanted. Default all.
    pub wanted: Wanted,
    /// How long the whole may take. Default 10 s.
    pub timeout: Duration,
    /// How much of that is kept for what the reader does with the rows: nodes are given the rest. Default none.
    pub reserve: Duration,
    /// When the next node of a part is asked. Default where the one before it has not begun.
    pub repeat: Repeat,
    /// How many bytes of rows of each part may come before they are taken. Default 256 KiB.
    pub window_bytes: u32,
    /// How many bytes of rows are gathered at most; beyond it, gathering ends. Streams are not bounded by it: they hold their windows
    /// alone. Default 64 MiB.
    pub gathered_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wanted: Wanted::All,
            timeout: Duration::from_secs(10),
            reserve: Duration::ZERO,
            repeat: Repeat::NotStarted,
            window_bytes: 256 * 1024,
            gathered_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Options {
    /// The defaults, with this time for the whole.
    pub fn timeout(timeout: Duration) -> Self {
        Self { timeout, ..Self::default() }
    }
}

/// A node that did not answer a part, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Who.
    pub node: NodeId,
    /// What became of the request.
    pub error: RequestError,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of its rows have come.
    Complete {
        /// From whom.
        node: NodeId,
    },
    /// No row has come: nobody answered. Each error says whether that node may have acted.
    Failed {
        /// Everybody who was asked, in order.
        tried: Vec<Tried>,
    },
    /// Some rows have come, and then no more. What has come is right and not all.
    Broken {
        /// From whom.
        node: NodeId,
        /// Why no more came.
        error: RequestError,
        /// Who was asked before, in order. Each error says whether that node may have acted.
        tried: Vec<Tried>,
    },
    /// Its time was over first. The node has been told to stop, and may have acted. Where it cannot have acted, the part has
    /// [failed](Self::Failed).
    Late {
        /// Who was asked last.
        node: NodeId,
        /// Whether some rows have come.
        has_rows: bool,
        /// Who was asked before, in order. Each error says whether that node may have acted.
        tried: Vec<Tried>,
    },
    /// Enough other parts were complete. The node has been told to stop, and may have acted.
    NotNeeded,
    /// The rows that were gathered are as many as may be; what has come of this part is right and not all.
    TooMuch,
}

impl Outcome {
    /// Whether all rows of the part have come.
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }
}

/// A query cannot be asked: the plan is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPart {
    /// There is no part.
    #[error("the query has no part")]
    Empty,
    /// Nobody can answer a part.
    #[error("fragment {fragment} has no node")]
    NoNode {
        /// Its fragment.
        fragment: u32,
    },
    /// A part names a node twice, which would be asked for the same again.
    #[error("fragment {fragment} names {node} twice: name each node once")]
    Twice {
        /// Its fragment.
        fragment: u32,
        /// The node.
        node: NodeId,
    },
    /// No time is left for the nodes.
    #[error("the reserve of {reserve:?} leaves nodes no time of {timeout:?}: the timeout has to be longer")]
    NoTime {
        /// How long the whole may take.
        timeout: Duration,
        /// How much of that is kept for the reader.
        reserve: Duration,
    },
    /// More parts are wanted than there are.
    #[error("{wanted} parts are wanted of {parts}")]
    TooFew {
        /// How many are wanted.
        wanted: usize,
        /// How many there are.
        parts: usize,
    },
}
