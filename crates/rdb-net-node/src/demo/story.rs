//! The demo's story: a cluster comes together and replicates a log while two nodes are killed, a node is killed under queries and comes
//! back, another one leaves.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use rdb_net_types::{NodeId, NodeState};
use tokio::time::{Instant, timeout};

use super::cluster::{Cluster, Seen};
use super::protocol::{Change, unix_ms};
use super::queries::{self, Kill};
use super::replication;
use super::report::{Noticed, Report};
use super::security::Security;
use super::transactions::{self, Killing};
use crate::exit::Failure;
use crate::output::note;

/// Who asks all queries.
const ASKER: usize = 0;
/// Who leaves.
const LEAVER: usize = 1;
/// Who is killed. Others join through it.
const VICTIM: usize = 2;

/// How many queries there are, and after how many answers the node is killed.
const QUERIES: u64 = 1_000;
const QUERIES_BEFORE_KILL: u64 = 400;

/// Who begins all transactions, and is killed under them after a participant.
const COORDINATOR: usize = 2;
const PARTICIPANT: usize = 1;
/// How many transactions there are, and after how many answers the participant and the coordinator are killed.
const TRANSACTIONS: u64 = 200;
const TRANSACTIONS_BEFORE_KILL: u64 = 60;
const TRANSACTIONS_BEFORE_SECOND_KILL: u64 = 130;
/// How many are begun while the participant is away.
const TRANSACTIONS_MEANWHILE: u64 = 10;

/// How long anything may take before it counts as not happening.
const LIMIT: Duration = Duration::from_secs(15);
/// For how long after a farewell nobody may call the node that left failed.
const AFTER_FAREWELL: Duration = Duration::from_millis(1_500);

/// Plays the whole story and notes in the report what happened.
///
/// # Errors
///
/// [`Failure`] when it cannot go on. What does not hold is in the report and no error.
pub(crate) async fn play(cluster: &mut Cluster, security: &Security, report: &mut Report) -> Result<(), Failure> {
    if !come_together(cluster, report).await? {
        return Ok(());
    }
    security.check(cluster, report).await;
    let mut killed = replicate(cluster, report).await?;
    let kill = Kill { victim: VICTIM, after: QUERIES_BEFORE_KILL };
    let tally = queries::run(cluster, ASKER, 0..QUERIES, Some(kill)).await?;
    tally.report(report);
    if let Some(killed_ms) = tally.killed_ms() {
        mourn(cluster, report, killed_ms).await?;
        come_back(cluster, report).await?;
    }
    killed.extend(transact(cluster, report).await?);
    leave(cluster, report).await?;
    let is_excused = |seen: &Seen| {
        let was_killed =
            |(node, times): &(NodeId, RangeInclusive<u64>)| *node == seen.node && times.contains(&seen.at_ms);
        seen.node == *cluster.id(VICTIM) || killed.iter().any(was_killed)
    };
    let wrongly: Vec<String> = cluster
        .seen()
        .iter()
        .filter(|seen| seen.change == Change::NodeFailed && !is_excused(seen))
        .map(|seen| format!("{} called {} failed", seen.by, seen.node))
        .collect();
    let detail =
        if wrongly.is_empty() { "only killed nodes were called failed".to_owned() } else { wrongly.join(", ") };
    report.assert("no false failure", wrongly.is_empty(), detail);
    Ok(())
}

/// All states as they are while nothing is wrong, but for these nodes.
fn states(cluster: &Cluster, but: &[(usize, NodeState)]) -> BTreeMap<NodeId, NodeState> {
    let mut states: BTreeMap<_, _> = cluster.nodes().iter().map(|node| (node.id.clone(), NodeState::Alive)).collect();
    states.extend(but.iter().map(|(place, state)| (cluster.id(*place).clone(), *state)));
    states
}

/// Starts all nodes. `false` when they did not agree.
async fn come_together(cluster: &mut Cluster, report: &mut Report) -> Result<bool, Failure> {
    let count = cluster.nodes().len();
    note(&format!("starting {count} nodes"));
    let mut started_ms = 0;
    for place in 0..count {
        started_ms = cluster.start(place)?;
    }
    let expected = states(cluster, &[]);
    let agreed_ms = cluster.agree(LIMIT, &expected).await?.map(|at_ms| at_ms.saturating_sub(started_ms));
    report.agreed_ms = agreed_ms;
    let detail = match agreed_ms {
        Some(agreed_ms) => format!("{count} nodes tell the same {count} members, all alive, after {agreed_ms} ms"),
        None => format!("{count} nodes did not agree within {} s", LIMIT.as_secs()),
    };
    note(&detail);
    report.assert("all nodes agree", agreed_ms.is_some(), detail);
    Ok(agreed_ms.is_some())
}

/// Waits until all others have noticed a change of a node, and notes it.
async fn notice(
    cluster: &mut Cluster,
    report: &mut Report,
    name: &'static str,
    (place, change, since_ms): (usize, Change, u64),
) -> Result<Noticed, Failure> {
    let (node, others) = (cluster.id(place).clone(), cluster.others(place));
    let all = |cluster: &Cluster| cluster.noticed(change, &node, since_ms).into_keys().collect();
    let held = cluster.wait(LIMIT, |cluster| others == all(cluster)).await?;
    let noticed_ms = cluster.noticed(change, &node, since_ms);
    let (first, last) = (noticed_ms.values().min(), noticed_ms.values().max());
    let detail = match (held, first, last) {
        (true, Some(first), Some(last)) => {
            format!("{change:?} of {node} at all {} others after {first} to {last} ms", others.len())
        }
        _ => {
            let missing: Vec<_> =
                others.iter().filter(|other| !noticed_ms.contains_key(other)).map(NodeId::as_str).collect();
            format!("no {change:?} of {node} within {} s at {}", LIMIT.as_secs(), missing.join(", "))
        }
    };
    note(&detail);
    report.assert(name, held, detail);
    Ok(Noticed { node, noticed_ms })
}

