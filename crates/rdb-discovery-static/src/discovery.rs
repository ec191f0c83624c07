//! The component: its life, and the standard traits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdb_discovery::{
    Capabilities, DiscoverySource, EventStream, Feed, FeedError, Freshness, ReconcilerStats, Snapshot,
};
use rdb_net_types::{
    BoxFuture, BoxStream, Component, HealthStatus, MembershipEvent, NetworkError, NodeInfo, ServiceDiscovery,
};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::driver::{Driver, Gauges, Shared};
use crate::{ConfigError, StaticConfig};

const NAME: &str = "StaticDiscovery";

/// What a static source has seen and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StaticStatistics {
    /// What became of what was read.
    pub reconciler: ReconcilerStats,
    /// Looks at the file.
    pub reads: u64,
    /// Whether the file's directory is watched at this time.
    pub watching: bool,
    /// Times that a subscriber lagged and was given the difference instead of each change.
    pub lagged: u64,
}

/// Where the component is in its life.
#[derive(Debug, Clone)]
enum Phase {
    New,
    Starting,
    Running,
    /// The start failed; it may be tried again.
    Failed(NetworkError),
    Stopped,
}

/// Discovery from seeds and a file. See the [crate](crate) for the format and what a bad file does.
///
/// It starts once: after a shutdown its streams have ended, and a new one must be made. Dropping it ends its task too.
#[derive(Debug)]
pub struct StaticDiscovery {
    shared: Shared,
    cancel: CancellationToken,
    phase: Arc<watch::Sender<Phase>>,
}

impl StaticDiscovery {
    /// A source that has not started.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the key at fault. The file is not looked at.
    pub fn new(config: StaticConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let shared = Shared {
            origin: tokio::time::Instant::now(),
            feed: Feed::new(config.feed),
            config: Arc::new(config),
            gauges: Arc::new(Gauges::default()),
            tracker: TaskTracker::new(),
        };
        Ok(Self { shared, cancel: CancellationToken::new(), phase: Arc::new(watch::Sender::new(Phase::New)) })
    }

    /// The list, how old it is, and how much it can be trusted. Its times count from when the source was made.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.feed.snapshot()
    }

    /// Everything from here on, with the reasons of removals and the state of the file; first the snapshot.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotRunning`] before the start and after the shutdown, [`NetworkError::Backend`] where all subscribers
    /// that are allowed are there.
    pub fn watch_events(&self) -> Result<EventStream, NetworkError> {
        self.check_running()?;
        self.shared.feed.subscribe().map_err(|error| match error {
            FeedError::Closed => NetworkError::NotRunning { component: NAME },
            other => NetworkError::Backend { component: NAME, problem: other.to_string() },
        })
    }

    /// What was seen and done so far.
    pub fn statistics(&self) -> StaticStatistics {
        StaticStatistics {
            reconciler: self.shared.feed.stats(),
            reads: self.shared.gauges.reads.load(Ordering::Relaxed),
            watching: self.shared.gauges.watching.load(Ordering::Relaxed),
            lagged: self.shared.feed.lagged(),
        }
    }

    fn check_running(&self) -> Result<(), NetworkError> {
        match &*self.phase.borrow() {
            Phase::Running => Ok(()),
            _ => Err(NetworkError::NotRunning { component: NAME }),
        }
    }

    /// Starts the task unless it runs, and waits for its first look at the file.
    async fn start(&self) -> Result<(), NetworkError> {
        self.phase.send_if_modified(|phase| {
            let start = matches!(phase, Phase::New | Phase::Failed(_));
            if start {
                *phase = Phase::Starting;
                // Under the lock of the phase, so that a shutdown either prevents the task or waits for it.
                let task = live(self.shared.clone(), self.cancel.clone(), Arc::clone(&self.phase));
                self.shared.tracker.spawn(task.instrument(tracing::info_span!("static_discovery")));
            }
            start
        });
        let mut phases = self.phase.subscribe();
        let phase = phases.wait_for(|phase| !matches!(phase, Phase::Starting)).await;
        match phase.as_deref() {
            Ok(Phase::Running) => Ok(()),
            Ok(Phase::Failed(error)) => Err(error.clone()),
            _ => Err(NetworkError::NotRunning { component: NAME }),
        }
    }

    async fn stop(&self) -> Result<(), NetworkError> {
        self.phase.send_if_modified(|phase| {
            let running = matches!(phase, Phase::Starting | Phase::Running);
            if running {
                *phase = Phase::Stopped;
            }
            running
        });
        if matches!(&*self.phase.borrow(), Phase::New | Phase::Failed(_)) {
            return Ok(());
        }
        self.cancel.cancel();
        self.shared.tracker.close();
        let limit = self.shared.config.shutdown_timeout;
        timeout(limit, self.shared.tracker.wait()).await.map_err(|_| NetworkError::Backend {
            component: NAME,
            problem: format!("a read of the file did not end within {limit:?} and was left behind"),
        })
    }
}

