//! The report: tables for people, one JSON value for programs.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::measure::Latency;
use crate::peers::Peer;
use crate::race::absolute::QUINN_ELSEWHERE;
use crate::race::figure::{FigureVerdict, Readings};
use crate::race::gate::{Judgement, Metric, Requirement, Verdict};
use crate::race::offered::{OFFERED_MODE, OfferedRow};
use crate::race::plan::{Entry, Measured, Plan, Results, Sample};
use crate::race::statistics::Interval;

/// All results as one table per heat, with ratios to `base`.
#[must_use]
pub fn table(results: &Results, base: Peer) -> String {
    let heats = results.heats.iter().map(|heat| {
        format!("\n{} {}\n{}\n{}", heat.mode.name(), heat.workload.name(), heat_table(heat, base), remarks(heat))
    });
    heats.collect()
}

/// The verdicts of the gate as a table.
#[must_use]
pub fn verdicts_table(verdicts: &[Verdict]) -> String {
    let mut table = new_table(&["gate", "mode", "workload", "figure", "peers", "required", "ratio [low, high]"]);
    for verdict in verdicts {
        let ratio = verdict.ratio.as_ref().map(interval).into_iter().chain(verdict.missing.clone());
        table.add_row([
            judged(verdict.judgement).to_owned(),
            verdict.line.mode.name().to_owned(),
            verdict.line.workload.name().to_owned(),
            verdict.line.metric.name().to_owned(),
            format!("{} / {}", verdict.line.own.name(), verdict.line.against.name()),
            required(verdict.line.requirement),
            ratio.collect::<Vec<_>>().join(", "),
        ]);
    }
    format!("\n{table}\n")
}

/// What quinn by hand was elsewhere, beside what it and this workspace are here, as a table. Rates are operations a second.
#[must_use]
pub fn absolute_table(results: &Results) -> String {
    let mut table = new_table(&["mode", "workload", "figure", "peer", "elsewhere", "here", "ours here"]);
    for figure in QUINN_ELSEWHERE {
        table.add_row([
            figure.mode.name().to_owned(),
            figure.workload.name().to_owned(),
            figure.metric.name().to_owned(),
            figure.peer.name().to_owned(),
            text(Some(figure.elsewhere)),
            text(figure.here(figure.peer, results)),
            text(figure.here(Peer::OursQuic, results)),
        ]);
    }
    format!("\n{table}\n")
}

/// The figures that are judged by themselves as a table.
#[must_use]
pub fn figures_table(verdicts: &[FigureVerdict], failures: &[String]) -> String {
    let mut table = new_table(&["gate", "figure", "required", "median [low, high]", "n", "what"]);
    for verdict in verdicts {
        table.add_row([
            judged(verdict.judgement).to_owned(),
            verdict.figure.name.to_owned(),
            required(verdict.figure.requirement),
            verdict.interval.as_ref().map_or("not measured".to_owned(), interval),
            verdict.interval.map_or(0, |interval| interval.values).to_string(),
            verdict.figure.meaning.to_owned(),
        ]);
    }
    let failures: String = failures.iter().map(|failure| format!("{failure}\n")).collect();
    format!("\n{table}\n{failures}")
}

/// The latencies by load as a table.
#[must_use]
pub fn offered_table(rows: &[OfferedRow]) -> String {
    let mut table =
        new_table(&["peer", "of its rate", "calls/s", "p50 us", "p99 us", "p99.9 us", "longest us", "unanswered", "n"]);
    for row in rows {
        let latency = row.latency();
        let longest = row.runs.iter().map(|run| run.longest_us).reduce(f64::max);
        table.add_row([
            row.peer.name().to_owned(),
            format!("{:.0} %", row.share * 100.0),
            format!("{:.0}", row.calls_per_second),
            text(latency.map(|latency| latency.p50_us)),
            text(latency.map(|latency| latency.p99_us)),
            text(latency.map(|latency| latency.p999_us)),
            text(longest),
            row.unanswered().to_string(),
            row.runs.len().to_string(),
        ]);
    }
    let failures = rows.iter().flat_map(|row| row.failures.iter().map(|failure| (row.peer, failure)));
    let failures: String = failures.map(|(peer, failure)| format!("{}: {failure}\n", peer.name())).collect();
    format!("\ncalls at fixed times, {} w2\n{table}\n{failures}", OFFERED_MODE.name())
}

