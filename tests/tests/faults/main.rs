//! Five real nodes in network namespaces of their own, and every fault that a network, a host or a process can have: who is failed,
//! who is not, and how long it takes until all is well again.
//!
//! Each row of the table has a laboratory to itself, so several run side by side. By default a fault lasts as long as its outcome
//! needs, some ten seconds; `RDB_FAULTS=whole` (`cargo xtask faults`) makes each last its minute, a long pause half of one and the
//! split five, and plays the one row that is not always met. `RDB_FAULT_LABS` is how many laboratories there are at a time, `RDB_FAULT_ROWS` a part of the names of the rows that run.
//! The table is printed either way.

mod cuts;
mod losses;
mod pauses;
mod scene;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdb_net_tests::{Lab, Rdbnet, skip};
use scene::Scene;

/// How long faults last.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    /// Most of them.
    fault: Duration,
    /// A pause that is no pause any more.
    long_pause: Duration,
    /// A cluster in two.
    split: Duration,
}

impl Lengths {
    /// Longer than a silent node is held for suspect. Nobody confirms the suspicions of the smaller side of a split, and they last
    /// four times as long (Lifeguard).
    const SLICE: Self =
        Self { fault: Duration::from_secs(13), long_pause: Duration::from_secs(13), split: Duration::from_secs(40) };
    const WHOLE: Self =
        Self { fault: Duration::from_secs(60), long_pause: Duration::from_secs(30), split: Duration::from_secs(300) };

    fn is_whole(&self) -> bool {
        self.fault >= Self::WHOLE.fault
    }

    fn wanted() -> Self {
        match std::env::var("RDB_FAULTS").as_deref() {
            Err(_) => Self::SLICE,
            Ok("whole") => Self::WHOLE,
            Ok(other) => panic!("RDB_FAULTS is {other:?}; it can be `whole`"),
        }
    }
}

/// With so much loss a member was failed for a moment in two of three runs of a minute, before a probe pinged several times. Too rare since
/// then for a slice of some seconds to show; a run of whole length plays it.
const NOT_ALWAYS_MET: &str = losses::TWO_IN_FIVE.fault;

/// A fault and what must come of it.
struct Row {
    fault: &'static str,
    outcome: &'static str,
    /// What its nodes are told besides the defaults.
    settings: &'static [&'static str],
    /// Plays it; what was measured.
    play: fn(&mut Scene) -> String,
}

const ROWS: &[Row] = &[
    cuts::FROM_THE_DIALLER,
    cuts::TO_THE_DIALLER,
    cuts::BOTH_WAYS,
    losses::NO_UDP_AT_ONE,
    losses::NO_UDP_AT_ALL,
    losses::ONE_IN_FIVE,
    losses::TWO_IN_FIVE,
    losses::FLAPPING,
    pauses::ONE_SECOND,
    pauses::THREE_SECONDS,
    pauses::LONG,
    cuts::ONE_NODE,
    cuts::TWO_AND_THREE,
    pauses::STARVED,
];

/// How many laboratories there are at a time.
fn labs(default: usize) -> usize {
    let given = std::env::var("RDB_FAULT_LABS").ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("RDB_FAULT_LABS is {text:?}, no number")))
}

#[test]
fn each_fault_of_network_host_and_process_has_its_outcome() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    if let Err(reason) = Lab::new("try", 1) {
        return skip(&format!("no networks of its own: {reason}"));
    }
    let lengths = Lengths::wanted();
    let part = std::env::var("RDB_FAULT_ROWS").unwrap_or_default();
    let is_played = |row: &Row| lengths.is_whole() || row.fault != NOT_ALWAYS_MET;
    let rows = ROWS.iter().enumerate().filter(|(_, row)| row.fault.contains(&part) && is_played(row));
    let (waiting, told) = (Mutex::new(rows.collect::<VecDeque<_>>()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..labs(5) {
            scope.spawn(|| {
                while let Some((number, row)) = { waiting.lock().expect("nobody panics here").pop_front() } {
                    let result = play(&rdbnet, number, row, lengths);
                    told.lock().expect("nobody panics here").push((number, row, result));
                }
            });
        }
    });
    let mut told = told.into_inner().expect("nobody panics here");
    told.sort_by_key(|(number, _, _)| *number);
    println!("| fault | outcome | measured |\n|---|---|---|");
    for (_, row, result) in &told {
        let measured = result.as_ref().map_or("FAILED", String::as_str);
        println!("| {} | {} | {measured} |", row.fault, row.outcome);
    }
    assert!(!told.is_empty(), "no row is called {part:?}");
    let failed: Vec<String> = told
        .iter()
        .filter_map(|(_, row, result)| Some((row.fault, result.as_ref().err()?)))
        .map(|(fault, why)| format!("{fault}: {why}"))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Plays one row in a laboratory of its own. A row that goes wrong must not keep the others from their end.
fn play(rdbnet: &Rdbnet, number: usize, row: &Row, lengths: Lengths) -> Result<String, String> {
    let began = Instant::now();
    let played = std::panic::catch_unwind(|| {
        let mut scene = Scene::open(rdbnet, number, row.settings, lengths);
        let measured = (row.play)(&mut scene);
        format!("{measured}; {}", scene.close(began))
    });
    played.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without words").to_owned()
    })
}
