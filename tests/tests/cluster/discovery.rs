//! Nodes that are told nobody's address, and find each other through a source: they meet, lose nobody while the source restarts
//! or is away, and meet a fourth when it is back. The doctor tells what is wrong at each turn.
//!
//! Changes at the source are timed at default settings, from before the change is written until a node's list has it.

#[cfg(feature = "consul")]
#[path = "agent.rs"]
mod agent;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdb_net_admin::views::{DiscoveryView, SourceView};
use rdb_net_tests::{Cluster, Etcd, Knot, Place, Rdbnet, Samples, closed_port, get_json, runs, skip, text};
use rdb_net_types::NodeState;
use rustix::process::Signal;

/// How long anything may take that has no bound of its own. Only what is broken takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it takes at most until something is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A source that nodes can be found through.
trait Backend {
    /// Its name, as the configuration has it.
    fn kind(&self) -> &'static str;

    /// What a node is told of it: overrides `key=value`.
    fn settings(&self) -> Vec<String>;

    /// It says that these are the nodes. Where nodes register themselves, nothing happens.
    fn list(&mut self, nodes: &[SocketAddr]);

    /// It goes away, without a farewell.
    fn kill(&mut self);

    /// It is back, and says what it was told last.
    fn launch(&mut self);

    /// How long it may take from a change to what a node knows of it.
    fn promise(&self) -> Duration;

    /// Names one more node, of which nobody else knows.
    fn add(&mut self, number: usize, node: SocketAddr);

    /// Whether it holds a registration of this node; `None` where nodes do not register themselves.
    fn has_registered(&self, _: &str) -> Option<bool> {
        None
    }
}

/// The whole story, for any source.
fn three_nodes_meet_survive_and_meet_a_fourth(rdbnet: &Rdbnet, backend: &mut dyn Backend) {
    if !is_built(rdbnet, backend.kind()) {
        return;
    }
    let mut cluster = Cluster::new(rdbnet, 4);
    for index in 0..4 {
        let spec = cluster.spec_mut(index);
        spec.seeds.clear();
        spec.set = backend.settings();
    }
    let places: Vec<SocketAddr> = (0..4).map(|index| place(&mut cluster, index)).collect();
    backend.list(&places[..3]);
    backend.launch();

    // They meet.
    (0..3).for_each(|index| cluster.spawn(index));
    for index in 0..3 {
        cluster.node_mut(index).wait_started();
    }
    wait_alive(&cluster, &[0, 1, 2], 3);
    wait_source(&cluster, &[0, 1, 2], "is live", |source| source.state == "live" && stands(source));
    doctor(&cluster, 0, 0, "all agree with each other and with n1");

    // A restart of the source costs nobody.
    let marks = cluster.marks();
    backend.kill();
    let back = Instant::now();
    backend.launch();
    let seconds = |source: &SourceView| source.age_seconds.unwrap_or(f64::MAX);
    wait_source(&cluster, &[0, 1, 2], "has answered again", |source| {
        source.state == "live" && stands(source) && seconds(source) <= back.elapsed().as_secs_f64()
    });
    nobody_is_lost(&cluster, &marks);

    // Neither does one that stays away: the members are members without it.
    backend.kill();
    wait_source(&cluster, &[0, 1, 2], "is away", |source| source.state == "stale" && !stands_active(source));
    doctor(&cluster, 0, 8, &format!("problem: {} is away", backend.kind()));
    for index in 0..3 {
        let (status, health) =
            rdb_net_tests::get(cluster.node(index).started().admin, "/api/v1/network/health").expect("asked");
        assert!(status == 200 && health.contains("\"degraded\""), "{status}: {health}");
    }
    wait_alive(&cluster, &[0, 1, 2], 3);
    meanwhile(&mut cluster, backend.kind());
    nobody_is_lost(&cluster, &marks);

    // It is back, and names the fourth.
    backend.list(&places);
    backend.launch();
    if backend.kind() == "static" {
        cluster.spawn(3);
    }
    cluster.node_mut(3).wait_started();
    wait_alive(&cluster, &[0, 1, 2, 3], 4);
    wait_source(&cluster, &[0, 1, 2, 3], "is live", |source| {
        source.state == "live" && stands(source) && source.nodes.len() == 4
    });
    nobody_is_lost(&cluster, &marks);
    doctor(&cluster, 3, 0, "all agree with each other and with n4");

    changes_are_heard_in_time(&cluster, backend);

    // A farewell takes a node out of where it has registered itself.
    assert!(backend.has_registered("n4") != Some(false), "it is registered");
    cluster.signal(3, Signal::TERM);
    assert!(cluster.node_mut(3).wait_exit().success());
    assert!(backend.has_registered("n4") != Some(true), "it is registered no more");
}

