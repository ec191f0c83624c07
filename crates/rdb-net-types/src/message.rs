//! The cluster's messages. Each is a struct of its own with its own [`MessageType`]; the enum exists for the facade only and
//! never travels as an enum, so that a type which one side does not know harms nothing else.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{MessageType, NodeId, Payload};

/// A message between nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterMessage {
    /// A node says that it is there.
    Heartbeat(Heartbeat),
    /// A query or a fragment of one.
    QueryRequest(QueryRequest),
    /// The answer to a query.
    QueryResponse(QueryResponse),
    /// Entries of a replicated log.
    ReplicationLog(ReplicationLog),
    /// How far a replica has come.
    ReplicationAck(ReplicationAck),
    /// Two-phase commit: prepare.
    PrepareTransaction(PrepareTransaction),
    /// Two-phase commit: a participant's vote.
    TransactionVote(TransactionVote),
    /// Two-phase commit: commit.
    CommitTransaction(CommitTransaction),
    /// Two-phase commit: abort.
    AbortTransaction(AbortTransaction),
    /// Two-phase commit: a decision was carried out.
    TransactionAck(TransactionAck),
    /// The application's own.
    Application(Application),
}

impl ClusterMessage {
    /// The message's type on the wire.
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::Heartbeat(_) => MessageType::HEARTBEAT,
            Self::QueryRequest(_) => MessageType::QUERY_REQUEST,
            Self::QueryResponse(_) => MessageType::QUERY_RESPONSE,
            Self::ReplicationLog(_) => MessageType::REPLICATION_LOG,
            Self::ReplicationAck(_) => MessageType::REPLICATION_ACK,
            Self::PrepareTransaction(_) => MessageType::PREPARE_TRANSACTION,
            Self::TransactionVote(_) => MessageType::TRANSACTION_VOTE,
            Self::CommitTransaction(_) => MessageType::COMMIT_TRANSACTION,
            Self::AbortTransaction(_) => MessageType::ABORT_TRANSACTION,
            Self::TransactionAck(_) => MessageType::TRANSACTION_ACK,
            Self::Application(message) => message.message_type,
        }
    }
}

macro_rules! into_cluster_message {
    ($($name:ident),* $(,)?) => {
        $(impl From<$name> for ClusterMessage {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        })*
    };
}

into_cluster_message!(
    Heartbeat,
    QueryRequest,
    QueryResponse,
    ReplicationLog,
    ReplicationAck,
    PrepareTransaction,
    TransactionVote,
    CommitTransaction,
    AbortTransaction,
    TransactionAck,
    Application,
);

/// A node says that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub node_id: NodeId,
    /// When, by the sender's wall clock: microseconds since 1970.
    pub timestamp_us: u64,
}

/// A query, or a fragment of one that another node planned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryRequest {
    /// Which query this is part of, by the asking node's count.
    pub query_id: u64,
    /// Which fragment of it; 0 for a whole query.
    pub fragment: u32,
    /// The query's text, in the database's language.
    pub query: String,
    /// Its parameters, encoded by the database.
    pub parameters: Payload,
}

/// A row of a result, encoded by the database; the network does not look into it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Tuple(pub Bytes);

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryResponse {
    /// Which query.
    pub query_id: u64,
    /// Which fragment of it.
    pub fragment: u32,
    /// The rows.
    pub result: Vec<Tuple>,
    /// Whether more rows follow in another message.
    pub more: bool,
}

/// An entry of a replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogEntry {
    /// Its place in the log.
    pub index: u64,
    /// The epoch of the leader that wrote it.
    pub epoch: u64,
    /// What it says, encoded by the database.
    pub data: Bytes,
}

/// Entries from a leader to a follower.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicationLog {
    /// Which log.
    pub log_id: u64,
    /// The leader's epoch; a follower refuses an older one.
    pub epoch: u64,
    /// The index before the first entry, so that gaps are seen.
    pub previous_index: u64,
    /// The epoch of the entry at that index.
    pub previous_epoch: u64,
    /// Up to which index the log is committed.
    pub committed_index: u64,
    /// The entries, by ascending index.
    pub entries: Vec<LogEntry>,
}

/// How far a follower has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicationAck {
    /// Which log.
    pub log_id: u64,
    /// The newest epoch that the follower has seen.
    pub epoch: u64,
    /// The last index that it holds for good.
    pub durable_index: u64,
    /// Whether the entries were taken; if not, `durable_index` says from where to send again.
    pub accepted: bool,
}

/// The name of a distributed transaction, unique over nodes and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TransactionId(pub u128);

/// Asks a participant to make a transaction ready for commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareTransaction {
    /// Which transaction.
    pub txn_id: TransactionId,
    /// Who decides, and is asked by a participant in doubt.
    pub coordinator: NodeId,
    /// Everybody who takes part.
    pub participants: Vec<NodeId>,
    /// What is to be done, encoded by the database.
    pub work: Payload,
}

/// What a participant answers to a prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Vote {
    /// Ready, and bound to whatever the coordinator decides.
    Commit,
    /// Not possible.
    Abort,
    /// Nothing was changed: no second phase is needed.
    ReadOnly,
}

/// A participant's vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionVote {
    /// Which transaction.
    pub txn_id: TransactionId,
    /// The vote.
    pub vote: Vote,
    /// Why, for people; empty where it is clear.
    pub reason: String,
}

/// The decision to commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitTransaction {
    /// Which transaction.
    pub txn_id: TransactionId,
}

/// The decision to abort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AbortTransaction {
    /// Which transaction.
    pub txn_id: TransactionId,
    /// Why, for people; empty where it is clear.
    pub reason: String,
}

/// A decision was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionAck {
    /// Which transaction.
    pub txn_id: TransactionId,
}

/// A message of the application's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its type, from [`MessageType::FIRST_APPLICATION`] upwards.
    pub message_type: MessageType,
    /// Its bytes, encoded by the application.
    pub payload: Payload,
}
