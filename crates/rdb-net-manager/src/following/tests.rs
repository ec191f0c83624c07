//! Nodes whose source says what a test lets it say.

use std::sync::Mutex;
use std::time::Instant;

use rdb_discovery::{Capabilities, Cause};
use rdb_discovery_driver::{Backend, Discovery, DriverConfig, Registrar, RegistrationFault, Voice};
use rdb_net_types::{BoxFuture, NodeAddress, NodeId, NodeInfo, NodeState};
use tokio::sync::watch;

use super::*;
use crate::NetworkManager;
use crate::config::Loader;

/// Only a broken node takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the source says: its list, or that it cannot be reached.
type Said = Result<Vec<NodeInfo>, &'static str>;

/// What becomes of a registration: written, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    All,
    NoneHeldByAnother,
    NoneAway,
}

#[derive(Clone)]
struct Told {
    said: watch::Receiver<Said>,
    takes: Arc<Mutex<Takes>>,
    registered: Arc<Mutex<Option<NodeId>>>,
}

impl Backend for Told {
    fn component(&self) -> &'static str {
        "ToldDiscovery"
    }

    fn source_name(&self) -> &str {
        "told"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { registers: true, watches: true, names_nodes: true }
    }

    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()> {
        let mut said = self.said.clone();
        Box::pin(async move {
            loop {
                let now = said.borrow_and_update().clone();
                match now {
                    Ok(nodes) => voice.full(nodes),
                    Err(problem) => voice.failure(Cause::unavailable(problem)),
                }
                if said.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        })
    }

    fn registrar(&self) -> Option<Box<dyn Registrar>> {
        Some(Box::new(self.clone()))
    }
}

impl Told {
    fn outcome(&self) -> Result<Duration, RegistrationFault> {
        match *self.takes.lock().expect("no panic") {
            Takes::All => Ok(Duration::from_secs(1)),
            Takes::NoneHeldByAnother => Err(RegistrationFault::Conflict { other: "boot 0007".into() }),
            Takes::NoneAway => Err(RegistrationFault::Lapsed(Cause::unavailable("nobody answers"))),
        }
    }
}

impl Registrar for Told {
    fn write(&mut self, node: Arc<NodeInfo>, _: bool) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        let outcome = self.outcome();
        if outcome.is_ok() {
            *self.registered.lock().expect("no panic") = Some(node.id.clone());
        }
        Box::pin(std::future::ready(outcome))
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        Box::pin(std::future::ready(self.outcome()))
    }

    fn withdraw(&mut self) -> BoxFuture<'_, Result<(), RegistrationFault>> {
        *self.registered.lock().expect("no panic") = None;
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Scene {
    manager: NetworkManager,
    say: watch::Sender<Said>,
    takes: Arc<Mutex<Takes>>,
    registered: Arc<Mutex<Option<NodeId>>>,
}

impl Scene {
    /// A node that runs, whose source says this at first.
    async fn start(name: &str, said: Said, overrides: &[&str]) -> Self {
        let (say, said) = watch::channel(said);
        let (takes, registered) = (Arc::new(Mutex::new(Takes::All)), Arc::default());
        let told = Told { said, takes: Arc::clone(&takes), registered: Arc::clone(&registered) };
        let base = [
            format!("networking.node_id={name}"),
            "networking.bind_address=127.0.0.1:0".to_owned(),
            "networking.admin.enabled=false".to_owned(),
            "networking.gossip.profile=local".to_owned(),
        ];
        let loader = Loader::new().overrides(base).overrides(overrides.iter().copied());
        let manager = NetworkManager::new(loader.load().expect("legal")).expect("it can run");
        let manager = manager.with_discovery(Arc::new(Discovery::new(Arc::new(told), "told", DriverConfig::default())));
        manager.start().await.expect("it starts");
        Self { manager, say, takes, registered }
    }

    fn address(&self) -> NodeAddress {
        self.manager.addresses().transport
    }

    fn alive(&self) -> usize {
        self.manager.members().iter().filter(|member| member.state == NodeState::Alive).count()
    }

    fn source(&self) -> SourceView {
        self.manager.control().discovery().sources.into_iter().next().expect("one source")
    }

