//! What is simulated: how many nodes, with which settings, on what kind of network.

use std::time::Duration;

use rdb_net_engine::EngineConfig;
use rdb_net_faults::LinkFaults;
use rdb_net_peer::PeerConfig;

/// A simulation's settings. Equal settings and seeds give equal runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Hosts. Their processes are started one by one.
    pub nodes: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// The first so many nodes are the seeds that every node is given. Default 3.
    pub seeds: usize,
    /// How every link of the network is. Default [`LinkFaults::lan`].
    pub network: LinkFaults,
    /// Every node's control logic.
    pub engine: EngineConfig,
    /// Every node's dialing. By default no connection is idle or old: processes release by themselves what they do not use.
    pub peer: PeerConfig,
    /// Every connection.
    pub session: rdb_net_session::Config,
    /// How long a dial may take. Default 3 s.
    pub dial_timeout: Duration,
    /// How long sent bytes may stay unacknowledged before a connection is given up (TCP_USER_TIMEOUT). Default 10 s.
    pub unacknowledged_timeout: Duration,
    /// Bytes of datagrams that a host holds for a process which does not read, as a socket's buffer does. Default 208 KiB.
    pub datagram_buffer_bytes: usize,
    /// A bug that is planted in every process. Default none.
    #[cfg(feature = "mutations")]
    pub mutation: Option<rdb_swim::Mutation>,
}

impl Config {
    /// So many nodes on a local network, with default settings.
    pub fn lan(nodes: usize, seed: u64) -> Self {
        Self {
            nodes,
            seed,
            seeds: 3.min(nodes),
            network: LinkFaults::lan(),
            engine: EngineConfig::default(),
            peer: PeerConfig { idle_timeout: None, age_max: None, ..PeerConfig::default() },
            session: rdb_net_session::Config::default(),
            dial_timeout: Duration::from_secs(3),
            unacknowledged_timeout: Duration::from_secs(10),
            datagram_buffer_bytes: 208 * 1024,
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }
}