fn judged(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Held => "held",
        Judgement::Missed => "MISSED",
        Judgement::Shown => "shown",
    }
}

fn required(requirement: Requirement) -> String {
    match requirement {
        Requirement::AtLeast(bound) => format!(">= {bound}"),
        Requirement::AtMost(bound) => format!("<= {bound}"),
        Requirement::Shown => String::new(),
    }
}

/// Everything that came of a race.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The heats.
    pub results: Results,
    /// The lines against peers.
    pub verdicts: Vec<Verdict>,
    /// What the probes read.
    pub readings: Readings,
    /// The figures that are judged by themselves.
    pub figures: Vec<FigureVerdict>,
    /// Latencies by load.
    pub offered: Vec<OfferedRow>,
}

/// Everything and the settings as one JSON value.
///
/// # Errors
///
/// None that plain data can cause; the signature is `serde_json`'s.
pub fn json(plan: &Plan, report: &Report) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Told<'a> {
        cores: usize,
        repetitions: usize,
        warm_up_s: f64,
        window_s: f64,
        heats: &'a [Measured],
        gate: &'a [Verdict],
        readings: &'a Readings,
        figures: &'a [FigureVerdict],
        offered: &'a [OfferedRow],
    }
    serde_json::to_string_pretty(&Told {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        repetitions: plan.repetitions,
        warm_up_s: plan.warm_up.as_secs_f64(),
        window_s: plan.window.as_secs_f64(),
        heats: &report.results.heats,
        gate: &report.verdicts,
        readings: &report.readings,
        figures: &report.figures,
        offered: &report.offered,
    })
}

fn heat_table(heat: &Measured, base: Peer) -> Table {
    let rate_ratio = format!("x {}", base.name());
    let mut table = new_table(&[
        "peer",
        "ops/s",
        &rate_ratio,
        "p50 us",
        "x",
        "p99 us",
        "p99.9 us",
        "MiB/s",
        "CPU s per M",
        "alloc/op client",
        "server",
        "foreign",
        "n",
    ]);
    for entry in &heat.entries {
        table.add_row(row(heat, entry, base));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(heat: &Measured, entry: &Entry, base: Peer) -> Vec<String> {
    let figure = |of: &dyn Fn(&Sample) -> Option<f64>| heat.median_of(entry, of);
    let latency = |of: fn(&Latency) -> f64| figure(&|sample| sample.latency.as_ref().map(of));
    let ratio = |metric| heat.ratio(entry.peer, base, metric).as_ref().map(interval).unwrap_or_default();
    let mebibytes = heat.workload.payload_bytes() as f64 / f64::from(1 << 20);
    vec![
        entry.peer.name().to_owned(),
        text(figure(&|sample| Some(sample.operations_per_second))),
        ratio(Metric::Rate),
        text(latency(|latency| latency.p50_us)),
        ratio(Metric::P50),
        text(latency(|latency| latency.p99_us)),
        text(latency(|latency| latency.p999_us)),
        text(figure(&|sample| Some(sample.operations_per_second * mebibytes))),
        text(figure(&|sample| Some(sample.cpu_us_per_operation))),
        entry.heap.map_or(String::new(), |heap| format!("{:.3}", heap.client)),
        entry.heap.map_or(String::new(), |heap| format!("{:.3}", heap.server)),
        figure(&|sample| Some(sample.foreign_share)).map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
        entry.runs.iter().flatten().count().to_string(),
    ]
}

fn remarks(heat: &Measured) -> String {
    let absent = heat.entries.iter().filter_map(|entry| Some((entry, entry.absent.clone()?)));
    let failed =
        heat.entries.iter().flat_map(|entry| entry.failures.iter().map(move |failure| (entry, failure.clone())));
    absent
        .map(|(entry, reason)| format!("{}: absent, {reason}\n", entry.peer.name()))
        .chain(failed.map(|(entry, reason)| format!("{}: {reason}\n", entry.peer.name())))
        .collect()
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.iter().copied());
    table
}

fn interval(interval: &Interval) -> String {
    format!("{:.3} [{:.3}, {:.3}]", interval.median, interval.low, interval.high)
}

/// Three significant digits or more, thousands kept whole.
fn text(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}
