//! Peers that misbehave, each in its own way and by name: what comes back, which counter moves, that the node's memory stays
//! bounded, and that a healthy peer beside them is served as before.
//!
//! The node is in this process, so that its allocations are counted: the strangers talk to it over real loopback sockets.
//! `docs/wire-format.md` has the rules that the cases are held against.

#[path = "badpeer/bodies.rs"]
mod bodies;
#[path = "badpeer/case.rs"]
mod case;
#[path = "badpeer/compressed.rs"]
mod compressed;
#[path = "badpeer/floods.rs"]
mod floods;
#[path = "badpeer/fragments.rs"]
mod fragments;
#[path = "badpeer/frames.rs"]
mod frames;
#[path = "badpeer/greeting.rs"]
mod greeting;
#[path = "badpeer/healthy.rs"]
mod healthy;
#[path = "badpeer/memory.rs"]
mod memory;
#[path = "badpeer/messages.rs"]
mod messages;
#[path = "badpeer/silence.rs"]
mod silence;
#[path = "badpeer/streams.rs"]
mod streams;
#[path = "badpeer/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

use case::{Case, Report};
use healthy::{Healthy, Load};
use world::World;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What one case may hold at once above what was held before it, in both ends of its connections.
const CASE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What all of them together may leave behind: tables that have grown once.
// The buffers of the healthy peer's connection begin with 4 KiB and grow up to 64 KiB at either end, with as much again for
// what is written, while others flood.
const LEFT_BYTES_MAX: usize = 384 * 1024;
/// How long the healthy peer is measured alone.
const ALONE: Duration = Duration::from_secs(3);
/// A healthy peer's slowest hundredth may take twice as long beside the floods, and so much more. Four threads (a stranger, the
/// node's two, the test's own) share what may be two cores with other programs: whoever is ready waits for a time slice or two
/// of the others, which are 3 ms long.
const NOISE: Duration = Duration::from_millis(8);
/// How long everything may take.
const SUITE_TIME_MAX: Duration = Duration::from_secs(60);

fn cases() -> Vec<Case> {
    [
        greeting::cases(),
        frames::cases(),
        bodies::cases(),
        compressed::cases(),
        messages::cases(),
        fragments::cases(),
        memory::cases(),
        streams::cases(),
        silence::cases(),
        floods::cases(),
    ]
    .concat()
}

#[test]
fn every_misbehaviour_ends_as_documented_and_harms_nobody() {
    let begun = Instant::now();
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "every case has a name of its own");
    let mut world = World::start();
    let healthy = Healthy::start(&world, ALONE);
    let before = MEMORY.current_usage();
    let mut reports = Vec::new();
    for case in &cases {
        healthy.note(if case.floods { Load::Flood } else { Load::Other });
        reports.push(play(&mut world, case));
        healthy.note(Load::Other);
    }
    let left = settled(before);
    let latencies = healthy.stop(&world);
    let took = begun.elapsed();

    reports.iter().for_each(|report| println!("{report}"));
    let failed: Vec<&str> =
        reports.iter().filter(|report| report.problem.is_some()).map(|report| report.name).collect();
    println!("MEASURED misbehaviours: {} in {took:.1?}, {} failed; {left} bytes left", reports.len(), failed.len());
    println!("MEASURED healthy peer: {latencies}");
    assert!(failed.is_empty(), "{failed:?}");
    assert!(reports.len() >= 180, "{} cases", reports.len());
    assert!(left <= LEFT_BYTES_MAX, "{left} bytes are left");
    assert!(latencies.failed == 0, "the healthy peer was not served: {latencies}");
    assert!(latencies.flood <= 2 * latencies.alone + NOISE, "the healthy peer was slowed down: {latencies}");
    assert!(took <= SUITE_TIME_MAX, "{took:?}");
    world.stop();
}

/// What is held above this, once the tasks of the last connections have ended.
fn settled(before: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = MEMORY.current_usage().saturating_sub(before);
        if left <= LEFT_BYTES_MAX || Instant::now() > deadline {
            return left;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Plays one case, with the memory that it held and what it changed among the counters.
fn play(world: &mut World, case: &Case) -> Report {
    let (before, counters) = (MEMORY.current_usage(), world.counters());
    MEMORY.reset_peak_usage();
    let mut problem = case.play(world).and_then(|()| world.wait_counted(&counters, &case.counted)).err();
    let held = MEMORY.peak_usage().saturating_sub(before);
    if problem.is_none() && held > case.bytes_max {
        problem = Some(format!("{held} bytes were held at once, {} are permitted", case.bytes_max));
    }
    Report { name: case.name, sends: case.sends, comes_back: case.comes_back(), held, problem }
}