/// Asks all running nodes for their members and notes whether they tell these states.
async fn check_states(
    cluster: &mut Cluster,
    report: &mut Report,
    name: &'static str,
    but: &[(usize, NodeState)],
) -> Result<(), Failure> {
    let expected = states(cluster, but);
    let held = cluster.agree(LIMIT, &expected).await?.is_some();
    let but: Vec<String> = but.iter().map(|(place, state)| format!("but {} {state}", cluster.id(*place))).collect();
    let detail = format!("every running node tells all members alive {}", but.join(", "));
    report.assert(name, held, detail.trim_end());
    Ok(())
}

async fn mourn(cluster: &mut Cluster, report: &mut Report, killed_ms: u64) -> Result<(), Failure> {
    let what = (VICTIM, Change::NodeFailed, killed_ms);
    report.kill = Some(notice(cluster, report, "the kill is noticed", what).await?);
    check_states(cluster, report, "all agree on the kill", &[(VICTIM, NodeState::Failed)]).await
}

async fn come_back(cluster: &mut Cluster, report: &mut Report) -> Result<(), Failure> {
    note(&format!("starting {} again", cluster.id(VICTIM)));
    let started_ms = cluster.start(VICTIM)?;
    let what = (VICTIM, Change::NodeRecovered, started_ms);
    report.recover = Some(notice(cluster, report, "the return is noticed", what).await?);
    check_states(cluster, report, "all agree on the return", &[]).await?;
    let count = cluster.nodes().len() as u64;
    let after = QUERIES..QUERIES + count;
    let tally = queries::run(cluster, ASKER, after, None).await?;
    let (held, detail) = tally.all_replied(count);
    report.assert("queries reach the node that returned", held, detail);
    Ok(())
}

/// A log over three nodes, while two of them are killed and come back. Returns who was dead when.
async fn replicate(cluster: &mut Cluster, report: &mut Report) -> Result<Vec<(NodeId, RangeInclusive<u64>)>, Failure> {
    let killed = replication::run(cluster, report).await?;
    check_states(cluster, report, "all agree after the kills under replication", &[]).await?;
    let back_ms = unix_ms();
    Ok(killed.into_iter().map(|(place, killed_ms)| (cluster.id(place).clone(), killed_ms..=back_ms)).collect())
}

/// Transactions over all nodes, while a participant and then their coordinator are killed and come back. Returns who was dead when.
async fn transact(cluster: &mut Cluster, report: &mut Report) -> Result<Vec<(NodeId, RangeInclusive<u64>)>, Failure> {
    let mut tally = transactions::Tally::default();
    let mut killed = Vec::new();
    for (kill, until) in [(PARTICIPANT, TRANSACTIONS_BEFORE_KILL), (COORDINATOR, TRANSACTIONS_BEFORE_SECOND_KILL)] {
        let killed_ms = tally.run(cluster, COORDINATOR, until, Killing::AtTheEnd(kill)).await?;
        // Some more, while the node is away; the coordinator's own have nobody to begin them.
        if kill == PARTICIPANT {
            tally.run(cluster, COORDINATOR, until + TRANSACTIONS_MEANWHILE, Killing::Nobody).await?;
        }
        let node = cluster.id(kill).clone();
        // Who notices a death after the return would call a node failed that runs.
        let is_noticed = cluster.wait_noticed(LIMIT, (kill, Change::NodeFailed, killed_ms)).await?;
        let detail = format!("all others called {node} failed: {is_noticed}");
        report.assert("a kill under transactions is noticed", is_noticed, detail);
        note(&format!("starting {node} again"));
        cluster.start(kill)?;
        check_states(cluster, report, "all agree after a kill under transactions", &[]).await?;
        killed.push((node, killed_ms..=unix_ms()));
    }
    tally.run(cluster, COORDINATOR, TRANSACTIONS, Killing::Nobody).await?;
    tally.settle(cluster, LIMIT).await?;
    tally.report(cluster, report);
    Ok(killed)
}

async fn leave(cluster: &mut Cluster, report: &mut Report) -> Result<(), Failure> {
    note(&format!("asking {} to leave", cluster.id(LEAVER)));
    let (asked_ms, mut process) = cluster.terminate(LEAVER)?;
    let what = (LEAVER, Change::NodeLeft, asked_ms);
    report.leave = Some(notice(cluster, report, "the farewell is heard", what).await?);
    let ended = timeout(LIMIT, process.ended()).await;
    let detail = match &ended {
        Ok(Ok(status)) => format!("{} ended with {status}", cluster.id(LEAVER)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("{} still runs", cluster.id(LEAVER)),
    };
    report.assert("the node that left ends well", matches!(ended, Ok(Ok(status)) if status.success()), detail);
    let until = Instant::now() + AFTER_FAREWELL;
    while cluster.listen(until).await? {}
    let failed = cluster.noticed(Change::NodeFailed, cluster.id(LEAVER), asked_ms);
    let detail = match failed.is_empty() {
        true => format!("nobody called {} failed", cluster.id(LEAVER)),
        false => format!("called failed by {}", failed.keys().map(NodeId::as_str).collect::<Vec<_>>().join(", ")),
    };
    report.assert("a farewell is no failure", failed.is_empty(), detail);
    check_states(cluster, report, "all agree on the farewell", &[(LEAVER, NodeState::Left)]).await
}
