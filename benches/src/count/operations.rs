//! The operations that are counted. An operation touches no socket and no clock, so its counts repeat.
//!
//! A new one is a type that implements [`Operation`] and a line in [`OPERATIONS`].

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use rdb_net_transport::Transport;
use rdb_net_types::{Lane, MessageType, Payload};
use rdb_net_wire::{Flags, FrameBuffer, FrameHead, Raw, decode_frame};
use tokio::task::JoinSet;

use crate::count::memory::MemoryBackend;
use crate::measure::{Caller, payload};
use crate::peers::frame::{self, Kind};
use crate::peers::mux::MuxClient;
use crate::peers::{ours, serve_connection};
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
    Entry { name: "wire-frame-64b", build: || Ok(Box::new(WireFrame::new())) },
    Entry { name: "ours-request-64b", build: || Ok(Box::new(Requests::ours(1)?)) },
    Entry { name: "ours-request-64b-64-callers", build: || Ok(Box::new(Requests::ours(64)?)) },
    Entry { name: "ours-one-way-64b", build: || Ok(Box::new(OneWay::ours()?)) },
    Entry { name: "floor-frame-64b", build: || Ok(Box::new(FloorFrame::new())) },
    Entry { name: "mux-request-64b", build: || Ok(Box::new(Requests::mux(1))) },
    Entry { name: "mux-request-64b-64-callers", build: || Ok(Box::new(Requests::mux(64))) },
];

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

/// Encoding, sealing and decoding of one frame of this workspace, checksum included.
struct WireFrame {
    message: Raw,
    buffer: FrameBuffer,
}

impl WireFrame {
    fn new() -> Self {
        let message = Raw { message_type: MessageType(0x8000), payload: Payload::from(payload(Workload::W1)) };
        Self { message, buffer: FrameBuffer::new() }
    }
}

impl Operation for WireFrame {
    fn run(&mut self, count: u64) {
        for correlation in 0..count {
            self.buffer.clear();
            let flags = Flags::CHECKSUM;
            let head = FrameHead { message_type: MessageType(0x8000), flags, lane: Lane::Interactive, correlation };
            let mark =
                self.buffer.push(head, black_box(&self.message), 1 << 16).expect("invariant: the frame is small");
            self.buffer.seal(&mark, 1);
            let mut seen = [std::io::IoSlice::new(&[])];
            self.buffer.io_slices(0, &mut seen);
            black_box(decode_frame(black_box(&seen[0]), true).expect("invariant: the frame was just sealed"));
        }
    }
}

/// Requests and their answers, client and server in one thread over a pipe in memory.
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
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve_connection(far));
            MuxClient::over(near)
        });
        Self { runtime, client, callers, _server: None }
    }
}

impl Requests<()> {
    fn ours(callers: u64) -> Result<Requests<impl Caller>, Absent> {
        let runtime = Runtime::CurrentThread.build().expect("invariant: a process may have one poller");
        let made = runtime.block_on(ours::over(Arc::new(MemoryBackend::new())));
        let (client, server) = made.map_err(|_| Absent("the transports did not start"))?;
        Ok(Requests { runtime, client, callers, _server: Some(server) })
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
