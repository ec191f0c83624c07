//! The component: its life, and the standard traits over whatever backend it was given.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdb_discovery::{
    Capabilities, DiscoverySource, EventStream, FeedError, Freshness, ReconcilerStats, Registration, RegistrationState,
    RegistrationStats, Snapshot,
};
use rdb_net_types::{
    BoxFuture, BoxStream, Component, HealthStatus, MembershipEvent, NetworkError, NodeInfo, ServiceDiscovery,
};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::last_good::Keeping;
use crate::registering::{Handle, Wish, prepare};
use crate::{Backend, DriverConfig, Voice};

/// What a source has seen and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiscoveryStatistics {
    /// What became of what the source said.
    pub reconciler: ReconcilerStats,
    /// What became of this process's registration.
    pub registration: RegistrationStats,
    /// Times that a subscriber lagged and was given a snapshot instead of each change.
    pub lagged: u64,
    /// How long ago the source last answered.
    pub age: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Stopped,
}

/// A backend as a component.
///
/// It starts once: after a shutdown its streams have ended, and a new one must be made. Dropping it ends its tasks too, and
/// leaves a registration to expire.
pub struct Discovery {
    backend: Arc<dyn Backend>,
    config: DriverConfig,
    voice: Voice,
    keeping: Option<Keeping>,
    registering: Mutex<Option<Handle>>,
    phase: Arc<watch::Sender<Phase>>,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

impl Discovery {
    /// A source that has not started. The identity says what is asked of it, so that a saved list is not taken for that of
    /// another source: `etcd /rustydb/prod`.
    pub fn new(backend: Arc<dyn Backend>, identity: impl Into<String>, config: DriverConfig) -> Self {
        let voice = Voice::new(backend.source_name(), &config);
        let keep = |store| Keeping { store, source: identity.into(), age_max: config.last_good_age_max };
        Self {
            backend,
            voice,
            keeping: config.last_good.clone().map(keep),
            config,
            registering: Mutex::new(None),
            phase: Arc::new(watch::Sender::new(Phase::New)),
            cancel: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    /// What was seen and done so far.
    pub fn statistics(&self) -> DiscoveryStatistics {
        let feed = self.voice.feed();
        let registration = self.handle().map(|handle| handle.view().stats).unwrap_or_default();
        let age = self.voice.origin().elapsed().saturating_sub(feed.snapshot().as_of);
        DiscoveryStatistics { reconciler: feed.stats(), registration, lagged: feed.lagged(), age }
    }

    fn component(&self) -> &'static str {
        self.backend.component()
    }

    fn backend_error(&self, problem: impl ToString) -> NetworkError {
        NetworkError::Backend { component: self.component(), problem: problem.to_string() }
    }

    fn check_running(&self) -> Result<(), NetworkError> {
        match *self.phase.borrow() {
            Phase::Running => Ok(()),
            Phase::New | Phase::Stopped => Err(NetworkError::NotRunning { component: self.component() }),
        }
    }

    async fn start(&self) -> Result<(), NetworkError> {
        self.phase.send_if_modified(|phase| {
            let start = *phase == Phase::New;
            if start {
                *phase = Phase::Running;
                // Under the lock of the phase, so that a shutdown either prevents the tasks or waits for them.
                let task = follow(
                    Arc::clone(&self.backend),
                    self.voice.clone(),
                    self.keeping.clone(),
                    self.cancel.clone(),
                    Arc::clone(&self.phase),
                );
                let span = tracing::info_span!("discovery", source = self.backend.source_name());
                self.tracker.spawn(task.instrument(span));
            }
            start
        });
        self.check_running()?;
        // The source may be away: then it is followed all the same.
        let _ = timeout(self.config.start_wait, self.cancel.run_until_cancelled(self.voice.heard())).await;
        self.check_running()
    }

    async fn stop(&self) -> Result<(), NetworkError> {
        if *self.phase.borrow() == Phase::New {
            return Ok(());
        }
        let withdrawn = self.withdraw(Duration::ZERO).await;
        self.phase.send_replace(Phase::Stopped);
        self.cancel.cancel();
        self.tracker.close();
        let limit = self.config.shutdown_timeout;
        let ended = timeout(limit, self.tracker.wait()).await;
        self.voice.feed().close();
        ended
            .map_err(|_| self.backend_error(format!("its tasks did not end within {limit:?} and were left behind")))?;
        withdrawn
    }

    async fn register(&self, node: &NodeInfo) -> Result<(), NetworkError> {
        self.check_running()?;
        if node.provisional {
            return Err(
                self.backend_error(format!("{} has no name of its own, so it cannot be registered", node.address))
            );
        }
        let node = Arc::new(node.clone());
        let handle = match self.handle().filter(|handle| !handle.has_ended()) {
            Some(handle) if handle.wish(Wish::Node(Arc::clone(&node))).await => handle,
            _ => self.begin(node)?,
        };
        let settled = |state: &RegistrationState| {
            !matches!(state, RegistrationState::Registering { .. } | RegistrationState::Lost { .. })
        };
        let _ = timeout(self.config.register_wait, handle.wait_for(settled)).await;
        match handle.view().state {
            RegistrationState::Active { .. } => Ok(()),
            RegistrationState::Conflict { other, .. } => {
                Err(self.backend_error(format!("another process is registered by this node's name: {other}")))
            }
            RegistrationState::Registering { cause: Some(cause) } | RegistrationState::Lost { cause, .. } => {
                Err(self.backend_error(format!("not registered yet, and tried on: {cause}")))
            }
            other => Err(self.backend_error(format!("not registered: {}", other.name()))),
        }
    }

    /// Begins a registration, unless somebody else just did.
    fn begin(&self, node: Arc<NodeInfo>) -> Result<Handle, NetworkError> {
        let mut registering = self.registering();
        if let Some(handle) = registering.as_ref().filter(|handle| !handle.has_ended()) {
            return Ok(handle.clone());
        }
        let unsupported = NetworkError::Unsupported { component: self.component(), operation: "register_node" };
        let registrar = self.backend.registrar().ok_or(unsupported)?;
        let origin = self.voice.origin();
        // Two nodes that start together differ in it, which is all that is asked of it.
        let seed = node.boot.0 ^ crate::seed();
        let machine = Registration::new(self.config.registration, node, seed, origin.elapsed());
        let source = self.backend.source_name();
        let (handle, task) = prepare(registrar, machine, source, origin, self.config.command_timeout);
        let (cancel, span) = (self.cancel.clone(), tracing::info_span!("registration", source));
        self.tracker.spawn(async move { cancel.run_until_cancelled(task.run()).await }.instrument(span));
        *registering = Some(handle.clone());
        Ok(handle)
    }

    async fn withdraw(&self, grace: Duration) -> Result<(), NetworkError> {
        let Some(handle) = self.handle() else { return Ok(()) };
        if !handle.wish(Wish::Drain(grace)).await {
            return Ok(());
        }
        handle.wait_for(|state| *state == RegistrationState::Ended).await;
        match handle.view().stats.abandoned {
            0 => Ok(()),
            _ => Err(self.backend_error("this node was not withdrawn in time, and is left to expire there")),
        }
    }

    fn handle(&self) -> Option<Handle> {
        self.registering().clone()
    }

    // A panic cannot leave it half changed.
    fn registering(&self) -> MutexGuard<'_, Option<Handle>> {
        self.registering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task behind the list.
async fn follow(
    backend: Arc<dyn Backend>,
    voice: Voice,
    keeping: Option<Keeping>,
    cancel: CancellationToken,
    phase: Arc<watch::Sender<Phase>>,
) {
    let _ending = Ending { voice: voice.clone(), phase };
    let keep = async {
        match &keeping {
            Some(keeping) => keeping.run(&voice).await,
            None => std::future::pending().await,
        }
    };
    let work = async {
        tokio::select! {
            () = backend.follow(&voice) => {}
            () = voice.run() => {}
            () = keep => {}
        }
    };
    if cancel.run_until_cancelled(work).await.is_some() {
        tracing::error!("a backend stopped following its source, the list no longer changes");
    }
}

/// Leaves the phase and the streams right however the task ends.
struct Ending {
    voice: Voice,
    phase: Arc<watch::Sender<Phase>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the task of discovery panicked, the list no longer follows its source");
        }
        self.phase.send_replace(Phase::Stopped);
        self.voice.feed().close();
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = *self.phase.borrow();
        f.debug_struct("Discovery")
            .field("component", &self.component())
            .field("phase", &phase)
            .field("snapshot", &self.voice.feed().snapshot())
            .finish_non_exhaustive()
    }
}

impl Component for Discovery {
    /// Begins to follow the source, and waits for its first answer, but not for ever ([`DriverConfig::start_wait`]).
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotRunning`] after a shutdown. A source that is away is no error.
    ///
    /// # Cancel safety
    ///
    /// Cancelling the wait does not cancel the start.
    fn initialize(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.start())
    }

    /// Withdraws this process's node, ends all tasks and every stream, and waits for them.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Backend`] when the source did not take the withdrawal in time, or a task did not end in time.
    ///
    /// # Cancel safety
    ///
    /// Cancelling it before the node is withdrawn leaves it running; calling it again goes on.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.stop())
    }

    /// Healthy while the list is what the source says, degraded while the last good one stands in for it or this node is not
    /// registered though it should be.
    fn health_check(&self) -> HealthStatus {
        match *self.phase.borrow() {
            Phase::New => HealthStatus::Unknown,
            Phase::Stopped => HealthStatus::Unhealthy,
            Phase::Running => {
                let live = self.snapshot().freshness == Freshness::Live;
                let standing = self.registration().is_none_or(|state| {
                    matches!(
                        state,
                        RegistrationState::Active { .. }
                            | RegistrationState::Draining { .. }
                            | RegistrationState::Ended
                    )
                });
                if live && standing { HealthStatus::Healthy } else { HealthStatus::Degraded }
            }
        }
    }
}

