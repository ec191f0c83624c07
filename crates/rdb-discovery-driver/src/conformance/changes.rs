//! What a source names, and how changes of it are told.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use rdb_discovery::RemovalReason;
use rdb_net_types::{BoxStream, MembershipEvent};

use super::{Reader, Scene, finish, node, numbered, soon, started};

/// Even an empty list is told: who waits for the first answer must not wait for the first node.
pub async fn the_first_event_is_the_list_even_an_empty_one(scene: Arc<dyn Scene>) {
    scene.write(&[]).await;
    let (source, mut reader) = started(&scene).await;
    reader.next().await;
    assert_eq!(reader.log, ["=0"]);
    assert_eq!(source.discover_nodes().await, Ok(Vec::new()));
    assert_eq!(source.health_check(), rdb_net_types::HealthStatus::Healthy);
    finish(&source).await;
}

/// One event a change; folded they give what a question gives.
pub async fn additions_updates_and_removals_are_told_once_each(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..5)).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..5)).await;
    scene.write(&numbered(0..6)).await;
    reader.until_addresses(&numbered(0..6)).await;
    scene.write(&numbered(1..6)).await;
    reader.until_addresses(&numbered(1..6)).await;
    let reason = scene.traits().absence.name();
    let gone = format!("-{} {reason}", node(0, "").address);
    assert_eq!(reader.log, ["=5", &format!("+{}", node(5, "").address), &gone]);
    if source.capabilities().names_nodes {
        let changed = [node(1, "2"), node(2, "1"), node(3, "1"), node(4, "1"), node(5, "1")];
        scene.write(&changed).await;
        assert_eq!(reader.until("~").await, format!("~{}", node(1, "").address));
        assert_eq!(reader.at(&node(1, "")).expect("listed").version, "2");
        assert_eq!(reader.at(&node(1, "")).expect("listed").id, node(1, "").id);
    }
    let mut asked: Vec<_> = source.discover_nodes().await.expect("it runs");
    asked.sort_by_key(|node| node.address.to_string());
    let asked: Vec<_> = asked.iter().map(|node| node.address.to_string()).collect();
    assert_eq!(asked, reader.addresses());
    finish(&source).await;
}

/// Who comes later is told the list, and then the same.
pub async fn two_subscribers_are_told_the_same(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..2)).await;
    let (source, mut first) = started(&scene).await;
    first.until_addresses(&numbered(0..2)).await;
    scene.write(&numbered(0..3)).await;
    first.until_addresses(&numbered(0..3)).await;
    let mut second = Reader::of(&*source);
    second.until_addresses(&numbered(0..3)).await;
    assert_eq!(second.log, ["=3"]);
    scene.write(&numbered(0..4)).await;
    first.until_addresses(&numbered(0..4)).await;
    second.until_addresses(&numbered(0..4)).await;
    assert_eq!(first.log.last(), second.log.last());
    finish(&source).await;
}

async fn told(stream: &mut BoxStream<MembershipEvent>) -> String {
    let event = soon("an event", poll_fn(|context| stream.as_mut().poll_next(context))).await.expect("it goes on");
    format!("{} {}", event.name(), event.node().address)
}

/// Known nodes first, as joined; then each change.
pub async fn the_specifications_events_follow_the_same_changes(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..3)).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..3)).await;
    let mut changes = source.watch_changes().await.expect("it runs");
    for number in 0..3 {
        assert_eq!(told(&mut changes).await, format!("NodeJoined {}", node(number, "").address));
    }
    scene.write(&numbered(0..4)).await;
    assert_eq!(told(&mut changes).await, format!("NodeJoined {}", node(3, "").address));
    scene.write(&numbered(1..4)).await;
    let end = if scene.traits().absence == RemovalReason::Expired { "NodeFailed" } else { "NodeLeft" };
    assert_eq!(told(&mut changes).await, format!("{end} {}", node(0, "").address));
    finish(&source).await;
}

/// From the moment in which the source has the change; the best of five, so that the scheduler of a busy machine is not what is
/// measured.
pub async fn a_change_is_told_within_the_promised_time(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..3)).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..3)).await;
    let mut took = Vec::new();
    for count in 4..9 {
        scene.write(&numbered(0..count)).await;
        let written = Instant::now();
        reader.until_addresses(&numbered(0..count)).await;
        took.push(written.elapsed());
    }
    let best = took.iter().min().expect("five");
    report(&format!("{}: from change to event {took:?}", source.source_name()));
    assert!(*best <= scene.traits().promise, "{took:?}");
    finish(&source).await;
}

/// In one list, and each of them.
pub async fn a_thousand_nodes_are_listed(scene: Arc<dyn Scene>) {
    scene.write(&numbered(0..1_000)).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&numbered(0..1_000)).await;
    assert_eq!(reader.log, ["=1000"]);
    finish(&source).await;
}

#[expect(clippy::print_stdout, reason = "a figure that a test measured is read from its output")]
fn report(text: &str) {
    println!("{text}");
}
