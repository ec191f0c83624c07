//! The operations that are counted. An operation touches no socket and no clock, so its counts repeat; but for those over QUIC,
//! which is a socket's protocol: their counts repeat within a few of a hundred, without what the kernel does.
//!
//! A new one is a type that implements [`Operation`] and a line in [`OPERATIONS`].

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use rdb_net_session::Config as SessionConfig;
use rdb_net_tls::Tls;
use rdb_net_transport::Transport;
use rdb_net_types::{Lane, MessageType, Payload, ReplicationAck};
use rdb_net_wire::{Body, Encode, Flags, FrameBuffer, FrameHead, Message, Raw, decode_frame};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::certificates::{self, Certificates};
use crate::measure::{Caller, payload};
use crate::peers::frame::{self, Kind};
use crate::peers::mux::MuxClient;
use crate::peers::ours::{self, OursCaller};
use crate::peers::quinn_peer::{self, Packets, Streams};
use crate::peers::serve_connection;
use crate::pipe::PipeNetwork;
use crate::workload::{Runtime, Workload};

/// Something that can be done any number of times.
pub trait Operation {
    /// Does it `count` times.
    fn run(&mut self, count: u64);
}

/// Why an operation cannot be counted in this build.
#[derive(Debug, thiserror::Error)]
#[error("absent: {0}")]
pub struct Absent(pub &'static str);

/// A named operation.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name used on the command line and in reports.
    pub name: &'static str,
    /// Prepares it.
    pub build: fn() -> Result<Box<dyn Operation>, Absent>,
}

/// All operations.
pub const OPERATIONS: &[Entry] = &[
    Entry { name: "wire-frame-64b", build: || Ok(Box::new(WireFrame::opaque())) },
    Entry { name: "wire-frame-typed", build: || Ok(Box::new(WireFrame::typed())) },
    Entry { name: "ours-request-64b", build: || Ok(Box::new(Requests::ours(1)?)) },
    Entry { name: "ours-request-64b-64-callers", build: || Ok(Box::new(Requests::ours(64)?)) },
    Entry { name: "ours-one-way-64b", build: || Ok(Box::new(OneWay::ours()?)) },
    Entry { name: "floor-frame-64b", build: || Ok(Box::new(FloorFrame::new())) },
    Entry { name: "mux-request-64b", build: || Ok(Box::new(Requests::mux(1))) },
    Entry { name: "mux-request-64b-64-callers", build: || Ok(Box::new(Requests::mux(64))) },
    Entry { name: "ours-quic-request-64b", build: || Ok(Box::new(Requests::ours_quic(1)?)) },
    Entry { name: "ours-quic-request-64b-64-callers", build: || Ok(Box::new(Requests::ours_quic(64)?)) },
    Entry { name: "quinn-mux-request-64b", build: || Ok(Box::new(Requests::quinn_mux(1)?)) },
    Entry { name: "quinn-mux-request-64b-64-callers", build: || Ok(Box::new(Requests::quinn_mux(64)?)) },
];

/// The operation of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    OPERATIONS.iter().find(|entry| entry.name == name)
}

const PIPE_BYTES: usize = 64 << 10;

/// Encoding and decoding of one frame of the floors.
struct FloorFrame {
    payload: Bytes,
    buffer: Vec<u8>,
}

impl FloorFrame {
    fn new() -> Self {
        Self { payload: payload(Workload::W1), buffer: Vec::with_capacity(1 << 10) }
    }
}

impl Operation for FloorFrame {
    fn run(&mut self, count: u64) {
        for id in 0..count {
            self.buffer.clear();
            frame::encode(Kind::Echo, id as u32, black_box(&self.payload), &mut self.buffer);
            black_box(frame::split(black_box(&self.buffer)).expect("invariant: the frame was just encoded"));
        }
    }
}

/// Encoding and sealing one frame of this workspace, and reading one like it, both with the checksum.
struct WireFrame<M> {
    message: M,
    buffer: FrameBuffer,
    /// The frame as it would arrive.
    arrived: Bytes,
    /// Reads the body back.
    read: fn(Body),
}

impl WireFrame<Raw> {
    /// 64 opaque bytes.
    fn opaque() -> Self {
        let payload = Payload::from(payload(Workload::W1));
        Self::new(Raw { message_type: MessageType(0x8000), payload }, |body| drop(black_box(body.into_payload())))
    }
}

impl WireFrame<ReplicationAck> {
    /// The largest message of plain fields: a frame of 68 bytes. Messages with text or lists allocate what they hold.
    fn typed() -> Self {
        let message =
            ReplicationAck { log_id: u64::MAX, epoch: u64::MAX - 1, durable_index: u64::MAX - 2, accepted: true };
        Self::new(message, |body| {
            black_box(ReplicationAck::decode(&body).expect("invariant: the message was just encoded"));
        })
    }
}

impl<M: Encode> WireFrame<M> {
    fn new(message: M, read: fn(Body)) -> Self {
        let mut frame = Self { message, buffer: FrameBuffer::new(), arrived: Bytes::new(), read };
        frame.write(7);
        frame.arrived = frame.buffer.to_vec().into();
        // The first share of bytes allocates their count; it is not the frame's.
        drop(frame.arrived.clone());
        frame
    }

