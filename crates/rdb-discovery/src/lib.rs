//! One meaning for every discovery source.
//!
//! A file, a DNS name, an etcd prefix and a Consul service answer in different shapes and fail in different ways. Each backend
//! turns what it hears into four inputs of one pure machine, the [`Reconciler`], and everything behind it sees the same
//! stream: first a [`Snapshot`], then [`DiscoveryEvent::Added`], [`Updated`](DiscoveryEvent::Updated) and
//! [`Removed`](DiscoveryEvent::Removed), and how much the list can be trusted in
//! [`Degraded`](DiscoveryEvent::Degraded) and [`Restored`](DiscoveryEvent::Restored).
//!
//! What holds for every source, whatever it does:
//!
//! * Folding the events over the first snapshot gives the list that [`Reconciler::snapshot`] shows.
//! * The last good list survives any number of failures; only its [`Freshness`] changes.
//! * An empty answer and a mass removal are held until the source has confirmed them ([`Policy`]); nodes that are new in the
//!   same answer are told at once.
//! * No event without a change, and changes of one step come in ascending order of their [`NodeKey`].
//! * Nodes, queues and subscribers are bounded, and [`ReconcilerStats`] counts what a bound has refused.
//!
//! A backend owns a [`Reconciler`] and a [`Feed`]. It feeds the first, calls [`Feed::publish`] after each input, and hands
//! out the streams of the second: [`EventStream`] with everything, [`MembershipStream`] with the specification's
//! [`MembershipEvent`](rdb_net_types::MembershipEvent). A subscriber that lags is given a fresh snapshot instead of the
//! changes it missed; it never delays the backend or other subscribers. [`DiscoverySource`] is the specification's
//! [`ServiceDiscovery`](rdb_net_types::ServiceDiscovery) with the whole of that meaning.
//!
//! Beside the list: [`Registration`] keeps one node at a source, [`NodeDocument`] is how it stands there, [`Merge`] makes one
//! source of several, [`Gathering`] waits for a number of nodes, and [`LastGood`] is a list for the next life of the process.
//!
//! ```
//! use std::time::Duration;
//! use rdb_discovery::{Cause, DiscoveryEvent, Freshness, Policy, Reconciler};
//! use rdb_net_types::NodeInfo;
//!
//! let seconds = Duration::from_secs;
//! let mut reconciler = Reconciler::new(Policy::remote(), seconds(0));
//! let node = NodeInfo::seed("node1:7000".parse().expect("an address"));
//! reconciler.handle_full(seconds(1), vec![node]);
//! assert!(matches!(reconciler.poll_event(), Some(DiscoveryEvent::Snapshot(list)) if list.nodes.len() == 1));
//!
//! reconciler.handle_failure(seconds(2), Cause::unavailable("no name server answers"));
//! reconciler.handle_timeout(seconds(3));
//! assert!(matches!(reconciler.poll_event(), Some(DiscoveryEvent::Degraded { .. })));
//! assert_eq!(reconciler.snapshot().nodes.len(), 1);
//! assert!(matches!(reconciler.snapshot().freshness, Freshness::Stale { .. }));
//! ```

mod document;
mod event;
mod feed;
mod gathering;
mod guard;
mod last_good;
mod membership;
mod merge;
mod policy;
mod reconciler;
mod registration;
mod source;
mod stats;

pub use document::{DOCUMENT_BYTES_MAX, DOCUMENT_SCHEMA, DocumentError, NodeDocument};
pub use event::{Cause, Delta, DiscoveryEvent, Freshness, NodeKey, RemovalReason, Snapshot};
pub use feed::{EventStream, Feed, FeedConfig, FeedError, MembershipStream};
pub use gathering::Gathering;
pub use last_good::{LastGood, LastGoodError, LastGoodStore};
pub use membership::MembershipView;
pub use merge::Merge;
pub use policy::{Confirmation, MassRemoval, Policy};
pub use reconciler::Reconciler;
pub use registration::{
    Registration, RegistrationCommand, RegistrationConfig, RegistrationState, RegistrationStats, gives_way,
};
pub use source::{Capabilities, DiscoverySource};
pub use stats::ReconcilerStats;
