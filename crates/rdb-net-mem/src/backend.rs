//! Dial and accept in memory.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rdb_net_transport::{Arrival, Backend, Connection, DialError, ListenError, Listener};
use rdb_net_types::{BoxFuture, NodeAddress};
use tokio::sync::mpsc;

use crate::connection::MemoryConnection;
use crate::network::{LOCKED, Shared};

/// One node's way onto a [`MemoryNetwork`](crate::MemoryNetwork).
#[derive(Debug)]
pub struct MemoryBackend {
    network: Arc<Shared>,
    /// Where the node's connections come from: the address that it listens on, as soon as it does.
    place: Mutex<NodeAddress>,
}

impl MemoryBackend {
    pub(crate) fn new(network: Arc<Shared>, address: &NodeAddress) -> Self {
        Self { network, place: Mutex::new(address.clone()) }
    }

    fn place(&self) -> NodeAddress {
        self.place.lock().expect(LOCKED).clone()
    }

    async fn connect(&self, to: &NodeAddress) -> io::Result<MemoryConnection> {
        let from = self.place();
        self.network.cross(&from, to).await;
        let taken = match self.network.listener(to) {
            Some(listener) => {
                let (near, far) = self.network.connect(&from, to);
                listener.send(far).await.ok().map(|()| near)
            }
            None => None,
        };
        self.network.cross(to, &from).await;
        taken.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let dialled = tokio::time::timeout(self.network.dial_timeout(), self.connect(address)).await;
            let connection = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let connection = connection.map_err(|source| DialError::new(address, source))?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let opened = self.network.open(address);
            let (place, local, incoming) = opened.map_err(|source| ListenError { address: address.clone(), source })?;
            *self.place.lock().expect(LOCKED) = place.clone();
            let listener = MemoryListener { network: Arc::clone(&self.network), place, local, incoming };
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }
}

/// Takes connections. Dropping it frees the address.
#[derive(Debug)]
struct MemoryListener {
    network: Arc<Shared>,
    place: NodeAddress,
    local: SocketAddr,
    incoming: mpsc::Receiver<MemoryConnection>,
}

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let connection = self.incoming.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok(Arrival::ready(connection))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.network.close(&self.place);
    }
}
