//! Large messages: shared from end to end, compressed where nobody waits for it, and bounded by what they need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rdb_net_session::CompressionConfig;
use rdb_net_types::{Effect, Lane, NodeId, OverloadScope, Payload, Reason};

use super::pipe::Network;
use super::{ECHO, SOON, config, message, pair, start, to, until};
use crate::{Answer, CallOptions, HandlerOptions, Handling, Request, Transport};

fn on(lane: Lane) -> CallOptions {
    CallOptions { lane: Some(lane), ..CallOptions::timeout(SOON) }
}

async fn compressing() -> (Transport, Transport) {
    let network = Network::default();
    let compressing = |node| {
        let mut config = config(node);
        config.session.compression = CompressionConfig::default();
        config
    };
    (start(&network, compressing("a")).await, start(&network, compressing("b")).await)
}

#[tokio::test]
async fn a_message_of_ten_mebibytes_goes_there_and_back() {
    for (a, _b) in [pair().await, compressing().await] {
        let payload: Payload = Bytes::from((0..10u32 << 20).map(|index| (index >> 8) as u8).collect::<Vec<_>>()).into();
        for lane in Lane::ALL {
            let reply = to(&a, "b").request(&message(ECHO, payload.clone()), on(lane)).await.expect("answered");
            assert_eq!(reply.into_payload(), payload);
        }
        assert_eq!(a.memory().0, 0, "what the caller has counts no longer");
    }
}

#[tokio::test]
async fn what_compresses_well_travels_small() {
    let (a, _b) = compressing().await;
    let payload = Payload::from(vec![7; 1 << 20]);
    for _ in 0..3 {
        let reply =
            to(&a, "b").request(&message(ECHO, payload.clone()), on(Lane::Interactive)).await.expect("answered");
        assert_eq!(reply.into_payload(), payload);
    }
    let statistics = a.statistics();
    let peer = statistics.peers.values().next().expect("one peer");
    assert!(peer.bytes_sent < 100_000 && peer.bytes_received < 100_000, "{peer:?}");
    assert!(peer.compressed.0 >= 3 << 20 && peer.compressed.1 < 100_000, "{:?}", peer.compressed);
}

#[tokio::test]
async fn a_message_beyond_the_memory_of_its_receiver_is_not_started_and_harms_nobody() {
    let network = Network::default();
    let a = start(&network, config("a")).await;
    let mut small = config("b");
    small.memory_bytes_max = 2 << 20;
    let b = start(&network, small).await;
    let peer = to(&a, "b");
    let error = peer.request(&message(ECHO, vec![7; 3 << 20]), on(Lane::Bulk)).await.expect_err("no memory");
    assert_eq!((error.effect, error.reason), (Effect::NotStarted, Reason::Overloaded(OverloadScope::Process)));
    let reply = peer.request(&message(ECHO, vec![7; 1 << 20]), on(Lane::Bulk)).await.expect("answered");
    assert_eq!(reply.body.len(), 1 << 20);
    let error = peer.request(&message(ECHO, vec![7; 65 << 20]), on(Lane::Bulk)).await.expect_err("too large");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::TooLarge));
    assert!(b.memory().0 <= 2 << 20);
}

#[tokio::test]
async fn a_slow_handler_holds_up_its_own_lane_only() {
    let (a, b) = pair().await;
    let slow = rdb_net_types::MessageType(0x8020);
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let never = move |_: &NodeId, _: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        Handling::Later(Box::pin(std::future::pending()))
    };
    b.handle(slow, Arc::new(never), HandlerOptions { concurrency_max: 1_000_000 });
    let peer = to(&a, "b");
    peer.request(&message(ECHO, "up"), on(Lane::Interactive)).await.expect("answered");
    let mut sent = 0;
    let error = loop {
        match peer.try_send(&message(slow, vec![7; 10_000]), on(Lane::Replication)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Overloaded(OverloadScope::Lane)));
    until("the slow ones begin", || begun.load(Ordering::SeqCst) == sent).await;
    for lane in [Lane::System, Lane::Interactive, Lane::Bulk] {
        peer.request(&message(ECHO, vec![7; 100_000]), on(lane)).await.expect("answered");
    }
}

#[tokio::test]
async fn one_way_messages_wait_for_their_handler_and_hold_up_their_lane_only() {
    let (a, b) = pair().await;
    let busy = rdb_net_types::MessageType(0x8021);
    let places = Arc::new(tokio::sync::Semaphore::new(0));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (kept, held) = (Arc::clone(&seen), Arc::clone(&places));
    let slow = move |_: &NodeId, request: Request| {
        kept.lock().expect("no panic").push(request.into_payload().into_bytes()[0]);
        let held = Arc::clone(&held);
        Handling::Later(Box::pin(async move {
            held.acquire().await.expect("never closed").forget();
            Ok(Answer::Empty)
        }))
    };
    b.handle(busy, Arc::new(slow), HandlerOptions { concurrency_max: 2 });
    let peer = to(&a, "b");
    for number in 0..100u8 {
        peer.send(&message(busy, vec![number; 100]), on(Lane::Replication)).await.expect("queued");
    }
    until("two begin", || seen.lock().expect("no panic").len() == 2).await;
    let refused = peer.request(&message(busy, vec![200; 100]), on(Lane::Bulk)).await.expect_err("no place");
    assert_eq!((refused.effect, refused.reason), (Effect::NotStarted, Reason::Overloaded(OverloadScope::Handler)));
    for lane in [Lane::System, Lane::Interactive, Lane::Bulk] {
        peer.request(&message(ECHO, "x"), on(lane)).await.expect("answered");
    }
    assert_eq!(seen.lock().expect("no panic").len(), 2);
    places.add_permits(100);
    until("all were handled", || seen.lock().expect("no panic").len() == 100).await;
    assert_eq!(*seen.lock().expect("no panic"), (0..100).collect::<Vec<u8>>());
    let handlers = b.handlers();
    let busy = handlers.iter().find(|handler| handler.message_type == busy).expect("registered");
    assert_eq!((busy.overloaded, busy.panicked), (1, 0));
    until("all were timed", || b.handlers().iter().any(|handler| handler.times.count() == 100)).await;
}

#[tokio::test]
async fn the_pieces_of_a_large_message_are_those_of_its_sender() {
    let (a, b) = pair().await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let keep = move |_: &NodeId, request: Request| {
        kept.lock().expect("no panic").push(request.into_payload());
        Handling::Ready(Ok(Answer::Empty))
    };
    b.handle(ECHO, Arc::new(keep), HandlerOptions::default());
    let payload = Payload::from(vec![9; 1 << 20]);
    to(&a, "b").request(&message(ECHO, payload.clone()), on(Lane::Bulk)).await.expect("answered");
    let arrived = seen.lock().expect("no panic").pop().expect("one");
    assert_eq!(arrived, payload);
    assert!(arrived.pieces().len() >= 4, "slices of the read buffers, not put together by a copy");
    assert_eq!(arrived.detach().pieces().len(), 1);
}
