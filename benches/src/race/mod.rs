//! The race: two processes per run, repetitions interleaved over peers, statistics of pairs, gate and report.

mod child;
mod gate;
mod plan;
mod protocol;
mod report;
mod role;
mod statistics;

pub use child::RunError;
pub use gate::{GATE, GateLine, Judgement, Metric, Requirement, Verdict, gate_plan, judge};
pub use plan::{Contest, Entry, Heat, Measured, Plan, Results, Sample};
pub use report::{json, table, verdicts_table};
pub use role::{Lengths, RoleError, drive_role, serve_role};
pub use statistics::{Interval, median, median_interval};
