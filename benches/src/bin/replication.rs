//! A log of 1 KiB entries to two followers, beside one-way messages of the same batch size (W5 of the race: 1 MiB), in one run: all of
//! them processes of their own on loopback, mTLS on, rounds interleaved.
//!
//! ```text
//! cargo xtask bench replication [rounds]
//! ```
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdb_net_benches::certificates::Certificates;
use rdb_net_benches::measure::{Marks, Run};
use rdb_net_benches::nodes::{Child, node, parent_gone, say, wait_members};
use rdb_net_benches::peers::Peer;
use rdb_net_benches::workload::{Runtime, Workload};
use rdb_net_patterns::replication::{Config, FollowerState, MemoryLog, ReplicaHandle, Replication};
use rdb_net_types::NodeId;

type Failure = Box<dyn Error + Send + Sync>;

/// As large as a message of W5.
const BATCH_BYTES: usize = 1 << 20;
const ENTRY_BYTES: usize = 1024;
/// How much is replicated in a round.
const ROUND_BYTES: usize = 512 << 20;
/// How many committed entries a log keeps, as one does whose application has applied them. Logs are in memory.
const KEPT: u64 = 32 * 1024;
/// Entries of a proposal, and proposals under way.
const TOGETHER: usize = 1024;
const UNDER_WAY: usize = 12;
const WARM_UP: Duration = Duration::from_millis(200);
const WINDOW: Duration = Duration::from_secs(1);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = Runtime::MultiThread.build()?;
    match arguments[..] {
        ["serve", certificates] => runtime.block_on(serve(Path::new(certificates))),
        ["follow", certificates, name, seed] => runtime.block_on(follow(Path::new(certificates), name, seed)),
        [] => runtime.block_on(race(7)),
        [rounds] => runtime.block_on(race(rounds.parse()?)),
        _ => Err("usage: replication [rounds]".into()),
    }
}

/// The server of W5.
async fn serve(certificates: &Path) -> Result<(), Failure> {
    let announce = |address: SocketAddr| say(&address.to_string());
    tokio::select! {
        served = Peer::OursTls.serve(Some(certificates), announce) => Ok(served?),
        () = parent_gone() => Ok(()),
    }
}

fn config() -> Config {
    let members = (1..=3).map(|number| NodeId::new(&format!("n{number}")).expect("the name is legal"));
    Config {
        batch_bytes_max: BATCH_BYTES,
        window_bytes: 8 * BATCH_BYTES,
        tail_bytes: 32 * BATCH_BYTES,
        pending_bytes_max: 16 * BATCH_BYTES,
        ..Config::new(1, members)
    }
}

/// A follower.
async fn follow(certificates: &Path, name: &str, seed: &str) -> Result<(), Failure> {
    let manager = node(certificates, name, Some(seed))?;
    let replication = Replication::new(&manager);
    manager.start().await?;
    let replica = replication.open(config(), MemoryLog::new())?;
    wait_members(&manager, 3).await;
    say("ready");
    tokio::select! {
        failure = keep_short(&replica) => failure,
        () = parent_gone() => Ok(()),
    }
}

/// Drops what was committed a while ago, for ever.
async fn keep_short(replica: &ReplicaHandle) -> Result<(), Failure> {
    let (mut committed, mut base) = (replica.committed(), 0);
    loop {
        let enough = committed.wait_for(|committed| *committed >= base + 2 * KEPT);
        base = *enough.await? - KEPT;
        replica.compact(base).await.ok_or("the replica is closed")??;
    }
}

#[derive(Debug)]
struct NoMarks;

impl Marks for NoMarks {
    fn started(&self) {}
    fn ended(&self) {}
}

