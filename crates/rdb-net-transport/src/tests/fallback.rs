//! Two kinds of connections to one address, in virtual time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_peer::DialFailure;
use rdb_net_types::{BoxFuture, NodeAddress};
use tokio::time::Instant;

use super::pipe::Network;
use crate::{Backend, Connection, DialError, FallbackBackend, FallbackConfig, HandshakeError, ListenError, Listener};

/// What becomes of dials.
#[derive(Clone, Copy)]
enum Way {
    Passes,
    /// Passes after so many milliseconds.
    Late(u64),
    Refuses,
    Swallows,
    Distrusts,
}

/// A kind of connection.
struct Kind {
    network: Network,
    way: Mutex<Way>,
    dials: AtomicUsize,
}

impl Kind {
    fn new(network: &Network, way: Way) -> Arc<Self> {
        Arc::new(Self { network: network.clone(), way: Mutex::new(way), dials: AtomicUsize::new(0) })
    }

    fn set(&self, way: Way) {
        *self.way.lock().expect("no panic") = way;
    }

    fn dials(&self) -> usize {
        self.dials.swap(0, Ordering::SeqCst)
    }
}

impl Backend for Kind {
    fn name(&self) -> &'static str {
        "kind"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(async move {
            self.dials.fetch_add(1, Ordering::SeqCst);
            let way = *self.way.lock().expect("no panic");
            match way {
                Way::Passes => {}
                Way::Late(after_ms) => tokio::time::sleep(Duration::from_millis(after_ms)).await,
                Way::Refuses => return Err(DialError::new(address, io::ErrorKind::ConnectionRefused.into())),
                Way::Swallows => std::future::pending().await,
                Way::Distrusts => {
                    let error = HandshakeError { reason: "expired", detail: String::new() };
                    return Err(DialError::untrusted(address, error));
                }
            }
            self.network.dial(address).await
        })
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        self.network.listen(address)
    }
}

/// How a dial ended, how often each kind was dialled, and how long it took.
async fn dialled(
    backend: &FallbackBackend,
    preferred: &Kind,
    other: &Kind,
) -> (Result<(), DialFailure>, (usize, usize), u128) {
    let (address, begun) = (address(), Instant::now());
    let dialled = tokio::time::timeout(Duration::from_secs(5), backend.dial(&address)).await;
    let ended = match dialled {
        Ok(dialled) => dialled.map(drop).map_err(|error| error.failure),
        Err(_elapsed) => Err(DialFailure::TimedOut),
    };
    (ended, (preferred.dials(), other.dials()), begun.elapsed().as_millis())
}

fn address() -> NodeAddress {
    "b:1".parse().expect("legal")
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_made_is_taken_and_what_will_not_do_is_not_tried_twice() {
    use Way::{Distrusts, Late, Passes, Refuses, Swallows};
    let untrusted = Err(DialFailure::Untrusted);
    for (name, ways, expected) in [
        ("both pass", (Passes, Passes), (Ok(()), (1, 0), 0)),
        ("not offered", (Refuses, Passes), (Ok(()), (1, 1), 0)),
        ("swallowed", (Swallows, Passes), (Ok(()), (1, 1), 250)),
        ("late, and the other is there", (Late(400), Passes), (Ok(()), (1, 1), 250)),
        ("late, and the other is not", (Late(400), Refuses), (Ok(()), (1, 1), 400)),
        ("late, and the other is later", (Late(400), Late(900)), (Ok(()), (1, 1), 400)),
        ("swallowed, and nobody is there", (Swallows, Refuses), (Err(DialFailure::Refused), (1, 1), 1250)),
        ("nobody is there", (Refuses, Refuses), (Err(DialFailure::Refused), (1, 1), 0)),
        ("not trusted", (Distrusts, Passes), (untrusted, (1, 0), 0)),
        ("not trusted by the other", (Refuses, Distrusts), (untrusted, (1, 1), 0)),
        ("nothing passes", (Swallows, Swallows), (Err(DialFailure::TimedOut), (1, 1), 5000)),
    ] {
        let network = Network::default();
        let _listener = network.listen(&address()).await.expect("free");
        let (preferred, other) = (Kind::new(&network, ways.0), Kind::new(&network, ways.1));
        let backend = FallbackBackend::new(preferred.clone(), other.clone(), FallbackConfig::default());
        assert_eq!(dialled(&backend, &preferred, &other).await, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_not_pass_is_left_alone_for_a_while_and_tried_again_later() {
    let network = Network::default();
    let _listener = network.listen(&address()).await.expect("free");
    let (preferred, other) = (Kind::new(&network, Way::Swallows), Kind::new(&network, Way::Passes));
    let backend = FallbackBackend::new(preferred.clone(), other.clone(), FallbackConfig::default());
    assert_eq!(dialled(&backend, &preferred, &other).await, (Ok(()), (1, 1), 250));
    assert_eq!(dialled(&backend, &preferred, &other).await, (Ok(()), (0, 1), 0), "it is remembered");
    other.set(Way::Refuses);
    let refused = dialled(&backend, &preferred, &other).await;
    assert_eq!(refused, (Err(DialFailure::Refused), (0, 1), 0), "and who is gone is found out at once");
    preferred.set(Way::Passes);
    other.set(Way::Passes);
    tokio::time::advance(Duration::from_secs(601)).await;
    assert_eq!(dialled(&backend, &preferred, &other).await, (Ok(()), (1, 0), 0), "later it passes");
}

#[tokio::test(start_paused = true)]
async fn no_more_addresses_are_remembered_than_there_is_room_for() {
    let network = Network::default();
    network.dials.add_permits(5000);
    let (preferred, other) = (Kind::new(&network, Way::Refuses), Kind::new(&network, Way::Passes));
    let backend = FallbackBackend::new(preferred.clone(), other.clone(), FallbackConfig::default());
    for number in 0..5000 {
        let address: NodeAddress = format!("n{number}:1").parse().expect("legal");
        let _listener = network.listen(&address).await.expect("free");
        backend.dial(&address).await.expect("it passes");
    }
    assert!(backend.remembered() <= 4096, "{}", backend.remembered());
}
