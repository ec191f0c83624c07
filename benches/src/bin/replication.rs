//! A log of 1 KiB entries to two followers, beside one-way messages of the same batch size (1 MiB as W5 of the race, and 128 KiB), in one
//! run: all of them processes of their own on loopback, mTLS on, rounds interleaved. Entries are proposed one by one, which a leader
//! copies together, and in one piece, which it sends as it is, as W5's messages are. Receivers have one thread, as those of W5 in the
//! race, or several; senders have several.
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
use clap::ValueEnum as _;
use rdb_net_benches::certificates::Certificates;
use rdb_net_benches::measure::{Marks, Run};
use rdb_net_benches::nodes::{Child, node, parent_gone, say, wait_members};
use rdb_net_benches::peers::Peer;
use rdb_net_benches::workload::{Runtime, Workload};
use rdb_net_patterns::replication::{Config, FollowerState, MemoryLog, Piece, ReplicaHandle, Replication};
use rdb_net_types::NodeId;

type Failure = Box<dyn Error + Send + Sync>;

/// One-way messages, each as large as a batch of the log beside them.
const ONE_WAY: [Workload; 2] = [Workload::W5, Workload::W5k];
const ENTRY_BYTES: usize = 1024;
/// How much is replicated in a round, once this much was to warm up as one-way messages do.
const ROUND_BYTES: usize = 1 << 30;
const WARM_UP_BYTES: usize = 128 << 20;
/// How many committed entries a log keeps, as one does whose application has applied them. Logs are in memory.
const KEPT: u64 = 4 * 1024;
/// How much is proposed and not yet committed, a batch in each proposal.
const UNDER_WAY_BYTES: usize = 8 << 20;
/// A round takes a second.
const ROUND_MAX: Duration = Duration::from_secs(60);
const WARM_UP: Duration = Duration::from_millis(200);
const WINDOW: Duration = Duration::from_secs(1);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let receives = |runtime: &str| Runtime::from_str(runtime, false)?.build().map_err(|error| error.to_string());
    let sends = || Runtime::MultiThread.build();
    match arguments[..] {
        ["serve", runtime, certificates] => receives(runtime)?.block_on(serve(Path::new(certificates))),
        ["follow", runtime, certificates, name, seed, batch_bytes] => {
            receives(runtime)?.block_on(follow(Path::new(certificates), name, seed, batch_bytes.parse()?))
        }
        [] => sends()?.block_on(race(7)),
        [rounds] => sends()?.block_on(race(rounds.parse()?)),
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

fn config(batch_bytes: usize) -> Config {
    let members = (1..=3).map(|number| NodeId::new(&format!("n{number}")).expect("the name is legal"));
    Config {
        batch_bytes_max: batch_bytes,
        // Entries cost some more than their data.
        pending_bytes_max: 2 * UNDER_WAY_BYTES,
        ..Config::new(1, members)
    }
}

/// A follower.
async fn follow(certificates: &Path, name: &str, seed: &str, batch_bytes: usize) -> Result<(), Failure> {
    let manager = node(certificates, name, Some(seed))?;
    let replication = Replication::new(&manager);
    manager.start().await?;
    let replica = replication.open(config(batch_bytes), MemoryLog::new())?;
    wait_members(&manager, 3).await;
    say("ready");
    tokio::select! {
        failure = keep_short(&replica, batch_bytes) => failure,
        () = parent_gone() => Ok(()),
    }
}

/// Drops what was committed a while ago and, of a leader, what all followers have: for ever.
async fn keep_short(replica: &ReplicaHandle, batch_bytes: usize) -> Result<(), Failure> {
    let (mut committed, mut base, together) = (replica.committed(), 0, (batch_bytes / ENTRY_BYTES) as u64);
    loop {
        let enough = committed.wait_for(|committed| *committed >= base + KEPT + together);
        let enough = *enough.await? - KEPT;
        let followers = replica.status().await.ok_or("the replica is closed")?.followers;
        base = followers.iter().map(|follower| follower.matched).fold(enough, u64::min);
        replica.compact(base).await.ok_or("the replica is closed")??;
        // A follower that is behind holds it up.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[derive(Debug)]
struct NoMarks;

impl Marks for NoMarks {
    fn started(&self) {}
    fn ended(&self) {}
}

/// One-way messages to so many servers at once: bytes a second, to all of them together.
async fn one_way(certificates: &Path, runtime: Runtime, workload: Workload, servers: usize) -> Result<f64, Failure> {
    let folder = certificates.to_str().ok_or("the folder's name is no text")?;
    let mut children =
        (0..servers).map(|_| Child::start(&["serve", runtime.name(), folder])).collect::<Result<Vec<_>, _>>()?;
    let mut tasks = tokio::task::JoinSet::new();
    for child in &mut children {
        let (address, certificates) = (child.line()?.parse()?, certificates.to_owned());
        let run = Run { workload, warm_up: WARM_UP, length: WINDOW, marks: Arc::new(NoMarks) };
        tasks.spawn(async move { Peer::OursTls.drive(Some(&certificates), address, &run).await });
    }
    let mut rate = 0.0;
    while let Some(outcome) = tasks.join_next().await {
        let outcome = outcome??;
        rate += outcome.operations as f64 * workload.payload_bytes() as f64 / outcome.seconds;
    }
    Ok(rate)
}

/// A log to two followers: bytes a second, to both of them together, from the first proposal until both have all of it.
async fn replicate(
    certificates: &Path,
    runtime: Runtime,
    batch_bytes: usize,
    are_in_one_piece: bool,
) -> Result<f64, Failure> {
    let replicated = replicate_round(certificates, runtime, batch_bytes, are_in_one_piece);
    tokio::time::timeout(ROUND_MAX, replicated).await.map_err(|_| "a round has not ended in a minute")?
}

async fn replicate_round(
    certificates: &Path,
    runtime: Runtime,
    batch_bytes: usize,
    are_in_one_piece: bool,
) -> Result<f64, Failure> {
    let folder = certificates.to_str().ok_or("the folder's name is no text")?;
    let manager = node(certificates, "n1", None)?;
    let replication = Replication::new(&manager);
    manager.start().await?;
    let seed = manager.addresses().transport.to_string();
    let batch = batch_bytes.to_string();
    let mut followers = ["n2", "n3"].map(|name| Child::start(&["follow", runtime.name(), folder, name, &seed, &batch]));
    for follower in &mut followers {
        let line = follower.as_mut().map_err(|error| error.to_string())?.line()?;
        if line != "ready" {
            return Err(line.into());
        }
    }
    wait_members(&manager, 3).await;
    let leader = replication.open(config(batch_bytes), MemoryLog::new())?;
    leader.lead(1).await?;
    while !both_stream(&leader, 1).await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (entry, together) = (Bytes::from(vec![0x5a; ENTRY_BYTES]), batch_bytes / ENTRY_BYTES);
    let piece = Piece::new(vec![0x5a; batch_bytes].into(), vec![ENTRY_BYTES; together]).ok_or("it is all of them")?;
    let short = leader.clone();
    let short = tokio::spawn(async move { keep_short(&short, batch_bytes).await.map_err(|error| error.to_string()) });
    let (mut begun, mut under_way, mut last) = (Instant::now(), std::collections::VecDeque::new(), 0);
    let mut left = (WARM_UP_BYTES + ROUND_BYTES) / batch_bytes;
    while left > 0 || !under_way.is_empty() {
        while left > 0 && under_way.len() < UNDER_WAY_BYTES / batch_bytes {
            if left == ROUND_BYTES / batch_bytes {
                begun = Instant::now();
            }
            left -= 1;
            let proposal = if are_in_one_piece {
                leader.propose_piece(piece.clone()).await?
            } else {
                leader.propose(vec![entry.clone(); together]).await?
            };
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
    let rows =
        [Runtime::CurrentThread, Runtime::MultiThread].map(|runtime| ONE_WAY.map(|workload| (runtime, workload)));
    let mut rows: Vec<_> = rows.into_iter().flatten().map(|row| (row, Vec::new())).collect();
    println!(
        "MB/s delivered        receivers        one-way to one   to two   log to two (of one, of two)   in one piece (of one, of two)"
    );
    let mut small = Vec::new();
    for round in 1..=rounds {
        small.push(one_way(certificates.dir(), Runtime::CurrentThread, Workload::W4, 1).await?);
        for ((runtime, workload), figures) in &mut rows {
            let (folder, runtime, batch_bytes) = (certificates.dir(), *runtime, workload.payload_bytes());
            let one = one_way(folder, runtime, *workload, 1).await?;
            let log = replicate(folder, runtime, batch_bytes, false).await?;
            let piece = replicate(folder, runtime, batch_bytes, true).await?;
            let two = one_way(folder, runtime, *workload, 2).await?;
            let of_round = [one, two, log, log / one, log / two, piece, piece / one, piece / two];
            print(&format!("round {round:>2}"), (runtime, *workload), &of_round);
            figures.push(of_round);
        }
    }
    for (row, figures) in &rows {
        let medians: Vec<f64> = (0..8).map(|column| median(figures.iter().map(|figures| figures[column]))).collect();
        print("medians ", *row, &medians);
    }
    println!("medians   one-way messages of {} bytes to one: {:.0}", Workload::W4.payload_bytes(), median(small) / 1e6);
    Ok(())
}

fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn print(what: &str, (runtime, workload): (Runtime, Workload), figures: &[f64]) {
    let &[one, two, log, of_one, of_two, piece, piece_of_one, piece_of_two] = figures else { return };
    let kibibytes = workload.payload_bytes() >> 10;
    println!(
        "{what}  {kibibytes:>4} KiB     {:14} {:>16.0} {:>8.0} {:>12.0} ({of_one:.2}, {of_two:.2}) {:>16.0} ({piece_of_one:.2}, {piece_of_two:.2})",
        runtime.name(),
        one / 1e6,
        two / 1e6,
        log / 1e6,
        piece / 1e6,
    );
}
