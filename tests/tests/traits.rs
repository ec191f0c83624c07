//! The standard traits, every method, as their users hold them: behind `dyn`, over loopback, in one process.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use rdb_balance::{Balancer, Strategy};
use rdb_discovery_static::{StaticConfig, StaticDiscovery};
use rdb_net_manager::config::Loader;
use rdb_net_manager::{
    Answer, CallOptions, HandlerOptions, Handling, NetworkEvent, NetworkManager, NodeOutcome, Request,
};
use rdb_net_session::Identity;
use rdb_net_tcp::{TcpConfig, TcpTransport};
use rdb_net_tests::{closed_port, skip};
use rdb_net_transport::Config;
use rdb_net_types::{
    Application, BootId, BoxStream, ClusterId, ClusterMembership, ClusterMessage, Component, Effect, HealthMonitor,
    HealthStatus, Heartbeat, Incarnation, LoadBalancer, MembershipEvent, MessageType, NetworkError, NetworkTransport,
    NodeAddress, NodeId, NodeInfo, NodeState, OverloadScope, Payload, ProtocolRange, Reason, SelectionCriteria,
    ServiceDiscovery,
};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const SLOW: MessageType = MessageType(0x8001);
const PATIENCE: Duration = Duration::from_secs(20);

/// Held for reading by every test with sockets, for writing by the one that counts them.
static SOCKETS: RwLock<()> = RwLock::new(());

fn with_sockets() -> RwLockReadGuard<'static, ()> {
    SOCKETS.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).expect("legal")
}

fn transport(node: &str) -> Arc<dyn NetworkTransport> {
    let identity = Identity {
        cluster: ClusterId::new("test").expect("legal"),
        node: id(node),
        incarnation: Incarnation::first_of(1),
        boot: BootId(node.bytes().map(u64::from).sum()),
        address: "127.0.0.1:0".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    };
    let bind = Some("127.0.0.1:0".parse().expect("legal"));
    let config = Config { bind, ..Config::new(identity) };
    Arc::new(TcpTransport::new(config, TcpConfig::default()).into_inner())
}

fn application(message_type: MessageType, payload: &'static str) -> Application {
    Application { message_type, payload: Payload::from(payload) }
}

#[test]
fn a_network_transport_sends_receives_and_pings() {
    let _sockets = with_sockets();
    runtime().block_on(async {
        let b_at = closed_port();
        let b: Arc<dyn NetworkTransport> = {
            let identity = Identity {
                cluster: ClusterId::new("test").expect("legal"),
                node: id("b"),
                incarnation: Incarnation::first_of(1),
                boot: BootId(2),
                address: b_at.into(),
                protocol: ProtocolRange::CURRENT,
                software: String::new(),
                token: Vec::new(),
            };
            let config = Config { bind: Some(b_at.into()), ..Config::new(identity) };
            Arc::new(TcpTransport::new(config, TcpConfig::default()).into_inner())
        };
        let (a, b_at) = (transport("a"), NodeAddress::from(b_at));
        assert_eq!(b.health_check(), HealthStatus::Unknown);
        for component in [&a, &b] {
            component.initialize().await.expect("starts");
            component.initialize().await.expect("a second start changes nothing");
            assert_eq!(component.health_check(), HealthStatus::Healthy);
        }
        let took = soon("a pong", a.ping(&b_at)).await.expect("answered");
        assert!(took > Duration::ZERO && took < PATIENCE);

        let sent = ClusterMessage::from(application(ECHO, "hello"));
        let (received, queued) = soon("a message", async { tokio::join!(b.receive(), a.send(&b_at, &sent)) }).await;
        queued.expect("queued");
        let (from, message) = received.expect("received");
        assert_eq!(message, sent);
        soon("a pong", b.ping(&from)).await.expect("a message tells where its sender is");

        let nobody = NodeAddress::from(closed_port());
        let error = a.ping(&nobody).await.expect_err("nobody is there");
        let NetworkError::Request(error) = error else { panic!("{error}") };
        assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Unreachable));

        for component in [&a, &b] {
            component.shutdown().await.expect("everything ends in time");
            component.shutdown().await.expect("a second shutdown changes nothing");
            assert_eq!(component.health_check(), HealthStatus::Unhealthy);
        }
        let ended = soon("the end", b.receive()).await;
        assert!(matches!(ended, Err(NetworkError::NotRunning { .. })), "{ended:?}");
    });
}

