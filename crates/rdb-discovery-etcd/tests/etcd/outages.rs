//! What becomes of lists and registrations when the server or the way to it fails.

use std::time::{Duration, Instant};

use etcd_client::{Client, WatchOptions};
use rdb_discovery::{DiscoverySource, Freshness, RegistrationState};
use rdb_discovery_driver::conformance::{Proxy, Reader, node, soon, until};
use rdb_discovery_etcd::EtcdDiscovery;
use rdb_net_types::{BootId, Component, NodeInfo, ServiceDiscovery};

use crate::server::{Server, config, key};

fn booted(number: u16) -> NodeInfo {
    NodeInfo { boot: BootId(u64::from(number) + 1), ..node(number, "1") }
}

async fn started(source: EtcdDiscovery) -> EtcdDiscovery {
    soon("a start", source.initialize()).await.expect("it starts");
    source
}

/// Three processes of one cluster, each registered, and a reader of the first.
async fn three(server: &Server) -> (Vec<EtcdDiscovery>, Reader) {
    let mut sources = Vec::new();
    for number in 0..3 {
        let source = started(server.source()).await;
        soon("a registration", source.register_node(&booted(number))).await.expect("registered");
        sources.push(source);
    }
    let mut reader = Reader::of(&sources[0]);
    reader.until_addresses(&[booted(0), booted(1), booted(2)]).await;
    reader.log.clear();
    (sources, reader)
}

fn epoch(source: &EtcdDiscovery) -> Option<u64> {
    match source.registration() {
        Some(RegistrationState::Active { epoch, .. }) => Some(epoch),
        _ => None,
    }
}

fn about_nodes(reader: &Reader) -> Vec<&String> {
    reader.log.iter().filter(|event| event.starts_with(['+', '-', '~'])).collect()
}

