//! The standard traits. They are object-safe facades: a component is whole after its constructor, takes `&self`, and may be
//! held as `Arc<dyn …>`. Hot paths use the inherent interfaces of their crates.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use futures_core::Stream;

use crate::{
    ClusterId, ClusterMessage, HealthStatus, Hidden, MembershipEvent, NodeAddress, NodeId, NodeInfo, NodeState,
    RefusalReason, RequestError, SelectionCriteria,
};

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A boxed stream.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// What can go wrong behind the standard traits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A message had no success; its effect says whether it may be sent again.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The component could not be started. Nothing runs; the text names the thing and the key at fault.
    #[error("{component} cannot start: {problem}")]
    Start {
        /// Which component.
        component: &'static str,
        /// What is wrong, naming the thing and the configuration key.
        problem: String,
    },
    /// This component does not do this; asking again will not help.
    #[error("{component} does not support {operation}")]
    Unsupported {
        /// Which component.
        component: &'static str,
        /// What was asked.
        operation: &'static str,
    },
    /// The component is not running: not started yet, or shut down.
    #[error("{component} is not running")]
    NotRunning {
        /// Which component.
        component: &'static str,
    },
    /// No member has this id.
    #[error("no member has the node id {node}")]
    UnknownNode {
        /// The id.
        node: NodeId,
    },
    /// A source outside this process did not do its part. Trying again later may help.
    #[error("{component}: {problem}")]
    Backend {
        /// Which component.
        component: &'static str,
        /// What happened.
        problem: String,
    },
}

/// Something with a life: started once, asked how it is, shut down once.
pub trait Component: Send + Sync {
    /// Starts the component. Starting what runs changes nothing.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Start`] names what is at fault; nothing is left running.
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>>;

    /// Stops the component and everything it started. Stopping what does not run changes nothing.
    ///
    /// # Errors
    ///
    /// When something did not end within its deadline and was cut off.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>>;

    /// How the component is.
    fn health_check(&self) -> HealthStatus;
}

/// Sends and receives messages by address.
pub trait NetworkTransport: Component {
    /// Queues a one-way message. `Ok` means queued; use a request with an empty reply where the effect must be known.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Request`] with the effect and the reason.
    fn send<'a>(
        &'a self,
        address: &'a NodeAddress,
        message: &'a ClusterMessage,
    ) -> BoxFuture<'a, Result<(), NetworkError>>;

    /// Waits for the next message that no handler was registered for, and the advertised address of the node it came from.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotRunning`] once the transport is shut down.
    fn receive(&self) -> BoxFuture<'_, Result<(NodeAddress, ClusterMessage), NetworkError>>;

    /// Asks the node at this address whether it is there, and measures how long the answer takes.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Request`] with the reason.
    fn ping<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<std::time::Duration, NetworkError>>;
}

/// Finds nodes, and tells others of this one.
pub trait ServiceDiscovery: Component {
    /// Tells the source of this node.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Unsupported`] where the source takes no registrations, [`NetworkError::Backend`] where it failed.
    fn register_node<'a>(&'a self, node: &'a NodeInfo) -> BoxFuture<'a, Result<(), NetworkError>>;

    /// The nodes that the source knows; the last good answer while the source is away.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Backend`] where the source has never answered.
    fn discover_nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, NetworkError>>;

    /// The changes from here on. Nodes that are known already come first, as joined.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotRunning`] before the start and after the shutdown.
    fn watch_changes(&self) -> BoxFuture<'_, Result<BoxStream<MembershipEvent>, NetworkError>>;
}

/// Watches how the nodes of a cluster are.
pub trait HealthMonitor: Component {
    /// Asks this node now.
    ///
    /// # Errors
    ///
    /// [`NetworkError::UnknownNode`] where no member has this id.
    fn check_health<'a>(&'a self, node_id: &'a NodeId) -> BoxFuture<'a, Result<HealthStatus, NetworkError>>;

    /// The nodes that are unhealthy, by ascending id.
    fn get_unhealthy_nodes(&self) -> Vec<NodeId>;
}

/// Chooses a node.
pub trait LoadBalancer: Component {
    /// A node that fits, or none.
    fn select_node(&self, criteria: &SelectionCriteria) -> Option<NodeId>;

    /// Sets weights by node; an entry that is no legal [`Weight`](crate::Weight) is refused by itself, and counted.
    fn update_weights(&self, weights: HashMap<NodeId, f64>);
}

/// Who belongs to the cluster.
pub trait ClusterMembership: Component {
    /// The members, by ascending id, this node included, failed and left ones too.
    fn get_members(&self) -> Vec<NodeInfo>;

    /// Asks membership to hold a node in another state. A request: only the membership protocol decides, and a node that is
    /// there refutes.
    fn update_member_state(&self, node_id: &NodeId, state: NodeState);

    /// Joins the cluster through the first of these seeds that answers.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Backend`] when no seed answered; retries go on in the background.
    fn join_cluster(&self, seeds: Vec<NodeAddress>) -> BoxFuture<'_, Result<(), NetworkError>>;
}

/// What a connecting node shows.
pub struct Credentials<'a> {
    /// The end-entity certificate (DER), where TLS is on and the peer has one.
    pub certificate: Option<&'a [u8]>,
    /// The cluster that the hello names.
    pub cluster: &'a ClusterId,
    /// The node that the hello claims to be.
    pub claimed: &'a NodeId,
    /// The bytes that the hello carries for the authenticator.
    pub token: &'a [u8],
}

/// Without the token.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate, cluster, claimed, token } = self;
        f.debug_struct("Credentials")
            .field("certificate", &certificate.map(Hidden))
            .field("cluster", cluster)
            .field("claimed", claimed)
            .field("token", &Hidden(token))
            .finish()
    }
}

/// What a proved identity may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A member of the cluster.
    Node,
    /// Sends requests, is no member.
    Client,
    /// May operate the cluster.
    Admin,
}

/// Who somebody is, proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The proved node id.
    pub node: NodeId,
    /// What it may do.
    pub roles: Vec<Role>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {}", crate::Visible(detail))]
pub struct Refusal {
    /// The reason, as the peer is told it.
    pub reason: RefusalReason,
    /// More words, for this side's log only.
    pub detail: String,
}

/// Decides who a connecting node is. The plug-in point for authentication of one's own.
pub trait Authenticator: Send + Sync {
    /// Who this is.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], whose reason the peer is told and whose detail it is not.
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, Refusal>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each trait can be held as an object: this compiles or it does not.
    #[test]
    fn every_trait_is_object_safe() {
        fn object<T: ?Sized>() -> usize {
            size_of::<&T>()
        }
        let sizes = [
            object::<dyn Component>(),
            object::<dyn NetworkTransport>(),
            object::<dyn ServiceDiscovery>(),
            object::<dyn HealthMonitor>(),
            object::<dyn LoadBalancer>(),
            object::<dyn ClusterMembership>(),
            object::<dyn Authenticator>(),
        ];
        assert!(sizes.iter().all(|size| *size == 2 * size_of::<usize>()));
    }
}
