//! TLS as the README begins with it: the lines of its quick start, run as they stand there, and what an operator does to
//! certificates while nodes run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdb_net_tests::{Node, Rdbnet, Samples, text};
use rdb_net_tls::pki::{Issued, Pki};
use rdb_net_tls::{Clock, Expected, PeerIdentity, Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_types::{ClusterId, NodeId, NodeState, Role};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything is waited for. Bounds are held against what was measured.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it takes at most until something is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A folder in which the lines of the README run, and the nodes that they have started.
struct Folder {
    rdbnet: Rdbnet,
    nodes: Vec<Node>,
    dir: TempDir,
}

impl Folder {
    fn new(rdbnet: Rdbnet) -> Self {
        Self { rdbnet, nodes: Vec::new(), dir: TempDir::new().expect("an empty folder") }
    }

    /// After the quick start: two nodes that know each other.
    fn after_the_quick_start(rdbnet: Rdbnet) -> Self {
        let mut folder = Self::new(rdbnet);
        let lines = quick_start();
        assert!(lines.len() > 4, "the README has a quick start: {lines:?}");
        lines.iter().for_each(|line| folder.run(line));
        assert_eq!(folder.nodes.len(), 2, "{lines:?}");
        folder.wait("two members that are connected", |folder| folder.connected(0) && folder.connected(1));
        folder
    }

    /// Runs a line. A node listens where the system lets it; its peers are told where that is.
    fn run(&mut self, line: &str) {
        match line.strip_prefix("rdbnet node ") {
            Some(options) => self.start(options.strip_suffix(" &").expect("a node goes on in the background")),
            // The members are looked at by whoever has started all nodes.
            None if line == "rdbnet members" => {}
            None => drop(self.shell(line)),
        }
    }

    /// Has a shell run a line, and returns what it writes.
    #[track_caller]
    fn shell(&self, line: &str) -> String {
        let known = self.rdbnet.command(&[]);
        let folder = Path::new(known.get_program()).parent().expect("a program is in a folder");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).current_dir(self.dir.path()).env("PATH", path);
        let output = shell.output().expect("there is a shell");
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    /// Tells what a command of `rdbnet pki` writes for programs.
    #[track_caller]
    fn pki(&self, words: &str) -> Value {
        let told = self.shell(&format!("rdbnet pki {words} --output json"));
        serde_json::from_str(&told).expect("one document")
    }

    fn start(&mut self, options: &str) {
        let id = format!("node{}", self.nodes.len() + 1);
        let mut arguments: Vec<String> = words(options);
        for argument in &mut arguments {
            if argument.ends_with(".toml") {
                *argument = self.path(argument).to_str().expect("text").to_owned();
            }
            if let Some(first) = self.nodes.first() {
                *argument = argument.replace("127.0.0.1:7000", &first.started().address.to_string());
            }
            *argument = argument.replace("127.0.0.1:7010", "127.0.0.1:0");
        }
        if !arguments.iter().any(|argument| argument.starts_with("networking.bind_address=")) {
            arguments.extend(["--set", "networking.bind_address=127.0.0.1:0"].map(str::to_owned));
        }
        arguments.extend(["--set", "networking.admin.bind_address=127.0.0.1:0"].map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut node = Node::launch(&self.rdbnet, &id, &arguments, self.dir.path());
        assert_eq!(node.wait_started().node_id, id, "its name is the one in its certificate");
        self.nodes.push(node);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether a node has a connection to the other one, whom it takes for alive.
    fn connected(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        let topology = node.topology();
        let other = topology.members.iter().find(|member| member.node_id.as_str() != node.id);
        other.is_some_and(|member| member.connected && member.state == NodeState::Alive)
    }

    /// Waits until something holds, and returns how long that took.
    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(self) {
            let logs: Vec<_> = self.nodes.iter().map(|node| node.log.lines().join("\n")).collect();
            assert!(begun.elapsed() < PATIENCE, "no {what}:\n{}", logs.join("\n---\n"));
            // Whatever changes is logged by some node, not always by this one.
            self.nodes[0].log.wait(Instant::now() + LOOK_AGAIN, |_| None::<()>);
        }
        begun.elapsed()
    }

    /// Somebody of the cluster who is no node, to ask nodes for their proof.
    fn visitor(&self) -> Tls {
        let pki = Pki::open(&self.path("pki"), Clock::default()).expect("the CA of the quick start");
        let name = NodeId::new("visitor").expect("legal");
        let Issued { certificate, key, ca, .. } = pki.issue(&name, Role::Client, &[]).expect("issued");
        let config = TlsConfig {
            enabled: true,
            cert_path: certificate,
            key_path: key,
            ca_cert_path: Some(ca),
            ..TlsConfig::default()
        };
        let cluster = ClusterId::new("rustydb").expect("legal");
        Tls::load(config, TlsOptions::new(Policy::new(cluster))).expect("good files")
    }
}

/// Who answers there, by its certificate.
fn proof(visitor: &Tls, address: SocketAddr, node: &str) -> PeerIdentity {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let expected = Expected::Node(NodeId::new(node).expect("legal"));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        visitor.connector().connect(socket, &expected, deadline).await.expect("it proves its name").peer
    })
}

