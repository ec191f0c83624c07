//! The gRPC service that tonic's two peers call, written by hand so that no protobuf compiler is needed.
//!
//! It is what generated code would be: one message, a unary and a bidirectional method, the prost codec. Windows are
//! raised to 4 MiB per stream and 8 MiB per connection; with the defaults a one-way race would measure window updates.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::peers::PeerError;
use crate::peers::tls::{Acceptor, TlsConnection};

/// HTTP/2 receive window of one stream.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// HTTP/2 receive window of one connection.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// The bidirectional method.
pub(crate) const STREAM_PATH: &str = "/race.Echo/Stream";
/// The unary method.
pub(crate) const UNARY_PATH: &str = "/race.Echo/Unary";

/// [`Envelope::kind`]: answer with the same message.
pub(crate) const KIND_ECHO: u32 = 0;
/// [`Envelope::kind`]: count it.
pub(crate) const KIND_ONE_WAY: u32 = 1;
/// [`Envelope::kind`]: answer with the count of one-way messages as eight big-endian bytes.
pub(crate) const KIND_BARRIER: u32 = 2;

/// The message of both methods.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Envelope {
    /// The correlation id on a shared stream; 0 in unary calls.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// What the server does with it.
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    /// The payload.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: Bytes,
}

/// Serves gRPC on the listener, inside TLS where there is an acceptor; ends only with an error.
///
/// # Errors
///
/// tonic's.
pub(crate) async fn serve_listener(listener: TcpListener, tls: Option<Acceptor>) -> Result<(), PeerError> {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    match tls {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            server.serve_with_incoming(EchoServer, incoming).await?;
        }
        Some(tls) => {
            let (accepted, incoming) = mpsc::channel(1);
            let accepting = tokio::spawn(accept(listener, tls, accepted));
            server.serve_with_incoming(EchoServer, ReceiverStream::new(incoming)).await?;
            accepting.abort();
        }
    }
    Ok(())
}

async fn accept(listener: TcpListener, tls: Acceptor, accepted: mpsc::Sender<std::io::Result<TlsConnection>>) {
    loop {
        let connection = async {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tls.accept(stream).await
        };
        if accepted.send(connection.await).await.is_err() {
            return;
        }
    }
}

/// Routes by path, as generated servers do.
#[derive(Debug, Clone)]
struct EchoServer;

impl Service<Request<Body>> for EchoServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut grpc = Grpc::new(ProstCodec::<Envelope, Envelope>::default());
        match request.uri().path() {
            STREAM_PATH => Box::pin(async move { Ok(grpc.streaming(StreamMethod, request).await) }),
            UNARY_PATH => Box::pin(async move { Ok(grpc.unary(UnaryMethod, request).await) }),
            _ => Box::pin(ready(Ok(Status::unimplemented("no such method").into_http()))),
        }
    }
}

struct UnaryMethod;

impl Service<tonic::Request<Envelope>> for UnaryMethod {
    type Response = tonic::Response<Envelope>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Envelope>) -> Self::Future {
        ready(Ok(tonic::Response::new(request.into_inner())))
    }
}

struct StreamMethod;

impl Service<tonic::Request<tonic::Streaming<Envelope>>> for StreamMethod {
    type Response = tonic::Response<Pin<Box<dyn Stream<Item = Result<Envelope, Status>> + Send>>>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<tonic::Streaming<Envelope>>) -> Self::Future {
        let mut counted = 0_u64;
        let replies = request.into_inner().filter_map(move |received| match received {
            Err(status) => Some(Err(status)),
            Ok(envelope) => answer(envelope, &mut counted).transpose(),
        });
        ready(Ok(tonic::Response::new(Box::pin(replies))))
    }
}

fn answer(envelope: Envelope, counted: &mut u64) -> Result<Option<Envelope>, Status> {
    match envelope.kind {
        KIND_ECHO => Ok(Some(envelope)),
        KIND_ONE_WAY => {
            *counted += 1;
            Ok(None)
        }
        KIND_BARRIER => Ok(Some(Envelope { payload: Bytes::copy_from_slice(&counted.to_be_bytes()), ..envelope })),
        _ => Err(Status::invalid_argument("unknown kind")),
    }
}
