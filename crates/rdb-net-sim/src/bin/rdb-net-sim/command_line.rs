//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

use rdb_net_sim::experiment::{
    ChurnPlan, DetectPlan, DisseminatePlan, IdlePlan, KilledPlan, LifeguardPlan, PartitionPlan, PhiPlan, SilentPlan,
    SoakPlan, StabilityPlan,
};
use rdb_net_sim::report::Format;
use rdb_net_sim::{Scenario, scenario};

use crate::storms::Storms;

pub(crate) const USAGE: &str = "\
rdb-net-sim runs scenarios and experiments on a simulated cluster.

  rdb-net-sim list
  rdb-net-sim scenario NAME|all [--nodes N] [--seed S] [--seeds K] [--output table|json]
  rdb-net-sim storm       [--seed S|fresh] [--seeds K] [--threads T] [--time SECONDS] [--output table|json]
  rdb-net-sim detect      [--nodes N,..] [--seed S] [--seeds K] [--crashes C] [--gossip on|off]
  rdb-net-sim disseminate [--nodes N,..] [--seed S] [--seeds K] [--rumours R]
  rdb-net-sim lifeguard   [--nodes N] [--seed S] [--seeds K] [--grid full|small]
  rdb-net-sim idle        [--nodes N,..] [--seed S] [--time SECONDS]
  rdb-net-sim killed      [--nodes N,..] [--seed S] [--crashes C]
  rdb-net-sim silent      [--nodes N,..] [--seed S] [--seeds K] [--crashes C] [--losses P,..]
  rdb-net-sim stability   [--nodes N] [--seed S] [--time SECONDS]
  rdb-net-sim partition   [--nodes N] [--seed S] [--time SECONDS]
  rdb-net-sim churn       [--nodes N] [--seed S] [--time SECONDS] [--churn C]
  rdb-net-sim soak        [--nodes N] [--seed S] [--time SECONDS]
  rdb-net-sim phi         [--seed S] [--beats B]

A scenario does something to whole nodes. A storm is what a seed draws: 5 to 50 whole nodes, two to five faults, ten simulated
minutes; every rule must hold of it. An experiment measures the membership protocol alone:

  detect       how long a crash stays unnoticed, and what the probing costs; a row for each size
  disseminate  how many gossip ticks until everybody knows; a row for each size and loss
  lifeguard    false failures with slow members, by the parts of Lifeguard that are on
  idle         what a whole node that does nothing sends; a row for each size
  killed       until everybody knows of a killed process, in clusters of whole nodes; a row for each size
  silent       until everybody knows of a silent host, and whether losses make anybody fail; a row for each
               size and loss
  stability    a few members are faulty, and nobody else may suffer for it; a row for each fault
  partition    two halves that are apart for a while, and mended; and all restarted meanwhile
  churn        members fall silent or leave, and start again, all the time
  soak         a large cluster with default settings, in which a host goes silent now and then
  phi          mistakes and detection time of a phi detector by its threshold

  --nodes N    nodes of the cluster; default 5 for a scenario, 1000 for an experiment, 128 for lifeguard
  --seed S     the first seed; default 1; storm: `fresh` takes one from the clock, and tells it
  --seeds K    how many seeds, S and those after it; default 1; detect: as many as C crashes need;
               lifeguard: 10; silent: quiet runs of 10 minutes, 20
  --threads T  storm: threads, each of which plays one at a time; default one for each processor
  --crashes C  crashes of each size; default 2000; silent: of each row, 100; killed: 100
  --losses P   packets that are lost, in percent; a row for each; default 0,5,20
  --gossip on  gossip between probes too, as by default in production; default off
  --rumours R  rumours for each seed; default 20
  --grid small one cell of the grid; default full: 5 concurrencies, 4 durations, 4 intervals
  --time SECONDS  storm: begin no other one after so much wall time; experiments: simulated time; default 60; how long the faults last: stability and idle 120, partition and
               churn 300
  --churn C    how many members go each minute; default one in ten
  --beats B    heartbeats; default 1000000
  --output O   experiments: table, json, csv or svg
  --picture FILE  experiments: write the picture there as well

