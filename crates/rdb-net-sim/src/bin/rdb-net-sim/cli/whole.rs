//! `scenario` and `storm`: clusters of whole nodes.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use rdb_net_sim::{Scenario, scenario};

use super::values::{Output, SEED_MAX, SEEDS, StormSeed, count, number, seconds, whole_nodes};
use super::{Discord, Task, check_last};
use crate::storms::Storms;

/// Every scenario, one after the other.
const ALL: &str = "all";

#[derive(Debug, Args)]
pub(super) struct ScenarioOptions {
    /// Which one.
    #[arg(value_name = "NAME", value_parser = names())]
    chosen: Chosen,
    /// Nodes of the cluster.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole_nodes(1))]
    nodes: usize,
    /// The first seed, from which everything random follows.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = number(0..=SEED_MAX))]
    seed: u64,
    /// How many seeds: S and those after it.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = number(SEEDS))]
    seeds: u64,
    /// How outcomes are written to stdout.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, Clone)]
struct Chosen(Vec<Scenario>);

fn names() -> impl TypedValueParser<Value = Chosen> {
    let each = scenario::ALL.map(|scenario| PossibleValue::new(scenario.name).help(scenario.about));
    let all = PossibleValue::new(ALL).help("each of them, one after the other");
    PossibleValuesParser::new(each.into_iter().chain([all]))
        .map(|name| Chosen(scenario::ALL.into_iter().filter(|scenario| name == ALL || name == scenario.name).collect()))
}

impl ScenarioOptions {
    pub(super) fn task(self) -> Result<Task, Discord> {
        let Self { chosen: Chosen(chosen), nodes, seed: first, seeds, output } = self;
        if let Some(scenario) = chosen.iter().find(|scenario| nodes < scenario.nodes_min) {
            let why = format!("{} needs {} nodes or more", scenario.name, scenario.nodes_min);
            return Err(Discord { command: "scenario", option: "--nodes <N>", value: nodes as u64, why });
        }
        check_last("scenario", first, seeds)?;
        let names = chosen.iter().map(|scenario| scenario.name).collect();
        Ok(Task::Scenarios { names, nodes, first, seeds, json: output == Output::Json })
    }
}

#[derive(Debug, Args)]
pub(super) struct StormOptions {
    /// The first seed, from which everything random follows; `fresh` takes one from the clock, which the report tells.
    #[arg(long, value_name = "S|fresh", default_value = "1")]
    seed: StormSeed,
    /// How many seeds: S and those after it. Default 1; with --time, as many as there is time for.
    #[arg(long, value_name = "K", value_parser = number(SEEDS))]
    seeds: Option<u64>,
    /// Threads, each of which plays one storm at a time; there are never more than seeds. Default one for each processor.
    #[arg(long, value_name = "T", value_parser = count(1..=1_000))]
    threads: Option<usize>,
    /// Begins no other storm after so much wall time.
    #[arg(long, value_name = "SECONDS", value_parser = number(1..=1_000_000))]
    time: Option<u64>,
    /// How the outcome is written to stdout.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl StormOptions {
    pub(super) fn task(self) -> Result<Task, Discord> {
        let StormSeed(first) = self.seed;
        let time: Option<Duration> = self.time.map(seconds);
        // Where only the time limits them, there is a seed for as long as there is time.
        let most = (SEED_MAX - first).saturating_add(1).min(*SEEDS.end());
        let seeds = self.seeds.unwrap_or(if time.is_some() { most } else { 1 });
        check_last("storm", first, seeds)?;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.threads.unwrap_or(processors);
        let threads = threads.min(seeds.try_into().unwrap_or(threads));
        Ok(Task::Storms(Storms { first, seeds, threads, time, json: self.output == Output::Json }))
    }
}
