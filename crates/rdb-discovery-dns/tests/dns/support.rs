//! What the tests share: addresses, programs, and the configuration of a source.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rdb_discovery::DiscoverySource;
use rdb_discovery_dns::{DnsConfig, DnsDiscovery, DnsName, Records};
use rdb_discovery_driver::conformance::{PATIENCE, Reader, soon};
use rdb_net_types::Component;

/// An address for a name server that nobody else uses, by UDP and by TCP: a loopback address of its own, so that it stays free
/// while the server is down.
pub(crate) fn address() -> SocketAddr {
    static USED: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    free_at(Ipv4Addr::new(127, high.max(1), low, USED.fetch_add(1, Ordering::Relaxed)))
}

/// A port of this host that is free by UDP and by TCP.
pub(crate) fn free_at(host: Ipv4Addr) -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((host, 0)).expect("loopback has a free port");
        let address = tcp.local_addr().expect("bound");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// Waits until a server does what it was told.
pub(crate) fn wait(what: &str, holds: impl Fn() -> bool) {
    assert!(comes_true(PATIENCE, holds), "waited in vain: {what}");
}

/// Whether a server does within this time what it was told. Nobody tells when it does: it is asked again and again.
pub(crate) fn comes_true(within: Duration, holds: impl Fn() -> bool) -> bool {
    let until = Instant::now() + within;
    while Instant::now() < until {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    holds()
}

/// The configuration of a source that asks this server for this name.
pub(crate) fn config(server: SocketAddr, name: &str, records: Records) -> DnsConfig {
    let mut config = DnsConfig::new(vec![DnsName { name: name.to_owned(), records }]);
    config.servers = vec![server];
    config.timeout = Duration::from_millis(500);
    config
}

/// A source that runs, and a reader of it.
pub(crate) async fn started(config: DnsConfig) -> (DnsDiscovery, Reader) {
    let source = DnsDiscovery::new(config).expect("a legal configuration");
    soon("a start", source.initialize()).await.expect("it starts");
    let reader = Reader::of(&source);
    (source, reader)
}

pub(crate) async fn finish(source: DnsDiscovery) {
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

/// What `dig` sees, sorted.
pub(crate) fn dig(server: SocketAddr, name: &str, kind: &str) -> Vec<String> {
    let (ip, port) = (format!("@{}", server.ip()), server.port().to_string());
    let output = Command::new("dig").args([&ip, "-p", &port, "+short", "+tries=1", kind, name]).output();
    let output = output.expect("dig is there");
    let mut lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// The addresses of a source's list, sorted.
pub(crate) fn listed(source: &DnsDiscovery) -> Vec<String> {
    let mut addresses: Vec<_> = source.snapshot().nodes.iter().map(|node| node.address.to_string()).collect();
    addresses.sort_unstable();
    addresses
}
