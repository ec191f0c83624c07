//! Two-phase commit with presumed abort: a transaction over several nodes is committed on all of them or aborted on all.
//!
//! | part | what it does |
//! |---|---|
//! | [`Coordinator`] | begins transactions on this node, asks for votes, decides, and tells the decision until all have heard it |
//! | [`Participant`] | votes on what others begin, and is bound by its vote until it knows the decision |
//! | [`Record`] | what both write down |
//! | [`History`] and [`check`] | what happened, of a simulated run or a real one, and what must hold of it |
//! | `TransactionManager` (feature `manager`) | both over a node, with a log and the database's own [`Resource`] |
//!
//! Coordinator and participant are state machines: inputs are method calls that take the time, outputs are actions to be polled, and
//! everything in them is bounded. They share the node's log, so that all that happens on a node at one time shares one sync.
//!
//! # What is written when
//!
//! Presumed abort (Mohan, Lindsay, Obermarck: "Transaction Management in the R* Distributed Database Management System", ACM TODS
//! 11(4), 1986): a coordinator that knows nothing of a transaction answers that it was aborted. So an abort needs no record and no
//! acknowledgement, and a transaction is undecided until one record is durable.
//!
//! | record | who | forced | before what |
//! |---|---|---|---|
//! | `Started` | coordinator | yes | the first transaction of a life: no id is used twice |
//! | `Prepared` | participant | yes | the vote to commit |
//! | `Decided` | coordinator | yes | anybody hears of the commit |
//! | `Committed` | participant | yes | the acknowledgement, and the resource's commit |
//! | `Aborted`, `Applied` | participant | no | without them the next life asks again, or commits again |
//! | `Ended` | coordinator | no | without it the next life tells the commit again |
//! | `Resolved` | participant | yes | the resource does what an operator has decided of a transaction in doubt |
//! | `GivenUp`, with the commits | coordinator | yes | no commit waits any more for a participant that an operator has given up |

pub mod check;
mod coordinator;
#[cfg(feature = "manager")]
mod driver;
mod history;
mod id;
mod mutation;
mod participant;
mod record;
mod schedule;
mod window;

#[cfg(test)]
mod tests;

pub use coordinator::{
    AbortCause, BeginError, Coordinator, CoordinatorAction, CoordinatorConfig, CoordinatorStats, GiveUpError, GivenUp,
    Untold, Verdict,
};
#[cfg(feature = "manager")]
pub use driver::{
    Begun, OpenError, Outcome, Prepared, Resource, TransactionError, TransactionManager, TransactionOptions, Witness,
};
pub use history::{Event, History, Occurrence};
pub use id::Life;
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use participant::{
    CallId, InDoubt, Participant, ParticipantAction, ParticipantAnswer, ParticipantConfig, ParticipantStats, Refusal,
    ResolveError, ResolvedByHand,
};
pub use record::{Record, RecordError};

use serde::{Deserialize, Serialize};

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Everything that was prepared is done.
    Commit,
    /// Nothing of it is.
    Abort,
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::Abort => "abort",
        })
    }
}

/// Counts the records that must be durable before something happens: whoever owns the log says up to which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);
