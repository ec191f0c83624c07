//! After the end nothing is left: no task, no thread of the watch, no handle. Alone in its process, which it counts.

#![cfg(target_os = "linux")]

mod support;

use std::fs;

use support::{Place, next, text, told, watched, within};

/// Handles of file watches that this process holds.
fn watches() -> usize {
    let handles = fs::read_dir("/proc/self/fd").expect("a Linux system").flatten();
    handles.filter(|handle| fs::read_link(handle.path()).is_ok_and(|to| to.ends_with("anon_inode:inotify"))).count()
}

/// Threads of watches. A thread has let go of all it owns before it ends, so its end may lag by a moment.
fn watch_threads() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("a Linux system").flatten();
    threads
        .filter(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.contains("notify")))
        .count()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn eventually(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn neither_a_shutdown_nor_a_drop_leaves_anything() {
    assert_eq!((tasks(), watches(), watch_threads()), (0, 0, 0));
    for _ in 0..10 {
        let place = Place::started(watched(), &["a:1"]).await;
        let mut changes = place.changes().await;
        told(&mut changes, 1).await;
        place.write(&text(&["a:1", "b:1"]));
        told(&mut changes, 1).await;
        assert_eq!((tasks(), watches(), watch_threads()), (1, 1, 1));
        within(rdb_net_types::Component::shutdown(&*place.source)).await.expect("everything ends");
        assert_eq!((tasks(), watches()), (0, 0));
        eventually(|| watch_threads() == 0).await;
    }

    let place = Place::started(watched(), &["a:1"]).await;
    let mut changes = place.changes().await;
    told(&mut changes, 1).await;
    drop(place);
    assert_eq!(next(&mut changes).await, None);
    eventually(|| (tasks(), watches(), watch_threads()) == (0, 0, 0)).await;
}
