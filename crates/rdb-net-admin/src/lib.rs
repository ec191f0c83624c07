//! The admin listener of a node: REST, probes and the Prometheus endpoint over the control plane.
//!
//! | route | answer |
//! |---|---|
//! | `GET /api/v1/network/health` | [`HealthView`](views::HealthView); 503 when the node is unhealthy |
//! | `GET /api/v1/network/status` | [`StatusView`](views::StatusView): the node in one screen |
//! | `GET /api/v1/network/topology` | [`TopologyView`](views::TopologyView): every member |
//! | `GET /api/v1/network/peers` | [`PeersView`](views::PeersView): the other members, with traffic |
//! | `GET /api/v1/network/peers/{node_id}` | [`PeerView`](views::PeerView): one of them |
//! | `GET /api/v1/network/discovery` | [`DiscoveryView`](views::DiscoveryView): each source, its age and list, and the node's registration there |
//! | `POST /api/v1/network/join` | [`JoinRequest`](views::JoinRequest) to [`DoneView`](views::DoneView) |
//! | `POST /api/v1/network/leave` | nothing or `{}` to [`DoneView`](views::DoneView) |
//! | `POST /api/v1/network/forget` | [`ForgetRequest`](views::ForgetRequest) to [`DoneView`](views::DoneView) |
//! | `GET /api/v1/network/security` | [`SecurityView`](views::SecurityView): certificates and gossip keys, no secrets |
//! | `POST /api/v1/network/security/reload` | nothing or `{}` to [`DoneView`](views::DoneView): reads the certificates' files now |
//! | `POST /api/v1/network/configuration/reload` | nothing or `{}` to [`ReloadedView`](views::ReloadedView) |
//! | `POST /api/v1/network/security/rotate-gossip-key` | nothing or `{}` to [`DoneView`](views::DoneView) |
//! | `GET /metrics` | OpenMetrics 1.0 or the Prometheus text format 0.0.4, as `Accept` asks |
//! | `GET /livez` | 200 while the process serves requests at all, whatever the cluster does |
//! | `GET /readyz` | 200 once the node has joined, 503 before and after |
//!
//! Whatever is not a success is a [`ProblemView`](views::ProblemView) as `application/problem+json` (RFC 9457); the probes'
//! 503 is a [`ProbeView`](views::ProbeView).
//!
//! The listener binds loopback addresses only. Loopback is no boundary against the browser of whoever works on the machine:
//! a request whose `Host` is not a loopback name is refused (DNS rebinding), and what changes something must be a `POST` with
//! `content-type: application/json` and without a foreign `Origin` (cross-site requests).
//!
//! Bounds: 64 connections, 300 seconds a connection, 10 seconds for a request's header and for its body, 64 KiB a body, eight
//! operations at a time, 30 seconds of waiting for one; 2,000 peers and 64 application message types with a label of their
//! own in the metrics.

mod error;
mod guard;
mod metrics;
mod problem;
mod routes;
mod server;
pub mod views;

pub use error::AdminError;
pub use server::AdminServer;

#[cfg(test)]
mod tests;
