//! What happens at a limit, and when other people's code panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use rdb_net_session::CloseReason;
use rdb_net_types::{
    Authenticator, Credentials, Effect, MessageType, NodeId, Principal, Reason, Refusal, RefusalReason,
};
use rdb_net_wire::{BodyWriter, Encode, Raw, control_type};

use tokio::task::JoinSet;

use super::{ECHO, NEVER, Network, SOON, config, echo, message, pair, start, to, until};
use crate::{Answer, CallOptions, HandlerOptions, Handling, HelloError, Request, TOKEN_BYTES_MAX, Transport};

/// The second takes one request at a time.
async fn pair_with_one_slot() -> (Transport, Transport) {
    let network = Network::default();
    let mut one_slot = config("b");
    one_slot.session.requests_max = 1;
    (start(&network, config("a")).await, start(&network, one_slot).await)
}

#[tokio::test]
async fn a_caller_without_a_slot_goes_on_when_another_gets_its_reply() {
    let (a, _b) = pair_with_one_slot().await;
    let peer = to(&a, "b");
    for _ in 0..20 {
        let (first, second, third) = tokio::join!(echo(&peer), echo(&peer), echo(&peer));
        assert!(first.is_ok() && second.is_ok() && third.is_ok(), "{first:?} {second:?} {third:?}");
    }
}

#[tokio::test]
async fn tasks_that_wait_for_a_slot_are_each_woken_when_one_is_free() {
    let (a, _b) = pair_with_one_slot().await;
    let peer = to(&a, "b");
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let peer = peer.clone();
        callers.spawn(async move { echo(&peer).await });
    }
    while let Some(ended) = callers.join_next().await {
        let outcome = ended.expect("no panic");
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_time_out_that_never_ends_harms_nothing() {
    let (a, _b) = pair_with_one_slot().await;
    let peer = to(&a, "b");
    let for_ever = CallOptions::timeout(std::time::Duration::MAX);
    let one = message(ECHO, "x");
    let (first, second) = tokio::join!(peer.request(&one, for_ever), peer.request(&one, for_ever));
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_type_of_the_protocol_itself_is_not_sent() {
    let (a, _b) = pair().await;
    let reserved = Raw { message_type: control_type::PING, payload: Default::default() };
    let error = to(&a, "b").request(&reserved, CallOptions::timeout(SOON)).await.expect_err("reserved");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::UnknownType));
    let error = to(&a, "b").send(&reserved, CallOptions::timeout(SOON)).await.expect_err("reserved");
    assert_eq!(error.effect, Effect::NotSent);
}

#[tokio::test]
async fn no_more_handlers_begin_than_their_replies_have_room() {
    let network = Network::default();
    let a = start(&network, config("a")).await;
    let mut narrow = config("b");
    narrow.reply_backlog_bytes = 150_000;
    let b = start(&network, narrow).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let large = move |_: &NodeId, _: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        Handling::Ready(Ok(Answer::Payload(vec![7; 100_000].into())))
    };
    b.handle(ECHO, Arc::new(large), HandlerOptions::default());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let peer = to(&a, "b");
        callers.spawn(async move { echo(&peer).await.expect("answered").body.len() });
    }
    // A task of its own has its turn between any two of the connection's.
    let watching = tokio::spawn(async move {
        let mut at_once = 0;
        while !callers.is_empty() {
            at_once = at_once.max(begun.swap(0, Ordering::Relaxed));
            next_turn().await;
            while let Some(size) = callers.try_join_next() {
                assert_eq!(size.expect("no panic"), 100_000);
            }
        }
        at_once
    });
    let at_once = watching.await.expect("no panic");
    assert!((1..=4).contains(&at_once), "{at_once} handlers began in one turn");
}

/// Queues this task behind those that are ready. The runtime's own yield lets the others run several times.
async fn next_turn() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

struct Panics;

impl Authenticator for Panics {
    fn authenticate(&self, _: &Credentials<'_>) -> Result<Principal, Refusal> {
        panic!("planted")
    }
}

#[tokio::test]
async fn an_authenticator_that_panics_lets_nobody_in() {
    let network = Network::default();
    let a = start(&network, config("a")).await;
    let mut guarded = config("b");
    guarded.authenticator = Some(Arc::new(Panics));
    let b = start(&network, guarded).await;
    let error = echo(&to(&a, "b")).await.expect_err("refused");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Refused(RefusalReason::Identity)));
    until("no connection is left", || b.inner.registry.links().is_empty()).await;
}

struct PanicsWhenEncoded;

impl Encode for PanicsWhenEncoded {
    fn message_type(&self) -> MessageType {
        ECHO
    }

    fn encode(&self, _: &mut BodyWriter<'_>) {
        panic!("planted")
    }
}

/// S24.
#[tokio::test]
async fn a_message_that_panics_ends_its_connection_and_everybody_is_told() {
    let (a, _b) = pair().await;
    let peer = to(&a, "b");
    echo(&peer).await.expect("answered");
    let waiting = tokio::spawn({
        let peer = peer.clone();
        async move { peer.request(&message(NEVER, "x"), CallOptions::timeout(SOON)).await }
    });
    until("the request is sent", || a.peers()[0].requests_in_flight == 1).await;
    let panicked = tokio::spawn({
        let peer = peer.clone();
        async move { peer.request(&PanicsWhenEncoded, CallOptions::timeout(SOON)).await.map(drop) }
    });
    assert!(panicked.await.expect_err("it panicked").is_panic());
    let error = waiting.await.expect("no panic").expect_err("the connection ended");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::ConnectionLost));
    echo(&peer).await.expect("a new connection was made");
    assert_eq!(a.inner.registry.links().len(), 1);
}

