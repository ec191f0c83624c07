//! What a session is told before it begins.

use std::fmt;
use std::time::Duration;

use rdb_net_types::{BootId, ClusterId, Hidden, Incarnation, NodeAddress, NodeId, ProtocolRange};

use crate::CompressionConfig;

/// Who this node is, as its hello says.
#[derive(Clone, PartialEq, Eq)]
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

/// Without the token.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By name, so that none is forgotten.
        let Self { cluster, node, incarnation, boot, address, protocol, software, token } = self;
        f.debug_struct("Identity")
            .field("cluster", cluster)
            .field("node", node)
            .field("incarnation", incarnation)
            .field("boot", boot)
            .field("address", address)
            .field("protocol", protocol)
            .field("software", software)
            .field("token", &Hidden(token))
            .finish()
    }
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

/// What the connection itself has proved of its other end, by TLS. Both hellos are held against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// The node that the other side's certificate names; `None` where it needs none and shows none.
    pub node: Option<NodeId>,
    /// What ties a hello to this TLS session: both ends know it and nobody else does (RFC 9266). Not empty.
    pub channel_binding: Vec<u8>,
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
    /// The largest message that is put together from fragments, in bytes of its body. Default 64 MiB; at least one frame.
    pub message_bytes_max: u32,
    /// How many bytes the other side may send on a lane before handlers took them, by lane, once it has shown that it uses
    /// them. Default 256 KiB on the System lane, 4 MiB on the others. What exceeds the first window is reserved from the
    /// budget.
    pub lane_credit_bytes: [u64; 4],
    /// The first window of each lane: what it starts with, without leave of the budget. Default 64 KiB on the System lane,
    /// 256 KiB on the others. All of them together, for each connection, are what strangers can make us hold.
    pub lane_credit_bytes_first: [u64; 4],
    /// Which messages are compressed, and how. Default none.
    pub compression: CompressionConfig,
    /// About how many bytes are given to the socket at once. Default 128 KiB. More saves system calls; an urgent frame waits
    /// for at most so much.
    pub batch_bytes: usize,
    /// How long frames of the data lanes may wait for others to share a write with, in microseconds. Default 0: a burst shares a
    /// write by itself. From 0 to 10,000. A driver whose timers are coarser asks again and again meanwhile, which costs
    /// processor time; worth it only where writes cost more.
    pub batch_delay_us: u32,
    /// How long the hello may take, from the start of the session. Default 3 s.
    pub hello_timeout: Duration,
    /// After how much silence an idle connection is asked whether it lives. Default 60 s, and at most twelve times the other side's
    /// `liveness`. It finds connections that something on the way has forgotten, and costs three packets each time.
    pub keep_alive_idle: Duration,
    /// After how much silence a connection with requests in flight is asked. Default 1 s.
    pub keep_alive_busy: Duration,
    /// How long an asked connection may stay silent before it is called dead. Default 5 s: above the pauses that healthy
    /// processes make.
    pub liveness: Duration,
    /// How long a message that came in parts is waited for after its last one, before its memory is given back. Default 30 s.
    pub fragment_timeout: Duration,
    /// How long a drain waits for what is under way. Default 10 s.
    pub drain_timeout: Duration,
    /// Whether frames carry a checksum. Default true; off where TLS or QUIC protects the bytes already.
    pub checksum: bool,
    /// What the connection has proved of its other end; `None` where it proves nothing.
    pub secured: Option<Secured>,
}

impl Default for Config {
    fn default() -> Self {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        Self {
            frame_bytes_max: 256 * 1024,
            requests_max: 4096,
            message_bytes_max: 64 * 1024 * 1024,
            lane_credit_bytes: [256 * KIB, 4 * MIB, 4 * MIB, 4 * MIB],
            lane_credit_bytes_first: [64 * KIB, 256 * KIB, 256 * KIB, 256 * KIB],
            compression: CompressionConfig::off(),
            batch_bytes: 128 * 1024,
            batch_delay_us: 0,
            hello_timeout: Duration::from_secs(3),
            keep_alive_idle: Duration::from_secs(60),
            keep_alive_busy: Duration::from_secs(1),
            liveness: Duration::from_secs(5),
            fragment_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            checksum: true,
            secured: None,
        }
    }
}
