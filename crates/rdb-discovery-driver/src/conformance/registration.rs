//! Nodes that register themselves.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::RegistrationState;
use rdb_net_types::{BootId, Incarnation, NetworkError, NodeInfo, Weight};

use super::{Scene, finish, node, soon, started, until};

fn booted(number: u16, boot: u64) -> NodeInfo {
    NodeInfo { boot: BootId(boot), ..node(number, "1") }
}

/// Where nodes cannot register themselves, that is said.
async fn registers(scene: &Arc<dyn Scene>) -> bool {
    let source = scene.source();
    if source.capabilities().registers {
        return true;
    }
    scene.write(&[]).await;
    soon("a start", source.initialize()).await.expect("it starts");
    let refused = source.register_node(&node(1, "1")).await;
    assert!(matches!(refused, Err(NetworkError::Unsupported { operation: "register_node", .. })), "{refused:?}");
    assert_eq!(source.registration(), None);
    finish(&source).await;
    false
}

/// Seen by another reader with every fact, and gone when it is withdrawn: as one that left, not as one that failed.
pub async fn a_registered_node_is_listed_for_others_until_it_is_withdrawn(scene: Arc<dyn Scene>) {
    if !registers(&scene).await {
        return;
    }
    let (source, _) = started(&scene).await;
    let (other, mut reader) = started(&scene).await;
    assert_eq!(source.registration(), None);
    let labels = [("disk".to_owned(), "nvme".to_owned())].into();
    let registered = NodeInfo { labels, weight: Weight::new(2.5).expect("legal"), ..booted(7, 70) };
    soon("a registration", source.register_node(&registered)).await.expect("registered");
    assert!(matches!(source.registration(), Some(RegistrationState::Active { epoch: 1, .. })));
    reader.until(&format!("+{}", registered.address)).await;
    assert_eq!(**reader.at(&registered).expect("listed"), registered);
    soon("a withdrawal", source.withdraw_node(Duration::ZERO)).await.expect("withdrawn");
    assert_eq!(source.registration(), Some(RegistrationState::Ended));
    assert_eq!(reader.until("-").await, format!("-{} deregistered", registered.address));
    finish(&source).await;
    finish(&other).await;
}

/// Without leaving in between; a drain is such a change.
pub async fn other_facts_of_a_registered_node_are_told_to_others(scene: Arc<dyn Scene>) {
    if !registers(&scene).await {
        return;
    }
    let (source, _) = started(&scene).await;
    let (other, mut reader) = started(&scene).await;
    soon("a registration", source.register_node(&booted(7, 70))).await.expect("registered");
    reader.until("+").await;
    let changed = NodeInfo { version: "2".to_owned(), ..booted(7, 70) };
    soon("an update", source.register_node(&changed)).await.expect("written");
    reader.until("~").await;
    assert_eq!(reader.at(&changed).expect("listed").version, "2");
    let drain = source.withdraw_node(Duration::from_secs(1));
    let read = async {
        reader.until("~").await;
        assert_eq!(reader.at(&changed).expect("listed").weight.value(), 0.0);
        reader.until("-").await;
    };
    let (withdrawn, ()) = soon("a drain", async { tokio::join!(drain, read) }).await;
    withdrawn.expect("withdrawn");
    finish(&source).await;
    finish(&other).await;
}

/// The second is told, the first unharmed; and when the first goes, the second has the name.
pub async fn two_processes_with_one_name_are_found_and_told(scene: Arc<dyn Scene>) {
    if !registers(&scene).await {
        return;
    }
    let (first, mut reader) = started(&scene).await;
    let (second, _) = started(&scene).await;
    soon("a registration", first.register_node(&booted(7, 70))).await.expect("registered");
    reader.until("+").await;
    let elsewhere = NodeInfo { address: node(8, "").address, ..booted(7, 71) };
    let refused = soon("an answer", second.register_node(&elsewhere)).await;
    let error = refused.expect_err("the name is taken").to_string();
    assert!(error.contains("another process"), "{error}");
    assert!(matches!(second.registration(), Some(RegistrationState::Conflict { .. })));
    assert!(matches!(first.registration(), Some(RegistrationState::Active { epoch: 1, .. })));
    assert_eq!(reader.at(&node(7, "")).expect("listed").boot, BootId(70));
    soon("a withdrawal", first.withdraw_node(Duration::ZERO)).await.expect("withdrawn");
    let active = || matches!(second.registration(), Some(RegistrationState::Active { .. }));
    until("the second has the name", active).await;
    while reader.at(&elsewhere).is_none() {
        reader.next().await.expect("it goes on");
    }
    finish(&first).await;
    finish(&second).await;
}

