//! Options of QUIC connections, each with a bound.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::{BbrConfig, CubicConfig};
use quinn_proto::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};
use rdb_net_types::Lane;

/// The smallest payload that every path of QUIC carries (RFC 9000, section 14).
const MTU_MIN_BYTES: u16 = 1200;
/// What Ethernet carries, with the longer header of IPv6.
const ETHERNET_BYTES: u16 = 1452;
/// The largest payload that a UDP packet has.
const MTU_MAX_BYTES: u16 = 65_527;
/// A stream for each lane, of each connection.
pub(crate) const STREAMS: u32 = Lane::ALL.len() as u32;
/// How much of a handshake is held out of its order: no more than TLS over TCP reads of a stranger.
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
/// How much of packets beside the streams waits, in each direction.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Connections that were begun and that nobody has looked at yet.
const INCOMING_MAX: usize = 1024;
/// What may come of one of those meanwhile, and of all together. No early data comes, so it is little.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;
const ALL_INCOMING_BYTES_MAX: u64 = 1024 * 1024;

/// How fast a connection sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CongestionControl {
    /// By lost packets (RFC 9438), as TCP does by default.
    #[default]
    Cubic,
    /// By the rate at which packets arrive: it holds up better where packets get lost without a jam. The library calls its
    /// version an experiment.
    Bbr,
}

/// Options of every connection and of the sockets below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuicConfig {
    /// How long nothing may come before a connection counts as lost; the shorter of both sides' holds. Default 15 s: three
    /// times the default liveness time of a session, which finds a silent peer before. From 1 s to an hour.
    pub idle_timeout: Duration,
    /// After how long without a packet the dialing side asks for a sign of life, which also keeps state in middle boxes alive.
    /// Default 5 s; at most a third of the idle time.
    pub keep_alive_interval: Duration,
    /// How long a handshake may take. Default 5 s; the transport's own times may be shorter.
    pub handshake_timeout: Duration,
    /// How much of one lane may be on its way to the reader, in bytes. Default 4 MiB, as the session's credits; from 64 KiB to
    /// 64 MiB. A connection has four times as much in each direction at most, so that no lane waits for another's. A
    /// long fast path needs its bandwidth times its round-trip time.
    pub lane_window_bytes: u32,
    /// The largest payload of a packet that is tried, in bytes (RFC 8899), where the system's own link carries it. Default 8,952,
    /// which fits jumbo frames of 9,000; from 1,200 to 65,527. More costs less for each byte, and a lost packet is more that is
    /// sent again.
    pub mtu_bytes_max: u16,
    /// The round-trip time that is assumed before one was measured. Default 50 ms: a lost first packet is sent again after
    /// three times as long. From 1 ms to 1 s.
    pub initial_rtt: Duration,
    /// How fast it sends. Default cubic.
    pub congestion_control: CongestionControl,
    /// Whether a peer that dialled may change its address while it is connected (RFC 9000, section 9). Default false: nodes
    /// have fixed addresses, and who has copied packets of theirs shall move nothing.
    pub migration: bool,
    /// From how many handshakes under way on who dials has to show first that its address is its own (Retry, RFC 9000, section
    /// 8.1.2), which costs it a round trip. Default 64; 0 asks always.
    pub retry_from_handshakes: usize,
    /// How much each socket asks the system to hold of packets that nobody has read or sent yet. Default 2 MiB; the system cuts
    /// it at its own limits (`net.core.rmem_max`, `net.core.wmem_max`), and too little is lost packets.
    pub socket_buffer_bytes: u32,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(15),
            keep_alive_interval: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            lane_window_bytes: 4 * 1024 * 1024,
            mtu_bytes_max: 8952,
            initial_rtt: Duration::from_millis(50),
            congestion_control: CongestionControl::Cubic,
            migration: false,
            retry_from_handshakes: 64,
            socket_buffer_bytes: 2 * 1024 * 1024,
        }
    }
}

impl QuicConfig {
    /// The same, with what is out of its range put at the range's end.
    pub(crate) fn bounded(self) -> Self {
        let idle_timeout = self.idle_timeout.clamp(Duration::from_secs(1), Duration::from_secs(3600));
        Self {
            idle_timeout,
            keep_alive_interval: self.keep_alive_interval.clamp(Duration::from_millis(100), idle_timeout / 3),
            lane_window_bytes: self.lane_window_bytes.clamp(64 * 1024, 64 * 1024 * 1024),
            mtu_bytes_max: self.mtu_bytes_max.clamp(MTU_MIN_BYTES, MTU_MAX_BYTES),
            initial_rtt: self.initial_rtt.clamp(Duration::from_millis(1), Duration::from_secs(1)),
            ..self
        }
    }

    /// Of one connection. Only the side that dials opens streams, and only it keeps the path alive.
    /// `payload_bytes_max` is what this node's own link carries, where that is known.
    pub(crate) fn transport(&self, dials: bool, payload_bytes_max: Option<u16>) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        let window = u64::from(self.lane_window_bytes);
        let window_of_all = window * u64::from(STREAMS);
        // Both are far below what such a number can be.
        let number = |bytes: u64| VarInt::from_u64(bytes).unwrap_or(VarInt::MAX);
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(if dials { 0 } else { STREAMS }))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .max_idle_timeout(IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(dials.then_some(self.keep_alive_interval))
            .stream_receive_window(number(window))
            .receive_window(number(window_of_all))
            .send_window(window_of_all)
            .initial_rtt(self.initial_rtt)
            .mtu_discovery_config(Some(self.mtu_discovery(payload_bytes_max)))
            .crypto_buffer_size(HANDSHAKE_BYTES_MAX)
            // What nobody has read yet is given up from the oldest on, in both directions.
            .datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX))
            .datagram_send_buffer_size(DATAGRAM_BYTES_MAX)
            // The bit would show whoever watches how long the path is (RFC 9000, section 17.4).
            .allow_spin(false);
        match self.congestion_control {
            CongestionControl::Cubic => transport.congestion_controller_factory(Arc::new(CubicConfig::default())),
            CongestionControl::Bbr => transport.congestion_controller_factory(Arc::new(BbrConfig::default())),
        };
        Arc::new(transport)
    }

    /// Sizes between the least and the largest are tried, each lost once it is too large for a link further on.
    fn mtu_discovery(&self, payload_bytes_max: Option<u16>) -> MtuDiscoveryConfig {
        let mut discovery = MtuDiscoveryConfig::default();
        let known = payload_bytes_max.unwrap_or(ETHERNET_BYTES);
        discovery.upper_bound(self.mtu_bytes_max.min(known.max(MTU_MIN_BYTES)));
        discovery
    }

    /// Of one socket.
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        let mut endpoint = EndpointConfig::default();
        // What it refuses is below the least that may be asked for.
        let _taken = endpoint.max_udp_payload_size(self.mtu_bytes_max.max(1472));
        endpoint
    }

    /// Of what takes connections.
    pub(crate) fn server(
        &self,
        crypto: Arc<dyn quinn_proto::crypto::ServerConfig>,
        payload_bytes_max: Option<u16>,
    ) -> ServerConfig {
        let mut server = ServerConfig::with_crypto(crypto);
        server
            .transport_config(self.transport(false, payload_bytes_max))
            .migration(self.migration)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(ALL_INCOMING_BYTES_MAX);
        // No tokens for later: each dial shows its address anew where that is asked for.
        let mut tokens = quinn_proto::ValidationTokenConfig::default();
        tokens.sent(0);
        server.validation_token_config(tokens);
        server
    }
}
