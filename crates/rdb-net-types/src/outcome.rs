//! How a request ended when it did not end with a reply.
//!
//! An outcome has two parts. The *effect* answers the only question that matters for a retry: may the peer have acted? The
//! *reason* says what happened. A transaction layer decides by the effect and logs the reason.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Visible};

/// Whether the peer may have acted on a message. Ordered by how little is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// No byte of it was given to a socket. Sending again is safe.
    NotSent,
    /// It was sent, and the peer says that no handler saw it. Sending again is safe.
    NotStarted,
    /// A handler may have seen it. Send again only what is idempotent.
    Unknown,
}

/// Whose limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OverloadScope {
    /// The credits of this lane to this peer are used up.
    Lane,
    /// This connection's table of requests in flight is full.
    Requests,
    /// The peer's handler for this message type has reached its concurrency limit.
    Handler,
    /// As many bytes of one peer's messages are held as may be.
    Peer,
    /// This process holds as many bytes as it may.
    Process,
}

/// Why a peer did not accept a connection. The number is its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u16)]
pub enum RefusalReason {
    /// The hello could not be read.
    Malformed = 1,
    /// There is no wire version that both speak.
    Version = 2,
    /// It belongs to another cluster.
    Cluster = 3,
    /// Another node was meant: the address has been reused.
    TargetNode = 4,
    /// The certificate or credentials do not prove the claimed id.
    Identity = 5,
    /// Another process with the same node id is alive in the cluster.
    DuplicateNode = 6,
    /// The connection limit is reached.
    ConnectionLimit = 7,
    /// The node is draining.
    Draining = 8,
    /// A node does not connect to itself.
    SelfConnection = 9,
}

impl RefusalReason {
    const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Version,
        Self::Cluster,
        Self::TargetNode,
        Self::Identity,
        Self::DuplicateNode,
        Self::ConnectionLimit,
        Self::Draining,
        Self::SelfConnection,
    ];

    /// The reason of this code; `None` for codes of a newer version.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// Its code on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Its name, as metrics and logs show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Cluster => "cluster",
            Self::TargetNode => "target_node",
            Self::Identity => "identity",
            Self::DuplicateNode => "duplicate_node",
            Self::ConnectionLimit => "connection_limit",
            Self::Draining => "draining",
            Self::SelfConnection => "self_connection",
        }
    }

    /// Whether trying again later may succeed without anybody changing a configuration.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::ConnectionLimit | Self::Draining | Self::DuplicateNode)
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened to a request that has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The deadline passed first.
    Expired,
    /// A limit was reached. Try later or elsewhere.
    Overloaded(OverloadScope),
    /// The connection was lost while the request was under way.
    ConnectionLost,
    /// No connection could be made within the deadline.
    Unreachable,
    /// The peer refused the connection.
    Refused(RefusalReason),
    /// No member has this id.
    UnknownNode,
    /// No node fits the selection.
    NoneEligible,
    /// The peer has no handler for this message type.
    UnknownType,
    /// The message or its reply is larger than the peer takes.
    TooLarge,
    /// The peer could not decode the message, or we could not decode its reply: the two disagree on the type's layout.
    Malformed,
    /// The handler gave an error; its text is the detail.
    HandlerFailed,
    /// The handler panicked; told to the operator of that node.
    HandlerPanicked,
    /// The caller gave the request up.
    Cancelled,
    /// The peer is draining and takes no new messages.
    Draining,
    /// This node is shutting down.
    ShuttingDown,
    /// This node is on a side of a partition that a split-brain strategy has withdraw.
    Withdrawn,
}

