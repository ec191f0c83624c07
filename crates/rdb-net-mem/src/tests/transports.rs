//! Whole transports on a network in memory, as users have them. What every transport must do is the conformance suite's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_session::Identity;
use rdb_net_transport::{Answer, CallOptions, Config, HandlerOptions, Handling, PeerHandle, Request, Transport};
use rdb_net_types::{
    Application, BootId, ClusterId, Effect, Incarnation, Lane, MessageType, NodeId, Payload, ProtocolRange, Reason,
    RequestError,
};

use super::{at, network};
use crate::{LinkFaults, MemoryConfig, MemoryNetwork};

const NOTE: MessageType = MessageType::FIRST_APPLICATION;
const SOON: Duration = Duration::from_secs(20);

/// What a node's handler got.
type Notes = Arc<Mutex<Vec<(Lane, u8)>>>;

fn config(node: &str) -> Config {
    let identity = Identity {
        cluster: ClusterId::new("test").expect("legal"),
        node: NodeId::new(node).expect("legal"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(node.bytes().map(u64::from).sum()),
        address: at(&format!("{node}:1")),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    };
    Config { bind: Some(identity.address.clone()), ..Config::new(identity) }
}

/// A node that notes what it gets.
async fn start(network: &MemoryNetwork, config: Config) -> (Transport, Notes) {
    let transport = network.transport(config);
    let notes = Notes::default();
    let noted = Arc::clone(&notes);
    let note = move |_: &NodeId, request: Request| {
        noted.lock().expect("no panic").push((request.lane, request.body.structure()[0]));
        Handling::Ready(Ok(Answer::Empty))
    };
    transport.handle(NOTE, Arc::new(note), HandlerOptions::default());
    transport.start().await.expect("the name is free");
    (transport, notes)
}

fn to(from: &Transport, node: &str) -> PeerHandle {
    from.peer(&NodeId::new(node).expect("legal"), &at(&format!("{node}:1")))
}

async fn note(peer: &PeerHandle, number: u8) -> Result<(), RequestError> {
    let message = Application { message_type: NOTE, payload: Payload::from(vec![number]) };
    peer.request(&message, CallOptions::timeout(SOON)).await.map(drop)
}

/// Sends ten notes on each of two lanes in turn, and gives how they arrived.
async fn in_turn(config_of_network: MemoryConfig) -> Vec<(Lane, u8)> {
    let network = MemoryNetwork::new(config_of_network);
    let ((a, _), (b, notes)) = (start(&network, config("a")).await, start(&network, config("b")).await);
    let peer = to(&a, "b");
    note(&peer, 255).await.expect("answered");
    let on = |lane| CallOptions { lane: Some(lane), ..CallOptions::timeout(SOON) };
    for number in 0..10 {
        for lane in [Lane::Interactive, Lane::System] {
            let message = Application { message_type: NOTE, payload: Payload::from(vec![number]) };
            peer.send(&message, on(lane)).await.expect("queued");
        }
    }
    assert!(a.shutdown().await && b.shutdown().await);
    let notes = notes.lock().expect("no panic");
    assert_eq!(notes.len(), 21);
    notes[1..].to_vec()
}

#[tokio::test]
async fn frames_of_two_lanes_arrive_in_another_order_with_another_seed() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..10 {
        let notes = in_turn(MemoryConfig { seed, ..MemoryConfig::default() }).await;
        for lane in [Lane::Interactive, Lane::System] {
            let numbers = notes.iter().filter(|(of, _)| *of == lane).map(|(_, number)| *number);
            assert!(numbers.eq(0..10), "a lane keeps its order: {notes:?}");
        }
        orders.insert(notes);
    }
    assert!(orders.len() > 1, "{orders:?}");
}

#[tokio::test]
async fn without_shuffling_every_seed_gives_the_same_order() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..5 {
        orders.insert(in_turn(MemoryConfig { seed, shuffle_lanes: false, ..MemoryConfig::default() }).await);
    }
    assert_eq!(orders.len(), 1, "{orders:?}");
}

#[tokio::test]
async fn a_connection_that_is_reset_is_made_anew() {
    let network = network(LinkFaults::NONE);
    let ((a, _), (b, notes)) = (start(&network, config("a")).await, start(&network, config("b")).await);
    let peer = to(&a, "b");
    note(&peer, 1).await.expect("answered");
    network.reset(&at("a:1"), &at("b:1"));
    let seen = async {
        while peer.is_up() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, seen).await.expect("the reset is seen");
    note(&peer, 2).await.expect("answered");
    assert_eq!(*notes.lock().expect("no panic"), [(Lane::Interactive, 1), (Lane::Interactive, 2)]);
    assert!(a.shutdown().await && b.shutdown().await);
    drop((a, b, peer));
    assert_eq!(network.connections(), 0);
}

#[tokio::test]
async fn a_cut_off_node_is_told_from_one_that_is_down() {
    let network =
        MemoryNetwork::new(MemoryConfig { dial_timeout: Duration::from_millis(20), ..MemoryConfig::default() });
    let ((a, _), (b, _)) = (start(&network, config("a")).await, start(&network, config("b")).await);
    network.cut(&at("a:1"), &at("b:1"));
    let cut = note(&to(&a, "b"), 1).await.expect_err("cut off");
    assert_eq!(
        (cut.effect, cut.reason, cut.detail.as_deref()),
        (Effect::NotSent, Reason::Unreachable, Some("dial_timed_out"))
    );
    let down = note(&to(&a, "c"), 1).await.expect_err("nobody is there");
    assert_eq!((down.reason, down.detail.as_deref()), (Reason::Unreachable, Some("dial_refused")));
    network.mend(&at("a:1"), &at("b:1"));
    let peer = to(&a, "b");
    peer.hurry();
    note(&peer, 2).await.expect("mended");
    assert!(a.shutdown().await && b.shutdown().await);
}

#[tokio::test]
async fn requests_pass_a_rough_network_unharmed() {
    let rough = LinkFaults {
        jitter: Duration::from_millis(3),
        loss: 0.01,
        duplication: 0.1,
        reordering: 0.1,
        reordering_delay: Duration::from_millis(5),
        ..LinkFaults::lan()
    };
    let network = network(rough);
    let ((a, _), (b, notes)) = (start(&network, config("a")).await, start(&network, config("b")).await);
    let peer = to(&a, "b");
    for number in 0..50 {
        note(&peer, number).await.expect("answered");
    }
    let numbers: Vec<u8> = notes.lock().expect("no panic").iter().map(|(_, number)| *number).collect();
    assert!(numbers.iter().copied().eq(0..50), "{numbers:?}");
    assert!(a.shutdown().await && b.shutdown().await);
}

#[tokio::test(start_paused = true)]
async fn a_transport_lives_in_virtual_time() {
    let network = network(LinkFaults { latency: Duration::from_millis(30), ..LinkFaults::NONE });
    let ((a, _), (_b, _)) = (start(&network, config("a")).await, start(&network, config("b")).await);
    let began = tokio::time::Instant::now();
    tokio::time::advance(Duration::from_secs(60)).await;
    note(&to(&a, "b"), 1).await.expect("answered");
    let took = began.elapsed() - Duration::from_secs(60);
    assert!((Duration::from_millis(60)..Duration::from_secs(1)).contains(&took), "{took:?}");
}
