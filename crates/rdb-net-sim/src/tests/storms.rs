//! Storms that once went wrong, and that one seed is one storm.

use crate::storm::{Storm, run_many};

/// Storms that were drawn before some of those who come back remembered anything.
#[track_caller]
fn check(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let outcome = Storm::new(seed).without_memory().run();
        assert!(outcome.is_good(), "{seed}: {:#?}", outcome.problems);
    }
}

#[test]
fn no_rule_is_broken_in_the_first_storms() {
    for seed in 1..=12 {
        let outcome = Storm::new(seed).run();
        assert!(outcome.is_good(), "replay with `{}`: {:#?}", outcome.replay(), outcome.problems);
    }
}

#[test]
fn one_seed_is_one_storm_on_whatever_thread() {
    let first = Storm::new(5).run();
    assert_eq!(first, Storm::new(5).run());
    assert_ne!(first.trace, Storm::new(6).run().trace);
    let tally = run_many(4..8, 2, None, &|_| {});
    assert_eq!((tally.storms, tally.bad.len(), tally.took.len()), (4, 0, 4));
}

#[test]
fn storms_are_of_many_kinds() {
    let scripts: Vec<String> = (1..=200).flat_map(|seed| Storm::new(seed).script()).collect();
    for kind in [
        "Down",
        "Remembering",
        "SlowClock",
        "Ghost",
        "Pause",
        "Busy",
        "Split",
        "OneWay",
        "HalfDeaf",
        "Flap",
        "Lossy",
        "Weather",
        "Leave",
    ] {
        assert!(scripts.iter().filter(|line| line.contains(kind)).count() >= 10, "{kind}");
    }
    let sizes: Vec<usize> = (1..=200).map(|seed| Storm::new(seed).nodes()).collect();
    assert_eq!((sizes.iter().min(), sizes.iter().max()), (Some(&5), Some(&50)));
}

/// A process that stood still for a moment began its next probe before the last steps of the one before it, which were late too.
#[test]
fn a_busy_process_asks_one_after_the_other() {
    check([1547, 1800]);
}

/// A process that is started in a split hears from the other side, once that is mended, who is failed there.
#[test]
fn who_is_started_in_a_split_is_not_blamed_for_what_it_is_told() {
    check([1584]);
}

/// What a process hears of on waking was suspected for as long as it had slept, and then as long as ever.
#[test]
fn a_process_that_wakes_on_one_side_of_a_split_fails_the_other_in_time() {
    check([32]);
}
