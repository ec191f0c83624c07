//! Two Swim machines over loopback sockets.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeId, NodeState};
use rdb_swim::{Config, LocalNode, Swim, SyncAnswer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(target_os = "linux")]
use crate::ingress::Ingress;
use crate::{Gossip, InTheClear, PacketMachine, bind};

struct Node {
    gossip: Gossip<Swim>,
    id: NodeId,
}

async fn start(name: &str, tasks: &TaskTracker, cancel: &CancellationToken) -> Node {
    let socket = bind(&"127.0.0.1:0".parse().expect("legal")).await.expect("loopback has a free port");
    let id = NodeId::new(name).expect("legal");
    let local = LocalNode {
        id: id.clone(),
        boot: BootId(name.len() as u64),
        incarnation: Incarnation::first_of(1),
        address: socket.local_addr().expect("bound"),
        meta: Bytes::new(),
    };
    let cluster = ClusterId::new("test").expect("legal");
    let swim = Swim::new(Config::local(), &cluster, local, 1, Duration::ZERO);
    let gossip = Gossip::new(swim, Instant::now());
    tasks.spawn(gossip.clone().drive(
        socket,
        InTheClear,
        cancel.clone(),
        |swim, _| while swim.poll_event().is_some() {},
    ));
    Node { gossip, id }
}

fn sees(node: &Node, other: &Node, state: NodeState) -> bool {
    node.gossip.look(|swim, _| swim.member(&other.id).is_some_and(|member| member.state == state))
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the condition holds within ten seconds");
}

