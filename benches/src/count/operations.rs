//! The operations that are counted. An operation touches no socket and no clock, so its counts repeat.
//!
//! A new one is a type that implements [`Operation`] and a line in [`OPERATIONS`].

use std::hint::black_box;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::measure::{Caller, payload};
use crate::peers::frame::{self, Kind};
use crate::peers::mux::MuxClient;
use crate::peers::serve_connection;
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
    Entry { name: "wire-frame-64b", build: || Err(Absent("not built yet")) },
    Entry { name: "floor-frame-64b", build: || Ok(Box::new(FloorFrame::new())) },
    Entry { name: "mux-request-64b", build: || Ok(Box::new(MuxRequest::new(1))) },
    Entry { name: "mux-request-64b-64-callers", build: || Ok(Box::new(MuxRequest::new(64))) },
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

/// A request of the multiplexing floor and its answer, client and server in one thread over a pipe in memory.
struct MuxRequest {
    runtime: tokio::runtime::Runtime,
    client: MuxClient,
    callers: u64,
}

impl MuxRequest {
    fn new(callers: u64) -> Self {
        let runtime = Runtime::CurrentThread.build().expect("invariant: a process may have one poller");
        let client = runtime.block_on(async {
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve_connection(far));
            MuxClient::over(near)
        });
        Self { runtime, client, callers }
    }
}

impl Operation for MuxRequest {
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
