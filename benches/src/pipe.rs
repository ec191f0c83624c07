//! A network in memory: what this workspace costs without a kernel.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use rdb_net_transport::{Arrival, Backend, Connection, DialError, ListenError, Listener};
use rdb_net_types::{BoxFuture, NodeAddress};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

/// Dials and accepts pipes, by port.
#[derive(Debug)]
pub(crate) struct PipeNetwork {
    pipe_bytes: usize,
    listeners: Mutex<HashMap<u16, mpsc::Sender<DuplexStream>>>,
}

impl PipeNetwork {
    /// A network whose pipes hold as many bytes in each direction.
    pub(crate) fn new(pipe_bytes: usize) -> Self {
        Self { pipe_bytes, listeners: Mutex::default() }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, HashMap<u16, mpsc::Sender<DuplexStream>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

impl Backend for PipeNetwork {
    fn name(&self) -> &'static str {
        "pipe"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let refused = || DialError::new(address, io::ErrorKind::ConnectionRefused.into());
            let listener = self.listeners().get(&address.port()).cloned().ok_or_else(refused)?;
            let (near, far) = tokio::io::duplex(self.pipe_bytes);
            listener.send(far).await.map_err(|_| refused())?;
            Ok(Box::new(Pipe(near)) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let (dialled, accepted) = mpsc::channel(16);
            self.listeners().insert(address.port(), dialled);
            Ok(Box::new(PipeListener(accepted)) as Box<dyn Listener>)
        })
    }
}

struct PipeListener(mpsc::Receiver<DuplexStream>);

impl Listener for PipeListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let stream = self.0.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(Arrival::ready(Pipe(stream)))
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
