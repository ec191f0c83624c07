//! A coordinator's limits and times, its errors and its counts.

use std::time::Duration;

use rdb_net_types::{Effect, NodeId, Reason};

/// A coordinator's limits and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorConfig {
    /// How many transactions may be open at once, those included whose commit is not yet heard of by all. Beyond it a new one is
    /// refused. Default 4,096.
    pub open_max: usize,
    /// How many participants one transaction may have. Default 64.
    pub participants_max: usize,
    /// How many participants that do not come back may be given up, which are remembered for good. Default 1,024.
    pub given_up_max: usize,
    /// How many parts of commits, all in all, may be listed as given up with them. Default 65,536, in 1 MiB.
    pub parts_given_up_max: usize,
    /// How long a participant that has not voted, and may have been reached, is waited for before it is asked again. Default
    /// 500 ms.
    pub ask_again: Duration,
    /// How long a participant that has not acknowledged a commit is waited for before it is told again; doubles up to
    /// `tell_again_max`. Default 200 ms.
    pub tell_again: Duration,
    /// The longest such time. It bounds how long after a participant's return the last of its transactions ends. Default 5 s.
    pub tell_again_max: Duration,
    /// How long one telling may take. Default 2 s.
    pub tell_timeout: Duration,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            open_max: 4096,
            participants_max: 64,
            given_up_max: 1024,
            parts_given_up_max: 65_536,
            ask_again: Duration::from_millis(500),
            tell_again: Duration::from_millis(200),
            tell_again_max: Duration::from_secs(5),
            tell_timeout: Duration::from_secs(2),
        }
    }
}

/// Why a transaction was not begun. Nobody was asked; nothing is left of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// So many are open as may be. Try later; if it lasts, a participant is gone that has a commit to hear of: list whom the commits wait
    /// for, and give up who does not come back.
    #[error("{open_max} transactions are open, which is the limit; try later")]
    TooManyOpen {
        /// The limit.
        open_max: usize,
    },
    /// The caller named too many participants.
    #[error("a transaction has at most {participants_max} participants, this one has {participants}")]
    TooManyParticipants {
        /// How many.
        participants: usize,
        /// The limit.
        participants_max: usize,
    },
    /// The caller named none.
    #[error("a transaction without a participant is none")]
    NoParticipant,
    /// The caller named one twice. Put its work together.
    #[error("{node} is named twice; one participant has one part of a transaction")]
    NamedTwice {
        /// Which.
        node: NodeId,
    },
    /// The record of this life is not durable yet. Try again in a moment.
    #[error("the coordinator has just started, and its log is not ready; try again")]
    Starting,
    /// This life has begun as many transactions as it can name. Restart the node.
    #[error("this life of the coordinator has used its 4,294,967,295 names; restart the node")]
    NamesUsedUp,
}

/// Why a transaction was aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AbortCause {
    /// A participant voted so. Whether to try again is the database's to say.
    Vote {
        /// Who.
        node: NodeId,
        /// In its words.
        reason: String,
    },
    /// A participant certainly has not begun: the message was not sent, or it says that it did not start. Try again, later or
    /// elsewhere.
    NotReached {
        /// Who.
        node: NodeId,
        /// Which of the two.
        effect: Effect,
        /// Why.
        reason: Reason,
    },
    /// The deadline passed, and these had not voted. They may have prepared, and are told or will ask.
    Deadline {
        /// Who.
        silent: Vec<NodeId>,
    },
    /// The application wanted it.
    Requested,
    /// An operator has given a participant up. Try again without it.
    GivenUp {
        /// Who.
        node: NodeId,
    },
}

impl std::fmt::Display for AbortCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Vote { node, reason } if reason.is_empty() => write!(f, "{node} voted to abort"),
            Self::Vote { node, reason } => write!(f, "{node} voted to abort: {}", rdb_net_types::Visible(reason)),
            Self::NotReached { node, reason, .. } => write!(f, "{node} was not reached: {reason}"),
            Self::Deadline { silent } => {
                let silent: Vec<&str> = silent.iter().map(NodeId::as_str).collect();
                write!(f, "no vote came in time of {}", silent.join(", "))
            }
            Self::Requested => f.write_str("the application gave it up"),
            Self::GivenUp { node } => write!(f, "{node} was given up by hand"),
        }
    }
}

/// What a coordinator has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoordinatorStats {
    /// Transactions open now.
    pub open: usize,
    /// Transactions begun.
    pub begun: u64,
    /// Transactions that were not begun because too many were open.
    pub refused_too_many: u64,
    /// Those that were committed.
    pub committed: u64,
    /// Those aborted because a participant voted so.
    pub aborted_by_vote: u64,
    /// Those aborted because a participant was certainly not reached.
    pub aborted_not_reached: u64,
    /// Those aborted at their deadline.
    pub aborted_at_deadline: u64,
    /// Those aborted because the application wanted it.
    pub aborted_by_request: u64,
    /// Those aborted because a participant was given up.
    pub aborted_by_give_up: u64,
    /// Commits of former lives that were found in the log and are told again.
    pub recovered: u64,
    /// Participants asked again for a vote.
    pub asked_again: u64,
    /// Participants told again of a commit.
    pub told_again: u64,
    /// Questions of participants in doubt.
    pub questions: u64,
    /// Those of participants that were given up, about what is no longer known: they are not answered.
    pub questions_of_given_up: u64,
    /// Participants that are given up.
    pub given_up: usize,
    /// Parts of commits that were given up with them, and are listed.
    pub parts_given_up: usize,
    /// Messages that named a transaction of another coordinator, or came from no participant of it.
    pub strangers: u64,
}
