//! Several connections to one peer: which message takes which, what order holds, and what a missing one means.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use rdb_net_types::{Lane, NetworkTransport, NodeId};

use super::{ECHO, NEVER, Network, SOON, config, echo, id, message, pair, start, to, until};
use crate::{
    Answer, CallOptions, Config, Epoch, HandlerOptions, Handling, LinkSide, PeerEvent, PeerHandle, Request, Slot,
    Transport,
};

fn striped(connections: u8) -> Config {
    let mut striped = config("a");
    striped.peer.connections = connections;
    striped
}

fn links(transport: &Transport) -> usize {
    transport.inner.registry.links().len()
}

fn keyed(key: u64) -> CallOptions {
    CallOptions { key: Some(key), ..CallOptions::timeout(SOON) }
}

fn on(lane: Lane) -> CallOptions {
    CallOptions { lane: Some(lane), ..CallOptions::timeout(SOON) }
}

async fn echo_with(peer: &PeerHandle, options: CallOptions) {
    peer.request(&message(ECHO, "xx"), options).await.expect("answered");
}

/// Notes what arrives.
fn note(transport: &Transport) -> Arc<Mutex<Vec<[u8; 2]>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let note = move |_: &NodeId, request: Request| {
        let bytes = request.into_payload().into_bytes();
        noted.lock().expect("no panic").push([bytes[0], bytes[1]]);
        Handling::Ready(Ok(Answer::Empty))
    };
    transport.handle(ECHO, Arc::new(note), HandlerOptions::default());
    seen
}

#[tokio::test]
async fn the_bulk_connection_is_dialled_when_something_is_first_sent_on_it() {
    let (a, _b) = pair().await;
    let peer = to(&a, "b");
    for lane in [Lane::System, Lane::Interactive, Lane::Replication] {
        echo_with(&peer, on(lane)).await;
        assert_eq!(links(&a), 1, "{lane:?} has no connection of its own");
    }
    assert_eq!(peer.epoch(Lane::Bulk, None), None);
    echo_with(&peer, on(Lane::Bulk)).await;
    assert_eq!((links(&a), peer.epoch(Lane::Bulk, None)), (2, Some(Epoch(1))));
    peer.send(&message(ECHO, "x"), on(Lane::Bulk)).await.expect("queued");
    assert_eq!(links(&a), 2);
}

#[tokio::test]
async fn the_system_lane_never_takes_the_bulk_connection() {
    let (a, b) = pair().await;
    let peer = to(&a, "b");
    echo_with(&peer, on(Lane::Bulk)).await;
    let bulk = a.inner.registry.links()[0].number;
    echo_with(&peer, on(Lane::System)).await;
    assert_eq!(links(&a), 2);
    // What is under way on the System lane is lost with the main connection, and not with that for bulk.
    let waiting = tokio::spawn({
        let peer = peer.clone();
        async move { peer.request(&message(NEVER, "x"), on(Lane::System)).await.map(drop) }
    });
    let in_flight = |number: u64| {
        let links = a.inner.registry.links();
        let link = links.iter().find(|link| (link.number == bulk) == (number == bulk));
        link.map_or(0, |link| link.lock().session.requests_in_flight())
    };
    until("it is under way", || in_flight(bulk + 1) == 1).await;
    assert_eq!(in_flight(bulk), 0);
    b.close_connections();
    waiting.await.expect("no panic").expect_err("lost");
}

#[tokio::test]
async fn one_way_messages_of_a_key_keep_their_order_over_many_connections() {
    let network = Network::default();
    let a = start(&network, striped(4)).await;
    let b = start(&network, config("b")).await;
    let seen = note(&b);
    let peer = to(&a, "b");
    for number in 0..100 {
        for key in 0..8 {
            peer.send(&message(ECHO, vec![key, number]), keyed(key.into())).await.expect("queued");
        }
    }
    until("all are there", || seen.lock().expect("no panic").len() == 800).await;
    assert!(links(&a) > 1, "the keys spread");
    for key in 0..8 {
        let seen = seen.lock().expect("no panic");
        let numbers: Vec<u8> = seen.iter().filter(|seen| seen[0] == key).map(|seen| seen[1]).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "key {key}");
    }
}

