//! What real name servers say, and what `dig` sees of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdb_discovery::{DiscoverySource, Freshness};
use rdb_discovery_dns::{DnsConfig, DnsName, Family, Records};
use rdb_discovery_driver::conformance::{found, node, until};

use crate::knot::{Knot, SERVICE, services};
use crate::support::{address, config, dig, finish, listed, started, wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_services_are_what_dig_sees_although_no_datagram_holds_them() {
    let Some(knot) = Knot::start() else { return };
    let nodes: Vec<_> = (0..1_000).map(|number| node(number, "1")).collect();
    knot.write(&services(&nodes));
    let begun = Instant::now();
    let (source, mut reader) = started(config(knot.address, SERVICE, Records::Srv)).await;
    reader.until_addresses(&nodes).await;
    println!("1,000 services listed after {:?}", begun.elapsed());
    assert_eq!(reader.log, ["=1000"]);
    let seen = dig(knot.address, SERVICE, "SRV");
    let ports = |lines: Vec<String>, split: char, place: usize| -> std::collections::BTreeSet<String> {
        lines.iter().map(|line| line.split(split).nth(place).expect("a port").to_owned()).collect()
    };
    assert_eq!(seen.len(), 1_000);
    assert_eq!(ports(seen, ' ', 2), ports(listed(&source), ':', 1));
    finish(source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_headless_service_has_a_node_for_each_address() {
    let Some(knot) = Knot::start() else { return };
    knot.write("pods A 127.0.9.1\npods A 127.0.9.2\npods AAAA ::1\nsix AAAA ::1\nalias CNAME pods\n");
    for (name, family, expected) in [
        ("pods.test", Family::Either, vec!["127.0.9.1:7000", "127.0.9.2:7000"]),
        ("pods.test", Family::V6, vec!["[::1]:7000"]),
        ("six.test", Family::Either, vec!["[::1]:7000"]),
        ("six.test", Family::V4, Vec::new()),
        ("alias.test", Family::Either, vec!["127.0.9.1:7000", "127.0.9.2:7000"]),
    ] {
        let wanted = config(knot.address, name, Records::Addresses { port: 7_000 });
        let (source, mut reader) = started(DnsConfig { family, ..wanted }).await;
        reader.until("=").await;
        assert_eq!(listed(&source), expected, "{name} {family:?}");
        finish(source).await;
    }
    let seen: Vec<_> = dig(knot.address, "pods.test", "A").iter().map(|ip| format!("{ip}:7000")).collect();
    assert_eq!(seen, ["127.0.9.1:7000", "127.0.9.2:7000"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_come_first_and_addresses_where_there_are_none() {
    let Some(knot) = Knot::start() else { return };
    let records = Records::SrvThenAddresses { port: 7_777 };
    knot.write("rdb A 127.0.9.9\n");
    let (source, mut reader) = started(config(knot.address, "rdb.test", records)).await;
    reader.until("=").await;
    assert_eq!(listed(&source), ["127.0.9.9:7777"]);
    knot.write("rdb A 127.0.9.9\nrdb SRV 0 0 7000 host\nhost A 127.0.9.8\n");
    reader.until("+127.0.9.8:7000").await;
    reader.until("-127.0.9.9:7777").await;
    finish(source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_without_an_address_and_services_that_are_not_there_cost_only_themselves() {
    let Some(knot) = Knot::start() else { return };
    knot.write(
        "_rdb._tcp SRV 0 0 7000 good\n_rdb._tcp SRV 0 0 7001 missing\ngood A 127.0.9.1\n_none._tcp SRV 0 0 0 .\n",
    );
    let (source, mut reader) = started(config(knot.address, SERVICE, Records::Srv)).await;
    reader.until("=").await;
    assert_eq!(listed(&source), ["127.0.9.1:7000"]);
    assert_eq!(source.snapshot().nodes[0].labels["dns_host"], "good.test.");
    assert_eq!(source.snapshot().freshness, Freshness::Live);
    assert!(source.statistics().troubled_hosts >= 1);
    finish(source).await;
    let (source, mut reader) = started(config(knot.address, "_none._tcp.test", Records::Srv)).await;
    reader.until("=").await;
    assert_eq!(reader.log, ["=0"]);
    finish(source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_names_are_listed_together_and_each_node_once() {
    let Some(knot) = Knot::start() else { return };
    knot.write("a A 127.0.9.1\na A 127.0.9.2\nb A 127.0.9.2\nb A 127.0.9.3\n");
    let mut config = config(knot.address, "a.test", Records::Addresses { port: 7_000 });
    config.names.push(DnsName { name: "b.test".to_owned(), records: Records::Addresses { port: 7_000 } });
    let (source, mut reader) = started(config).await;
    reader.until("=3").await;
    assert_eq!(listed(&source), ["127.0.9.1:7000", "127.0.9.2:7000", "127.0.9.3:7000"]);
    finish(source).await;
}

/// dnsmasq: its negative answers have no SOA record.
struct Dnsmasq {
    folder: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
}

impl Dnsmasq {
    fn start(records: &[&str]) -> Option<Self> {
        if !found(&[("dnsmasq", "dnsmasq-base"), ("dig", "bind9-dnsutils")]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self { folder, address: address(), process: None };
        server.launch(records);
        Some(server)
    }

    fn launch(&mut self, records: &[&str]) {
        let (ip, port) = (self.address.ip(), self.address.port());
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces", "--local=/test/"])
            .args([format!("--listen-address={ip}"), format!("--port={port}"), "--local-ttl=1".to_owned()])
            .args(["--pid-file=", "--user=root", "--conf-file=/dev/null", "--log-queries", "--log-facility=-"])
            .args(records)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.log()).expect("a log"))
            .spawn();
        self.process = Some(child.expect("dnsmasq starts"));
        wait("dnsmasq answers", || dig(self.address, "ready.test", "A") == ["127.0.0.7"]);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it is ours");
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn questions(&self, name: &str) -> usize {
        let log = std::fs::read_to_string(self.log()).expect("a log");
        log.lines().filter(|line| line.contains("query[") && line.contains(&format!(" {name} "))).count()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.kill();
    }
}

const READY: &str = "--host-record=ready.test,127.0.0.7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_with_other_records_is_followed() {
    let host = |name: &str, last: u8| format!("--host-record={name}.test,127.0.9.{last}");
    let service = |name: &str, port: u16| format!("--srv-host={SERVICE},{name}.test,{port}").replace(".,", ",");
    let (a, b, c) = (host("a", 1), host("b", 2), host("c", 3));
    let (sa, sb, sc) = (service("a", 7_001), service("b", 7_002), service("c", 7_003));
    let Some(mut server) = Dnsmasq::start(&[READY, &a, &b, &sa, &sb]) else { return };
    let (source, mut reader) = started(config(server.address, SERVICE, Records::Srv)).await;
    reader.until("=2").await;
    server.kill();
    reader.until("degraded").await;
    assert_eq!(listed(&source), ["127.0.9.1:7001", "127.0.9.2:7002"]);
    server.launch(&[READY, &b, &c, &sb, &sc]);
    reader.until("restored").await;
    until("it is what the server says", || listed(&source) == ["127.0.9.2:7002", "127.0.9.3:7003"]).await;
    finish(source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn negative_answers_that_do_not_say_how_long_they_hold_are_not_asked_for_in_a_storm() {
    let Some(server) = Dnsmasq::start(&[READY, "--host-record=exists.test,127.0.9.1"]) else { return };
    for name in ["missing.test", "exists.test"] {
        let (source, mut reader) = started(config(server.address, name, Records::Srv)).await;
        reader.until("=").await;
        assert_eq!(reader.log, ["=0"], "an answer, though an empty one");
        let begun = Instant::now();
        until("the second round", || source.statistics().rounds == 2).await;
        let between = begun.elapsed();
        assert!(between >= Duration::from_secs(4), "5 s less a tenth at most, and not {between:?}");
        assert!(server.questions(name) <= 3, "{name}");
        finish(source).await;
    }
}