impl Drop for StaticDiscovery {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The life of the task.
async fn live(shared: Shared, cancel: CancellationToken, phase: Arc<watch::Sender<Phase>>) {
    let ending = Ending { feed: shared.feed.clone(), phase };
    let mut driver = Driver::new(shared);
    match cancel.run_until_cancelled(driver.start()).await {
        Some(Ok(())) => {
            ending.begin();
            cancel.run_until_cancelled(driver.run()).await;
            driver.stop().await;
        }
        Some(Err(error)) => {
            driver.stop().await;
            ending.fail(NetworkError::Start { component: NAME, problem: format!("file: {error}") });
        }
        None => driver.stop().await,
    }
}

/// Leaves the phase and the streams right however the task ends.
struct Ending {
    feed: Feed,
    phase: Arc<watch::Sender<Phase>>,
}

impl Ending {
    fn begin(&self) {
        self.advance(Phase::Running);
    }

    fn fail(self, error: NetworkError) {
        self.advance(Phase::Failed(error));
    }

    /// A shutdown that came meanwhile stands.
    fn advance(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let starting = matches!(phase, Phase::Starting);
            if starting {
                *phase = next;
            }
            starting
        });
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the task of static discovery panicked, the list no longer follows its file");
        }
        let ended = self.phase.send_if_modified(|phase| {
            let live = matches!(phase, Phase::Starting | Phase::Running);
            if live {
                *phase = Phase::Stopped;
            }
            live
        });
        if ended || matches!(&*self.phase.borrow(), Phase::Stopped) {
            self.feed.close();
        }
    }
}

impl Component for StaticDiscovery {
    /// Reads the file and begins to watch it.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Start`] names the file, the place and the key; it may be called again once that is mended.
    /// [`NetworkError::NotRunning`] after a shutdown.
    ///
    /// # Cancel safety
    ///
    /// Cancelling the wait does not cancel the start.
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.start())
    }

    /// Ends the task, the watch and every stream, and waits for them.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Backend`] when a read hangs longer than [`StaticConfig::shutdown_timeout`].
    ///
    /// # Cancel safety
    ///
    /// Cancelling the wait does not cancel the shutdown; calling it again waits again.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.stop())
    }

    /// Healthy while the list is what the file says, degraded while the last good one stands in for it.
    fn health_check(&self) -> HealthStatus {
        match &*self.phase.borrow() {
            Phase::New | Phase::Starting => HealthStatus::Unknown,
            Phase::Failed(_) | Phase::Stopped => HealthStatus::Unhealthy,
            Phase::Running => match self.snapshot().freshness {
                Freshness::Live => HealthStatus::Healthy,
                _ => HealthStatus::Degraded,
            },
        }
    }
}

impl ServiceDiscovery for StaticDiscovery {
    /// A file is written by its operator, not by the nodes in it.
    ///
    /// # Errors
    ///
    /// Always [`NetworkError::Unsupported`].
    fn register_node<'a>(&'a self, _node: &'a NodeInfo) -> BoxFuture<'a, Result<(), NetworkError>> {
        Box::pin(std::future::ready(Err(NetworkError::Unsupported { component: NAME, operation: "register_node" })))
    }

    /// The last good list, named nodes by ascending id before seeds by ascending address.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotRunning`] before the start and after the shutdown.
    fn discover_nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, NetworkError>> {
        let nodes = || self.snapshot().nodes.iter().map(|node| NodeInfo::clone(node)).collect();
        Box::pin(std::future::ready(self.check_running().map(|()| nodes())))
    }

    fn watch_changes(&self) -> BoxFuture<'_, Result<BoxStream<MembershipEvent>, NetworkError>> {
        let stream = self.watch_events().map(|events| Box::pin(events.membership()) as BoxStream<MembershipEvent>);
        Box::pin(std::future::ready(stream))
    }
}

impl DiscoverySource for StaticDiscovery {
    fn source_name(&self) -> &str {
        "static"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { registers: false, watches: self.shared.config.watch, names_nodes: true }
    }

    fn snapshot(&self) -> Snapshot {
        Self::snapshot(self)
    }

    fn answered_ago(&self) -> Option<std::time::Duration> {
        let snapshot = Self::snapshot(self);
        let has_answered = !matches!(snapshot.freshness, Freshness::Never { .. });
        has_answered.then(|| self.shared.origin.elapsed().saturating_sub(snapshot.as_of))
    }

    fn watch_events(&self) -> Result<EventStream, NetworkError> {
        Self::watch_events(self)
    }
}
