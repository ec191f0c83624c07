//! Why a node does not start, and why a running one has to stop.

use rdb_net_engine::EngineError;
use rdb_net_transport::ListenError;
use rdb_net_types::NodeId;

use crate::config::ConfigErrors;

/// A node that cannot start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration asks for something that it may not, or that this build cannot do.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// There is no transport in this build.
    #[error("no transport is built in: enable the cargo feature tcp of rdb-net-manager")]
    NoTransport,
    /// TLS cannot be set up.
    #[error("{0} (networking.tls)")]
    Tls(String),
    /// The node's certificate is another node's.
    #[error(
        "networking.node_id is {configured}, and the certificate in networking.tls.cert_path is that of {certified}: leave \
         node_id out, or use the certificate of {configured}"
    )]
    Identity {
        /// The configured name.
        configured: NodeId,
        /// The one in the certificate.
        certified: NodeId,
    },
    /// The shared secret cannot be read, or is none.
    #[error("{problem} ({key})")]
    SharedSecret {
        /// The key that names it.
        key: &'static str,
        /// The file or variable, and what is wrong with it.
        problem: String,
    },
    /// What is remembered over a restart cannot be reached.
    #[error("{path}: {problem} (networking.state)", path = path.display())]
    State {
        /// The folder.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// TLS is on or a secret is set, and the transport is not the built-in one.
    #[error(
        "networking.tls.enabled = true and networking.shared_secret go with the built-in transport only: another one brings its \
         own security"
    )]
    OwnTransport,
    /// The transport's address cannot be listened on.
    #[error("{0} (networking.bind_address)")]
    Listen(#[from] ListenError),
    /// The gossip address cannot be listened on.
    #[error("{0} (networking.gossip_address)")]
    Gossip(#[from] rdb_net_membership::BindError),
    /// The advertised host has no address.
    #[error("the advertised host {host} cannot be resolved: {problem} (networking.advertise_address)")]
    Advertise {
        /// The host.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// The node's description does not travel with membership.
    #[error("{0} (networking.node)")]
    Engine(#[from] EngineError),
    /// Discovery cannot start.
    #[error("{0} (networking.service_discovery)")]
    Discovery(String),
    /// The manager was started before and has been shut down.
    #[error("the manager has been shut down and cannot be started again")]
    ShutDown,
}

/// Why a running node has to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FatalError {
    /// Another live process in the cluster has this node's id.
    #[error("node id {node} is used by another live process at {address}: give one of them another networking.node_id")]
    DuplicateNode {
        /// The id.
        node: NodeId,
        /// The other process's gossip address.
        address: String,
    },
}
