//! Whole nodes that restart while the network is apart, over connections in memory that carry their gossip too: what is cut is cut.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdb_net_manager::config::{Config, GossipTransport, SplitBrainStrategy};
use rdb_net_manager::{CallOptions, NetworkManager};
use rdb_net_mem::{MemoryConfig, MemoryNetwork};
use rdb_net_seal::{DiskFiles, FileConfig, FileKind, FileOwner, SealedFile};
use rdb_net_types::{ClusterId, NodeAddress, NodeId, NodeState, QueryRequest, Reason};
use rdb_swim::Snapshot;
use tempfile::TempDir;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const FEW: [usize; 2] = [0, 1];
const MANY: [usize; 3] = [2, 3, 4];
/// Only a broken node takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long two halves may take to become one.
const ONE_VIEW: Duration = Duration::from_secs(15);

fn cluster() -> ClusterId {
    ClusterId::new("orders").expect("legal")
}

fn id(index: usize) -> NodeId {
    NodeId::new(NAMES[index]).expect("legal")
}

fn address(index: usize) -> NodeAddress {
    NodeAddress::new(NAMES[index], 7000).expect("legal")
}

/// Five nodes and the network between them.
struct Scene {
    network: MemoryNetwork,
    folder: TempDir,
    nodes: Vec<NetworkManager>,
}

impl Scene {
    async fn open() -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut scene = Self { network: MemoryNetwork::new(MemoryConfig::default()), folder, nodes: Vec::new() };
        for index in 0..NAMES.len() {
            let node = scene.start(index, vec![address(0)]).await;
            scene.nodes.push(node);
        }
        scene.until(PATIENCE, "all know all", |scene| (0..5).all(|node| scene.alive(node) == 5)).await;
        scene
    }

    async fn start(&self, index: usize, seeds: Vec<NodeAddress>) -> NetworkManager {
        let mut config = Config::default();
        config.cluster_id = cluster();
        config.node_id = Some(id(index));
        config.bind_address = address(index);
        config.gossip_address = Some("127.0.0.1:0".parse().expect("legal"));
        config.allow_plaintext = true;
        config.admin.enabled = false;
        config.service_discovery.seeds = seeds;
        config.gossip.transport = GossipTransport::Stream;
        config.gossip.swim = rdb_swim::Config::local();
        config.split_brain.strategy = SplitBrainStrategy::KeepMajority;
        config.split_brain.stable_after = Duration::from_secs(2);
        config.state.path = Some(self.state(index));
        let backend = std::sync::Arc::new(self.network.backend(&address(index)));
        let node = NetworkManager::with_backend(config, backend).expect("it can run");
        node.start().await.expect("its address is free");
        node
    }

    /// Its process ends, and nobody hears a word of it; another one begins with what was written down by then, and no seeds.
    async fn restart(&mut self, index: usize, files: &Files) {
        let others: Vec<usize> = (0..5).filter(|other| *other != index).collect();
        let open: Vec<usize> = others.iter().copied().filter(|other| self.are_of_a_side(index, *other)).collect();
        open.iter().for_each(|other| self.network.cut(&address(index), &address(*other)));
        self.nodes[index].shutdown().await;
        for (name, content) in &files.0 {
            std::fs::write(self.state(index).join(name), content).expect("written");
        }
        open.iter().for_each(|other| self.network.mend(&address(index), &address(*other)));
        self.nodes[index] = self.start(index, Vec::new()).await;
    }

    fn are_of_a_side(&self, one: usize, other: usize) -> bool {
        FEW.contains(&one) == FEW.contains(&other)
    }

    fn part(&self, is_cut: bool) {
        for (few, many) in FEW.iter().flat_map(|few| MANY.iter().map(move |many| (*few, *many))) {
            match is_cut {
                true => self.network.cut(&address(few), &address(many)),
                false => self.network.mend(&address(few), &address(many)),
            }
        }
    }

    fn state(&self, index: usize) -> PathBuf {
        self.folder.path().join(NAMES[index])
    }

    /// How many members its file holds in this state.
    fn written(&self, index: usize, state: NodeState) -> usize {
        let (path, owner) = (self.state(index).join("view.state"), FileOwner::of(&cluster(), &id(index)));
        let mut file = SealedFile::new(DiskFiles, path, FileKind::VIEW, owner, Vec::new(), FileConfig::default());
        let Some(payload) = file.load().payload else { return 0 };
        let snapshot = Snapshot::decode(&payload[8..], &cluster()).expect("a whole one");
        snapshot.members.iter().filter(|member| member.state == state).count()
    }

    fn files(&self, index: usize) -> Files {
        let read = |name| (name, std::fs::read(self.state(index).join(name)).expect("it is written"));
        Files(["members.state", "view.state"].map(read))
    }

    fn count(&self, node: usize, state: NodeState) -> usize {
        self.nodes[node].members().iter().filter(|member| member.state == state).count()
    }

    fn alive(&self, node: usize) -> usize {
        self.count(node, NodeState::Alive)
    }

    fn withdraws(&self, node: usize) -> bool {
        self.nodes[node].control().statistics().is_withdrawn
    }

    async fn until(&self, limit: Duration, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < limit, "{what}: not within {limit:?}\n{}", self.story());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    fn story(&self) -> String {
        let line = |node: &NetworkManager| {
            let members: Vec<String> = node
                .members()
                .iter()
                .map(|member| format!("{} {} {}", member.id, member.incarnation, member.state))
                .collect();
            format!("{members:?} {:?}", node.control().topology().split_brain)
        };
        self.nodes.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    async fn close(self) {
        for node in self.nodes {
            node.shutdown().await;
        }
    }
}

