//! Waiting until a cluster is there.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use futures_core::Stream;
use rdb_discovery::{DiscoverySource, Gathering};
use rdb_net_types::{NetworkError, NodeInfo};
use tokio::time::{Instant, sleep_until};

/// Why nobody waits any longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// The source is not running, or takes no more subscribers.
    #[error(transparent)]
    Source(#[from] NetworkError),
    /// The nodes did not come, or did not stay, within the time. The list is unharmed; whoever waits may wait again.
    #[error("{found} of {expected} nodes are there, or not for long enough, after {waited:?}")]
    Incomplete {
        /// Nodes that are there.
        found: usize,
        /// Nodes that were waited for.
        expected: usize,
        /// How long that was.
        waited: Duration,
    },
}

/// Waits until the source names this many nodes and the same ones for the margin, but not longer than this; returns them.
///
/// # Errors
///
/// [`GatherError::Incomplete`] when time has run out, [`GatherError::Source`] when the source has ended.
///
/// # Cancel safety
///
/// Waiting changes nothing.
pub async fn wait_for(
    source: &dyn DiscoverySource,
    expected: usize,
    stable_margin: Duration,
    limit: Duration,
) -> Result<Vec<NodeInfo>, GatherError> {
    let mut events = source.watch_events()?;
    let start = Instant::now();
    let mut gathering = Gathering::new(expected, stable_margin);
    loop {
        let complete = gathering.complete_at().filter(|at| *at <= limit);
        tokio::select! {
            biased;
            event = poll_fn(|context| pin!(&mut events).poll_next(context)) => match event {
                Some(event) => gathering.handle_event(start.elapsed(), &event),
                None => return Err(GatherError::Source(NetworkError::NotRunning { component: "ServiceDiscovery" })),
            },
            () = sleep_until(start + complete.unwrap_or(limit)) => {
                if complete.is_some() {
                    return Ok(source.snapshot().nodes.iter().map(|node| NodeInfo::clone(node)).collect());
                }
                return Err(GatherError::Incomplete { found: gathering.count(), expected, waited: limit });
            }
        }
    }
}
