//! `demo`: a cluster of real processes on this machine, a node of which is killed under queries.
//!
//! | file | what it is |
//! |---|---|
//! | `story` | what happens, and what must hold of it |
//! | `queries` | queries under way, some with rows on their way at the kill, and the count of what became of them |
//! | `replication`, `replica` | a log on three nodes of which two are killed, as the demo and as its nodes see it |
//! | `transactions` | transactions over all nodes while two of them are killed, and the checks of what the nodes told |
//! | `cluster` | all processes, and what they told |
//! | `process` | one process |
//! | `security` | certificates, and whether the nodes speak mTLS |
//! | `directory` | configurations, logs and ports |
//! | `report` | what is told at the end |
//! | `asking` | a node's part in queries |
//! | `node` | the other side: what runs in each process |
//! | `participant`, `holds` | a node's part in transactions, and what of it is held back on order |
//! | `protocol` | the lines between the two |
//! | `table` | the data, the same on both sides |

mod asking;
mod cluster;
mod directory;
mod holds;
mod node;
mod participant;
mod process;
mod protocol;
mod queries;
mod replica;
mod replication;
mod report;
mod security;
mod story;
mod table;
mod transactions;

pub(crate) use node::run as run_node;
pub(crate) use table::Partition;

use crate::cli::DemoOptions;
use crate::exit::Failure;
use crate::output::Output;
use crate::run::Signals;

use cluster::Cluster;
use directory::Directory;
use report::Report;
use security::Security;

fn cannot(error: std::io::Error) -> Failure {
    Failure::Other(format!("cannot prepare the demo: {error}"))
}

/// Plays the story with so many nodes and tells what came of it.
///
/// # Errors
///
/// [`Failure::Other`] with each assertion that did not hold. No process is left behind, unless it is to be kept.
pub(crate) async fn run(options: DemoOptions, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(cannot)?;
    let mut directory = Directory::create().map_err(cannot)?;
    let nodes = usize::from(options.nodes);
    let security = Security::prepare(options.plaintext, options.transport, directory.path())?;
    let mut cluster = Cluster::configure(nodes, &directory, &security)?;
    let mut report = Report { nodes, security: security.name(), ..Report::default() };
    let played = tokio::select! {
        played = Box::pin(story::play(&mut cluster, &security, &mut report)) => played,
        () = signals.next() => {
            cluster.end().await;
            return Err(Failure::other("interrupted; the nodes were ended"));
        }
    };
    if let Err(failure) = played {
        report.assert("the story came to its end", false, failure.to_string());
    }
    report.conclude();
    if options.keep {
        cluster.release().await?;
        report.kept = Some(cluster.kept(&directory));
    } else {
        cluster.end().await;
    }
    if options.keep || !report.ok {
        directory.keep();
    }
    output.result(&report, Report::story)?;
    if report.ok {
        return Ok(());
    }
    let mut failed = report.failed();
    failed.push(format!("configurations and logs are in {}", directory.path().display()));
    Err(Failure::Other(failed.join("\n")))
}
