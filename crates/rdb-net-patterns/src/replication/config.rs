//! What a replica is told before it begins.

use std::time::Duration;

use rdb_net_types::NodeId;

/// How a log is replicated. The same at every replica, as far as members and log are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which log: a node may hold replicas of several.
    pub log_id: u64,
    /// Everybody who holds a replica, this node included. More than half of them are a quorum. It does not change while the log
    /// lives.
    pub members: Vec<NodeId>,
    /// How many bytes of entries travel in one message. Default 256 KiB; one entry may be larger.
    pub batch_bytes_max: usize,
    /// How many entries travel in one message. Default 4,096.
    pub batch_entries_max: usize,
    /// How many bytes of entries may be under way to one follower that it has not acknowledged. Default 4 MiB. More keep a
    /// distant follower busy.
    pub window_bytes: usize,
    /// How many bytes of its newest entries a leader holds in memory for its followers. Default 16 MiB. Who is further behind is
    /// sent from the log's storage until it has caught up.
    pub tail_bytes: usize,
    /// How many bytes may wait for a quorum; beyond it, appending is refused. Default 16 MiB.
    pub pending_bytes_max: usize,
    /// How many messages of a leader may wait here until the log is durable; beyond it, they are refused. Default 1,024.
    pub replies_max: usize,
    /// After how long a follower is tried again that did not answer. Default 20 ms; doubled each time.
    pub retry_min: Duration,
    /// The longest such time. Default 1 s.
    pub retry_max: Duration,
}

impl Config {
    /// The defaults.
    pub fn new(log_id: u64, members: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            log_id,
            members: members.into_iter().collect(),
            batch_bytes_max: 256 * 1024,
            batch_entries_max: 4096,
            window_bytes: 4 * 1024 * 1024,
            tail_bytes: 16 * 1024 * 1024,
            pending_bytes_max: 16 * 1024 * 1024,
            replies_max: 1024,
            retry_min: Duration::from_millis(20),
            retry_max: Duration::from_secs(1),
        }
    }

    /// How many members have to hold an entry for good.
    pub fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }
}
