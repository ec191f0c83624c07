//! What an operator, an editor and a cluster manager do to a file, on a real file system.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rdb_discovery_static::StaticConfig;
use rdb_net_types::{Component, HealthStatus, NodeInfo};
use support::{Place, event, is_idle, polled, text, told, watched};

#[tokio::test]
async fn an_edit_is_told_within_a_second() {
    let place = Place::started(watched(), &["a:1", "b:1"]).await;
    let mut changes = place.changes().await;
    assert_eq!(told(&mut changes, 2).await, ["NodeJoined a:1", "NodeJoined b:1"]);
    let edited = Instant::now();
    place.write(&text(&["b:1", "c:1"]));
    assert_eq!(told(&mut changes, 2).await, ["NodeLeft a:1", "NodeJoined c:1"]);
    assert!(edited.elapsed() <= Duration::from_secs(1), "{:?}", edited.elapsed());
    assert_eq!(place.addresses().await, ["b:1", "c:1"]);
    place.end().await;
}

#[tokio::test]
async fn what_a_node_tells_of_itself_is_updated() {
    let place = Place::started(watched(), &[]).await;
    let mut changes = place.changes().await;
    for (zone, expected) in [("a", "NodeJoined n:1"), ("b", "NodeUpdated n:1")] {
        place.write(&format!("[[nodes]]\nid = 'n'\naddress = 'n:1'\nzone = '{zone}'"));
        assert_eq!(told(&mut changes, 1).await, [expected]);
    }
    place.end().await;
}

#[tokio::test]
async fn a_file_that_is_truncated_and_then_written_loses_no_node() {
    let place = Place::started(watched(), &["a:1"]).await;
    let mut events = place.source.watch_events().expect("it runs");
    assert_eq!(event(&mut events).await, "=1");
    place.write("");
    place.write(&text(&["a:1", "b:1"]));
    assert_eq!(event(&mut events).await, "+b:1");
    assert!(is_idle(&mut events).await);
    place.write("");
    assert_eq!(event(&mut events).await, "degraded invalid");
    assert_eq!(place.addresses().await, ["a:1", "b:1"]);
    place.write(&text(&["a:1"]));
    assert_eq!([event(&mut events).await, event(&mut events).await], ["-b:1 file_edited", "restored"]);
    place.end().await;
}

#[tokio::test]
async fn a_file_renamed_over_this_one_is_read() {
    let place = Place::started(watched(), &["a:1"]).await;
    let mut changes = place.changes().await;
    told(&mut changes, 1).await;
    for seeds in [["a:1", "b:1"], ["a:1", "c:1"]] {
        let next = place.directory.path().join("next");
        fs::write(&next, text(&seeds)).expect("written");
        fs::rename(&next, &place.file).expect("renamed");
        let last = told(&mut changes, if seeds[1] == "b:1" { 1 } else { 2 }).await;
        assert_eq!(last.last().expect("one"), &format!("NodeJoined {}", seeds[1]));
    }
    place.end().await;
}

#[tokio::test]
async fn a_deleted_file_keeps_the_last_good_list_until_it_is_back() {
    let place = Place::started(watched(), &["a:1", "b:1"]).await;
    let mut events = place.source.watch_events().expect("it runs");
    event(&mut events).await;
    assert_eq!(place.source.health_check(), HealthStatus::Healthy);
    fs::remove_file(&place.file).expect("removed");
    assert_eq!(event(&mut events).await, "degraded missing");
    assert_eq!(place.addresses().await, ["a:1", "b:1"]);
    assert_eq!(place.source.health_check(), HealthStatus::Degraded);
    place.write(&text(&["a:1", "b:1"]));
    assert_eq!(event(&mut events).await, "restored");
    assert_eq!(place.source.health_check(), HealthStatus::Healthy);
    place.end().await;
}

#[tokio::test]
async fn a_bad_file_is_refused_whole_with_its_place_until_it_is_good() {
    let place = Place::started(watched(), &["a:1"]).await;
    let mut events = place.source.watch_events().expect("it runs");
    event(&mut events).await;
    place.write("seeds = [\"b:1\",\n\"b:1\"]");
    assert_eq!(event(&mut events).await, "degraded invalid");
    let cause = format!("{:?}", place.source.snapshot().freshness);
    assert!(cause.contains("nodes.toml:2:1: the address b:1 stands at 1:10 already"), "{cause}");
    assert_eq!(place.addresses().await, ["a:1"]);
    place.write(&text(&["b:1"]));
    let events = [event(&mut events).await, event(&mut events).await, event(&mut events).await];
    assert_eq!(events, ["-a:1 file_edited", "+b:1", "restored"]);
    place.end().await;
}

