//! What is asked for comes out as it was asked, again from the line that is printed, and what is wrong is named.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use rdb_net_sim::experiment::{
    ChurnPlan, DetectPlan, DisseminatePlan, IdlePlan, KilledPlan, LifeguardPlan, PartitionPlan, PhiPlan, SilentPlan,
    SoakPlan, StabilityPlan,
};
use rdb_net_sim::report::Format;
use rdb_net_sim::scenario;

use super::values::SEED_MAX;
use super::{Task, definition, parse};
use crate::experiment::Experiment;
use crate::storms::Storms;

/// What a line asks for that may have the program's name before it.
fn parsed(line: &str) -> Result<Task, clap::Error> {
    let line = line.strip_prefix("rdb-net-sim").unwrap_or(line);
    parse(std::iter::once("rdb-net-sim").chain(line.split_whitespace()))
}

/// A line asks for this experiment, in a table.
#[track_caller]
fn check(line: &str, experiment: Experiment) {
    let task = parsed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(task, Task::Experiment { experiment, format: Format::Table, picture: None }, "{line}");
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn the_definition_is_consistent() {
    definition().debug_assert();
}

#[test]
fn an_experiment_takes_its_plan_from_the_options() {
    let detect = DetectPlan { crashes: 7, gossip: true, runs: Some(3), ..DetectPlan::new(vec![100, 1000], 9) };
    check("detect --nodes 100,1000 --seed 9 --seeds 3 --crashes 7 --gossip on", Experiment::Detect(detect));
    let disseminate = DisseminatePlan { rumours: 2, runs: 3, ..DisseminatePlan::new(vec![1000], 1) };
    check("disseminate --rumours 2 --seeds 3", Experiment::Disseminate(disseminate));
    let lifeguard = LifeguardPlan { members: 64, ..LifeguardPlan::small(3, 2) };
    check("lifeguard --grid small --nodes 64 --seed 3 --seeds 2", Experiment::Lifeguard(lifeguard));
    let idle = IdlePlan { time: secs(60), ..IdlePlan::new(vec![20, 1000], 1) };
    check("idle --nodes 20,1000 --time 60", Experiment::Idle(idle));
    let killed = KilledPlan { kills: 7, ..KilledPlan::new(vec![50, 1000], 1) };
    check("killed --nodes 50,1000 --crashes 7", Experiment::Killed(killed));
    let silent = SilentPlan { losses: vec![0.0, 0.4], hosts: 5, quiet_runs: 0, ..SilentPlan::new(vec![9], 1) };
    check("silent --nodes 9 --losses 0,40 --crashes 5 --seeds 0", Experiment::Silent(silent));
    let stability = StabilityPlan { time: secs(5), seeds: 3, ..StabilityPlan::new(40, 2) };
    check("stability --nodes 40 --time 5 --seed 2 --seeds 3", Experiment::Stability(stability));
    let partition = PartitionPlan { cut: secs(90), seeds: 4, ..PartitionPlan::new(40, 1) };
    check("partition --nodes 40 --time 90 --seeds 4", Experiment::Partition(partition));
    let churn = ChurnPlan { a_minute: 7, time: secs(60), seeds: 5, ..ChurnPlan::new(40, 1) };
    check("churn --nodes 40 --churn 7 --time 60 --seeds 5", Experiment::Churn(churn));
    let soak = SoakPlan { time: secs(90), seeds: 6, ..SoakPlan::new(50, 1) };
    check("soak --nodes 50 --time 90 --seeds 6", Experiment::Soak(soak));
    check("phi --beats 5 --seed 0", Experiment::Phi(PhiPlan { beats: 5, ..PhiPlan::new(0) }));
}

#[test]
fn without_options_an_experiment_is_as_its_plan_has_it() {
    check("detect", Experiment::Detect(DetectPlan::new(vec![1000], 1)));
    check("disseminate", Experiment::Disseminate(DisseminatePlan::new(vec![1000], 1)));
    check("lifeguard", Experiment::Lifeguard(LifeguardPlan::new(1, 10)));
    check("idle", Experiment::Idle(IdlePlan::new(vec![1000], 1)));
    check("killed", Experiment::Killed(KilledPlan::new(vec![1000], 1)));
    check("silent", Experiment::Silent(SilentPlan::new(vec![1000], 1)));
    check("stability", Experiment::Stability(StabilityPlan::new(1000, 1)));
    check("partition", Experiment::Partition(PartitionPlan::new(1000, 1)));
    check("churn", Experiment::Churn(ChurnPlan::new(1000, 1)));
    check("soak", Experiment::Soak(SoakPlan::new(1000, 1)));
    check("phi", Experiment::Phi(PhiPlan::new(1)));
}

/// At the ends of what a plan may have, which would take long to run.
#[test]
fn the_line_that_does_it_again_asks_for_the_same_plan() {
    for seed in [0, 7, SEED_MAX] {
        let sizes = vec![100, 7, 1000];
        let detect = DetectPlan::new(sizes.clone(), seed);
        check(&detect.replay(), Experiment::Detect(detect.clone()));
        let gossip = DetectPlan { runs: Some(9), crashes: 1_000_000, gossip: true, ..detect };
        check(&gossip.replay(), Experiment::Detect(gossip));
        let disseminate = DisseminatePlan { rumours: 3, runs: 4, ..DisseminatePlan::new(sizes.clone(), seed) };
        check(&disseminate.replay(), Experiment::Disseminate(disseminate));
        for lifeguard in [LifeguardPlan::new(seed, 9), LifeguardPlan::small(seed, 3)] {
            let lifeguard = LifeguardPlan { members: 100, ..lifeguard };
            check(&lifeguard.replay(), Experiment::Lifeguard(lifeguard));
        }
        let idle = IdlePlan { time: secs(11), ..IdlePlan::new(sizes.clone(), seed) };
        check(&idle.replay(), Experiment::Idle(idle));
        let killed = KilledPlan { kills: 1, ..KilledPlan::new(sizes.clone(), seed) };
        check(&killed.replay(), Experiment::Killed(killed));
        let losses: Vec<f64> = (0..=99).map(|percent| f64::from(percent) / 100.0).collect();
        let silent = SilentPlan { hosts: 2, quiet_runs: 0, losses, ..SilentPlan::new(sizes, seed) };
        check(&silent.replay(), Experiment::Silent(silent));
        let stability = StabilityPlan { time: secs(1), ..StabilityPlan::new(2, seed) };
        check(&stability.replay(), Experiment::Stability(stability));
        let partition = PartitionPlan { cut: secs(1_000_000), ..PartitionPlan::new(1_000_000, seed) };
        check(&partition.replay(), Experiment::Partition(partition));
        let churn = ChurnPlan { a_minute: 3, time: secs(77), ..ChurnPlan::new(50, seed) };
        check(&churn.replay(), Experiment::Churn(churn));
        let soak = SoakPlan { time: secs(77), ..SoakPlan::new(50, seed) };
        check(&soak.replay(), Experiment::Soak(soak));
        let phi = PhiPlan { beats: 1, seed };
        check(&phi.replay(), Experiment::Phi(phi));
    }
    let (seed, seeds) = (SEED_MAX - 8, 9);
    let stability = StabilityPlan { seeds, ..StabilityPlan::new(2, seed) };
    check(&stability.replay(), Experiment::Stability(stability));
    let partition = PartitionPlan { seeds, ..PartitionPlan::new(2, seed) };
    check(&partition.replay(), Experiment::Partition(partition));
    let churn = ChurnPlan { seeds, ..ChurnPlan::new(50, seed) };
    check(&churn.replay(), Experiment::Churn(churn));
    let soak = SoakPlan { seeds, ..SoakPlan::new(50, seed) };
    check(&soak.replay(), Experiment::Soak(soak));
}

/// Nobody settles in no time, so each seed fails.
#[test]
fn a_seed_that_fails_among_others_tells_the_line_that_does_it_alone_again() {
    let churn = ChurnPlan { settle: Duration::ZERO, time: secs(5), seeds: 2, ..ChurnPlan::new(6, SEED_MAX - 1) };
    let findings = churn.run(&mut |_, _| {}).expect("legal");
    assert_eq!(findings.problems.len(), 2);
    for (seed, problem) in [SEED_MAX - 1, SEED_MAX].into_iter().zip(&findings.problems) {
        let (_, again) = problem.split_once("again: ").expect("a line that does it again");
        check(again, Experiment::Churn(ChurnPlan { time: secs(5), ..ChurnPlan::new(6, seed) }));
    }
}

#[test]
fn what_a_report_prints_behind_again_asks_for_what_was_asked() {
    for line in [
        "detect --nodes 3,2 --crashes 2 --seeds 2 --gossip on --seed 5",
        "disseminate --nodes 9,2 --rumours 2 --seeds 2 --seed 5",
        "lifeguard --nodes 32 --grid small --seeds 1 --seed 5",
        "idle --nodes 3,2 --time 11 --seed 5",
        "killed --nodes 4,3 --crashes 2 --seed 5",
        "silent --nodes 3,2 --crashes 2 --seeds 1 --losses 7,0 --seed 5",
        "stability --nodes 4 --time 2 --seed 5",
        "stability --nodes 4 --time 2 --seed 5 --seeds 2",
        "partition --nodes 4 --time 2 --seed 5",
        "partition --nodes 4 --time 2 --seed 5 --seeds 2",
        "churn --nodes 4 --time 5 --churn 30 --seed 5",
        "churn --nodes 4 --time 5 --churn 30 --seed 5 --seeds 2",
        "soak --nodes 4 --time 3 --seed 5",
        "soak --nodes 4 --time 3 --seed 5 --seeds 2",
        "phi --beats 3000 --seed 5",
    ] {
        let Ok(Task::Experiment { experiment, .. }) = parsed(line) else { panic!("{line}: an experiment") };
        let findings = experiment.run(&mut |_, _| {}).expect(line);
        let is_drawn =
            findings.figure.panels.iter().all(|panel| panel.series.iter().any(|series| !series.points.is_empty()));
        assert!(is_drawn && !findings.figure.panels.is_empty(), "{line} has a picture");
        let report = findings.render(Format::Table);
        let (_, again) = report.split_once("again: ").expect("a line that does it again");
        check(again.lines().next().expect("a line"), experiment);
    }
}

#[test]
fn the_line_that_plays_an_outcome_again_asks_for_its_nodes_and_its_seed() {
    for scenario in scenario::ALL {
        let outcome = scenario.run(scenario.nodes_min, 3);
        let task =
            Task::Scenarios { names: vec![scenario.name], nodes: scenario.nodes_min, first: 3, seeds: 1, json: false };
        assert_eq!(parsed(&outcome.replay()).expect(scenario.name), task);
        let storm = scenario::Outcome { scenario: "storm", seed: SEED_MAX, ..outcome };
        let storms = Storms { first: SEED_MAX, seeds: 1, threads: 1, time: None, json: false };
        assert_eq!(parsed(&storm.replay()).expect("a storm"), Task::Storms(storms));
    }
}

#[test]
fn findings_have_a_form_and_may_be_drawn_besides() {
    for (line, format, drawn) in [
        ("phi --picture a.svg", Format::Table, Some("a.svg")),
        ("phi --output json", Format::Json, None),
        ("phi --output csv", Format::Csv, None),
        ("phi --output svg", Format::Svg, None),
    ] {
        let experiment = Experiment::Phi(PhiPlan::new(1));
        let task = Task::Experiment { experiment, format, picture: drawn.map(PathBuf::from) };
        assert_eq!(parsed(line).expect(line), task);
    }
}

#[test]
fn a_scenario_takes_nodes_and_seeds() {
    let task = |name, nodes, first, seeds, json| Task::Scenarios { names: vec![name], nodes, first, seeds, json };
    assert_eq!(parsed("scenario leave").expect("legal"), task("leave", 5, 1, 1, false));
    let line = "scenario kill --nodes 3 --seed 3 --seeds 2 --output json";
    assert_eq!(parsed(line).expect("legal"), task("kill", 3, 3, 2, true));
    let Ok(Task::Scenarios { names, .. }) = parsed("scenario all") else { panic!("scenarios") };
    assert_eq!(names, scenario::ALL.map(|scenario| scenario.name));
    assert_eq!(parsed("list").expect("legal"), Task::List);
}

#[test]
fn storms_take_seeds_threads_and_a_time() {
    let storms = Storms { first: 7, seeds: 20, threads: 2, time: None, json: false };
    assert_eq!(parsed("storm --seed 7 --seeds 20 --threads 2").expect("legal"), Task::Storms(storms.clone()));
    let line = "storm --seed 7 --seeds 1 --threads 9 --time 20 --output json";
    let short = Storms { seeds: 1, threads: 1, time: Some(secs(20)), json: true, ..storms };
    assert_eq!(parsed(line).expect("legal"), Task::Storms(short), "no thread is without a seed");
    let Ok(Task::Storms(fresh)) = parsed("storm --seed fresh --time 20") else { panic!("storms") };
    assert!(fresh.first > 1_000_000, "of the clock");
    assert!(fresh.seeds > 1_000_000, "as many as there is time for");
    let Ok(Task::Storms(one)) = parsed("storm") else { panic!("storms") };
    assert_eq!((one.first, one.seeds), (1, 1));
}

#[test]
fn what_is_wrong_is_named() {
    for (line, problem) in [
        ("dance", "unrecognized subcommand 'dance'"),
        ("detct", "a similar subcommand exists: 'detect'"),
        ("scenario", "<NAME>"),
        ("scenario kil", "a similar value exists: 'kill'"),
        ("scenario dance", "[possible values: converge, kill, pause3s, leave, restart, seeds-down, silent, all]"),
        ("scenario kill --time 5", "unexpected argument '--time'"),
        ("scenario kill --output svg", "[possible values: table, json]"),
        ("scenario kill --nodes 0", "'0' for '--nodes <N>': must be a whole number from 1 to 20000"),
        ("scenario kill --nodes 2", "'2' for '--nodes <N>': kill needs 3 nodes or more"),
        ("scenario all --nodes 3", "'3' for '--nodes <N>': seeds-down needs 4 nodes or more"),
        ("scenario kill --seeds 0", "'0' for '--seeds <K>': must be a whole number from 1 to 1000000000"),
        ("scenario kill --seed -1", "'-1' for '--seed <S>'"),
        ("storm --threads 0", "'0' for '--threads <T>': must be a whole number from 1 to 1000"),
        ("storm --time 0", "'0' for '--time <SECONDS>': must be a whole number from 1 to 1000000"),
        ("storm --seed frsh", "'frsh' for '--seed <S|fresh>': must be `fresh` or a whole number from 0 to "),
        ("storm --seed 18446744069414584321", "'18446744069414584321' for '--seed <S|fresh>'"),
        ("storm --seed 18446744069414584320 --seeds 2", "'2' for '--seeds <K>': the last seed is 18446744069414584320"),
        ("detect --nodes", "a value is required for '--nodes <N,..>'"),
        ("detect --nodes ten", "'ten' for '--nodes <N,..>': must be a whole number from 2 to 1000000"),
        ("detect --nodes 100,", "'' for '--nodes <N,..>'"),
        ("detect --nodes 100,1", "'1' for '--nodes <N,..>': must be a whole number from 2 to 1000000"),
        ("detect --nodes -5", "'-5' for '--nodes <N,..>'"),
        ("detect --node 5", "a similar argument exists: '--nodes'"),
        ("detect --seeds 0", "'0' for '--seeds <K>': must be a whole number from 1 to 1000000000"),
        ("detect --crashes 0", "'0' for '--crashes <C>': must be a whole number from 1 to 1000000"),
        ("detect --gossip maybe", "[possible values: on, off]"),
        ("detect --beats 5", "unexpected argument '--beats'"),
        ("detect --seed 1 --seed 2", "'--seed <S>' cannot be used multiple times"),
        ("disseminate --rumours 0", "'0' for '--rumours <R>': must be a whole number from 1 to 1000000"),
        ("lifeguard --grid huge", "[possible values: full, small]"),
        ("lifeguard --nodes 63", "'63' for '--nodes <N>': up to 32 are slow at a time, so it needs 64 or more"),
        ("lifeguard --grid small --nodes 31", "it needs 32 or more"),
        ("idle --time 9", "'9' for '--time <SECONDS>': must be a whole number from 10 to 86400"),
        ("killed --nodes 20001", "'20001' for '--nodes <N,..>': must be a whole number from 2 to 20000"),
        ("silent --losses 0,100", "'100' for '--losses <P,..>': must be a whole number from 0 to 99"),
        ("silent --losses 5%", "'5%' for '--losses <P,..>': must be a whole number from 0 to 99"),
        ("churn --churn 0", "'0' for '--churn <C>': must be a whole number from 1 to 100000"),
        ("partition --time 0", "'0' for '--time <SECONDS>': must be a whole number from 1 to 1000000"),
        ("soak --nodes 5,6", "'5,6' for '--nodes <N>': must be a whole number from 2 to 1000000"),
        ("soak --time 1.5", "'1.5' for '--time <SECONDS>': must be a whole number from 1 to 1000000"),
        ("soak --nodes 4 --time 43", "'4' for '--nodes <N>': in 43 s 3 hosts go silent, so it needs 7 or more"),
        ("churn --seeds 0", "'0' for '--seeds <K>': must be a whole number from 1 to 1000000000"),
        ("soak --seed 18446744069414584320 --seeds 2", "'2' for '--seeds <K>': the last seed is 18446744069414584320"),
        ("partition --seed 18446744069414584319 --seeds 3", "no more than 2 begin with 18446744069414584319"),
        ("stability --seed 18446744069414584319 --seeds 3", "no more than 2 begin with 18446744069414584319"),
        ("churn --seed 18446744069414584319 --seeds 3", "no more than 2 begin with 18446744069414584319"),
        ("phi --beats 0", "'0' for '--beats <B>': must be a whole number from 1 to 4294967295"),
        ("phi --output pdf", "[possible values: table, json, csv, svg]"),
        ("list all", "unexpected argument 'all'"),
        ("", "Usage: rdb-net-sim <COMMAND>"),
    ] {
        let error = parsed(line).expect_err(line);
        assert!(error.to_string().contains(problem), "{line}: {error}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn each_command_has_help_which_is_no_failure() {
    let commands = definition();
    let names = commands.get_subcommands().map(|command| command.get_name().to_owned());
    for line in ["--help".to_owned(), "help".to_owned()].into_iter().chain(names.map(|name| format!("{name} --help"))) {
        let help = parsed(&line).expect_err(&line);
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0), "{line}");
    }
}

#[test]
fn the_help_tells_what_holds_where_nothing_is_said() {
    for (line, default) in [
        ("idle", "120"),
        ("stability", "120"),
        ("churn", "300"),
        ("partition", "300"),
        ("soak", "60"),
        ("lifeguard", "128"),
        ("silent", "0,5,20"),
        ("killed", "100"),
        ("scenario", "5"),
    ] {
        let help = parsed(&format!("{line} -h")).expect_err(line).to_string();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&format!("[default: {default}]")), "{line}: {help}");
    }
}
