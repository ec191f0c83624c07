//! A discovery backend as the rest of the process holds it: the specification's trait, and the whole meaning behind it.

use rdb_net_types::{BoxFuture, NetworkError, ServiceDiscovery};

use crate::{EventStream, RegistrationState, Snapshot};

/// What a kind of source can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Nodes can register themselves there.
    pub registers: bool,
    /// The source reports changes by itself; else it is asked on a schedule.
    pub watches: bool,
    /// The source names nodes by their ids; else by addresses, and ids come with the first contact.
    pub names_nodes: bool,
}

/// A source of nodes with everything that it knows: what [`ServiceDiscovery`] tells, why a node is gone, how old the list is and
/// how far it can be trusted.
pub trait DiscoverySource: ServiceDiscovery {
    /// The name of the source, as configuration, logs and metrics show it: `etcd`.
    fn source_name(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The list, how old it is, and how much it can be trusted.
    fn snapshot(&self) -> Snapshot;

    /// How long ago the source last answered; `None` where it never has.
    fn answered_ago(&self) -> Option<std::time::Duration> {
        None
    }

    /// Everything from here on; first the snapshot.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotRunning`] before the start and after the shutdown, [`NetworkError::Backend`] where all subscribers
    /// that are allowed are there.
    fn watch_events(&self) -> Result<EventStream, NetworkError>;

    /// How this process's node stands at the source; `None` before it was registered.
    fn registration(&self) -> Option<RegistrationState> {
        None
    }

    /// Takes this process's node out of the source, after a grace in which others stop choosing it. Without a registration
    /// nothing happens.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Backend`] when the source did not take it; the registration is left to expire.
    fn withdraw_node(&self, grace: std::time::Duration) -> BoxFuture<'_, Result<(), NetworkError>> {
        let _ = grace;
        Box::pin(std::future::ready(Ok(())))
    }
}
