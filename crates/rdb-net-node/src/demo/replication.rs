//! A log from one node to two replicas: the entries that were acknowledged are at all three, in the same order, with the same digest.
//!
//! The processes tell what they have, and the rules of the simulated runs are asked of what they told.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_patterns::replication::Position;
use rdb_net_patterns::replication::check::{Fact, Rules};
use rdb_net_types::NodeId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::protocol::Order;
use super::report::Report;
use crate::exit::Failure;
use crate::output::note;

/// Who leads, and who follows.
const LEADER: usize = 0;
const MEMBERS: usize = 3;
const EPOCH: u64 = 1;
/// How many entries there are, and how large each is.
const ENTRIES: u64 = 10_000;
const ENTRY_BYTES: usize = 1024;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a node is told about its replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogOrder {
    /// Hold a replica, with these members.
    Open { members: Vec<NodeId> },
    /// Lead, and append so many entries of this size.
    Append { epoch: u64, entries: u64, bytes: usize },
    /// Tell where the log ends.
    Status(bool),
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) epoch: u64,
    pub(crate) digest: u64,
}

/// An entry that the leader was told to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    /// Where, by what the leader's application has appended.
    pub(crate) at: Place,
    /// Which.
    pub(crate) value: u64,
}

/// An entry that a replica was told to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// Where, by what was read from the replica.
    pub(crate) at: Place,
    /// Which; `null` for one that opens an epoch.
    pub(crate) value: Option<u64>,
}

/// What a node tells of its replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "log", rename_all = "snake_case")]
pub(crate) enum LogTold {
    /// It has one.
    Opened(#[serde(skip)] bool),
    /// It leads.
    Led { epoch: u64, opened: Place },
    /// Entries are on a quorum, as the leader was told.
    Acknowledged { entries: Vec<Acknowledged> },
    /// All entries are appended.
    Appended { entries: u64 },
    /// Entries are committed, as this replica was told.
    Committed { entries: Vec<Committed> },
    /// Where the log ends, as the replica itself says.
    Status { last: Place, committed: u64 },
    /// Something did not go well.
    Failed { text: String },
}

impl From<Position> for Place {
    fn from(Position { index, epoch, digest }: Position) -> Self {
        Self { index, epoch, digest }
    }
}

impl From<Place> for Position {
    fn from(Place { index, epoch, digest }: Place) -> Self {
        Self { index, epoch, digest }
    }
}

/// What came of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Replicated {
    /// How many entries the leader was told to be on a quorum.
    pub(crate) acknowledged: u64,
    /// How large each is.
    pub(crate) entry_bytes: usize,
    /// From the first order until every replica had all of it.
    pub(crate) elapsed_ms: u64,
    /// The digest of each node's log, in hexadecimal.
    pub(crate) digests: BTreeMap<NodeId, String>,
}

impl Replicated {
    /// What came of it, in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let digests: Vec<String> = self.digests.iter().map(|(node, digest)| format!("{node} {digest}")).collect();
        format!(
            "{} entries of {} bytes were replicated in {} ms; digests: {}.",
            self.acknowledged,
            self.entry_bytes,
            self.elapsed_ms,
            digests.join(", ")
        )
    }
}

/// What the nodes have told, as facts for the rules.
#[derive(Debug, Default)]
struct History {
    facts: Vec<Fact>,
    acknowledged: u64,
    is_appended: bool,
    opened: usize,
    logs: BTreeMap<NodeId, Vec<Position>>,
    ends: BTreeMap<NodeId, (Position, u64)>,
    failures: Vec<String>,
}

