//! In the place of Consul's agent in a build without it.

use std::net::SocketAddr;

use rdb_net_tests::skip_consul;

use crate::Server;

/// Tells that there is none.
pub(crate) fn start(_: SocketAddr) -> Option<Box<dyn Server>> {
    skip_consul();
    None
}

/// Tells that there is none.
pub(crate) fn start_both(host: SocketAddr) -> Option<Box<dyn Server>> {
    start(host)
}