Exit codes: 0 everything was as it must be, 1 it was not, 2 the command line is wrong.
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    Help,
    List,
    Scenarios { names: Vec<&'static str>, nodes: usize, first: u64, seeds: u64, json: bool },
    Storms(Storms),
    Experiment { experiment: Experiment, format: Format, picture: Option<PathBuf> },
}

/// An experiment with its plan.
#[derive(Debug, PartialEq)]
pub(crate) enum Experiment {
    Churn(ChurnPlan),
    Detect(DetectPlan),
    Disseminate(DisseminatePlan),
    Idle(IdlePlan),
    Killed(KilledPlan),
    Lifeguard(LifeguardPlan),
    Partition(PartitionPlan),
    Silent(SilentPlan),
    Soak(SoakPlan),
    Stability(StabilityPlan),
    Phi(PhiPlan),
}

impl Experiment {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Churn(_) => "churn",
            Self::Detect(_) => "detect",
            Self::Disseminate(_) => "disseminate",
            Self::Idle(_) => "idle",
            Self::Killed(_) => "killed",
            Self::Lifeguard(_) => "lifeguard",
            Self::Partition(_) => "partition",
            Self::Stability(_) => "stability",
            Self::Silent(_) => "silent",
            Self::Soak(_) => "soak",
            Self::Phi(_) => "phi",
        }
    }
}

/// Options and their values, each of which must be used.
struct Options<'a>(Vec<(&'a str, &'a str)>);

pub(crate) fn parse(arguments: &[String]) -> Result<Task, String> {
    let mut words = arguments.iter().map(String::as_str);
    let command = match words.next() {
        None | Some("help" | "--help" | "-h") => return Ok(Task::Help),
        Some("list") => return Ok(Task::List),
        Some(command) => command,
    };
    if command == "scenario" {
        let name = words.next().ok_or("which scenario?")?;
        return scenarios(name, Options::new(words)?);
    }
    if command == "storm" {
        return storms(Options::new(words)?);
    }
    let mut options = Options::new(words)?;
    let seed = options.number("--seed")?.unwrap_or(1);
    let experiment = match command {
        "churn" => Experiment::Churn(churn(seed, &mut options)?),
        "detect" => Experiment::Detect(detect(seed, &mut options)?),
        "disseminate" => Experiment::Disseminate(disseminate(seed, &mut options)?),
        "idle" => {
            let plan = IdlePlan::new(options.sizes()?, seed);
            let time = options.number("--time")?.map_or(plan.time, |secs| Duration::from_secs(secs.clamp(10, 86_400)));
            Experiment::Idle(IdlePlan { time, ..plan })
        }
        "killed" => {
            let plan = KilledPlan::new(options.sizes()?, seed);
            let kills = options.number("--crashes")?.map_or(plan.kills, |kills| kills.clamp(1, 1_000_000) as usize);
            Experiment::Killed(KilledPlan { kills, ..plan })
        }
        "lifeguard" => Experiment::Lifeguard(lifeguard(seed, &mut options)?),
        "partition" => Experiment::Partition(partition(seed, &mut options)?),
        "stability" => Experiment::Stability(stability(seed, &mut options)?),
        "silent" => Experiment::Silent(silent(seed, &mut options)?),
        "soak" => Experiment::Soak(soak(seed, &mut options)?),
        "phi" => {
            let plan = PhiPlan::new(seed);
            Experiment::Phi(PhiPlan {
                beats: options.number("--beats")?.unwrap_or(plan.beats).min(u32::MAX.into()),
                ..plan
            })
        }
        other => return Err(format!("there is no command {other:?}")),
    };
    let output = options.take("--output").unwrap_or("table");
    let format = Format::find(output).ok_or_else(|| format!("--output is table, json, csv or svg, not {output:?}"))?;
    let picture = options.take("--picture").map(PathBuf::from);
    options.end()?;
    Ok(Task::Experiment { experiment, format, picture })
}