#[tokio::test]
async fn requests_of_a_key_keep_their_order_whichever_thread_writes_them() {
    let (a, b) = pair().await;
    let seen = note(&b);
    let peer = to(&a, "b");
    echo_with(&peer, keyed(7)).await;
    seen.lock().expect("no panic").clear();
    let messages: Vec<_> = (0..32u8).map(|number| message(ECHO, vec![7, number])).collect();
    let mut calls: Vec<_> = messages.iter().map(|message| Box::pin(peer.request(message, keyed(7)))).collect();
    // Each is written by a thread of its own, one after the other, before the connection's task has its turn.
    for call in &mut calls {
        std::thread::scope(|scope| {
            let written = scope.spawn(|| call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert!(written.join().expect("no panic"));
        });
    }
    for call in calls {
        call.await.expect("answered");
    }
    let numbers: Vec<u8> = seen.lock().expect("no panic").iter().map(|seen| seen[1]).collect();
    assert_eq!(numbers, (0..32).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_without_a_key_use_all_connections_and_one_way_messages_keep_to_one() {
    let network = Network::default();
    let a = start(&network, striped(3)).await;
    let b = start(&network, config("b")).await;
    let seen = note(&b);
    let peer = to(&a, "b");
    for number in 0..50 {
        peer.send(&message(ECHO, vec![0, number]), CallOptions::timeout(SOON)).await.expect("queued");
    }
    assert_eq!(links(&a), 1);
    until("all are there", || seen.lock().expect("no panic").len() == 50).await;
    let numbers: Vec<u8> = seen.lock().expect("no panic").iter().map(|seen| seen[1]).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    let up = || a.inner.registry.links().iter().filter(|link| link.is_up()).count();
    for _ in 0..3 {
        echo_with(&peer, CallOptions::timeout(SOON)).await;
    }
    until("all three are up", || up() == 3).await;
    for _ in 0..30 {
        echo_with(&peer, CallOptions::timeout(SOON)).await;
    }
    let counts: Vec<u64> = a.inner.registry.links().iter().map(|link| link.statistics().0.latency.count()).collect();
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
}

#[tokio::test]
async fn a_connection_that_is_missing_holds_up_no_request_that_another_can_take() {
    let network = Network::default();
    let dials = network.dials.available_permits();
    network.dials.forget_permits(dials - 1);
    let a = start(&network, striped(2)).await;
    let _b = start(&network, config("b")).await;
    let peer = to(&a, "b");
    for _ in 0..20 {
        echo(&peer).await.expect("answered");
    }
    assert_eq!(network.under_way.0.load(Ordering::SeqCst), 1, "the other one is being dialled, once");
    // One whose key belongs there waits for it.
    let key = (0..).find(|key| peer.epoch(Lane::Interactive, Some(*key)).is_none()).expect("one of two is missing");
    let call = message(ECHO, "x");
    let mut waiting = Box::pin(peer.request(&call, keyed(key)));
    for _ in 0..20 {
        echo(&peer).await.expect("answered");
        assert!(matches!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    }
    network.dials.add_permits(1);
    waiting.await.expect("answered");
    assert_eq!(links(&a), 2);
}

#[tokio::test]
async fn the_epoch_grows_by_one_with_each_connection_and_is_told() {
    let (a, b) = pair().await;
    let peer = to(&a, "b");
    for epoch in 1..=3 {
        assert_eq!(peer.epoch(Lane::Interactive, Some(9)), None);
        echo(&peer).await.expect("answered");
        assert_eq!(peer.epoch(Lane::Interactive, Some(9)), Some(Epoch(epoch)));
        let told = loop {
            if let PeerEvent::Up { side: LinkSide::Dialer, place, .. } = a.next_event().await {
                break place;
            }
        };
        assert_eq!(told, Some((Slot::FIRST, Epoch(epoch))));
        b.close_connections();
        until("its end is seen", || links(&a) == 0).await;
    }
}

#[tokio::test]
async fn a_ping_measures_the_way_and_needs_no_handler() {
    let (a, b) = pair().await;
    let peer = to(&a, "b");
    let round_trip = peer.ping(SOON).await.expect("it is there");
    assert!(round_trip > std::time::Duration::ZERO && round_trip < SOON);
    let address = "b:1".parse().expect("legal");
    NetworkTransport::ping(&a, &address).await.expect("by its address too");
    assert!(b.shutdown().await);
    peer.ping(SOON).await.expect_err("nobody is there");
    assert_eq!(a.find_peer(&id("b")).map(|peer| peer.is_up()), Some(false));
}
