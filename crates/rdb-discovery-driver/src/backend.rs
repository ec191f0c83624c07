//! The seam: what a kind of source brings.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::{Capabilities, Cause};
use rdb_net_types::{BoxFuture, NodeInfo};

use crate::Voice;

/// One kind of source, configured.
pub trait Backend: Send + Sync + 'static {
    /// The name of its component, as errors show it: `EtcdDiscovery`.
    fn component(&self) -> &'static str;

    /// The name of the source, as logs and metrics show it: `etcd`.
    fn source_name(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Follows the source, and tells the voice what it hears. It goes on whatever the source does, backs off by itself, and ends
    /// only by being dropped, which may be at any time.
    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()>;

    /// What registers a node at the source; `None` where nodes cannot register themselves.
    fn registrar(&self) -> Option<Box<dyn Registrar>> {
        None
    }
}

/// Keeps the promise of one source for one node. One call at a time; a call may be dropped at any time, and counts as failed.
pub trait Registrar: Send {
    /// Writes the node, unless another process holds its name; returns how long the promise holds. `anew` where nothing is known
    /// of a former promise.
    ///
    /// # Errors
    ///
    /// Each kind of [`RegistrationFault`].
    fn write(&mut self, node: Arc<NodeInfo>, anew: bool) -> BoxFuture<'_, Result<Duration, RegistrationFault>>;

    /// Renews the promise; returns how long it holds from now.
    ///
    /// # Errors
    ///
    /// [`RegistrationFault::Lapsed`] and [`RegistrationFault::Failed`].
    fn renew(&mut self) -> BoxFuture<'_, Result<Duration, RegistrationFault>>;

    /// Takes the node out of the source, if what stands there is this process's.
    ///
    /// # Errors
    ///
    /// [`RegistrationFault::Failed`], and it is tried again.
    fn withdraw(&mut self) -> BoxFuture<'_, Result<(), RegistrationFault>>;
}

/// Why a command of a registration had no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationFault {
    /// The source answers, and knows nothing of the promise. The node is written anew.
    #[error("the registration is gone: {0}")]
    Lapsed(Cause),
    /// Another process holds the name. An operator must act.
    #[error("another process is registered by this name: {other}")]
    Conflict {
        /// What is known of it.
        other: Arc<str>,
    },
    /// The source could not be asked, or refused. It is tried again.
    #[error(transparent)]
    Failed(#[from] Cause),
}