fn scenarios(name: &str, mut options: Options<'_>) -> Result<Task, String> {
    let scenarios = match Scenario::find(name) {
        _ if name == "all" => scenario::ALL.to_vec(),
        Some(scenario) => vec![scenario],
        None => return Err(format!("there is no scenario {name:?}; `rdb-net-sim list` names them")),
    };
    let nodes = options.number("--nodes")?.unwrap_or(5).min(100_000) as usize;
    let (first, seeds) = (options.number("--seed")?.unwrap_or(1), options.number("--seeds")?.unwrap_or(1));
    let json = is_json(&mut options)?;
    options.end()?;
    Ok(Task::Scenarios { names: scenarios.iter().map(|scenario| scenario.name).collect(), nodes, first, seeds, json })
}

fn storms(mut options: Options<'_>) -> Result<Task, String> {
    let first = match options.take("--seed") {
        None => 1,
        Some("fresh") => fresh_seed(),
        Some(seed) => number("--seed", seed)?,
    };
    let time = options.number("--time")?.map(|seconds| Duration::from_secs(seconds.min(1_000_000)));
    // Where only the time limits them, there is a seed for as long as there is time.
    let seeds = options.number("--seeds")?.unwrap_or(if time.is_some() { u64::from(u32::MAX) } else { 1 });
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = options.number("--threads")?.map_or(processors, |threads| threads.clamp(1, 1_000) as usize);
    let json = is_json(&mut options)?;
    options.end()?;
    Ok(Task::Storms(Storms { first, seeds, threads: threads.min(seeds.try_into().unwrap_or(threads)), time, json }))
}

/// Of the clock, so that nobody has played it before; the report tells it.
fn fresh_seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_secs() * 1_000)
}

fn is_json(options: &mut Options<'_>) -> Result<bool, String> {
    match options.take("--output") {
        None | Some("table") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(format!("--output is table or json, not {other:?}")),
    }
}

fn churn(seed: u64, options: &mut Options<'_>) -> Result<ChurnPlan, String> {
    let [members] = options.sizes()?[..] else { return Err("churn takes one size".to_owned()) };
    let plan = ChurnPlan::new(members, seed);
    let time = options.number("--time")?.map_or(plan.time, |seconds| Duration::from_secs(seconds.clamp(1, 1_000_000)));
    let a_minute = options.number("--churn")?.map_or(plan.a_minute, |count| count.clamp(1, 100_000) as usize);
    Ok(ChurnPlan { time, a_minute, ..plan })
}

fn detect(seed: u64, options: &mut Options<'_>) -> Result<DetectPlan, String> {
    let plan = DetectPlan::new(options.sizes()?, seed);
    let gossip = match options.take("--gossip") {
        None | Some("off") => false,
        Some("on") => true,
        Some(other) => return Err(format!("--gossip is on or off, not {other:?}")),
    };
    let crashes = options.number("--crashes")?.map_or(plan.crashes, |crashes| crashes.clamp(1, 1_000_000) as usize);
    Ok(DetectPlan { crashes, gossip, runs: options.number("--seeds")?, ..plan })
}

fn disseminate(seed: u64, options: &mut Options<'_>) -> Result<DisseminatePlan, String> {
    let plan = DisseminatePlan::new(options.sizes()?, seed);
    let rumours = options.number("--rumours")?.map_or(plan.rumours, |rumours| rumours.clamp(1, 1_000_000) as usize);
    Ok(DisseminatePlan { rumours, runs: options.number("--seeds")?.unwrap_or(plan.runs), ..plan })
}

fn lifeguard(seed: u64, options: &mut Options<'_>) -> Result<LifeguardPlan, String> {
    let seeds = options.number("--seeds")?.unwrap_or(10).clamp(1, 100_000);
    let plan = match options.take("--grid") {
        None | Some("full") => LifeguardPlan::new(seed, seeds),
        Some("small") => LifeguardPlan::small(seed, seeds),
        Some(other) => return Err(format!("--grid is full or small, not {other:?}")),
    };
    let members = options.number("--nodes")?.map_or(plan.members, |members| members.clamp(4, 10_000) as usize);
    Ok(LifeguardPlan { members, ..plan })
}

fn partition(seed: u64, options: &mut Options<'_>) -> Result<PartitionPlan, String> {
    let [members] = options.sizes()?[..] else { return Err("partition takes one size".to_owned()) };
    let plan = PartitionPlan::new(members, seed);
    let cut = options.number("--time")?.map_or(plan.cut, |seconds| Duration::from_secs(seconds.clamp(1, 1_000_000)));
    Ok(PartitionPlan { cut, ..plan })
}