/// What a fourth node does that starts while the source is away: it is up, and alone. A file is another matter: it is
/// configuration, and a wrong path must not become a cluster of one.
fn meanwhile(cluster: &mut Cluster, kind: &str) {
    cluster.spawn(3);
    if kind != "static" {
        cluster.node_mut(3).wait_started();
        return wait_alive(cluster, &[3], 1);
    }
    let status = cluster.node_mut(3).wait_exit();
    let log = cluster.node(3).log.lines().join("\n");
    assert!(!status.success() && log.contains("networking.service_discovery"), "{status}: {log}");
}

/// The time from a change at the source to the node's list, again and again.
fn changes_are_heard_in_time(cluster: &Cluster, backend: &mut dyn Backend) {
    let mut samples = Samples::new("a change at the source is in a node's list", backend.promise());
    for run in 0..runs(5) {
        let stranger = closed_port();
        let is_listed =
            |source: &SourceView| source.nodes.iter().any(|node| node.address.to_string() == stranger.to_string());
        let act = Instant::now();
        backend.add(run, stranger);
        wait_source(cluster, &[0], "names one more", is_listed);
        samples.add(act.elapsed(), format!("{} run {run}", backend.kind()));
    }
    doctor(cluster, 0, 8, "and n1 has no such member");
    samples.judge();
}

/// Whether the binary can find nodes in this way; else the test is told as skipped.
fn is_built(rdbnet: &Rdbnet, kind: &str) -> bool {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let set = format!("networking.service_discovery.type={kind}");
    let checked = rdbnet.run(&["config", "check", file.path().to_str().expect("text"), "--set", &set]);
    let is_missing = text(&checked.stderr).contains("is not in this build");
    if is_missing {
        skip(&format!("rdbnet is built without the feature {kind}"));
    }
    !is_missing
}

fn place(cluster: &mut Cluster, index: usize) -> SocketAddr {
    cluster.spec_mut(index).place.as_ref().map(|place: &Place| place.transport).expect("it has a place")
}

/// Waits until these nodes see this many members, all of them alive.
fn wait_alive(cluster: &Cluster, nodes: &[usize], count: usize) {
    for index in nodes {
        until(cluster, *index, &format!("sees {count} members"), || {
            let members = cluster.node(*index).topology().members;
            members.len() == count && members.iter().all(|member| member.state == NodeState::Alive)
        });
    }
}

/// Waits until the one source of these nodes is like this.
fn wait_source(cluster: &Cluster, nodes: &[usize], what: &str, is_so: impl Fn(&SourceView) -> bool) {
    for index in nodes {
        until(cluster, *index, &format!("the source {what}"), || {
            let view: DiscoveryView = get_json(cluster.node(*index).started().admin, "/api/v1/network/discovery");
            let [source] = view.sources.as_slice() else { panic!("one source is configured: {view:?}") };
            is_so(source)
        });
    }
}

/// Whether the node is registered, where nodes are.
fn stands(source: &SourceView) -> bool {
    !source.registers || stands_active(source)
}

fn stands_active(source: &SourceView) -> bool {
    source.registration.as_ref().is_some_and(|registration| registration.state == "active")
}

fn nobody_is_lost(cluster: &Cluster, marks: &[usize]) {
    for event in ["NodeFailed", "NodeLeft"] {
        cluster.never(event, marks);
    }
}

fn until(cluster: &Cluster, index: usize, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        let admin = cluster.node(index).started().admin;
        let asked = |path: &str| rdb_net_tests::get(admin, path).map(|(_, body)| body).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "{}: {what}: not within {PATIENCE:?}:\n{}\n{}\n{}",
            cluster.id(index),
            asked("/api/v1/network/discovery"),
            asked("/api/v1/network/topology"),
            cluster.tell(&[index])
        );
        // Nothing comes that would be found: this waits.
        cluster.node(index).log.wait(Instant::now() + LOOK_AGAIN, |_| None::<()>);
    }
}

