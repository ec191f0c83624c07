//! The component through its standard trait: start, questions, subscribers, end.

mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::FeedConfig;
use rdb_discovery_static::{StaticConfig, StaticDiscovery};
use rdb_net_types::{Component, HealthStatus, NetworkError, NodeInfo, ServiceDiscovery};
use support::{Place, is_idle, next, text, told, watched, within};

const NAME: &str = "StaticDiscovery";

fn seeds(seeds: &[&str]) -> Vec<rdb_net_types::NodeAddress> {
    seeds.iter().map(|seed| seed.parse().expect("legal")).collect()
}

#[tokio::test]
async fn every_method_of_the_trait_does_what_it_says() {
    let config = StaticConfig { seeds: seeds(&["b:1", "a:1"]), ..StaticConfig::default() };
    let source: Arc<dyn ServiceDiscovery> = Arc::new(StaticDiscovery::new(config).expect("legal"));
    let not_running = NetworkError::NotRunning { component: NAME };
    assert_eq!(source.health_check(), HealthStatus::Unknown);
    assert_eq!(source.discover_nodes().await, Err(not_running.clone()));
    assert_eq!(source.watch_changes().await.err(), Some(not_running.clone()));
    within(source.shutdown()).await.expect("stopping what does not run changes nothing");

    for _ in 0..2 {
        within(source.initialize()).await.expect("starting what runs changes nothing");
    }
    assert_eq!(source.health_check(), HealthStatus::Healthy);
    let nodes = source.discover_nodes().await.expect("it runs");
    assert_eq!(nodes, seeds(&["a:1", "b:1"]).into_iter().map(NodeInfo::seed).collect::<Vec<_>>());
    let mut changes = source.watch_changes().await.expect("it runs");
    assert_eq!(told(&mut changes, 2).await, ["NodeJoined a:1", "NodeJoined b:1"]);
    assert!(is_idle(&mut changes).await);
    let refused = source.register_node(&nodes[0]).await;
    assert_eq!(refused, Err(NetworkError::Unsupported { component: NAME, operation: "register_node" }));

    for _ in 0..2 {
        within(source.shutdown()).await.expect("stopping twice is stopping once");
    }
    assert_eq!(next(&mut changes).await, None, "a shutdown ends the streams");
    assert_eq!(source.health_check(), HealthStatus::Unhealthy);
    assert_eq!(source.discover_nodes().await, Err(not_running.clone()));
    assert_eq!(source.watch_changes().await.err(), Some(not_running.clone()));
    assert_eq!(within(source.initialize()).await, Err(not_running));
}

#[tokio::test]
async fn a_start_without_a_good_file_names_it_and_can_be_tried_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("nodes.toml");
    let config = StaticConfig { file: Some(file.clone()), ..watched() };
    let source = StaticDiscovery::new(config).expect("legal");
    let problem =
        |what: &str| NetworkError::Start { component: NAME, problem: format!("file: {}{what}", file.display()) };
    assert_eq!(within(source.initialize()).await, Err(problem(": the file does not exist")));
    assert_eq!(source.health_check(), HealthStatus::Unhealthy);
    fs::write(&file, "seeds = [\"a:0\"]").expect("written");
    assert_eq!(within(source.initialize()).await, Err(problem(":1:10: a:0 has port 0, which cannot be dialled")));
    fs::write(&file, text(&["a:1"])).expect("written");
    within(source.initialize()).await.expect("the file is good");
    assert_eq!(source.discover_nodes().await.map(|nodes| nodes.len()), Ok(1));
    within(source.shutdown()).await.expect("everything ends");
}

#[tokio::test]
async fn starts_and_stops_at_one_time_agree() {
    let place = Place::started(watched(), &["a:1"]).await;
    let config = StaticConfig { file: Some(place.file.clone()), ..watched() };
    for _ in 0..20 {
        let source = StaticDiscovery::new(config.clone()).expect("legal");
        let (first, second, ended) =
            within(async { tokio::join!(source.initialize(), source.initialize(), source.shutdown()) }).await;
        assert_eq!(first, second);
        assert_eq!(ended, Ok(()));
        within(source.shutdown()).await.expect("everything ends");
    }
    place.end().await;
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_difference_and_delays_nobody() {
    let feed = FeedConfig { queue_events: 2, ..FeedConfig::default() };
    let place = Place::started(StaticConfig { feed, debounce: Duration::ZERO, ..watched() }, &["a:1", "b:1"]).await;
    let mut slow = place.changes().await;
    assert_eq!(told(&mut slow, 2).await, ["NodeJoined a:1", "NodeJoined b:1"]);
    let mut quick = place.changes().await;
    told(&mut quick, 2).await;
    for (old, new) in [("a:1", "c:1"), ("c:1", "d:1"), ("d:1", "e:1")] {
        let next = place.directory.path().join("next");
        fs::write(&next, text(&["b:1", new])).expect("written");
        fs::rename(&next, &place.file).expect("renamed");
        let mut changes = told(&mut quick, 2).await;
        changes.sort();
        assert_eq!(changes, [format!("NodeJoined {new}"), format!("NodeLeft {old}")]);
    }
    assert_eq!(told(&mut slow, 2).await, ["NodeLeft a:1", "NodeJoined e:1"]);
    assert!(is_idle(&mut slow).await);
    assert!(place.source.statistics().lagged >= 1);
    place.end().await;
}

#[tokio::test]
async fn nodes_beyond_the_limit_are_refused_and_counted() {
    let config = StaticConfig { nodes_max: 2, ..watched() };
    let place = Place::started(config, &["a:1", "b:1", "c:1"]).await;
    assert_eq!(place.addresses().await, ["a:1", "b:1"]);
    assert_eq!(place.source.health_check(), HealthStatus::Degraded);
    assert_eq!(place.source.statistics().reconciler.refused, 1);
    place.end().await;
}
