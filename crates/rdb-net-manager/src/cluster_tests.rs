//! What happens to a running node among others: a split-brain strategy keeps it from sending, and strangers are told of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdb_net_engine::{Command, EngineEvent};
use rdb_net_transport::{Answer, CallOptions, HandlerOptions, Handling, Request};
use rdb_net_types::{
    Effect, HealthMonitor, HealthStatus, MembershipEvent, MessageType, NodeId, QueryRequest, QueryResponse, Reason,
    RequestError,
};

use crate::config::Loader;
use crate::{NetworkEvent, NetworkManager};

/// Only a broken node takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(name: &str, seed: Option<&NetworkManager>, split: &[&str]) -> NetworkManager {
    let base = [
        format!("networking.node_id={name}"),
        "networking.bind_address=127.0.0.1:0".to_owned(),
        "networking.admin.enabled=false".to_owned(),
        "networking.gossip.profile=local".to_owned(),
    ];
    let seeds = seed.map(|seed| format!("networking.service_discovery.seeds=[\"{}\"]", seed.addresses().transport));
    let loader = Loader::new().overrides(base).overrides(seeds).overrides(split.iter().copied());
    let manager = NetworkManager::new(loader.load().expect("legal")).expect("it can run");
    let answer = |_: &NodeId, _: Request| Handling::Ready(Ok(Answer::from(QueryResponse::default())));
    manager.handle(MessageType::QUERY_REQUEST, Arc::new(answer), HandlerOptions::default());
    manager.start().await.expect("it starts");
    manager
}

async fn ask(manager: &NetworkManager, node: &str) -> Result<(), RequestError> {
    let node = NodeId::new(node).expect("legal");
    manager.request(&node, &QueryRequest::default(), CallOptions::timeout(Duration::from_secs(5))).await.map(drop)
}

async fn until_withdrawn(manager: &NetworkManager, is_withdrawn: bool) {
    let deadline = Instant::now() + PATIENCE;
    while manager.control().statistics().is_withdrawn != is_withdrawn {
        assert!(Instant::now() < deadline, "withdrawn is not {is_withdrawn} within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn health(manager: &NetworkManager) -> Option<HealthStatus> {
    let parts = manager.control().health().parts;
    parts.into_iter().find(|(name, ..)| name == "split brain").map(|(_, status, _)| status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_without_its_quorum_takes_no_new_message_once_it_has_decided() {
    let split = [
        "networking.split_brain.strategy=static_quorum",
        "networking.split_brain.members=3",
        "networking.split_brain.stable_after_ms=300",
    ];
    let first = start("n1", None, &split).await;
    let mut events = first.events();
    let second = start("n2", Some(&first), &split).await;
    second.wait_joined().await;
    for manager in [&first, &second] {
        until_withdrawn(manager, true).await;
        assert_eq!(health(manager), Some(HealthStatus::Unhealthy));
    }
    let error = ask(&first, "n2").await.expect_err("two of three");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Withdrawn));
    let told =
        "not sent (node n2): this side of a partition withdraws: static_quorum: 2 of 2 members are seen, 3 are needed";
    assert_eq!(error.to_string(), told);
    ask(&first, "n1").await.expect("what a node asks itself stays with it");
    let checked = first.check_health(&NodeId::new("n2").expect("legal")).await;
    assert_eq!(checked.ok(), Some(HealthStatus::Healthy), "health is asked all the same");
    let view = first.control().topology().split_brain.expect("a strategy decides");
    assert_eq!((view.strategy, view.withdraws), ("static_quorum", true));

    let third = start("n3", Some(&first), &split).await;
    for manager in [&first, &second, &third] {
        until_withdrawn(manager, false).await;
        assert_eq!(health(manager), Some(HealthStatus::Healthy));
    }
    ask(&first, "n2").await.expect("the quorum is there");
    ask(&third, "n1").await.expect("the quorum is there");
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("it is told").expect("it runs");
        if let NetworkEvent::SplitBrain { withdraws, reason } = event {
            told.push((withdraws, reason));
        }
    }
    assert!(told[0].0 && !told[1].0, "{told:?}");
    for manager in [third, second, first] {
        manager.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_another_version_of_membership_is_told_of_by_name() {
    let node = start("n1", None, &[]).await;
    let mut events = node.events();
    let own = node.node.get().expect("it runs").gossip.look(|driven, _| driven.0.membership().sync_request());
    // Magic, another version, the cluster; then a kind, the sender's id, and what nobody of today can read.
    let packet = [&own[..2], &[9], &own[3..7], &[1, 2], b"n7", b"who knows"].concat();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(&packet, node.addresses().gossip).await.expect("it is sent");
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("it is told").expect("it runs");
        if let NetworkEvent::Incompatible { node, theirs, ours } = event {
            assert_eq!((node.as_str(), theirs.as_str(), ours.as_str()), ("n7", "version 9", "version 1"));
            break;
        }
    }
    assert_eq!(node.control().statistics().dropped["gossip_other_version"], 1);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_strategy_nothing_is_decided_and_nothing_refused() {
    let first = start("n1", None, &[]).await;
    let second = start("n2", Some(&first), &[]).await;
    second.wait_joined().await;
    ask(&second, "n1").await.expect("it is there");
    let topology = second.control().topology();
    assert_eq!((topology.partition, topology.split_brain, health(&second)), (None, None, None));
    second.shutdown().await;
    first.shutdown().await;
}

/// Who leaves and comes back within one round of the pump: its connection is given up, and messages take a new one.
#[tokio::test]
async fn no_route_holds_a_peer_that_was_forgotten_a_moment_before() {
    let first = start("n1", None, &[]).await;
    let second = start("n2", Some(&first), &[]).await;
    second.wait_joined().await;
    let deadline = Instant::now() + PATIENCE;
    while ask(&first, "n2").await.is_err() {
        assert!(Instant::now() < deadline, "it is never reached");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (node, id) = (first.node.get().expect("it runs"), NodeId::new("n2").expect("legal"));
    let member = first.members().into_iter().find(|member| member.id == id).expect("a member");
    let mut events = first.events();
    let joined = MembershipEvent::NodeJoined(member);
    node.outbox.give(Command::ForgetPeer { node: id }, EngineEvent::Membership(joined.clone()));
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("it is told").expect("it runs");
        if event == NetworkEvent::Membership(joined.clone()) {
            break;
        }
    }
    ask(&first, "n2").await.expect("over a new connection");
    second.shutdown().await;
    first.shutdown().await;
}
