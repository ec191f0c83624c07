//! How often the bytes of a large message are copied by us on their way.
//!
//! Both sides' connections are watched over loopback. On the sender, the bytes that are given to the socket lie either in the
//! payload's own memory or in memory that they were copied to. On the receiver, the pieces that the handler gets lie either
//! where a read put them, or where they were moved to. What the kernel copies is not counted, and neither are the two passes
//! that read each byte once and write none: the checksum's at the sender, and the checksum's at the receiver.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use rdb_net_session::Config as SessionConfig;
use rdb_net_tcp::{TcpBackend, TcpConfig};
use rdb_net_transport::{
    Answer, Arrival, Backend, CallOptions, Connection, DialError, HandlerOptions, Handling, LaneStreams, ListenError,
    Listener, Request, Transport,
};
use rdb_net_types::{BoxFuture, Lane, NodeAddress, NodeId, Payload};
use rdb_net_wire::{Encode, Raw};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::peers::PeerError;
use crate::peers::ours::{Attached, COUNT, config, large_frames};
use crate::probe::Reading;

const MESSAGES: usize = 48;
const MESSAGE_BYTES: usize = 1 << 20;

pub(crate) async fn measure() -> Result<Vec<Reading>, PeerError> {
    let payload = Payload::from(Bytes::from(vec![9; MESSAGE_BYTES]));
    let mut readings = Vec::new();
    for (limits, name) in [(SessionConfig::default(), ""), (large_frames(), "-1mib-frames")] {
        let attached = copies(limits.clone(), &payload, &Attached(payload.clone())).await?;
        readings.push(Reading::new(&format!("copies-sender{name}"), attached.sender));
        readings.push(Reading::new(&format!("copies-receiver{name}"), attached.receiver));
        let opaque = copies(limits, &payload, &Raw { message_type: COUNT, payload: payload.clone() }).await?;
        readings.push(Reading::new(&format!("copies-receiver-opaque{name}"), opaque.receiver));
    }
    Ok(readings)
}

/// Bytes that we copied per byte of payload.
#[derive(Debug, Clone, Copy)]
struct Copies {
    sender: f64,
    receiver: f64,
}

/// Sends the message, whose body is the payload, some times, one after the other, to a handler that keeps what it gets.
async fn copies(limits: SessionConfig, payload: &Payload, message: &(impl Encode + Sync)) -> Result<Copies, PeerError> {
    let pieces = payload.pieces().iter().map(|piece| span(piece)).collect();
    let (sending, receiving) = (Arc::new(Watch::of(pieces)), Arc::new(Watch::of(Vec::new())));
    let bind = "127.0.0.1:0".parse().expect("the address is legal");
    let server = Transport::new(config("server", Some(bind), limits.clone()), backend(&receiving));
    let kept = Arc::new(Kept { watch: Arc::clone(&receiving), state: Mutex::default() });
    let keeper = Arc::clone(&kept);
    let keep = move |_: &NodeId, request: Request| {
        keeper.keep(request.into_payload());
        Handling::Ready(Ok(Answer::Empty))
    };
    server.handle(COUNT, Arc::new(keep), HandlerOptions::default());
    server.start().await.map_err(|error| PeerError::Io(error.source))?;
    let address = server.local_address().ok_or(PeerError::Protocol("the server does not listen"))?;
    let client = Transport::new(config("client", None, limits), backend(&sending));
    let peer = client.peer(&NodeId::new("server").expect("the name is legal"), &NodeAddress::from(address));
    for _ in 0..MESSAGES {
        let options = CallOptions { lane: Some(Lane::Bulk), ..CallOptions::default() };
        // A request whose answer is empty: the next message begins when this one was taken.
        let answered = peer.request(message, options).await;
        answered.map_err(|_| PeerError::ConnectionLost("a message was not taken"))?;
    }
    let total = (MESSAGES * payload.len()) as f64;
    let (shared, in_place) = (sending.shared_bytes.load(Ordering::Relaxed), kept.lock().in_place_bytes);
    Ok(Copies { sender: 1.0 - shared as f64 / total, receiver: 1.0 - in_place as f64 / total })
}

fn backend(watch: &Arc<Watch>) -> Arc<dyn Backend> {
    Arc::new(Watched { inner: TcpBackend::new(TcpConfig::default()), watch: Arc::clone(watch) })
}

