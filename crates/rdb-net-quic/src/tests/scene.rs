//! Backends of one CA, and a connection between two of them.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use rdb_net_tls::pki::{Pki, PkiOptions};
use rdb_net_tls::{Clock, Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_transport::{Backend, Connection, Listener};
use rdb_net_types::{ClusterId, NodeAddress, NodeId, Role};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{QuicBackend, QuicConfig};

/// The longest wait for what must happen.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// A CA.
pub(super) struct Scene {
    pki: Pki,
    _folder: TempDir,
}

impl Scene {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let pki = Pki::init(&folder.path().join("ca"), &PkiOptions::new(cluster()), Clock::default()).expect("a CA");
        Self { pki, _folder: folder }
    }

    /// What a node of this name dials and listens with.
    pub(super) fn backend(&self, node: &str, config: QuicConfig) -> QuicBackend {
        QuicBackend::new(config, self.tls(node))
    }

    /// The certificate of a node of this name.
    pub(super) fn tls(&self, node: &str) -> Tls {
        let node = NodeId::new(node).expect("legal");
        let issued = self.pki.issue(&node, Role::Node, &[]).expect("issued");
        let config = TlsConfig {
            enabled: true,
            cert_path: issued.certificate,
            key_path: issued.key,
            ca_cert_path: Some(issued.ca),
            ..TlsConfig::default()
        };
        Tls::load(config, TlsOptions::new(Policy::new(cluster()))).expect("the files are good")
    }
}

pub(super) fn cluster() -> ClusterId {
    ClusterId::new("test").expect("legal")
}

pub(super) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, event).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

pub(super) async fn listen(backend: &QuicBackend) -> (Box<dyn Listener>, NodeAddress) {
    let listener = backend.listen(&"127.0.0.1:0".parse().expect("legal")).await.expect("loopback has a free port");
    let address = NodeAddress::from(listener.local_address());
    (listener, address)
}

/// Both ends of a connection, over which a byte has gone there and back.
pub(super) async fn pair(
    dialer: &QuicBackend,
    listener: &mut Box<dyn Listener>,
    address: &NodeAddress,
) -> (Box<dyn Connection>, Box<dyn Connection>) {
    let dialed = async {
        let mut dialed = dialer.dial(address).await.expect("somebody listens");
        dialed.write_all(b"?").await.expect("written");
        assert_eq!(dialed.read_u8().await.expect("answered"), b'!');
        dialed
    };
    let accepted = async {
        let arrival = listener.accept().await.expect("a dial");
        let mut accepted = arrival.establish().await.expect("of the same CA");
        assert_eq!(accepted.read_u8().await.expect("asked"), b'?');
        accepted.write_all(b"!").await.expect("written");
        accepted
    };
    soon("a connection", async { tokio::join!(dialed, accepted) }).await
}

/// Does a step of a connection in passes, as the task that has it would, until it is done.
pub(super) async fn in_passes<T>(
    connection: &mut Box<dyn Connection>,
    mut step: impl FnMut(&mut Box<dyn Connection>, &mut Context<'_>) -> Poll<T>,
) -> T {
    std::future::poll_fn(|context| {
        connection.lanes().expect("it has lanes").begin_pass(context);
        let done = step(connection, context);
        connection.lanes().expect("it has lanes").end_pass(context);
        done
    })
    .await
}

/// Does something while a connection is with a task that reads and writes nothing.
pub(super) async fn beside<T>(connection: &mut Box<dyn Connection>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        never = in_passes(connection, |_, _| Poll::<Infallible>::Pending) => match never {},
    }
}
