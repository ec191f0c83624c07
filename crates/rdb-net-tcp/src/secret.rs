//! TCP between nodes that know one secret: each proves to the other that it knows it, before the hello. For clusters without
//! certificates. What follows is neither secret nor protected; see [`rdb_net_tls::secret`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_tls::secret::{self, SecretError, SharedSecret, Terms};
use rdb_net_transport::{
    Arrival, Backend, Connection, DialError, HandshakeError, ListenError, Listener, PathProbe, Proof,
};
use rdb_net_types::{BoxFuture, ClusterId, NodeAddress, NodeId, Principal};
use tokio::time::Instant;

use crate::backend::{TcpAcceptor, TcpBackend, TcpConnection};

/// Both hellos carry it: that their sides have proved the secret to each other, and nobody took part who has not.
const PROVED: &[u8] = b"shared secret";

/// Dial and accept over TCP, among those who know a secret. A hello has to name the node that was proved.
#[derive(Debug, Clone)]
pub struct SecretBackend {
    tcp: TcpBackend,
    secret: SharedSecret,
    terms: Terms,
    handshake_timeout: Duration,
}

impl SecretBackend {
    /// Over these sockets, as this node of this cluster. An exchange that takes longer than this is given up.
    pub fn new(
        tcp: TcpBackend,
        secret: SharedSecret,
        cluster: ClusterId,
        node: NodeId,
        handshake_timeout: Duration,
    ) -> Self {
        Self { tcp, secret, terms: Terms { cluster, node, binding: None }, handshake_timeout }
    }
}

impl Backend for SecretBackend {
    fn name(&self) -> &'static str {
        "tcp-secret"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            let mut tcp = self.tcp.connect(address).await?;
            let deadline = Instant::now() + self.handshake_timeout;
            // Whether it is the node that is meant, its hello tells, which has to name the node that was proved.
            let dialed = secret::dial(&mut tcp, &self.secret, self.terms.clone(), None, deadline).await;
            let principal = dialed.map_err(|error| dial_error(address, error))?;
            Ok(Box::new(ProvedConnection::new(tcp, principal)) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let bound = self.tcp.bind(address).await;
            let tcp = bound.map_err(|source| ListenError { address: address.clone(), source })?;
            Ok(Box::new(SecretListener { tcp, backend: self.clone() }) as Box<dyn Listener>)
        })
    }
}

/// What the network did is told as it is without a secret; what the peer did, as a lack of trust.
fn dial_error(address: &NodeAddress, error: SecretError) -> DialError {
    match error {
        SecretError::Io(error) => DialError::new(address, error),
        SecretError::Timeout => DialError::new(address, io::Error::new(io::ErrorKind::TimedOut, error)),
        error => {
            tracing::warn!(%address, %error, "a peer is not trusted");
            DialError::untrusted(address, failed(&error))
        }
    }
}

fn failed(error: &SecretError) -> HandshakeError {
    HandshakeError { reason: error.name(), detail: error.to_string() }
}

struct SecretListener {
    tcp: TcpAcceptor,
    backend: SecretBackend,
}

impl Listener for SecretListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let mut tcp = self.tcp.take().await?;
            let (remote, backend) = (tcp.remote(), self.backend.clone());
            let deadline = Instant::now() + backend.handshake_timeout;
            let established = async move {
                let accepted = secret::accept(&mut tcp, &backend.secret, backend.terms, deadline).await;
                let principal = accepted.map_err(|error| failed(&error))?;
                Ok(Box::new(ProvedConnection::new(tcp, principal)) as Box<dyn Connection>)
            };
            Ok(Arrival::new(remote, established))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.tcp.local_address()
    }
}

/// A plain connection, with what was proved on it.
struct ProvedConnection {
    tcp: TcpConnection,
    proof: Arc<Proof>,
}

impl ProvedConnection {
    fn new(tcp: TcpConnection, principal: Principal) -> Self {
        let proof = Proof {
            principal: Some(principal),
            certificates: Vec::new(),
            channel_binding: PROVED.to_vec(),
            protects_bytes: false,
        };
        Self { tcp, proof: Arc::new(proof) }
    }
}

impl Connection for ProvedConnection {
    fn remote(&self) -> SocketAddr {
        self.tcp.remote()
    }

    fn proof(&self) -> Option<Arc<Proof>> {
        Some(Arc::clone(&self.proof))
    }

    fn path_probe(&self) -> Option<Arc<dyn PathProbe>> {
        self.tcp.path_probe()
    }
}

crate::backend::delegated_io!(ProvedConnection, tcp);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TcpConfig;
    use crate::tests::{echo_on, message, node_over, to_peer};

    fn backend(node: &str, secret: u8) -> Arc<dyn Backend> {
        let secret = SharedSecret::new(&[secret; 32]).expect("long enough");
        let (cluster, node) = (ClusterId::new("test").expect("legal"), NodeId::new(node).expect("legal"));
        let tcp = TcpBackend::new(TcpConfig::default());
        Arc::new(SecretBackend::new(tcp, secret, cluster, node, Duration::from_secs(3)))
    }

    #[tokio::test]
    async fn who_knows_the_secret_is_let_in_under_its_name_and_nobody_else() {
        let a = node_over("a", backend("a", 7)).await;
        echo_on(&a);
        let b = node_over("b", backend("b", 7)).await;
        let reply = to_peer(&b, "a", &a).request(&message(vec![1; 10]), Default::default()).await;
        reply.expect("b knows the secret");
        let stranger = node_over("c", backend("c", 8)).await;
        let refused = to_peer(&stranger, "a", &a).request(&message(vec![1; 10]), Default::default()).await;
        assert_eq!(refused.expect_err("c does not").detail.as_deref(), Some("dial_untrusted"));
        // It knows the secret, and says hello under another name than it proved.
        let impostor = node_over("d", backend("b", 7)).await;
        let refused = to_peer(&impostor, "a", &a).request(&message(vec![1; 10]), Default::default()).await;
        refused.expect_err("a hello names who was proved");
        for node in [a, b, stranger, impostor] {
            node.shutdown().await;
        }
    }
}
