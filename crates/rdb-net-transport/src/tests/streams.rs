//! Streams of replies: slow callers, callers that leave, handlers that fail.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use rdb_net_types::{Effect, MessageType, NodeId, Payload, Reason};

use super::{ECHO, NEVER, SOON, echo, message, pair, to, until};
use crate::{
    Answer, CallOptions, HandlerError, HandlerOptions, Handling, ReplyStream, Request, StreamOptions, Transport,
};

const COUNT: MessageType = MessageType(0x8010);

/// Counts up to a number, and counts how far it has come and whether it lives.
struct Counter {
    next: usize,
    end: usize,
    bytes: usize,
    fails: bool,
    made: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

impl Stream for Counter {
    type Item = Result<Answer, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.next == self.end {
            return Poll::Ready(self.fails.then(|| Err(HandlerError::failed("out of numbers"))));
        }
        self.next += 1;
        self.made.fetch_add(1, Ordering::SeqCst);
        let mut number = self.next.to_be_bytes().to_vec();
        number.resize(self.bytes, 7);
        Poll::Ready(Some(Ok(Answer::Payload(Payload::from(number)))))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default, Clone)]
struct Watch {
    made: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

fn counts(transport: &Transport, end: usize, bytes: usize, fails: bool) -> Watch {
    let watch = Watch::default();
    let Watch { made, alive } = watch.clone();
    let handler = move |_: &NodeId, request: Request| {
        assert!(request.wants_reply);
        alive.fetch_add(1, Ordering::SeqCst);
        let (made, alive) = (Arc::clone(&made), Arc::clone(&alive));
        Handling::Stream(Box::pin(Counter { next: 0, end, bytes, fails, made, alive }))
    };
    transport.handle(COUNT, Arc::new(handler), HandlerOptions::default());
    watch
}

fn options(window_bytes: u32) -> StreamOptions {
    StreamOptions { call: CallOptions::timeout(SOON), window_bytes }
}

async fn open(from: &Transport, window_bytes: u32) -> ReplyStream {
    to(from, "b").stream(&message(COUNT, "go"), options(window_bytes)).await.expect("opened")
}

fn number(payload: Payload) -> usize {
    let bytes = payload.into_bytes();
    usize::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

#[tokio::test]
async fn a_thousand_replies_come_in_order_through_a_window_of_a_few() {
    let (a, b) = pair().await;
    let watch = counts(&b, 1000, 100, false);
    let mut stream = open(&a, 1000).await;
    for expected in 1..=1000 {
        let reply = stream.next().await.expect("not the end").expect("no error");
        assert_eq!(number(reply.into_payload()), expected);
        let ahead = watch.made.load(Ordering::SeqCst) - expected;
        assert!(ahead < 20, "the handler is {ahead} replies ahead of its caller");
    }
    assert!(stream.next().await.is_none() && stream.next().await.is_none());
    until("the handler ended", || watch.alive.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn large_replies_stream_as_well() {
    let (a, b) = pair().await;
    counts(&b, 20, 300_000, false);
    let mut stream = open(&a, 256 * 1024).await;
    let mut count = 0;
    while let Some(reply) = stream.next().await {
        count += 1;
        let payload = reply.expect("no error").into_payload();
        assert_eq!((payload.len(), number(payload)), (300_000, count));
    }
    assert_eq!(count, 20);
}

#[tokio::test]
async fn a_handler_ends_when_its_caller_leaves() {
    let (a, b) = pair().await;
    let watch = counts(&b, usize::MAX, 100, false);
    let mut stream = open(&a, 1000).await;
    stream.next().await.expect("not the end").expect("no error");
    drop(stream);
    until("the handler ended", || watch.alive.load(Ordering::SeqCst) == 0).await;
    echo(&to(&a, "b")).await.expect("the connection goes on");
    assert_eq!(a.memory().0, 0);
}

#[tokio::test]
async fn an_error_is_the_last_that_comes() {
    let (a, b) = pair().await;
    counts(&b, 3, 10, true);
    let mut stream = open(&a, 1000).await;
    for expected in 1..=3 {
        assert_eq!(number(stream.next().await.expect("more").expect("no error").into_payload()), expected);
    }
    let error = stream.next().await.expect("an error").expect_err("the handler failed");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::HandlerFailed));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn one_answer_is_a_stream_and_a_stream_is_not_one_answer() {
    let (a, b) = pair().await;
    counts(&b, 3, 10, false);
    let peer = to(&a, "b");
    let mut stream = peer.stream(&message(ECHO, "one"), options(1000)).await.expect("opened");
    assert_eq!(stream.next().await.expect("one").expect("no error").into_payload(), Payload::from("one"));
    assert!(stream.next().await.is_none());
    let error = peer.request(&message(COUNT, "go"), CallOptions::timeout(SOON)).await.expect_err("a stream");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::HandlerFailed));
    let mut stream = peer.stream(&message(MessageType(0x8fff), ""), options(1000)).await.expect("queued");
    let error = stream.next().await.expect("an error").expect_err("nobody handles it");
    assert_eq!((error.effect, error.reason), (Effect::NotStarted, Reason::UnknownType));
}

#[tokio::test]
async fn a_lost_connection_ends_a_stream_once() {
    let (a, b) = pair().await;
    let watch = counts(&b, usize::MAX, 100, false);
    let mut stream = open(&a, 1000).await;
    let mut silent = to(&a, "b").stream(&message(NEVER, ""), options(1000)).await.expect("opened");
    stream.next().await.expect("more").expect("no error");
    a.close_connections();
    let mut replies = 0;
    let error = loop {
        match stream.next().await.expect("an error before the end") {
            Ok(_) => replies += 1,
            Err(error) => break error,
        }
    };
    assert!(replies < 20);
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::ConnectionLost));
    assert!(stream.next().await.is_none());
    assert!(silent.next().await.expect("an error").is_err());
    until("the handler ended", || watch.alive.load(Ordering::SeqCst) == 0).await;
    assert_eq!(a.memory().0, 0);
}
