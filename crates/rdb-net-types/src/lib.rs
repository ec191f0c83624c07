//! The vocabulary that every crate of the networking layer shares.
//!
//! Ids, addresses and node descriptions, the cluster's messages, the outcome of a request, membership events, health, and the
//! standard traits behind which a database composes transports, discovery, health, balancing and membership. There is no
//! input, output, clock or entropy here, and no encoding: how a message looks on a wire is decided in one place,
//! `rdb-net-wire`.

mod address;
mod balance;
mod event;
mod evidence;
mod health;
mod hidden;
mod identity;
mod message;
mod node;
mod outcome;
mod payload;
mod random;
mod registry;
mod secret_file;
mod spelling;
mod statistics;
mod traits;
mod visible;

pub use address::{AddressError, NodeAddress};
pub use balance::{CallOutcome, SelectionCriteria, Weight, WeightError};
pub use event::MembershipEvent;
pub use evidence::{Evidence, EvidenceKind};
pub use health::{HealthReport, HealthStatus};
pub use hidden::Hidden;
pub use identity::{BootId, ClusterId, IdError, Incarnation, NodeId};
pub use message::{
    AbortTransaction, Application, ClusterMessage, CommitTransaction, Heartbeat, LogEntry, PrepareTransaction,
    QueryRequest, QueryResponse, ReplicationAck, ReplicationLog, TransactionAck, TransactionId, TransactionVote, Tuple,
    Vote,
};
pub use node::{Capability, Locality, NodeInfo, NodeState, ProtocolRange, Resources};
pub use outcome::{Effect, OverloadScope, Reason, RefusalReason, RequestError};
pub use payload::Payload;
pub use random::SeededRandom;
pub use registry::{Lane, MessageSpec, MessageType};
pub use secret_file::{ExposedSecret, SecretFile};
pub use spelling::nearest_name;
pub use statistics::{ClockOffset, LaneStatistics, PathStatistics, PeerStatistics, TransportStatistics};
pub use traits::{
    Authenticator, BoxFuture, BoxStream, ClusterMembership, Component, Credentials, HealthMonitor, LoadBalancer,
    NetworkError, NetworkTransport, Principal, Refusal, Role, ServiceDiscovery,
};
pub use visible::Visible;