/// The commands of the README's section on TLS.
fn quick_start() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let (_, section) = readme.split_once("\n## With TLS\n").expect("a section on TLS");
    let section = section.split("\n## ").next().expect("a first part");
    // Between fences, every other piece is code.
    let blocks = section.split("\n```\n").skip(1).step_by(2);
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// The words of a line, as a shell splits it where nothing but single quotes is special.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in line.chars() {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            other => words.last_mut().expect("never empty").push(other),
        }
    }
    words
}

#[test]
fn the_lines_of_the_readme_make_a_cluster_inside_tls() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = Folder::after_the_quick_start(rdbnet);
    let visitor = folder.visitor();
    for node in &folder.nodes {
        let peer = proof(&visitor, node.started().address, &node.id);
        assert_eq!((peer.node.as_str(), peer.role), (node.id.as_str(), Role::Node));
    }
    let admin = folder.nodes[0].started().admin.to_string();
    let members = folder.rdbnet.run(&["members", "--admin", &admin]);
    let rows: Vec<&str> = text(&members.stdout).lines().skip(1).collect();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.contains("alive")), "{rows:?}");
}

#[test]
fn a_running_node_takes_its_renewed_certificate_and_stays() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = Folder::after_the_quick_start(rdbnet);
    let visitor = folder.visitor();
    let renewed = folder.pki("renew node1")["issued"][0].clone();
    let address = folder.nodes[0].started().address;
    let taken = |_: &Folder| renewed["serial"] == proof(&visitor, address, "node1").serial.as_str();
    let took = folder.wait("renewed certificate", taken);
    let mut samples = Samples::new("a renewed certificate is shown", Duration::from_secs(5));
    samples.add(took, "node1".to_owned());
    // Without the former one the two are a cluster still.
    let former = renewed["former"][0]["serial"].as_str().expect("one stays valid").to_owned();
    folder.pki(&format!("revoke --serial {former}"));
    folder.wait("connection with the new certificate alone", |folder| {
        let reloaded = |node: &Node| node.log.lines().iter().filter(|line| line.contains("were reloaded")).count();
        // The renewed certificate, then the list; node 2 has looked at the list alone.
        reloaded(&folder.nodes[0]) >= 2 && reloaded(&folder.nodes[1]) >= 1 && folder.connected(0) && folder.connected(1)
    });
    samples.judge();
}

#[test]
fn a_revoked_node_is_cut_off_within_five_seconds() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = Folder::after_the_quick_start(rdbnet);
    folder.pki("revoke node2");
    let mut samples = Samples::new("a revoked node is cut off", Duration::from_secs(5));
    let admin = |folder: &Folder| folder.nodes[0].peers();
    let is_cut = |folder: &Folder| admin(folder).peers.iter().all(|peer| !peer.member.connected);
    samples.add(folder.wait("end of its connections", is_cut), "node2".to_owned());
    samples.judge();
}
