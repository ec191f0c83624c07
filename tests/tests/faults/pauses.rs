//! Processes that do not run, or hardly.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Row;
use crate::scene::{NODES, Scene, secs};

const SILENT: Duration = Duration::from_secs(11);
const BACK: Duration = Duration::from_secs(5);

pub(crate) const ONE_SECOND: Row = Row {
    fault: "pauses of 1 s",
    outcome: "not failed",
    settings: &[],
    play: |scene| pauses(scene, Duration::from_secs(1)),
};

pub(crate) const THREE_SECONDS: Row = Row {
    fault: "pauses of 3 s",
    outcome: "not failed",
    settings: &[],
    play: |scene| pauses(scene, Duration::from_secs(3)),
};

pub(crate) const LONG: Row = Row {
    fault: "a pause of 30 s",
    outcome: "failed; recovered within 5 s of waking, and it fails nobody else",
    settings: &[],
    play: |scene| {
        let victim = 1;
        let others = scene.cluster.others(victim);
        let (began, act) = (Instant::now(), scene.cluster.signal(victim, Signal::STOP));
        let failed = scene.until_failed(act, SILENT, &others, &[victim]);
        scene.pass(scene.lengths.long_pause.saturating_sub(began.elapsed()));
        scene.cluster.signal(victim, Signal::CONT);
        let back = scene.until_one_view(BACK);
        // A suspicion that the sleeper woke up with has run out by then.
        scene.pass(Duration::from_secs(5));
        scene.nobody_failed_but(victim);
        assert!(scene.failed().iter().all(|(by, _, _)| *by != victim), "it failed others: {}", scene.story());
        format!("failed after {}, back after {}", secs(failed), secs(back))
    },
};

pub(crate) const STARVED: Row = Row {
    fault: "one node at 5 % of a core, shared with a busy process",
    outcome: "nobody else failed",
    settings: &[],
    play: |scene| {
        let victim = 1;
        let pid = scene.cluster.node(victim).pid();
        scene.lab.starve(pid, 5).unwrap_or_else(|told| panic!("{told}"));
        scene.pass(scene.lengths.fault);
        let shortages = scene.lab.shortages();
        assert!(shortages > 0, "it had all that it wanted");
        scene.lab.feed(pid);
        let one = scene.until_one_view(BACK);
        scene.nobody_failed_but(victim);
        let (failed, suspicions) = (scene.failed().len(), scene.suspicions());
        format!(
            "it had to wait {shortages} times, was failed {failed} times, {suspicions} suspicions, one view {} after",
            secs(one)
        )
    },
};

/// One node after the other pauses, and runs for a while.
fn pauses(scene: &mut Scene, pause: Duration) -> String {
    let end = Instant::now() + scene.lengths.fault;
    let mut count = 0;
    while Instant::now() < end {
        let victim = count % NODES;
        scene.cluster.signal(victim, Signal::STOP);
        scene.pass(pause);
        scene.cluster.signal(victim, Signal::CONT);
        count += 1;
        // A suspicion that began in the last moment of the pause is refuted by then, or has become a failure.
        scene.until_one_view(BACK);
    }
    scene.nobody_failed();
    format!("{count} pauses, {} suspicions", scene.suspicions())
}
