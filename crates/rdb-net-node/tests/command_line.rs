//! The program as scripts see it: what it writes where, and with which code it ends.

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Output;

use rdb_net_admin::AdminServer;
use rdb_net_admin::views::{StatusView, TopologyView};
use rdb_net_types::HealthStatus;
use serde_json::Value;
use support::{Fake, run, text};

/// Runs the program against the admin listener of a node that is like this; ARGUMENTS get `--admin` behind them.
async fn ask(status: HealthStatus, arguments: &[&str]) -> Output {
    let server = AdminServer::new(Fake::with_health(status), SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = server.start().await.expect("a free port").to_string();
    let arguments: Vec<String> = [arguments, &["--admin", &address]].concat().into_iter().map(str::to_owned).collect();
    let asking = tokio::task::spawn_blocking(move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    let output = asking.await.expect("runs");
    server.shutdown().await;
    output
}

#[track_caller]
fn ended_with(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// A file of a test's own, gone when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rdbnet-{}-{name}", std::process::id()));
        fs::write(&path, content).expect("writable");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_as_a_table_and_as_json() {
    let table = ask(HealthStatus::Healthy, &["members"]).await;
    ended_with(&table, 0);
    let lines: Vec<String> = text(&table.stdout).lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("NODE") && lines[1].starts_with("n1    127.0.0.1:7000  alive"), "{lines:?}");
    assert_eq!((lines.len(), text(&table.stderr).as_str()), (2, ""));

    let json = ask(HealthStatus::Healthy, &["members", "--output", "json"]).await;
    let topology: TopologyView = serde_json::from_slice(&json.stdout).expect("one document");
    assert_eq!((topology.cluster.as_str(), topology.members.len()), ("test", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_node_is_shown_and_ends_with_7() {
    for (health, code) in [(HealthStatus::Healthy, 0), (HealthStatus::Degraded, 0), (HealthStatus::Unhealthy, 7)] {
        let output = ask(health, &["status", "--output", "json"]).await;
        ended_with(&output, code);
        let status: StatusView = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!(status.health.status, health);
        assert!(text(&output.stderr).contains("n1 has not joined"), "{}", text(&output.stderr));
    }
}

#[test]
fn where_nobody_listens_the_code_is_3_and_the_address_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("bound").to_string();
    drop(holder);
    for command in ["members", "status"] {
        let output = run(&[command, "--admin", &address]);
        ended_with(&output, 3);
        let stderr = text(&output.stderr);
        assert!(stderr.contains(&address) && stderr.lines().count() == 1, "{stderr}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn the_admin_address_comes_from_the_environment_too() {
    let output = support::rdbnet(&["status"]).env("RUSTYDB_ADMIN", "nonsense").output().expect("starts");
    ended_with(&output, 2);
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    ended_with(&run(&[]), 2);
    ended_with(&run(&["nod"]), 2);
    ended_with(&run(&["status", "--output", "yaml"]), 2);
    let help = run(&["--help"]);
    ended_with(&help, 0);
    let help = text(&help.stdout);
    assert!(help.contains("Exit codes:") && help.contains("demo ") && !help.contains("demo-node"), "{help}");
    ended_with(&run(&["--version"]), 0);
}

#[test]
fn the_default_configuration_passes_the_check() {
    let default = run(&["config", "default"]);
    ended_with(&default, 0);
    let file = Scratch::new("default.toml", &text(&default.stdout));
    let check = run(&["config", "check", file.path()]);
    ended_with(&check, 0);
    assert_eq!(text(&check.stdout), format!("{} is valid\n", file.path()));
    let json = run(&["config", "default", "--output", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("one document");
    assert_eq!(json["configuration"].as_str(), Some(text(&default.stdout).as_str()));
}

#[test]
fn everything_that_is_wrong_with_a_configuration_is_told_with_code_6() {
    let file = Scratch::new("wrong.toml", "[networking]\nmax_conections = 5\nbind_address = 'nowhere'\n");
    for arguments in [["config", "check", file.path()], ["node", "--config", file.path()]] {
        let output = run(&arguments);
        ended_with(&output, 6);
        let stderr = text(&output.stderr);
        assert_eq!(stderr.lines().count(), 2, "{stderr}");
        assert!(stderr.contains("wrong.toml:2:1") && stderr.contains("networking.bind_address"), "{stderr}");
        assert_eq!(text(&output.stdout), "");
    }
    let output = run(&["config", "check", file.path(), "--output", "json"]);
    ended_with(&output, 6);
    let found: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&found["valid"], found["errors"].as_array().map(Vec::len)), (&Value::Bool(false), Some(2)));
    assert_eq!(found["errors"][1]["key"], "networking.bind_address");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let output = run(&["node", "--config", "/nonexistent/rdbnet.toml"]);
    ended_with(&output, 6);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("/nonexistent/rdbnet.toml") && stderr.lines().count() == 1, "{stderr}");
    ended_with(&run(&["node", "--set", "networking.max_conections=5"]), 6);
}

#[test]
fn a_completion_script_goes_to_stdout() {
    let output = run(&["completions", "bash"]);
    ended_with(&output, 0);
    assert!(text(&output.stdout).contains("_rdbnet"));
}
