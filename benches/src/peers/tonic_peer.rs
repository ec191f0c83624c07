//! tonic's clients: all calls over one bidirectional stream, or one unary call per request.
//!
//! The stream is the better way that gRPC offers for many small calls: it carries a correlation id of its own, a
//! channel feeds it, and one task completes the calls from its replies.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rdb_net_tls::Tls;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::measure::Caller;
use crate::peers::PeerError;
use crate::peers::tls::{self, TlsConnection};
use crate::peers::tonic_service::{
    CONNECTION_WINDOW_BYTES, Envelope, KIND_BARRIER, KIND_ECHO, KIND_ONE_WAY, STREAM_PATH, STREAM_WINDOW_BYTES,
    UNARY_PATH,
};

/// Messages between the callers and the stream.
const CHANNEL_MESSAGES: usize = 1024;

/// A client whose calls share one stream.
#[derive(Debug, Clone)]
pub struct StreamCaller {
    outgoing: mpsc::Sender<Envelope>,
    waiting: Arc<Mutex<Waiting>>,
    _receiver: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Calls without an answer, by correlation id; at most one per caller.
#[derive(Debug, Default)]
struct Waiting {
    next_id: u64,
    calls: HashMap<u64, oneshot::Sender<Bytes>>,
    lost: bool,
}

impl StreamCaller {
    /// Connects, inside TLS where there is one, and opens the stream.
    ///
    /// # Errors
    ///
    /// tonic's.
    pub async fn connect(address: SocketAddr, tls: Option<Tls>) -> Result<Self, PeerError> {
        let mut grpc = Grpc::new(channel(address, tls).await?);
        ready(&mut grpc).await?;
        let (outgoing, queue) = mpsc::channel(CHANNEL_MESSAGES);
        let codec = ProstCodec::<Envelope, Envelope>::default();
        let path = PathAndQuery::from_static(STREAM_PATH);
        let replies = grpc.streaming(Request::new(ReceiverStream::new(queue)), path, codec).await?.into_inner();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let receiver = tokio::spawn(complete_calls(replies, Arc::clone(&waiting)));
        Ok(Self { outgoing, waiting, _receiver: Arc::new(AbortOnDrop(receiver.abort_handle())) })
    }

    async fn request(&self, kind: u32, payload: Bytes) -> Result<Bytes, PeerError> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = lock(&self.waiting);
            if waiting.lost {
                return Err(PeerError::ConnectionLost("the stream ended"));
            }
            let id = waiting.next_id;
            waiting.next_id += 1;
            waiting.calls.insert(id, sender);
            id
        };
        self.queue(Envelope { id, kind, payload }).await?;
        receiver.await.map_err(|_| PeerError::ConnectionLost("the call had no answer"))
    }

    async fn queue(&self, envelope: Envelope) -> Result<(), PeerError> {
        self.outgoing.send(envelope).await.map_err(|_| PeerError::ConnectionLost("the stream ended"))
    }
}

impl Caller for StreamCaller {
    async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
        self.request(KIND_ECHO, payload).await
    }

    async fn send(&self, payload: Bytes) -> Result<(), PeerError> {
        self.queue(Envelope { id: 0, kind: KIND_ONE_WAY, payload }).await
    }

    async fn barrier(&self) -> Result<u64, PeerError> {
        let mut reply = self.request(KIND_BARRIER, Bytes::new()).await?;
        reply.try_get_u64().map_err(|_| PeerError::Protocol("a barrier without a count"))
    }
}

async fn complete_calls(mut replies: Streaming<Envelope>, waiting: Arc<Mutex<Waiting>>) {
    while let Some(Ok(reply)) = replies.next().await {
        let call = lock(&waiting).calls.remove(&reply.id);
        if let Some(sender) = call {
            // The caller may have given up.
            let _delivered = sender.send(reply.payload);
        }
    }
    let mut waiting = lock(&waiting);
    waiting.lost = true;
    // Dropping the senders tells every caller.
    waiting.calls.clear();
}

/// A client with one unary call per request.
#[derive(Debug, Clone)]
pub struct UnaryCaller(Channel);

impl UnaryCaller {
    /// Connects.
    ///
    /// # Errors
    ///
    /// tonic's.
    pub async fn connect(address: SocketAddr) -> Result<Self, PeerError> {
        Ok(Self(channel(address, None).await?))
    }
}

impl Caller for UnaryCaller {
    async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
        let mut grpc = Grpc::new(self.0.clone());
        ready(&mut grpc).await?;
        let request = Request::new(Envelope { id: 0, kind: KIND_ECHO, payload });
        let codec = ProstCodec::<Envelope, Envelope>::default();
        Ok(grpc.unary(request, PathAndQuery::from_static(UNARY_PATH), codec).await?.into_inner().payload)
    }

    async fn send(&self, _payload: Bytes) -> Result<(), PeerError> {
        Err(PeerError::NotOffered)
    }

    async fn barrier(&self) -> Result<u64, PeerError> {
        Err(PeerError::NotOffered)
    }
}

async fn channel(address: SocketAddr, tls: Option<Tls>) -> Result<Channel, PeerError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    match tls {
        None => Ok(endpoint.connect().await?),
        Some(tls) => Ok(endpoint.connect_with_connector(TlsDialer { tls, address }).await?),
    }
}

/// Connects inside TLS.
struct TlsDialer {
    tls: Tls,
    address: SocketAddr,
}

impl Service<Uri> for TlsDialer {
    type Response = TokioIo<TlsConnection>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<TokioIo<TlsConnection>>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let Self { tls, address } = self;
        let (tls, address) = (tls.clone(), *address);
        Box::pin(async move { Ok(TokioIo::new(tls::dial(&tls, address).await?)) })
    }
}

async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), PeerError> {
    Ok(grpc.ready().await?)
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
