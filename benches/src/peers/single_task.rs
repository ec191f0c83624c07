//! The floor: one task owns the whole window of requests on one connection.
//!
//! It sends every request that the window allows in one write, reads what is there, and reads the clock once per
//! batch. This is what the operating system and tokio cost without any interface on top.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;

use crate::measure::{Outcome, Recorder, Run, payload};
use crate::peers::PeerError;
use crate::peers::frame::{self, HEADER_BYTES, Header, Kind};
use crate::peers::pump::{Outbox, Progress, handled, pump};
use crate::workload::Pattern;

/// One-way bytes that are gathered for one write.
const BATCH_BYTES: usize = 64 << 10;

/// Connects and makes the traffic of `run` from this task alone.
///
/// # Errors
///
/// The stream's, or [`PeerError::Protocol`] when the server answers something else.
pub async fn drive(address: SocketAddr, run: &Run) -> Result<Outcome, PeerError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut connection = Connection { stream, inbox: BytesMut::new(), outbox: Outbox::default() };
    match run.workload.pattern() {
        Pattern::Echo => connection.echo(run).await,
        Pattern::OneWay => connection.one_way(run).await,
    }
}

struct Connection {
    stream: TcpStream,
    inbox: BytesMut,
    outbox: Outbox,
}

impl Connection {
    async fn echo(&mut self, run: &Run) -> Result<Outcome, PeerError> {
        let payload = payload(run.workload);
        let callers = u32::try_from(run.workload.callers()).expect("invariant: windows are small");
        let (window, closing) = run.open_window()?;
        let mut recorder = Recorder::new(window, 1);
        // Answers keep the order of requests, so request `id` owns slot `id % callers`.
        let mut started = vec![window.start; callers as usize];
        let (mut sent, mut answered) = (0_u32, 0_u32);
        let mut now = Instant::now();
        while now < window.end {
            while sent.wrapping_sub(answered) < callers {
                frame::encode(Kind::Echo, sent, &payload, &mut self.outbox.bytes);
                started[(sent % callers) as usize] = now;
                sent = sent.wrapping_add(1);
            }
            self.pump().await?;
            now = Instant::now();
            self.each_frame(|header, reply| {
                if header.id != answered || reply.len() != payload.len() {
                    return Err(PeerError::Protocol("an answer that belongs to no request"));
                }
                recorder.record(started[(answered % callers) as usize], now);
                answered = answered.wrapping_add(1);
                Ok(())
            })?;
        }
        Ok(window.close(closing, &recorder))
    }

    async fn one_way(&mut self, run: &Run) -> Result<Outcome, PeerError> {
        let payload = payload(run.workload);
        self.send_until(&payload, Instant::now() + run.warm_up).await?;
        let delivered_before = self.barrier().await?;
        let started = Instant::now();
        run.marks.started();
        self.send_until(&payload, started + run.length).await?;
        let delivered = self.barrier().await?;
        let seconds = started.elapsed().as_secs_f64();
        run.marks.ended();
        Ok(Outcome { operations: delivered - delivered_before, seconds, latency: None })
    }

    async fn send_until(&mut self, payload: &[u8], end: Instant) -> Result<(), PeerError> {
        while Instant::now() < end {
            while self.outbox.bytes.len() < BATCH_BYTES {
                frame::encode(Kind::OneWay, 0, payload, &mut self.outbox.bytes);
            }
            while self.outbox.waiting_bytes() > 0 {
                self.pump().await?;
            }
        }
        Ok(())
    }

    async fn barrier(&mut self) -> Result<u64, PeerError> {
        frame::encode(Kind::Barrier, 0, &[], &mut self.outbox.bytes);
        let mut counted = None;
        while counted.is_none() {
            self.pump().await?;
            self.each_frame(|_, mut reply| {
                counted = Some(reply.try_get_u64().map_err(|_| PeerError::Protocol("a barrier without a count"))?);
                Ok(())
            })?;
        }
        counted.ok_or(PeerError::Protocol("a barrier without an answer"))
    }

    async fn pump(&mut self) -> Result<(), PeerError> {
        match pump(&mut self.stream, &mut self.inbox, &mut self.outbox).await? {
            Progress::Moved => Ok(()),
            Progress::Closed => Err(PeerError::ConnectionLost("the server closed it")),
        }
    }

    fn each_frame(&mut self, mut handle: impl FnMut(Header, &[u8]) -> Result<(), PeerError>) -> Result<(), PeerError> {
        let mut read = 0;
        while let Some((header, payload)) = frame::split(&self.inbox[read..])? {
            handle(header, payload)?;
            read += HEADER_BYTES + header.payload_bytes;
        }
        handled(&mut self.inbox, read);
        Ok(())
    }
}
