//! What a network does to packets: a path that carries less than it did, and clients that get another address, as behind a NAT.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdb_net_transport::Connection;
use rdb_net_types::NodeAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::scene::{Scene, beside, listen, pair, soon};
use crate::QuicConfig;

/// What happens to packets.
struct Faults {
    bytes_max: AtomicUsize,
    /// One in so many is lost; none where it is 0.
    lost_of: AtomicUsize,
    carried: AtomicUsize,
    /// Each packet to the server arrives so often.
    copies: AtomicUsize,
    /// So many went to the server.
    delivered: AtomicUsize,
    moves: Notify,
}

impl Faults {
    fn pass(&self, bytes: usize) -> bool {
        let (number, lost_of) = (self.carried.fetch_add(1, Ordering::Relaxed), self.lost_of.load(Ordering::Relaxed));
        bytes <= self.bytes_max.load(Ordering::Relaxed) && (lost_of == 0 || number % lost_of != lost_of - 1)
    }
}

/// Carries the packets of one client, whose address as its server sees it is the relay's.
pub(super) struct Relay {
    pub(super) address: NodeAddress,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) async fn to(target: &NodeAddress) -> Self {
        let target = target.to_socket_addr().expect("an address");
        let front = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = NodeAddress::from(front.local_addr().expect("bound"));
        let (bytes_max, lost_of, carried) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0), AtomicUsize::new(0));
        let (copies, delivered) = (AtomicUsize::new(1), AtomicUsize::new(0));
        let faults = Arc::new(Faults { bytes_max, lost_of, carried, copies, delivered, moves: Notify::new() });
        let task = tokio::spawn(carry(front, target, Arc::clone(&faults)));
        Self { address, faults, task }
    }

    /// Drops whatever is larger from now on, and tells nobody.
    fn carry_at_most(&self, bytes: usize) {
        self.faults.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Loses one packet in so many, of both directions together.
    fn lose_one_of(&self, packets: usize) {
        self.faults.lost_of.store(packets, Ordering::Relaxed);
    }

    /// Delivers each packet to the server so often.
    fn repeat(&self, copies: usize) {
        self.faults.copies.store(copies, Ordering::Relaxed);
    }

    /// How many packets went to the server.
    fn delivered(&self) -> usize {
        self.faults.delivered.load(Ordering::Relaxed)
    }

    /// The client's packets come from another address from now on.
    fn move_client(&self) {
        self.faults.moves.notify_one();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn outside(target: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(target).await.expect("an address");
    socket
}

async fn carry(front: UdpSocket, target: SocketAddr, faults: Arc<Faults>) {
    let (mut back, mut client) = (outside(target).await, None);
    let (mut to, mut fro) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            Ok((bytes, from)) = front.recv_from(&mut to) => {
                client = Some(from);
                if faults.pass(bytes) {
                    for _ in 0..faults.copies.load(Ordering::Relaxed) {
                        // What the system does not take is lost.
                        let _sent = back.send(&to[..bytes]).await;
                        faults.delivered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            received = back.recv(&mut fro) => {
                if let (Ok(bytes), Some(client)) = (received, client) && faults.pass(bytes) {
                    let _sent = front.send_to(&fro[..bytes], client).await;
                }
            }
            () = faults.moves.notified() => back = outside(target).await,
        }
    }
}

/// Sends so much from one end to the other.
async fn carry_bytes(
    from: &mut Box<dyn Connection>,
    to: &mut Box<dyn Connection>,
    bytes: usize,
) -> std::io::Result<()> {
    let sent = vec![7; bytes];
    let mut received = vec![0; bytes];
    let write = async {
        from.write_all(&sent).await?;
        beside(from, to.read_exact(&mut received)).await
    };
    write.await?;
    assert_eq!(received, sent);
    Ok(())
}

#[tokio::test]
async fn a_path_that_carries_less_than_it_did_is_found_out_and_nothing_is_lost() {
    let scene = Scene::new();
    let (dialer, backend) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&backend).await;
    let relay = Relay::to(&address).await;
    let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &relay.address).await;
    let packet_bytes_max = |connection: &dyn Connection| connection.path().expect("it lives").packet_bytes_max;
    soon("a larger packet", async {
        while packet_bytes_max(&*dialed) < 1400 {
            carry_bytes(&mut dialed, &mut accepted, 10_000).await.expect("a path");
        }
    })
    .await;
    relay.carry_at_most(1250);
    soon("the rest", carry_bytes(&mut dialed, &mut accepted, 2_000_000)).await.expect("nothing is lost");
    let path = dialed.path_probe().expect("it has one");
    let is_told = async {
        while path.statistics().expect("it lives").packet_bytes_max > 1250 {
            tokio::task::yield_now().await;
        }
    };
    soon("the path is told", beside(&mut dialed, is_told)).await;
}

#[tokio::test]
async fn a_client_that_moves_goes_on_where_moves_are_allowed() {
    let scene = Scene::new();
    let moving = QuicConfig { migration: true, ..QuicConfig::default() };
    let (dialer, backend) = (scene.backend("a", QuicConfig::default()), scene.backend("b", moving));
    let (mut listener, address) = listen(&backend).await;
    let relay = Relay::to(&address).await;
    let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &relay.address).await;
    let before = accepted.remote();
    relay.move_client();
    soon("there", carry_bytes(&mut dialed, &mut accepted, 100_000)).await.expect("it goes on");
    soon("and back", carry_bytes(&mut accepted, &mut dialed, 100_000)).await.expect("it goes on");
    assert_ne!(accepted.remote(), before);
}

