//! Fifty nodes of ours beside fifty agents of Serf and fifty nodes of foca, all at the same time on one machine: how long until they
//! agree, notice a killed or a stopped process, and what it costs to do nothing.
//!
//! Each system runs in a network namespace of its own, so that the kernel counts what its processes send and nothing else. Times are
//! those at which the lines of the processes' own logs arrive here, the same way for all. `cargo xtask bench membership` builds and
//! starts this; see `--help` for how many and how long. What ours is to have of each figure stands beside it, and what is missed in the last
//! line; then the exit code is 1.

mod cluster;
mod counters;
mod error;
mod foca_node;
mod limits;
mod namespace;
mod phases;
mod report;
mod system;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::phases::Plan;
use crate::system::{Kind, Programs};

/// Clusters beside clusters: what they notice, and what they cost.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    programs: Programs,
    /// Which systems run.
    #[arg(long, value_delimiter = ',', default_value = "ours,ours-tls,alone,serf,foca")]
    systems: Vec<Kind>,
    /// Nodes of each.
    #[arg(long, default_value_t = 50)]
    nodes: usize,
    /// How many processes of each system are killed, one after the other.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// How many are stopped.
    #[arg(long, default_value_t = 10)]
    stops: usize,
    /// For how many seconds nothing happens after the last has joined, before costs are counted: what joining has left is over then,
    /// such as connections that nobody uses.
    #[arg(long, default_value_t = 60)]
    settle_secs: u64,
    /// For how many seconds nothing happens while costs are counted.
    #[arg(long, default_value_t = 60)]
    idle_secs: u64,
    /// For how many seconds nothing happens while one core is kept busy.
    #[arg(long, default_value_t = 600)]
    busy_secs: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One node of foca: tells who comes and goes, one line each.
    Foca {
        /// Where it listens.
        own: SocketAddr,
        /// Whom it calls on, unless that is itself.
        seed: SocketAddr,
        /// For how many members it is set up.
        nodes: u32,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Foca { own, seed, nodes }) => foca_node::run(own, seed, nodes).map(|()| true),
        None => bench(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        // The last line says what is missed.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Gives whether every limit that was judged is held.
fn bench(arguments: &Arguments) -> Result<bool, Error> {
    let plan = Plan {
        nodes: arguments.nodes,
        kills: arguments.kills,
        stops: arguments.stops,
        settle: Duration::from_secs(arguments.settle_secs),
        idle: Duration::from_secs(arguments.idle_secs),
        busy: Duration::from_secs(arguments.busy_secs),
    };
    let mut systems = Vec::new();
    for kind in &arguments.systems {
        match system::Launcher::find(*kind, &arguments.programs) {
            Ok(launcher) => systems.push(launcher),
            Err(reason) => report::skip(kind.name(), &reason),
        }
    }
    let figures = phases::run(&plan, systems)?;
    Ok(report::print(&plan, &figures))
}
