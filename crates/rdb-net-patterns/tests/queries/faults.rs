//! Nodes that are killed, cut off and never reached, and readers that are slow.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdb_net_patterns::query::{Options, Outcome, QueryEvent, QueryStream, Repeat};
use rdb_net_types::{Effect, Reason};
use tokio::time::{Instant, timeout};

use crate::cluster::{Apart, Cluster, LIMIT, ROW_BYTES, lengths};

/// Reads until each of these parts has given so many rows.
async fn read_until(stream: &mut QueryStream, rows: &mut [usize], wanted: &[usize]) {
    while rows.iter().zip(wanted).any(|(rows, wanted)| rows < wanted) {
        match timeout(LIMIT, stream.next()).await.expect("in time") {
            Some(QueryEvent::Rows { part, rows: more, .. }) => rows[part] += more.len(),
            other => panic!("{other:?}"),
        }
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_never_connected_to_has_failed_with_not_sent() {
    let apart = Apart::new();
    let cluster = Cluster::start_with(3, &[&apart]).await;
    // Its kernel takes connections, and nobody there says a word: no connection is made by the deadline.
    let frozen = apart.freeze();
    for repeat in [Repeat::Never, Repeat::NotStarted, Repeat::Always] {
        let options = Options { repeat, ..Options::timeout(Duration::from_millis(300)) };
        let gathered = cluster.gather("*=1", options).await;
        assert_eq!(lengths(&gathered), [1, 1, 0]);
        match &gathered.outcomes[2] {
            Outcome::Failed { tried } => {
                assert_eq!((tried.len(), &tried[0].node), (1, &cluster.ids[2]));
                assert_eq!(tried[0].error.effect, Effect::NotSent, "{}", tried[0].error);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cluster.begun()[2], 0);
    drop((frozen, apart));
    for manager in cluster.managers[..2].iter().rev() {
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
    read_until(&mut stream, &mut rows, &[1, 1, 1, 1]).await;
    let all_have_come = async {
        while cluster.seen[1].ended.load(Ordering::SeqCst) == 0 || cluster.seen[2].rows.load(Ordering::SeqCst) < 7 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, all_have_come).await.expect("they are small");
    assert!(begun.elapsed() < Duration::from_millis(500), "the machine is too slow to show it");
    tokio::time::sleep_until(begun + Duration::from_millis(800)).await;
    let before = rows.clone();
    let outcomes = read_all(&mut stream, &mut rows).await;
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