impl Reason {
    /// Its name, as metrics and logs show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Overloaded(_) => "overloaded",
            Self::ConnectionLost => "connection_lost",
            Self::Unreachable => "unreachable",
            Self::Refused(_) => "refused",
            Self::UnknownNode => "unknown_node",
            Self::NoneEligible => "none_eligible",
            Self::UnknownType => "unknown_type",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::HandlerFailed => "handler_failed",
            Self::HandlerPanicked => "handler_panicked",
            Self::Cancelled => "cancelled",
            Self::Draining => "draining",
            Self::ShuttingDown => "shutting_down",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the deadline passed"),
            Self::Overloaded(OverloadScope::Lane) => f.write_str("the lane's credits are used up"),
            Self::Overloaded(OverloadScope::Requests) => f.write_str("too many requests are in flight"),
            Self::Overloaded(OverloadScope::Handler) => f.write_str("the peer's handler is at its concurrency limit"),
            Self::Overloaded(OverloadScope::Peer) => f.write_str("the peer's messages are at their memory limit"),
            Self::Overloaded(OverloadScope::Process) => f.write_str("the process is at its memory limit"),
            Self::ConnectionLost => f.write_str("the connection was lost"),
            Self::Unreachable => f.write_str("no connection could be made"),
            Self::Refused(reason) => write!(f, "the peer refused the connection: {reason}"),
            Self::UnknownNode => f.write_str("no member has this node id"),
            Self::NoneEligible => f.write_str("no node fits the selection"),
            Self::UnknownType => f.write_str("the peer has no handler for this message type"),
            Self::TooLarge => f.write_str("the message is too large"),
            Self::Malformed => f.write_str("the two sides disagree on the layout of this message type"),
            Self::HandlerFailed => f.write_str("the handler failed"),
            Self::HandlerPanicked => f.write_str("the handler panicked"),
            Self::Cancelled => f.write_str("the request was given up"),
            Self::Draining => f.write_str("the peer is draining"),
            Self::ShuttingDown => f.write_str("this node is shutting down"),
            Self::Withdrawn => f.write_str("this side of a partition withdraws"),
        }
    }
}

/// The outcome of a request, or of a send, that did not succeed.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestError {
    /// May the peer have acted?
    pub effect: Effect,
    /// What happened.
    pub reason: Reason,
    /// Which node it was for, where one was chosen.
    pub node: Option<NodeId>,
    /// More words from whoever knows, such as the handler's error text.
    pub detail: Option<Arc<str>>,
}

impl RequestError {
    /// An outcome of which nothing more is known.
    pub const fn new(effect: Effect, reason: Reason) -> Self {
        Self { effect, reason, node: None, detail: None }
    }

    /// The same outcome, of this node.
    #[must_use]
    pub fn of(mut self, node: &NodeId) -> Self {
        self.node = Some(node.clone());
        self
    }

    /// The same outcome, with more words.
    #[must_use]
    pub fn because(mut self, detail: &str) -> Self {
        self.detail = Some(Arc::from(detail));
        self
    }

    /// Whether sending it again cannot carry it out twice.
    pub const fn is_safe_to_retry(&self) -> bool {
        matches!(self.effect, Effect::NotSent | Effect::NotStarted)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::NotSent => "not sent",
            Effect::NotStarted => "not started",
            Effect::Unknown => "outcome unknown",
        };
        write!(f, "{effect}")?;
        if let Some(node) = &self.node {
            write!(f, " (node {node})")?;
        }
        write!(f, ": {}", self.reason)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {}", Visible(detail))?;
        }
        Ok(())
    }
}

impl fmt::Debug for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_reads_as_a_sentence() {
        let node = NodeId::new("n2").expect("legal");
        let error = RequestError::new(Effect::NotStarted, Reason::UnknownType).of(&node).because("type 0x8001");
        assert_eq!(
            error.to_string(),
            "not started (node n2): the peer has no handler for this message type: type 0x8001"
        );
        assert!(error.is_safe_to_retry());
        assert!(!RequestError::new(Effect::Unknown, Reason::Expired).is_safe_to_retry());
    }

    /// S18: the words of a peer make no line of a log of their own.
    #[test]
    fn the_words_of_others_are_written_visibly() {
        let error = RequestError::new(Effect::Unknown, Reason::HandlerFailed).because("full\n2026 INFO forged\x1b[2J");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.ends_with("full\u{fffd}2026 INFO forged\u{fffd}[2J"), "{text:?}");
        }
    }

    #[test]
    fn refusal_codes_round_trip() {
        for reason in RefusalReason::ALL {
            assert_eq!(RefusalReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(RefusalReason::from_code(999), None);
    }
}
