//! Counts allocations and instructions per operation; see the library for how.

use std::alloc::System;
use std::io::Write;

use clap::{Parser, Subcommand, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use rdb_net_benches::count::{
    Allocations, Entry, OPERATIONS, allocations_per_operation, find, instructions_per_operation,
};
use rdb_net_benches::race::Role as RaceRole;
use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Counts allocations and instructions per operation.
#[derive(Debug, Parser)]
#[command(name = "count")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// Operations to count; default all.
    #[arg(long, value_delimiter = ',')]
    operations: Vec<String>,
    /// Operations per run.
    #[arg(long, default_value_t = 6_400, value_parser = clap::value_parser!(u64).range(64..=10_000_000))]
    count: u64,
    /// How the results are printed.
    #[arg(long, default_value = "table")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Does one operation a number of times and ends.
    #[command(hide = true)]
    Run {
        #[arg(long)]
        operation: String,
        #[arg(long)]
        count: u64,
    },
    /// What the race asks of this binary, because it counts.
    #[command(flatten)]
    Race(RaceRole),
}

/// The counts of one operation, or why there are none.
#[derive(Debug, Serialize)]
struct Counted {
    operation: &'static str,
    allocations: Option<Allocations>,
    instructions: Option<f64>,
    remark: Option<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Run { operation, count }) => {
            (known(&operation)?.build)()?.run(count);
            return Ok(());
        }
        Some(Role::Race(role)) => return Ok(role.play()?),
        None => {}
    }
    let entries: Vec<&Entry> = if cli.operations.is_empty() {
        OPERATIONS.iter().collect()
    } else {
        cli.operations.iter().map(|name| known(name)).collect::<Result<_, _>>()?
    };
    let counted = entries.into_iter().map(|entry| count(entry, cli.count)).collect::<Result<Vec<_>, _>>()?;
    let mut out = std::io::stdout().lock();
    match cli.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&counted)?)?,
        Output::Table => writeln!(out, "{}", table(&counted))?,
    }
    Ok(())
}

fn known(name: &str) -> Result<&'static Entry, String> {
    find(name).ok_or_else(|| {
        let known: Vec<&str> = OPERATIONS.iter().map(|entry| entry.name).collect();
        format!("no operation {name:?}; there are {}", known.join(", "))
    })
}

fn count(entry: &Entry, count: u64) -> Result<Counted, Box<dyn std::error::Error>> {
    let mut counted = Counted { operation: entry.name, allocations: None, instructions: None, remark: None };
    match (entry.build)() {
        Err(absent) => counted.remark = Some(absent.to_string()),
        Ok(mut operation) => {
            counted.allocations = Some(allocations_per_operation(operation.as_mut(), count)?);
            match instructions_per_operation(&std::env::current_exe()?, entry.name, count) {
                Ok(instructions) => counted.instructions = Some(instructions),
                Err(skipped) => counted.remark = Some(skipped.to_string()),
            }
        }
    }
    Ok(counted)
}

fn table(counted: &[Counted]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["operation", "allocations", "bytes", "instructions", "remark"]);
    for one in counted {
        table.add_row([
            one.operation.to_owned(),
            one.allocations.map_or(String::new(), |heap| format!("{:.3}", heap.count)),
            one.allocations.map_or(String::new(), |heap| format!("{:.1}", heap.bytes)),
            one.instructions.map_or(String::new(), |instructions| format!("{instructions:.1}")),
            one.remark.clone().unwrap_or_default(),
        ]);
    }
    table
}
