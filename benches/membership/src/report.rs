//! What is told: each step while it runs, and a table in the end.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks through its output")]

use crate::error::Error;
use crate::limits::{ROWS, conclude};
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

/// The table, as Markdown, and what it comes to; whether that is good.
pub(crate) fn print(plan: &Plan, figures: &[Figures]) -> bool {
    let (nodes, idle, busy) = (plan.nodes, plan.idle.as_secs(), plan.busy.as_secs());
    println!(
        "{nodes} nodes each, all systems at the same time; idle for {idle} s, and for {busy} s beside a busy core\n"
    );
    let names: Vec<&str> = figures.iter().map(|figures| figures.kind.name()).collect();
    println!("| | {} | ours is to have |\n|--|{}--:|", names.join(" | "), "--:|".repeat(names.len()));
    for row in ROWS {
        let cells: Vec<String> = figures.iter().map(|figures| row.cell(figures)).collect();
        println!("| {} | {} | {} |", row.what, cells.join(" | "), row.limits());
    }
    for figures in figures {
        if let Some(trouble) = &figures.trouble {
            println!("\n{} ended early: {trouble}", figures.kind.name());
        }
    }
    let (said, is_good) = conclude(plan, figures);
    println!("\n{said}");
    is_good
}
