//! `etcdctl` as reader and writer, and values that make no sense.

use rdb_discovery::{DiscoverySource, RegistrationState};
use rdb_discovery_driver::conformance::{Reader, node, soon, until};
use rdb_discovery_etcd::EtcdDiscovery;
use rdb_net_types::{BootId, Component, NodeInfo, ServiceDiscovery};

use crate::server::{Server, key};

fn registered() -> NodeInfo {
    NodeInfo { boot: BootId(7), ..node(7, "1") }
}

async fn started(server: &Server) -> (EtcdDiscovery, Reader) {
    let source = server.source();
    soon("a start", source.initialize()).await.expect("it starts");
    let mut reader = Reader::of(&source);
    reader.until("=").await;
    (source, reader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_writes_reads_and_deletes_nodes_with_etcdctl() {
    let Some(server) = Server::start(&[]) else { return };
    let (source, mut reader) = started(&server).await;
    let document = r#"{"id":"n0005","address":"host:5","locality":{"zone":"a"},"owner":"me"}"#;
    server.told(&["put", &key(&node(5, "")), document]);
    reader.until("+host:5").await;
    assert_eq!(source.snapshot().nodes[0].locality.zone, "a");
    server.told(&["del", &key(&node(5, ""))]);
    assert_eq!(reader.until("-").await, "-host:5 deregistered");

    soon("a registration", source.register_node(&registered())).await.expect("registered");
    let shown = server.told(&["get", "--print-value-only", &key(&registered())]);
    assert!(shown.contains(r#""id":"n0007""#) && shown.contains(r#""boot":"0000000000000007""#), "{shown}");
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
    assert_eq!(server.told(&["get", "--prefix", "--keys-only", "/rustydb/"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_make_no_sense_are_passed_over_and_counted() {
    let Some(server) = Server::start(&[]) else { return };
    server.told(&["put", "/rustydb/test/nodes/garbage", "no JSON"]);
    let (source, mut reader) = started(&server).await;
    assert_eq!(reader.log, ["=0"]);
    for value in ["[]", "{}", r#"{"id":"other","address":"host:1"}"#, r#"{"schema":99,"id":"x","address":"host:1"}"#] {
        server.told(&["put", "/rustydb/test/nodes/x", value]);
    }
    server.told(&["put", "/rustydb/test/nodes/", r#"{"id":"x","address":"host:1"}"#]);
    server.told(&["put", "/rustydb/test/nodes/a/b", r#"{"id":"b","address":"host:1"}"#]);
    server.told(&["put", "/rustydb/tested/nodes/y", r#"{"id":"y","address":"host:1"}"#]);
    server.told(&["put", &key(&node(5, "")), r#"{"id":"n0005","address":"host:5"}"#]);
    reader.until("+host:5").await;
    assert_eq!(source.snapshot().nodes.len(), 1);
    assert_eq!(source.statistics().garbage, 7);
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_others_add_survive_what_the_node_writes() {
    let Some(server) = Server::start(&[]) else { return };
    let (source, mut reader) = started(&server).await;
    soon("a registration", source.register_node(&registered())).await.expect("registered");
    reader.until("+").await;
    let lease = lease_of(&server);
    let shown = server.told(&["get", "--print-value-only", &key(&registered())]);
    let added = shown.replacen('{', r#"{"owner":{"team":"storage"},"#, 1);
    server.told(&["put", "--lease", &lease, &key(&registered()), &added]);
    let changed = NodeInfo { version: "2".to_owned(), ..registered() };
    soon("an update", source.register_node(&changed)).await.expect("written");
    reader.until("~").await;
    let shown = server.told(&["get", "--print-value-only", &key(&registered())]);
    assert!(shown.contains(r#""version":"2""#) && shown.contains(r#""owner":{"team":"storage"}"#), "{shown}");
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

/// The ids of all leases.
fn leases(server: &Server) -> Vec<String> {
    server.told(&["lease", "list"]).lines().skip(1).map(str::to_owned).collect()
}

fn lease_of(server: &Server) -> String {
    leases(server).pop().expect("a lease")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_registration_has_a_lease_of_its_own_which_ends_after_it() {
    let Some(server) = Server::start(&[]) else { return };
    let mut sources = Vec::new();
    for number in 0..3 {
        let (source, _) = started(&server).await;
        let node = NodeInfo { boot: BootId(u64::from(number) + 1), ..node(number, "1") };
        soon("a registration", source.register_node(&node)).await.expect("registered");
        // Another fact of a registered node needs no other lease.
        let changed = NodeInfo { version: "2".to_owned(), ..node };
        soon("an update", source.register_node(&changed)).await.expect("written");
        sources.push(source);
    }
    let mut keys = Vec::new();
    for lease in leases(&server) {
        let told = server.told(&["lease", "timetolive", &lease, "--keys"]);
        keys.push(told.split("attached keys(").nth(1).expect("keys").trim_end_matches(')').to_owned());
    }
    keys.sort_unstable();
    assert_eq!(keys, [0, 1, 2].map(|number| format!("[{}]", key(&node(number, "")))));
    for source in sources {
        soon("a shutdown", source.shutdown()).await.expect("everything ends");
    }
    assert_eq!(server.told(&["get", "--prefix", "--keys-only", "/rustydb/"]), "");
    // A farewell takes the key alone, by which readers tell it from an end; nobody renews the lease.
    until("the leases have ended", || leases(&server).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_somebody_deletes_or_revokes_is_written_anew() {
    let Some(server) = Server::start(&[]) else { return };
    let (source, mut reader) = started(&server).await;
    soon("a registration", source.register_node(&registered())).await.expect("registered");
    reader.until("+").await;
    let epoch = |wanted| {
        let registration = source.registration();
        matches!(registration, Some(RegistrationState::Active { epoch, .. }) if epoch == wanted)
    };
    server.told(&["del", &key(&registered())]);
    until("it is registered anew", || epoch(2)).await;
    server.told(&["lease", "revoke", &lease_of(&server)]);
    until("it is registered anew", || epoch(3)).await;
    reader.until_addresses(&[registered()]).await;
    assert_eq!(source.statistics().discovery.registration.lost, 2);
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}
