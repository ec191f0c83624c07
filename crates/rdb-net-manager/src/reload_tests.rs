//! A running node whose configuration is read again.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::{Change, KEYS, Key, Loader, is_of_membership};
use crate::{ControlError, NetworkEvent, NetworkManager, Reloaded};

/// Only a broken node takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

const BASE: &str = "[networking]\nnode_id = 'n1'\nbind_address = '127.0.0.1:0'\n[networking.admin]\nenabled = false\n";

/// A node that runs from a file.
struct Scene {
    folder: tempfile::TempDir,
    manager: NetworkManager,
}

impl Scene {
    async fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), text);
        let loader = Loader::new().file(folder.path().join("node.toml"));
        let manager = NetworkManager::new(loader.load().expect("legal")).expect("it can run").with_loader(loader);
        manager.start().await.expect("it starts");
        Self { folder, manager }
    }

    /// Writes another file, and has the node read it.
    async fn reload(&self, text: &str) -> Result<Reloaded, ControlError> {
        write(self.folder.path(), text);
        self.manager.control().reload_configuration().await
    }

    fn swim(&self) -> rdb_swim::Config {
        self.node().gossip.look(|driven, _| driven.0.membership().config().clone())
    }

    /// The settings of membership that the node runs with, in writing.
    fn in_force(&self) -> String {
        self.node().gossip.look(|driven, _| format!("{:?}", (driven.0.membership().config(), driven.0.config())))
    }

    fn node(&self) -> &crate::node::Node {
        self.manager.node.get().expect("it runs")
    }

    fn counter(&self, name: &str) -> u64 {
        self.manager.control().statistics().membership[name]
    }
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("node.toml"), format!("{BASE}{text}")).expect("the folder can be written");
}

fn names(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.key).collect()
}

