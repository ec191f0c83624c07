//! A source that is away.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::Freshness;
use rdb_net_types::{HealthStatus, NetworkError};

use super::{Scene, finish, node, numbered, started};

/// Nothing is lost but the certainty, and that is told.
pub async fn a_cut_keeps_the_list_and_is_told(scene: Arc<dyn Scene>) {
    if !scene.traits().cuts {
        return;
    }
    scene.write(&numbered(0..3)).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..3)).await;
    scene.cut().await;
    reader.until("degraded").await;
    assert_eq!(source.health_check(), HealthStatus::Degraded);
    assert!(matches!(source.snapshot().freshness, Freshness::Stale { .. }));
    assert_eq!(source.discover_nodes().await.expect("the last good list").len(), 3);
    scene.heal().await;
    reader.until("restored").await;
    assert_eq!(source.health_check(), HealthStatus::Healthy);
    let about_nodes: Vec<_> = reader.log.iter().filter(|event| event.starts_with(['+', '-', '~'])).collect();
    assert_eq!(about_nodes, [""; 0], "no node changed");
    finish(&source).await;
}

/// The difference, and only that.
pub async fn what_changed_during_a_cut_is_told_after_it(scene: Arc<dyn Scene>) {
    if !scene.traits().cuts {
        return;
    }
    scene.write(&numbered(0..4)).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..4)).await;
    scene.cut().await;
    reader.until("degraded").await;
    scene.write(&numbered(1..5)).await;
    scene.heal().await;
    reader.until_addresses(&numbered(1..5)).await;
    let mut about_nodes: Vec<_> = reader.log.iter().filter(|event| event.starts_with(['+', '-', '~'])).collect();
    about_nodes.sort_unstable();
    assert_eq!(about_nodes.len(), 2, "{:?}", reader.log);
    assert_eq!(*about_nodes[0], format!("+{}", node(4, "").address));
    assert!(about_nodes[1].starts_with(&format!("-{}", node(0, "").address)), "{about_nodes:?}");
    finish(&source).await;
}

/// A cluster that restarts while its source is away must start.
pub async fn a_start_without_the_source_succeeds_and_heals(scene: Arc<dyn Scene>) {
    if !scene.traits().starts_alone {
        return;
    }
    scene.write(&numbered(0..2)).await;
    scene.cut().await;
    let (source, mut reader) = started(&scene).await;
    assert!(matches!(source.snapshot().freshness, Freshness::Never { .. }));
    assert!(matches!(source.discover_nodes().await, Err(NetworkError::Backend { .. })));
    assert_eq!(source.health_check(), HealthStatus::Degraded);
    scene.heal().await;
    reader.until_addresses(&numbered(0..2)).await;
    if scene.traits().whole {
        assert_eq!(reader.log, ["=2"]);
    } else {
        let gone: Vec<_> = reader.log.iter().filter(|event| event.starts_with('-')).collect();
        assert_eq!(gone, [""; 0], "{:?}", reader.log);
    }
    finish(&source).await;
}

/// Many nodes that go at once are more often a broken source than a broken cluster.
pub async fn the_loss_of_most_nodes_is_held_until_it_is_confirmed(scene: Arc<dyn Scene>) {
    if !scene.traits().guards {
        return;
    }
    scene.write(&numbered(0..6)).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..6)).await;
    scene.write(&numbered(0..1)).await;
    assert_eq!(reader.until("degraded").await, "degraded mass_removal");
    let held = std::time::Instant::now();
    assert_eq!(source.discover_nodes().await.expect("the last good list").len(), 6);
    reader.until_addresses(&numbered(0..1)).await;
    assert!(held.elapsed() >= Duration::from_secs(9), "{:?}", held.elapsed());
    finish(&source).await;
}