/// What the doctor tells of a node's configuration and of the node, and how it ends.
fn doctor(cluster: &Cluster, index: usize, code: i32, told: &str) {
    let admin = cluster.node(index).started().admin.to_string();
    let file = cluster.file(index);
    let set = cluster.spec(index).set.iter().flat_map(|set| ["--set", set.as_str()]);
    let base = ["discovery", "doctor", "--wait", "2", "--admin", &admin, "--config", file.to_str().expect("text")];
    let arguments: Vec<&str> = base.into_iter().chain(set).collect();
    let ended = cluster.rdbnet().run(&arguments);
    let shown = format!("{}\n{}", text(&ended.stdout), text(&ended.stderr));
    assert_eq!(ended.status.code(), Some(code), "{shown}");
    assert!(text(&ended.stdout).contains(told), "{told}:\n{shown}");
    let json = cluster.rdbnet().run(&[arguments.as_slice(), &["--output", "json"]].concat());
    assert_eq!(json.status.code(), Some(code), "{}", text(&json.stderr));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("one document");
    let is_wrong = report["findings"].as_array().is_some_and(|all| all.iter().any(|one| one["severity"] == "problem"));
    assert_eq!(is_wrong, code == 8, "{report}");
}

/// A file with seeds, which goes away and comes back.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
    seeds: Vec<SocketAddr>,
    is_there: bool,
}

impl File {
    fn write(&self) {
        let seeds: Vec<String> = self.seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
        // As an editor does it: beside, and then in its place.
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, format!("seeds = [{}]\n", seeds.join(", "))).expect("written");
        std::fs::rename(&beside, &self.path).expect("in its place");
    }
}

impl Backend for File {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn settings(&self) -> Vec<String> {
        vec![format!("networking.service_discovery.file={}", self.path.display())]
    }

    fn list(&mut self, nodes: &[SocketAddr]) {
        self.seeds = nodes.to_vec();
        if self.is_there {
            self.write();
        }
    }

    fn kill(&mut self) {
        std::fs::remove_file(&self.path).expect("it was there");
        self.is_there = false;
    }

    fn launch(&mut self) {
        self.write();
        self.is_there = true;
    }

    fn promise(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn add(&mut self, _: usize, node: SocketAddr) {
        self.seeds.push(node);
        self.write();
    }
}

#[test]
fn three_nodes_meet_through_a_file_alone() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("nodes.toml");
    let mut file = File { _folder: folder, path, seeds: Vec::new(), is_there: false };
    three_nodes_meet_survive_and_meet_a_fourth(&rdbnet, &mut file);
}

/// A zone with a service for each node.
struct Zone {
    knot: Knot,
    services: Vec<SocketAddr>,
}

impl Backend for Zone {
    fn kind(&self) -> &'static str {
        "dns"
    }

    fn settings(&self) -> Vec<String> {
        vec![
            "networking.service_discovery.type=dns".to_owned(),
            format!("networking.service_discovery.dns.names=[\"{}\"]", Knot::SERVICE),
            format!("networking.service_discovery.dns.servers=[\"{}\"]", self.knot.address()),
        ]
    }

    fn list(&mut self, nodes: &[SocketAddr]) {
        self.services = nodes.to_vec();
        self.knot.write(&self.services);
    }

    fn kill(&mut self) {
        self.knot.kill();
    }

    fn launch(&mut self) {
        self.knot.launch();
    }

    fn promise(&self) -> Duration {
        Knot::TIME_TO_LIVE + Duration::from_secs(1)
    }

    fn add(&mut self, _: usize, node: SocketAddr) {
        self.services.push(node);
        self.knot.write(&self.services);
    }
}

#[test]
fn three_nodes_meet_through_dns_alone() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let Some(knot) = Knot::prepare() else { return };
    three_nodes_meet_survive_and_meet_a_fourth(&rdbnet, &mut Zone { knot, services: Vec::new() });
}

/// Registrations that end soon, so that an outage outlasts them.
struct Keys(Etcd);

