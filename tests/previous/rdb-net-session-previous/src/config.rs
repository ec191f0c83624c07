//! What a session is told before it begins.

use std::time::Duration;

use rdb_net_types::{BootId, ClusterId, Incarnation, Lane, NodeAddress, NodeId, ProtocolRange};

/// Who this node is, as its hello says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its node id.
    pub node: NodeId,
    /// Its newest incarnation.
    pub incarnation: Incarnation,
    /// Which process it is.
    pub boot: BootId,
    /// Where its transport can be reached by others.
    pub address: NodeAddress,
    /// The wire versions it speaks.
    pub protocol: ProtocolRange,
    /// Version of its software, for people.
    pub software: String,
    /// Bytes for the other side's authenticator. The whole hello must fit 8 KiB: at most some 4 KiB here.
    pub token: Vec<u8>,
}

/// Which side of the connection this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// It made the connection and sends on it.
    Dialer {
        /// The node it means to reach, where it knows; another one that answers is refused.
        target: Option<NodeId>,
    },
    /// It took the connection and answers on it.
    Acceptor,
}

/// Limits and times of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The largest frame that is read or written, in bytes with its header. Default 256 KiB; from 4 KiB to 16 MiB. Larger
    /// frames let a large message pass in one piece and make urgent ones wait longer.
    pub frame_bytes_max: u32,
    /// How many requests of the other side may be open. Default 4,096; at least 1. A request costs some 150 bytes. Those beyond
    /// it are answered with an overload that says that they were not started.
    pub requests_max: u32,
    /// How many bytes the other side may send on a lane before handlers took them, by lane. Default 256 KiB on the System
    /// lane, 4 MiB on the others; at least one frame. This is the memory that a peer can make us hold.
    pub lane_credit_bytes: [u64; 4],
    /// About how many bytes are given to the socket at once. Default 128 KiB. More saves system calls; an urgent frame waits
    /// for at most so much.
    pub batch_bytes: usize,
    /// How long the hello may take, from the start of the session. Default 3 s.
    pub hello_timeout: Duration,
    /// After how much silence an idle connection is asked whether it lives. Default 15 s.
    pub keep_alive_idle: Duration,
    /// After how much silence a connection with requests in flight is asked. Default 1 s.
    pub keep_alive_busy: Duration,
    /// How long an asked connection may stay silent before it is called dead. Default 5 s: above the pauses that healthy
    /// processes make.
    pub liveness: Duration,
    /// How long a drain waits for what is under way. Default 10 s.
    pub drain_timeout: Duration,
    /// Whether frames carry a checksum. Default true; off where TLS or QUIC protects the bytes already.
    pub checksum: bool,
}

impl Default for Config {
    fn default() -> Self {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        Self {
            frame_bytes_max: 256 * 1024,
            requests_max: 4096,
            lane_credit_bytes: [256 * KIB, 4 * MIB, 4 * MIB, 4 * MIB],
            batch_bytes: 128 * 1024,
            hello_timeout: Duration::from_secs(3),
            keep_alive_idle: Duration::from_secs(15),
            keep_alive_busy: Duration::from_secs(1),
            liveness: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            checksum: true,
        }
    }
}

/// The lane that a message of this lane travels on. This version has the System lane and one lane for all data.
pub(crate) const fn carrier(lane: Lane) -> Lane {
    match lane {
        Lane::System => Lane::System,
        Lane::Interactive | Lane::Replication | Lane::Bulk => Lane::Interactive,
    }
}
