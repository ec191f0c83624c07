//! A server of etcd, by itself.

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
    client: String,
    peer: String,
    process: Option<Process>,
}

impl Etcd {
    /// A server that is not started; `None`, with the reason told, where there is none.
    ///
    /// # Panics
    ///
    /// When the machine has no room for its files.
    pub fn prepare() -> Option<Self> {
        if !found(&[("etcd", "etcd-server"), ("etcdctl", "etcd-client")]) {
            return None;
        }
        let [client, peer] = [0, 1].map(|_| format!("http://{}", Place::reserve(1)[0].transport));
        let folder = tempfile::tempdir().expect("a temporary directory");
        Some(Self { folder, client, peer, process: None })
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
        let mut command = Command::new("etcd");
        command.args(["--name", "single", "--log-level", "error", "--data-dir"]).arg(self.folder.path().join("data"));
        command.args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client]);
        command.args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer]);
        command.args(["--initial-cluster", &format!("single={}", self.peer)]);
        self.process = Some(Process::start(&mut command));
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
