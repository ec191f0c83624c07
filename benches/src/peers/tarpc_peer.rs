//! tarpc over its serde transport: a service of three calls, as its macro makes it.
//!
//! Tuned as far as its interface allows: no delay on the socket, bytes as bytes and not as a list of numbers, and room for
//! every caller in its queues. The codec is postcard behind tarpc's own trait for codecs: bincode, which its manual uses, is
//! no longer maintained.
//!
//! It has no one-way messages. A call whose empty answer nobody awaits stands for one, as many at once as the window allows.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::server::{self, BaseChannel, Channel};
use tarpc::tokio_serde::{Deserializer, Serializer};
use tarpc::tokio_util::codec::{Framed, LengthDelimitedCodec};
use tarpc::{client, context, serde_transport};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;

use crate::measure::Caller;
use crate::peers::PeerError;
use crate::peers::frame::PAYLOAD_BYTES_MAX;

/// Calls that stand for one-way messages and are open at once.
const ONE_WAY_OPEN_MAX: u32 = 1024;
/// Bytes of such calls that are open at once.
const ONE_WAY_BYTES_MAX: usize = 8 << 20;
/// Calls that its queues hold.
const QUEUED_CALLS: usize = 4096;
/// Bytes that are gathered before a write must happen.
const WRITE_BYTES: usize = 256 << 10;
/// As long as the floors, which have no deadline at all, would wait in a race.
const TIMEOUT: Duration = Duration::from_secs(20);

#[tarpc::service]
trait Echo {
    async fn echo(payload: Bytes) -> Bytes;
    async fn count(payload: Bytes);
    async fn counted() -> u64;
}

/// One per connection, so it counts what came on it.
#[derive(Debug, Clone, Default)]
struct Service(Arc<AtomicU64>);

impl Echo for Service {
    async fn echo(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
    }

    async fn count(self, _: context::Context, _payload: Bytes) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    async fn counted(self, _: context::Context) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// postcard as a codec of tarpc's transport.
#[derive(Debug, Clone, Copy)]
struct Postcard;

impl<T: Serialize> Serializer<T> for Postcard {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, item: &T) -> Result<Bytes, io::Error> {
        postcard::to_allocvec(item).map(Bytes::from).map_err(io::Error::other)
    }
}

impl<T: DeserializeOwned> Deserializer<T> for Postcard {
    type Error = io::Error;

    fn deserialize(self: Pin<&mut Self>, bytes: &BytesMut) -> Result<T, io::Error> {
        postcard::from_bytes(bytes).map_err(io::Error::other)
    }
}

fn framed(stream: TcpStream) -> io::Result<Framed<TcpStream, LengthDelimitedCodec>> {
    stream.set_nodelay(true)?;
    let codec = LengthDelimitedCodec::builder().max_frame_length(PAYLOAD_BYTES_MAX + (1 << 10)).new_codec();
    let mut framed = Framed::with_capacity(stream, codec, WRITE_BYTES);
    framed.set_backpressure_boundary(WRITE_BYTES);
    Ok(framed)
}

/// Serves on the listener; ends only with an error of it.
///
/// # Errors
///
/// The listener's.
pub(crate) async fn serve_listener(listener: TcpListener) -> Result<(), PeerError> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let transport = serde_transport::new(framed(stream)?, Postcard);
        let channel = BaseChannel::new(server::Config { pending_response_buffer: QUEUED_CALLS }, transport);
        connections.spawn(async move {
            let mut calls = pin!(channel.execute(Service::default().serve()));
            while let Some(call) = calls.next().await {
                // As its manual does: one task a call. The connection's end cancels the calls.
                tokio::spawn(call);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// A client whose clones share one connection.
#[derive(Debug, Clone)]
pub struct TarpcCaller {
    client: EchoClient,
    /// A permit for each call that stands for a one-way message and is open.
    one_way: Arc<Semaphore>,
}

impl TarpcCaller {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub async fn connect(address: SocketAddr) -> Result<Self, PeerError> {
        let transport = serde_transport::new(framed(TcpStream::connect(address).await?)?, Postcard);
        let mut config = client::Config::default();
        (config.max_in_flight_requests, config.pending_request_buffer) = (QUEUED_CALLS, QUEUED_CALLS);
        let client = EchoClient::new(config, transport).spawn();
        Ok(Self { client, one_way: Arc::new(Semaphore::new(ONE_WAY_OPEN_MAX as usize)) })
    }
}

fn context() -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + TIMEOUT;
    context
}

/// How many permits a one-way message takes: large ones fill the window by their bytes.
fn permits(payload_bytes: usize) -> u32 {
    let share = payload_bytes * ONE_WAY_OPEN_MAX as usize / ONE_WAY_BYTES_MAX;
    u32::try_from(share).unwrap_or(u32::MAX).clamp(1, ONE_WAY_OPEN_MAX)
}

impl Caller for TarpcCaller {
    async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
        Ok(self.client.echo(context(), payload).await?)
    }

    async fn send(&self, payload: Bytes) -> Result<(), PeerError> {
        let closed = |_| PeerError::ConnectionLost("the window was closed");
        let window = Arc::clone(&self.one_way);
        let permit = window.acquire_many_owned(permits(payload.len())).await.map_err(closed)?;
        let (client, window) = (self.client.clone(), Arc::clone(&self.one_way));
        tokio::spawn(async move {
            if client.count(context(), payload).await.is_err() {
                // Whoever sends next learns it.
                window.close();
            }
            drop(permit);
        });
        Ok(())
    }

    async fn barrier(&self) -> Result<u64, PeerError> {
        let closed = |_| PeerError::ConnectionLost("the window was closed");
        let _all = self.one_way.acquire_many(ONE_WAY_OPEN_MAX).await.map_err(closed)?;
        Ok(self.client.counted(context()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_barrier_counts_every_call_that_stands_for_a_one_way_message() {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve_listener(listener));
        let client = TarpcCaller::connect(address).await.unwrap();
        let payload = Bytes::from(vec![3; 300_000]);
        assert_eq!(client.call(payload.clone()).await.unwrap(), payload);
        for _ in 0..100 {
            client.send(payload.clone()).await.unwrap();
        }
        assert_eq!(client.barrier().await.unwrap(), 100);
        server.abort();
    }

    #[test]
    fn a_large_message_takes_a_large_part_of_the_window() {
        assert_eq!((permits(64), permits(1 << 20), permits(64 << 20)), (1, 128, ONE_WAY_OPEN_MAX));
    }
}