#[tokio::test]
async fn a_bad_json_file_is_refused_whole_with_its_place_and_key() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("nodes.json");
    fs::write(&file, r#"{"seeds": ["a:1"]}"#).expect("written");
    let place = Place::at(watched(), directory, file).await;
    let mut events = place.source.watch_events().expect("it runs");
    assert_eq!(event(&mut events).await, "=1");
    place.write("{\"seeds\": [\"b:1\",\n\"c\"]}");
    assert_eq!(event(&mut events).await, "degraded invalid");
    let cause = format!("{:?}", place.source.snapshot().freshness);
    assert!(cause.contains("nodes.json:2:1: seeds[1]: an address is host:port"), "{cause}");
    assert_eq!(place.addresses().await, ["a:1"]);
    place.write(r#"{"seeds": ["b:1"]}"#);
    let events = [event(&mut events).await, event(&mut events).await, event(&mut events).await];
    assert_eq!(events, ["-a:1 file_edited", "+b:1", "restored"]);
    place.end().await;
}

#[tokio::test]
async fn an_explicit_empty_list_is_believed_at_once() {
    let place = Place::started(watched(), &["a:1", "b:1", "c:1"]).await;
    let mut changes = place.changes().await;
    told(&mut changes, 3).await;
    place.write("seeds = []");
    assert_eq!(told(&mut changes, 3).await, ["NodeLeft a:1", "NodeLeft b:1", "NodeLeft c:1"]);
    place.end().await;
}

/// Makes a version of a ConfigMap volume and points `..data` at it, as the kubelet does (`atomic_writer.go`).
fn publish(volume: &Path, version: &str, seeds: &[&str]) {
    fs::create_dir(volume.join(version)).expect("made");
    fs::write(volume.join(version).join("nodes.toml"), text(seeds)).expect("written");
    fs::write(volume.join(version).join("nodes.json"), serde_json::json!({ "seeds": seeds }).to_string())
        .expect("written");
    let next = volume.join("..data_tmp");
    symlink(version, &next).expect("linked");
    fs::rename(&next, volume.join("..data")).expect("swapped");
}

#[tokio::test]
async fn the_swap_of_a_config_map_is_followed() {
    for (name, config) in [("nodes.toml", watched()), ("nodes.json", watched()), ("nodes.toml", polled())] {
        follow_swaps(name, config).await;
    }
}

async fn follow_swaps(name: &str, config: StaticConfig) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    publish(directory.path(), "..1", &["a:1"]);
    let file = directory.path().join(name);
    symlink(Path::new("..data").join(name), &file).expect("linked");
    let place = Place::at(config, directory, file).await;
    let mut changes = place.changes().await;
    assert_eq!(told(&mut changes, 1).await, ["NodeJoined a:1"]);
    for (version, old, new) in [("..2", "a:1", "b:1"), ("..3", "b:1", "c:1")] {
        let swapped = Instant::now();
        publish(place.directory.path(), version, &[new]);
        let expected = [format!("NodeLeft {old}"), format!("NodeJoined {new}")];
        assert_eq!(told(&mut changes, 2).await, expected);
        assert!(swapped.elapsed() <= Duration::from_secs(1), "{:?}", swapped.elapsed());
    }
    fs::remove_dir_all(place.directory.path().join("..1")).expect("the kubelet cleans up");
    place.end().await;
}

#[tokio::test]
async fn a_write_behind_a_symlink_is_seen() {
    let target = tempfile::tempdir().expect("a temporary directory");
    fs::write(target.path().join("real.toml"), text(&["a:1"])).expect("written");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("nodes.toml");
    symlink(target.path().join("real.toml"), &file).expect("linked");
    let place = Place::at(watched(), directory, file).await;
    let mut changes = place.changes().await;
    told(&mut changes, 1).await;
    fs::write(target.path().join("real.toml"), text(&["a:1", "b:1"])).expect("written");
    assert_eq!(told(&mut changes, 1).await, ["NodeJoined b:1"]);
    place.end().await;
}

#[tokio::test]
async fn a_directory_that_is_made_anew_is_watched_anew() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let inner = directory.path().join("config");
    fs::create_dir(&inner).expect("made");
    let file = inner.join("nodes.toml");
    fs::write(&file, text(&["a:1"])).expect("written");
    let place = Place::at(watched(), directory, file).await;
    let mut events = place.source.watch_events().expect("it runs");
    event(&mut events).await;
    fs::remove_dir_all(&inner).expect("removed");
    assert_eq!(event(&mut events).await, "degraded missing");
    fs::create_dir(&inner).expect("made");
    place.write(&text(&["b:1"]));
    let next = [event(&mut events).await, event(&mut events).await, event(&mut events).await];
    assert_eq!(next, ["-a:1 file_edited", "+b:1", "restored"]);
    place.write(&text(&["b:1", "c:1"]));
    assert_eq!(event(&mut events).await, "+c:1");
    assert!(place.source.statistics().watching);
    place.end().await;
}

#[tokio::test]
async fn polling_alone_sees_every_kind_of_change() {
    let place = Place::started(polled(), &["a:1"]).await;
    let mut events = place.source.watch_events().expect("it runs");
    assert_eq!(event(&mut events).await, "=1");
    place.write(&text(&["a:1", "b:1"]));
    assert_eq!(event(&mut events).await, "+b:1");
    fs::remove_file(&place.file).expect("removed");
    assert_eq!(event(&mut events).await, "degraded missing");
    place.write(&text(&["a:1", "b:1"]));
    assert_eq!(event(&mut events).await, "restored");
    assert!(!place.source.statistics().watching);
    place.end().await;
}

#[tokio::test]
async fn seeds_of_the_configuration_are_listed_beside_the_file() {
    let seeds = ["a:1", "z:1"].map(|seed| seed.parse().expect("legal")).to_vec();
    let place = Place::started(StaticConfig { seeds, ..watched() }, &[]).await;
    let mut changes = place.changes().await;
    assert_eq!(told(&mut changes, 2).await, ["NodeJoined a:1", "NodeJoined z:1"]);
    place.write("[[nodes]]\nid = 'named'\naddress = 'a:1'");
    assert_eq!(told(&mut changes, 2).await, ["NodeJoined a:1", "NodeLeft a:1"]);
    let nodes: Vec<NodeInfo> = place.source.snapshot().nodes.iter().map(|node| (**node).clone()).collect();
    assert_eq!(nodes.iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), ["named", "z-1"]);
    place.end().await;
}