#[tokio::test]
async fn two_nodes_join_probe_each_other_and_part() {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let (a, b) = (start("a", &tasks, &cancel).await, start("bb", &tasks, &cancel).await);
    let request = b.gossip.look(|swim, _| swim.sync_request());
    let answer = a.gossip.with(|swim, now| swim.handle_sync_request(now, &request)).expect("sound");
    let SyncAnswer::Ready(reply) = answer else { panic!("nothing is to be verified") };
    b.gossip.with(|swim, now| swim.handle_sync_reply(now, &reply)).expect("sound");
    eventually(|| sees(&a, &b, NodeState::Alive) && sees(&b, &a, NodeState::Alive)).await;
    eventually(|| a.gossip.statistics().packets_received > 2).await;
    b.gossip.with(|swim, now| swim.leave(now));
    eventually(|| sees(&a, &b, NodeState::Left)).await;
    cancel.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Notes what comes, and is late with something from the beginning.
#[derive(Default)]
struct Late {
    packets: usize,
    /// How long packets had waited, as it was told, and how many had come then.
    ages: Vec<(usize, Duration)>,
    /// How many packets had come when what was due was done.
    done_after: Option<usize>,
    /// Whoever sends it another packet for each that comes.
    flood: Option<(UdpSocket, SocketAddr)>,
}

impl PacketMachine for Late {
    fn handle_packet(&mut self, _: Duration, _: SocketAddr, _: &[u8]) {
        self.packets += 1;
        if let Some((flood, to)) = &self.flood {
            flood.send_to(b"more", to).expect("loopback");
        }
    }

    fn note_ingress_age(&mut self, _: Duration, age: Duration) {
        self.ages.push((self.packets, age));
    }

    fn handle_timeout(&mut self, _: Duration) {
        self.done_after.get_or_insert(self.packets);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.done_after.is_none().then_some(Duration::ZERO)
    }

    fn poll_transmit(&mut self, _: Duration, _: &mut Vec<u8>) -> Option<SocketAddr> {
        None
    }
}

/// Runs it with so many packets waiting before it begins, until what was due is done. Returns after how many of how many.
async fn late(waiting: usize, floods: bool) -> (usize, usize) {
    let socket = bind(&"127.0.0.1:0".parse().expect("legal")).await.expect("loopback has a free port");
    let to = socket.local_addr().expect("bound");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for _ in 0..waiting {
        sender.send_to(b"waits", to).expect("loopback");
    }
    // The runtime knows of them, as it does after a stall: it looks at sockets before it looks at the clock.
    socket.readable().await.expect("packets wait");
    let machine = Late { flood: floods.then_some((sender, to)), ..Late::default() };
    let (gossip, cancel) = (Gossip::new(machine, Instant::now()), CancellationToken::new());
    let task = tokio::spawn(gossip.clone().drive(socket, InTheClear, cancel.clone(), |_, _| {}));
    eventually(|| gossip.look(|machine, _| machine.done_after.is_some())).await;
    cancel.cancel();
    task.await.expect("it ends");
    gossip.look(|machine, _| (machine.done_after.expect("done"), machine.packets))
}

#[tokio::test]
async fn what_waits_in_the_socket_comes_before_what_is_due() {
    let (done_after, packets) = late(270, false).await;
    assert!(packets > 256, "more than one pass takes: {packets}");
    assert_eq!(done_after, packets);
}

#[tokio::test]
async fn a_flood_does_not_hold_up_the_clock() {
    let (done_after, _) = late(100, true).await;
    assert!((257..=8 * 256).contains(&done_after), "{done_after}");
}

/// Sends one packet to each address that it is given, and notes what comes; it has something to do a moment after the last packet.
#[derive(Default)]
struct Caller {
    calls: Vec<SocketAddr>,
    packets: usize,
    timeouts: usize,
}

impl PacketMachine for Caller {
    fn handle_packet(&mut self, _: Duration, _: SocketAddr, _: &[u8]) {
        self.packets += 1;
    }

    fn note_ingress_age(&mut self, _: Duration, _: Duration) {}

    fn handle_timeout(&mut self, _: Duration) {
        self.timeouts += 1;
    }

    fn poll_timeout(&self) -> Option<Duration> {
        (self.timeouts < self.packets).then_some(Duration::ZERO)
    }

    fn poll_transmit(&mut self, _: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr> {
        packet.extend_from_slice(b"is anybody there");
        self.calls.pop()
    }
}

/// quickwit-oss/chitchat #145 and #146: an address that refuses a packet ends the loop that reads the answers of all others.
#[tokio::test]
async fn an_address_that_refuses_packets_does_not_end_the_loop() {
    let socket = bind(&"127.0.0.1:0".parse().expect("legal")).await.expect("loopback has a free port");
    let own = socket.local_addr().expect("bound");
    // Nobody is there; who comes in between has the same address.
    let absent = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    // Linux tells what ICMP says to a socket that is connected, Windows to any.
    socket.connect(absent).await.expect("loopback");
    // As after the first turn of the runtime.
    socket.writable().await.expect("it takes packets");
    let (gossip, cancel) = (Gossip::new(Caller::default(), Instant::now()), CancellationToken::new());
    let task = tokio::spawn(gossip.clone().drive(socket, InTheClear, cancel.clone(), |_, _| {}));
    for round in 1..4 {
        gossip.with(|machine, _| machine.calls.push(absent));
        eventually(|| gossip.statistics().packets_sent == round).await;
        // What is read next is the refusal, and then what has come.
        let there = UdpSocket::bind(absent).expect("its port is free");
        there.send_to(b"I am", own).expect("loopback");
        let done = || gossip.look(|machine, _| (machine.packets, machine.timeouts));
        eventually(|| done() == (round as usize, round as usize)).await;
        assert_eq!(gossip.statistics().errors, round);
    }
    assert!(!task.is_finished());
    cancel.cancel();
    task.await.expect("it ends when it is told to");
}

/// Linux begins to stamp packets a moment after the first socket of the machine has asked for it, and goes on as long as there is one.
#[cfg(target_os = "linux")]
async fn stamping() -> tokio::net::UdpSocket {
    let socket = bind(&"127.0.0.1:0".parse().expect("legal")).await.expect("loopback has a free port");
    let (to, sender) = (socket.local_addr().expect("bound"), UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let (origin, mut ingress, mut buffer) = (Instant::now(), Ingress::new(), [0; 16]);
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            sender.send_to(b"waits", to).expect("loopback");
            let sent = Instant::now();
            eventually(|| sent.elapsed() >= Duration::from_millis(2)).await;
            socket.readable().await.expect("a packet waits");
            let arrival = ingress.receive(&socket, &mut buffer, origin.elapsed()).expect("a packet waits");
            if arrival.age >= Duration::from_millis(2) {
                return;
            }
        }
    });
    waited.await.expect("the kernel stamps packets within ten seconds");
    socket
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_machine_is_told_how_long_packets_have_waited_before_it_gets_them() {
    const WAIT: Duration = Duration::from_millis(100);
    let _stamping = stamping().await;
    let origin = Instant::now();
    let socket = bind(&"127.0.0.1:0".parse().expect("legal")).await.expect("loopback has a free port");
    let (to, sender) = (socket.local_addr().expect("bound"), UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let before = origin.elapsed();
    for _ in 0..3 {
        sender.send_to(b"waits", to).expect("loopback");
    }
    let sent = Instant::now();
    socket.readable().await.expect("packets wait");
    // Nobody takes them, as in a process that is stopped.
    eventually(|| sent.elapsed() >= WAIT).await;
    let (gossip, cancel) = (Gossip::new(Late::default(), origin), CancellationToken::new());
    let task = tokio::spawn(gossip.clone().drive(socket, InTheClear, cancel.clone(), |_, _| {}));
    eventually(|| gossip.look(|machine, _| machine.packets == 3)).await;
    let most = origin.elapsed() - before;
    cancel.cancel();
    task.await.expect("it ends");
    let ages = gossip.look(|machine, _| machine.ages.clone());
    assert_eq!(ages.first().map(|(packets, _)| *packets), Some(0), "before the first: {ages:?}");
    let longest = ages.iter().map(|(_, age)| *age).max().expect("told");
    assert!((WAIT..=most).contains(&longest), "{ages:?} of at most {most:?}");
    assert_eq!(u128::from(gossip.statistics().waited_us_max), longest.as_micros());
}
