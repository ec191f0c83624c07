//! A node as a process of its own.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rdb_net_admin::views::{PeersView, StatusView, TopologyView};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::binary::Rdbnet;
use crate::http::{get, get_json};
use crate::lab::inside;
use crate::log::Log;
use crate::ports::Place;

/// How long something may take that has no bound of its own. Only a broken node takes so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a node is told.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Its id.
    pub id: String,
    /// Where it listens; ports of the kernel's choice without one.
    pub place: Option<Place>,
    /// Through whom it joins.
    pub seeds: Vec<SocketAddr>,
    /// Overrides `key=value` of everything else.
    pub set: Vec<String>,
    /// The network namespace that it runs in; the test's own without one.
    pub namespace: Option<String>,
}

impl Spec {
    fn toml(&self) -> String {
        let seeds: Vec<String> = self.seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
        let addresses = match &self.place {
            Some(place) => {
                format!("bind_address = \"{}\"\ngossip_address = \"{}\"", place.transport, place.gossip)
            }
            None => "bind_address = \"127.0.0.1:0\"".to_owned(),
        };
        format!(
            "[networking]\nnode_id = \"{}\"\n{addresses}\n\n[networking.service_discovery]\nseeds = [{}]\n\n\
             [networking.admin]\nbind_address = \"127.0.0.1:0\"\n",
            self.id,
            seeds.join(", ")
        )
    }
}

/// What a node tells once it runs.
#[derive(Debug, Clone, Deserialize)]
pub struct Started {
    /// Its id.
    pub node_id: String,
    /// Its transport.
    pub address: SocketAddr,
    /// Its gossip socket.
    pub gossip: SocketAddr,
    /// Its admin listener.
    pub admin: SocketAddr,
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// When it was started: before the process was there.
    pub began: SystemTime,
    /// What it writes to stderr.
    pub log: Arc<Log>,
    output: Arc<Log>,
    child: Child,
    readers: Vec<JoinHandle<()>>,
    started: Option<Started>,
    namespace: Option<String>,
}

impl Node {
    /// Starts the process; its configuration and its log are in the folder.
    ///
    /// # Panics
    ///
    /// When the machine does not let it.
    pub fn spawn(rdbnet: &Rdbnet, spec: &Spec, folder: &Path) -> Self {
        let file = folder.join(format!("{}.toml", spec.id));
        std::fs::write(&file, spec.toml()).expect("the test's folder can be written");
        let file = file.to_str().expect("the test's folder has a name of text");
        let set = spec.set.iter().flat_map(|set| ["--set", set.as_str()]);
        let arguments: Vec<&str> = ["--config", file].into_iter().chain(set).collect();
        Self::launch_in(spec.namespace.as_deref(), rdbnet, &spec.id, &arguments, folder)
    }

    /// Starts `rdbnet node` with these arguments. The id names its files, and is what it should have.
    ///
    /// # Panics
    ///
    /// When the machine does not let it.
    pub fn launch(rdbnet: &Rdbnet, id: &str, arguments: &[&str], folder: &Path) -> Self {
        Self::launch_in(None, rdbnet, id, arguments, folder)
    }

    fn launch_in(namespace: Option<&str>, rdbnet: &Rdbnet, id: &str, arguments: &[&str], folder: &Path) -> Self {
        let mut command = rdbnet.command_in(namespace, &["node", "--output", "json"]);
        command.args(arguments).env("RUST_LOG", "info").stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = SystemTime::now();
        let mut child = command.spawn().expect("the binary can be started");
        let copy = |kind: &str| {
            let path = folder.join(format!("{id}.{kind}"));
            OpenOptions::new().append(true).create(true).open(path).expect("the test's folder can be written")
        };
        let (output, out) = Log::follow(child.stdout.take().expect("piped"), copy("out"));
        let (log, err) = Log::follow(child.stderr.take().expect("piped"), copy("log"));
        Self {
            id: id.to_owned(),
            began,
            log,
            output,
            child,
            readers: vec![out, err],
            started: None,
            namespace: namespace.map(str::to_owned),
        }
    }

    /// Waits until it says that it runs.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn wait_started(&mut self) -> &Started {
        let line = self.output.wait(Instant::now() + DEADLINE, |lines| lines.first().cloned());
        let line = line.unwrap_or_else(|| panic!("{} did not start:\n{}", self.id, self.log.lines().join("\n")));
        let started = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.id));
        self.started.insert(started)
    }

    /// What it told when it started.
    ///
    /// # Panics
    ///
    /// When nobody has waited for that yet.
    pub fn started(&self) -> &Started {
        self.started.as_ref().expect("the node was waited for")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its view of the cluster.
    pub fn topology(&self) -> TopologyView {
        self.view("/api/v1/network/topology")
    }

    /// The others, with what was carried to and from them.
    pub fn peers(&self) -> PeersView {
        self.view("/api/v1/network/peers")
    }

    /// How it is.
    pub fn status(&self) -> StatusView {
        self.view("/api/v1/network/status")
    }

    /// The value of one of its metrics, named with its labels as they are written.
    ///
    /// # Panics
    ///
    /// When it does not tell, or has no such metric.
    pub fn metric(&self, name: &str) -> f64 {
        let admin = self.started().admin;
        let (_, body) = self.at_home(|| get(admin, "/metrics")).expect("it answers operators");
        let value = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no metric {name}:\n{body}"))
    }

    fn view<T: DeserializeOwned + Send>(&self, path: &str) -> T {
        let admin = self.started().admin;
        self.at_home(|| get_json(admin, path))
    }

    fn at_home<T: Send>(&self, ask: impl FnOnce() -> T + Send) -> T {
        match &self.namespace {
            Some(namespace) => inside(namespace, ask),
            None => ask(),
        }
    }

    /// Sends a signal, and tells when that was.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> SystemTime {
        let pid = Pid::from_child(&self.child);
        let at = SystemTime::now();
        kill_process(pid, signal).expect("the process is there");
        at
    }

    /// Waits until the process has ended by itself, and everything that it wrote is read.
    ///
    /// # Panics
    ///
    /// When it goes on.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let ended = self.log.wait_end(Instant::now() + DEADLINE);
        assert!(ended, "{} goes on:\n{}", self.id, self.log.lines().join("\n"));
        let status = self.child.wait().expect("a child can be waited for");
        self.join_readers();
        status
    }

    /// What it wrote to stdout.
    pub fn output(&self) -> Vec<String> {
        self.output.lines()
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader that panicked has told so, and its log has ended.
            let _ = reader.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already, and a stopped process is killed all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join_readers();
    }
}
