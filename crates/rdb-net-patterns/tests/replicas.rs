//! Replicas over real nodes of one process: quorum, a new leader, restarts over files, and the outcomes that are told.
#![cfg(all(feature = "manager", feature = "files"))]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;
use rdb_net_patterns::replication::{
    AppendError, CompactError, Config, ConfigError, Counters, Entries, Event, FollowerState, LeadError, LeadFailed,
    LogError, LogStorage, MemoryLog, NotLeading, OpenError, Piece, Position, Promise, RecordedLog, ReplicaHandle,
    Replication, Role,
};
use rdb_net_patterns::storage::FileLog;
use rdb_net_types::NodeId;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

struct Node {
    manager: Arc<NetworkManager>,
    replication: Replication,
}

/// So many nodes that know each other.
async fn nodes(count: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for number in 1..=count {
        let seeds = nodes
            .first()
            .map(|first| format!("networking.service_discovery.seeds=[\"{}\"]", first.manager.addresses().transport));
        let config = Loader::new()
            .overrides([format!("networking.node_id=n{number}"), "networking.bind_address=127.0.0.1:0".to_owned()])
            .overrides(seeds)
            .load()
            .expect("a configuration");
        let manager = Arc::new(NetworkManager::new(config).expect("a node"));
        let replication = Replication::new(&manager);
        manager.start().await.expect("it starts");
        manager.wait_joined().await;
        nodes.push(Node { manager, replication });
    }
    let everybody = async {
        for node in &nodes {
            while node.manager.members().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    timeout(LIMIT, everybody).await.expect("they find each other");
    nodes
}

fn config(count: usize) -> Config {
    Config::new(1, (1..=count).map(|number| NodeId::new(&format!("n{number}")).expect("legal")))
}

fn open(node: &Node, count: usize, log: impl LogStorage + 'static) -> ReplicaHandle {
    node.replication.open(config(count), log).expect("it is a member")
}

async fn wait_committed(replica: &ReplicaHandle, index: u64) {
    let mut committed = replica.committed();
    let waited = timeout(LIMIT, committed.wait_for(|committed| *committed >= index)).await;
    waited.expect("in time").expect("the replica is open");
}

async fn check_equal(replicas: &[ReplicaHandle], index: u64) {
    let mut digests = Vec::new();
    for replica in replicas {
        wait_committed(replica, index).await;
        digests.push(replica.status().await.expect("open").last);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0] && digest.index == index), "{digests:?}");
}

