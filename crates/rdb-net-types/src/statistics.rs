//! Counters as plain structs: kept by the parts, pulled by whoever shows them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{MessageType, NodeId};

/// What one lane of one peer has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneStatistics {
    /// Messages given to the socket.
    pub messages_sent: u64,
    /// Messages received whole.
    pub messages_received: u64,
    /// Bytes given to the socket, headers included.
    pub bytes_sent: u64,
    /// Bytes received, headers included.
    pub bytes_received: u64,
    /// Bytes waiting for the socket.
    pub queued_bytes: u64,
    /// What was received and not ended by handlers yet, in bytes as they are charged.
    pub held_bytes: u64,
}

/// How far a peer's wall clock is ahead of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Microseconds; below 0 where it is behind.
    pub offset_us: i64,
    /// The offset may be wrong by so much in either direction: half the round trip of the measurement.
    pub uncertainty: Duration,
    /// When it was measured, by this side's clock.
    pub measured_at: Duration,
}

/// What one peer has carried, over all its connections since this process started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerStatistics {
    /// Connections that are up, both directions.
    pub active_connections: u64,
    /// Bytes given to sockets.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Messages given to sockets, by type.
    pub sent: BTreeMap<MessageType, u64>,
    /// Messages received, by type.
    pub received: BTreeMap<MessageType, u64>,
    /// Connection errors, by what went wrong.
    pub errors: BTreeMap<&'static str, u64>,
    /// Requests that ended, by reason; `"ok"` for replies.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Replies that came after their request had ended.
    pub late_replies: u64,
    /// Smoothed round-trip time of the keep-alive, once measured.
    pub round_trip: Option<Duration>,
    /// How far its wall clock is ahead of ours, once measured.
    pub clock_offset: Option<ClockOffset>,
    /// By lane number.
    pub lanes: [LaneStatistics; 4],
    /// Bytes of bodies that were compressed, or tried, and what they became.
    pub compressed: (u64, u64),
    /// Messages and replies that were refused because there was no memory for them.
    pub out_of_memory: u64,
    /// The path of its newest connection, one that this node dialled where there is one, where the system tells.
    pub path: Option<PathStatistics>,
}

/// How the path of one connection is doing, as its protocol's own control loop sees it: `TCP_INFO` of a TCP socket, the path
/// statistics of a QUIC connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathStatistics {
    /// Smoothed round-trip time of the packets (RFC 6298), without the time that either process takes.
    pub smoothed_rtt: Duration,
    /// How much it varies: the mean deviation; `None` where it is not told.
    pub rtt_variance: Option<Duration>,
    /// How many bytes may be on their way unacknowledged.
    pub congestion_window_bytes: u64,
    /// Segments or packets that were lost, so that what they carried was sent again, since the connection began.
    pub retransmits: u64,
    /// Packets that came and were dropped because this process took them too slowly; `None` where it is not told.
    pub dropped: Option<u64>,
    /// Segments on their way that were not acknowledged yet; `None` where it is not told.
    pub unacknowledged: Option<u64>,
    /// How fast bytes arrived at the other end lately, in bytes a second; `None` where it is not measured.
    pub delivery_rate_bytes: Option<u64>,
    /// The largest payload of a segment or packet that the path carries, as far as is known, in bytes.
    pub packet_bytes_max: u64,
}

/// What a whole transport has carried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransportStatistics {
    /// By authenticated peer.
    pub peers: BTreeMap<NodeId, PeerStatistics>,
    /// Connections that ended before their peer was known, by what went wrong.
    pub unidentified_errors: BTreeMap<&'static str, u64>,
}
