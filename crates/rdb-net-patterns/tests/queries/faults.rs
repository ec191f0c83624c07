//! Nodes that are killed, cut off and never reached, and readers that are slow.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdb_net_manager::{CallOptions, StreamOptions};
use rdb_net_patterns::query::{Options, Outcome, QueryEvent, QueryStream};
use rdb_net_types::{Effect, QueryRequest, Reason};
use tokio::time::{Instant, timeout};

use crate::cluster::{Apart, Cluster, LIMIT, ROW_BYTES};

/// Reads until each of these parts has given so many rows; returns the outcomes that came meanwhile.
async fn read_until(stream: &mut QueryStream, rows: &mut [usize], wanted: &[usize]) -> BTreeMap<usize, Outcome> {
    let mut outcomes = BTreeMap::new();
    while rows.iter().zip(wanted).any(|(rows, wanted)| rows < wanted) {
        match timeout(LIMIT, stream.next()).await.expect("in time") {
            Some(QueryEvent::Rows { part, rows: more, .. }) => rows[part] += more.len(),
            Some(QueryEvent::Ended { part, outcome }) => assert_eq!(outcomes.insert(part, outcome), None),
            None => panic!("{outcomes:?}"),
        }
    }
    outcomes
}

/// Reads to the end.
async fn read_all(stream: &mut QueryStream, rows: &mut [usize]) -> BTreeMap<usize, Outcome> {
    let mut outcomes = BTreeMap::new();
    while let Some(event) = timeout(LIMIT, stream.next()).await.expect("in time") {
        match event {
            QueryEvent::Rows { part, rows: more, .. } => rows[part] += more.len(),
            QueryEvent::Ended { part, outcome } => assert_eq!(outcomes.insert(part, outcome), None, "it ends once"),
        }
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_breaks_its_part_and_one_that_is_cut_off_is_late() {
    let (cut, killed) = (Apart::new(), Apart::new());
    let mut cluster = Cluster::start_with(4, &[&cut, &killed]).await;
    let options = Options::timeout(Duration::from_millis(1500));
    let parts = cluster.parts("n1=1 n2=2 n3=5-silent n4=5-silent");
    let (mut stream, mut rows) = (cluster.executor.stream(parts, options).expect("the plan is fine"), vec![0; 4]);
    let mut outcomes = BTreeMap::new();
    while rows[2..] != [5, 5] {
        match timeout(LIMIT, stream.next()).await.expect("in time") {
            Some(QueryEvent::Rows { part, rows: more, .. }) => rows[part] += more.len(),
            Some(QueryEvent::Ended { part, outcome }) => assert_eq!(outcomes.insert(part, outcome), None),
            None => panic!("{outcomes:?}"),
        }
    }
    let frozen = cut.freeze();
    drop((cluster.managers.pop(), killed));
    outcomes.extend(read_all(&mut stream, &mut rows).await);
    assert_eq!(rows, [1, 2, 5, 5]);
    assert_eq!([&outcomes[&0], &outcomes[&1]], [&cluster.complete(0), &cluster.complete(1)]);
    assert_eq!(outcomes[&2], Outcome::Late { node: cluster.ids[2].clone(), has_rows: true, tried: vec![] });
    match &outcomes[&3] {
        Outcome::Broken { node, error, .. } => {
            assert_eq!((node, error.effect), (&cluster.ids[3], Effect::Unknown));
            assert_eq!(error.reason, Reason::ConnectionLost);
        }
        other => panic!("{other:?}"),
    }
    drop((frozen, cut));
    for manager in cluster.managers[..2].iter().rev() {
        manager.shutdown().await;
    }
}

/// Takes the address of a node that has died, as soon as it is free: its kernel takes connections, and nobody there says a word.
async fn take_over(address: &str) -> TcpListener {
    let taken = async {
        loop {
            match TcpListener::bind(address) {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(LIMIT, taken).await.expect("its sockets are closed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_to_which_no_connection_is_made_has_failed_with_not_sent() {
    let killed = Apart::new();
    let mut cluster = Cluster::start_with(3, &[&killed]).await;
    let address = cluster.managers[2].addresses().transport.to_string();
    drop((cluster.managers.pop(), killed));
    let _silent = take_over(&address).await;
    let part = cluster.parts("*=1").split_off(2);
    let is_seen = async {
        loop {
            let (begun, limit) = (Instant::now(), Duration::from_millis(200));
            let mut stream = cluster.executor.stream(part.clone(), Options::timeout(limit)).expect("the plan is fine");
            // So that the connection is asked for; and then nobody looks until the deadline is over.
            let at_once = timeout(limit / 4, stream.next()).await;
            tokio::time::sleep_until(begun + limit * 5 / 4).await;
            let is_at_once = at_once.is_ok();
            let event = if let Ok(event) = at_once { event } else { stream.next().await };
            match event {
                Some(QueryEvent::Ended { outcome: Outcome::Failed { tried }, .. }) => {
                    assert_eq!((tried.len(), &tried[0].node), (1, &cluster.ids[2]));
                    // Before the loss of the former connection was seen, it may have been sent on that.
                    if !is_at_once && tried[0].error.effect == Effect::NotSent {
                        return tried[0].error.reason;
                    }
                }
                Some(QueryEvent::Ended { outcome: Outcome::Late { .. }, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(timeout(LIMIT, is_seen).await.expect("a connection is tried"), Reason::Expired);
    for manager in cluster.managers.iter().rev() {
        manager.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_slow_is_given_what_has_come_by_the_deadline() {
    let cluster = Cluster::start(4).await;
    let window_bytes = 16 * ROW_BYTES as u32;
    let options = Options { window_bytes, ..Options::timeout(Duration::from_millis(700)) };
    let begun = Instant::now();
    let parts = cluster.parts("n1=100000000 n2=5 n3=7-silent n4=100000000");
    let (mut stream, mut rows) = (cluster.executor.stream(parts, options).expect("the plan is fine"), vec![0; 4]);
    let mut outcomes = read_until(&mut stream, &mut rows, &[1, 1, 1, 1]).await;
    let all_have_come = async {
        while cluster.seen[1].ended.load(Ordering::SeqCst) == 0 || cluster.seen[2].rows.load(Ordering::SeqCst) < 7 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, all_have_come).await.expect("they are small");
    assert!(begun.elapsed() < Duration::from_millis(500), "the machine is too slow to show it");
    tokio::time::sleep_until(begun + Duration::from_millis(800)).await;
    let before = rows.clone();
    outcomes.extend(read_all(&mut stream, &mut rows).await);
    let late = |place: usize| Outcome::Late { node: cluster.ids[place].clone(), has_rows: true, tried: vec![] };
    assert_eq!(rows[1..3], [5, 7]);
    let outcomes: Vec<_> = outcomes.into_values().collect();
    assert_eq!(outcomes, [late(0), cluster.complete(1), late(2), late(3)]);
    for place in [0, 3] {
        let behind = rows[place] - before[place];
        assert!((1..=17).contains(&behind), "{behind} rows behind the deadline, where 16 are a window");
    }
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_slow_keeps_nobody_from_being_asked() {
    let cluster = Cluster::start(4).await;
    let gathered = cluster.gather("*=0", Options::default()).await;
    assert!(gathered.is_complete(), "the connections are up: {gathered:?}");
    let parts = cluster.parts("*=100000000");
    let mut stream = cluster.executor.stream(parts, Options::timeout(LIMIT)).expect("the plan is fine");
    assert!(matches!(stream.next().await, Some(QueryEvent::Rows { part: 0, .. })), "its own rows are there first");
    let all_have_begun = async {
        while cluster.begun() != [2, 2, 2, 2] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, all_have_begun).await.expect("all are asked, though nobody reads");
    drop(stream);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_send_messages_without_rows_for_ever_are_late() {
    let cluster = Cluster::start(2).await;
    let gathered = cluster.gather("n1=3-empty n2=3-empty", Options::timeout(Duration::from_millis(300))).await;
    let late = |place: usize| Outcome::Late { node: cluster.ids[place].clone(), has_rows: true, tried: vec![] };
    assert_eq!(gathered.outcomes, [late(0), late(1)]);
    assert_eq!(gathered.rows.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    cluster.check_all_ended().await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_may_have_all_the_time_there_is() {
    let cluster = Cluster::start(2).await;
    let gathered = cluster.gather("*=2", Options::timeout(Duration::MAX)).await;
    assert!(gathered.is_complete(), "{gathered:?}");
    // Without the query's own limit.
    let request =
        QueryRequest { query_id: 7, fragment: 0, query: "*=2".to_owned(), parameters: rdb_net_types::Payload::new() };
    let options = StreamOptions { call: CallOptions::timeout(Duration::MAX), ..StreamOptions::default() };
    let mut stream = cluster.managers[0].stream(&cluster.ids[0], &request, options).await.expect("its own handler");
    let mut replies = 0;
    while let Some(reply) = timeout(LIMIT, stream.next()).await.expect("in time") {
        reply.expect("a reply");
        replies += 1;
    }
    assert_eq!(replies, 3, "two rows, and that there are no more");
    cluster.shut_down().await;
}