async fn next(stream: &mut BoxStream<MembershipEvent>) -> Option<MembershipEvent> {
    soon("a change", poll_fn(|context| stream.as_mut().poll_next(context))).await
}

#[test]
fn a_service_discovery_lists_nodes_and_tells_changes() {
    let _sockets = with_sockets();
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let file = folder.path().join("nodes.toml");
    std::fs::write(&file, "[[nodes]]\nid = 'n1'\naddress = '127.0.0.1:1'\n").expect("writable");
    let config = StaticConfig {
        seeds: vec!["127.0.0.1:9".parse().expect("legal")],
        file: Some(file.clone()),
        poll_interval: Duration::from_millis(50),
        ..StaticConfig::default()
    };
    runtime().block_on(async {
        let discovery: Arc<dyn ServiceDiscovery> = Arc::new(StaticDiscovery::new(config).expect("legal"));
        assert!(matches!(discovery.discover_nodes().await, Err(NetworkError::NotRunning { .. })));
        assert!(matches!(discovery.watch_changes().await, Err(NetworkError::NotRunning { .. })));
        assert_eq!(discovery.health_check(), HealthStatus::Unknown);
        discovery.initialize().await.expect("starts");
        assert_eq!(discovery.health_check(), HealthStatus::Healthy);

        let nodes = discovery.discover_nodes().await.expect("listed");
        let listed: Vec<(&str, bool)> = nodes.iter().map(|node| (node.id.as_str(), node.provisional)).collect();
        assert_eq!(listed, [("n1", false), ("127.0.0.1-9", true)]);
        let refused = discovery.register_node(&nodes[0]).await;
        assert!(matches!(refused, Err(NetworkError::Unsupported { .. })), "{refused:?}");

        let mut changes = discovery.watch_changes().await.expect("watched");
        let known = [next(&mut changes).await, next(&mut changes).await];
        let known: BTreeSet<String> = known.iter().flatten().map(|event| event.node_id().to_string()).collect();
        assert_eq!(known, BTreeSet::from(["n1".to_owned(), "127.0.0.1-9".to_owned()]));
        std::fs::write(&file, "[[nodes]]\nid = 'n2'\naddress = '127.0.0.1:2'\n").expect("writable");
        let told = [next(&mut changes).await, next(&mut changes).await];
        let told: BTreeSet<String> =
            told.iter().flatten().map(|event| format!("{} {}", event.name(), event.node_id())).collect();
        assert_eq!(told, BTreeSet::from(["NodeJoined n2".to_owned(), "NodeLeft n1".to_owned()]));

        discovery.shutdown().await.expect("ends");
        assert_eq!(next(&mut changes).await, None);
        assert_eq!(discovery.health_check(), HealthStatus::Unhealthy);
    });
}