fn stability(seed: u64, options: &mut Options<'_>) -> Result<StabilityPlan, String> {
    let [members] = options.sizes()?[..] else { return Err("stability takes one size".to_owned()) };
    let plan = StabilityPlan::new(members, seed);
    let time = options.number("--time")?.map_or(plan.time, |seconds| Duration::from_secs(seconds.clamp(1, 1_000_000)));
    Ok(StabilityPlan { time, ..plan })
}

fn silent(seed: u64, options: &mut Options<'_>) -> Result<SilentPlan, String> {
    let plan = SilentPlan::new(options.sizes()?, seed);
    let hosts = options.number("--crashes")?.map_or(plan.hosts, |hosts| hosts.clamp(1, 1_000_000) as usize);
    let losses = match options.take("--losses") {
        None => plan.losses.clone(),
        Some(list) => list.split(',').map(percent).collect::<Result<_, _>>()?,
    };
    let quiet_runs = options.number("--seeds")?.unwrap_or(plan.quiet_runs).min(100_000);
    Ok(SilentPlan { hosts, quiet_runs, losses, ..plan })
}

fn soak(seed: u64, options: &mut Options<'_>) -> Result<SoakPlan, String> {
    let [members] = options.sizes()?[..] else { return Err("soak takes one size".to_owned()) };
    let plan = SoakPlan::new(members, seed);
    let time = options.number("--time")?.map_or(plan.time, |seconds| Duration::from_secs(seconds.clamp(1, 1_000_000)));
    Ok(SoakPlan { time, ..plan })
}

impl<'a> Options<'a> {
    fn new(mut words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut options = Vec::new();
        while let Some(option) = words.next() {
            options.push((option, words.next().ok_or_else(|| format!("{option} needs a value"))?));
        }
        Ok(Self(options))
    }

    /// The last value that was given, as in most programs.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let value = self.0.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| *value);
        self.0.retain(|(option, _)| *option != name);
        value
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        self.take(name).map(|value| number(name, value)).transpose()
    }

    fn sizes(&mut self) -> Result<Vec<usize>, String> {
        let sizes = self.take("--nodes").unwrap_or("1000").split(',');
        sizes.map(|size| Ok(number("--nodes", size)?.clamp(2, 1_000_000) as usize)).collect()
    }

    fn end(self) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |(option, _)| Err(format!("there is no option {option:?} here")))
    }
}