/// One-way messages of 1 MiB to so many servers at once: bytes a second, to all of them together.
async fn one_way(certificates: &Path, servers: usize) -> Result<f64, Failure> {
    let folder = certificates.to_str().ok_or("the folder's name is no text")?;
    let mut children = (0..servers).map(|_| Child::start(&["serve", folder])).collect::<Result<Vec<_>, _>>()?;
    let mut tasks = tokio::task::JoinSet::new();
    for child in &mut children {
        let (address, certificates) = (child.line()?.parse()?, certificates.to_owned());
        let run = Run { workload: Workload::W5, warm_up: WARM_UP, length: WINDOW, marks: Arc::new(NoMarks) };
        tasks.spawn(async move { Peer::OursTls.drive(Some(&certificates), address, &run).await });
    }
    let mut rate = 0.0;
    while let Some(outcome) = tasks.join_next().await {
        let outcome = outcome??;
        rate += outcome.operations as f64 * Workload::W5.payload_bytes() as f64 / outcome.seconds;
    }
    Ok(rate)
}

/// A log to two followers: bytes a second, to both of them together, from the first proposal until both have all of it.
async fn replicate(certificates: &Path) -> Result<f64, Failure> {
    let folder = certificates.to_str().ok_or("the folder's name is no text")?;
    let manager = node(certificates, "n1", None)?;
    let replication = Replication::new(&manager);
    manager.start().await?;
    let seed = manager.addresses().transport.to_string();
    let mut followers = ["n2", "n3"].map(|name| Child::start(&["follow", folder, name, &seed]));
    for follower in &mut followers {
        let line = follower.as_mut().map_err(|error| error.to_string())?.line()?;
        if line != "ready" {
            return Err(line.into());
        }
    }
    wait_members(&manager, 3).await;
    let leader = replication.open(config(), MemoryLog::new())?;
    leader.lead(1).await?;
    while !both_stream(&leader, 1).await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let data = Bytes::from(vec![0x5a; ENTRY_BYTES]);
    let short = leader.clone();
    let short = tokio::spawn(async move { keep_short(&short).await.map_err(|error| error.to_string()) });
    let begun = Instant::now();
    let (mut left, mut under_way, mut last) = (ROUND_BYTES / ENTRY_BYTES, std::collections::VecDeque::new(), 0);
    while left > 0 || !under_way.is_empty() {
        while left > 0 && under_way.len() < UNDER_WAY {
            let count = left.min(TOGETHER);
            left -= count;
            let proposal = leader.propose(vec![data.clone(); count]).await?;
            last = *proposal.indexes.end();
            under_way.push_back(proposal);
        }
        if let Some(proposal) = under_way.pop_front() {
            proposal.committed().await?;
        }
    }
    while !both_stream(&leader, last).await? {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    short.abort();
    leader.close().await;
    drop(followers);
    manager.shutdown().await;
    Ok(2.0 * ROUND_BYTES as f64 / seconds)
}

/// Whether both followers have the log up to this index.
async fn both_stream(leader: &ReplicaHandle, index: u64) -> Result<bool, Failure> {
    let status = leader.status().await.ok_or("the replica is closed")?;
    Ok(status.followers.iter().all(|follower| follower.state == FollowerState::Streaming && follower.matched >= index))
}

async fn race(rounds: usize) -> Result<(), Failure> {
    let names = ["server", "client", "n1", "n2", "n3"].map(str::to_owned);
    let certificates = Certificates::mint(names)?;
    let mut ratios = [Vec::new(), Vec::new()];
    println!("MB/s delivered      W5 to one   W5 to two   log to two   log/W5 to one   log/W5 to two");
    for round in 1..=rounds {
        let one = one_way(certificates.dir(), 1).await?;
        let log = replicate(certificates.dir()).await?;
        let two = one_way(certificates.dir(), 2).await?;
        println!(
            "round {round:>2}           {:>9.0}   {:>9.0}   {:>10.0}   {:>13.2}   {:>13.2}",
            one / 1e6,
            two / 1e6,
            log / 1e6,
            log / one,
            log / two
        );
        ratios[0].push(log / one);
        ratios[1].push(log / two);
    }
    let median = |ratios: &mut Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let [one, two] = &mut ratios;
    println!("medians: {:.2} of W5 to one receiver, {:.2} of W5 to two", median(one), median(two));
    Ok(())
}
