//! Why the admin listener does not start.

use std::io;

use rdb_net_types::NodeAddress;

/// The admin listener did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The address can be reached from other machines, and this listener asks nobody who they are. The configuration is at
    /// fault.
    #[error(
        "networking.admin.bind_address: {address} is no loopback address, and the admin listener serves this machine only; \
         use 127.0.0.1 or [::1]"
    )]
    NotLoopback {
        /// The address that was configured.
        address: NodeAddress,
    },
    /// The address cannot be bound: a port in use, a name that does not resolve. Trying again helps once whoever holds the
    /// port has ended.
    #[error("networking.admin.bind_address: cannot listen on {address}: {cause}")]
    Bind {
        /// The address that was configured.
        address: NodeAddress,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The server was shut down before; make a new one.
    #[error("the admin listener was shut down")]
    ShutDown,
}
