//! Two transports of this workspace over a pipe in memory, in one thread: what they cost without a kernel.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rdb_net_transport::{Backend, Connection, DialError, ListenError, Listener};
use rdb_net_types::{BoxFuture, NodeAddress};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{Mutex, mpsc};

const PIPE_BYTES: usize = 64 << 10;

/// Dials and accepts pipes.
pub(crate) struct MemoryBackend {
    dialled: mpsc::Sender<DuplexStream>,
    accepted: Arc<Mutex<mpsc::Receiver<DuplexStream>>>,
}

impl MemoryBackend {
    pub(crate) fn new() -> Self {
        let (dialled, accepted) = mpsc::channel(16);
        Self { dialled, accepted: Arc::new(Mutex::new(accepted)) }
    }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let sent = self.dialled.send(far).await;
            sent.map_err(|_| DialError::new(address, io::ErrorKind::ConnectionRefused.into()))?;
            Ok(Box::new(Pipe(near)) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, _: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move { Ok(Box::new(PipeListener(Arc::clone(&self.accepted))) as Box<dyn Listener>) })
    }
}

struct PipeListener(Arc<Mutex<mpsc::Receiver<DuplexStream>>>);

impl Listener for PipeListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            let stream = self.0.lock().await.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(Box::new(Pipe(stream)) as Box<dyn Connection>)
        })
    }

    fn local_address(&self) -> SocketAddr {
        nowhere()
    }
}

struct Pipe(DuplexStream);

impl Connection for Pipe {
    fn remote(&self) -> SocketAddr {
        nowhere()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
