//! What the tests share: addresses, programs, and the configuration of a source.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rdb_discovery::DiscoverySource;
use rdb_discovery_dns::{DnsConfig, DnsDiscovery, DnsName, Records};
use rdb_discovery_driver::conformance::{Reader, soon};
use rdb_net_types::Component;

/// An address for a name server that nobody else uses, by UDP and by TCP: a loopback address of its own, so that it stays free
/// while the server is down.
pub(crate) fn address() -> SocketAddr {
    static USED: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high.max(1), low, USED.fetch_add(1, Ordering::Relaxed));
    loop {
        let tcp = TcpListener::bind((own, 0)).expect("loopback has a free port");
        let address = tcp.local_addr().expect("bound");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// Whether this machine has these programs; else the test is told as skipped.
pub(crate) fn found(programs: &[(&str, &str)]) -> bool {
    programs.iter().all(|(program, package)| {
        let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
        let there = there.is_ok_and(|status| status.success());
        if !there {
            skip(&format!("there is no {program}: Debian has it in {package}"));
        }
        there
    })
}

#[expect(clippy::print_stdout, reason = "a test speaks through its output")]
fn skip(reason: &str) {
    let line = format!("SKIPPED: {reason}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("RDB_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skipped tests can be written");
    }
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