    /// What the node's health says of this part.
    fn part(&self, name: &str) -> Option<(HealthStatus, String)> {
        let part = self.manager.control().health().parts.into_iter().find(|part| part.0 == name)?;
        Some((part.1, part.2))
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn seeds(addresses: &[NodeAddress]) -> Vec<NodeInfo> {
    addresses.iter().cloned().map(NodeInfo::seed).collect()
}

#[tokio::test]
async fn a_node_that_waits_for_others_joins_nobody_before_they_are_there() {
    let first = Scene::start("first", Ok(Vec::new()), &[]).await;
    let waits = ["networking.service_discovery.wait_for_nodes=2", "networking.service_discovery.stable_margin_ms=100"];
    let second = Scene::start("second", Ok(seeds(&[first.address()])), &waits).await;
    // Its list is there, and long enough for the margin; one node is not two.
    until("the list is there", || second.source().nodes.len() == 1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(second.alive(), 1, "it has joined nobody");
    second.say.send(Ok(seeds(&[first.address(), second.address()]))).expect("it listens");
    until("they meet", || first.alive() == 2 && second.alive() == 2).await;
    assert!(second.manager.shutdown().await && first.manager.shutdown().await);
}

#[tokio::test]
async fn after_its_longest_wait_a_node_joins_those_that_are_there() {
    let first = Scene::start("first", Ok(Vec::new()), &[]).await;
    let waits = ["networking.service_discovery.wait_for_nodes=9", "networking.service_discovery.wait_max_ms=300"];
    let second = Scene::start("second", Ok(seeds(&[first.address()])), &waits).await;
    until("they meet", || first.alive() == 2 && second.alive() == 2).await;
    assert!(second.manager.shutdown().await && first.manager.shutdown().await);
}

#[tokio::test]
async fn a_node_starts_although_its_source_is_away_and_tells_that() {
    let scene = Scene::start("n1", Err("nobody answers"), &[]).await;
    let source = scene.source();
    assert_eq!((source.name.as_str(), source.state, source.age), ("told", SourceState::Never, None));
    assert!(source.cause.contains("nobody answers"), "{}", source.cause);
    scene.say.send(Ok(Vec::new())).expect("it listens");
    until("it is live", || scene.source().state == SourceState::Live).await;
    assert!(scene.source().age.is_some());
    scene.say.send(Err("gone")).expect("it listens");
    until("it is stale", || scene.source().state == SourceState::Stale).await;
    until("its health says so", || scene.part("discovery").is_some_and(|part| part.0 == HealthStatus::Degraded)).await;
    assert!(scene.manager.shutdown().await);
}

#[tokio::test]
async fn a_registration_that_is_lost_or_held_by_another_degrades_the_node_until_it_stands_again() {
    const PART: &str = "registration told";
    let scene = Scene::start("n1", Ok(Vec::new()), &[]).await;
    let registered = || scene.registered.lock().expect("no panic").clone();
    let state = || scene.source().registration.map(|registration| registration.state);
    until("it is registered", || state() == Some("active")).await;
    assert_eq!(registered(), NodeId::new("n1").ok());
    assert_eq!(scene.part(PART).map(|part| part.0), Some(HealthStatus::Healthy));

    *scene.takes.lock().expect("no panic") = Takes::NoneAway;
    until("it is lost", || state() == Some("lost")).await;
    let (status, words) = scene.part(PART).expect("told");
    assert!(
        status == HealthStatus::Degraded && words.starts_with("lost: ") && words.contains("nobody answers"),
        "{words}"
    );

    *scene.takes.lock().expect("no panic") = Takes::NoneHeldByAnother;
    until("another holds it", || state() == Some("conflict")).await;
    let (status, words) = scene.part(PART).expect("told");
    let told = "conflict: another process is registered by this node's name: boot 0007";
    assert_eq!((status, words.as_str()), (HealthStatus::Degraded, told));

    *scene.takes.lock().expect("no panic") = Takes::All;
    until("it stands again", || state() == Some("active")).await;
    assert_eq!(scene.part(PART).map(|part| part.0), Some(HealthStatus::Healthy));
    assert!(scene.manager.shutdown().await);
    assert_eq!(registered(), None, "a graceful stop takes it out");
}

#[tokio::test]
async fn a_node_that_is_told_not_to_registers_nowhere() {
    let scene = Scene::start("n1", Ok(Vec::new()), &["networking.service_discovery.register=false"]).await;
    until("the list is there", || scene.source().state == SourceState::Live).await;
    assert!(scene.source().registers && scene.source().registration.is_none());
    assert!(scene.manager.shutdown().await);
    assert_eq!(*scene.registered.lock().expect("no panic"), None);
}

#[cfg(all(feature = "dns", feature = "secure"))]
#[tokio::test]
async fn a_node_whose_source_is_away_begins_with_the_list_of_its_former_life() {
    use crate::config::DiscoveryKind;
    use crate::last_good::SavedList;
    use rdb_discovery::{LastGood, LastGoodStore};

    let folder = tempfile::tempdir().expect("a folder");
    // A name server that takes questions and answers none.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let loader = Loader::new().overrides([
        "networking.node_id=n1".to_owned(),
        "networking.bind_address=127.0.0.1:0".to_owned(),
        "networking.admin.enabled=false".to_owned(),
        format!("networking.state.path={}", folder.path().display()),
        "networking.service_discovery.type=dns".to_owned(),
        "networking.service_discovery.dns.names=[\"_rdb._tcp.test\"]".to_owned(),
        "networking.service_discovery.dns.timeout_ms=50".to_owned(),
        format!("networking.service_discovery.dns.servers=[\"{}\"]", silent.local_addr().expect("bound")),
    ]);
    let config = loader.load().expect("legal");
    let address: NodeAddress = "127.0.0.1:7".parse().expect("legal");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let list = LastGood {
        source: "dns _rdb._tcp.test.".to_owned(),
        saved_at_unix_s: now - 60,
        nodes: seeds(std::slice::from_ref(&address)),
    };
    let node = NodeId::new("n1").expect("legal");
    let saved = SavedList::open(&config.state, folder.path(), DiscoveryKind::Dns, &config.cluster_id, &node);
    saved.expect("it can be opened").save(&list.to_text()).expect("saved");

    let manager = NetworkManager::new(config).expect("it can run");
    manager.start().await.expect("a source that is away is no reason not to start");
    let source = || manager.control().discovery().sources.into_iter().next().expect("one source");
    until("the saved list is used", || source().nodes.iter().any(|node| node.address == address)).await;
    assert_eq!(source().state, SourceState::Stale);
    assert!(source().cause.contains("saved"), "{}", source().cause);
    assert!(manager.shutdown().await);
}
