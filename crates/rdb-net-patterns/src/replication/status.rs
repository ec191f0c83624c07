//! How a replica stands, for operators and tests.

use rdb_net_types::NodeId;

use super::log::Position;

/// What a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It takes entries of a leader.
    Follower,
    /// It was told to lead, and no quorum follows yet.
    Claiming,
    /// It leads.
    Leader,
    /// Its storage has failed.
    Failed,
}

/// How a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// The newest epoch that it knows.
    pub epoch: u64,
    /// Who leads in it.
    pub leader: Option<NodeId>,
    /// The place behind which its log begins.
    pub base: Position,
    /// The end of its log, with the digest of all of it.
    pub last: Position,
    /// The last entry that it has for good.
    pub durable: u64,
    /// The last entry that it knows a quorum to have for good.
    pub committed: u64,
    /// What it has counted.
    pub counters: Counters,
    /// Of a leader: how its followers stand, by ascending id.
    pub followers: Vec<FollowerStatus>,
}

/// What a replica has counted since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Entries taken from a leader.
    pub entries_taken: u64,
    /// Entries that came again.
    pub duplicates: u64,
    /// Messages that came without those before them.
    pub gaps: u64,
    /// Messages of a leader that does not lead any more, or was never promised anything.
    pub fenced: u64,
    /// Messages that contradict themselves or the log.
    pub contradictions: u64,
    /// Messages refused because too many waited already.
    pub overloaded: u64,
    /// How often entries were removed that a leader did not have.
    pub cuts: u64,
}

/// What a leader does about a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FollowerState {
    /// It asks where its log ends, or differs.
    Resuming,
    /// It follows, and waits for the leader to begin.
    Granted,
    /// It is sent entries from the leader's memory.
    Streaming,
    /// It is sent entries from the leader's storage.
    CatchingUp,
    /// It did not answer and is tried again.
    Waiting,
    /// It lacks entries that the leader's log does not hold any more: it has to be restored from a copy of the data.
    OutOfReach,
    /// Its log, or the leader's, is damaged. It is sent nothing.
    Damaged,
}

/// How a follower stands, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerStatus {
    /// Who.
    pub node: NodeId,
    /// What is done about it.
    pub state: FollowerState,
    /// The last entry that it is known to have for good.
    pub matched: u64,
    /// The entry that it is sent next.
    pub next: u64,
    /// Bytes of entries under way to it.
    pub in_flight_bytes: usize,
    /// How often it had to be asked anew.
    pub resumes: u64,
    /// Entries that were sent to it from the storage.
    pub entries_from_storage: u64,
}