impl ServiceDiscovery for Discovery {
    /// Registers this node and keeps it registered; called again with other facts, those are written.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Unsupported`] where nodes cannot register themselves, [`NetworkError::Backend`] where the node is not
    /// registered within [`DriverConfig::register_wait`]: it is tried on.
    ///
    /// # Cancel safety
    ///
    /// Cancelling the wait does not cancel the registration.
    fn register_node<'a>(&'a self, node: &'a NodeInfo) -> BoxFuture<'a, Result<(), NetworkError>> {
        Box::pin(self.register(node))
    }

    /// The last good list, by ascending key.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NotRunning`] before the start and after the shutdown, [`NetworkError::Backend`] where the source has never
    /// answered.
    fn discover_nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, NetworkError>> {
        let snapshot = self.snapshot();
        let nodes = self.check_running().and_then(|()| match &snapshot.freshness {
            Freshness::Never { cause: Some(cause) } => Err(self.backend_error(cause)),
            Freshness::Never { cause: None } => Err(self.backend_error("the source has not answered yet")),
            _ => Ok(snapshot.nodes.iter().map(|node| NodeInfo::clone(node)).collect()),
        });
        Box::pin(std::future::ready(nodes))
    }

    fn watch_changes(&self) -> BoxFuture<'_, Result<BoxStream<MembershipEvent>, NetworkError>> {
        let stream = self.watch_events().map(|events| Box::pin(events.membership()) as BoxStream<MembershipEvent>);
        Box::pin(std::future::ready(stream))
    }
}

impl DiscoverySource for Discovery {
    fn source_name(&self) -> &str {
        self.backend.source_name()
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn snapshot(&self) -> Snapshot {
        self.voice.feed().snapshot()
    }

    fn answered_ago(&self) -> Option<Duration> {
        let snapshot = self.snapshot();
        let has_answered = !matches!(snapshot.freshness, Freshness::Never { .. });
        has_answered.then(|| self.voice.origin().elapsed().saturating_sub(snapshot.as_of))
    }

    fn watch_events(&self) -> Result<EventStream, NetworkError> {
        self.check_running()?;
        self.voice.feed().subscribe().map_err(|error| match error {
            FeedError::Closed => NetworkError::NotRunning { component: self.component() },
            other => self.backend_error(other),
        })
    }

    fn registration(&self) -> Option<RegistrationState> {
        self.handle().map(|handle| handle.view().state)
    }

    fn withdraw_node(&self, grace: Duration) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.withdraw(grace))
    }
}
