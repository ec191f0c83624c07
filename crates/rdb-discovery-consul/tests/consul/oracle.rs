//! py-consul as a foreign reader and writer: what it and the source say to one agent, the other understands.
//!
//! It is installed in an environment of its own below the target folder. Where that cannot be done, each test says so and passes.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use rdb_discovery_consul::test_agent::TestAgent;
use rdb_discovery_driver::conformance::{Reader, node, skip, soon};
use rdb_net_types::{BootId, ClusterId, Component, NodeInfo, ServiceDiscovery};
use serde_json::Value;

use crate::agents::{RealAgent, cluster, config, started};

/// The release that the tests were written with.
const RELEASE: &str = "py-consul==1.8.0";

/// The interpreter with the library; none, with the reason told, where it cannot be had.
fn python() -> Option<PathBuf> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("py-consul");
    let python = folder.join("bin/python");
    let works = |command: &mut Command| {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let has = || works(Command::new(&python).args(["-c", "import consul"]));
    let made = || {
        works(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            && works(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--timeout", "20", RELEASE]))
    };
    if has() || (made() && has()) {
        return Some(python);
    }
    skip(&format!("{RELEASE} cannot be installed: there is no python3 with venv, or no index of packages"));
    None
}

/// The script under way.
struct Script {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(python: &Path, agent: SocketAddr, command: &str, cluster: &ClusterId) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consul/oracle.py");
        let mut process = Command::new(python)
            .arg("-B")
            .arg(script)
            .args([&agent.ip().to_string(), &agent.port().to_string(), command, &format!("rdb-{cluster}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let (input, output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        Self { process, input, output: BufReader::new(output) }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("JSON: what went wrong stands above")
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").expect("it listens");
        assert_eq!(self.next()["done"], word);
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn registered() -> NodeInfo {
    let labels = [("name".to_owned(), "ä".repeat(600))].into();
    NodeInfo { boot: BootId(7), labels, ..node(3, "1.2") }
}

async fn what_a_source_registers_is_read(agent: SocketAddr) {
    let Some(python) = python() else { return };
    let cluster = cluster();
    let source = started(config(&cluster, &format!("http://{agent}"))).await;
    let mut script = Script::start(&python, agent, "wait", &cluster);
    assert_eq!(script.next()["before"], 0);
    soon("a registration", source.register_node(&registered())).await.expect("registered");
    let woken = script.next();
    assert_eq!((&woken["moved"], &woken["after"]), (&Value::Bool(true), &Value::from(1)), "{woken}");

    let mut script = Script::start(&python, agent, "read", &cluster);
    let (health, catalog, checks, services) = (script.next(), script.next(), script.next(), script.next());
    let id = format!("{cluster}-n0003");
    let found = &health["health"][0]["Service"];
    assert_eq!(found["ID"], id.as_str());
    assert_eq!(found["Address"], registered().address.host());
    assert_eq!(found["Port"], registered().address.port());
    assert_eq!((&found["Meta"]["rdb_id"], &found["Meta"]["rdb_version"]), (&"n0003".into(), &"1.2".into()));
    assert!(found["Meta"]["rdb_json_2"].is_string(), "a long document is in several values: {found}");
    assert_eq!(catalog["catalog"][0]["ServiceID"], id.as_str());
    assert_eq!(checks["checks"][format!("service:{id}")]["Status"], "passing");
    assert_eq!(services["services"][&id]["Service"], format!("rdb-{cluster}"));
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
    let mut script = Script::start(&python, agent, "read", &cluster);
    assert_eq!(script.next()["health"], Value::Array(Vec::new()));
}

async fn what_others_register_is_found(agent: SocketAddr) {
    let Some(python) = python() else { return };
    let cluster = cluster();
    let source = started(config(&cluster, &format!("http://{agent}"))).await;
    let mut reader = Reader::of(&source);
    reader.until("=0").await;
    let mut script = Script::start(&python, agent, "act", &cluster);
    assert_eq!(script.next()["registered"], true);
    let seeds = ["127.0.0.1:7000", "127.0.0.1:7001"].map(|address| NodeInfo::seed(address.parse().expect("legal")));
    reader.until_addresses(&seeds).await;
    script.tell("fail");
    assert_eq!(reader.until("-").await, "-127.0.0.1:7001 expired");
    script.tell("deregister");
    assert_eq!(reader.until("-").await, "-127.0.0.1:7000 deregistered");
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
    crate::raw::deregister(agent, "lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_reads_what_a_source_registers() {
    let agent = TestAgent::start();
    what_a_source_registers_is_read(agent.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_finds_what_a_foreign_client_registers() {
    let agent = TestAgent::start();
    what_others_register_is_found(agent.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_a_real_agent() {
    let Some(agent) = RealAgent::start() else { return };
    what_a_source_registers_is_read(agent.address).await;
    what_others_register_is_found(agent.address).await;
}
