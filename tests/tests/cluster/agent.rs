//! Consul's agent of the tests as a source through which nodes find each other.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rdb_discovery_consul::test_agent::{Stream, TestAgent};
use rdb_net_tests::{ask, closed_port};

use super::{Backend, PATIENCE};

/// An agent that forgets everything with each restart.
pub(super) struct Agent {
    address: SocketAddr,
    agent: Option<TestAgent>,
}

impl Agent {
    /// One that is not started.
    pub(super) fn prepare() -> Self {
        Self { address: closed_port(), agent: None }
    }

    /// The body of a good answer of the agent.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let (status, told) = ask(self.address, method, path, body).expect("the agent answers");
        assert_eq!(status, 200, "{method} {path}: {told}");
        told
    }
}

impl Backend for Agent {
    fn kind(&self) -> &'static str {
        "consul"
    }

    fn settings(&self) -> Vec<String> {
        vec![
            "networking.service_discovery.type=consul".to_owned(),
            format!("networking.service_discovery.consul.agent=http://{}", self.address),
            "networking.service_discovery.consul.check_ttl_ms=3000".to_owned(),
        ]
    }

    fn list(&mut self, _: &[SocketAddr]) {}

    fn kill(&mut self) {
        self.agent = None;
    }

    fn launch(&mut self) {
        // The former one's listener goes with its thread.
        let until = Instant::now() + PATIENCE;
        while TcpListener::bind(self.address).is_err() {
            assert!(Instant::now() < until, "{} stays taken", self.address);
            std::thread::yield_now();
        }
        let plain = Box::new(|socket: TcpStream| Ok(Box::new(socket) as Box<dyn Stream>));
        self.agent = Some(TestAgent::start_with(&self.address.to_string(), plain));
    }

    fn promise(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn add(&mut self, number: usize, node: SocketAddr) {
        let document = serde_json::json!({"schema": 1, "id": format!("x{number}"), "address": node.to_string()});
        let service = serde_json::json!({
            "ID": format!("rustydb-x{number}"), "Name": "rdb-rustydb", "Address": node.ip().to_string(), "Port": node.port(),
            "Meta": {"rdb_json_0": document.to_string()}, "Check": {"TTL": "60s", "Status": "passing"},
        });
        self.ask("PUT", "/v1/agent/service/register", &service.to_string());
    }

    fn has_registered(&self, id: &str) -> Option<bool> {
        Some(self.ask("GET", "/v1/agent/services", "").contains(&format!("\"rustydb-{id}\"")))
    }
}
