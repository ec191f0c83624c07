//! What is left of two hundred lives, in a process that does nothing else.

use std::process::Command;
use std::sync::Arc;

use rdb_discovery::DiscoverySource;
use rdb_net_types::{BootId, NodeInfo};

use super::{Kind, PATIENCE, Reader, Scene, finish, node, numbered, run, soon, started, until};

/// Set in the process that does nothing else.
const ALONE: &str = "RDB_CONFORMANCE_ALONE";

const LIVES: u16 = 200;
/// Tasks that the source which looks on may come to have: a connection more in a pool, and the watch that follows its first list.
/// A leak is one for each life.
const TASKS_MORE: usize = 2;
/// Files that it may come to have: those of one connection more, of which this process has the end here, and where there is a way
/// between its both ends three times over; and, of an agent within this process, the end there and its copies.
const FILES_MORE: usize = 10;
/// Nodes that stay, so that those who go are never most of them.
const STAYING: std::ops::Range<u16> = 1_000..1_300;

/// Runs the case in a process of its own, where nobody else opens and closes files. The name is that of the test.
///
/// # Panics
///
/// When the case does.
pub fn alone<F: Future<Output = ()>>(name: &str, kind: &dyn Kind, case: impl FnOnce(Arc<dyn Scene>) -> F) {
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    if std::env::var(ALONE).is_ok_and(|wanted| wanted == name) {
        return run(kind, case);
    }
    let mut process = Command::new(std::env::current_exe().expect("this test has a file"));
    process.args(["--exact", name, "--nocapture", "--test-threads", "1"]).env(ALONE, name);
    let output = process.output().expect("it starts again");
    let text = String::from_utf8_lossy(&output.stdout);
    report(
        &text.lines().filter(|line| line.contains("SKIPPED") || line.contains("lives")).collect::<Vec<_>>().join("\n"),
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

/// Each life is a process that starts, registers where it can, is killed and expires. Nothing of it is left: no task and no file.
pub async fn lives_that_expire_leave_no_task_and_no_file(scene: Arc<dyn Scene>) {
    let staying = numbered(STAYING);
    scene.write(&staying).await;
    let (source, mut reader) = started(&scene).await;
    reader.until_addresses(&staying).await;
    let registers = source.capabilities().registers;
    let before = (tasks(), files());
    let lives = async {
        for number in 0..LIVES {
            let (life, mut seen) = started(&scene).await;
            seen.next().await;
            if registers {
                register(&*life, number).await;
            }
            // As by a kill: nobody says farewell.
            drop((life, seen));
        }
    };
    let seen = async {
        if registers && scene.traits().expires {
            each_comes_and_expires(&mut reader).await;
        }
    };
    tokio::join!(lives, seen);
    until("no task is left", || tasks() <= before.0 + TASKS_MORE).await;
    until("no file is left", || files() <= before.1 + FILES_MORE).await;
    report(&format!(
        "{}: {LIVES} lives, tasks {} -> {}, files {} -> {}",
        source.source_name(),
        before.0,
        tasks(),
        before.1,
        files()
    ));
    finish(&source).await;
}

async fn register(life: &dyn DiscoverySource, number: u16) {
    let registered = NodeInfo { boot: BootId(u64::from(number) + 1), ..node(number, "1") };
    soon("a registration", life.register_node(&registered)).await.expect("registered");
}

/// Told once when it comes and once when it expires: each is registered for longer than a change is held back.
async fn each_comes_and_expires(reader: &mut Reader) {
    let count = |reader: &Reader, event: &str| reader.log.iter().filter(|told| *told == event).count();
    let last = |reader: &Reader| reader.log.iter().filter(|event| event.ends_with(" expired")).count();
    while last(reader) < usize::from(LIVES) {
        let told = tokio::time::timeout(PATIENCE / 2, reader.next()).await;
        let odd = |event: &&String| !event.starts_with('+') && !event.ends_with(" expired");
        let late = || (last(reader), reader.log.iter().filter(odd).collect::<Vec<_>>());
        assert!(matches!(told, Ok(Some(_))), "not all have expired: {:?}", late());
    }
    for number in 0..LIVES {
        let address = node(number, "").address;
        let told = (count(reader, &format!("+{address}")), count(reader, &format!("-{address} expired")));
        assert_eq!(told, (1, 1), "{address}");
    }
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Open files of this process; 0 where nobody tells.
fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[expect(clippy::print_stdout, reason = "a figure that a test measured is read from its output")]
fn report(text: &str) {
    println!("{text}");
}
