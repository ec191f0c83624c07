//! What a backend tells of its source, and what becomes of it: the reconciler behind a short lock, its clock, and its feed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdb_discovery::{Cause, Delta, DiscoveryEvent, Feed, Freshness, Reconciler};
use rdb_net_types::NodeInfo;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::DriverConfig;

/// Where a backend tells what it hears. Clones share it; no call blocks or waits.
#[derive(Debug, Clone)]
pub struct Voice {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    source: Arc<str>,
    origin: Instant,
    reconciler: Mutex<Reconciler>,
    feed: Feed,
    /// The next time-out of the reconciler may be another one.
    spoken: Notify,
    /// The source should be asked before its time.
    refresh: Notify,
    /// How often something was heard, good or bad.
    heard: watch::Sender<u64>,
}

impl Voice {
    pub(crate) fn new(source: &str, config: &DriverConfig) -> Self {
        let shared = Shared {
            source: source.into(),
            origin: Instant::now(),
            reconciler: Mutex::new(Reconciler::new(config.policy, Duration::ZERO)),
            feed: Feed::new(config.feed),
            spoken: Notify::new(),
            refresh: Notify::new(),
            heard: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The source has named all its nodes, in any order.
    pub fn full(&self, nodes: Vec<NodeInfo>) {
        self.tell(|reconciler, now| reconciler.handle_full(now, nodes));
    }

    /// Whatever was watched is lost, and the source has named all its nodes anew.
    pub fn resync(&self, nodes: Vec<NodeInfo>) {
        self.tell(|reconciler, now| reconciler.handle_resync(now, nodes));
    }

    /// The source says what it said before.
    pub fn unchanged(&self) {
        self.tell(Reconciler::handle_unchanged);
    }

    /// The source reports changes by itself.
    pub fn delta(&self, deltas: Vec<Delta>) {
        self.tell(|reconciler, now| reconciler.handle_delta(now, deltas));
    }

    /// The source did not answer, or not with sense.
    pub fn failure(&self, cause: Cause) {
        self.tell(|reconciler, now| reconciler.handle_failure(now, cause));
    }

    /// Several of these as one.
    pub(crate) fn tell(&self, input: impl FnOnce(&mut Reconciler, Duration)) {
        self.with(input);
        self.shared.heard.send_modify(|heard| *heard += 1);
        self.shared.spoken.notify_one();
    }

    /// Comes when removals are held and only a full answer of the source can confirm them. A backend that asks for full answers
    /// more often than every few seconds may ignore it.
    ///
    /// # Cancel safety
    ///
    /// A wish that came while nobody waited waits itself.
    pub async fn refresh_wanted(&self) {
        self.shared.refresh.notified().await;
    }

    /// Whether the source has ever answered.
    pub fn has_answered(&self) -> bool {
        !matches!(self.shared.feed.snapshot().freshness, Freshness::Never { .. })
    }

    pub(crate) fn remembered(&self, nodes: Vec<NodeInfo>, saved_ago: Duration) {
        self.with(|reconciler, now| reconciler.handle_remembered(now, nodes, saved_ago));
        self.shared.spoken.notify_one();
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    pub(crate) fn origin(&self) -> Instant {
        self.shared.origin
    }

    /// Comes when something was heard since the start, at once where that has been.
    pub(crate) async fn heard(&self) {
        // The sender lives as long as this.
        let _ = self.shared.heard.subscribe().wait_for(|heard| *heard > 0).await;
    }

    /// Keeps the reconciler's time. Never ends.
    pub(crate) async fn run(&self) {
        loop {
            let due = self.reconciler().poll_timeout();
            let due = due.map(|due| self.shared.origin + due);
            tokio::select! {
                () = self.shared.spoken.notified() => {}
                () = sleep_until(due.unwrap_or(self.shared.origin)), if due.is_some() => {
                    if self.with(|reconciler, now| {
                        reconciler.handle_timeout(now);
                        reconciler.poll_refresh()
                    }) {
                        self.shared.refresh.notify_one();
                    }
                }
            }
        }
    }

    fn with<T>(&self, input: impl FnOnce(&mut Reconciler, Duration) -> T) -> T {
        let mut reconciler = self.reconciler();
        let outcome = input(&mut reconciler, self.shared.origin.elapsed());
        // Under the lock, so that the events of two inputs keep their order.
        let events = self.shared.feed.publish(&mut reconciler);
        drop(reconciler);
        self.log(&events);
        outcome
    }

    fn log(&self, events: &[DiscoveryEvent]) {
        let (mut added, mut updated, mut removed) = (0, 0, 0);
        let source = &*self.shared.source;
        for event in events {
            match event {
                DiscoveryEvent::Snapshot(snapshot) => added += snapshot.nodes.len(),
                DiscoveryEvent::Added(_) => added += 1,
                DiscoveryEvent::Updated { .. } => updated += 1,
                DiscoveryEvent::Removed { .. } => removed += 1,
                DiscoveryEvent::Degraded { cause } => tracing::warn!(source, %cause, "discovery is degraded"),
                DiscoveryEvent::Restored => tracing::info!(source, "discovery is restored"),
                _ => {}
            }
        }
        if added + updated + removed > 0 {
            tracing::info!(source, added, updated, removed, "discovery changed");
        }
    }

    // A panic cannot leave it half changed in a way that matters more than the panic.
    fn reconciler(&self) -> MutexGuard<'_, Reconciler> {
        self.shared.reconciler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
