//! Clusters of three members.

use std::time::Duration;

use rdb_discovery::{DiscoverySource, Freshness, RegistrationState};
use rdb_discovery_driver::conformance::{Reader, node, soon, until};
use rdb_discovery_etcd::EtcdDiscovery;
use rdb_net_types::{BootId, Component, NodeInfo, ServiceDiscovery};

use crate::server::{Server, config, key};

fn registered() -> NodeInfo {
    NodeInfo { boot: BootId(7), ..node(7, "1") }
}

/// The member that leads, and the others.
fn by_lead(mut members: Vec<Server>) -> (Server, Vec<Server>) {
    let leads = |member: &Server| {
        let status = member.told(&["endpoint", "status", "--write-out", "json"]);
        let number = |name: &str| {
            let rest = status.split(&format!("\"{name}\":")).nth(1).expect("there");
            rest.chars().take_while(char::is_ascii_digit).collect::<String>()
        };
        number("member_id") == number("leader")
    };
    let place = members.iter().position(leads).expect("one leads");
    let leader = members.remove(place);
    (leader, members)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_leader_costs_neither_the_list_nor_the_registration() {
    let Some(members) = Server::cluster(3) else { return };
    let (mut leader, others) = by_lead(members);
    // The source talks to the leader first.
    let urls = [&leader, &others[0], &others[1]].map(|member| member.client.clone());
    let mut config = config(urls.to_vec());
    config.lease_time_to_live = Duration::from_secs(6);
    let source = EtcdDiscovery::new(config).expect("legal");
    soon("a start", source.initialize()).await.expect("it starts");
    soon("a registration", source.register_node(&registered())).await.expect("registered");
    let mut reader = Reader::of(&source);
    reader.until_addresses(&[registered()]).await;
    leader.kill();
    reader.until("degraded").await;
    reader.until("restored").await;
    until("it is registered", || matches!(source.registration(), Some(RegistrationState::Active { .. }))).await;
    others[1].told(&["put", &key(&node(5, "")), r#"{"id":"n0005","address":"host:5"}"#]);
    reader.until("+host:5").await;
    let gone: Vec<_> = reader.log.iter().filter(|event| event.starts_with('-')).collect();
    assert_eq!(gone, [""; 0], "{:?}", reader.log);
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_its_cluster_is_not_believed() {
    let Some(members) = Server::cluster(3) else { return };
    let (leader, others) = by_lead(members);
    let source = EtcdDiscovery::new(config(vec![others[0].client.clone()])).expect("legal");
    soon("a start", source.initialize()).await.expect("it starts");
    let mut reader = Reader::of(&source);
    reader.until("=").await;
    // The member itself answers as before; what it lacks is the others.
    leader.signal("STOP");
    others[1].signal("STOP");
    reader.until("degraded").await;
    assert!(matches!(source.snapshot().freshness, Freshness::Stale { .. }));
    leader.signal("CONT");
    others[1].signal("CONT");
    reader.until("restored").await;
    leader.told(&["put", &key(&node(5, "")), r#"{"id":"n0005","address":"host:5"}"#]);
    reader.until("+host:5").await;
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}
