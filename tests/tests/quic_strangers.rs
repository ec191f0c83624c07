//! Peers of a QUIC node that show a good certificate and then misbehave on their streams and datagrams: what comes back, what is
//! counted, that memory stays bounded, and that a healthy peer beside them is served.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peak_alloc::PeakAlloc;
use rdb_net_quic::{QuicBackend, QuicConfig};
use rdb_net_session::{Config as SessionConfig, Identity};
use rdb_net_tests::{Certificates, hello};
use rdb_net_transport::{
    Answer, Backend, CallOptions, Config, Connection, HandlerOptions, Handling, LaneStreams, PeerHandle, Request,
    Transport,
};
use rdb_net_types::{Application, BootId, ClusterId, Incarnation, Lane, MessageType, NodeId, Payload, ProtocolRange};
use rdb_net_wire::{
    Close, CloseCode, Encode, Fence, Flags, FrameBuffer, FrameHead, Message, Ping, Raw, control_type, frame_length,
    write_datagram,
};
use tokio::io::ReadBuf;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One world at a time: what is held is measured.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const HELLO_TIMEOUT: Duration = Duration::from_millis(400);
const LIVENESS: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// What a stranger may make the node hold: what waits in QUIC for the lanes' windows and for datagrams, at both ends of a
/// connection within this process.
const HELD_BYTES_MAX: usize = 6 << 20;

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

fn node(certificates: &Certificates, name: &str) -> Transport {
    let mut config = Config::new(Identity {
        cluster: ClusterId::new("rustydb").expect("legal"),
        node: id(name),
        incarnation: Incarnation::first_of(1),
        boot: BootId(1),
        address: "127.0.0.1:0".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    });
    config.bind = Some("127.0.0.1:0".parse().expect("legal"));
    config.session = SessionConfig {
        frame_bytes_max: FRAME_BYTES_MAX,
        hello_timeout: HELLO_TIMEOUT,
        keep_alive_idle: LIVENESS,
        keep_alive_busy: LIVENESS,
        liveness: LIVENESS,
        ..SessionConfig::default()
    };
    let quic = QuicConfig { lane_window_bytes: 256 * 1024, ..QuicConfig::default() };
    let transport = Transport::new(config, Arc::new(QuicBackend::new(quic, certificates.of(&id(name)))));
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    transport
}

/// A node, a healthy peer of it, and certificates for strangers.
struct World {
    certificates: Certificates,
    node: Transport,
    healthy: Transport,
    peer: PeerHandle,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

impl World {
    async fn start() -> Self {
        let alone = ALONE.lock().await;
        let certificates = Certificates::new();
        let (node, healthy) = (node(&certificates, "n1"), node(&certificates, "healthy"));
        node.start().await.expect("a port");
        healthy.start().await.expect("a port");
        let peer = healthy.peer(&id("n1"), &node.advertised_address());
        let world = Self { certificates, node, healthy, peer, _alone: alone };
        world.serves().await;
        world
    }

    /// The healthy peer is answered.
    async fn serves(&self) {
        let message = Application { message_type: ECHO, payload: Payload::from(vec![7; 100]) };
        let options = CallOptions::timeout(PATIENCE);
        self.peer.request(&message, options).await.expect("a healthy peer is served");
    }

    /// A stranger with a certificate, of whom the node has heard nothing yet.
    async fn stranger(&self) -> Stranger {
        let name = id("stranger");
        let backend = QuicBackend::new(QuicConfig::default(), self.certificates.of(&name));
        let connection = backend.dial(&self.node.advertised_address()).await.expect("its certificate is good");
        Stranger { connection, read: BytesMut::new() }
    }

    /// One that has been let in.
    async fn guest(&self) -> Stranger {
        let mut stranger = self.stranger().await;
        let binding = stranger.connection.proof().expect("a handshake").channel_binding.clone();
        let said = rdb_net_wire::Hello { channel_binding: binding, checksum: false, ..hello("stranger") };
        stranger.write(Lane::System, &frame(&said, Lane::System)).await;
        let (head, _) = stranger.next().await.expect("an answer");
        assert_eq!(head.message_type, control_type::HELLO);
        stranger
    }

    /// How often connections of strangers have ended for this reason.
    fn ended(&self, reason: &str) -> u64 {
        let statistics = self.node.statistics();
        let named = statistics.peers.values().flat_map(|peer| peer.errors.iter());
        let counted = named.chain(&statistics.unidentified_errors).filter(|(name, _)| ***name == *reason);
        counted.map(|(_, count)| *count).sum()
    }

