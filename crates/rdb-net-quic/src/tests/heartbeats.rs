//! Heartbeats travel beside the streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_session::{Config as SessionConfig, Identity};
use rdb_net_transport::{
    Answer, Arrival, Backend, CallOptions, Config, Connection, Datagrams, DialError, HandlerOptions, Handling,
    LaneStreams, ListenError, Listener, Proof, Request, Transport,
};
use rdb_net_types::{BootId, BoxFuture, Incarnation, MessageType, NodeAddress, NodeId, Payload, ProtocolRange};
use rdb_net_wire::{Raw, control_type, read_datagram};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::scene::{Scene, cluster, soon};
use crate::{QuicBackend, QuicConfig};

const ASK: MessageType = MessageType(0x8000);

/// How many pings and pongs were sent in packets.
#[derive(Debug, Default)]
struct Beats {
    pings: AtomicU64,
    pongs: AtomicU64,
}

/// QUIC, of which the packets beside the streams are looked at.
struct Watching {
    quic: QuicBackend,
    beats: Arc<Beats>,
}

impl Backend for Watching {
    fn name(&self) -> &'static str {
        "watching"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move { Ok(Watched::over(self.quic.dial(address).await?, Arc::clone(&self.beats))) })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let listener = self.quic.listen(address).await?;
            Ok(Box::new(WatchingListener { listener, beats: Arc::clone(&self.beats) }) as Box<dyn Listener>)
        })
    }
}

struct WatchingListener {
    listener: Box<dyn Listener>,
    beats: Arc<Beats>,
}

impl Listener for WatchingListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async move {
            let arrival = self.listener.accept().await?;
            let beats = Arc::clone(&self.beats);
            let established = async move { Ok(Watched::over(arrival.establish().await?, beats)) };
            Ok(Arrival::new(self.local_address(), established))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.listener.local_address()
    }
}

struct Watched {
    quic: Box<dyn Connection>,
    beats: Arc<Beats>,
}

impl Watched {
    fn over(quic: Box<dyn Connection>, beats: Arc<Beats>) -> Box<dyn Connection> {
        Box::new(Self { quic, beats })
    }
}

impl Connection for Watched {
    fn remote(&self) -> SocketAddr {
        self.quic.remote()
    }

    fn proof(&self) -> Option<Arc<Proof>> {
        self.quic.proof()
    }

    fn lanes(&mut self) -> Option<&mut dyn LaneStreams> {
        self.quic.lanes()
    }

    fn datagrams(&self) -> Option<Arc<dyn Datagrams>> {
        let quic = self.quic.datagrams()?;
        Some(Arc::new(WatchedDatagrams { quic, beats: Arc::clone(&self.beats) }))
    }

    fn poll_datagram(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        self.quic.poll_datagram(context)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.quic).poll_read(context, into)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.quic).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.quic).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.quic).poll_shutdown(context)
    }
}

#[derive(Debug)]
struct WatchedDatagrams {
    quic: Arc<dyn Datagrams>,
    beats: Arc<Beats>,
}

impl Datagrams for WatchedDatagrams {
    fn bytes_max(&self) -> usize {
        self.quic.bytes_max()
    }

    fn send(&self, packet: Bytes) -> bool {
        match read_datagram(packet.clone()) {
            Some((control_type::PING, _)) => self.beats.pings.fetch_add(1, Ordering::SeqCst),
            Some((control_type::PONG, _)) => self.beats.pongs.fetch_add(1, Ordering::SeqCst),
            other => panic!("a packet that is no heartbeat: {other:?}"),
        };
        self.quic.send(packet)
    }
}

fn transport(scene: &Scene, name: &str, bind: Option<NodeAddress>) -> (Transport, Arc<Beats>) {
    let identity = Identity {
        cluster: cluster(),
        node: NodeId::new(name).expect("legal"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(name.len() as u64),
        address: "127.0.0.1:0".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    };
    let session = SessionConfig { keep_alive_busy: Duration::from_millis(20), ..SessionConfig::default() };
    let beats = Arc::new(Beats::default());
    let backend = Watching { quic: scene.backend(name, QuicConfig::default()), beats: Arc::clone(&beats) };
    (Transport::new(Config { bind, session, ..Config::new(identity) }, Arc::new(backend)), beats)
}

#[tokio::test]
async fn who_waits_for_a_slow_answer_asks_and_is_answered_in_packets_beside_the_streams() {
    let scene = Scene::new();
    let (server, answered) = transport(&scene, "server", Some("127.0.0.1:0".parse().expect("legal")));
    let (client, asked) = transport(&scene, "client", None);
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&waiting);
    let slow = move |_: &NodeId, request: Request| {
        let (answer, later) = tokio::sync::oneshot::channel();
        kept.lock().expect("nobody panics with it").push(answer);
        drop(request);
        Handling::Later(Box::pin(async move { later.await.map_or(Ok(Answer::Empty), Ok) }))
    };
    server.handle(ASK, Arc::new(slow), HandlerOptions::default());
    server.start().await.expect("it listens");
    let address = NodeAddress::from(server.local_address().expect("it listens"));
    let peer = client.peer(&NodeId::new("server").expect("legal"), &address);
    let request = Raw { message_type: ASK, payload: Payload::from(vec![7]) };
    let answer = tokio::spawn(async move { peer.request(&request, CallOptions::timeout(super::scene::SOON)).await });
    soon("five questions and as many answers", async {
        while asked.pings.load(Ordering::SeqCst) < 5 || answered.pongs.load(Ordering::SeqCst) < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    waiting
        .lock()
        .expect("nobody panics with it")
        .drain(..)
        .for_each(|answer| answer.send(Answer::Empty).expect("it waits"));
    answer.await.expect("no panic").expect("answered");
    assert_eq!(asked.pongs.load(Ordering::SeqCst), 0, "an idle server asks nothing so soon");
}
