//! quinn by hand, in the two ways in which one uses it: the floor of multiplexing over one bidirectional stream, and a stream for
//! each request.
//!
//! Certificates, checks, provider, windows and buffers of sockets are those that this workspace has by default; the size of packets is
//! quinn's or this workspace's. What this workspace leaves to quinn's defaults is left to them here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, Incoming, MtuDiscoveryConfig, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use rdb_net_quic::QuicConfig;
use rdb_net_tls::{Expected, Tls};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::Suite;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::join;
use tokio::task::JoinSet;

use crate::measure::Caller;
use crate::peers::frame::PAYLOAD_BYTES_MAX;
use crate::peers::mux::MuxClient;
use crate::peers::{PeerError, floor_server};

/// TLS wants a name. It is neither sent nor compared.
const SERVER_NAME: &str = "race";
/// More than callers, so that nobody waits for a stream.
const STREAMS: u32 = 256;
/// As many lanes as this workspace has windows for.
const LANES: u64 = 4;

/// How requests become streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    /// One for all of them.
    One,
    /// One for each.
    PerRequest,
}

/// How large packets may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packets {
    /// quinn's default.
    Quinns,
    /// This workspace's default.
    Ours,
}

fn error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PeerError {
    PeerError::Io(io::Error::other(error))
}

fn transport(packets: Packets) -> Arc<TransportConfig> {
    let ours = QuicConfig::default();
    let window = u64::from(ours.lane_window_bytes);
    let number = |bytes: u64| VarInt::from_u64(bytes).expect("invariant: a window is below the largest number");
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(number(window))
        .receive_window(number(window * LANES))
        .send_window(window * LANES)
        .initial_rtt(ours.initial_rtt);
    if packets == Packets::Ours {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(ours.mtu_bytes_max);
        transport.mtu_discovery_config(Some(discovery));
    }
    Arc::new(transport)
}

fn initial_suite() -> Result<Suite, PeerError> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
    suite.ok_or_else(|| error("the provider has no AES-128-GCM for QUIC"))
}

fn socket() -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    let bytes = QuicConfig::default().socket_buffer_bytes as usize;
    socket.set_recv_buffer_size(bytes)?;
    socket.set_send_buffer_size(bytes)?;
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into())?;
    Ok(socket.into())
}

fn endpoint(server: Option<ServerConfig>, packets: Packets) -> Result<Endpoint, PeerError> {
    let mut config = EndpointConfig::default();
    if packets == Packets::Ours {
        config.max_udp_payload_size(QuicConfig::default().mtu_bytes_max).map_err(error)?;
    }
    Ok(Endpoint::new(config, server, socket()?, Arc::new(TokioRuntime))?)
}

/// Takes connections, on a port of the loopback address that is told through `announce`, and serves each until it closes.
///
/// # Errors
///
/// The socket's, or that of a certificate that QUIC does not take.
pub(crate) async fn serve(
    tls: &Tls,
    streams: Streams,
    packets: Packets,
    announce: impl FnOnce(SocketAddr),
) -> Result<(), PeerError> {
    let crypto = QuicServerConfig::with_initial(tls.current().server_config(), initial_suite()?).map_err(error)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(packets));
    let endpoint = endpoint(Some(config), packets)?;
    announce(endpoint.local_addr()?);
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        connections.spawn(serve_connection(incoming, streams));
        while connections.try_join_next().is_some() {}
    }
    Err(PeerError::ConnectionLost("the socket is gone"))
}

async fn serve_connection(incoming: Incoming, streams: Streams) -> Result<(), PeerError> {
    let connection = incoming.await.map_err(error)?;
    let mut served = JoinSet::new();
    loop {
        let (mut send, mut recv) = connection.accept_bi().await.map_err(error)?;
        match streams {
            Streams::One => served.spawn(floor_server::serve_connection(join(recv, send))),
            Streams::PerRequest => served.spawn(async move {
                let request = recv.read_to_end(PAYLOAD_BYTES_MAX).await.map_err(error)?;
                send.write_chunk(Bytes::from(request)).await.map_err(error)?;
                send.finish().map_err(error)
            }),
        };
        while served.try_join_next().is_some() {}
    }
}

