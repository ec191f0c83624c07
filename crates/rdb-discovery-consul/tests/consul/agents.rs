//! Real agents, where one is named; and what every test configures.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdb_discovery_consul::{ConsulConfig, ConsulDiscovery};
use rdb_discovery_driver::conformance::{skip, soon};
use rdb_net_types::{ClusterId, Component};

use crate::raw;

/// How long a server may take to answer. Only a broken one takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A cluster's name that no other test has, because a real agent may serve all of them.
pub(crate) fn cluster() -> ClusterId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    ClusterId::new(&format!("t{}-{next}", std::process::id())).expect("legal")
}

/// The defaults, with times for tests.
pub(crate) fn config(cluster: &ClusterId, url: &str) -> ConsulConfig {
    ConsulConfig {
        check_time_to_live: Duration::from_secs(3),
        wait: Duration::from_secs(2),
        probe_interval: Duration::from_millis(500),
        request_timeout: Duration::from_secs(2),
        retry_max: Duration::from_millis(500),
        ..ConsulConfig::new(cluster.clone(), url)
    }
}

/// A started source.
pub(crate) async fn started(config: ConsulConfig) -> ConsulDiscovery {
    let source = ConsulDiscovery::new(config).expect("a legal configuration");
    soon("a start", source.initialize()).await.expect("it starts");
    source
}

/// A real agent.
pub(crate) struct RealAgent {
    pub(crate) address: SocketAddr,
    process: Option<Child>,
}

impl RealAgent {
    /// The agent that `RDB_CONSUL_ADDR` names, or one of the program of `RDB_CONSUL_BIN`; none, with the reason told, where neither is
    /// set.
    pub(crate) fn start() -> Option<Self> {
        if let Ok(address) = std::env::var("RDB_CONSUL_ADDR") {
            let address =
                address.trim_start_matches("http://").parse().expect("RDB_CONSUL_ADDR: an address with a port");
            return Some(Self { address, process: None });
        }
        let Ok(program) = std::env::var("RDB_CONSUL_BIN") else {
            skip("neither RDB_CONSUL_BIN nor RDB_CONSUL_ADDR names a Consul agent");
            return None;
        };
        let port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = port().expect("a free port");
        let mut command = Command::new(program);
        command.args([
            "agent",
            "-dev",
            "-bind=127.0.0.1",
            "-client=127.0.0.1",
            &format!("-http-port={}", address.port()),
        ]);
        for port_of in ["grpc-port=-1", "grpc-tls-port=-1", "dns-port=-1"] {
            command.arg(format!("-{port_of}"));
        }
        for name in ["server", "serf-lan", "serf-wan"] {
            command.arg(format!("-{name}-port={}", port().expect("a free port").port()));
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("RDB_CONSUL_BIN starts");
        let agent = Self { address, process: Some(process) };
        let began = Instant::now();
        while !agent.has_leader() {
            assert!(began.elapsed() < DEADLINE, "the agent has no leader");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(agent)
    }

    fn has_leader(&self) -> bool {
        let ask = || raw::ask(self.address, "GET", "/v1/status/leader", "").1.len() > 2;
        std::net::TcpStream::connect(self.address).is_ok() && ask()
    }
}

impl Drop for RealAgent {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
