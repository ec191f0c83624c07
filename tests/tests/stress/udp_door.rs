//! A door in front of a node that listens over UDP. It loses packets, as a network does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_types::SeededRandom;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::Door;

/// How long nobody is behind a door that was shut.
const SHUT: Duration = Duration::from_millis(50);
/// One packet in so many gets lost, in either direction.
const LOST_OF: u64 = 100;
const PACKET_BYTES_MAX: usize = 65_536;

/// What one cut does.
#[derive(Default)]
struct Cuts {
    /// Whose packets come from another address from now on.
    moved: Vec<SocketAddr>,
    flows: Vec<SocketAddr>,
}

/// Packets go through it, each sender's from an address of their own, as behind a NAT.
pub(crate) struct UdpDoor {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    cuts: Arc<Mutex<Cuts>>,
    /// Nobody listens for a moment.
    shut: Arc<Notify>,
    task: AbortHandle,
}

impl UdpDoor {
    pub(crate) async fn open(seed: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let (target, cuts, shut) =
            (Arc::<Mutex<Option<SocketAddr>>>::default(), Arc::<Mutex<Cuts>>::default(), Arc::<Notify>::default());
        let (behind, cut, shutting) = (Arc::clone(&target), Arc::clone(&cuts), Arc::clone(&shut));
        let task = tokio::spawn(async move {
            let mut socket = Some(socket);
            let mut random = SeededRandom::new(seed);
            loop {
                let open = match socket.take() {
                    Some(socket) => socket,
                    None => match UdpSocket::bind(address).await {
                        Ok(socket) => socket,
                        // Somebody else has the port for the moment.
                        Err(_) => {
                            tokio::time::sleep(SHUT).await;
                            continue;
                        }
                    },
                };
                tokio::select! {
                    () = pass(open, &behind, &cut, random.next_u64()) => {}
                    () = shutting.notified() => {}
                }
                // Every flow has ended with its socket, and whoever sends is told by the system that nobody is there.
                tokio::time::sleep(SHUT).await;
            }
        });
        Self { address, target, cuts, shut, task: task.abort_handle() }
    }
}

/// Carries packets until the front socket fails.
async fn pass(front: UdpSocket, behind: &Mutex<Option<SocketAddr>>, cuts: &Mutex<Cuts>, seed: u64) {
    let front = Arc::new(front);
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut ways: HashMap<SocketAddr, AbortHandle> = HashMap::new();
    let (mut back, mut random) = (JoinSet::new(), SeededRandom::new(seed));
    let mut packet = vec![0; PACKET_BYTES_MAX];
    while let Ok((bytes, from)) = front.recv_from(&mut packet).await {
        for moved in std::mem::take(&mut cuts.lock().expect("no panic").moved) {
            flows.remove(&moved);
            if let Some(way) = ways.remove(&moved) {
                way.abort();
            }
        }
        while back.try_join_next().is_some() {}
        let to = *behind.lock().expect("no panic");
        let Some(to) = to else { continue };
        let is_new = !flows.contains_key(&from);
        if is_new {
            let Ok(inner) = UdpSocket::bind("127.0.0.1:0").await else { continue };
            if inner.connect(to).await.is_err() {
                continue;
            }
            let inner = Arc::new(inner);
            flows.insert(from, Arc::clone(&inner));
            ways.insert(from, back.spawn(carry_back(Arc::clone(&front), inner, from, random.next_u64())));
            cuts.lock().expect("no panic").flows = flows.keys().copied().collect();
        }
        if random.next_u64() % LOST_OF != 0 {
            // A packet that the system does not take is lost as well.
            let _sent = flows[&from].try_send(&packet[..bytes]);
        }
    }
}

async fn carry_back(front: Arc<UdpSocket>, inner: Arc<UdpSocket>, to: SocketAddr, seed: u64) {
    let (mut packet, mut random) = (vec![0; PACKET_BYTES_MAX], SeededRandom::new(seed));
    loop {
        // Who was refused once may be there again.
        let Ok(bytes) = inner.recv(&mut packet).await else { continue };
        if random.next_u64() % LOST_OF != 0 {
            let _sent = front.try_send_to(&packet[..bytes], to);
        }
    }
}

impl Door for UdpDoor {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn set_target(&self, target: SocketAddr) {
        *self.target.lock().expect("no panic") = Some(target);
    }

    fn cut(&self, random: &mut SeededRandom) -> bool {
        if random.next_u64().is_multiple_of(8) {
            self.shut.notify_one();
            return true;
        }
        let mut cuts = self.cuts.lock().expect("no panic");
        if cuts.flows.is_empty() {
            return false;
        }
        let which = random.next_u64() as usize % cuts.flows.len();
        let moved = cuts.flows.swap_remove(which);
        cuts.moved.push(moved);
        true
    }

    fn close(&self) {
        self.task.abort();
    }

    fn is_closed(&self) -> bool {
        self.task.is_finished()
    }
}
