//! The list on its way to a store and back.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdb_discovery::{Freshness, LastGood, LastGoodStore};
use rdb_net_types::NodeInfo;
use tokio::time::sleep;

use crate::Voice;

/// Changes that come within this time are saved together.
const GATHER: Duration = Duration::from_secs(1);

/// Where the list of one source is kept.
#[derive(Clone)]
pub(crate) struct Keeping {
    pub(crate) store: Arc<dyn LastGoodStore>,
    pub(crate) source: String,
    pub(crate) age_max: Duration,
}

impl Keeping {
    /// Tells the voice what was saved, if the source fails before it answers.
    pub(crate) async fn recall(&self, voice: &Voice) {
        voice.heard().await;
        if voice.has_answered() {
            return;
        }
        let keeping = self.clone();
        match tokio::task::spawn_blocking(move || keeping.load()).await {
            Ok(Some((nodes, saved_ago))) => voice.remembered(nodes, saved_ago),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the saved list was not read"),
        }
    }

    /// Saves the list whenever it has changed and can be trusted. Never ends.
    pub(crate) async fn run(&self, voice: &Voice) {
        self.recall(voice).await;
        let mut saved: Option<Arc<[Arc<NodeInfo>]>> = None;
        loop {
            sleep(GATHER).await;
            let snapshot = voice.feed().snapshot();
            let same = saved.as_ref().is_some_and(|saved| Arc::ptr_eq(saved, &snapshot.nodes));
            if same || snapshot.freshness != Freshness::Live {
                continue;
            }
            let (keeping, nodes) = (self.clone(), Arc::clone(&snapshot.nodes));
            match tokio::task::spawn_blocking(move || keeping.save(&nodes)).await {
                Ok(()) => saved = Some(snapshot.nodes),
                Err(error) => tracing::error!(%error, "the list was not saved"),
            }
        }
    }

    fn load(&self) -> Option<(Vec<NodeInfo>, Duration)> {
        let text = self.store.load().inspect_err(|error| tracing::warn!(%error, "nothing is remembered")).ok()??;
        let read = LastGood::read(&text, &self.source, unix_s(), self.age_max);
        let (list, age) = read.inspect_err(|error| tracing::warn!(%error, "the saved list is passed over")).ok()?;
        Some((list.nodes, age))
    }

    fn save(&self, nodes: &[Arc<NodeInfo>]) {
        let nodes = nodes.iter().map(|node| NodeInfo::clone(node)).collect();
        let list = LastGood { source: self.source.clone(), saved_at_unix_s: unix_s(), nodes };
        if let Err(error) = self.store.save(&list.to_text()) {
            tracing::warn!(%error, "the list was not saved");
        }
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
