//! Many callers on many threads, who give up, wait for slots and credits, and lose their connections: every request ends, once,
//! with its own reply or an error that is true, and nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdb_net_types::{Effect, NodeId, Payload, Reason, SeededRandom};
use tokio::task::JoinSet;

use super::{ECHO, Network, SOON, config, message, start, to, until};
use crate::link::Link;
use crate::{Answer, CallOptions, HandlerOptions, Handling, PeerHandle, Request, Transport};

/// Answers with what it was sent, and notes that it saw it.
fn note_seen(transport: &Transport, seen: &Arc<[AtomicU64]>) {
    let seen = Arc::clone(seen);
    let echo = move |_: &NodeId, request: Request| {
        let payload = request.into_payload();
        seen[number_of(&payload) as usize].fetch_add(1, Ordering::SeqCst);
        if number_of(&payload).is_multiple_of(5) {
            // Some answers come later, from a task of their own.
            return Handling::Later(Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(Answer::Payload(payload))
            }));
        }
        Handling::Ready(Ok(Answer::Payload(payload)))
    };
    transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
}

fn number_of(payload: &Payload) -> u64 {
    let bytes = payload.clone().into_bytes();
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[derive(Debug, Default)]
struct Tally {
    replied: u64,
    failed: Vec<String>,
    turned_away: u64,
    given_up: u64,
}

/// One caller's requests, numbered from `first` on.
async fn call(peer: PeerHandle, first: u64, count: u64, seen: Arc<[AtomicU64]>) -> Tally {
    let mut random = SeededRandom::new(first);
    let mut tally = Tally::default();
    for number in first..first + count {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(8 + random.index(3000), 7);
        let message = message(ECHO, payload.clone());
        let request = peer.request(&message, CallOptions::timeout(SOON));
        if random.chance(0.2) {
            // Given up at any point of its way.
            let patience = Duration::from_micros(random.below(300));
            if tokio::time::timeout(patience, request).await.is_err() {
                tally.given_up += 1;
            }
            continue;
        }
        match request.await {
            Ok(reply) => {
                assert_eq!(reply.into_payload().into_bytes(), payload, "each caller gets its own reply");
                tally.replied += 1;
            }
            Err(error) => {
                let saw = seen[number as usize].load(Ordering::SeqCst);
                assert!(error.effect == Effect::Unknown || saw == 0, "{error}, and the handler saw it {saw} times");
                if matches!(error.reason, Reason::Overloaded(_)) && error.effect == Effect::NotStarted {
                    // Those who gave up freed their slots here before their handlers had ended there.
                    tally.turned_away += 1;
                } else {
                    tally.failed.push(error.to_string());
                }
            }
        }
    }
    tally
}

async fn storm(requests_max: u32, credit_bytes: u64, cuts: usize) -> Tally {
    const CALLERS: u64 = 48;
    const EACH: u64 = 250;
    let network = Network::default();
    let a = start(&network, config("a")).await;
    let mut narrow = config("b");
    narrow.session.requests_max = requests_max;
    narrow.session.lane_credit_bytes = [credit_bytes; 4];
    narrow.session.frame_bytes_max = 8192;
    let b = start(&network, narrow).await;
    let seen: Arc<[AtomicU64]> = (0..CALLERS * EACH).map(|_| AtomicU64::new(0)).collect();
    note_seen(&b, &seen);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(call(to(&a, "b"), caller * EACH, EACH, Arc::clone(&seen)));
    }
    let mut tally = Tally::default();
    let mut cut = 0;
    while !callers.is_empty() {
        let ended = tokio::time::timeout(Duration::from_millis(20), callers.join_next()).await;
        if let Ok(Some(ended)) = ended {
            let one = ended.expect("no caller panics");
            tally.replied += one.replied;
            tally.failed.extend(one.failed);
            tally.turned_away += one.turned_away;
            tally.given_up += one.given_up;
        } else if cut < cuts {
            cut += 1;
            if cut % 2 == 0 { a.close_connections() } else { b.close_connections() }
        }
    }
    assert_eq!(
        seen.iter().filter(|seen| seen.load(Ordering::SeqCst) > 1).count(),
        0,
        "no handler sees a request twice"
    );
    let is_clean = |link: &Arc<Link>| link.lock().session.requests_in_flight() == 0 && link.is_clean();
    until("nothing is left of any request", || a.inner.registry.links().iter().all(is_clean)).await;
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_on_many_threads_each_get_their_own_outcome() {
    let tally = storm(4096, 4 << 20, 0).await;
    assert!(tally.failed.is_empty(), "{tally:?}");
    assert!(tally.replied > 5000 && tally.given_up > 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_wait_for_slots_and_credits_all_get_their_turn() {
    let tally = storm(20, 40_000, 0).await;
    assert!(tally.failed.is_empty(), "{tally:?}");
    assert!(tally.replied > 5000, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_whose_connections_are_cut_are_told_the_truth() {
    let tally = storm(300, 200_000, 10).await;
    assert!(tally.replied > 1000, "{tally:?}");
}
