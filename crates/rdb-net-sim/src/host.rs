//! A host and the process on it: an engine, its peers, and what the kernel keeps for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rdb_health::PingId;
use rdb_net_engine::{Engine, SyncToken};
use rdb_net_peer::Peer;
use rdb_net_session::{Identity, InboundId};
use rdb_net_types::{BootId, NodeAddress, NodeId};
use rdb_swim::{Snapshot, SyncId};

use crate::delivery::{Delivery, PeerKey, StreamId};

/// What a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It is on, and no process was started yet.
    Idle,
    /// The process runs.
    Running,
    /// The process stands still; the host goes on taking connections and datagrams for it.
    Paused,
    /// The process was killed; the host refuses connections.
    Crashed,
    /// The process has left the cluster and ended; the host refuses connections.
    Stopped,
    /// The host is off: nothing answers.
    Off,
}

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) address: NodeAddress,
    pub(crate) gossip: SocketAddr,
    pub(crate) life: Life,
    /// Processes started so far.
    pub(crate) lives: u32,
    pub(crate) process: Option<Process>,
    /// What the last process had written down of its cluster when it ended.
    pub(crate) memory: Option<Snapshot>,
    /// What waits for a process that stands still or is slow, with the time at which it came.
    pub(crate) backlog: VecDeque<(Duration, Delivery)>,
    pub(crate) backlog_bytes: usize,
    /// How long the process takes for one thing that arrives, and until when it has to do with the one that it has.
    pub(crate) processing: Duration,
    pub(crate) busy_until: Duration,
}

impl Host {
    /// Whether what arrives has to wait for a process that runs.
    pub(crate) fn is_slow(&self) -> bool {
        !self.processing.is_zero() || !self.backlog.is_empty()
    }
}

/// What a connection is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    Sync { token: SyncToken, request: Vec<u8>, timeout: Duration },
    Ping { id: PingId, timeout: Duration },
}

/// One peer of a process.
#[derive(Debug)]
pub(crate) struct PeerSlot {
    pub(crate) machine: Peer,
    pub(crate) address: NodeAddress,
    /// The connection that is up, or being made.
    pub(crate) stream: Option<StreamId>,
    pub(crate) is_up: bool,
    /// What waits for the connection.
    pub(crate) waiting: Vec<Job>,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) identity: Identity,
    pub(crate) boot: BootId,
    pub(crate) peers: BTreeMap<PeerKey, PeerSlot>,
    pub(crate) streams: BTreeSet<StreamId>,
    /// Requests for an exchange of views whose answer is pending.
    pub(crate) pending: BTreeMap<SyncId, (StreamId, InboundId)>,
    pub(crate) peers_made: u64,
}
