//! What is told: each step while it runs, and a table in the end.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks through its output")]

use std::time::Duration;

use crate::error::Error;
use crate::phases::{Figures, Plan};

pub(crate) fn step(what: &str) {
    eprintln!("{what}");
}

pub(crate) fn skip(system: &str, reason: &str) {
    println!("SKIPPED: {system}: {reason}");
}

pub(crate) fn complain(error: &Error) {
    eprintln!("error: {error}");
}

/// The table, as Markdown.
pub(crate) fn print(plan: &Plan, figures: &[Figures]) {
    let (nodes, idle, busy) = (plan.nodes, plan.idle.as_secs(), plan.busy.as_secs());
    println!(
        "{nodes} nodes each, all systems at the same time; idle for {idle} s, and for {busy} s beside a busy core\n"
    );
    let names: Vec<&str> = figures.iter().map(|figures| figures.name).collect();
    println!("| | {} |\n|--|{}", names.join(" | "), "--:|".repeat(names.len()));
    for (what, show) in ROWS {
        let cells: Vec<String> = figures.iter().map(show).collect();
        println!("| {what} | {} |", cells.join(" | "));
    }
    for figures in figures {
        if let Some(trouble) = &figures.trouble {
            println!("\n{} ended early: {trouble}", figures.name);
        }
    }
}

type Show = fn(&Figures) -> String;

const ROWS: &[(&str, Show)] = &[
    ("all agree after the last start, s", |figures| secs(figures.agreed)),
    ("after the first of them, s", |figures| secs(figures.agreed_since_first)),
    ("processor of all until then, s", |figures| secs(figures.agreed_cpu)),
    ("killed: the first knows, median, s", |figures| median(&figures.killed, |times| times.0)),
    ("killed: all know, median, s", |figures| median(&figures.killed, |times| times.1)),
    ("killed: all know, worst, s", |figures| worst(&figures.killed)),
    ("stopped: the first knows, median, s", |figures| median(&figures.stopped, |times| times.0)),
    ("stopped: all know, median, s", |figures| median(&figures.stopped, |times| times.1)),
    ("stopped: all know, worst, s", |figures| worst(&figures.stopped)),
    ("idle: packets a node and second", |figures| format!("{:.2}", figures.cost.packets)),
    ("idle: UDP bytes", |figures| format!("{:.0}", figures.cost.udp_bytes)),
    ("idle: TCP bytes", |figures| format!("{:.0}", figures.cost.tcp_bytes)),
    ("idle: processor, ms", |figures| format!("{:.2}", figures.cost.cpu_ms)),
    ("resident, MiB", |figures| format!("{:.1}", figures.cost.resident_mib)),
    ("of that without a file behind it, MiB", |figures| format!("{:.1}", figures.cost.anonymous_mib)),
    ("false failures, idle", |figures| figures.false_idle.to_string()),
    ("false failures, a core busy", |figures| figures.false_busy.to_string()),
];

fn secs(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

fn median(times: &[(Duration, Duration)], of: fn(&(Duration, Duration)) -> Duration) -> String {
    let mut sorted: Vec<Duration> = times.iter().map(of).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or_else(|| "–".to_owned(), |median| secs(*median))
}

fn worst(times: &[(Duration, Duration)]) -> String {
    times.iter().map(|(_, last)| *last).max().map_or_else(|| "–".to_owned(), secs)
}