    async fn wait_ended(&self, reason: &str, count: u64) {
        let ended = async {
            while self.ended(reason) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let told = || {
            let statistics = self.node.statistics();
            let errors: Vec<_> = statistics.peers.values().map(|peer| &peer.errors).collect();
            format!("{reason} is not counted: {errors:?} {:?}", statistics.unidentified_errors)
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{}", told()));
    }

    async fn end(self) {
        self.serves().await;
        self.healthy.shutdown().await;
        assert!(self.node.shutdown().await, "nothing is left");
    }
}

struct Stranger {
    connection: Box<dyn Connection>,
    read: BytesMut,
}

impl Stranger {
    /// Writes as much as the stream takes within a moment, and returns how much that was.
    async fn write(&mut self, lane: Lane, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            let slices = [IoSlice::new(&bytes[written..])];
            let writing = self.in_passes(|lanes, context| lanes.poll_write(lane, context, &slices));
            match tokio::time::timeout(Duration::from_millis(300), writing).await {
                Ok(Ok(count)) => written += count,
                // The node has ended it, or reads no more.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        written
    }

    /// Does a step in passes, as the task of a connection would, until it is done.
    async fn in_passes<T>(&mut self, mut step: impl FnMut(&mut dyn LaneStreams, &mut Context<'_>) -> Poll<T>) -> T {
        poll_fn(|context| {
            let lanes = self.connection.lanes().expect("QUIC has lanes");
            lanes.begin_pass(context);
            let done = step(lanes, context);
            lanes.end_pass(context);
            done
        })
        .await
    }

    /// What it has to send leaves, and what comes is taken in, while something else is waited for.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.in_passes(|_, _| Poll::<Infallible>::Pending) => match never {},
        }
    }

    /// The next frame of the System lane; `None` where the connection has ended.
    async fn next(&mut self) -> Option<(FrameHead, Vec<u8>)> {
        let reading = async {
            loop {
                if let Some(length) = frame_length(&self.read, u32::MAX)
                    .expect("a node's frames")
                    .filter(|length| *length <= self.read.len())
                {
                    let frame = self.read.split_to(length).freeze();
                    let rules = rdb_net_wire::FrameRules::plain(false);
                    let read = rules.read(&frame).expect("a node's frames");
                    return Some((read.head, frame[read.body].to_vec()));
                }
                let mut memory = vec![0; 65_536];
                let mut into = ReadBuf::new(&mut memory);
                let read = self.in_passes(|lanes, context| lanes.poll_read(Lane::System, context, &mut into));
                if read.await.is_err() || into.filled().is_empty() {
                    return None;
                }
                self.read.extend_from_slice(into.filled());
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the node says something, or ends the connection")
    }

    /// The code with which the node says farewell. Other frames before it are passed over.
    async fn farewell(&mut self) -> Option<u16> {
        while let Some((head, body)) = self.next().await {
            if head.message_type == control_type::CLOSE {
                let body = rdb_net_wire::Body::plain(Bytes::from(body));
                return Some(Close::decode(&body).expect("a node's frames").code);
            }
        }
        None
    }
}

/// A frame without a checksum.
fn frame(message: &impl Encode, lane: Lane) -> Vec<u8> {
    flagged(message, Flags::ONE_WAY, lane, 0)
}

fn flagged(message: &impl Encode, flags: Flags, lane: Lane, correlation: u64) -> Vec<u8> {
    let head = FrameHead { message_type: message.message_type(), flags, lane, correlation };
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, message, FRAME_BYTES_MAX).expect("small");
    buffer.seal(&mark, 0);
    buffer.to_vec()
}

fn raw(bytes: usize) -> Raw {
    Raw { message_type: ECHO, payload: vec![7; bytes].into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_on_another_lanes_stream_is_an_error_of_the_protocol() {
    let world = World::start().await;
    for (number, (lane, stream)) in
        [(Lane::Bulk, Lane::Interactive), (Lane::Interactive, Lane::System), (Lane::System, Lane::Bulk)]
            .into_iter()
            .enumerate()
    {
        let mut guest = world.guest().await;
        guest.write(stream, &frame(&raw(10), lane)).await;
        assert_eq!(guest.farewell().await, Some(CloseCode::State as u16), "{lane:?} on {stream:?}");
        world.wait_ended("protocol", number as u64 + 1).await;
        world.serves().await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_that_lie_end_the_connection_on_whichever_stream_they_come() {
    let world = World::start().await;
    let mut ended = 0;
    for lane in Lane::ALL {
        for size in [0, 19, FRAME_BYTES_MAX - 11, u32::MAX] {
            let mut guest = world.guest().await;
            let mut lies = frame(&raw(10), lane);
            lies[8..12].copy_from_slice(&u32::to_be_bytes(size));
            guest.write(lane, &lies).await;
            let code = guest.farewell().await;
            assert!(code.is_some_and(|code| code != CloseCode::Normal as u16), "{size} on {lane:?}: {code:?}");
            ended += 1;
        }
    }
    let told = world.node.statistics();
    let counted: u64 = told.peers[&id("stranger")].errors.values().sum();
    assert_eq!(counted, ended, "{told:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_speaks_on_other_streams_first_is_sent_away_when_its_time_is_over() {
    let world = World::start().await;
    let silent = world.stranger().await;
    let mut early = world.stranger().await;
    // Nothing of it is read before a hello. The windows bound how much waits.
    let before = MEMORY.current_usage();
    let flood = frame(&raw(10_000), Lane::Bulk).repeat(100);
    let written = early.write(Lane::Bulk, &flood).await;
    assert!(written <= flood.len());
    assert!(MEMORY.current_usage() < before + HELD_BYTES_MAX);
    assert_eq!(early.farewell().await.map_or(0, |_| 1), 0, "there is no farewell for who has not said hello");
    drop(silent);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_of_any_kind_end_nothing_and_hold_nothing() {
    let world = World::start().await;
    let mut early = world.stranger().await;
    let datagrams = early.connection.datagrams().expect("QUIC has them");
    for _ in 0..1000 {
        datagrams.send(write_datagram(MessageType::GOSSIP_PACKET, b"before the hello"));
        early.beside(tokio::task::yield_now()).await;
    }
    let mut guest = world.guest().await;
    let datagrams = guest.connection.datagrams().expect("QUIC has them");
    let dropped_before = world.node.datagrams_dropped();
    for short in ["", "x"] {
        assert!(datagrams.send(Bytes::from_static(short.as_bytes())));
    }
    assert!(datagrams.send(write_datagram(MessageType(0xffff), b"of no type")));
    let dropped = async {
        while world.node.datagrams_dropped() < dropped_before + 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, guest.beside(dropped)).await.expect("they are counted");
    let before = MEMORY.current_usage();
    for _ in 0..200_000 {
        datagrams.send(Bytes::new());
        guest.beside(tokio::task::yield_now()).await;
    }
    let held = MEMORY.current_usage().saturating_sub(before);
    println!("MEASURED 200000 empty datagrams: {held} bytes held");
    assert!(held < HELD_BYTES_MAX, "{held} bytes are held");
    // It is a guest as before.
    guest.write(Lane::System, &frame(&Ping { token: 9 }, Lane::System)).await;
    let (head, _) = guest.next().await.expect("it lives");
    assert!(head.message_type == control_type::PONG || head.message_type == control_type::PING, "{head:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_behind_a_fence_that_is_never_passed_holds_a_window_and_ends_with_its_silence() {
    let world = World::start().await;
    let mut guest = world.guest().await;
    let before = MEMORY.current_usage();
    guest.write(Lane::System, &frame(&Fence { sent_bytes: vec![0, u64::MAX] }, Lane::System)).await;
    let pings = frame(&Ping { token: 1 }, Lane::System).repeat(50_000);
    let written = guest.write(Lane::System, &pings).await;
    assert!(written < pings.len(), "the node reads on");
    let held = MEMORY.current_usage().saturating_sub(before);
    println!("MEASURED frames behind a fence: {written} bytes taken, {held} bytes held");
    assert!(held < HELD_BYTES_MAX, "{held} bytes are held");
    world.wait_ended("silent", 1).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_no_replies_and_asks_on_without_credit_is_sent_away() {
    let world = World::start().await;
    let mut guest = world.guest().await;
    let before = MEMORY.current_usage();
    let mut asked = 0;
    for correlation in 1..4000_u64 {
        let request = flagged(&raw(8_000), Flags::default(), Lane::Bulk, correlation);
        let written = guest.write(Lane::Bulk, &request).await;
        if written < request.len() {
            break;
        }
        asked += 1;
    }
    let held = MEMORY.current_usage().saturating_sub(before);
    println!("MEASURED requests of 8,000 bytes whose replies nobody reads: {asked} taken, {held} bytes held");
    assert!(asked < 3999, "the node reads on for ever");
    assert!(held < 4 * HELD_BYTES_MAX, "{held} bytes are held");
    assert_eq!(guest.farewell().await, Some(CloseCode::Credit as u16));
    world.wait_ended("credit", 1).await;
    world.end().await;
}
