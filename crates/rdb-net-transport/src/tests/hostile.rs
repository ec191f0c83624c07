//! What a slow caller, a large message or the end of the runtime must not bring about.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdb_net_session::{Session, Side};
use rdb_net_types::{Effect, Lane, MessageType, NodeId, Payload, QueryRequest, Reason};
use rdb_net_wire::{Flags, FrameBuffer, FrameHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ECHO, NEVER, Network, SOON, config, echo, message, pair, start, to, until};
use crate::shard::{shards, this_thread};
use crate::{Answer, Backend, CallOptions, Connection, HandlerOptions, Handling, Request, StreamOptions, Transport};

/// No wake-up takes as long.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_end_of_a_stream_that_is_taken_late_wakes_who_waits_for_its_slot() {
    let network = Network::default();
    let mut patient = config("a");
    // No timer rescues a wake-up that was lost.
    patient.session.hello_timeout = Duration::from_secs(600);
    let a = start(&network, patient).await;
    let mut one_slot = config("b");
    one_slot.session.requests_max = 1;
    let _b = start(&network, one_slot).await;
    let peer = to(&a, "b");
    let options = StreamOptions { call: CallOptions::timeout(SOON), window_bytes: 1000 };
    let mut stream = peer.stream(&message(ECHO, "one"), options).await.expect("opened");
    let waiting = tokio::spawn({
        let peer = peer.clone();
        async move { echo(&peer).await }
    });
    let link = a.inner.registry.links()[0].clone();
    until("the stream has ended", || link.lock().session.requests_in_flight() == 0).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    stream.next().await.expect("its one reply").expect("no error");
    let echoed = tokio::time::timeout(AT_ONCE, waiting).await.expect("the slot is free, and nobody tells its waiter");
    assert!(echoed.expect("no panic").is_ok());
}

/// A message of 5 GiB that needs 64 MiB of memory.
fn huge() -> QueryRequest {
    let piece = Bytes::from(vec![7; 64 << 20]);
    let parameters: Payload = (0..80).map(|_| piece.clone()).collect();
    QueryRequest { parameters, ..QueryRequest::default() }
}

#[tokio::test]
async fn a_one_way_message_beyond_4_gib_is_too_large_and_ends_no_connection() {
    let (a, _b) = pair().await;
    let peer = to(&a, "b");
    echo(&peer).await.expect("answered");
    let number = a.inner.registry.links()[0].number;
    let error = peer.send(&huge(), CallOptions::timeout(Duration::from_secs(1))).await.expect_err("too large");
    let same = a.inner.registry.links().iter().any(|link| link.number == number && link.is_up());
    assert_eq!((error.effect, error.reason, same), (Effect::NotSent, Reason::TooLarge, true));
}

#[tokio::test]
async fn a_request_for_a_stream_beyond_4_gib_is_too_large_and_ends_no_connection() {
    let (a, _b) = pair().await;
    let peer = to(&a, "b");
    echo(&peer).await.expect("answered");
    let number = a.inner.registry.links()[0].number;
    let call = CallOptions::timeout(Duration::from_secs(1));
    let error = peer.stream(&huge(), StreamOptions { call, window_bytes: 1000 }).await.expect_err("too large");
    let same = a.inner.registry.links().iter().any(|link| link.number == number && link.is_up() && !link.is_retired());
    assert_eq!((error.effect, error.reason, same), (Effect::NotSent, Reason::TooLarge, true));
}

fn on(lane: Lane) -> CallOptions {
    CallOptions { lane: Some(lane), ..CallOptions::timeout(SOON) }
}

#[tokio::test]
async fn a_large_reply_on_a_new_connection_counts_no_longer_once_its_caller_has_it() {
    let (a, _b) = pair().await;
    for call in ["first", "second"] {
        let reply = to(&a, "b").request(&message(ECHO, vec![7; 1 << 20]), on(Lane::Bulk)).await.expect("answered");
        assert_eq!(a.memory().0, 0, "the {call} reply is its caller's");
        drop(reply);
    }
}

/// A node that answers one type with so many bytes, and how often it did.
fn answers_with(transport: &Transport, message_type: MessageType, bytes: usize) -> Arc<AtomicUsize> {
    let begun = Arc::new(AtomicUsize::new(0));
    let (counted, payload) = (Arc::clone(&begun), Payload::from(vec![7; bytes]));
    let handler = move |_: &NodeId, _: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        Handling::Ready(Ok(Answer::Payload(payload.clone())))
    };
    transport.handle(message_type, Arc::new(handler), HandlerOptions::default());
    begun
}

#[tokio::test]
async fn an_interactive_request_waits_for_no_large_reply_of_the_bulk_lane() {
    const LARGE: MessageType = MessageType(0x8040);
    let (a, b) = pair().await;
    let begun = answers_with(&b, LARGE, 32 << 20);
    let peer = to(&a, "b");
    echo(&peer).await.expect("answered");
    let bulk = tokio::spawn({
        let peer = peer.clone();
        async move { peer.request(&message(LARGE, "x"), on(Lane::Bulk)).await.map(drop) }
    });
    until("the large answer is given", || begun.load(Ordering::SeqCst) == 1).await;
    peer.request(&message(ECHO, "x"), on(Lane::Interactive)).await.expect("answered");
    let received = a.inner.registry.links()[0].statistics().0.bytes_received;
    bulk.await.expect("no panic").expect("answered");
    assert!(received < 4 << 20, "the interactive request waited for {received} bytes of the bulk lane");
}

