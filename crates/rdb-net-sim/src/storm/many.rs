//! Many storms, side by side: one simulation is one thread, and several threads take the next seed that nobody has.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Storm;
use crate::scenario::Outcome;

/// How many storms went which way.
#[derive(Debug, Default)]
pub struct Tally {
    /// Storms that were played.
    pub storms: u64,
    /// Those that went wrong, by seed.
    pub bad: Vec<Outcome>,
    /// Nodes of all storms together.
    pub nodes: u64,
    /// Datagrams that were delivered.
    pub packets: u64,
    /// The time of each from the last fault to one view, shortest first.
    pub took: Vec<Duration>,
}

/// Plays the storms of these seeds on so many threads, until the time is up, and tells how many are over after each.
///
/// # Panics
///
/// Where a storm does: its seed is told before.
pub fn run_many(seeds: Range<u64>, threads: usize, time: Option<Duration>, progress: &(dyn Fn(u64) + Sync)) -> Tally {
    let (next, over, begun) = (AtomicU64::new(seeds.start), AtomicU64::new(0), Instant::now());
    let found: Mutex<BTreeMap<u64, Outcome>> = Mutex::new(BTreeMap::new());
    let work = || {
        while time.is_none_or(|time| begun.elapsed() < time) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = Storm::new(seed).run();
            found.lock().expect("invariant: nobody panics while holding it").insert(seed, outcome);
            progress(over.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    thread::scope(|scope| {
        (0..threads.max(1)).for_each(|_| {
            scope.spawn(work);
        });
    });
    let mut tally = Tally::default();
    for outcome in found.into_inner().expect("invariant: nobody panics while holding it").into_values() {
        tally.storms += 1;
        tally.nodes += outcome.nodes as u64;
        tally.packets += outcome.packets;
        tally.took.extend(outcome.took);
        if !outcome.is_good() {
            tally.bad.push(outcome);
        }
    }
    tally.took.sort_unstable();
    tally
}
