//! How the other nodes are, as seen from this one.
//!
//! A [`Health`] machine asks nodes at an interval, takes traffic and membership probes as answers where there are any, retries
//! with backoff where there is none, and makes one status of it all:
//!
//! | signal | effect |
//! |---|---|
//! | pong, or [`EvidenceKind::Alive`](rdb_net_types::EvidenceKind) from any traffic | success; the next ping is put off by an interval |
//! | a ping that failed or was not answered in time | `Degraded`, and a retry with backoff; `failure_threshold` in a row: `Unhealthy` |
//! | `Refused`, `Reset`, `Silent` evidence | `Degraded`, and a ping at once; only failed pings go further |
//! | `PhiCrossed` evidence, membership suspects the node | a ping at once |
//! | `success_threshold` successes in a row | `Healthy` again |
//! | smoothed round trip above `degraded_latency` | at least `Degraded` |
//! | an application check | at least what it says |
//! | membership holds the node for failed | `Unhealthy`, and no pings until it is back |
//!
//! The machine is pure: `now` is the time since an origin of the driver's choice, and one seed replays one run. After each
//! input the driver polls [`Health::poll_ping`] and [`Health::poll_event`] until they are empty, and calls
//! [`Health::handle_timeout`] at [`Health::poll_timeout`]. It tells the outcome of each ping by its [`PingId`]; a ping that it
//! says nothing of counts as failed after its time-out.
//!
//! ```
//! use std::time::Duration;
//! use rdb_health::{Config, Health};
//! use rdb_net_types::{HealthStatus, NodeId};
//!
//! let node = NodeId::new("n1").expect("legal");
//! let mut health = Health::new(Config::default(), 7, Duration::ZERO);
//! health.watch(Duration::ZERO, &node);
//! let due = health.poll_timeout().expect("the first ping is due within an interval");
//! health.handle_timeout(due);
//! let ping = health.poll_ping(due).expect("it is due");
//! health.handle_pong(due + Duration::from_millis(2), ping.id, Duration::from_millis(2));
//! let event = health.poll_event().expect("the first answer");
//! assert_eq!((event.from, event.to), (HealthStatus::Unknown, HealthStatus::Healthy));
//! ```

mod config;
mod event;
mod health;
mod record;
mod schedule;

pub use config::{Config, Scope};
pub use event::{Cause, HealthEvent, Statistics};
pub use health::Health;
pub use record::NodeHealth;
pub use schedule::{Ping, PingId};

#[cfg(test)]
mod tests;
