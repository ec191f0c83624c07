//! The task that looks at the file when there is a reason to, and gives what it saw to the reconciler.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdb_discovery::{Cause, DiscoveryEvent, Feed, Reconciler};
use rdb_net_types::NodeInfo;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::StaticConfig;
use crate::file::FileError;
use crate::source::{FileSource, Reading};
use crate::watch::DirectoryWatch;

/// A busy directory costs at most this many reads a second: twenty.
const READ_GAP: Duration = Duration::from_millis(50);
/// How often the file is looked at while a watch was wanted and there is none.
const UNWATCHED_INTERVAL: Duration = Duration::from_millis(500);

/// What the task counts itself.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) reads: AtomicU64,
    pub(crate) watching: AtomicBool,
}

/// What the task shares with its owner.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// Where all times count from.
    pub(crate) origin: Instant,
    pub(crate) config: Arc<StaticConfig>,
    pub(crate) feed: Feed,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) tracker: TaskTracker,
}

#[derive(Debug)]
pub(crate) struct Driver {
    shared: Shared,
    origin: Instant,
    reconciler: Reconciler,
    /// Locked by one read at a time, on a blocking thread.
    file: Option<Arc<Mutex<FileSource>>>,
    watch: Option<(DirectoryWatch, mpsc::Receiver<()>)>,
    last_read: Instant,
    next_read: Instant,
}

impl Driver {
    pub(crate) fn new(shared: Shared) -> Self {
        let origin = shared.origin;
        let reconciler = Reconciler::new(shared.config.policy(), origin.elapsed());
        let file = shared.config.file.clone().map(|path| Arc::new(Mutex::new(FileSource::new(path))));
        Self { shared, origin, reconciler, file, watch: None, last_read: origin, next_read: origin }
    }

    /// The first look, which must succeed.
    pub(crate) async fn start(&mut self) -> Result<(), FileError> {
        self.open_watch();
        match self.look().await {
            Some(Reading::Bad(error)) => return Err(error),
            Some(Reading::Nodes(nodes)) => self.handle_nodes(nodes),
            Some(Reading::Unchanged) | None => self.handle_nodes(Vec::new()),
        }
        self.publish();
        Ok(())
    }

    /// Looks whenever there is a reason to. Never ends; it may be dropped at any time.
    pub(crate) async fn run(&mut self) {
        loop {
            let timeout = self.reconciler.poll_timeout().map(|due| self.origin + due);
            tokio::select! {
                () = hint(&mut self.watch) => {
                    self.next_read = self.next_read.min(self.last_read + READ_GAP);
                    continue;
                }
                () = sleep_until(self.next_read), if self.file.is_some() => self.reload().await,
                () = sleep_until(timeout.unwrap_or(self.origin)), if timeout.is_some() => {
                    let now = self.now();
                    self.reconciler.handle_timeout(now);
                }
            }
            self.publish();
        }
    }

    /// Ends the watch and waits until its thread has let go.
    pub(crate) async fn stop(&mut self) {
        self.shared.gauges.watching.store(false, Ordering::Relaxed);
        if let Some((watch, mut hints)) = self.watch.take() {
            drop(watch);
            while hints.recv().await.is_some() {}
        }
    }

    async fn reload(&mut self) {
        self.rearm();
        let reading = self.look().await;
        let now = self.now();
        match reading {
            Some(Reading::Nodes(nodes)) => {
                self.handle_nodes(nodes);
                // The path may lead elsewhere by this edit.
                self.rearm();
            }
            Some(Reading::Bad(error)) => self.reconciler.handle_failure(now, cause(&error)),
            Some(Reading::Unchanged) | None => self.reconciler.handle_unchanged(now),
        }
    }

    /// Looks at the file, where there is one.
    async fn look(&mut self) -> Option<Reading> {
        let file = Arc::clone(self.file.as_ref()?);
        self.shared.gauges.reads.fetch_add(1, Ordering::Relaxed);
        let read = move || file.lock().unwrap_or_else(PoisonError::into_inner).read();
        let reading = self.shared.tracker.spawn_blocking(read).await.unwrap_or_else(|error| {
            let path = self.shared.config.file.clone().unwrap_or_default();
            Reading::Bad(FileError::Unreadable { path, problem: error.to_string() })
        });
        self.last_read = Instant::now();
        let interval = self.shared.config.poll_interval;
        let unwatched = self.shared.config.watch && !self.shared.gauges.watching.load(Ordering::Relaxed);
        self.next_read = self.last_read + if unwatched { interval.min(UNWATCHED_INTERVAL) } else { interval };
        Some(reading)
    }

    fn handle_nodes(&mut self, mut nodes: Vec<NodeInfo>) {
        let listed: BTreeSet<_> = nodes.iter().map(|node| node.address.clone()).collect();
        let seeds = self.shared.config.seeds.iter().filter(|seed| !listed.contains(seed));
        nodes.extend(seeds.cloned().map(NodeInfo::seed));
        let now = self.now();
        self.reconciler.handle_full(now, nodes);
    }

    fn open_watch(&mut self) {
        let Some(path) = self.shared.config.file.as_ref().filter(|_| self.shared.config.watch) else {
            return;
        };
        match DirectoryWatch::new(path) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::warn!(%error, path = %path.display(), "no watch to be had, the file is only polled"),
        }
        self.rearm();
    }

    fn rearm(&mut self) {
        let Some((watch, _)) = &mut self.watch else {
            return;
        };
        let armed = watch.rearm();
        let was = self.shared.gauges.watching.swap(armed.is_ok(), Ordering::Relaxed);
        if let Err(error) = armed
            && was
        {
            tracing::warn!(%error, "the watch is lost, the file is polled until it can be set again");
        }
    }

    fn publish(&mut self) {
        let (mut added, mut updated, mut removed) = (0, 0, 0);
        for event in self.shared.feed.publish(&mut self.reconciler) {
            match event {
                DiscoveryEvent::Snapshot(snapshot) => added += snapshot.nodes.len(),
                DiscoveryEvent::Added(_) => added += 1,
                DiscoveryEvent::Updated { .. } => updated += 1,
                DiscoveryEvent::Removed { .. } => removed += 1,
                DiscoveryEvent::Degraded { cause } => tracing::warn!(%cause, "static discovery is degraded"),
                DiscoveryEvent::Restored => tracing::info!("static discovery is restored"),
                _ => {}
            }
        }
        if added + updated + removed > 0 {
            tracing::info!(added, updated, removed, "static discovery changed");
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// The next hint of the watch; never where there is none.
async fn hint(watch: &mut Option<(DirectoryWatch, mpsc::Receiver<()>)>) {
    if let Some((_, hints)) = watch
        && hints.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

fn cause(error: &FileError) -> Cause {
    let detail = error.to_string();
    match error {
        FileError::Missing { .. } => Cause::missing(detail),
        FileError::Unreadable { .. } => Cause::unavailable(detail),
        _ => Cause::invalid(detail),
    }
}
