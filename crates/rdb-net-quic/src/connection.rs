//! A connection, as the transport has it: the streams of its lanes, and packets beside them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn_proto::{ConnectionError, VarInt};
use rdb_net_tls::{Handed, HandedFailure, TlsRefusal};
use rdb_net_transport::{Connection, Datagrams, LaneStreams, PathProbe, Proof};
use rdb_net_types::Lane;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use crate::crypto;
use crate::datagrams::QuicDatagrams;
use crate::engine::{Engine, Lost};
use crate::error::{io_error, verdict};
use crate::path::QuicPath;
use crate::streams::{StreamError, Streams};

/// A connection. Dropped, it ends, and the other side is told.
pub(crate) struct QuicConnection {
    /// There until it is dropped.
    engine: Option<Box<Engine>>,
    streams: Streams,
    proof: Option<Arc<Proof>>,
    is_dialed: bool,
    /// Something has come back since this node has dialled.
    is_answered: bool,
    /// What is told the other side when it ends.
    close_code: VarInt,
    runtime: Handle,
}

/// What cannot be.
fn gone() -> Lost {
    Lost::Ended(ConnectionError::LocallyClosed)
}

impl QuicConnection {
    /// One that this node makes.
    pub(crate) fn dialed(engine: Engine) -> Self {
        Self::new(engine, true)
    }

    /// One that the other side makes.
    pub(crate) fn accepted(engine: Engine) -> Self {
        Self::new(engine, false)
    }

    fn new(engine: Engine, is_dialed: bool) -> Self {
        Self {
            engine: Some(Box::new(engine)),
            streams: Streams::default(),
            proof: None,
            is_dialed,
            is_answered: false,
            close_code: VarInt::from_u32(0),
            runtime: Handle::current(),
        }
    }

    /// Moves packets until this is there or the connection is lost.
    async fn until(&mut self, mut is_there: impl FnMut(&mut Engine, &mut Streams) -> bool) -> Result<(), Lost> {
        std::future::poll_fn(|context| {
            let Some(engine) = &mut self.engine else { return Poll::Ready(Err(gone())) };
            engine.begin_pass(context);
            let is_there = is_there(engine, &mut self.streams);
            engine.end_pass(context);
            match engine.lost() {
                Some(lost) => Poll::Ready(Err(lost.clone())),
                None if is_there => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Ready when the handshake is complete.
    pub(crate) async fn connected(&mut self) -> Result<(), Lost> {
        self.until(|engine, _| engine.is_connected()).await
    }

    /// Finds out who is at the other end, when the handshake is complete.
    pub(crate) fn prove(&mut self, handed: Handed) -> Result<(), TlsRefusal> {
        let Some(engine) = &self.engine else { return Err(handed.failed(HandedFailure::Closed)) };
        self.proof = Some(crypto::proof(engine.known(), handed)?);
        Ok(())
    }

    /// Opens the streams of all lanes. Returns whether the other side allows as many.
    pub(crate) fn open(&mut self) -> bool {
        self.engine.as_deref_mut().is_some_and(|engine| self.streams.open(engine))
    }

    /// Ready when the other side has begun to speak. What comes beside the streams before is thrown away: without content it would
    /// wait without a bound.
    pub(crate) async fn begun(&mut self) -> Result<(), Lost> {
        self.until(|engine, streams| {
            while engine.receive_datagram().is_some() {}
            streams.accept(engine);
            streams.has(Lane::System)
        })
        .await
    }

    fn error(&self, error: StreamError) -> io::Error {
        let error = match error {
            StreamError::Connection(Lost::Refused) => {
                io::Error::new(io::ErrorKind::ConnectionReset, "nobody listens on the port any more")
            }
            StreamError::Connection(Lost::Ended(error)) if self.is_dialed && !self.is_answered => verdict(error),
            StreamError::Connection(Lost::Ended(error)) => io_error(error),
            StreamError::Reset(code) => {
                io::Error::new(io::ErrorKind::ConnectionReset, format!("a lane's stream was taken back: {code}"))
            }
            StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        };
        if error.kind() == io::ErrorKind::PermissionDenied {
            tracing::warn!(remote = %self.remote(), %error, "a peer does not let this node in");
        }
        error
    }

    /// One step in a pass of its own.
    fn pass<T>(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.begin_pass(context);
        let done = step(self, context);
        self.end_pass(context);
        done
    }
}

impl LaneStreams for QuicConnection {
    fn begin_pass(&mut self, context: &mut Context<'_>) {
        let Some(engine) = &mut self.engine else { return };
        engine.begin_pass(context);
        if !self.is_dialed {
            self.streams.accept(engine);
        }
    }

    fn end_pass(&mut self, context: &mut Context<'_>) {
        if let Some(engine) = &mut self.engine {
            engine.end_pass(context);
        }
    }

    fn poll_read(&mut self, lane: Lane, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(engine) = &mut self.engine else { return Poll::Pending };
        self.streams.poll_read(lane, engine, into).map(|read| match read {
            Ok(()) => {
                self.is_answered = true;
                Ok(())
            }
            Err(error) => Err(self.error(error)),
        })
    }

    fn poll_write(&mut self, lane: Lane, _: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(engine) = &mut self.engine else { return Poll::Pending };
        self.streams.poll_write(lane, engine, slices).map_err(|error| self.error(error))
    }
}

impl Connection for QuicConnection {
    fn remote(&self) -> SocketAddr {
        self.engine
            .as_deref()
            .map(Engine::known)
            .map_or_else(|| (std::net::Ipv4Addr::UNSPECIFIED, 0).into(), quinn_proto::Connection::remote_address)
    }

    fn proof(&self) -> Option<Arc<Proof>> {
        self.proof.clone()
    }

    fn datagrams(&self) -> Option<Arc<dyn Datagrams>> {
        let engine = self.engine.as_deref()?;
        Some(Arc::new(QuicDatagrams(Arc::clone(engine.outgoing()))))
    }

    fn poll_datagram(&mut self, _: &mut Context<'_>) -> Poll<Bytes> {
        let datagram = self.engine.as_deref_mut().and_then(Engine::receive_datagram);
        datagram.map_or(Poll::Pending, Poll::Ready)
    }

    fn path_probe(&self) -> Option<Arc<dyn PathProbe>> {
        let engine = self.engine.as_deref()?;
        Some(Arc::new(QuicPath { cell: engine.path().cell(), outgoing: Arc::clone(engine.outgoing()) }))
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
        if let Some(mut engine) = self.engine.take() {
            engine.close(self.close_code);
            self.runtime.spawn(engine.linger());
        }
    }
}

/// As a stream it is that of its System lane.
impl AsyncRead for QuicConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.pass(context, |this, context| LaneStreams::poll_read(this, Lane::System, context, into))
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
        self.pass(context, |this, context| LaneStreams::poll_write(this, Lane::System, context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the streams of all lanes.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pass(context, |this, _| match &mut this.engine {
            Some(engine) => this.streams.poll_finish(engine).map(Ok),
            None => Poll::Ready(Ok(())),
        })
    }
}
