//! Servers of etcd: one by itself, or the members of a cluster.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Process, found};
use crate::ports::Place;

/// How long it may take to answer. Only a broken one takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server that keeps its data over a kill.
#[derive(Debug)]
pub struct Etcd {
    folder: tempfile::TempDir,
    name: String,
    client: String,
    peer: String,
    /// The members of its cluster with their peer addresses, as etcd wants them.
    cluster: String,
    process: Option<Process>,
}

impl Etcd {
    /// A server that is not started; `None`, with the reason told, where there is none.
    ///
    /// # Panics
    ///
    /// When the machine has no room for its files.
    pub fn prepare() -> Option<Self> {
        let [client, peer] = [0, 1].map(|_| Place::reserve(1)[0].transport);
        Self::prepare_members(&[(client, peer)])?.pop()
    }

    /// The members of one cluster, at these addresses for clients and for each other; none is started.
    ///
    /// # Panics
    ///
    /// When the machine has no room for their files.
    pub fn prepare_members(places: &[(SocketAddr, SocketAddr)]) -> Option<Vec<Self>> {
        if !found(&[("etcd", "etcd-server"), ("etcdctl", "etcd-client")]) {
            return None;
        }
        let all: Vec<_> = (0..).zip(places).map(|(number, (_, peer))| format!("m{number}=http://{peer}")).collect();
        let member = |(number, (client, peer)): (usize, &(SocketAddr, SocketAddr))| Self {
            folder: tempfile::tempdir().expect("a temporary directory"),
            name: format!("m{number}"),
            client: format!("http://{client}"),
            peer: format!("http://{peer}"),
            cluster: all.join(","),
            process: None,
        };
        Some(places.iter().enumerate().map(member).collect())
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.client
    }

    /// Kills it, as a power cut does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it where it was, with its data, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn launch(&mut self) {
        self.start();
        self.wait_answer();
    }

    /// Starts it, and waits for nothing: a member answers once most of them are there.
    pub fn start(&mut self) {
        let mut command = Command::new("etcd");
        command.args(["--name", &self.name, "--log-level", "error", "--data-dir"]).arg(self.folder.path().join("data"));
        command.args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client]);
        command.args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer]);
        command.args(["--initial-cluster", &self.cluster]);
        self.process = Some(Process::start(&mut command));
    }

    /// Waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn wait_answer(&self) {
        let until = Instant::now() + DEADLINE;
        while self.ctl(&["endpoint", "health"]).is_none() {
            assert!(Instant::now() < until, "etcd does not answer");
        }
    }

    /// What `etcdctl` says; `None` where it fails.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn ctl(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.client, "--command-timeout", "2s"]).args(arguments);
        let output = command.output().expect("etcdctl starts");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