    fn write(&mut self, correlation: u64) {
        self.buffer.clear();
        let message_type = self.message.message_type();
        let head = FrameHead { message_type, flags: Flags::CHECKSUM, lane: Lane::Interactive, correlation };
        let mark = self.buffer.push(head, black_box(&self.message), 1 << 16).expect("invariant: the frame is small");
        self.buffer.seal(&mark, 1);
    }
}

impl<M: Encode> Operation for WireFrame<M> {
    fn run(&mut self, count: u64) {
        for correlation in 0..count {
            self.write(correlation);
            black_box(&self.buffer);
            let arrived = black_box(&self.arrived);
            let frame = decode_frame(arrived, true).expect("invariant: the frame was just sealed");
            (self.read)(Body::of(&frame, arrived));
        }
    }
}

/// Requests and their answers, client and server in one thread, over a pipe in memory or over QUIC on loopback.
struct Requests<C> {
    runtime: tokio::runtime::Runtime,
    client: C,
    callers: u64,
    /// What must live as long as the client.
    _server: Option<Transport>,
}

impl Requests<MuxClient> {
    fn mux(callers: u64) -> Self {
        let runtime = Runtime::CurrentThread.build().expect("invariant: a process may have one poller");
        let client = runtime.block_on(async {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            tokio::spawn(serve_connection(far));
            MuxClient::over(near)
        });
        Self { runtime, client, callers, _server: None }
    }
}

impl Requests<()> {
    fn ours(callers: u64) -> Result<Requests<impl Caller>, Absent> {
        let runtime = Runtime::CurrentThread.build().expect("invariant: a process may have one poller");
        let made = runtime.block_on(ours::over(Arc::new(PipeNetwork::new(PIPE_BYTES))));
        let (client, server) = made.map_err(|_| Absent("the transports did not start"))?;
        Ok(Requests { runtime, client, callers, _server: Some(server) })
    }
}

/// What both ends over QUIC show each other.
const NO_CERTIFICATES: Absent = Absent("certificates could not be minted");

impl Requests<()> {
    fn ours_quic(callers: u64) -> Result<Requests<impl Caller>, Absent> {
        Self::over_quic(callers, async |[server, client]| {
            let (announce, address) = oneshot::channel();
            tokio::spawn(ours::serve(SessionConfig::default(), ours::quic_backend(server), |address| {
                let _waiting = announce.send(address);
            }));
            let address = address.await.map_err(|_| Absent("the server did not start"))?;
            Ok(OursCaller::connect(SessionConfig::default(), ours::quic_backend(client), address, Workload::W2))
        })
    }

    fn quinn_mux(callers: u64) -> Result<Requests<impl Caller>, Absent> {
        Self::over_quic(callers, async |[server, client]| {
            let (announce, address) = oneshot::channel();
            tokio::spawn(async move {
                quinn_peer::serve(&server, Streams::One, Packets::Quinns, |address| {
                    let _waiting = announce.send(address);
                })
                .await
            });
            let address = address.await.map_err(|_| Absent("the server did not start"))?;
            let connected = quinn_peer::connect_mux(&client, Packets::Quinns, address).await;
            connected.map_err(|_| Absent("the server did not answer"))
        })
    }

    /// With a client that is made with a server beside it.
    fn over_quic<C: Caller>(
        callers: u64,
        connect: impl AsyncFnOnce([Tls; 2]) -> Result<C, Absent>,
    ) -> Result<Requests<C>, Absent> {
        let names = ["server", "client"];
        let minted = Certificates::mint(names.map(str::to_owned)).map_err(|_| NO_CERTIFICATES)?;
        let [server, client] = names.map(|name| certificates::load(Some(minted.dir()), name));
        let pair = [server.map_err(|_| NO_CERTIFICATES)?, client.map_err(|_| NO_CERTIFICATES)?];
        let runtime = Runtime::CurrentThread.build().expect("invariant: a process may have one poller");
        let client = runtime.block_on(connect(pair))?;
        Ok(Requests { runtime, client, callers, _server: None })
    }
}

impl<C: Caller> Operation for Requests<C> {
    fn run(&mut self, count: u64) {
        let payload = payload(Workload::W2);
        self.runtime.block_on(async {
            let mut callers = JoinSet::new();
            for _ in 0..self.callers {
                let (client, payload, calls) = (self.client.clone(), payload.clone(), count / self.callers);
                callers.spawn(async move {
                    for _ in 0..calls {
                        let reply = client.call(payload.clone()).await.expect("invariant: the pipe stays open");
                        black_box(reply);
                    }
                });
            }
            callers.join_all().await;
        });
    }
}

/// One-way messages from one sender, and a barrier at the end.
struct OneWay<C>(Requests<C>);

impl OneWay<()> {
    fn ours() -> Result<OneWay<impl Caller>, Absent> {
        Requests::ours(1).map(OneWay)
    }
}

impl<C: Caller> Operation for OneWay<C> {
    fn run(&mut self, count: u64) {
        let payload = payload(Workload::W4);
        self.0.runtime.block_on(async {
            for _ in 0..count {
                self.0.client.send(payload.clone()).await.expect("invariant: the pipe stays open");
            }
            black_box(self.0.client.barrier().await.expect("invariant: the pipe stays open"));
        });
    }
}
