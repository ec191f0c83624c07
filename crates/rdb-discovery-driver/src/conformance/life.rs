//! Start and end, and what is left.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::DiscoveryEvent;
use rdb_net_types::NetworkError;

use super::{PATIENCE, Scene, finish, numbered, started, until};
use crate::{GatherError, wait_for};

/// Tasks of this runtime. Scenes have none, or the same number at any time.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Nothing of it goes on, and a second one changes nothing.
pub async fn a_shutdown_ends_every_stream_and_leaves_no_task(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..2)).await;
    let before = tasks();
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..2)).await;
    finish(&source).await;
    finish(&source).await;
    while let Some(event) = reader.next().await {
        assert!(!matches!(event, DiscoveryEvent::Removed { .. }), "nobody left");
    }
    until("no task is left", || tasks() <= before).await;
    assert!(matches!(source.discover_nodes().await, Err(NetworkError::NotRunning { .. })));
    assert!(matches!(source.watch_events(), Err(NetworkError::NotRunning { .. })));
    assert!(matches!(source.initialize().await, Err(NetworkError::NotRunning { .. })));
    assert_eq!(source.health_check(), rdb_net_types::HealthStatus::Unhealthy);
}

/// Who forgets the shutdown leaves nothing either.
pub async fn a_drop_leaves_no_task(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..2)).await;
    let before = tasks();
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..2)).await;
    drop(source);
    while reader.next().await.is_some() {}
    until("no task is left", || tasks() <= before).await;
}

/// Twenty lives, each with a reader.
pub async fn many_lives_leave_no_task_and_no_connection(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..2)).await;
    let before = (tasks(), scene.connections());
    for _ in 0..20 {
        let (source, mut reader) = started(&scene).await;
        reader.until_addresses(&numbered(0..2)).await;
        finish(&source).await;
    }
    until("no task is left", || tasks() <= before.0).await;
    until("no connection is left", || scene.connections() <= before.1).await;
}

/// Enough nodes, and quiet.
pub async fn waiting_for_nodes_ends_when_they_are_there(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..1)).await;
    let (source, _reader) = started(&scene).await;
    let margin = Duration::from_millis(300);
    let vain = wait_for(&*source, 3, margin, Duration::from_millis(500)).await;
    assert!(matches!(vain, Err(GatherError::Incomplete { found: 1, expected: 3, .. })), "{vain:?}");
    let waiting = Arc::clone(&source);
    let waiting = async move { wait_for(&*waiting, 3, margin, PATIENCE).await };
    let more = numbered(0..3);
    let (found, ()) = tokio::join!(waiting, scene.write(&more));
    assert_eq!(found.expect("they are there").len(), 3);
    finish(&source).await;
}