async fn shut_down(nodes: Vec<Node>) {
    for node in nodes.iter().rev() {
        node.manager.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_several_tasks_are_committed_on_every_node_in_one_order() {
    let nodes = nodes(3).await;
    let replicas: Vec<_> = nodes.iter().map(|node| open(node, 3, MemoryLog::new())).collect();
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("it leads");
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let leader = replicas[0].clone();
            tokio::spawn(async move {
                let mut indexes = Vec::new();
                for number in 0..50u64 {
                    let entries = vec![vec![task as u8; 100].into(), number.to_string().into()];
                    indexes.push(leader.append(entries).await.expect("it is committed"));
                }
                indexes
            })
        })
        .collect();
    let mut indexes = Vec::new();
    for task in tasks {
        let of_task = timeout(LIMIT, task).await.expect("in time").expect("no panic");
        assert!(of_task.is_sorted_by(|a, b| a.end() < b.start()), "in the order of the calls");
        indexes.extend(of_task);
    }
    indexes.sort_by_key(|range| *range.start());
    assert!(indexes.windows(2).all(|pair| pair[0].end() + 1 == *pair[1].start()), "each has a place of its own");
    check_equal(&replicas, 801).await;
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_fences_the_old_one_which_tells_what_it_does_not_know() {
    let nodes = nodes(3).await;
    let replicas: Vec<_> = nodes.iter().map(|node| open(node, 3, MemoryLog::new())).collect();
    let lead = |place: usize, epoch| timeout(LIMIT, replicas[place].lead(epoch));
    lead(0, 1).await.expect("in time").expect("it leads");
    replicas[0].append(vec!["first".into()]).await.expect("it is committed");
    // Who does not know all of it may not lead.
    wait_committed(&replicas[1], 2).await;
    lead(1, 5).await.expect("in time").expect("it leads");
    let refused = timeout(LIMIT, replicas[0].append(vec!["late".into()])).await.expect("in time");
    match refused {
        Err(AppendError::Undecided { epoch: 1, reason: NotLeading::Fenced { epoch: 5 } }) => {}
        // It may have heard of the new leader before.
        Err(AppendError::NotLeader { leader: Some(leader) }) => assert_eq!(leader.as_str(), "n2"),
        other => panic!("{other:?}"),
    }
    let last = replicas[1].append(vec!["second".into()]).await.expect("it is committed");
    check_equal(&replicas, *last.end()).await;
    assert!(matches!(lead(0, 5).await.expect("in time"), Err(LeadFailed::Refused(_))), "an epoch begins once");
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_catches_up_and_slows_nobody_meanwhile() {
    let nodes = nodes(3).await;
    let mut replicas: Vec<_> = nodes[..2].iter().map(|node| open(node, 3, MemoryLog::new())).collect();
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("it leads");
    let mut events = replicas[0].events();
    for _ in 0..40 {
        let entries = vec![vec![7; 1024].into(); 1024];
        timeout(LIMIT, replicas[0].append(entries)).await.expect("in time").expect("two are a quorum");
    }
    let status = replicas[0].status().await.expect("open");
    assert_eq!((status.committed, status.followers[1].state), (40_961, FollowerState::Waiting));
    replicas.push(open(&nodes[2], 3, MemoryLog::new()));
    check_equal(&replicas, 40_961).await;
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        match &*event {
            Event::CatchingUp { node, .. } if node.as_str() == "n3" => told.push("behind"),
            Event::CaughtUp { node } if node.as_str() == "n3" => told.push("there"),
            _ => {}
        }
    }
    assert_eq!(told, ["behind", "there"], "40 MiB are more than the leader's memory");
    shut_down(nodes).await;
}

/// A log in memory whose syncs wait, while it is told so, until the other end of its channel is gone; and fail, while it is told so.
struct Held {
    log: MemoryLog,
    is_held: Arc<AtomicBool>,
    released: mpsc::Receiver<()>,
    fails: Arc<AtomicBool>,
}

impl Held {
    /// A log whose syncs fail while this is true.
    fn failing(fails: &Arc<AtomicBool>) -> Self {
        let (_, released) = mpsc::channel();
        Self { log: MemoryLog::new(), is_held: Arc::default(), released, fails: Arc::clone(fails) }
    }
}

impl LogStorage for Held {
    fn promise(&self) -> Promise {
        self.log.promise()
    }

    fn keep_promise(&mut self, promise: &Promise) -> Result<(), LogError> {
        self.log.keep_promise(promise)
    }

    fn base(&self) -> Position {
        self.log.base()
    }

    fn last(&self) -> Position {
        self.log.last()
    }

    fn position(&self, index: u64) -> Option<Position> {
        self.log.position(index)
    }

    fn append(&mut self, entries: &Entries) -> Result<(), LogError> {
        self.log.append(entries)
    }

    fn cut(&mut self, keep: u64) -> Result<(), LogError> {
        self.log.cut(keep)
    }

    fn compact(&mut self, up_to: u64) -> Result<(), LogError> {
        self.log.compact(up_to)
    }

    fn restore(&mut self, base: Position) -> Result<(), LogError> {
        self.log.restore(base)
    }

    fn read(&self, from: u64, bytes_max: usize, entries_max: usize) -> Result<Entries, LogError> {
        self.log.read(from, bytes_max, entries_max)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if self.is_held.load(Ordering::Relaxed) {
            let _released = self.released.recv();
        }
        match self.fails.load(Ordering::Relaxed) {
            true => Err(LogError { operation: "sync", source: std::io::Error::other("the disk has failed") }),
            false => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_slow_slows_nobody_and_is_sent_no_more_than_its_window() {
    let nodes = nodes(3).await;
    let mut replicas: Vec<_> = nodes[..2].iter().map(|node| open(node, 3, MemoryLog::new())).collect();
    let (is_held, (release, released)) = (Arc::<AtomicBool>::default(), mpsc::channel());
    replicas.push(open(
        &nodes[2],
        3,
        Held { is_held: Arc::clone(&is_held), released, ..Held::failing(&Arc::default()) },
    ));
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("it leads");
    check_equal(&replicas, 1).await;
    is_held.store(true, Ordering::Relaxed);
    for _ in 0..96 {
        let entries = vec![vec![7; 1024].into(); 128];
        timeout(LIMIT, replicas[0].append(entries)).await.expect("in time").expect("two are a quorum");
    }
    let status = replicas[0].status().await.expect("open");
    let slow = &status.followers[1];
    assert_eq!((status.committed, slow.node.as_str(), slow.state), (12_289, "n3", FollowerState::Streaming));
    let window = config(3).window_bytes;
    assert!(slow.matched < 12_289, "nothing that is held is acknowledged: {slow:?}");
    assert!((window / 2..=window).contains(&slow.in_flight_bytes), "12 MiB were written meanwhile: {slow:?}");
    drop(release);
    check_equal(&replicas, 12_289).await;
    shut_down(nodes).await;
}

/// The quorum is the leader and the follower whose sync takes long: nothing counts before it is durable there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_sync_is_acknowledged_when_it_has_ended_and_not_before() {
    let nodes = nodes(3).await;
    let (is_held, (release, released)) = (Arc::<AtomicBool>::default(), mpsc::channel());
    let slow = Held { is_held: Arc::clone(&is_held), released, ..Held::failing(&Arc::default()) };
    // The third is away.
    let replicas = [open(&nodes[0], 3, MemoryLog::new()), open(&nodes[1], 3, slow)];
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("two are a quorum");
    check_equal(&replicas, 1).await;
    is_held.store(true, Ordering::Relaxed);
    let proposal = replicas[0].propose(vec!["held".into()]).await.expect("it leads");
    let mut committed = Box::pin(proposal.committed());
    let early = timeout(Duration::from_millis(300), &mut committed).await;
    assert!(early.is_err(), "told before it was durable: {early:?}");
    let status = replicas[0].status().await.expect("open");
    assert_eq!((status.last.index, status.committed, status.followers[0].matched), (2, 1, 1));
    is_held.store(false, Ordering::Relaxed);
    drop(release);
    timeout(LIMIT, committed).await.expect("in time").expect("it is durable now");
    check_equal(&replicas, 2).await;
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_sync_fails_acknowledges_nothing_more_and_the_others_go_on() {
    let nodes = nodes(3).await;
    let fails = Arc::<AtomicBool>::default();
    let mut replicas: Vec<_> = nodes[..2].iter().map(|node| open(node, 3, MemoryLog::new())).collect();
    replicas.push(open(&nodes[2], 3, Held::failing(&fails)));
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("it leads");
    check_equal(&replicas, 1).await;
    // It has the first entry for good, and its leader knows.
    let is_matched = async {
        while replicas[0].status().await.expect("open").followers[1].matched != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, is_matched).await.expect("in time");
    let mut events = replicas[2].events();
    fails.store(true, Ordering::Relaxed);
    timeout(LIMIT, replicas[0].append(vec!["a".into()])).await.expect("in time").expect("two are a quorum");
    let failed = async { while !matches!(&*events.recv().await.expect("not too many"), Event::Failed(_)) {} };
    timeout(LIMIT, failed).await.expect("its application is told");
    // A sync that would succeed now proves nothing of the one that did not.
    fails.store(false, Ordering::Relaxed);
    timeout(LIMIT, replicas[0].append(vec!["b".into()])).await.expect("in time").expect("two are a quorum");
    let status = replicas[0].status().await.expect("open");
    assert_eq!((status.committed, status.followers[1].matched), (3, 1), "{status:?}");
    let failed = replicas[2].status().await.expect("open");
    assert_eq!((failed.role, failed.durable), (Role::Failed, 1));
    assert!(matches!(replicas[2].lead(2).await, Err(LeadFailed::Refused(LeadError::Failed))));
    // Without the third there is no quorum any more when the second is away.
    replicas[1].close().await;
    let proposal = replicas[0].propose(vec!["c".into()]).await.expect("it leads");
    let early = timeout(Duration::from_millis(300), proposal.committed()).await;
    assert!(early.is_err(), "one is no quorum: {early:?}");
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_sync_fails_tells_its_application_what_is_undecided_and_leads_no_longer() {
    let nodes = nodes(3).await;
    let fails = Arc::<AtomicBool>::default();
    // It is the quorum together with the second; the third is away.
    let replicas = [open(&nodes[0], 3, Held::failing(&fails)), open(&nodes[1], 3, MemoryLog::new())];
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("two are a quorum");
    replicas[0].append(vec!["kept".into()]).await.expect("it is committed");
    fails.store(true, Ordering::Relaxed);
    let told = timeout(LIMIT, replicas[0].append(vec!["undecided".into()])).await.expect("in time");
    assert_eq!(told, Err(AppendError::Undecided { epoch: 1, reason: NotLeading::Failed }));
    let status = replicas[0].status().await.expect("open");
    assert_eq!((status.role, status.committed, status.durable), (Role::Failed, 2, 2));
    let after = timeout(LIMIT, replicas[0].append(vec!["late".into()])).await.expect("in time");
    assert_eq!(after, Err(AppendError::NotLeader { leader: None }), "nothing was written");
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lacks_what_was_compacted_begins_again_from_a_copy() {
    let nodes = nodes(3).await;
    let mut replicas: Vec<_> = nodes[..2].iter().map(|node| open(node, 3, MemoryLog::new())).collect();
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("it leads");
    let mut events = replicas[0].events();
    for number in 0..50u64 {
        replicas[0].append(vec![number.to_string().into()]).await.expect("two are a quorum");
    }
    let too_far = replicas[0].compact(52).await.expect("it is open");
    assert_eq!(too_far, Err(CompactError::NotCommitted { up_to: 52, committed: 51 }));
    let base = replicas[0].compact(40).await.expect("it is open").expect("it is committed");
    replicas.push(open(&nodes[2], 3, MemoryLog::new()));
    let told = async {
        loop {
            if let Event::OutOfReach { node, base, .. } = &*events.recv().await.expect("not too many") {
                return (node.clone(), *base);
            }
        }
    };
    let (node, place) = timeout(LIMIT, told).await.expect("it is told");
    assert_eq!((node.as_str(), place), ("n3", base));
    replicas[2].restore(base).await.expect("it is open").expect("it lacks something");
    check_equal(&replicas, 51).await;
    let status = replicas[2].status().await.expect("open");
    assert_eq!(status.base, base);
    // A log that was compacted is known to be committed that far as soon as it is opened.
    replicas[2].close().await;
    let mut log = MemoryLog::new();
    log.restore(base).expect("memory");
    let again = open(&nodes[2], 3, log);
    assert!(*again.committed().borrow() >= base.index);
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_over_files_are_there_again_after_a_restart() {
    let directory = std::env::temp_dir().join(format!("rdb-replicas-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = |number: usize| -> PathBuf { directory.join(format!("n{number}.log")) };
    let file = |number: usize| RecordedLog::open(|visit| FileLog::open(path(number), visit)).expect("a log");
    let nodes = nodes(3).await;
    let open_all = || (0..3).map(|place| open(&nodes[place], 3, file(place + 1))).collect::<Vec<_>>();
    let replicas = open_all();
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("it leads");
    for number in 0..20u64 {
        replicas[0].append(vec![number.to_string().into()]).await.expect("it is committed");
    }
    check_equal(&replicas, 21).await;
    for replica in &replicas {
        replica.close().await;
    }
    assert!(matches!(replicas[0].append(vec!["x".into()]).await, Err(AppendError::Closed)));
    let replicas = open_all();
    assert!(matches!(replicas[2].lead(1).await, Err(LeadFailed::Refused(_))), "the promise is there too");
    timeout(LIMIT, replicas[2].lead(2)).await.expect("in time").expect("it leads");
    let last = replicas[2].append(vec!["after".into()]).await.expect("it is committed");
    assert_eq!(*last.end(), 23);
    check_equal(&replicas, 23).await;
    shut_down(nodes).await;
    std::fs::remove_dir_all(&directory).expect("it was made here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_holds_one_replica_of_a_log_and_none_of_logs_of_others() {
    let nodes = nodes(1).await;
    let replica = open(&nodes[0], 1, MemoryLog::new());
    let again = nodes[0].replication.open(config(1), MemoryLog::new());
    assert_eq!(again.map(drop), Err(OpenError::Open { log_id: 1 }));
    let others = Config::new(2, [NodeId::new("n9").expect("legal")]);
    let foreign = nodes[0].replication.open(others, MemoryLog::new());
    assert!(matches!(foreign, Err(OpenError::Config(ConfigError::NotAMember { .. }))));
    let twice = Config::new(2, ["n1", "n1"].map(|name| NodeId::new(name).expect("legal")));
    let twice = nodes[0].replication.open(twice, MemoryLog::new());
    assert!(matches!(twice, Err(OpenError::Config(ConfigError::NamedTwice { .. }))));
    replica.close().await;
    open(&nodes[0], 1, MemoryLog::new());
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_in_one_piece_keep_their_place_among_others() {
    let nodes = nodes(3).await;
    let replicas: Vec<_> = nodes.iter().map(|node| open(node, 3, MemoryLog::new())).collect();
    timeout(LIMIT, replicas[0].lead(1)).await.expect("in time").expect("two are a quorum");
    // Of a batch and more, of a small part of one, and of none.
    let (mut tasks, sizes) = (tokio::task::JoinSet::new(), [400_000, 100_000, 5_000, 0]);
    for task in 0..8u8 {
        let leader = replicas[0].clone();
        tasks.spawn(async move {
            let mut places = Vec::new();
            for number in 0..20u8 {
                let size = sizes[usize::from(task + number) % sizes.len()];
                let data = bytes::Bytes::from(vec![task * 20 + number; size]);
                let mut lengths = vec![999; size / 999];
                lengths.push(size % 999);
                let piece = Piece::new(data, lengths.clone()).expect("that is all of it");
                let in_a_piece = leader.propose_piece(piece).await.expect("it leads");
                let alone = leader.append(vec![vec![task * 20 + number].into()]).await.expect("it is committed");
                assert!(alone.start() > in_a_piece.indexes.end());
                assert_eq!(in_a_piece.indexes.clone().count(), lengths.len());
                places.extend(
                    in_a_piece.indexes.clone().zip(lengths).map(|(index, length)| (index, length, task * 20 + number)),
                );
                places.push((*alone.start(), 1, task * 20 + number));
                in_a_piece.committed().await.expect("what is behind it is committed");
            }
            places
        });
    }
    let mut places = tasks.join_all().await.concat();
    places.sort_unstable();
    let last = places.last().expect("many").0;
    check_equal(&replicas, last).await;
    for replica in &replicas {
        let (mut read, mut from) = (Vec::new(), 2);
        while from <= last {
            let entries = replica.read(from, 1 << 20).await.expect("open").expect("in memory");
            from += entries.len() as u64;
            read.extend(entries.into_iter().map(|entry| {
                let byte = entry.data.first().copied();
                assert!(entry.data.iter().all(|other| Some(*other) == byte));
                (entry.index, entry.data.len(), byte)
            }));
        }
        let expected = places.iter().map(|(index, length, byte)| (*index, *length, (*length > 0).then_some(*byte)));
        assert!(read.into_iter().eq(expected));
    }
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entries_are_appended_at_once() {
    let nodes = nodes(1).await;
    let replica = open(&nodes[0], 1, MemoryLog::new());
    assert!(matches!(replica.append(Vec::new()).await, Err(AppendError::NotLeader { .. })));
    timeout(LIMIT, replica.lead(1)).await.expect("in time").expect("it leads");
    let entries = replica.append(vec!["a".into()]).await.expect("it is committed");
    let nothing = timeout(LIMIT, replica.append(Vec::new())).await.expect("it returns").expect("it is nothing");
    assert!(nothing.is_empty() && *nothing.start() == entries.end() + 1, "{nothing:?}");
    let (some, none) = tokio::join!(replica.append(vec!["b".into()]), replica.append(Vec::new()));
    assert_eq!((some.expect("it is committed"), none.expect("it is nothing").is_empty()), (3..=3, true));
    shut_down(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_member_finds_no_place_in_the_queue_and_is_counted() {
    let nodes = nodes(2).await;
    let own = open(&nodes[0], 1, MemoryLog::new());
    // By its own configuration the second node is a member, and even a quorum with the first.
    let stranger = open(&nodes[1], 2, MemoryLog::new());
    let led = tokio::spawn(async move { stranger.lead(9).await });
    let refused = async {
        while own.strangers() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, refused).await.expect("it is refused again and again");
    let status = own.status().await.expect("open");
    assert_eq!((status.epoch, status.counters), (0, Counters::default()), "the replica has seen none of it");
    assert!(!led.is_finished());
    led.abort();
    shut_down(nodes).await;
}