/// Is dropped with the task that it is in.
struct TellsItsEnd(mpsc::Sender<()>);

impl Drop for TellsItsEnd {
    fn drop(&mut self) {
        self.0.send(()).expect("the test waits");
    }
}

#[test]
fn a_runtime_that_ends_while_a_handler_is_given_a_task_does_not_hang() {
    const SLOW: MessageType = MessageType(0x8030);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let ((begins, begun), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
    let released = Mutex::new(released);
    let (tells_end, told_end) = mpsc::channel();
    let _transports = runtime.block_on(async {
        let (a, b) = pair().await;
        let handler = move |_: &NodeId, _: Request| {
            begins.send(()).expect("the test waits");
            let _released = released.lock().expect("no panic").recv();
            Handling::Later(Box::pin(std::future::pending()))
        };
        b.handle(SLOW, Arc::new(handler), HandlerOptions::default());
        to(&a, "b").send(&message(SLOW, "x"), CallOptions::timeout(SOON)).await.expect("queued");
        // Made here: a task that is ended before its first turn must tell it as well.
        let tells = TellsItsEnd(tells_end);
        tokio::spawn(async move {
            let _tells = tells;
            std::future::pending::<()>().await;
        });
        (a, b)
    });
    begun.recv_timeout(SOON).expect("the handler begins");
    let (ends, ended) = mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        ends.send(()).expect("the test waits");
    });
    // A runtime takes no more tasks before it ends those that it has.
    told_end.recv_timeout(SOON).expect("its other thread ends all tasks");
    release.send(()).expect("the handler waits");
    ended.recv_timeout(AT_ONCE).expect("a thread of the runtime waits for a lock that it holds itself");
}

/// Writes what a session has for the socket, and reads until it is up.
async fn greet(session: &mut Session, io: &mut Box<dyn Connection>) {
    let mut input = BytesMut::new();
    while !session.is_up() {
        while let Some(mut batch) = session.take_batch(Duration::ZERO) {
            batch.seal(Duration::ZERO);
            io.write_all(&batch.buffer().to_vec()).await.expect("written");
        }
        io.read_buf(&mut input).await.expect("read");
        session.handle_input(Duration::ZERO, &mut input);
        assert!(!session.is_closed());
    }
}

#[tokio::test]
async fn handlers_of_two_requests_with_one_id_end_with_their_connection() {
    let network = Network::default();
    let b = start(&network, config("b")).await;
    let tasks = b.inner.tasks.len();
    let mut io = network.dial(&"b:1".parse().expect("legal")).await.expect("it listens");
    let told = config("a");
    let mut session = Session::new(told.session, told.identity, Side::Dialer { target: None }, Duration::ZERO);
    greet(&mut session, &mut io).await;
    let head = FrameHead { message_type: NEVER, flags: Flags::CHECKSUM, lane: Lane::Interactive, correlation: 7 };
    for _ in 0..2 {
        let mut buffer = FrameBuffer::new();
        let mark = buffer.push(head, &message(NEVER, "x"), 4096).expect("small");
        buffer.seal(&mark, 0);
        io.write_all(&buffer.to_vec()).await.expect("written");
    }
    until("both run, or it is a breach", || b.inner.tasks.len() >= tasks + 2 || b.inner.registry.links().is_empty())
        .await;
    drop(io);
    until("the connection ends", || b.inner.registry.links().is_empty()).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(b.inner.tasks.len(), tasks, "a handler goes on for a caller that has gone");
}

#[test]
fn credits_that_an_outbox_holds_unused_are_there_for_who_finds_none() {
    // On a thread of the first shard, which is granted most.
    let on_one = || {
        if this_thread().is_multiple_of(shards()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(free_and_wait());
        }
    };
    for _ in 0..64 {
        std::thread::spawn(on_one).join().expect("nobody sleeps on");
    }
}

async fn free_and_wait() {
    let network = Network::default();
    let mut patient = config("a");
    // No timer rescues a wake-up that was lost.
    patient.session.hello_timeout = Duration::from_secs(600);
    let a = start(&network, patient).await;
    let _b = start(&network, config("b")).await;
    let peer = to(&a, "b");
    echo(&peer).await.expect("answered");
    let fill = |lane| while peer.try_send(&message(NEVER, vec![7; 500]), on(lane)).is_ok() {};
    let ask = |lane| {
        let peer = peer.clone();
        tokio::spawn(async move { peer.request(&message(NEVER, vec![7; 16_000]), on(lane)).await.map(drop) })
    };
    let rest = async || {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    };
    // The thread's outbox has spent what it may on one lane, and all that it was granted on the other is still there.
    fill(Lane::Replication);
    for _ in 0..8 {
        drop(ask(Lane::Replication));
        rest().await;
    }
    fill(Lane::Interactive);
    let sending = tokio::spawn({
        let peer = peer.clone();
        async move { peer.send(&message(NEVER, vec![7; 500]), on(Lane::Interactive)).await }
    });
    // What the outbox was granted and does not use is there for who finds nothing else.
    tokio::time::timeout(AT_ONCE, sending).await.expect("credits are left").expect("no panic").expect("queued");
}
