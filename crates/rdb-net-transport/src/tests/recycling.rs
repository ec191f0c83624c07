//! Connections that close because nobody uses them, because they are old, or because others need their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdb_net_peer::{DialFailure, Failure, PeerEvent, Slot};
use rdb_net_types::{Effect, Lane, MessageType, NodeId, Reason, RefusalReason};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{NEVER, Network, SOON, config, echo, id, message, start, to, until};
use crate::{Answer, CallOptions, Config, Epoch, HandlerOptions, Handling, PeerHandle, Request, Transport};

const GATED: MessageType = MessageType(0x8002);

fn impatient(idle: Option<Duration>, age: Option<Duration>) -> Config {
    let mut impatient = config("a");
    (impatient.peer.idle_timeout, impatient.peer.age_max) = (idle, age);
    impatient
}

fn links(transport: &Transport) -> usize {
    transport.inner.registry.links().len()
}

fn epoch(peer: &PeerHandle) -> u64 {
    peer.epoch(Lane::Interactive, None).map_or(0, |epoch| epoch.0)
}

/// Answers one request for each permit.
fn gate(transport: &Transport) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let waited = Arc::clone(&gate);
    let later = move |_: &NodeId, request: Request| {
        let gate = Arc::clone(&waited);
        Handling::Later(Box::pin(async move {
            gate.acquire().await.expect("never closed").forget();
            Ok(Answer::Payload(request.into_payload()))
        }))
    };
    transport.handle(GATED, Arc::new(later), HandlerOptions::default());
    gate
}

#[tokio::test]
async fn an_idle_connection_closes_and_the_next_message_makes_a_new_one() {
    let network = Network::default();
    let a = start(&network, impatient(Some(Duration::from_millis(20)), None)).await;
    let b = start(&network, config("b")).await;
    let peer = to(&a, "b");
    for round in 1..=3 {
        echo(&peer).await.expect("answered");
        assert_eq!(epoch(&peer), round);
        until("it is idle", || links(&a) == 0 && links(&b) == 0).await;
    }
    assert!(a.statistics().peers[&id("b")].errors.is_empty(), "that is no error");
}