/// Where bytes lie.
fn span(bytes: &[u8]) -> Range<usize> {
    let range = bytes.as_ptr_range();
    range.start.addr()..range.end.addr()
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> usize {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// What one side's connections do with memory.
#[derive(Debug)]
struct Watch {
    /// The payload's own memory.
    payload: Vec<Range<usize>>,
    /// Bytes of it that were given to the socket and taken.
    shared_bytes: AtomicU64,
    /// Where reads put bytes: the memory, and how many bytes of the stream were before it.
    reads: Mutex<Vec<(Range<usize>, u64)>>,
}

impl Watch {
    fn of(payload: Vec<Range<usize>>) -> Self {
        Self { payload, shared_bytes: AtomicU64::new(0), reads: Mutex::default() }
    }

    fn wrote<'a>(&self, slices: impl Iterator<Item = &'a [u8]>, mut taken: usize) {
        for slice in slices {
            let slice = span(&slice[..slice.len().min(taken)]);
            taken -= slice.len();
            let shared: usize = self.payload.iter().map(|piece| overlap(piece, &slice)).sum();
            self.shared_bytes.fetch_add(shared as u64, Ordering::Relaxed);
        }
    }

    fn read(&self, bytes: &[u8]) {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let before = reads.last().map_or(0, |(range, before)| before + range.len() as u64);
        reads.push((span(bytes), before));
    }
}

/// Keeps what a handler got, so that its memory is not used again while places are compared.
#[derive(Debug)]
struct Kept {
    watch: Arc<Watch>,
    state: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    payloads: Vec<Payload>,
    in_place_bytes: usize,
    /// How far in the stream the bytes lay that were found last. Memory that was used before holds older bytes, which do not
    /// count for those that were moved there.
    reached: u64,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, payload: Payload) {
        let reads = self.watch.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = self.lock();
        for piece in payload.pieces().iter().map(|piece| span(piece)) {
            let (reached, mut found) = (places.reached, 0);
            for (range, offset) in reads.iter().filter(|(_, offset)| offset + 1 >= reached) {
                let common = overlap(range, &piece);
                if common > 0 {
                    places.reached = places.reached.max(offset + 1);
                }
                found += common;
            }
            places.in_place_bytes += found.min(piece.len());
        }
        places.payloads.push(payload);
    }
}

/// Dials and accepts watched connections.
struct Watched<B> {
    inner: B,
    watch: Arc<Watch>,
}

impl<B: Backend> Backend for Watched<B> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let inner = self.inner.dial(address).await?;
            Ok(Box::new(Watched { inner, watch: Arc::clone(&self.watch) }) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let inner = self.inner.listen(address).await?;
            Ok(Box::new(Watched { inner, watch: Arc::clone(&self.watch) }) as Box<dyn Listener>)
        })
    }
}

impl Listener for Watched<Box<dyn Listener>> {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let inner = self.inner.accept().await?;
            let watch = Arc::clone(&self.watch);
            let remote = inner.remote();
            let established =
                async move { Ok(Box::new(Watched { inner: inner.establish().await?, watch }) as Box<dyn Connection>) };
            Ok(Arrival::new(remote, established))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.inner.local_address()
    }
}

impl Connection for Watched<Box<dyn Connection>> {
    fn remote(&self) -> SocketAddr {
        self.inner.remote()
    }

    fn lanes(&mut self) -> Option<&mut dyn LaneStreams> {
        self.inner.lanes()
    }
}

impl AsyncRead for Watched<Box<dyn Connection>> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.watch.read(&buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Watched<Box<dyn Connection>> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut *self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = wrote {
            self.watch.wrote(std::iter::once(buf), count);
        }
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut *self.inner).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(count)) = wrote {
            self.watch.wrote(slices.iter().map(|slice| &**slice), count);
        }
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attachment_is_given_to_the_socket_from_its_own_memory() {
        let payload = Payload::from(Bytes::from(vec![9; MESSAGE_BYTES]));
        let copies = copies(SessionConfig::default(), &payload, &Attached(payload.clone())).await.unwrap();
        // What does not fill a frame at the end of a message is small enough to be copied into the frames' buffer.
        assert!((0.0..0.001).contains(&copies.sender), "{copies:?}");
        // A frame that begins at the end of a read buffer is moved to the next one, with what came of it.
        assert!((0.0..0.5).contains(&copies.receiver), "{copies:?}");
    }

    #[tokio::test]
    async fn a_copy_is_seen() {
        // Pieces of up to 4 KiB are copied into the frames' buffer, since a slice of their own costs more.
        let payload: Payload = (0..64).map(|_| Bytes::from(vec![9; 4096])).collect();
        let copies = copies(SessionConfig::default(), &payload, &Attached(payload.clone())).await.unwrap();
        assert!((copies.sender - 1.0).abs() < 1e-9, "{copies:?}");
    }
}