/// A process that was killed left its name behind; the next one at its address is the same node, and does not wait for the name to
/// expire.
pub async fn a_restarted_process_takes_its_place_at_once(scene: Arc<dyn Scene>) {
    if !registers(&scene).await {
        return;
    }
    let (killed, mut reader) = started(&scene).await;
    let (restarted, _) = started(&scene).await;
    soon("a registration", killed.register_node(&booted(7, 70))).await.expect("registered");
    reader.until("+").await;
    let later = NodeInfo { incarnation: Incarnation::first_of(5), ..booted(7, 71) };
    soon("a registration", restarted.register_node(&later)).await.expect("registered");
    assert_eq!(reader.until("~").await, format!("~{}", later.address));
    assert_eq!(reader.at(&later).expect("listed").boot, BootId(71));
    until("the former one finds that", || matches!(killed.registration(), Some(RegistrationState::Conflict { .. })))
        .await;
    finish(&killed).await;
    assert_eq!(reader.at(&later).expect("still listed").boot, BootId(71));
    finish(&restarted).await;
}

/// It said farewell, so nobody waits for it to expire.
pub async fn a_shutdown_withdraws_the_node(scene: Arc<dyn Scene>) {
    if !registers(&scene).await {
        return;
    }
    let (source, _) = started(&scene).await;
    let (other, mut reader) = started(&scene).await;
    soon("a registration", source.register_node(&booted(7, 70))).await.expect("registered");
    reader.until("+").await;
    finish(&source).await;
    assert_eq!(reader.until("-").await, format!("-{} deregistered", node(7, "").address));
    finish(&other).await;
}

/// Registered before, registered after, whatever became of the promise.
pub async fn a_registration_outlives_a_cut(scene: Arc<dyn Scene>) {
    if !registers(&scene).await || !scene.traits().cuts {
        return;
    }
    let (source, mut own) = started(&scene).await;
    soon("a registration", source.register_node(&booted(7, 70))).await.expect("registered");
    own.until("+").await;
    scene.cut().await;
    own.until("degraded").await;
    scene.heal().await;
    own.until("restored").await;
    let changed = NodeInfo { version: "2".to_owned(), ..booted(7, 70) };
    until("it is registered", || matches!(source.registration(), Some(RegistrationState::Active { .. }))).await;
    soon("an update", source.register_node(&changed)).await.expect("written");
    while own.at(&changed).is_none_or(|node| node.version != "2") {
        own.next().await.expect("it goes on");
    }
    finish(&source).await;
}

/// Two hundred times, as many lives of one node.
pub async fn many_registrations_leave_no_task_and_no_connection(scene: Arc<dyn Scene>) {
    if !registers(&scene).await {
        return;
    }
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = (tasks(), scene.connections());
    let (source, _) = started(&scene).await;
    let (mut running, mut idle) = (usize::MAX, None);
    for boot in 1..=200 {
        soon("a registration", source.register_node(&booted(7, boot))).await.expect("registered");
        soon("a withdrawal", source.withdraw_node(Duration::ZERO)).await.expect("withdrawn");
        if boot == 1 {
            // Not before: what follows the source may still be making its tasks.
            idle = scene.connections();
        } else if boot <= 20 {
            running = running.min(tasks());
        }
    }
    // A pool may have come to one connection more in two hundred turns, which is a task.
    let more = || scene.connections().zip(idle).map_or(0, |(open, idle)| open.saturating_sub(idle));
    until("no task is left of a registration", || more() <= 1 && tasks() <= running + more()).await;
    finish(&source).await;
    until("no task is left", || tasks() <= before.0).await;
    until("no connection is left", || scene.connections() <= before.1).await;
}
