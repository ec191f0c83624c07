//! The experiments: what each takes, and the plan that comes of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rdb_net_sim::experiment::{
    ChurnPlan, DetectPlan, DisseminatePlan, IdlePlan, KilledPlan, LifeguardPlan, PartitionPlan, PhiPlan, SilentPlan,
    SoakPlan, StabilityPlan,
};

use super::values::{
    Format, Grid, SECONDS, SEED_MAX, SEEDS, Switch, TIMES, count, members, number, percent, seconds, whole_nodes,
};
use super::{Discord, Task, check_last};
use crate::experiment::Experiment;

#[derive(Debug, Subcommand)]
pub(super) enum ExperimentCommand {
    /// How long a crash stays unnoticed, and what the probing costs; a row for each size.
    Detect(DetectOptions),
    /// How many gossip ticks until everybody knows; a row for each size and loss.
    Disseminate(DisseminateOptions),
    /// False failures with slow members, by the parts of Lifeguard that are on.
    Lifeguard(LifeguardOptions),
    /// What a whole node that does nothing sends; a row for each size.
    Idle(IdleOptions),
    /// Until everybody knows of a killed process, in clusters of whole nodes; a row for each size.
    Killed(KilledOptions),
    /// Until everybody knows of a silent host, and whether losses make anybody fail; a row for each size and loss.
    Silent(SilentOptions),
    /// A few members are faulty, and nobody else may suffer for it; a row for each fault.
    Stability(StabilityOptions),
    /// Two halves that are apart for a while, and mended; and all restarted meanwhile.
    Partition(PartitionOptions),
    /// Members fall silent or leave, and start again, all the time.
    Churn(ChurnOptions),
    /// A large cluster with default settings, in which a host goes silent now and then.
    Soak(SoakOptions),
    /// Mistakes and detection time of a phi detector by its threshold.
    Phi(PhiOptions),
}