impl History {
    fn take(&mut self, node: &NodeId, told: LogTold) {
        match told {
            LogTold::Opened(_) => self.opened += 1,
            LogTold::Led { epoch, opened } => {
                self.facts.push(Fact::Led { node: node.clone(), epoch, log: vec![opened.into()] });
                self.facts.push(Fact::Healed);
                // What it will be given is known: whatever a replica has beside that was not proposed.
                for (index, value) in (opened.index + 1..).zip(1..=ENTRIES) {
                    self.facts.push(Fact::Proposed { node: node.clone(), epoch, index, value });
                }
            }
            LogTold::Acknowledged { entries } => {
                self.acknowledged += entries.len() as u64;
                self.facts.extend(entries.into_iter().map(|Acknowledged { at, value }| Fact::Acknowledged {
                    position: at.into(),
                    value,
                    durable_at: None,
                }));
            }
            LogTold::Appended { .. } => self.is_appended = true,
            LogTold::Committed { entries } => {
                let log = self.logs.entry(node.clone()).or_default();
                for Committed { at, value } in entries {
                    log.push(at.into());
                    self.facts.push(Fact::Committed { node: node.clone(), position: at.into(), value });
                }
            }
            LogTold::Status { last, committed } => {
                self.ends.insert(node.clone(), (last.into(), committed));
            }
            LogTold::Failed { text } => self.failures.push(format!("{node}: {text}")),
        }
    }

    /// Whether every replica has told all entries, and the leader that all are on a quorum.
    fn is_whole(&self) -> bool {
        let whole = |log: &Vec<Position>| log.len() as u64 == ENTRIES + 1;
        self.is_appended && self.logs.len() == MEMBERS && self.logs.values().all(whole)
    }

    /// The rules that are broken.
    fn broken(&self) -> Vec<String> {
        let mut rules = Rules::new(MEMBERS);
        // What a node's neighbour told first may have come later: a leader leads before anything is committed.
        let led =
            self.facts.iter().filter(|fact| matches!(fact, Fact::Led { .. } | Fact::Healed | Fact::Proposed { .. }));
        let rest = self.facts.iter().filter(|fact| matches!(fact, Fact::Acknowledged { .. } | Fact::Committed { .. }));
        led.chain(rest).for_each(|fact| rules.see(fact));
        for (node, log) in &self.logs {
            let committed = self.ends.get(node).map_or(0, |(_, committed)| *committed);
            rules.see(&Fact::Ended { node: node.clone(), log: log.clone(), committed });
        }
        rules.end()
    }
}

/// Replicates a log over three of the nodes, and notes whether all of them have it.
pub(crate) async fn run(cluster: &mut Cluster, report: &mut Report) -> Result<(), Failure> {
    note(&format!("replicating {ENTRIES} entries from {} to two others", cluster.id(LEADER)));
    let members: Vec<NodeId> = (0..MEMBERS).map(|place| cluster.id(place).clone()).collect();
    let (begun, mut history) = (Instant::now(), History::default());
    for place in 0..MEMBERS {
        cluster.order(place, &Order::Log(LogOrder::Open { members: members.clone() })).await?;
    }
    listen(cluster, &mut history, begun, |history| history.opened == MEMBERS).await?;
    let append = LogOrder::Append { epoch: EPOCH, entries: ENTRIES, bytes: ENTRY_BYTES };
    cluster.order(LEADER, &Order::Log(append)).await?;
    listen(cluster, &mut history, begun, History::is_whole).await?;
    let elapsed_ms = begun.elapsed().as_millis() as u64;
    for place in 0..MEMBERS {
        cluster.order(place, &Order::Log(LogOrder::Status(true))).await?;
    }
    listen(cluster, &mut history, begun, |history| history.ends.len() == MEMBERS).await?;
    conclude(&history, elapsed_ms, report);
    Ok(())
}

/// Takes in what is told until something holds, or nothing more may come.
async fn listen(
    cluster: &mut Cluster,
    history: &mut History,
    begun: Instant,
    holds: impl Fn(&History) -> bool,
) -> Result<(), Failure> {
    while !holds(history) && history.failures.is_empty() {
        if !cluster.listen(begun + LIMIT).await? {
            history.failures.push(format!("it took more than {} s", LIMIT.as_secs()));
        }
        for (node, told) in cluster.take_log() {
            history.take(&node, told);
        }
    }
    Ok(())
}

