//! knot with one zone that is written anew or updated: as a server, and as a scene of the suite that every backend passes.

use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_discovery::DiscoverySource;
use rdb_discovery_dns::{DnsDiscovery, Records};
use rdb_discovery_driver::conformance::{Kind, Scene, Traits, found};
use rdb_net_types::{BoxFuture, NodeInfo};

use crate::support::{address, config, dig, wait};

/// The name server of the zone `test.`.
pub(crate) struct Knot {
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    state: Mutex<State>,
}

struct State {
    serial: u32,
    process: Option<Child>,
}

impl Knot {
    /// A server that answers, with an empty zone; `None`, with the reason told, where there is none.
    pub(crate) fn start() -> Option<Self> {
        let programs =
            [("knotd", "knot"), ("knotc", "knot"), ("dig", "bind9-dnsutils"), ("nsupdate", "bind9-dnsutils")];
        if !found(&programs) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let knot = Self { folder, address: address(), state: Mutex::new(State { serial: 0, process: None }) };
        let root = knot.folder.path().display();
        let (ip, port) = (knot.address.ip(), knot.address.port());
        // As root it would become another user, who may not read here; nobody else may change.
        let is_root = std::fs::metadata(knot.folder.path()).expect("just made").uid() == 0;
        let user = if is_root { "    user: root\n" } else { "" };
        let text = format!(
            "server:\n    rundir: {root}\n    listen: {ip}@{port}\n{user}database:\n    storage: {root}\n\
             control:\n    listen: {root}/control\n\
             acl:\n  - id: updates\n    address: 127.0.0.0/8\n    action: update\n\
             template:\n  - id: default\n    storage: {root}\n    journal-content: none\n    zonefile-load: whole\n    \
             semantic-checks: off\nzone:\n  - domain: test\n    file: zone\n    acl: updates\n"
        );
        std::fs::write(knot.file("conf"), text).expect("written");
        knot.write("");
        knot.launch();
        Some(knot)
    }

    /// Replaces the records of the zone, and waits until they are served, if the server runs.
    pub(crate) fn write(&self, records: &str) {
        let mut state = self.state.lock().expect("no panic");
        state.serial += 1;
        let serial = state.serial;
        // Negative answers may be kept for a second.
        let zone = format!(
            "$ORIGIN test.\n$TTL 1\n@ SOA ns hostmaster {serial} 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n{records}"
        );
        std::fs::write(self.file("zone"), zone).expect("written");
        if state.process.is_some() {
            let reloaded = self.control(&["-b", "zone-reload", "test."]);
            assert!(reloaded, "the zone is good");
            self.wait_serial(serial);
        }
    }

    pub(crate) fn kill(&self) {
        if let Some(mut process) = self.state.lock().expect("no panic").process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it is ours");
        }
    }

    pub(crate) fn launch(&self) {
        let mut command = Command::new("knotd");
        command.arg("-c").arg(self.file("conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut state = self.state.lock().expect("no panic");
        state.process = Some(command.spawn().expect("knotd starts"));
        self.wait_serial(state.serial);
    }

    fn control(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("knotc");
        command.arg("-c").arg(self.file("conf")).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn wait_serial(&self, serial: u32) {
        let expected = format!("ns.test. hostmaster.test. {serial} ");
        let is_served = || dig(self.address, "test.", "SOA").iter().any(|line| line.starts_with(&expected));
        wait("knot serves the zone", is_served);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The service records of these nodes, and the addresses of their hosts.
pub(crate) fn services(nodes: &[NodeInfo]) -> String {
    let mut text = String::new();
    for node in nodes {
        let (id, port, host) = (&node.id, node.address.port(), node.address.host());
        writeln!(text, "_rdb._tcp SRV 0 0 {port} {id}\n{id} A {host}").expect("a text takes all");
    }
    if nodes.is_empty() {
        text.push_str("_rdb._tcp TXT none\n");
    }
    text
}

pub(crate) const SERVICE: &str = "_rdb._tcp.test.";

pub(crate) struct Zones;

impl Kind for Zones {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        let scene = Knot::start().map(|knot| Box::new(Zone { knot: Arc::new(knot) }) as Box<dyn Scene>);
        Box::pin(std::future::ready(scene))
    }
}

struct Zone {
    knot: Arc<Knot>,
}

impl Scene for Zone {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        let config = config(self.knot.address, SERVICE, Records::Srv);
        Arc::new(DnsDiscovery::new(config).expect("a legal configuration"))
    }

    fn traits(&self) -> Traits {
        // The time to live of the records, and a second.
        Traits::polled(Duration::from_secs(2))
    }

    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()> {
        let (knot, text) = (Arc::clone(&self.knot), services(nodes));
        Box::pin(async move { tokio::task::spawn_blocking(move || knot.write(&text)).await.expect("written") })
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        self.knot.kill();
        Box::pin(std::future::ready(()))
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        self.knot.launch();
        Box::pin(std::future::ready(()))
    }
}
