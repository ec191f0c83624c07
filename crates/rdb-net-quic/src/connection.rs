//! A connection: a handshake that is complete, and its streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use rdb_net_transport::{Connection, PathProbe, Proof};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{io_error, verdict};
use crate::path::QuicPath;
use crate::refusals::{REFUSALS_OF_LOSS, Refusals};

/// How much is handed over to QUIC at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection with one stream in both directions.
pub(crate) struct QuicConnection {
    quic: quinn::Connection,
    send: SendStream,
    recv: RecvStream,
    proof: Arc<Proof>,
    /// Of one that this node has made.
    refusals: Option<Arc<Refusals>>,
    /// This node has dialled, and nothing has come back yet.
    is_unanswered: bool,
    /// What is told the other side when it ends.
    close_code: VarInt,
    /// The end of what was written, until the other side has all of it.
    finishing: Option<Stopped>,
}

impl QuicConnection {
    pub(crate) async fn dialed(
        quic: quinn::Connection,
        proof: Arc<Proof>,
        refusals: Arc<Refusals>,
    ) -> Result<Self, ConnectionError> {
        let (send, recv) = quic.open_bi().await?;
        Ok(Self::new(quic, (send, recv), proof, Some(refusals)))
    }

    /// Ready when the other side has begun to speak.
    pub(crate) async fn accepted(quic: quinn::Connection, proof: Arc<Proof>) -> Result<Self, ConnectionError> {
        let (send, recv) = quic.accept_bi().await?;
        Ok(Self::new(quic, (send, recv), proof, None))
    }

    fn new(
        quic: quinn::Connection,
        (send, recv): (SendStream, RecvStream),
        proof: Arc<Proof>,
        refusals: Option<Arc<Refusals>>,
    ) -> Self {
        let is_unanswered = refusals.is_some();
        Self { quic, send, recv, proof, refusals, is_unanswered, close_code: VarInt::from_u32(0), finishing: None }
    }

    fn lost(&self, error: ConnectionError) -> io::Error {
        if !self.is_unanswered {
            return io_error(error);
        }
        let error = verdict(error);
        if error.kind() == io::ErrorKind::PermissionDenied {
            tracing::warn!(remote = %self.remote(), %error, "a peer does not let this node in");
        }
        error
    }

    fn write_lost(&self, error: WriteError) -> io::Error {
        match error {
            WriteError::ConnectionLost(error) => self.lost(error),
            error => io::Error::new(io::ErrorKind::ConnectionReset, error),
        }
    }

    /// Ready with an error where the system of the peer says that nobody is there any more.
    fn poll_refused(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(refusals) = &self.refusals else { return Poll::Pending };
        ready!(refusals.poll(context, REFUSALS_OF_LOSS));
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionReset, "nobody listens on the port any more"))
    }
}

impl Connection for QuicConnection {
    fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    fn proof(&self) -> Option<Arc<Proof>> {
        Some(Arc::clone(&self.proof))
    }

    fn path_probe(&self) -> Option<Arc<dyn PathProbe>> {
        Some(Arc::new(QuicPath(self.quic.clone())))
    }

    fn tell_end(&mut self, code: u16) {
        self.close_code = VarInt::from_u32(code.into());
    }
}

impl Drop for QuicConnection {
    fn drop(&mut self) {
        self.quic.close(self.close_code, b"");
    }
}

impl AsyncRead for QuicConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Poll::Ready(read) = this.recv.poll_read_buf(context, into) else {
            return this.poll_refused(context).map(Err);
        };
        match read {
            Ok(()) => {
                this.is_unanswered = false;
                Poll::Ready(Ok(()))
            }
            Err(ReadError::ConnectionLost(error)) => Poll::Ready(Err(this.lost(error))),
            // A stream that is taken back takes the connection with it.
            Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error))),
        }
    }
}

impl AsyncWrite for QuicConnection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    /// Copies once: QUIC keeps what it may have to send again.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut chunks = [gathered(slices)];
        let written = {
            // It keeps nothing between two polls.
            let mut write = std::pin::pin!(this.send.write_chunks(&mut chunks));
            ready!(write.as_mut().poll(context))
        };
        Poll::Ready(written.map(|written| written.bytes).map_err(|error| this.write_lost(error)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ready when the other side has everything that was written: what is still on its way when a connection closes is lost.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.finishing.is_none() {
            // One that was stopped has nothing to end.
            let _finished = this.send.finish();
            let stopped = this.send.stopped();
            this.finishing = Some(Box::pin(async move { drop(stopped.await) }));
        }
        if let Some(finishing) = &mut this.finishing {
            ready!(finishing.as_mut().poll(context));
        }
        Poll::Ready(Ok(()))
    }
}

/// Slices in one piece, as much of them as is written at once.
fn gathered(slices: &[io::IoSlice<'_>]) -> Bytes {
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut gathered = BytesMut::with_capacity(bytes.min(WRITE_BYTES_MAX));
    for slice in slices {
        let room = WRITE_BYTES_MAX - gathered.len();
        gathered.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    gathered.freeze()
}
