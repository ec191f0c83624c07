//! Subscribers that keep up, lag, come late, go away and are too many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use rdb_net_types::{NodeId, NodeInfo};

use super::*;
use crate::Policy;

fn nodes(ids: &[&str]) -> Vec<NodeInfo> {
    let address: rdb_net_types::NodeAddress = "host:1".parse().expect("legal");
    ids.iter().map(|id| NodeInfo::new(NodeId::new(id).expect("legal"), address.clone())).collect()
}

/// A source that tells each list at once.
fn source() -> Reconciler {
    Reconciler::new(Policy { debounce: Duration::ZERO, ..Policy::file() }, Duration::ZERO)
}

fn say(feed: &Feed, reconciler: &mut Reconciler, ids: &[&str]) {
    reconciler.handle_full(Duration::from_secs(1), nodes(ids));
    feed.publish(reconciler);
}

/// All that is ready, and whether the stream has ended.
fn read<S: Stream + Unpin>(stream: &mut S) -> (Vec<S::Item>, bool) {
    let mut context = Context::from_waker(Waker::noop());
    let mut items = Vec::new();
    loop {
        match Pin::new(&mut *stream).poll_next(&mut context) {
            Poll::Ready(Some(item)) => items.push(item),
            Poll::Ready(None) => return (items, true),
            Poll::Pending => return (items, false),
        }
    }
}

fn names(events: &[MembershipEvent]) -> Vec<String> {
    events.iter().map(|event| format!("{} {}", event.name(), event.node_id())).collect()
}

#[test]
fn an_early_and_a_late_subscriber_are_told_the_same_nodes() {
    let feed = Feed::new(FeedConfig::default());
    let mut reconciler = source();
    let mut early = feed.subscribe().expect("open").membership();
    assert_eq!(read(&mut early), (Vec::new(), false));
    say(&feed, &mut reconciler, &["a", "b"]);
    let mut late = feed.subscribe().expect("open").membership();
    for stream in [&mut early, &mut late] {
        assert_eq!(names(&read(stream).0), ["NodeJoined a", "NodeJoined b"]);
    }
    say(&feed, &mut reconciler, &["b", "c"]);
    for stream in [&mut early, &mut late] {
        assert_eq!(names(&read(stream).0), ["NodeLeft a", "NodeJoined c"]);
    }
}

#[test]
fn the_first_event_is_a_snapshot_even_of_nothing() {
    let feed = Feed::new(FeedConfig::default());
    let mut stream = feed.subscribe().expect("open");
    say(&feed, &mut source(), &[]);
    let (events, _) = read(&mut stream);
    assert!(matches!(events.as_slice(), [DiscoveryEvent::Snapshot(snapshot)] if snapshot.nodes.is_empty()));
}

#[test]
fn a_subscriber_that_lags_is_given_the_difference_and_nothing_is_lost() {
    let feed = Feed::new(FeedConfig { queue_events: 4, ..FeedConfig::default() });
    let mut reconciler = source();
    let mut slow = feed.subscribe().expect("open").membership();
    say(&feed, &mut reconciler, &["a", "b"]);
    assert_eq!(names(&read(&mut slow).0), ["NodeJoined a", "NodeJoined b"]);
    for ids in [&["b", "c"][..], &["c", "d"], &["d", "e"], &["b", "f"]] {
        say(&feed, &mut reconciler, ids);
    }
    assert_eq!(names(&read(&mut slow).0), ["NodeLeft a", "NodeJoined f"]);
    assert_eq!(feed.lagged(), 2);
}

#[test]
fn a_queue_never_passes_its_limit() {
    let feed = Feed::new(FeedConfig { queue_events: 8, ..FeedConfig::default() });
    let mut reconciler = source();
    let _unread = feed.subscribe().expect("open");
    for i in 0..1_000 {
        say(&feed, &mut reconciler, &[["a", "b"][i % 2], "c"]);
        let longest = feed.lock().subscribers.values().map(|subscriber| subscriber.events.len()).max();
        assert!(longest <= Some(8));
    }
}

#[test]
fn a_waiting_subscriber_is_woken_by_an_event_and_by_the_end() {
    #[derive(Default)]
    struct Counter(AtomicUsize);
    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let feed = Feed::new(FeedConfig::default());
    let mut stream = feed.subscribe().expect("open");
    let mut wait = || Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending();
    assert!(wait());
    say(&feed, &mut source(), &["a"]);
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    assert!(!wait());
    assert!(wait());
    feed.close();
    assert_eq!(counter.0.load(Ordering::SeqCst), 2);
}

#[test]
fn a_closed_feed_ends_its_streams_after_what_waits_in_them() {
    let feed = Feed::new(FeedConfig::default());
    let mut stream = feed.subscribe().expect("open").membership();
    say(&feed, &mut source(), &["a"]);
    feed.close();
    let (events, ended) = read(&mut stream);
    assert_eq!((names(&events), ended), (vec!["NodeJoined a".to_owned()], true));
    assert_eq!(feed.subscribe().err(), Some(FeedError::Closed));
}

#[test]
fn subscribers_are_limited_and_a_dropped_one_makes_room() {
    let feed = Feed::new(FeedConfig { subscribers_max: 1, ..FeedConfig::default() });
    let first = feed.subscribe().expect("open");
    assert_eq!(feed.subscribe().err(), Some(FeedError::TooManySubscribers { limit: 1 }));
    drop(first);
    assert!(feed.subscribe().is_ok());
}
