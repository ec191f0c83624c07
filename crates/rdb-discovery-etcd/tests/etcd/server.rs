//! Servers of etcd: one process each, with an address and a folder of its own, killed when its owner is dropped.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rdb_discovery_driver::conformance::found;
use rdb_discovery_etcd::{EtcdConfig, EtcdDiscovery};
use rdb_net_types::{ClusterId, NodeInfo};

/// How long a server may take to answer. Only a broken one takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// One server, or one member of a cluster.
pub(crate) struct Server {
    pub(crate) name: String,
    folder: PathBuf,
    _root: tempfile::TempDir,
    pub(crate) client: String,
    peer: String,
    flags: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// A server by itself with these further flags, which answers; `None`, with the reason told, where there is no etcd.
    pub(crate) fn start(flags: &[&str]) -> Option<Self> {
        let mut server = Self::prepare("single", "http", flags)?;
        let cluster = format!("{}={}", server.name, server.peer);
        server.launch(&cluster, "first");
        server.wait_answer();
        Some(server)
    }

    /// As [`start`](Self::start), with TLS for clients.
    pub(crate) fn start_secure(flags: &[&str]) -> Option<Self> {
        let mut server = Self::prepare("single", "https", flags)?;
        let cluster = format!("{}={}", server.name, server.peer);
        server.launch(&cluster, "first");
        server.wait_port();
        Some(server)
    }

    /// The members of one cluster, which all answer.
    pub(crate) fn cluster(count: usize) -> Option<Vec<Self>> {
        let prepared = (0..count).map(|number| Self::prepare(&format!("m{number}"), "http", &[]));
        let mut members: Vec<Self> = prepared.collect::<Option<_>>()?;
        let all: Vec<_> = members.iter().map(|member| format!("{}={}", member.name, member.peer)).collect();
        for member in &mut members {
            member.launch(&all.join(","), "first");
        }
        members.iter().for_each(Self::wait_answer);
        Some(members)
    }

    fn prepare(name: &str, scheme: &str, flags: &[&str]) -> Option<Self> {
        if !found(&[("etcd", "etcd-server"), ("etcdctl", "etcd-client")]) {
            return None;
        }
        let root = tempfile::tempdir().expect("a temporary directory");
        let [client, peer] = addresses();
        Some(Self {
            name: name.to_owned(),
            folder: root.path().join("data"),
            _root: root,
            client: format!("{scheme}://{client}"),
            peer: format!("http://{peer}"),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            process: None,
        })
    }

    fn launch(&mut self, cluster: &str, token: &str) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.with_extension("log"));
        let log = log.expect("a log");
        let child = Command::new("etcd")
            .args(["--name", &self.name, "--data-dir"])
            .arg(&self.folder)
            .args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client])
            .args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer])
            .args(["--initial-cluster", cluster, "--initial-cluster-token", token, "--log-level", "error"])
            .args(&self.flags)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(child.expect("etcd starts"));
    }

    /// Kills it, as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it is ours");
        }
    }

    /// Starts it again where it was, with its data, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        let cluster = format!("{}={}", self.name, self.peer);
        self.launch(&cluster, "first");
        self.wait_answer();
    }

    /// Loses all its data and starts again, as the same cluster or as another one.
    pub(crate) fn wipe(&mut self, token: &str) {
        self.kill();
        std::fs::remove_dir_all(&self.folder).expect("its folder");
        let cluster = format!("{}={}", self.name, self.peer);
        self.launch(&cluster, token);
        self.wait_answer();
    }

    /// Stops or continues it, as a machine that hangs.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// What `etcdctl` says.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.client, "--command-timeout", "5s"]).args(arguments);
        command.output().expect("etcdctl starts")
    }

    /// What `etcdctl` says, where it has to succeed.
    #[track_caller]
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        assert!(output.status.success(), "etcdctl {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The configuration of a source here, with the shortest lease that etcd grants.
    pub(crate) fn config(&self) -> EtcdConfig {
        config(vec![self.client.clone()])
    }

    /// A source here, not started.
    pub(crate) fn source(&self) -> EtcdDiscovery {
        EtcdDiscovery::new(self.config()).expect("a legal configuration")
    }

    fn wait_answer(&self) {
        let until = Instant::now() + DEADLINE;
        while !self.ctl(&["get", "nothing"]).status.success() {
            assert!(Instant::now() < until, "etcd does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_port(&self) {
        let until = Instant::now() + DEADLINE;
        let address = self.client.rsplit('/').next().expect("an address");
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "etcd does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The configuration of a source at these endpoints, for tests that wait for leases to end.
pub(crate) fn config(endpoints: Vec<String>) -> EtcdConfig {
    let mut config = EtcdConfig::new(ClusterId::new("test").expect("legal"), endpoints);
    config.lease_time_to_live = Duration::from_secs(2);
    config.driver.registration.conflict_retry = Duration::from_secs(1);
    config
}

/// The key of a node.
pub(crate) fn key(node: &NodeInfo) -> String {
    format!("/rustydb/test/nodes/{}", node.id)
}

/// Two addresses that nobody else uses: a loopback address of its own with the process id and a count in it, so that what the
/// kernel chooses there stays free while a server is down.
fn addresses() -> [std::net::SocketAddr; 2] {
    static USED: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high.max(1), low, USED.fetch_add(1, Ordering::Relaxed));
    let held = [0, 1].map(|_| TcpListener::bind((own, 0)).expect("loopback has a free port"));
    held.map(|listener| listener.local_addr().expect("bound"))
}
