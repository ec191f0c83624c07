//! One end of a connection, as a transport holds it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rdb_net_transport::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::cable::{Cable, Side};
use crate::direction::{End, Read};

/// One end. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct MemoryConnection {
    cable: Arc<Cable>,
    side: Side,
    remote: SocketAddr,
    /// Rings when the next piece arrives.
    arrival: Option<Pin<Box<Sleep>>>,
}

impl MemoryConnection {
    pub(crate) fn new(cable: Arc<Cable>, side: Side, remote: SocketAddr) -> Self {
        Self { cable, side, remote, arrival: None }
    }

    /// Ready when this time has come.
    fn poll_arrival(&mut self, at: Duration, context: &mut Context<'_>) -> Poll<()> {
        let at = self.cable.instant(at);
        let arrival = self.arrival.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if arrival.deadline() != at {
            arrival.as_mut().reset(at);
        }
        arrival.as_mut().poll(context)
    }
}

impl Connection for MemoryConnection {
    fn remote(&self) -> SocketAddr {
        self.remote
    }
}

impl AsyncRead for MemoryConnection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match self.cable.read(self.side, buf.remaining(), context) {
                // No more than a frame where lanes are shuffled: what a session reads at once it puts into an order of its own.
                Read::Bytes(bytes) => buf.put_slice(&bytes),
                Read::Ended(End::Eof) => {}
                Read::Ended(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Read::Waits(None) => return Poll::Pending,
                Read::Waits(Some(at)) => {
                    ready!(self.poll_arrival(at, context));
                    continue;
                }
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for MemoryConnection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.cable.write(self.side, &[IoSlice::new(buf)], context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.cable.write(self.side, slices, context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cable.end(self.side);
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.cable.leave(self.side);
    }
}
