//! A network of pipes in memory: names lead to listeners.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rdb_net_types::{BoxFuture, NodeAddress};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{Semaphore, mpsc};

use crate::{Arrival, Backend, Connection, DialError, ListenError, Listener};

#[derive(Clone)]
pub(super) struct Network {
    listeners: Arc<Mutex<BTreeMap<NodeAddress, mpsc::Sender<DuplexStream>>>>,
    /// Dials that may succeed.
    pub(super) dials: Arc<Semaphore>,
    /// So many dials are answered by nobody.
    pub(super) unanswered: Arc<AtomicUsize>,
    /// Dials under way, and the most that ever were at once.
    pub(super) under_way: Arc<(AtomicUsize, AtomicUsize)>,
    /// Whether the next read of any connection panics.
    pub(super) panics: Arc<AtomicBool>,
}

/// A dial under way.
struct UnderWay(Arc<(AtomicUsize, AtomicUsize)>);

impl UnderWay {
    fn begin(counts: &Arc<(AtomicUsize, AtomicUsize)>) -> Self {
        let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
        counts.1.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            listeners: Arc::default(),
            dials: Arc::new(Semaphore::new(1000)),
            unanswered: Arc::default(),
            under_way: Arc::default(),
            panics: Arc::default(),
        }
    }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

impl Backend for Network {
    fn name(&self) -> &'static str {
        "pipe"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let _under_way = UnderWay::begin(&self.under_way);
            let is_unanswered = |left: usize| left.checked_sub(1);
            if self.unanswered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_unanswered).is_ok() {
                std::future::pending::<()>().await;
            }
            self.dials.acquire().await.expect("never closed").forget();
            let refused = || DialError::new(address, io::ErrorKind::ConnectionRefused.into());
            let listener = self.listeners.lock().expect("no panic").get(address).cloned().ok_or_else(refused)?;
            let (near, far) = tokio::io::duplex(64 * 1024);
            listener.send(far).await.map_err(|_| refused())?;
            Ok(Box::new(Pipe(near, Arc::clone(&self.panics))) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        let (dialled, accepted) = mpsc::channel(16);
        self.listeners.lock().expect("no panic").insert(address.clone(), dialled);
        let panics = Arc::clone(&self.panics);
        Box::pin(async move { Ok(Box::new(PipeListener(accepted, panics)) as Box<dyn Listener>) })
    }
}

struct PipeListener(mpsc::Receiver<DuplexStream>, Arc<AtomicBool>);

impl Listener for PipeListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let stream = self.0.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(Arrival::ready(Pipe(stream, Arc::clone(&self.1))))
        })
    }

    fn local_address(&self) -> SocketAddr {
        nowhere()
    }
}

struct Pipe(DuplexStream, Arc<AtomicBool>);

impl Connection for Pipe {
    fn remote(&self) -> SocketAddr {
        nowhere()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        assert!(!self.1.swap(false, Ordering::SeqCst), "planted in a connection's task");
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
