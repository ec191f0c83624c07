//! A name server with one zone, `test.`.

use std::fmt::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Process, found};
use crate::ports::Place;

/// How long it may take to say what it was told. Only a broken one takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server whose zone is written anew.
#[derive(Debug)]
pub struct Knot {
    folder: tempfile::TempDir,
    address: SocketAddr,
    serial: u32,
    process: Option<Process>,
}

impl Knot {
    /// The name whose services are the nodes.
    pub const SERVICE: &'static str = "_rdb._tcp.test.";

    /// How long its records hold.
    pub const TIME_TO_LIVE: Duration = Duration::from_secs(1);

    /// A server that is not started; `None`, with the reason told, where there is none.
    ///
    /// # Panics
    ///
    /// When the machine has no room for its files.
    pub fn prepare() -> Option<Self> {
        // It answers by TCP and by UDP.
        let places = std::iter::repeat_with(|| Place::reserve(1)[0].transport);
        let address = places.take(100).find(|address| UdpSocket::bind(address).is_ok()).expect("a free port");
        Self::prepare_at(address)
    }

    /// The same at this address.
    ///
    /// # Panics
    ///
    /// When the machine has no room for its files.
    pub fn prepare_at(address: SocketAddr) -> Option<Self> {
        if !found(&[("knotd", "knot"), ("knotc", "knot"), ("dig", "bind9-dnsutils")]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let root = folder.path().display();
        // As root it would become another user, who may not read here.
        let user = if rustix::process::geteuid().is_root() { "    user: root\n" } else { "" };
        let text = format!(
            "server:\n    rundir: {root}\n    listen: {}@{}\n{user}database:\n    storage: {root}\ncontrol:\n    listen: \
             {root}/control\ntemplate:\n  - id: default\n    storage: {root}\n    journal-content: none\n    zonefile-load: \
             whole\nzone:\n  - domain: test\n    file: zone\n",
            address.ip(),
            address.port()
        );
        std::fs::write(folder.path().join("conf"), text).expect("written");
        Some(Self { folder, address, serial: 0, process: None })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the services by these, and waits until they are served, if it runs.
    ///
    /// # Panics
    ///
    /// When it does not take them.
    pub fn write(&mut self, services: &[SocketAddr]) {
        self.serial += 1;
        let (serial, seconds) = (self.serial, Self::TIME_TO_LIVE.as_secs());
        let mut zone = format!(
            "$ORIGIN test.\n$TTL {seconds}\n@ SOA ns hostmaster {serial} 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n"
        );
        for service in services {
            let (ip, port) = (service.ip(), service.port());
            // Of its own, whatever other services there are.
            let host = format!("host-{}-{port}", ip.to_string().replace('.', "-"));
            writeln!(zone, "_rdb._tcp SRV 0 0 {port} {host}\n{host} A {ip}").expect("a text takes all");
        }
        std::fs::write(self.file("zone"), zone).expect("written");
        if self.process.is_some() {
            let mut command = Command::new("knotc");
            command.arg("-c").arg(self.file("conf")).args(["-b", "zone-reload", "test."]);
            let reloaded = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            assert!(reloaded.is_ok_and(|status| status.success()), "the zone is good");
            self.wait_served();
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it, and waits until it serves its zone.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn launch(&mut self) {
        self.process = Some(Process::start(Command::new("knotd").arg("-c").arg(self.file("conf"))));
        self.wait_served();
    }

    fn wait_served(&self) {
        let until = Instant::now() + DEADLINE;
        let served = || {
            let (ip, port) = (format!("@{}", self.address.ip()), self.address.port().to_string());
            let mut dig = Command::new("dig");
            let output = dig.args([&ip, "-p", &port, "+short", "+tries=1", "+time=1", "SOA", "test."]).output();
            String::from_utf8_lossy(&output.expect("dig is there").stdout).contains(&format!(" {} ", self.serial))
        };
        while !served() {
            assert!(Instant::now() < until, "knot does not serve its zone");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