#[tokio::test]
async fn every_key_of_membership_that_is_hot_reaches_a_running_node() {
    let hot: Vec<&Key> = KEYS.iter().filter(|key| is_of_membership(key)).collect();
    assert_eq!(hot.len(), 24);
    for key in hot {
        let company = if key.name() == "members" { "strategy = 'static_quorum'\nmembers = 2\n" } else { "" };
        let before = format!("[{}]\n{company}", key.section());
        let value = format!("{} = {}\n", key.name(), key.example);
        let after = format!("{}{value}", before.replace("members = 2\n", ""));
        let scene = Scene::start(&before).await;
        let former = scene.in_force();
        let reloaded = scene.reload(&after).await.expect(key.path);
        assert!(
            names(&reloaded.taken).contains(&key.path) && reloaded.waiting.is_empty(),
            "{}: {reloaded:?}",
            key.path
        );
        assert_ne!(scene.in_force(), former, "{}", key.path);
        assert!(scene.manager.control().configuration().contains(value.trim()), "{}", key.path);
        // And back, by taking the line out.
        scene.reload(&before).await.expect(key.path);
        assert_eq!(scene.in_force(), former, "{}", key.path);
        scene.manager.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_probes_at_its_new_interval_and_so_does_nobody_else() {
    let first = Scene::start("").await;
    let seeds = format!("[networking.service_discovery]\nseeds = ['{}']\n", first.manager.addresses().transport);
    let config = Loader::new().text("node.toml", format!("{BASE}{seeds}")).overrides(["networking.node_id=n2"]);
    let other = NetworkManager::new(config.load().expect("legal")).expect("it can run");
    other.start().await.expect("it starts");
    other.wait_joined().await;
    let text = "[networking.gossip]\nprobe_interval_ms = 20\nprobe_timeout_ms = 10\n";
    let reloaded = first.reload(text).await.expect("legal");
    assert_eq!(names(&reloaded.taken), ["networking.gossip.probe_interval_ms", "networking.gossip.probe_timeout_ms"]);
    let (began, before) = (Instant::now(), first.counter("probes_started"));
    let others = other.control().statistics().membership["probes_started"];
    while first.counter("probes_started") < before + 100 {
        assert!(began.elapsed() < PATIENCE, "it does not probe at 20 ms");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A hundred probes at the former interval take a hundred seconds.
    assert!(other.control().statistics().membership["probes_started"] <= others + began.elapsed().as_secs() + 2);
    other.shutdown().await;
    first.manager.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_what_cannot_be_taken_is_named() {
    let scene = Scene::start("[networking.gossip]\nfanout = 2\n").await;
    let former = scene.in_force();
    let wrong = "[networking.gossip]\nfanout = 4\nprobe_interval_ms = 300\n";
    let error = scene.reload(wrong).await.expect_err("the time-out is longer than the interval").to_string();
    assert!(error.contains("networking.gossip.probe_timeout_ms: 500 is not below probe_interval_ms = 300"), "{error}");
    assert_eq!(scene.in_force(), former);
    assert!(scene.reload("[networking.gossip]\nfan_out = 4\n").await.is_err());
    assert_eq!(scene.in_force(), former);

    let mixed = "[networking.gossip]\nfanout = 4\ntransport = 'udp'\n[networking.transport]\ndials_max = 7\n";
    let reloaded = scene.reload(mixed).await.expect("legal");
    assert_eq!(names(&reloaded.taken), ["networking.gossip.fanout"]);
    assert_eq!(names(&reloaded.waiting), ["networking.gossip.transport", "networking.transport.dials_max"]);
    assert_eq!(scene.swim().gossip_fanout, 4);
    // They are named until they are in force or taken back.
    let again = scene.reload(mixed).await.expect("legal");
    assert_eq!((again.taken.len(), names(&again.waiting)), (0, names(&reloaded.waiting)));
    scene.manager.shutdown().await;
}

const QUORUM: &str = "[networking.split_brain]\nstrategy = 'static_quorum'\nmembers = 2\nstable_after_ms = 50\n";

async fn until_withdrawn(scene: &Scene, is_withdrawn: bool) {
    let began = Instant::now();
    while scene.manager.control().statistics().is_withdrawn != is_withdrawn {
        assert!(began.elapsed() < PATIENCE, "withdrawn is not {is_withdrawn}: one is no quorum of two");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_configuration_is_not_read_before_the_one_that_was_read_earlier_is_taken() {
    let scene = Scene::start("[networking.gossip]\nfanout = 2\n").await;
    let earlier = scene.node().reloading.lock().await;
    let mut later = Box::pin(scene.reload("[networking.gossip]\nfanout = 4\n"));
    let waits = tokio::time::timeout(Duration::from_millis(100), &mut later).await;
    assert!(waits.is_err(), "it is not its turn: {waits:?}");
    write(scene.folder.path(), "[networking.gossip]\nfanout = 5\n");
    drop(earlier);
    later.await.expect("legal");
    assert_eq!(scene.swim().gossip_fanout, 5, "it has read what was there when its turn came");
    scene.manager.shutdown().await;
}

#[tokio::test]
async fn a_strategy_that_is_taken_away_keeps_nobody_from_sending() {
    let scene = Scene::start(QUORUM).await;
    until_withdrawn(&scene, true).await;
    scene.reload("").await.expect("legal");
    assert_eq!(scene.manager.control().topology().split_brain, None);
    until_withdrawn(&scene, false).await;
    scene.reload(QUORUM).await.expect("legal");
    until_withdrawn(&scene, true).await;
    scene.manager.shutdown().await;
}

/// The verdict is on its way to whoever refuses messages while its strategy is taken away: it must not be the last word.
#[tokio::test]
async fn a_verdict_that_was_just_given_ends_with_its_strategy() {
    let scene = Scene::start(&QUORUM.replace("= 50", "= 60000")).await;
    let mut events = scene.manager.events();
    let node = scene.node();
    // On the one thread of this test, nobody takes the verdict before the strategy is gone.
    node.gossip.with(|driven, now| driven.0.handle_timeout(now + Duration::from_secs(120)));
    assert!(node.gossip.look(|driven, _| driven.0.split_verdict()).is_some(), "it has decided");
    node.take(&Loader::new().text("node.toml", BASE).load().expect("legal")).expect("it is taken");
    assert!(!scene.manager.control().statistics().is_withdrawn, "the verdict is still on its way");
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("it is told").expect("it runs");
        if let NetworkEvent::SplitBrain { withdraws, .. } = event {
            told.push(withdraws);
        }
    }
    assert_eq!(told, [true, false]);
    assert!(!scene.manager.control().statistics().is_withdrawn);
    scene.manager.shutdown().await;
}
