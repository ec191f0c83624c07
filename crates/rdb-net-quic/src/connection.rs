//! A connection: a handshake that is complete, and its streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::{ConnectionError, VarInt};
use rdb_net_transport::{Connection, Datagrams, LaneStreams, PathProbe, Proof};
use rdb_net_types::Lane;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::datagrams::{QuicDatagrams, Received, throw_away};
use crate::error::verdict;
use crate::path::QuicPath;
use crate::refusals::{REFUSALS_OF_LOSS, Refusals};
use crate::streams::{StreamError, Streams};
use crate::wakes::{DATAGRAMS, REFUSALS, Wakes};

/// A connection.
pub(crate) struct QuicConnection {
    quic: quinn::Connection,
    streams: Streams,
    wakes: Wakes,
    received: Received,
    proof: Arc<Proof>,
    /// Of one that this node has made.
    refusals: Option<Arc<Refusals>>,
    /// This node has dialled, and nothing has come back yet.
    is_unanswered: bool,
    /// What is told the other side when it ends.
    close_code: VarInt,
}

impl QuicConnection {
    pub(crate) async fn dialed(
        quic: quinn::Connection,
        proof: Arc<Proof>,
        refusals: Arc<Refusals>,
    ) -> Result<Self, ConnectionError> {
        let streams = Streams::open(&quic).await?;
        Ok(Self::new(quic, streams, proof, Some(refusals)))
    }

    /// Ready when the other side has begun to speak.
    pub(crate) async fn accepted(quic: quinn::Connection, proof: Arc<Proof>) -> Result<Self, ConnectionError> {
        let streams = tokio::select! {
            streams = Streams::accept(&quic) => streams?,
            never = throw_away(&quic) => match never {},
        };
        Ok(Self::new(quic, streams, proof, None))
    }

    fn new(quic: quinn::Connection, streams: Streams, proof: Arc<Proof>, refusals: Option<Arc<Refusals>>) -> Self {
        let is_unanswered = refusals.is_some();
        Self {
            quic,
            streams,
            wakes: Wakes::default(),
            received: Received::default(),
            proof,
            refusals,
            is_unanswered,
            close_code: VarInt::from_u32(0),
        }
    }

    fn lost(&self, error: StreamError) -> io::Error {
        let error = match error {
            StreamError::Connection(error) if self.is_unanswered => verdict(error),
            error => return error.into(),
        };
        if error.kind() == io::ErrorKind::PermissionDenied {
            tracing::warn!(remote = %self.remote(), %error, "a peer does not let this node in");
        }
        error
    }

    /// Ready with an error where the system of the peer says that nobody is there any more.
    fn poll_refused(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(refusals) = &self.refusals else { return Poll::Pending };
        ready!(self.wakes.poll(REFUSALS, context, |context| refusals.poll(context, REFUSALS_OF_LOSS)));
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionReset, "nobody listens on the port any more"))
    }
}

impl LaneStreams for QuicConnection {
    fn poll_read(&mut self, lane: Lane, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.streams.poll_read(lane, &mut self.wakes, context, into) {
            // One look at it is enough.
            Poll::Pending if lane == Lane::System => self.poll_refused(context).map(Err),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.is_unanswered = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.lost(error))),
        }
    }

    fn poll_write(
        &mut self,
        lane: Lane,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.streams.poll_write(lane, &mut self.wakes, context, slices).map_err(|error| self.lost(error))
    }
}

impl Connection for QuicConnection {
    fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    fn proof(&self) -> Option<Arc<Proof>> {
        Some(Arc::clone(&self.proof))
    }

    fn datagrams(&self) -> Option<Arc<dyn Datagrams>> {
        Some(Arc::new(QuicDatagrams(self.quic.clone())))
    }

    fn poll_datagram(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let Self { quic, received, wakes, .. } = self;
        wakes.poll(DATAGRAMS, context, |context| received.poll_next(quic, context))
    }

    fn path_probe(&self) -> Option<Arc<dyn PathProbe>> {
        Some(Arc::new(QuicPath(self.quic.clone())))
    }

    fn tell_end(&mut self, code: u16) {
        self.close_code = VarInt::from_u32(code.into());
    }

    fn lanes(&mut self) -> Option<&mut dyn LaneStreams> {
        Some(self)
    }
}

impl Drop for QuicConnection {
    fn drop(&mut self) {
        self.quic.close(self.close_code, b"");
    }
}

/// As a stream it is that of its System lane.
impl AsyncRead for QuicConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        LaneStreams::poll_read(&mut *self, Lane::System, context, into)
    }
}

impl AsyncWrite for QuicConnection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        LaneStreams::poll_write(&mut *self, Lane::System, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the streams of all lanes.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.streams.poll_finish(context).map(Ok)
    }
}