fn conclude(history: &History, elapsed_ms: u64, report: &mut Report) {
    let digests = history.ends.iter().map(|(node, (last, _))| (node.clone(), format!("{:016x}", last.digest)));
    let replicated = Replicated {
        acknowledged: history.acknowledged,
        entry_bytes: ENTRY_BYTES,
        elapsed_ms,
        digests: digests.collect(),
    };
    let failures = history.failures.join("; ");
    let is_whole = history.is_whole() && history.acknowledged == ENTRIES;
    let detail = if is_whole { replicated.sentence() } else { format!("{} {failures}", replicated.sentence()) };
    note(&detail);
    report.assert("all entries are replicated", is_whole, detail);
    // What each process says of its log, and what it told of each of its entries.
    let mut lasts =
        history.ends.iter().map(|(node, (last, _))| (Some(last), history.logs.get(node).and_then(|l| l.last())));
    let first = history.ends.values().next().map(|(last, _)| last);
    let is_equal = history.ends.len() == MEMBERS && lasts.all(|(says, told)| says == first && told == first);
    let detail = match first {
        Some(last) if is_equal => format!("{} entries with the digest {:016x} at each", last.index, last.digest),
        _ => format!("{:?} {failures}", history.ends),
    };
    report.assert("the replicas are equal", is_equal, detail);
    let broken = history.broken();
    let detail = if broken.is_empty() { "no rule is broken".to_owned() } else { broken.join("; ") };
    report.assert("replication keeps its rules", broken.is_empty(), detail);
    report.replication = Some(replicated);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What three nodes tell of a run, the entries of the last one changed.
    fn history(change: impl FnOnce(&mut Vec<Committed>)) -> History {
        let mut history = History::default();
        let opened = Position::START.next(EPOCH, b"");
        let mut log = vec![Committed { at: opened.into(), value: None }];
        let mut last = opened;
        for value in 1..=ENTRIES {
            last = last.next(EPOCH, &value.to_be_bytes());
            log.push(Committed { at: last.into(), value: Some(value) });
        }
        let acknowledged =
            log.iter().filter_map(|at| at.value.map(|value| Acknowledged { at: at.at, value })).collect();
        let node = |number: usize| NodeId::new(&format!("n{number}")).expect("legal");
        history.take(&node(1), LogTold::Led { epoch: EPOCH, opened: opened.into() });
        history.take(&node(1), LogTold::Acknowledged { entries: acknowledged });
        history.take(&node(1), LogTold::Appended { entries: ENTRIES });
        let committed = log.len() as u64;
        let mut changed = log.clone();
        change(&mut changed);
        for (number, entries) in [(1, log.clone()), (2, log), (3, changed)] {
            let end = entries.last().expect("not empty").at;
            history.take(&node(number), LogTold::Committed { entries });
            history.take(&node(number), LogTold::Status { last: end, committed });
        }
        history
    }

    fn held(history: &History) -> Vec<bool> {
        let mut report = Report::default();
        conclude(history, 1, &mut report);
        report.assertions.iter().map(|assertion| assertion.held).collect()
    }

    #[test]
    fn three_equal_logs_are_as_they_must_be() {
        assert_eq!(held(&history(|_| {})), [true, true, true]);
    }

    #[test]
    fn a_log_that_lacks_an_entry_or_has_another_is_found() {
        let lacking = history(|log| log.truncate(log.len() - 1));
        assert_eq!(held(&lacking), [false, false, false]);
        let other = history(|log| log.last_mut().expect("not empty").at.digest ^= 1);
        assert_eq!(held(&other), [true, false, false]);
        let swapped = history(|log| log.swap(5, 6));
        assert_eq!(held(&swapped), [true, true, false], "{:?}", swapped.broken());
    }
}