#[test]
fn a_load_balancer_selects_by_weight_and_criteria() {
    let balancer = Arc::new(Balancer::new(Strategy::RoundRobin, 1));
    let address: NodeAddress = "127.0.0.1:1".parse().expect("legal");
    let node = |name: &str| Arc::new(NodeInfo::new(id(name), address.clone())).into();
    balancer.set_nodes(vec![node("n1"), node("n2"), node("n3")]);
    let names_of_all = ["n1", "n2", "n3"];
    assert!(names_of_all.iter().all(|name| balancer.set_status(&id(name), HealthStatus::Healthy)), "all are known");
    let balancer: Arc<dyn LoadBalancer> = balancer;
    let picks = |criteria: &SelectionCriteria| -> BTreeSet<String> {
        (0..30).filter_map(|_| balancer.select_node(criteria)).map(|node| node.to_string()).collect()
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(picks(&SelectionCriteria::default()), names(&names_of_all));
    balancer.update_weights(HashMap::from([(id("n1"), 0.0), (id("n2"), f64::NAN)]));
    assert_eq!(picks(&SelectionCriteria::default()), names(&["n2", "n3"]), "n1 is drained, no number changes nothing");
    let exclude = vec![id("n2"), id("n3")];
    assert_eq!(picks(&SelectionCriteria { exclude, ..SelectionCriteria::default() }), names(&[]));
    runtime().block_on(async {
        balancer.initialize().await.expect("nothing to start");
        assert_eq!(balancer.health_check(), HealthStatus::Healthy);
        balancer.shutdown().await.expect("nothing to stop");
    });
}

/// A node that echoes, and holds `SLOW` back until a permit is there, one at a time.
fn manager(name: &str, seeds: &[&NodeAddress], gate: &Arc<Gate>) -> Arc<NetworkManager> {
    manager_at(name, "127.0.0.1:0", seeds, gate)
}

fn manager_at(name: &str, bind: &str, seeds: &[&NodeAddress], gate: &Arc<Gate>) -> Arc<NetworkManager> {
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
    let config = Loader::new()
        .overrides([
            format!("networking.node_id={name}"),
            format!("networking.bind_address={bind}"),
            "networking.gossip_address=127.0.0.1:0".to_owned(),
            format!("networking.service_discovery.seeds=[{}]", seeds.join(", ")),
        ])
        .load()
        .expect("legal");
    let manager = NetworkManager::new(config).expect("can run");
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    manager.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    let gate = Arc::clone(gate);
    let wait = move |_: &NodeId, request: Request| {
        let gate = Arc::clone(&gate);
        Handling::Later(Box::pin(async move {
            gate.entered.notify_one();
            gate.permits.acquire().await.expect("never closed").forget();
            Ok(Answer::Payload(request.into_payload()))
        }))
    };
    manager.handle(SLOW, Arc::new(wait), HandlerOptions { concurrency_max: 1 });
    Arc::new(manager)
}

/// Where the handler of `SLOW` waits.
#[derive(Debug)]
struct Gate {
    entered: Notify,
    permits: Semaphore,
}

fn closed_gate() -> Arc<Gate> {
    Arc::new(Gate { entered: Notify::new(), permits: Semaphore::new(0) })
}

/// Two nodes that know each other.
async fn pair() -> (Arc<NetworkManager>, Arc<NetworkManager>, Arc<Gate>) {
    let gate = closed_gate();
    let a = manager("a", &[], &gate);
    Component::initialize(&*a).await.expect("starts");
    let b = manager("b", &[&a.addresses().transport], &gate);
    let mut events = a.events();
    Component::initialize(&*b).await.expect("starts");
    soon("b joins", b.wait_joined()).await;
    until(&mut events, "NodeJoined", "b").await;
    (a, b, gate)
}

/// Waits for this event of this node.
async fn until(events: &mut rdb_net_manager::EventSubscription, name: &str, node: &str) {
    let told = async {
        loop {
            match events.next().await.expect("the node runs") {
                NetworkEvent::Membership(event) if event.name() == name && event.node_id().as_str() == node => return,
                _ => {}
            }
        }
    };
    soon(&format!("{name} of {node}"), told).await;
}

#[test]
fn a_manager_is_a_component_that_starts_and_stops_once() {
    let _sockets = with_sockets();
    runtime().block_on(async {
        let manager = manager("a", &[], &closed_gate());
        let component: Arc<dyn Component> = manager.clone();
        assert_eq!(component.health_check(), HealthStatus::Unhealthy);
        component.initialize().await.expect("starts");
        component.initialize().await.expect("a second start changes nothing");
        soon("a node without seeds is a cluster of one", manager.wait_joined()).await;
        assert_eq!(component.health_check(), HealthStatus::Healthy);
        component.shutdown().await.expect("ends in time");
        component.shutdown().await.expect("a second shutdown changes nothing");
        let again = component.initialize().await;
        assert!(matches!(again, Err(NetworkError::Start { .. })), "{again:?}");
    });
}

#[test]
fn a_health_monitor_asks_nodes_and_knows_the_dead() {
    let _sockets = with_sockets();
    let (main, doomed) = (runtime(), runtime());
    let (a, b, gate) = main.block_on(pair());
    let monitor: Arc<dyn HealthMonitor> = a.clone();
    main.block_on(async {
        assert_eq!(monitor.check_health(&id("b")).await, Ok(HealthStatus::Healthy));
        let unknown = monitor.check_health(&id("nobody")).await;
        assert_eq!(unknown, Err(NetworkError::UnknownNode { node: id("nobody") }));
        assert_eq!(monitor.get_unhealthy_nodes(), []);
    });
    let mut events = a.events();
    let c = manager("c", &[&a.addresses().transport], &gate);
    doomed.block_on(async { c.start().await.expect("starts") });
    main.block_on(until(&mut events, "NodeJoined", "c"));
    // Its sockets close without a farewell, as those of a killed process.
    doomed.shutdown_timeout(PATIENCE);
    main.block_on(async {
        until(&mut events, "NodeFailed", "c").await;
        assert_eq!(monitor.get_unhealthy_nodes(), [id("c")]);
        let health = monitor.check_health(&id("c")).await.expect("a member");
        assert_eq!(health, HealthStatus::Unhealthy);
        Component::shutdown(&*a).await.expect("ends in time");
        Component::shutdown(&*b).await.expect("ends in time");
    });
}

#[test]
fn cluster_membership_joins_lists_and_takes_requests_that_the_living_refute() {
    let _sockets = with_sockets();
    runtime().block_on(async {
        let gate = closed_gate();
        let (a, b) = (manager("a", &[], &gate), manager("b", &[], &gate));
        let (of_a, of_b): (Arc<dyn ClusterMembership>, Arc<dyn ClusterMembership>) = (a.clone(), b.clone());
        of_a.initialize().await.expect("starts");
        of_b.initialize().await.expect("starts");
        let mut events = a.events();
        let seeds = vec![NodeAddress::from(closed_port()), a.addresses().transport];
        soon("one seed answers", of_b.join_cluster(seeds)).await.expect("joined");
        until(&mut events, "NodeJoined", "b").await;
        let names = |members: Vec<NodeInfo>| -> Vec<String> { members.iter().map(|m| m.id.to_string()).collect() };
        assert_eq!(names(of_a.get_members()), ["a", "b"]);

        of_a.update_member_state(&id("b"), NodeState::Failed);
        until(&mut events, "NodeSuspected", "b").await;
        until(&mut events, "NodeTrusted", "b").await;
        // Nobody else can say these; they are told to the operator and change nothing.
        of_a.update_member_state(&id("b"), NodeState::Left);
        of_a.update_member_state(&id("nobody"), NodeState::Failed);
        let states: Vec<NodeState> = of_a.get_members().iter().map(|member| member.state).collect();
        assert_eq!(states, [NodeState::Alive, NodeState::Alive]);

        of_b.shutdown().await.expect("ends in time");
        until(&mut events, "NodeLeft", "b").await;
        assert_eq!(of_a.get_members()[1].state, NodeState::Left);
        assert_eq!(of_a.health_check(), HealthStatus::Healthy);
        of_a.shutdown().await.expect("ends in time");
    });
}

fn told(outcomes: &[NodeOutcome]) -> Vec<(String, Result<String, Reason>)> {
    let reply = |outcome: &NodeOutcome| match &outcome.result {
        Ok(reply) => {
            let bytes = reply.clone().into_payload().into_bytes();
            Ok(String::from_utf8(bytes.to_vec()).expect("text"))
        }
        Err(error) => Err(error.reason),
    };
    outcomes.iter().map(|outcome| (outcome.node.to_string(), reply(outcome))).collect()
}

#[test]
fn requests_to_many_have_one_outcome_each_also_when_one_node_is_dead() {
    let _sockets = with_sockets();
    let (main, doomed) = (runtime(), runtime());
    let (a, b, gate) = main.block_on(pair());
    let mut events = a.events();
    let c = manager("c", &[&a.addresses().transport], &gate);
    doomed.block_on(async { c.start().await.expect("starts") });
    main.block_on(until(&mut events, "NodeJoined", "c"));
    let options = CallOptions::timeout(Duration::from_secs(2));
    let all = [id("a"), id("b"), id("c"), id("nobody")];
    let ok = |name: &str| (name.to_owned(), Ok("hello".to_owned()));
    main.block_on(async {
        let outcomes = a.request_all(&all, application(ECHO, "hello"), options).await;
        let nobody = ("nobody".to_owned(), Err(Reason::UnknownNode));
        assert_eq!(told(&outcomes), [ok("a"), ok("b"), ok("c"), nobody]);
        let reply = a.request(&id("b"), &application(ECHO, "one"), options).await.expect("answered");
        assert_eq!(reply.into_payload().into_bytes(), "one");
        a.send(&id("b"), &application(ECHO, "one way").into()).await.expect("queued");
        let criteria = SelectionCriteria { exclude: vec![id("a"), id("c")], ..SelectionCriteria::default() };
        let (chosen, _) = a.request_any(&criteria, &application(ECHO, "any"), options).await.expect("answered");
        assert_eq!(chosen, id("b"));
    });
    doomed.shutdown_timeout(PATIENCE);
    main.block_on(async {
        let outcomes = a.request_all(&all[..3], application(ECHO, "hello"), options).await;
        let (living, dead) = outcomes.split_at(2);
        assert_eq!(told(living), [ok("a"), ok("b")]);
        let error = dead[0].result.as_ref().expect_err("c is dead");
        assert!(matches!(error.reason, Reason::Unreachable | Reason::ConnectionLost), "{error}");

        let messages = vec![
            (id("a"), application(ECHO, "1")),
            (id("b"), application(ECHO, "2")),
            (id("c"), application(ECHO, "3")),
        ];
        let correlation = a.scatter(messages, options).expect("the manager runs");
        let outcomes = soon("the gathering", a.receive_all(correlation)).await.expect("known");
        let told = told(&outcomes);
        assert_eq!(told[..2], [("a".to_owned(), Ok("1".to_owned())), ("b".to_owned(), Ok("2".to_owned()))]);
        assert!(told[2].1.is_err(), "{told:?}");
        assert!(a.receive_all(correlation).await.is_none(), "a gathering is collected once");
        assert!(a.shutdown().await && b.shutdown().await);
    });
}

#[test]
fn a_node_that_came_back_is_reached_at_once() {
    let _sockets = with_sockets();
    let (main, doomed, second) = (runtime(), runtime(), runtime());
    let (a, b, gate) = main.block_on(pair());
    let mut events = a.events();
    let (at, seed) = (closed_port().to_string(), a.addresses().transport);
    let c = manager_at("c", &at, &[&seed], &gate);
    doomed.block_on(async { c.start().await.expect("starts") });
    main.block_on(async {
        until(&mut events, "NodeJoined", "c").await;
        let options = CallOptions::timeout(Duration::from_secs(2));
        a.request(&id("c"), &application(ECHO, "x"), options).await.expect("answered");
    });
    doomed.shutdown_timeout(PATIENCE);
    main.block_on(async {
        // Traffic goes on, so that dials fail again and again and the waits between them grow.
        let ask_on = async {
            loop {
                let _refused = a.request(&id("c"), &application(ECHO, "x"), CallOptions::timeout(PATIENCE)).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = until(&mut events, "NodeFailed", "c") => {}
            () = ask_on => {}
        }
    });
    let c = manager_at("c", &at, &[&seed], &gate);
    second.block_on(async { c.start().await.expect("starts") });
    main.block_on(async {
        until(&mut events, "NodeRecovered", "c").await;
        let options = CallOptions::timeout(Duration::from_secs(2));
        a.request(&id("c"), &application(ECHO, "x"), options).await.expect("who has recovered is reached");
    });
    second.block_on(async { assert!(c.shutdown().await) });
    main.block_on(async { assert!(a.shutdown().await && b.shutdown().await) });
}

#[test]
fn a_handler_at_its_limit_turns_requests_away_and_goes_on() {
    let _sockets = with_sockets();
    runtime().block_on(async {
        let (a, b, gate) = pair().await;
        let (to, options) = (id("b"), CallOptions::timeout(PATIENCE));
        let message = application(SLOW, "x");
        let first = a.request(&to, &message, options);
        let second = async {
            gate.entered.notified().await;
            let refused = a.request(&to, &message, options).await;
            gate.permits.add_permits(1);
            refused
        };
        let (first, second) = soon("both outcomes", async { tokio::join!(first, second) }).await;
        first.expect("the first is answered");
        let error = second.expect_err("the second is turned away");
        assert_eq!((error.effect, error.reason), (Effect::NotStarted, Reason::Overloaded(OverloadScope::Handler)));
        gate.permits.add_permits(1);
        a.request(&to, &message, options).await.expect("the place is free again");
        assert!(a.shutdown().await && b.shutdown().await);
    });
}

/// How many files and sockets this process has open.
fn open_files() -> Option<usize> {
    std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// A task is counted until its worker has put it away, which is a moment after everybody who waits for it was told.
#[track_caller]
fn wait_no_task(runtime: &Runtime) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while runtime.metrics().num_alive_tasks() > 0 {
        assert!(Instant::now() < deadline, "{} tasks are left", runtime.metrics().num_alive_tasks());
        std::thread::yield_now();
    }
}

#[test]
fn a_shutdown_leaves_no_task_no_socket_and_no_port() {
    let _alone = SOCKETS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let nodes = folder.path().join("nodes.toml");
    std::fs::write(&nodes, "seeds = []\n").expect("writable");
    let start = |name: &str, place: [String; 2], seed: Option<NodeAddress>| {
        let seeds: Vec<String> = seed.iter().map(|seed| format!("\"{seed}\"")).collect();
        let overrides = [
            format!("networking.node_id={name}"),
            format!("networking.bind_address={}", place[0]),
            format!("networking.gossip_address={}", place[1]),
            format!("networking.service_discovery.seeds=[{}]", seeds.join(", ")),
            // A watched file is another task and another descriptor.
            format!("networking.service_discovery.file={}", nodes.display()),
        ];
        let manager = NetworkManager::new(Loader::new().overrides(overrides).load().expect("legal")).expect("can run");
        runtime.block_on(async { manager.start().await.expect("starts") });
        manager
    };
    let anywhere = || ["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()];
    // Whatever a process opens once and keeps is there before the count.
    runtime.block_on(async { tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port") });
    let Some(before) = open_files() else {
        return skip("this system does not tell the open files of a process in /proc");
    };
    let a = start("a", anywhere(), None);
    let b = start("b", anywhere(), Some(a.addresses().transport));
    runtime.block_on(async {
        soon("b joins", b.wait_joined()).await;
        let heartbeat = Heartbeat { node_id: id("b"), timestamp_us: 0 };
        b.request(&id("a"), &heartbeat, CallOptions::timeout(PATIENCE)).await.expect("answered");
    });
    assert!(runtime.metrics().num_alive_tasks() > 0 && open_files() > Some(before), "something runs");
    let places = [&a, &b].map(|manager| manager.addresses());
    assert!(runtime.block_on(async { b.shutdown().await && a.shutdown().await }), "everything ends in time");
    wait_no_task(&runtime);
    assert_eq!(open_files(), Some(before));
    for place in &places {
        let transport = place.transport.to_string();
        TcpListener::bind(&transport).unwrap_or_else(|error| panic!("{transport}: {error}"));
        UdpSocket::bind(place.gossip).unwrap_or_else(|error| panic!("{}: {error}", place.gossip));
        let again = start("a", [transport, place.gossip.to_string()], None);
        assert!(runtime.block_on(again.shutdown()), "everything ends in time");
    }
    // The managers were there all the time: they hold nothing.
    drop((a, b));
    wait_no_task(&runtime);
    assert_eq!(open_files(), Some(before));
}