/// S24: a panic in a connection's task ends that connection, everybody who waits on it is told, and no other notices.
#[tokio::test]
async fn a_connection_whose_task_panics_ends_alone() {
    let network = Network::default();
    let a = start(&network, config("a")).await;
    let (_b, _c) = (start(&network, config("b")).await, start(&network, config("c")).await);
    let (to_b, to_c) = (to(&a, "b"), to(&a, "c"));
    for peer in [&to_b, &to_c] {
        echo(peer).await.expect("answered");
    }
    let number = |node: &str| {
        let links = a.inner.registry.links();
        links.iter().find(|link| link.node().is_some_and(|of| of.as_str() == node)).map(|link| link.number)
    };
    let before = (number("b"), number("c"));
    let waiting = tokio::spawn({
        let to_b = to_b.clone();
        async move { to_b.request(&message(NEVER, "x"), CallOptions::timeout(SOON)).await }
    });
    let in_flight = || a.peers().iter().map(|peer| peer.requests_in_flight).sum::<usize>();
    until("the request is sent", || in_flight() == 1).await;
    network.panics.store(true, Ordering::SeqCst);
    // It wakes the connection's task. What was not sent when that panicked is sent on the next connection.
    echo(&to_b).await.expect("answered over another connection");
    assert!(!network.panics.load(Ordering::SeqCst), "it has panicked");
    let error = waiting.await.expect("no panic").expect_err("its connection has panicked");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::ConnectionLost));
    echo(&to_c).await.expect("answered");
    assert_eq!(number("c"), before.1, "c's connection is the same");
    assert!(number("b").is_some() && number("b") != before.0);
}

#[tokio::test]
async fn a_hello_that_would_be_too_large_is_told_at_the_start() {
    let mut large = config("a");
    large.identity.token = vec![7; TOKEN_BYTES_MAX + 1];
    let transport = crate::Transport::new(large, Arc::new(Network::default()));
    let error = transport.start().await.expect_err("too large");
    let cause = error.source.get_ref().and_then(|cause| cause.downcast_ref::<HelloError>());
    assert_eq!(cause, Some(&HelloError::TokenTooLong { bytes: TOKEN_BYTES_MAX + 1 }));
    let error = echo(&to(&transport, "b")).await.expect_err("cannot dial");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Unreachable));
}

#[tokio::test]
async fn the_largest_legal_hello_is_accepted() {
    let network = Network::default();
    let mut large = config("a");
    large.identity.token = vec![7; TOKEN_BYTES_MAX];
    large.identity.software = "v".repeat(crate::SOFTWARE_BYTES_MAX);
    let host = [&"h".repeat(63); 3].map(String::as_str).join(".");
    large.identity.address = format!("{host}:65535").parse().expect("legal");
    let a = start(&network, large).await;
    let _b = start(&network, config("b")).await;
    echo(&to(&a, "b")).await.expect("answered");
}

/// S11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_keeps_nothing_of_handlers_that_have_ended() {
    let (a, b) = pair().await;
    let later = |_: &NodeId, request: Request| {
        Handling::Later(Box::pin(async {
            tokio::task::yield_now().await;
            Ok(Answer::Payload(request.into_payload()))
        }))
    };
    b.handle(ECHO, Arc::new(later), HandlerOptions::default());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let peer = to(&a, "b");
        callers.spawn(async move {
            for _ in 0..200 {
                echo(&peer).await.expect("answered");
            }
        });
    }
    callers.join_all().await;
    assert!(b.inner.registry.links().iter().all(|link| link.lock().handlers.is_empty()));
}

#[tokio::test]
async fn a_handler_that_is_cut_off_still_answers() {
    let (a, b) = pair().await;
    let peer = to(&a, "b");
    let waiting =
        tokio::spawn(async move { peer.request(&message(NEVER, "x"), CallOptions::timeout(SOON)).await.map(drop) });
    let link = || b.inner.registry.links().pop();
    until("the handler runs", || link().is_some_and(|link| !link.lock().handlers.is_empty())).await;
    until("the handler has a task", || link().is_some_and(|link| link.lock().handlers.values().all(Option::is_some)))
        .await;
    link().expect("up").lock().handlers.values().flatten().for_each(tokio::task::AbortHandle::abort);
    let error = waiting.await.expect("no panic").expect_err("no answer");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::Cancelled));
}

/// S11: work that was cancelled ends, and its slot is free then.
#[tokio::test]
async fn a_request_that_its_caller_gave_up_gets_no_answer() {
    let (a, b) = pair().await;
    let peer = to(&a, "b");
    let waiting = tokio::spawn({
        let peer = peer.clone();
        async move { peer.request(&message(NEVER, "x"), CallOptions::timeout(SOON)).await.map(drop) }
    });
    let link = || b.inner.registry.links().pop().expect("up");
    until("the handler runs", || !b.inner.registry.links().is_empty() && !link().lock().handlers.is_empty()).await;
    waiting.abort();
    until("the handler ends", || link().lock().session.inbound_open() == 0).await;
    echo(&peer).await.expect("answered");
    assert_eq!(a.statistics().peers[&super::id("b")].late_replies, 0);
    link().close(CloseReason::Local);
}
