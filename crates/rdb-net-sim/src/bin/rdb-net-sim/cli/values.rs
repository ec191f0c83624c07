//! What values options take.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use clap::builder::TypedValueParser;

/// The last seed that can be given. An experiment goes on to those after it, and has room for as many as [`SEEDS`] allows.
pub(super) const SEED_MAX: u64 = u64::MAX - u32::MAX as u64;

/// How many seeds a run may have.
pub(super) const SEEDS: RangeInclusive<u64> = 1..=1_000_000_000;

/// How much simulated time, in seconds.
pub(super) const SECONDS: RangeInclusive<u64> = 1..=1_000_000;

/// How often something may happen.
pub(super) const TIMES: RangeInclusive<u64> = 1..=1_000_000;

/// A number in a range.
pub(super) fn number(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = u64> {
    within(range)
}

/// A number of things in a range.
pub(super) fn count(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = usize> {
    within(range)
}

/// A share that is less than the whole.
pub(super) fn percent() -> impl TypedValueParser<Value = u8> {
    within(0..=99)
}

/// Clap's own parser tells the range to whom is out of it, but not to who has written `5%` or `1e3`.
fn within<T>(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = T>
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    move |value: &str| {
        let number = value.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number: u64| T::try_from(number).ok());
        number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// The size of a cluster of members alone.
pub(super) fn members() -> impl TypedValueParser<Value = usize> {
    count(2..=1_000_000)
}

/// The size of a cluster of whole nodes: no more than a node with default settings knows.
pub(super) fn whole_nodes(least: u64) -> impl TypedValueParser<Value = usize> {
    count(least..=rdb_swim::Config::lan().members_max as u64)
}

/// The first seed of storms.
#[derive(Debug, Clone, Copy)]
pub(super) struct StormSeed(pub(super) u64);

impl FromStr for StormSeed {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        if value == "fresh" {
            return Ok(Self(fresh_seed()));
        }
        let seed = value.parse().ok().filter(|seed| *seed <= SEED_MAX);
        seed.map(Self).ok_or_else(|| format!("must be `fresh` or a whole number from 0 to {SEED_MAX}"))
    }
}

/// Of the clock, so that nobody has played it before; the report tells it.
fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() * 1_000)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How the outcomes of whole nodes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object, or one for each scenario.
    Json,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object.
    Json,
    /// The table's values, separated by commas.
    Csv,
    /// The picture.
    Svg,
}

impl From<Format> for rdb_net_sim::report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
            Format::Svg => Self::Svg,
        }
    }
}

/// Whether something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Switch {
    On,
    #[default]
    Off,
}

/// How much of Lifeguard's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Grid {
    /// 5 concurrencies, 4 durations, 4 intervals.
    #[default]
    Full,
    /// One cell of it.
    Small,
}