/// What a node has written down.
struct Files([(&'static str, Vec<u8>); 2]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_five_that_restart_within_a_split_know_of_five_and_withdraw_until_it_is_mended() {
    let mut scene = Scene::open().await;
    scene.until(PATIENCE, "it is written", |scene| FEW.iter().all(|n| scene.written(*n, NodeState::Alive) == 4)).await;
    // One file is of the time before the split, the other of the time after it.
    let before = scene.files(0);
    scene.part(true);
    let is_written = |scene: &Scene| scene.written(1, NodeState::Failed) == 3;
    scene.until(PATIENCE, "that the others are gone is written", is_written).await;
    let after = scene.files(1);
    scene.restart(0, &before).await;
    assert_eq!(scene.nodes[0].members().len(), 5, "{}", scene.story());
    scene.restart(1, &after).await;

    let apart = |scene: &Scene| FEW.iter().all(|n| scene.alive(*n) == 2 && scene.count(*n, NodeState::Failed) == 3);
    scene.until(PATIENCE, "the two have met", apart).await;
    let decided = scene.until(PATIENCE, "they withdraw", |scene| FEW.iter().all(|n| scene.withdraws(*n))).await;
    println!("MEASURED withdrawn after the two have met: {decided:.1?}");
    for node in FEW {
        let topology = scene.nodes[node].control().topology();
        assert_eq!((topology.members.len(), topology.partition), (5, None), "{}", scene.story());
        let reason = topology.split_brain.expect("a strategy decides").reason;
        assert_eq!(reason, "keep_majority: 2 of 5 members are seen, not the larger side");
        let asked = scene.nodes[node].request(&id(2), &QueryRequest::default(), CallOptions::default()).await;
        assert_eq!(asked.expect_err("it is on the other side").reason, Reason::Unreachable);
        let asked = scene.nodes[node].request(&id(1 - node), &QueryRequest::default(), CallOptions::default()).await;
        assert_eq!(asked.expect_err("the side withdraws").reason, Reason::Withdrawn);
    }
    assert!(!MANY.iter().any(|node| scene.withdraws(*node)), "{}", scene.story());

    scene.part(false);
    let one = scene
        .until(ONE_VIEW, "one view", |scene| {
            let digest = |node: usize| scene.nodes[node].control().topology().view_digest;
            (0..5).all(|node| scene.alive(node) == 5 && digest(node) == digest(0))
        })
        .await;
    println!("MEASURED one view after healing: {one:.1?}");
    scene.until(PATIENCE, "nobody withdraws", |scene| !(0..5).any(|node| scene.withdraws(node))).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_restarts_and_reaches_nobody_knows_of_all_and_has_not_joined() {
    let mut scene = Scene::open().await;
    scene.until(PATIENCE, "it is written", |scene| scene.written(0, NodeState::Alive) == 4).await;
    let files = scene.files(0);
    (1..5).for_each(|other| scene.network.cut(&address(0), &address(other)));
    scene.nodes[1].shutdown().await;
    scene.restart(0, &files).await;
    // The other one of its side has ended.
    assert_eq!((scene.alive(0), scene.count(0, NodeState::Failed)), (1, 4));
    scene.until(PATIENCE, "it withdraws", |scene| scene.withdraws(0)).await;
    let topology = scene.nodes[0].control().topology();
    assert_eq!(topology.partition, None, "nobody whom it has seen has vanished");
    assert!(!scene.nodes[0].control().is_joined(), "a memory is no cluster");
    (1..5).for_each(|other| scene.network.mend(&address(0), &address(other)));
    scene.until(ONE_VIEW, "it is back among the three", |scene| scene.alive(0) == 4).await;
    assert!(scene.nodes[0].control().is_joined());
    scene.until(PATIENCE, "it goes on", |scene| !scene.withdraws(0)).await;
    scene.close().await;
}
