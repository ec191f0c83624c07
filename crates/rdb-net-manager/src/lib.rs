//! The networking layer of a node in one piece: configuration, wiring, lifecycle, event bus and control plane.
//!
//! A [`NetworkManager`] is made from a [`config::Config`], given its handlers, and started; from then on it carries messages
//! to the members of its cluster and tells what happens to them. All of its decisions are `rdb-net-engine`'s, which is pure;
//! here are sockets, tasks and clocks.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use rdb_net_manager::config::Loader;
//! use rdb_net_manager::{Answer, HandlerOptions, Handling, NetworkManager, Request};
//! use rdb_net_types::{MessageType, NodeId};
//!
//! let manager = NetworkManager::new(Loader::new().file("node.toml").load()?)?;
//! let answer = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
//! manager.handle(MessageType::FIRST_APPLICATION, Arc::new(answer), HandlerOptions::default());
//! manager.start().await?;
//! manager.wait_joined().await;
//! # Ok(())
//! # }
//! ```

#[cfg(all(test, feature = "tcp", feature = "discovery-static"))]
mod cluster_tests;
pub mod config;
mod control;
mod error;
mod events;
mod facade;
mod following;
mod gather;
#[cfg(feature = "secure")]
mod keys;
#[cfg(feature = "secure")]
mod last_good;
mod manager;
#[cfg(feature = "secure")]
mod memory;
mod messages;
mod node;
mod plane;
mod pump;
mod reload;
#[cfg(all(test, feature = "tcp"))]
mod reload_tests;
#[cfg(feature = "secure")]
mod seal;
#[cfg(feature = "secure")]
mod security;
mod sources;
mod way;
mod wiring;

pub use control::{
    CertificateView, ControlError, ControlPlane, DiscoveryView, GossipKeyView, NetworkEvent, NetworkStatistics,
    PartitionView, PeerView, RegistrationView, SecurityView, SourceState, SourceView, SplitBrainView, Topology,
};
pub use error::{FatalError, StartError};
pub use events::EventSubscription;
pub use gather::{CorrelationId, NodeOutcome};
pub use manager::{Addresses, NetworkManager};
pub use rdb_net_transport::{
    Answer, AnswerStream, CallOptions, Handler, HandlerError, HandlerOptions, Handling, Reply, ReplyStream, Request,
    StreamOptions,
};
pub use reload::Reloaded;
pub use sources::configured_sources;
