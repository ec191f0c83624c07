//! Queries over real nodes of one process: rows, outcomes, and what the handlers of the nodes see of them.
#![cfg(feature = "manager")]

mod cluster;
mod faults;

use std::sync::atomic::Ordering;
use std::time::Duration;

use rdb_net_patterns::query::{Options, Outcome, Part, QueryEvent, Repeat, Wanted};
use rdb_net_types::{NodeId, Reason};
use tokio::time::{Instant, timeout};

use cluster::{Cluster, LIMIT, ROW_BYTES, lengths};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_are_gathered_each_with_an_outcome() {
    let cluster = Cluster::start(4).await;
    let gathered = cluster.gather("n1=3 n2=100 n3=0 n4=1", Options::default()).await;
    assert_eq!(lengths(&gathered), [3, 100, 0, 1], "the node itself is one of them");
    assert_eq!(gathered.outcomes, [0, 1, 2, 3].map(|place| cluster.complete(place)));
    let gathered = cluster.gather("n1=3 n2=2-fails n4=1", Options::default()).await;
    assert_eq!(lengths(&gathered), [3, 2, 0, 1]);
    assert!(!gathered.is_complete());
    match &gathered.outcomes[1..3] {
        [Outcome::Broken { error, .. }, Outcome::Failed { tried }] => {
            assert_eq!((error.reason, tried.len()), (Reason::HandlerFailed, 1));
            assert!(tried[0].error.is_safe_to_retry() && !error.is_safe_to_retry());
        }
        other => panic!("{other:?}"),
    }
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_come_by_the_deadline_is_given_and_who_is_late_is_told_to_stop() {
    let cluster = Cluster::start(4).await;
    let begun = Instant::now();
    let options = Options::timeout(Duration::from_millis(300));
    let gathered = cluster.gather("n1=1-silent n2=2 n3=0-silent n4=5-silent", options).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(lengths(&gathered), [1, 2, 0, 5]);
    let late = |place: usize, has_rows| Outcome::Late { node: cluster.ids[place].clone(), has_rows, tried: Vec::new() };
    assert_eq!(gathered.outcomes, [late(0, true), cluster.complete(1), late(2, false), late(3, true)]);
    assert_eq!(cluster.begun(), [1, 1, 1, 1]);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_that_are_complete_are_enough_and_the_others_are_cancelled() {
    let cluster = Cluster::start(4).await;
    let options = Options { wanted: Wanted::First(2), ..Options::default() };
    let gathered = cluster.gather("n1=0-silent n2=2 n3=3-silent n4=1", options).await;
    let (complete, not_needed) = (|place| cluster.complete(place), Outcome::NotNeeded);
    assert_eq!(gathered.outcomes, [not_needed.clone(), complete(1), not_needed, complete(3)]);
    // A request that never reached its handler has nothing to cancel.
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_slow_stops_every_sender_and_one_that_goes_cancels_every_handler() {
    let cluster = Cluster::start(4).await;
    let options = Options { window_bytes: 64 * 1024, timeout: LIMIT, ..Options::default() };
    let mut stream = cluster.executor.stream(cluster.parts("*=100000000"), options).expect("the plan is fine");
    let mut from = vec![0usize; 4];
    while from.contains(&0) {
        match timeout(LIMIT, stream.next()).await.expect("in time") {
            Some(QueryEvent::Rows { part, rows, .. }) => from[part] += rows.len(),
            other => panic!("{other:?}"),
        }
    }
    // Nobody reads: the senders stop, at most a window and what lies in sockets and queues ahead.
    let produced = || -> Vec<usize> { cluster.seen.iter().map(|seen| seen.rows.load(Ordering::SeqCst)).collect() };
    let mut before = produced();
    let still = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = produced();
            if now == before {
                return;
            }
            before = now;
        }
    };
    timeout(LIMIT, still).await.expect("they stop");
    for (place, (produced, taken)) in produced().into_iter().zip(&from).enumerate() {
        let ahead = (produced - taken) * ROW_BYTES;
        assert!(ahead <= 2 * 64 * 1024, "node {place} is {ahead} bytes ahead");
    }
    // And go on when it reads again.
    for _ in 0..200 {
        assert!(matches!(timeout(LIMIT, stream.next()).await.expect("in time"), Some(QueryEvent::Rows { .. })));
    }
    assert_eq!(cluster.begun(), [1, 1, 1, 1]);
    drop(stream);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_asked_where_the_first_did_not_begin_and_gets_what_is_left_of_the_time() {
    let cluster = Cluster::start(4).await;
    let gone = NodeId::new("n9").expect("legal");
    let partition = Part {
        fragment: 5,
        nodes: vec![gone.clone(), cluster.ids[1].clone(), cluster.ids[2].clone()],
        query: "n3=7".to_owned(),
        parameters: Default::default(),
    };
    let reserve = Duration::from_secs(2);
    let options = Options { reserve, ..Options::timeout(Duration::from_secs(12)) };
    let gathered = cluster.executor.gather(vec![partition.clone()], options).await.expect("the plan is fine");
    assert_eq!((lengths(&gathered), &gathered.outcomes[0]), (vec![7], &cluster.complete(2)));
    let budget = |place: usize| cluster.seen[place].budgets.lock().expect("no panic")[0].as_secs_f64();
    assert!((9.0..=10.0).contains(&budget(1)), "who begins has what is left: {}", budget(1));
    assert!((9.0..=10.0).contains(&budget(2)), "it is the last one: {}", budget(2));

    let options = Options { repeat: Repeat::Never, ..options };
    let gathered = cluster.executor.gather(vec![partition], options).await.expect("the plan is fine");
    match &gathered.outcomes[0] {
        Outcome::Failed { tried } => assert_eq!((tried.len(), &tried[0].node), (1, &gone)),
        other => panic!("{other:?}"),
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_streams_for_longer_than_its_share_is_not_cut() {
    let cluster = Cluster::start(4).await;
    let partition = Part {
        fragment: 1,
        nodes: cluster.ids[1..].to_vec(),
        query: "n2=20-slow n3=1 n4=1".to_owned(),
        parameters: Default::default(),
    };
    for repeat in [Repeat::NotStarted, Repeat::Always] {
        // Two seconds of rows, and a third of five for each replica.
        let options = Options { repeat, ..Options::timeout(Duration::from_secs(5)) };
        let gathered = cluster.executor.gather(vec![partition.clone()], options).await.expect("the plan is fine");
        assert_eq!((lengths(&gathered), &gathered.outcomes[0]), (vec![20], &cluster.complete(1)), "{repeat:?}");
    }
    assert_eq!(cluster.begun(), [0, 2, 0, 0]);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathering_ends_where_rows_are_more_than_may_be() {
    let cluster = Cluster::start(2).await;
    let options = Options { gathered_bytes_max: 100 * ROW_BYTES, timeout: LIMIT, ..Options::default() };
    let gathered = cluster.gather("n1=1 n2=100000000", options).await;
    assert_eq!(gathered.outcomes[1], Outcome::TooMuch);
    assert!((90..200).contains(&gathered.rows[1].len()), "{}", gathered.rows[1].len());
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}