/// What every experiment takes.
#[derive(Debug, Args)]
struct Common {
    /// The first seed, from which everything random follows.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = number(0..=SEED_MAX))]
    seed: u64,
    /// How the findings are written to stdout.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// Writes the picture (SVG) to this file as well.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Seeds of what has one cluster.
#[derive(Debug, Args)]
struct Seeds {
    /// How many seeds, one after the other: S and those after it. Each is judged, and median and worst are told.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = number(SEEDS))]
    seeds: u64,
}

/// Clusters of members alone.
#[derive(Debug, Args)]
struct Sizes {
    /// Members of the cluster: one size or several, such as 100,1000.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1000", value_parser = members())]
    nodes: Vec<usize>,
}

/// Clusters of whole nodes.
#[derive(Debug, Args)]
struct WholeSizes {
    /// Nodes of the cluster: one size or several, such as 50,1000.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1000", value_parser = whole_nodes(2))]
    nodes: Vec<usize>,
}

/// One cluster of members alone.
#[derive(Debug, Args)]
struct Size {
    /// Members of the cluster.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = members())]
    nodes: usize,
}

#[derive(Debug, Args)]
pub(super) struct DetectOptions {
    #[command(flatten)]
    sizes: Sizes,
    /// How many seeds of each size, with each of which one member in fifty may crash. Default as many as the crashes need.
    #[arg(long, value_name = "K", value_parser = number(SEEDS))]
    seeds: Option<u64>,
    /// Crashes of each size, as far as the seeds have room for them.
    #[arg(long, value_name = "C", default_value_t = 2_000, value_parser = count(TIMES))]
    crashes: usize,
    /// Gossip between probes too, as by default in production.
    #[arg(long, value_enum, default_value_t, value_name = "SWITCH")]
    gossip: Switch,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct DisseminateOptions {
    #[command(flatten)]
    sizes: Sizes,
    /// How many seeds of each row.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = number(SEEDS))]
    seeds: u64,
    /// Rumours for each seed, one after the other.
    #[arg(long, value_name = "R", default_value_t = 20, value_parser = count(TIMES))]
    rumours: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct LifeguardOptions {
    /// Members of the cluster: at least two for each that is slow at a time.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = count(4..=10_000))]
    nodes: usize,
    /// How many seeds of each cell of the grid.
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = number(1..=100_000))]
    seeds: u64,
    /// How much of the grid: how many are slow at a time, for how long, and how long not.
    #[arg(long, value_enum, default_value_t)]
    grid: Grid,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct IdleOptions {
    #[command(flatten)]
    sizes: WholeSizes,
    /// Simulated time for which is counted.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = number(10..=86_400))]
    time: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct KilledOptions {
    #[command(flatten)]
    sizes: WholeSizes,
    /// Processes of each row that are killed.
    #[arg(long, value_name = "C", default_value_t = 100, value_parser = count(TIMES))]
    crashes: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct SilentOptions {
    #[command(flatten)]
    sizes: Sizes,
    /// Quiet runs of each row, of ten minutes each.
    #[arg(long, value_name = "K", default_value_t = 20, value_parser = number(0..=100_000))]
    seeds: u64,
    /// Hosts of each row that fall silent.
    #[arg(long, value_name = "C", default_value_t = 100, value_parser = count(TIMES))]
    crashes: usize,
    /// Packets that are lost, in percent: one share or several.
    #[arg(long, value_name = "P,..", value_delimiter = ',', default_value = "0,5,20", value_parser = percent())]
    losses: Vec<u8>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct StabilityOptions {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    seeds: Seeds,
    /// How long each fault lasts, in simulated time.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = number(SECONDS))]
    time: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct PartitionOptions {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    seeds: Seeds,
    /// How long the halves are apart, in simulated time.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = number(SECONDS))]
    time: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct ChurnOptions {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    seeds: Seeds,
    /// How long members come and go, in simulated time.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = number(SECONDS))]
    time: u64,
    /// How many go each minute. Default one in ten.
    #[arg(long, value_name = "C", value_parser = count(1..=100_000))]
    churn: Option<usize>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct SoakOptions {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    seeds: Seeds,
    /// Simulated time. The longer, the more hosts go silent, for good; they must be fewer than half.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = number(SECONDS))]
    time: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct PhiOptions {
    /// How many heartbeats are sent.
    #[arg(long, value_name = "B", default_value_t = 1_000_000, value_parser = number(1..=u32::MAX.into()))]
    beats: u64,
    #[command(flatten)]
    common: Common,
}

impl ExperimentCommand {
    /// What is to be measured, and how that is written.
    pub(super) fn task(self) -> Result<Task, Discord> {
        let (experiment, common) = match self {
            Self::Detect(options) => options.plan(),
            Self::Disseminate(options) => options.plan(),
            Self::Lifeguard(options) => options.plan()?,
            Self::Idle(options) => options.plan(),
            Self::Killed(options) => options.plan(),
            Self::Silent(options) => options.plan(),
            Self::Stability(options) => options.plan()?,
            Self::Partition(options) => options.plan()?,
            Self::Churn(options) => options.plan()?,
            Self::Soak(options) => options.plan()?,
            Self::Phi(options) => options.plan(),
        };
        let Common { output, picture, .. } = common;
        Ok(Task::Experiment { experiment, format: output.into(), picture })
    }
}

impl Seeds {
    /// How many they are from this one on, where each can be given to do it again.
    fn from(self, command: &'static str, first: u64) -> Result<u64, Discord> {
        check_last(command, first, self.seeds)?;
        Ok(self.seeds)
    }
}

/// A plan, and what every experiment takes.
type Planned = (Experiment, Common);

impl DetectOptions {
    fn plan(self) -> Planned {
        let Self { sizes, seeds: runs, crashes, gossip, common } = self;
        let gossip = gossip == Switch::On;
        let plan = DetectPlan { crashes, gossip, runs, ..DetectPlan::new(sizes.nodes, common.seed) };
        (Experiment::Detect(plan), common)
    }
}

impl DisseminateOptions {
    fn plan(self) -> Planned {
        let Self { sizes, seeds: runs, rumours, common } = self;
        (
            Experiment::Disseminate(DisseminatePlan {
                rumours,
                runs,
                ..DisseminatePlan::new(sizes.nodes, common.seed)
            }),
            common,
        )
    }
}

impl LifeguardOptions {
    fn plan(self) -> Result<Planned, Discord> {
        let Self { nodes: members, seeds, grid, common } = self;
        let plan = match grid {
            Grid::Full => LifeguardPlan::new(common.seed, seeds),
            Grid::Small => LifeguardPlan::small(common.seed, seeds),
        };
        let slow = plan.concurrency.iter().copied().max().unwrap_or_default();
        if members < slow * 2 {
            let why = format!("up to {slow} are slow at a time, so it needs {} or more", slow * 2);
            return Err(Discord { command: "lifeguard", option: "--nodes <N>", value: members as u64, why });
        }
        Ok((Experiment::Lifeguard(LifeguardPlan { members, ..plan }), common))
    }
}

impl IdleOptions {
    fn plan(self) -> Planned {
        let Self { sizes, time, common } = self;
        (Experiment::Idle(IdlePlan { time: seconds(time), ..IdlePlan::new(sizes.nodes, common.seed) }), common)
    }
}

impl KilledOptions {
    fn plan(self) -> Planned {
        let Self { sizes, crashes: kills, common } = self;
        (Experiment::Killed(KilledPlan { kills, ..KilledPlan::new(sizes.nodes, common.seed) }), common)
    }
}

impl SilentOptions {
    fn plan(self) -> Planned {
        let Self { sizes, seeds: quiet_runs, crashes: hosts, losses, common } = self;
        let losses = losses.into_iter().map(|percent| f64::from(percent) / 100.0).collect();
        let plan = SilentPlan { hosts, quiet_runs, losses, ..SilentPlan::new(sizes.nodes, common.seed) };
        (Experiment::Silent(plan), common)
    }
}

impl StabilityOptions {
    fn plan(self) -> Result<Planned, Discord> {
        let Self { size, seeds, time, common } = self;
        let seeds = seeds.from("stability", common.seed)?;
        let plan = StabilityPlan { seeds, time: seconds(time), ..StabilityPlan::new(size.nodes, common.seed) };
        Ok((Experiment::Stability(plan), common))
    }
}

impl PartitionOptions {
    fn plan(self) -> Result<Planned, Discord> {
        let Self { size, seeds, time, common } = self;
        let seeds = seeds.from("partition", common.seed)?;
        let plan = PartitionPlan { seeds, cut: seconds(time), ..PartitionPlan::new(size.nodes, common.seed) };
        Ok((Experiment::Partition(plan), common))
    }
}

impl ChurnOptions {
    fn plan(self) -> Result<Planned, Discord> {
        let Self { size, seeds, time, churn, common } = self;
        let seeds = seeds.from("churn", common.seed)?;
        let plan = ChurnPlan::new(size.nodes, common.seed);
        let a_minute = churn.unwrap_or(plan.a_minute);
        Ok((Experiment::Churn(ChurnPlan { seeds, time: seconds(time), a_minute, ..plan }), common))
    }
}

impl SoakOptions {
    fn plan(self) -> Result<Planned, Discord> {
        let Self { size, seeds, time, common } = self;
        let seeds = seeds.from("soak", common.seed)?;
        let plan = SoakPlan { seeds, time: seconds(time), ..SoakPlan::new(size.nodes, common.seed) };
        let silent = plan.time.saturating_sub(plan.settle).as_secs() / plan.crash_every.as_secs();
        if size.nodes as u64 <= silent * 2 {
            let why = format!("in {time} s {silent} hosts go silent, so it needs {} or more", silent * 2 + 1);
            return Err(Discord { command: "soak", option: "--nodes <N>", value: size.nodes as u64, why });
        }
        Ok((Experiment::Soak(plan), common))
    }
}

impl PhiOptions {
    fn plan(self) -> Planned {
        let Self { beats, common } = self;
        (Experiment::Phi(PhiPlan { beats, ..PhiPlan::new(common.seed) }), common)
    }
}
