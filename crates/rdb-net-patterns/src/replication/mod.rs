//! A log on several nodes: a leader streams entries, followers acknowledge what they have for good, and an entry is committed when
//! a quorum has it.
//!
//! ```text
//!  application       leader                                   follower
//!      | lead(epoch)   |  Resume: follow me; where do you end?     |
//!      |-------------->|------------------------------------------>|  promises, durably
//!      |               |<------------------------------------------|  Granted: index, epoch, digest
//!      |    Leading    |  (the logs differ: At …, then Keep)       |
//!      |<--------------|  ReplicationLog: entries, committed       |
//!      |   propose     |------------------------------------------>|  appends, syncs
//!      |-------------->|<------------------------------------------|  ReplicationAck: durable
//!      |   Committed   |                                           |
//!      |<--------------|                                           |
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `replica` | the state machine and its inputs; `event` is what comes of them |
//! | `following` | its part as a follower |
//! | `leading` | its part as a leader; `searching` finds where a follower's log differs, `progress` and `tail` are what it keeps, `entries` what it sends |
//! | `compacting` | how its log loses its beginning, and begins again from a copy of the data |
//! | `log` | the log's storage as a trait; `memory` keeps it in memory, `recorded` in a file too |
//! | `message` | the handshake |
//! | `check` | what must hold of every run, one file for each rule |
//! | `driver` | the machine over a node (feature `manager`) |
//!
//! `docs/patterns-replication.md` tells it in full.

pub mod check;
mod compacting;
mod config;
#[cfg(feature = "manager")]
mod driver;
mod entries;
mod event;
mod following;
mod leading;
mod log;
mod memory;
mod message;
mod mutation;
mod pieces;
mod progress;
mod proposed;
mod recorded;
mod replica;
mod searching;
mod status;
mod tail;

pub use config::{Config, ConfigError};
#[cfg(feature = "manager")]
pub use driver::{AppendError, Claimed, LeadFailed, OpenError, Proposal, ReplicaHandle, Replication};
pub use entries::{Entries, Head};
pub use event::{Action, CompactError, Event, LeadError, NotLeading, ProposeError, RestoreError};
pub use log::{LogError, LogStorage, Position, Promise};
pub use memory::MemoryLog;
pub use message::{AppendEntries, Message, MessageError, Question, RESUME_TYPE, Refusal, Reply, Resume, Resumed};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use proposed::Piece;
pub use recorded::RecordedLog;
pub use replica::{ENTRY_BYTES_MAX, EPOCH_MAX, Replica};
pub use status::{Counters, FollowerState, FollowerStatus, Role, Status};