/// A share that is written in percent.
fn percent(value: &str) -> Result<f64, String> {
    let percent = value.parse().ok().filter(|percent| (0..=99).contains(percent));
    percent
        .map(|percent: u32| f64::from(percent) / 100.0)
        .ok_or_else(|| format!("--losses takes 0 to 99, not {value:?}"))
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(experiment: Experiment, format: Format) -> Result<Task, String> {
        Ok(Task::Experiment { experiment, format, picture: None })
    }

    fn parsed(line: &str) -> Result<Task, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn an_experiment_takes_its_plan_from_the_options() {
        let detect = DetectPlan { crashes: 7, gossip: true, runs: Some(3), ..DetectPlan::new(vec![100, 1000], 9) };
        let task = parsed("detect --nodes 100,1000 --seed 9 --seeds 3 --crashes 7 --gossip on --output svg");
        assert_eq!(task, planned(Experiment::Detect(detect), Format::Svg));
        let idle = IdlePlan { time: Duration::from_secs(60), ..IdlePlan::new(vec![20, 1000], 1) };
        assert_eq!(parsed("idle --nodes 20,1000 --time 60"), planned(Experiment::Idle(idle), Format::Table));
        let killed = KilledPlan { kills: 7, ..KilledPlan::new(vec![50, 1000], 1) };
        assert_eq!(parsed("killed --nodes 50,1000 --crashes 7"), planned(Experiment::Killed(killed), Format::Table));
        let soak = SoakPlan { time: Duration::from_secs(90), ..SoakPlan::new(50, 1) };
        assert_eq!(parsed("soak --nodes 50 --time 90"), planned(Experiment::Soak(soak), Format::Table));
        let churn = ChurnPlan { a_minute: 7, time: Duration::from_secs(60), ..ChurnPlan::new(40, 1) };
        assert_eq!(
            parsed("churn --nodes 40 --churn 7 --time 60 --output csv"),
            planned(Experiment::Churn(churn), Format::Csv)
        );
        let silent = SilentPlan { losses: vec![0.0, 0.4], ..SilentPlan::new(vec![9], 1) };
        assert_eq!(parsed("silent --nodes 9 --losses 0,40"), planned(Experiment::Silent(silent), Format::Table));
        let partition = PartitionPlan { cut: Duration::from_secs(90), ..PartitionPlan::new(40, 1) };
        assert_eq!(parsed("partition --nodes 40 --time 90"), planned(Experiment::Partition(partition), Format::Table));
        assert_eq!(parsed("phi --output csv"), planned(Experiment::Phi(PhiPlan::new(1)), Format::Csv),);
        let lifeguard = LifeguardPlan { members: 64, ..LifeguardPlan::small(3, 2) };
        assert_eq!(
            parsed("lifeguard --grid small --nodes 64 --seed 3 --seeds 2"),
            planned(Experiment::Lifeguard(lifeguard), Format::Table)
        );
        let disseminate = DisseminatePlan { rumours: 2, ..DisseminatePlan::new(vec![1000], 1) };
        assert_eq!(
            parsed("disseminate --rumours 2 --output json"),
            planned(Experiment::Disseminate(disseminate), Format::Json),
        );
    }

    #[test]
    fn a_picture_may_be_written_besides() {
        let Ok(Task::Experiment { picture, format, .. }) = parsed("phi --picture a.svg") else {
            panic!("an experiment")
        };
        assert_eq!((picture, format), (Some(PathBuf::from("a.svg")), Format::Table));
    }

    #[test]
    fn a_scenario_takes_nodes_and_seeds() {
        let task = Task::Scenarios { names: vec!["kill"], nodes: 5, first: 3, seeds: 2, json: true };
        assert_eq!(parsed("scenario kill --seed 3 --seeds 2 --output json"), Ok(task));
        assert_eq!(parsed("list"), Ok(Task::List));
        assert_eq!(parsed(""), Ok(Task::Help));
    }

    #[test]
    fn storms_take_seeds_threads_and_a_time() {
        let storms = Storms { first: 7, seeds: 20, threads: 2, time: None, json: false };
        assert_eq!(parsed("storm --seed 7 --seeds 20 --threads 2"), Ok(Task::Storms(storms.clone())));
        assert_eq!(
            parsed("storm --seed 7 --seeds 1 --threads 9 --time 20 --output json"),
            Ok(Task::Storms(Storms {
                seeds: 1,
                threads: 1,
                time: Some(Duration::from_secs(20)),
                json: true,
                ..storms
            }))
        );
        let Ok(Task::Storms(fresh)) = parsed("storm --seed fresh") else { panic!("storms") };
        assert!(fresh.first > 1_000_000, "of the clock");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, problem) in [
            ("dance", "there is no command \"dance\""),
            ("scenario", "which scenario?"),
            ("scenario dance", "there is no scenario \"dance\"; `rdb-net-sim list` names them"),
            ("scenario kill --time 5", "there is no option \"--time\" here"),
            ("scenario kill --output svg", "--output is table or json, not \"svg\""),
            ("silent --losses 0,100", "--losses takes 0 to 99, not \"100\""),
            ("detect --nodes", "--nodes needs a value"),
            ("detect --nodes ten", "--nodes needs a number, not \"ten\""),
            ("detect --gossip maybe", "--gossip is on or off, not \"maybe\""),
            ("lifeguard --grid huge", "--grid is full or small, not \"huge\""),
            ("detect --beats 5", "there is no option \"--beats\" here"),
            ("soak --nodes 1,2", "soak takes one size"),
            ("phi --output pdf", "--output is table, json, csv or svg, not \"pdf\""),
        ] {
            assert_eq!(parsed(line).err().as_deref(), Some(problem), "{line}");
        }
    }
}
