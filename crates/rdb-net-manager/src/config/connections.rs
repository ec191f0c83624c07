//! The typed values of what is said of connections in detail.

use std::time::Duration;

/// What connections are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransportProtocol {
    /// TCP, inside TLS where that is on.
    #[default]
    Tcp,
    /// QUIC, which is always inside TLS.
    Quic,
    /// QUIC where the other side offers it and UDP passes, TCP inside TLS where not.
    Auto,
}

/// How fast QUIC sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QuicCongestion {
    /// By lost packets, as TCP does by default.
    #[default]
    Cubic,
    /// By the rate at which packets arrive.
    Bbr,
}

/// Connections in detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// What they are made of.
    pub protocol: TransportProtocol,
    /// Limits and times of each connection.
    pub session: rdb_net_session::Config,
    /// How many bytes peers may make this node hold beyond each connection's first credits.
    pub memory_bytes_max: u64,
    /// How many of them one peer may take.
    pub peer_memory_bytes_max: u64,
    /// Waits between dials. How many connections there are, and when they are recycled, is said beside it.
    pub peer: rdb_net_peer::PeerConfig,
    /// How long a connection may be idle; zero is for ever.
    pub idle_timeout: Duration,
    /// How old a connection may become; zero is for ever.
    pub age_max: Duration,
    /// Dials under way at most.
    pub dials_max: usize,
    /// Whom the listener begins with.
    pub door: rdb_net_transport::DoorConfig,
    /// Bytes of replies that may wait for a connection's socket before its handlers are held back.
    pub reply_backlog_bytes: usize,
    /// How long bytes may stay unacknowledged in TCP; three times the liveness time where it is not set.
    pub tcp_user_timeout: Option<Duration>,
    /// Bytes that may wait unsent in the kernel; 0 for as many as it takes.
    pub tcp_unsent_bytes_max: u32,
    /// After how long without a packet TCP asks for a sign of life; zero for never.
    pub tcp_keep_alive: Duration,
    /// Connections that may wait in the kernel to be accepted.
    pub tcp_backlog: i32,
    /// How long nothing may come over QUIC; three times the liveness time where it is not set.
    pub quic_idle_timeout: Option<Duration>,
    /// After how long without a packet QUIC asks for a sign of life.
    pub quic_keep_alive: Duration,
    /// How fast QUIC sends.
    pub quic_congestion_control: QuicCongestion,
    /// Bytes of one lane that may be on their way over QUIC.
    pub quic_lane_window_bytes: u32,
    /// The largest payload of a packet that QUIC tries.
    pub quic_mtu_bytes_max: u16,
    /// Whether a peer that dialled may change its address.
    pub quic_migration: bool,
    /// From how many handshakes on strangers have to show their addresses.
    pub quic_retry_from_handshakes: usize,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            protocol: TransportProtocol::Tcp,
            session: rdb_net_session::Config::default(),
            memory_bytes_max: 512 * 1024 * 1024,
            peer_memory_bytes_max: 128 * 1024 * 1024,
            peer: rdb_net_peer::PeerConfig::default(),
            idle_timeout: Duration::from_secs(300),
            age_max: Duration::from_secs(3600),
            dials_max: 64,
            door: rdb_net_transport::DoorConfig::default(),
            reply_backlog_bytes: 1024 * 1024,
            tcp_user_timeout: None,
            tcp_unsent_bytes_max: 128 * 1024,
            tcp_keep_alive: Duration::from_secs(120),
            tcp_backlog: 1024,
            quic_idle_timeout: None,
            quic_keep_alive: Duration::from_secs(5),
            quic_congestion_control: QuicCongestion::Cubic,
            quic_lane_window_bytes: 4 * 1024 * 1024,
            quic_mtu_bytes_max: 8952,
            quic_migration: false,
            quic_retry_from_handshakes: 64,
        }
    }
}