#[tokio::test]
async fn a_connection_that_is_kept_or_in_use_is_not_idle() {
    let network = Network::default();
    let a = start(&network, impatient(Some(Duration::from_millis(20)), None)).await;
    let mut others = Vec::new();
    for name in ["b", "c", "d"] {
        others.push(start(&network, config(name)).await);
    }
    let (kept, used, idle) = (to(&a, "b"), to(&a, "c"), to(&a, "d"));
    kept.keep(true);
    until("it is up", || kept.is_up()).await;
    let opened = gate(&others[1]);
    let waiting = tokio::spawn({
        let used = used.clone();
        async move { used.request(&message(GATED, "x"), CallOptions::timeout(SOON)).await.map(drop) }
    });
    for round in 1..=3 {
        echo(&idle).await.expect("answered");
        assert_eq!(epoch(&idle), round);
        until("it is idle", || epoch(&idle) == 0).await;
    }
    assert_eq!((epoch(&kept), epoch(&used)), (1, 1));
    opened.add_permits(1);
    waiting.await.expect("no panic").expect("answered");
    until("the reply was its last use", || epoch(&used) == 0).await;
    kept.keep(false);
    until("nobody keeps it", || epoch(&kept) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_is_replaced_and_no_request_fails_by_it() {
    let network = Network::default();
    let a = start(&network, impatient(None, Some(Duration::from_millis(25)))).await;
    let b = start(&network, config("b")).await;
    let opened = gate(&b);
    let peer = to(&a, "b");
    peer.keep(true);
    until("it is up", || peer.is_up()).await;
    // It is answered only when its connection was replaced.
    let slow = tokio::spawn({
        let peer = peer.clone();
        async move { peer.request(&message(GATED, "x"), CallOptions::timeout(SOON)).await.map(drop) }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (peer, stop) = (peer.clone(), Arc::clone(&stop));
        callers.spawn(async move {
            let mut answered = 0u64;
            while !stop.load(Ordering::Relaxed) {
                echo(&peer).await.expect("answered");
                answered += 1;
            }
            answered
        });
    }
    until("the first connection was replaced", || epoch(&peer) >= 2).await;
    opened.add_permits(1);
    slow.await.expect("no panic").expect("the old connection serves what it has begun");
    until("it was replaced many times", || epoch(&peer) >= 12).await;
    stop.store(true, Ordering::Relaxed);
    let answered = callers.join_all().await.into_iter().sum::<u64>();
    assert!(answered > 100, "{answered}");
    assert!(peer.is_up(), "it is kept all the while");
    assert!(a.statistics().peers[&id("b")].errors.is_empty());
}

#[tokio::test]
async fn a_seeds_connection_is_replaced_for_the_node_that_it_led_to_as_well() {
    let network = Network::default();
    let a = start(&network, impatient(None, Some(Duration::from_millis(25)))).await;
    let _b = start(&network, config("b")).await;
    let seed = a.seed(&"b:1".parse().expect("legal"));
    echo(&seed).await.expect("answered");
    let named = a.find_peer(&id("b")).expect("the seed has told its name");
    // A connection of its own would count for the node alone.
    until("both have moved on", || epoch(&seed) >= 4 && epoch(&named) == epoch(&seed)).await;
    echo(&named).await.expect("answered");
}

/// A node that may have three connections and uses each, so that the first peer's was not used for longest.
async fn full() -> (Network, Transport, Vec<Transport>) {
    let network = Network::default();
    let mut narrow = config("a");
    narrow.connections_max = 3;
    let a = start(&network, narrow).await;
    let mut others = Vec::new();
    for name in ["b", "c", "d", "e"] {
        others.push(start(&network, config(name)).await);
    }
    for name in ["b", "c", "d", "b"] {
        echo(&to(&a, name)).await.expect("answered");
        look(&a);
    }
    (network, a, others)
}

/// Looks at every connection, as happens from time to time.
fn look(transport: &Transport) {
    for peer in transport.inner.registry.peers() {
        peer.lock_pool().look(transport.clock().now(), Slot::FIRST);
    }
}

fn up(transport: &Transport) -> Vec<&'static str> {
    ["b", "c", "d", "e"].into_iter().filter(|name| to(transport, name).is_up()).collect()
}

#[tokio::test]
async fn at_the_limit_the_least_recently_used_connection_makes_room() {
    let (_network, a, _others) = full().await;
    echo(&to(&a, "e")).await.expect("there is room");
    assert_eq!((up(&a), links(&a)), (vec!["b", "d", "e"], 3));
    look(&a);
    to(&a, "d").keep(true);
    echo(&to(&a, "c")).await.expect("there is room");
    assert_eq!(up(&a), ["c", "d", "e"], "a kept one is not closed");
}

#[tokio::test]
async fn a_connection_in_use_makes_no_room() {
    let (_network, a, _others) = full().await;
    let mut waiting = JoinSet::new();
    for name in ["b", "c", "d"] {
        let peer = to(&a, name);
        waiting.spawn(async move { peer.request(&message(NEVER, "x"), CallOptions::timeout(SOON)).await.map(drop) });
    }
    let in_flight = || a.peers().iter().map(|peer| peer.requests_in_flight).sum::<usize>();
    until("all are in use", || in_flight() == 3).await;
    let error = echo(&to(&a, "e")).await.expect_err("there is no room");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Unreachable));
    let failure = loop {
        if let PeerEvent::DialFailed { failure, .. } = a.next_event().await {
            break failure;
        }
    };
    assert_eq!(failure, Failure::Dial(DialFailure::ConnectionLimit));
    assert_eq!(in_flight(), 3, "and nobody was disturbed");
}

#[tokio::test]
async fn at_the_limit_a_connection_that_another_makes_is_refused_with_the_reason() {
    let (_network, a, others) = full().await;
    let error = echo(&to(&others[3], "a")).await.expect_err("there is no room");
    assert_eq!(error.reason, Reason::Refused(RefusalReason::ConnectionLimit));
    assert_eq!(up(&a), ["b", "c", "d"], "no connection of our own makes room for it");
}

/// Lets dials through one by one, until it holds.
async fn admit(network: &Network, what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || {
        if network.under_way.0.load(Ordering::SeqCst) > 0 && network.dials.available_permits() == 0 {
            network.dials.add_permits(1);
        }
        holds()
    })
    .await;
}

#[tokio::test]
async fn many_peers_are_never_dialled_all_at_once() {
    const PEERS: usize = 200;
    const AT_ONCE: usize = 16;
    let network = Network::default();
    network.dials.forget_permits(1000);
    let mut calm = config("a");
    calm.dials_max = AT_ONCE;
    let a = start(&network, calm).await;
    let mut others = Vec::new();
    for number in 0..PEERS {
        others.push(start(&network, config(&format!("n{number}"))).await);
    }
    let peers: Vec<PeerHandle> = (0..PEERS).map(|number| to(&a, &format!("n{number}"))).collect();
    let all_up = |epoch| peers.iter().all(|peer| peer.epoch(Lane::System, None) == Some(Epoch(epoch)));
    let dialing = || network.under_way.0.load(Ordering::SeqCst);
    peers.iter().for_each(|peer| peer.keep(true));
    until("as many are dialled as may be", || dialing() == AT_ONCE).await;
    admit(&network, "all are up", || all_up(1)).await;
    // All come back at once.
    a.close_connections();
    until("as many are dialled as may be", || dialing() == AT_ONCE).await;
    admit(&network, "all are up again", || all_up(2)).await;
    assert_eq!(network.under_way.1.load(Ordering::SeqCst), AT_ONCE);
    assert!(a.statistics().unidentified_errors.is_empty(), "waiting for one's turn is no failure");
}
