//! A node as a process: what it tells when it runs, and how it ends.

mod support;

use std::net::TcpListener;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{rdbnet, text};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);
const ANY_PORT: [&str; 4] = ["--set", "networking.bind_address=127.0.0.1:0", "--set", "networking.node_id=n1"];

/// A node that is killed when the test ends before it does.
struct Node {
    child: Child,
    started: Value,
}

impl Node {
    async fn start() -> Self {
        let arguments = [&["node", "--output", "json"][..], &ANY_PORT].concat();
        let mut command = Command::from(rdbnet(&arguments));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.as_mut().expect("piped"));
        timeout(DEADLINE, stdout.read_line(&mut line)).await.expect("tells that it runs").expect("readable");
        match serde_json::from_str(&line) {
            Ok(started) => Self { child, started },
            Err(error) => {
                child.start_kill().expect("a child");
                let mut log = String::new();
                let _ = child.stderr.take().expect("piped").read_to_string(&mut log).await;
                panic!("{error}: {line:?}\n{log}");
            }
        }
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().expect("runs").to_string();
        assert!(Command::new("kill").args([name, &id]).status().await.expect("kill is there").success());
    }

    async fn wait(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait()).await.expect("ends").expect("a child")
    }
}

async fn run(arguments: &[&str]) -> std::process::Output {
    timeout(DEADLINE, Command::from(rdbnet(arguments)).output()).await.expect("ends").expect("starts")
}

#[tokio::test]
async fn a_node_tells_where_it_is_answers_and_ends_with_0_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut node = Node::start().await;
        assert_eq!((&node.started["event"], &node.started["node_id"]), (&"started".into(), &"n1".into()));
        for name in ["address", "gossip", "admin"] {
            let address = node.started[name].as_str().expect(name);
            assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{name}: {address}");
        }
        let admin = node.started["admin"].as_str().expect("a text").to_owned();
        let members = run(&["members", "--admin", &admin]).await;
        assert!(text(&members.stdout).contains("n1"), "{}{}", text(&members.stdout), text(&members.stderr));
        node.signal(signal).await;
        assert_eq!(node.wait().await.code(), Some(0), "{signal}");
        assert_eq!(run(&["members", "--admin", &admin]).await.status.code(), Some(3));
    }
}

#[tokio::test]
async fn a_port_in_use_ends_the_node_with_one_line_that_names_it() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("bound").to_string();
    for key in ["networking.bind_address", "networking.admin.bind_address"] {
        let taken = format!("{key}={address}");
        let arguments = [&["node", "--log-level", "off"][..], &ANY_PORT, &["--set", &taken]].concat();
        let output = run(&arguments).await;
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let stderr = text(&output.stderr);
        assert!(stderr.contains(key) && stderr.contains(&address) && stderr.lines().count() == 1, "{stderr}");
        assert_eq!(text(&output.stdout), "");
    }
}