async fn dial(tls: &Tls, packets: Packets, address: SocketAddr) -> Result<Connection, PeerError> {
    let config = tls.current().client_config(Expected::Anybody);
    let crypto = QuicClientConfig::with_initial(config, initial_suite()?).map_err(error)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(packets));
    endpoint(None, packets)?.connect_with(config, address, SERVER_NAME).map_err(error)?.await.map_err(error)
}

/// The floor's client: the same as over TCP, over a stream of QUIC.
///
/// # Errors
///
/// The operating system's, or QUIC's.
pub(crate) async fn connect_mux(tls: &Tls, packets: Packets, address: SocketAddr) -> Result<MuxClient, PeerError> {
    let (send, recv) = dial(tls, packets, address).await?.open_bi().await.map_err(error)?;
    Ok(MuxClient::over(join(recv, send)))
}

/// A client that opens a stream for each request.
#[derive(Debug, Clone)]
pub(crate) struct StreamsCaller {
    connection: Connection,
}

impl StreamsCaller {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The operating system's, or QUIC's.
    pub(crate) async fn connect(tls: &Tls, address: SocketAddr) -> Result<Self, PeerError> {
        Ok(Self { connection: dial(tls, Packets::Quinns, address).await? })
    }
}

impl Caller for StreamsCaller {
    async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
        let (mut send, mut recv) = self.connection.open_bi().await.map_err(error)?;
        send.write_chunk(payload).await.map_err(error)?;
        send.finish().map_err(error)?;
        recv.read_to_end(PAYLOAD_BYTES_MAX).await.map(Bytes::from).map_err(error)
    }

    /// Streams have no order among each other, so that nothing told when all of them have come.
    async fn send(&self, _: Bytes) -> Result<(), PeerError> {
        Err(PeerError::NotOffered)
    }

    async fn barrier(&self) -> Result<u64, PeerError> {
        Err(PeerError::NotOffered)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::certificates::{self, Certificates};
    use crate::peers::Peer;
    use crate::peers::ours::{self, OursCaller};
    use crate::peers::tls::tests::check;
    use crate::workload::Workload;

    #[tokio::test]
    async fn each_peer_echoes_over_quic_and_counts_where_it_has_one_way_messages() {
        for (peer, packets) in [(Peer::QuinnMux, Packets::Quinns), (Peer::QuinnMuxLargePackets, Packets::Ours)] {
            check(peer, async |address, tls| connect_mux(&tls, packets, address).await).await;
        }
        check(Peer::QuinnStreams, async |address, tls| StreamsCaller::connect(&tls, address).await).await;
        check(Peer::OursQuic, async |address, tls| {
            let limits = rdb_net_session::Config::default();
            Ok(OursCaller::connect(limits, ours::quic_backend(tls), address, Workload::W3))
        })
        .await;
    }

    #[tokio::test]
    async fn more_callers_than_streams_are_all_answered() {
        let minted = Certificates::mint(["server", "client"].map(str::to_owned)).unwrap();
        let tls = |name| certificates::load(Some(minted.dir()), name).unwrap();
        let (announce, address) = oneshot::channel();
        let served = tls("server");
        let server = tokio::spawn(async move {
            serve(&served, Streams::PerRequest, Packets::Quinns, |address| announce.send(address).unwrap()).await
        });
        let caller = StreamsCaller::connect(&tls("client"), address.await.unwrap()).await.unwrap();
        let calls: JoinSet<_> = (0..2 * STREAMS)
            .map(|number| {
                let (caller, payload) = (caller.clone(), Bytes::from(number.to_be_bytes().to_vec()));
                async move { assert_eq!(caller.call(payload.clone()).await.unwrap(), payload) }
            })
            .collect();
        calls.join_all().await;
        server.abort();
    }
}
