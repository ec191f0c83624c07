//! A source that is away at the start, and what a sealed file says in its stead.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdb_discovery::{Capabilities, Cause, DiscoverySource, Freshness, LastGood, LastGoodError, LastGoodStore};
use rdb_discovery_driver::conformance::{node, soon, until};
use rdb_discovery_driver::{Backend, Discovery, DriverConfig, Voice};
use rdb_discovery_sealed::SealedLastGood;
use rdb_net_seal::StoreKey;
use rdb_net_types::{BoxFuture, ClusterId, Component, NodeId, NodeInfo};

/// A source that says this, or is away.
struct Source(Option<Vec<NodeInfo>>);

impl Backend for Source {
    fn component(&self) -> &'static str {
        "TestDiscovery"
    }

    fn source_name(&self) -> &str {
        "test"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { registers: false, watches: true, names_nodes: true }
    }

    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()> {
        match &self.0 {
            Some(nodes) => voice.full(nodes.clone()),
            None => voice.failure(Cause::unavailable("it is away")),
        }
        Box::pin(std::future::pending())
    }
}

/// A folder with two keys.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        for (name, byte) in [("a.key", "17"), ("b.key", "2c")] {
            let path = place.path(name);
            std::fs::write(&path, byte.repeat(32)).expect("written");
            let mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mine).expect("set");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("discovery.state")
    }

    fn store(&self, key: Option<&str>, cluster: &str) -> SealedLastGood {
        let key = key.map(|name| StoreKey::from_file(&self.path(name)).expect("a key"));
        let cluster = ClusterId::new(cluster).expect("legal");
        SealedLastGood::new(self.file(), &cluster, &NodeId::new("n1").expect("legal"), key.into_iter().collect())
    }

    /// A life of three nodes that were seen and saved.
    async fn saved(&self) {
        let source = start(Source(Some(nodes())), Arc::new(self.store(Some("a.key"), "prod"))).await;
        until("the list is saved", || self.file().exists()).await;
        soon("a shutdown", source.shutdown()).await.expect("everything ends");
    }
}

fn nodes() -> Vec<NodeInfo> {
    (0..3).map(|number| node(number, "1")).collect()
}

async fn start(source: Source, store: Arc<dyn LastGoodStore>) -> Discovery {
    let config = DriverConfig { last_good: Some(store), ..DriverConfig::default() };
    let discovery = Discovery::new(Arc::new(source), "test", config);
    soon("a start", discovery.initialize()).await.expect("it starts");
    discovery
}

/// Says when it was asked.
struct Asked(SealedLastGood, AtomicBool);

impl LastGoodStore for Asked {
    fn load(&self) -> Result<Option<Vec<u8>>, LastGoodError> {
        let loaded = self.0.load();
        self.1.store(true, Ordering::SeqCst);
        loaded
    }

    fn save(&self, text: &[u8]) -> Result<(), LastGoodError> {
        self.0.save(text)
    }
}

/// A start without the source goes on, with no list.
async fn starts_clean(store: SealedLastGood) {
    let store = Arc::new(Asked(store, AtomicBool::new(false)));
    let discovery = start(Source(None), Arc::clone(&store) as Arc<dyn LastGoodStore>).await;
    until("the file was read", || store.1.load(Ordering::SeqCst)).await;
    assert!(matches!(discovery.snapshot().freshness, Freshness::Never { .. }), "{:?}", discovery.snapshot());
    assert_eq!(discovery.snapshot().nodes.len(), 0);
    soon("a shutdown", discovery.shutdown()).await.expect("everything ends");
}

#[track_caller]
fn refused(store: &SealedLastGood, words: &str) {
    let error = store.load().expect_err("refused").to_string();
    assert!(error.starts_with("the saved list: ") && error.contains(words), "{error}");
}

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_life_saw_stands_in_for_a_source_that_is_away() {
    let place = Place::new();
    place.saved().await;
    let discovery = start(Source(None), Arc::new(place.store(Some("a.key"), "prod"))).await;
    until("the list is there", || discovery.snapshot().nodes.len() == 3).await;
    let freshness = discovery.snapshot().freshness;
    assert!(matches!(freshness, Freshness::Stale { cause: Cause::Remembered { .. }, .. }), "{freshness:?}");
    soon("a shutdown", discovery.shutdown()).await.expect("everything ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_list_does_not_show_a_name() {
    let place = Place::new();
    place.saved().await;
    let bytes = std::fs::read(place.file()).expect("read");
    let name = b"n0001";
    assert!(!bytes.windows(name.len()).any(|window| window == name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_old_is_passed_over_and_the_start_goes_on() {
    let place = Place::new();
    let store = place.store(Some("a.key"), "prod");
    let list = LastGood { source: "test".to_owned(), saved_at_unix_s: 1_000_000, nodes: nodes() };
    store.save(&list.to_text()).expect("saved");
    let text = store.load().expect("it opens").expect("it is there");
    let day = Duration::from_secs(86_400);
    let read = LastGood::read(&text, "test", 2_000_000, day);
    assert!(matches!(read, Err(LastGoodError::TooOld { .. })), "{read:?}");
    starts_clean(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_another_key_says_which_and_the_start_goes_on() {
    let place = Place::new();
    place.saved().await;
    let store = place.store(Some("b.key"), "prod");
    refused(&store, "which is not configured; add that key behind the present one");
    starts_clean(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_tampered_with_is_refused_and_the_start_goes_on() {
    let place = Place::new();
    place.saved().await;
    damage(&place.file());
    let store = place.store(Some("a.key"), "prod");
    refused(&store, "it was damaged or changed after it was sealed");
    starts_clean(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_another_cluster_is_refused_and_the_start_goes_on() {
    let place = Place::new();
    place.saved().await;
    let store = place.store(Some("a.key"), "staging");
    refused(&store, "it is of another node or another cluster");
    starts_clean(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_list_is_refused_where_a_key_is_configured() {
    let place = Place::new();
    place.store(None, "prod").save(b"anybody's list").expect("saved");
    let store = place.store(Some("a.key"), "prod");
    refused(&store, "it is not sealed although a key is configured");
    starts_clean(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_replaced_by_the_next_good_list() {
    let place = Place::new();
    place.saved().await;
    damage(&place.file());
    let source = start(Source(Some(nodes())), Arc::new(place.store(Some("a.key"), "prod"))).await;
    let store = place.store(Some("a.key"), "prod");
    until("it is saved anew", || matches!(store.load(), Ok(Some(_)))).await;
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}
