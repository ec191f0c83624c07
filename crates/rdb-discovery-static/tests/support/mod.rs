//! A source with its own directory, and streams that are read with a deadline.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use rdb_discovery::{DiscoveryEvent, EventStream};
use rdb_discovery_static::{StaticConfig, StaticDiscovery};
use rdb_net_types::{BoxStream, Component, MembershipEvent, ServiceDiscovery};
use tempfile::TempDir;

/// Longer than anything here takes: reaching it is a failure, never a measurement.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}

/// The next item of a stream, or that it has ended.
pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    within(poll_fn(|context| Pin::new(&mut *stream).poll_next(context))).await
}

/// Whether nothing waits in a stream.
pub(crate) async fn is_idle<S: Stream + Unpin>(stream: &mut S) -> bool {
    poll_fn(|context| std::task::Poll::Ready(Pin::new(&mut *stream).poll_next(context).is_pending())).await
}

/// The next membership events, by name and address.
pub(crate) async fn told(stream: &mut BoxStream<MembershipEvent>, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..count {
        let event = next(stream).await.expect("the stream goes on");
        events.push(format!("{} {}", event.name(), event.node().address));
    }
    events
}

/// The next discovery event, in short.
pub(crate) async fn event(stream: &mut EventStream) -> String {
    match next(stream).await.expect("the stream goes on") {
        DiscoveryEvent::Snapshot(list) => format!("={}", list.nodes.len()),
        DiscoveryEvent::Added(node) => format!("+{}", node.address),
        DiscoveryEvent::Updated { new, .. } => format!("~{}", new.address),
        DiscoveryEvent::Removed { node, why } => format!("-{} {}", node.address, why.name()),
        DiscoveryEvent::Degraded { cause } => format!("degraded {}", cause.name()),
        DiscoveryEvent::Restored => "restored".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A configuration that sees changes by its watch only.
pub(crate) fn watched() -> StaticConfig {
    StaticConfig { poll_interval: Duration::from_secs(3_600), ..StaticConfig::default() }
}

/// A configuration that sees changes by polling only.
pub(crate) fn polled() -> StaticConfig {
    StaticConfig { poll_interval: Duration::from_millis(20), watch: false, ..StaticConfig::default() }
}

/// A directory, a file in it, and a source that follows the file.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) file: PathBuf,
    pub(crate) source: Arc<StaticDiscovery>,
}

impl Place {
    /// Started with these seeds.
    pub(crate) async fn started(config: StaticConfig, seeds: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("nodes.toml");
        fs::write(&file, text(seeds)).expect("written");
        Self::at(config, directory, file).await
    }

    /// Started with a file that is there.
    pub(crate) async fn at(config: StaticConfig, directory: TempDir, file: PathBuf) -> Self {
        let config = StaticConfig { file: Some(file.clone()), ..config };
        let source = Arc::new(StaticDiscovery::new(config).expect("a legal configuration"));
        within(source.initialize()).await.expect("the file is good");
        Self { directory, file, source }
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.file, text).expect("written");
    }

    pub(crate) async fn changes(&self) -> BoxStream<MembershipEvent> {
        self.source.watch_changes().await.expect("it runs")
    }

    pub(crate) async fn addresses(&self) -> Vec<String> {
        let nodes = self.source.discover_nodes().await.expect("it runs");
        nodes.iter().map(|node| node.address.to_string()).collect()
    }

    pub(crate) async fn end(self) {
        within(self.source.shutdown()).await.expect("everything ends");
    }
}

pub(crate) fn text(seeds: &[&str]) -> String {
    format!("seeds = {seeds:?}\n")
}
