//! The race: two processes per run, repetitions interleaved over peers, statistics of pairs, gate and report.

mod absolute;
mod child;
mod figure;
mod gate;
pub mod loss;
mod offered;
mod picture;
mod plan;
mod protocol;
mod report;
mod role;
mod statistics;

pub use absolute::{Absolute, QUINN_ELSEWHERE};
pub use child::RunError;
pub use figure::{FIGURES, Figure, FigureVerdict, Readings, judge_figures};
pub use gate::{
    GATE, GATE_ALL, GATE_QUIC, GATE_TLS, GateLine, Judgement, Metric, Requirement, Verdict, full_plan, gate_plan,
    judge, whole_gate,
};
pub use loss::{LossError, LossRow, svg as loss_svg, table as loss_table};
pub use offered::{OFFERED_MODE, OFFERED_PEERS, OFFERED_SHARES, OfferedRow};
pub use picture::{svg, text as text_picture};
pub use plan::{Contest, Entry, HeapUse, Heat, Measured, Plan, Results, Sample};
pub(crate) use protocol::Line;
pub use report::{Report, absolute_table, figures_table, json, offered_table, table, verdicts_table};
pub use role::{Lengths, Place, Role, RoleError};
pub use statistics::{Interval, median, median_interval};
