//! Two transports over loopback sockets.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_transport::{CallOptions, HandlerOptions, Handling, Request};
use rdb_net_types::{Application, Effect, MessageType, NodeAddress, NodeId, Payload, Reason, RefusalReason};

use super::{echo, message, node, node_of, to};

#[tokio::test]
async fn a_request_is_answered_by_the_handler_of_its_type() {
    let (a, b) = (node("a").await, node("b").await);
    echo(&b);
    let peer = to(&a, "b", &b);
    for size in [0usize, 1, 64, 4096, 4097, 100_000, 200_000] {
        let sent = vec![7u8; size];
        let reply = peer.request(&message(sent.clone()), CallOptions::default()).await.expect("answered");
        assert_eq!(reply.body.into_payload().into_bytes(), sent);
    }
    assert!(a.shutdown().await && b.shutdown().await, "everything ended in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_one_connection() {
    let (a, b) = (node("a").await, node("b").await);
    echo(&b);
    let peer = to(&a, "b", &b);
    let callers = (0..64u8).map(|caller| {
        let peer = peer.clone();
        tokio::spawn(async move {
            for round in 0..200u8 {
                let sent = vec![caller, round];
                let reply = peer.request(&message(sent.clone()), CallOptions::default()).await.expect("answered");
                assert_eq!(reply.body.into_payload().into_bytes(), sent);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("no caller panicked");
    }
    let statistics = b.statistics();
    let from_a = &statistics.peers[&NodeId::new("a").expect("legal")];
    assert_eq!((from_a.active_connections, from_a.received[&super::ECHO]), (1, 64 * 200));
    assert!(a.shutdown().await && b.shutdown().await);
}

#[tokio::test]
async fn a_type_without_handler_was_not_started() {
    let (a, b) = (node("a").await, node("b").await);
    let error = to(&a, "b", &b).request(&message("x"), CallOptions::default()).await.expect_err("no handler");
    assert_eq!((error.effect, error.reason), (Effect::NotStarted, Reason::UnknownType));
}

#[tokio::test]
async fn nobody_at_the_address_is_told_at_once() {
    let (a, b) = (node("a").await, node("b").await);
    let address = b.advertised_address();
    assert!(b.shutdown().await);
    let peer = a.peer(&NodeId::new("b").expect("legal"), &address);
    let error = peer.request(&message("x"), CallOptions::default()).await.expect_err("nobody is there");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Unreachable));
}

#[tokio::test]
async fn another_cluster_and_another_node_are_refused_with_the_reason() {
    let (a, b) = (node("a").await, node_of("b", "other", |_| {}).await);
    let error = to(&a, "b", &b).request(&message("x"), CallOptions::default()).await.expect_err("refused");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Refused(RefusalReason::Cluster)));
    let c = node("c").await;
    let error = to(&a, "d", &c).request(&message("x"), CallOptions::default()).await.expect_err("refused");
    assert_eq!(error.reason, Reason::Refused(RefusalReason::TargetNode));
}

#[tokio::test]
async fn a_deadline_ends_the_request_and_not_the_connection() {
    let (a, b) = (node("a").await, node("b").await);
    echo(&b);
    let never = |_: &NodeId, _: Request| Handling::Later(Box::pin(std::future::pending()));
    b.handle(MessageType(0x8001), Arc::new(never), HandlerOptions::default());
    let peer = to(&a, "b", &b);
    let slow = Application { message_type: MessageType(0x8001), payload: Payload::new() };
    let error = peer.request(&slow, CallOptions::timeout(Duration::from_millis(50))).await.expect_err("never answered");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::Expired));
    peer.request(&message("x"), CallOptions::default()).await.expect("the connection lives");
    assert_eq!(a.statistics().peers[&NodeId::new("b").expect("legal")].active_connections, 1);
    assert!(a.shutdown().await && b.shutdown().await);
}

/// S24: a panic of a handler is the answer to its request, at once or later.
#[tokio::test]
async fn a_handler_that_panics_answers_and_harms_nobody() {
    let (a, b) = (node("a").await, node("b").await);
    echo(&b);
    let panics = |_: &NodeId, _: Request| -> Handling { panic!("planted") };
    b.handle(MessageType(0x8001), Arc::new(panics), HandlerOptions::default());
    let panics_later = |_: &NodeId, _: Request| {
        Handling::Later(Box::pin(async {
            tokio::task::yield_now().await;
            panic!("planted")
        }))
    };
    b.handle(MessageType(0x8002), Arc::new(panics_later), HandlerOptions::default());
    let peer = to(&a, "b", &b);
    for message_type in [MessageType(0x8001), MessageType(0x8002)] {
        let bad = Application { message_type, payload: Payload::new() };
        let error = peer.request(&bad, CallOptions::default()).await.expect_err("panicked");
        assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::HandlerPanicked));
        peer.request(&message("x"), CallOptions::default()).await.expect("the connection lives");
    }
    let errors = &a.statistics().peers[&NodeId::new("b").expect("legal")].errors;
    assert!(errors.is_empty(), "it is the same connection: {errors:?}");
}

#[tokio::test]
async fn a_stranger_who_still_sends_sees_an_end_and_no_reset() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let b = node("b").await;
    let mut stranger = tokio::net::TcpStream::connect(b.local_address().expect("it listens")).await.expect("accepted");
    // More than one read takes in, so that bytes are left unread when the first are found to be no frame.
    stranger.write_all(&vec![b'x'; 1 << 20]).await.expect("they are taken");
    stranger.shutdown().await.expect("open");
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stranger.read_to_end(&mut said)).await;
    read.expect("it ends").expect("it is not reset");
    assert!(b.shutdown().await);
}

#[tokio::test]
async fn a_lost_connection_ends_its_requests_and_is_made_anew() {
    let (a, b) = (node("a").await, node("b").await);
    let never = |_: &NodeId, _: Request| Handling::Later(Box::pin(std::future::pending()));
    b.handle(MessageType(0x8001), Arc::new(never), HandlerOptions::default());
    echo(&b);
    let peer = to(&a, "b", &b);
    let slow = Application { message_type: MessageType(0x8001), payload: Payload::new() };
    let caller = tokio::spawn({
        let peer = peer.clone();
        async move { peer.request(&slow, CallOptions::timeout(Duration::from_secs(20))).await }
    });
    peer.request(&message("x"), CallOptions::default()).await.expect("answered");
    let address: NodeAddress = b.advertised_address();
    b.close_connections();
    let error = caller.await.expect("no panic").expect_err("lost");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::ConnectionLost));
    assert_eq!(b.advertised_address(), address);
    peer.request(&message("x"), CallOptions::default()).await.expect("a new connection was made");
}
