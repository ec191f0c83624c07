//! A small slice of each experiment. The large ones are commands; docs/membership.md has their figures.

use std::time::Duration;

use super::{
    ChurnPlan, DetectPlan, DisseminatePlan, LifeguardPlan, PartitionPlan, PhiPlan, SilentPlan, SoakPlan, StabilityPlan,
};
use crate::experiment::cost::Cost;
use crate::report::{Cell, Findings};

#[track_caller]
fn figure(findings: &Findings, row: usize, column: &str) -> f64 {
    let at = findings.table.columns.iter().position(|name| *name == column).expect("a column");
    match findings.table.rows[row][at] {
        Cell::Count(count) => count as f64,
        Cell::Number(number, _) => number,
        ref other => panic!("{other:?}"),
    }
}

/// SWIM, section 3.1. Within four standard errors: 200 crashes are few.
#[test]
fn a_crash_is_found_in_the_period_that_the_paper_says_and_probing_costs_two_messages() {
    let plan = DetectPlan { crashes: 200, ..DetectPlan::new(vec![100], 1) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    let (mean, error) = (figure(&findings, 0, "mean (periods)"), figure(&findings, 0, "+-"));
    assert!((mean - 1.582).abs() < 4.0 * error && error < 0.1, "{mean} +- {error}");
    assert!((figure(&findings, 0, "probe packets/member/period") - 2.0).abs() < 0.1);
    assert_eq!(figure(&findings, 0, "false suspicions"), 0.0);
    assert!(figure(&findings, 0, "most") <= 199.0);
}

#[test]
fn gossip_between_probes_changes_nothing_of_the_first_detection() {
    let plan = DetectPlan { crashes: 100, gossip: true, ..DetectPlan::new(vec![60], 2) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    let (mean, error) = (figure(&findings, 0, "mean (periods)"), figure(&findings, 0, "+-"));
    assert!((mean - 1.582).abs() < 4.0 * error, "{mean} +- {error}");
}

#[test]
fn a_rumour_reaches_three_hundred_members_within_its_ticks() {
    let plan = DisseminatePlan { rumours: 3, ..DisseminatePlan::new(vec![300], 1) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    assert_eq!(findings.problems, [] as [String; 0]);
    let ticks: Vec<f64> = (0..2).map(|row| figure(&findings, row, "ticks to all, mean")).collect();
    assert!(ticks[0] < ticks[1] && ticks[1] <= 9.0, "losses cost ticks: {ticks:?}");
}

#[test]
fn a_cluster_of_two_hundred_lives_for_half_a_minute() {
    let plan = SoakPlan { time: Duration::from_secs(30), ..SoakPlan::new(200, 1) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    assert_eq!(findings.problems, [] as [String; 0]);
    assert_eq!(figure(&findings, 0, "silent hosts"), 1.0);
}

/// Lifeguard, section V: of what a few slow members make plain SWIM believe, hardly anything is left.
#[test]
fn slow_members_convict_the_healthy_under_plain_swim_and_hardly_ever_under_lifeguard() {
    let plan = LifeguardPlan { members: 48, time: Duration::from_secs(70), ..LifeguardPlan::small(1, 4) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    let column = |name: &str| (0..5).map(|row| figure(&findings, row, name)).collect::<Vec<f64>>();
    let (wrong, believed) = (column("false positives"), column("believed by healthy"));
    let (first, packets) = (column("first detection, median (s)"), column("of swim, packets"));
    assert!(wrong[0] > 400.0 && wrong[4] <= 0.02 * wrong[0], "{wrong:?}");
    assert!(believed[0] > 4_000.0 && believed[4] <= 0.02 * believed[0], "{believed:?}");
    assert!(packets[4] <= 1.15, "{packets:?}");
    assert!(wrong[1] < wrong[0] && wrong[2] < wrong[0], "each half helps: {wrong:?}");
    assert!(first[4] <= 1.05 * first[0], "{first:?}");
}

/// Hayashibara et al., figures 6 and 8: the higher the threshold, the fewer mistakes and the later the detection.
#[test]
fn mistakes_fall_and_detection_takes_longer_as_the_threshold_rises() {
    let findings = PhiPlan { seed: 1, beats: 30_000 }.run(&mut |_, _| {});
    assert_eq!(findings.problems, [] as [String; 0]);
    assert_eq!(findings.table.rows.len(), 24);
    let lost = figure(&findings, 0, "lost (%)");
    assert!((0.05..1.5).contains(&lost), "{lost} % lost");
}

#[test]
fn an_experiment_gives_the_same_figures_again() {
    let detect = || DetectPlan { crashes: 5, ..DetectPlan::new(vec![20], 3) }.run(&mut |_, _| {}).expect("legal");
    assert_eq!(detect(), detect());
    let phi = || PhiPlan { seed: 4, beats: 2_000 }.run(&mut |_, _| {});
    assert_eq!(phi(), phi());
    let slow = LifeguardPlan { members: 20, time: Duration::from_secs(10), ..LifeguardPlan::small(1, 1) };
    assert_eq!(slow.run(&mut |_, _| {}).expect("legal"), slow.run(&mut |_, _| {}).expect("legal"));
}

#[test]
fn progress_only_grows_and_ends_at_the_whole() {
    let mut reports = Vec::new();
    let plan = DetectPlan { crashes: 6, ..DetectPlan::new(vec![10, 20], 3) };
    plan.run(&mut |done, total| reports.push((done, total))).expect("legal");
    assert!(reports.is_sorted() && reports.last() == Some(&(12, 12)), "{reports:?}");
}

#[test]
fn forty_members_that_come_apart_are_one_again_also_when_all_are_restarted_meanwhile() {
    let plan = PartitionPlan { cut: Duration::from_secs(90), ..PartitionPlan::new(40, 1) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    assert_eq!(findings.problems, [] as [String; 0]);
    for row in 0..2 {
        let decided = ["keep-majority", "keep-oldest", "quorum"].map(|strategy| figure(&findings, row, strategy));
        assert_eq!(decided, [20.0, 20.0, 0.0], "one side goes on, and no half is a quorum");
        assert!(figure(&findings, row, "one view (s)") <= 15.0);
    }
}

/// Rapid's scenarios at a tenth of the size: no healthy member holds another one for failed on whosever word, and one view is
/// left.
#[test]
fn no_healthy_member_holds_another_for_failed_and_faults_leave_one_view() {
    let findings = StabilityPlan::new(100, 1).run(&mut |_, _| {}).expect("legal");
    assert_eq!(findings.problems, [] as [String; 0]);
    for row in 0..4 {
        assert_eq!(figure(&findings, row, "healthy failed"), 0.0, "{:?}", findings.problems);
        assert!(figure(&findings, row, "views at the end of the faults") <= 2.0, "{:?}", findings.problems);
        assert!(figure(&findings, row, "one view after (s)") <= 60.0);
    }
    assert_eq!(figure(&findings, 3, "of them failed"), 10.0);
}

#[test]
fn everybody_knows_of_a_silent_host_soon_and_losses_fail_nobody() {
    let quiet_time = Duration::from_secs(60);
    let plan = SilentPlan { hosts: 100, quiet_runs: 2, quiet_time, ..SilentPlan::new(vec![50], 1) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    assert_eq!(findings.problems, [] as [String; 0]);
    assert_eq!(figure(&findings, 0, "silent hosts"), 100.0);
    let suspicions = figure(&findings, 2, "false suspicions");
    assert!(suspicions <= 10.0, "{suspicions} in 100 minutes of members, of whom each asks another one a second");
}

#[test]
fn members_that_come_and_go_make_nobody_fail_who_is_there() {
    let time = Duration::from_secs(120);
    let plan = ChurnPlan { time, a_minute: 20, ..ChurnPlan::new(40, 1) };
    let findings = plan.run(&mut |_, _| {}).expect("legal");
    assert_eq!(findings.problems, [] as [String; 0]);
    let goings = ["silent, memory kept", "silent, memory lost", "left"].map(|way| figure(&findings, 0, way));
    assert!(goings.iter().all(|count| *count >= 5.0), "{goings:?}");
    assert!(figure(&findings, 0, "told failed") > 40.0 && figure(&findings, 0, "told left") > 40.0);
}

/// Each seed's rows are those that it has alone, and the whole of the progress is that of all.
#[track_caller]
fn check_two_seeds(
    first: u64,
    rows: usize,
    alone: impl Fn(u64, u64, &mut super::Progress<'_>) -> Result<Findings, crate::fleet::FleetError>,
) {
    let mut reports = Vec::new();
    let both = alone(first, 2, &mut |done, total| reports.push((done, total))).expect("legal");
    assert!(both.is_good(), "{:?}", both.problems);
    assert_eq!((both.table.columns[0], both.table.rows.len()), ("seed", rows * 2));
    let seconds: Vec<bool> = both.table.columns.iter().map(|name| Cost::COLUMNS.contains(name)).collect();
    for seed in [first, first + 1] {
        let own = alone(seed, 1, &mut |_, _| {}).expect("legal");
        assert_eq!((own.table.columns.as_slice(), own.table.rows.len()), (&both.table.columns[1..], rows));
        let among = both.table.rows.iter().filter(|row| row[0] == Cell::Count(seed));
        for (row, own) in among.zip(&own.table.rows) {
            // What it has cost the machine is another each time.
            let cells = row.iter().skip(1).zip(own).zip(seconds.iter().skip(1));
            assert!(cells.clone().all(|((cell, own), is_cost)| *is_cost || cell == own), "{row:?} and {own:?}");
        }
        assert!(
            own.figure
                .panels
                .iter()
                .all(|panel| both.figure.panels.len() == own.figure.panels.len() && !panel.series.is_empty())
        );
    }
    assert!(both.replay.contains(&format!("--seed {first} --seeds 2 ")), "{}", both.replay);
    assert!(reports.is_sorted() && reports.last() == Some(&(20_000, 20_000)), "{reports:?}");
    let named = |figure: &str| both.table.columns.contains(&figure);
    let summary = &both.summary;
    assert!(summary.rows.len() >= rows * 4 && summary.columns[1..] == ["figure", "median", "worst", "its seed"]);
    for row in &summary.rows {
        let Cell::Text(figure) = &row[1] else { panic!("{row:?}") };
        assert!(named(figure) && [first, first + 1].map(Cell::Count).contains(&row[4]), "{row:?}");
    }
}

#[test]
fn two_seeds_of_what_has_one_cluster_are_each_what_they_are_alone() {
    let (short, cut) = (Duration::from_secs(20), Duration::from_secs(60));
    check_two_seeds(3, 4, |seed, seeds, progress| {
        StabilityPlan { seeds, time: short, ..StabilityPlan::new(40, seed) }.run(progress)
    });
    check_two_seeds(5, 2, |seed, seeds, progress| {
        PartitionPlan { seeds, cut, ..PartitionPlan::new(20, seed) }.run(progress)
    });
    check_two_seeds(7, 1, |seed, seeds, progress| {
        ChurnPlan { seeds, time: short, a_minute: 20, ..ChurnPlan::new(20, seed) }.run(progress)
    });
    check_two_seeds(9, 1, |seed, seeds, progress| {
        SoakPlan { seeds, time: short + short, ..SoakPlan::new(40, seed) }.run(progress)
    });
}