impl Backend for Keys {
    fn kind(&self) -> &'static str {
        "etcd"
    }

    fn settings(&self) -> Vec<String> {
        vec![
            "networking.service_discovery.type=etcd".to_owned(),
            format!("networking.service_discovery.etcd.endpoints=[\"{}\"]", self.0.url()),
            "networking.service_discovery.etcd.lease_ttl_ms=3000".to_owned(),
        ]
    }

    fn list(&mut self, _: &[SocketAddr]) {}

    fn kill(&mut self) {
        self.0.kill();
    }

    fn launch(&mut self) {
        self.0.launch();
    }

    fn promise(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn add(&mut self, number: usize, node: SocketAddr) {
        let key = format!("/rustydb/rustydb/nodes/x{number}");
        let document = format!("{{\"schema\":1,\"id\":\"x{number}\",\"address\":\"{node}\"}}");
        assert!(self.0.ctl(&["put", &key, &document]).is_some(), "etcd takes it");
    }

    fn has_registered(&self, id: &str) -> Option<bool> {
        let keys = self.0.ctl(&["get", "--keys-only", "--prefix", "/rustydb/rustydb/nodes/"]).expect("etcd answers");
        Some(keys.lines().any(|key| key.ends_with(&format!("/nodes/{id}"))))
    }
}

#[test]
fn three_nodes_meet_through_etcd_alone() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let Some(etcd) = Etcd::prepare() else { return };
    three_nodes_meet_survive_and_meet_a_fourth(&rdbnet, &mut Keys(etcd));
}

/// Consul's agent, not started; `None`, with the reason told, in a build without it.
fn agent() -> Option<Box<dyn Backend>> {
    #[cfg(feature = "consul")]
    let agent = Some(Box::new(agent::Agent::prepare()) as Box<dyn Backend>);
    #[cfg(not(feature = "consul"))]
    let agent = {
        rdb_net_tests::skip_consul();
        None
    };
    agent
}

#[test]
fn three_nodes_meet_through_consul_alone() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let Some(mut agent) = agent() else { return };
    three_nodes_meet_survive_and_meet_a_fourth(&rdbnet, &mut *agent);
}

/// The later one is told in its log, its health and by the doctor, and has the name once the first one has left.
fn two_processes_of_one_name(rdbnet: &Rdbnet, backend: &mut dyn Backend) {
    if !is_built(rdbnet, backend.kind()) {
        return;
    }
    backend.launch();
    let mut clusters = [0, 1].map(|_| Cluster::new(rdbnet, 1));
    for cluster in &mut clusters {
        let spec = cluster.spec_mut(0);
        spec.seeds.clear();
        spec.set = backend.settings();
        // They join nobody, so that they do not meet: membership finds such processes too, and ends one of them.
        for wait in ["for_nodes=3", "max_ms=600000"] {
            spec.set.push(format!("networking.service_discovery.wait_{wait}"));
        }
        cluster.spawn(0);
        cluster.node_mut(0).wait_started();
        let others = "is registered, or another process is";
        wait_source(cluster, &[0], others, |source| stands(source) || standing(source) == "conflict");
    }
    let [first, second] = &mut clusters;
    let holder = place(first, 0).to_string();
    wait_source(second, &[0], "holds the name for another", |source| {
        let detail = source.registration.as_ref().map(|registration| registration.detail.as_str()).unwrap_or_default();
        standing(source) == "conflict" && detail.contains(&holder)
    });
    wait_source(first, &[0], "keeps the name", stands_active);
    let admin = second.node(0).started().admin;
    let (status, health) = rdb_net_tests::get(admin, "/api/v1/network/health").expect("asked");
    assert!(status == 200 && health.contains("\"degraded\""), "{status}: {health}");
    let log = second.node(0).log.lines().join("\n");
    assert!(log.contains("another process is registered by this node's name"), "{log}");
    doctor(second, 0, 8, &format!("n1 is not registered in {} but conflict", backend.kind()));

    first.signal(0, Signal::TERM);
    assert!(first.node_mut(0).wait_exit().success());
    wait_source(second, &[0], "has the name", stands_active);
}

fn standing(source: &SourceView) -> &str {
    source.registration.as_ref().map_or("", |registration| registration.state.as_str())
}

#[test]
fn two_processes_of_one_name_are_told_through_etcd_and_consul() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Some(etcd) = Etcd::prepare() else { return };
            two_processes_of_one_name(&rdbnet, &mut Keys(etcd));
        });
        scope.spawn(|| {
            let Some(mut agent) = agent() else { return };
            two_processes_of_one_name(&rdbnet, &mut *agent);
        });
    });
}