#[tokio::test]
async fn a_client_that_moves_is_not_heard_any_more_by_default() {
    let scene = Scene::new();
    let short = QuicConfig {
        idle_timeout: Duration::from_secs(1),
        keep_alive_interval: Duration::from_millis(300),
        ..QuicConfig::default()
    };
    let (dialer, backend) = (scene.backend("a", short), scene.backend("b", short));
    let (mut listener, address) = listen(&backend).await;
    let relay = Relay::to(&address).await;
    let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &relay.address).await;
    relay.move_client();
    let error = soon("the end", carry_bytes(&mut dialed, &mut accepted, 100_000)).await.expect_err("nobody is heard");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
}

#[tokio::test]
async fn over_either_congestion_controller_a_path_that_loses_a_fifth_carries_everything() {
    for congestion_control in [crate::CongestionControl::Cubic, crate::CongestionControl::Bbr] {
        let scene = Scene::new();
        let config = QuicConfig { congestion_control, ..QuicConfig::default() };
        let (dialer, backend) = (scene.backend("a", config), scene.backend("b", config));
        let (mut listener, address) = listen(&backend).await;
        let relay = Relay::to(&address).await;
        let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &relay.address).await;
        relay.lose_one_of(5);
        soon("all", carry_bytes(&mut dialed, &mut accepted, 200_000)).await.expect("a path");
    }
}

#[tokio::test]
async fn packets_that_nobody_takes_are_dropped_and_counted_and_what_they_carried_comes_again() {
    let scene = Scene::new();
    let (dialer, backend) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&backend).await;
    let relay = Relay::to(&address).await;
    let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &relay.address).await;
    let dropped = |connection: &dyn Connection| connection.path().expect("it lives").dropped;
    assert_eq!(dropped(&*accepted), Some(0));
    relay.repeat(40_000);
    dialed.write_all(&[7; 1000]).await.expect("it fits the window");
    let flood = async {
        while relay.delivered() < 40_000 {
            tokio::task::yield_now().await;
        }
    };
    soon("the flood", beside(&mut dialed, flood)).await;
    relay.repeat(1);
    let mut first = [0; 1000];
    soon("what came first", beside(&mut dialed, accepted.read_exact(&mut first))).await.expect("it lives");
    soon("the rest", carry_bytes(&mut dialed, &mut accepted, 100_000)).await.expect("it lives");
    assert!(dropped(&*accepted) > Some(0), "{:?}", accepted.path());
}
