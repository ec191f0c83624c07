//! Every scenario at five nodes with a hundred seeds, and at two hundred nodes with a few.

use crate::scenario::Scenario;

#[track_caller]
fn check(name: &str, nodes: usize, seeds: std::ops::RangeInclusive<u64>) {
    let scenario = Scenario::find(name).expect("a scenario");
    for seed in seeds {
        let outcome = scenario.run(nodes, seed);
        assert!(outcome.is_good(), "replay with `{}`: {:#?}", outcome.replay(), outcome.problems);
    }
}

macro_rules! scenario_tests {
    ($($small:ident, $large:ident: $name:literal;)*) => {$(
        #[test]
        fn $small() {
            check($name, 5, 1..=100);
        }

        #[test]
        fn $large() {
            check($name, 200, 1..=2);
        }
    )*};
}

scenario_tests! {
    five_nodes_that_start_together_agree_within_two_seconds, two_hundred_that_start_together_agree_within_three: "converge";
    a_killed_process_is_failed_at_four_others_within_1500_ms, a_killed_process_is_failed_at_199_others_within_1500_ms: "kill";
    a_pause_of_three_seconds_fails_nobody_among_five, a_pause_of_three_seconds_fails_nobody_among_two_hundred: "pause3s";
    a_leaver_is_left_at_four_others_and_never_failed, a_leaver_is_left_at_199_others_and_never_failed: "leave";
    a_restarted_process_is_recovered_at_four_others, a_restarted_process_is_recovered_at_199_others: "restart";
    nodes_whose_seeds_are_down_join_with_the_first_of_them, two_hundred_whose_seeds_are_down_join_too: "seeds-down";
    a_silent_host_is_failed_at_four_others_within_eleven_seconds, a_silent_host_is_failed_at_199_others: "silent";
}

#[test]
fn twenty_nodes_that_start_together_agree_within_three_seconds() {
    check("converge", 20, 1..=10);
}

#[test]
fn a_scenario_with_too_few_nodes_says_so() {
    let outcome = Scenario::find("kill").expect("a scenario").run(2, 1);
    assert_eq!(outcome.problems, ["kill needs 3 nodes or more"]);
}