async fn finish(sources: Vec<EtcdDiscovery>) {
    for source in sources {
        soon("a shutdown", source.shutdown()).await.expect("everything ends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_process_is_killed_expires_and_comes_back_with_it() {
    let Some(server) = Server::start(&[]) else { return };
    let (mut sources, mut reader) = three(&server).await;
    // As a killed process, it says no farewell.
    drop(sources.pop());
    let killed = Instant::now();
    assert_eq!(reader.until("-").await, format!("-{} expired", booted(2).address));
    println!("a lease of 2 s: gone after {:?}", killed.elapsed());
    let next = started(server.source()).await;
    soon("a registration", next.register_node(&NodeInfo { boot: BootId(99), ..booted(2) })).await.expect("registered");
    reader.until("+").await;
    sources.push(next);
    finish(sources).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_back_before_leases_end_loses_nobody() {
    let Some(mut server) = Server::start(&[]) else { return };
    let mut config = server.config();
    config.lease_time_to_live = Duration::from_secs(30);
    let source = started(EtcdDiscovery::new(config).expect("legal")).await;
    soon("a registration", source.register_node(&booted(0))).await.expect("registered");
    let mut reader = Reader::of(&source);
    reader.until_addresses(&[booted(0)]).await;
    reader.log.clear();
    server.kill();
    reader.until("degraded").await;
    server.restart();
    reader.until("restored").await;
    assert_eq!((epoch(&source), about_nodes(&reader).len()), (Some(1), 0), "{:?}", reader.log);
    assert_eq!(source.statistics().revision_regressions, 0);
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_longer_than_leases_last_has_everybody_back_by_itself() {
    let Some(mut server) = Server::start(&[]) else { return };
    let (sources, mut reader) = three(&server).await;
    server.kill();
    for source in &sources {
        until("the registration is lost", || matches!(source.registration(), Some(RegistrationState::Lost { .. })))
            .await;
    }
    assert_eq!(sources[1].snapshot().nodes.len(), 3, "the last good list");
    server.restart();
    reader.until("restored").await;
    for source in &sources {
        until("it is registered anew", || epoch(source) == Some(2)).await;
    }
    // What stands there hangs on leases that are renewed, not on those of before.
    for source in &sources {
        let renewals = || source.statistics().discovery.registration.renewals;
        let before = renewals();
        until("two lives of a lease have passed", || renewals() >= before + 6).await;
        assert_eq!(server.told(&["get", "--prefix", "--keys-only", "/rustydb/"]).matches("/nodes/").count(), 3);
    }
    assert_eq!(about_nodes(&reader).len(), 0, "{:?}", reader.log);
    finish(sources).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_longer_than_leases_last_is_noticed_and_has_everybody_back() {
    let Some(server) = Server::start(&[]) else { return };
    let (sources, mut reader) = three(&server).await;
    server.signal("STOP");
    let stopped = Instant::now();
    reader.until("degraded").await;
    let noticed = stopped.elapsed();
    println!("a stopped server is noticed after {noticed:?}");
    assert!(noticed < Duration::from_secs(6), "two probes of 2 s and the debounce: {noticed:?}");
    for source in &sources {
        until("the registration is lost", || matches!(source.registration(), Some(RegistrationState::Lost { .. })))
            .await;
    }
    server.signal("CONT");
    for source in &sources {
        until("it is registered anew", || epoch(source) >= Some(2)).await;
    }
    reader.until_addresses(&[booted(0), booted(1), booted(2)]).await;
    until("it is what etcd says", || sources[0].snapshot().freshness == Freshness::Live).await;
    finish(sources).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_loses_every_packet_is_noticed_in_seconds_and_healed() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(&server.client);
    let source = started(EtcdDiscovery::new(config(vec![proxy.url()])).expect("legal")).await;
    let mut reader = Reader::of(&source);
    reader.until("=").await;
    proxy.silence();
    let silent = Instant::now();
    reader.until("degraded").await;
    println!("a silent way is noticed after {:?}", silent.elapsed());
    assert!(silent.elapsed() < Duration::from_secs(6), "{:?}", silent.elapsed());
    server.told(&["put", &key(&node(5, "")), r#"{"id":"n0005","address":"host:5"}"#]);
    proxy.heal();
    reader.until("+host:5").await;
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compacted_while_the_way_was_cut_is_listed_anew() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(&server.client);
    let source = started(EtcdDiscovery::new(config(vec![proxy.url()])).expect("legal")).await;
    for number in 3..5 {
        server.told(&[
            "put",
            &key(&node(number, "")),
            &format!(r#"{{"id":"n000{number}","address":"host:{number}"}}"#),
        ]);
    }
    let mut reader = Reader::of(&source);
    while reader.addresses() != ["host:3", "host:4"] {
        reader.next().await.expect("it goes on");
    }
    proxy.cut();
    reader.until("degraded").await;
    // What is to be watched from here on is compacted, and with it the word that one of them is gone.
    server.told(&["del", &key(&node(4, ""))]);
    reader.log.clear();
    for version in 0..20 {
        let document = format!(r#"{{"id":"n0005","address":"host:5","version":"{version}"}}"#);
        server.told(&["put", &key(&node(5, "")), &document]);
    }
    let revision = revision(&server);
    server.told(&["compact", "--physical", &revision.to_string()]);
    proxy.heal();
    reader.until("resynced").await;
    assert_eq!(about_nodes(&reader), ["-host:4 absent", "+host:5"]);
    assert_eq!(reader.addresses(), ["host:3", "host:5"]);
    server.told(&["put", &key(&node(6, "")), r#"{"id":"n0006","address":"host:6"}"#]);
    reader.until("+host:6").await;
    finish(vec![source]).await;
}

fn revision(server: &Server) -> u64 {
    let status = server.told(&["endpoint", "status", "--write-out", "json"]);
    let rest = status.split("\"revision\":").nth(1).expect("a revision");
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

/// Why a watch is never resumed by its revision alone: this is all that etcd says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_behind_a_compaction_gets_one_frame_and_then_silence() {
    let Some(server) = Server::start(&[]) else { return };
    for version in 0..5 {
        server.told(&["put", "/rustydb/x", &version.to_string()]);
    }
    server.told(&["compact", &revision(&server).to_string()]);
    let mut client = Client::connect([&server.client], None).await.expect("etcd is there");
    let options = WatchOptions::new().with_prefix().with_start_revision(2);
    let mut stream = client.watch("/rustydb/", Some(options)).await.expect("opened");
    let told = loop {
        let frame = soon("a frame", stream.message()).await.expect("no error").expect("no end");
        if !frame.created() {
            break frame;
        }
    };
    assert!(told.canceled() && told.compact_revision() > 2, "{told:?}");
    server.told(&["put", "/rustydb/x", "last"]);
    let more = tokio::time::timeout(Duration::from_secs(1), stream.message()).await;
    assert!(more.is_err(), "the stream neither goes on nor ends: {more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_data_has_everybody_back_and_nobody_is_told_gone() {
    let Some(mut server) = Server::start(&[]) else { return };
    for token in ["first", "second"] {
        let (sources, mut reader) = three(&server).await;
        let before = sources[0].statistics();
        assert_eq!((before.revision_regressions, before.cluster_changes), (0, 0));
        server.told(&["put", "/elsewhere", "so that revisions are ahead of those after the loss"]);
        server.wipe(token);
        for source in &sources {
            until("it is registered anew", || epoch(source) >= Some(2)).await;
        }
        until("it is what etcd says", || sources[0].snapshot().freshness == Freshness::Live).await;
        reader.until("restored").await;
        assert_eq!(about_nodes(&reader).len(), 0, "{:?}", reader.log);
        let now = sources[0].statistics();
        println!("wiped, with the token {token:?}: {now:?}");
        assert!(now.revision_regressions + now.cluster_changes >= 1, "the loss was found: {now:?}");
        finish(sources).await;
    }
}
