//! Queries under way, and the count of what became of each part of each of them.

mod slow;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use rdb_net_types::NodeId;
use tokio::time::Instant;

use super::asking::Manner;
use super::cluster::Cluster;
use super::protocol::{Answered, Order, QueryOrder};
use super::report::{Queries, Report};
use super::table::{Query, Row};
use crate::exit::Failure;
use crate::output::note;
use slow::Slow;

/// How many queries are under way at once.
const UNDER_WAY_MAX: usize = 16;
/// How long an answer may take: far more than a query's own deadline, as the machine may be busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How many things gone wrong are told one by one.
const TOLD_MAX: usize = 5;

/// When which node is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    /// Its place in the cluster.
    pub(crate) victim: usize,
    /// After how many answers.
    pub(crate) after: u64,
}

/// Carries out the queries of these numbers from one node, some at once, and kills another node in the middle.
pub(crate) async fn run(
    cluster: &mut Cluster,
    asker: usize,
    numbers: Range<u64>,
    kill: Option<Kill>,
) -> Result<Tally, Failure> {
    let mut tally = Tally::new(cluster, kill.map(|kill| cluster.id(kill.victim).clone()));
    let total = numbers.end - numbers.start;
    let mut numbers =
        numbers.map(|number| QueryOrder { id: number, text: format!("streamed {}", Query::text(number)), first: None });
    let begun = Instant::now();
    let mut left = total;
    while left > 0 || tally.slow.is_under_way() {
        // While slow queries begin, no other does: some are to come after the kill.
        while !tally.slow.is_beginning(cluster)
            && tally.under_way.len() < UNDER_WAY_MAX
            && let Some(query) = numbers.next()
        {
            tally.ordered(&query);
            cluster.order(asker, &Order::Query(query)).await?;
        }
        if !cluster.listen(Instant::now() + ANSWER_LIMIT).await? {
            // Some were never answered; the count shows it.
            break;
        }
        for answered in cluster.take_answered() {
            if !tally.slow.take(&answered) {
                left -= u64::from(tally.count(&answered));
            }
        }
        if let Some(kill) = kill.filter(|kill| tally.killed_ms.is_none() && total - left >= kill.after) {
            for query in tally.slow.begin() {
                cluster.order(asker, &Order::Query(query)).await?;
            }
            if tally.slow.is_beginning(cluster) {
                continue;
            }
            note(&format!("{} of {total} queries are answered: killing {}", total - left, cluster.id(kill.victim)));
            tally.killed_ms = Some(cluster.kill(kill.victim).await?);
        }
    }
    tally.queries.elapsed_ms = begun.elapsed().as_millis() as u64;
    note(&format!("{} of {total} queries are answered", tally.answered));
    Ok(tally)
}

/// A query that is not answered yet.
#[derive(Debug)]
struct UnderWay {
    query: Option<Query>,
    since: Instant,
    /// Whether it was ordered after the kill.
    is_after_kill: bool,
}

/// What became of queries.
#[derive(Debug)]
pub(crate) struct Tally {
    rows: BTreeMap<NodeId, Vec<Row>>,
    everybody: BTreeSet<NodeId>,
    victim: Option<NodeId>,
    killed_ms: Option<u64>,
    under_way: BTreeMap<u64, UnderWay>,
    queries: Queries,
    answered: u64,
    answered_after_kill: u64,
    /// The queries in the middle of which the node is killed.
    slow: Slow,
    /// Requests without exactly one outcome.
    uncounted: Problems,
    /// Answers that are not exact.
    wrong: Problems,
    /// Failures of nodes that were not killed, and members that were not asked.
    elsewhere: Problems,
}

/// Things gone wrong: all are counted, the first are told.
#[derive(Debug, Default)]
struct Problems {
    count: u64,
    told: Vec<String>,
}

impl Problems {
    fn add(&mut self, problem: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(problem());
        }
    }

    fn detail(&self, fine: String) -> String {
        if self.count == 0 { fine } else { format!("{} times: {}", self.count, self.told.join("; ")) }
    }
}

impl Tally {
    fn new(cluster: &Cluster, victim: Option<NodeId>) -> Self {
        let nodes = cluster.nodes();
        Self::over(nodes.iter().map(|node| (node.id.clone(), node.partition.rows())).collect(), victim)
    }

    fn over(rows: BTreeMap<NodeId, Vec<Row>>, victim: Option<NodeId>) -> Self {
        Self {
            everybody: rows.keys().cloned().collect(),
            rows,
            victim,
            killed_ms: None,
            under_way: BTreeMap::new(),
            queries: Queries::default(),
            answered: 0,
            answered_after_kill: 0,
            slow: Slow::default(),
            uncounted: Problems::default(),
            wrong: Problems::default(),
            elsewhere: Problems::default(),
        }
    }

    /// When the node was killed, in milliseconds since 1970.
    pub(crate) fn killed_ms(&self) -> Option<u64> {
        self.killed_ms
    }

    fn ordered(&mut self, order: &QueryOrder) {
        self.queries.total += 1;
        let (query, is_after_kill) = (Manner::of(&order.text).1.parse().ok(), self.killed_ms.is_some());
        self.under_way.insert(order.id, UnderWay { query, since: Instant::now(), is_after_kill });
    }

    /// Counts an answer; `false` when nobody asked for it.
    fn count(&mut self, answered: &Answered) -> bool {
        let id = answered.id;
        let Some(query) = self.under_way.remove(&id) else {
            self.uncounted.add(|| format!("query {id} was answered without being asked, or twice"));
            return false;
        };
        self.answered += 1;
        self.answered_after_kill += u64::from(query.is_after_kill);
        self.queries.slowest_ms = self.queries.slowest_ms.max(query.since.elapsed().as_millis() as u64);
        self.count_outcomes(answered);
        self.check_asked(answered);
        self.check_answer(answered, query.query);
        true
    }

    fn count_outcomes(&mut self, Answered { id, asked, outcomes, .. }: &Answered) {
        self.queries.requests += asked.len() as u64;
        if !outcomes.iter().map(|outcome| &outcome.node).eq(asked) {
            self.uncounted.add(|| format!("query {id}: {} requests, {} outcomes", asked.len(), outcomes.len()));
        }
        for outcome in outcomes {
            let Some(failure) = &outcome.failure else {
                self.queries.outcomes.ok += 1;
                continue;
            };
            self.queries.outcomes.failed += 1;
            let effect = match failure.effect {
                rdb_net_types::Effect::NotSent => "not_sent",
                rdb_net_types::Effect::NotStarted => "not_started",
                rdb_net_types::Effect::Unknown => "unknown",
            };
            *self.queries.outcomes.reasons.entry(format!("{effect}/{}", failure.reason)).or_default() += 1;
            if self.killed_ms.is_none() || Some(&outcome.node) != self.victim.as_ref() {
                self.elsewhere.add(|| format!("query {id} at {}: {}", outcome.node, failure.text));
            }
        }
    }

    /// Everybody is asked, but for the killed node once its end is known.
    fn check_asked(&mut self, Answered { id, asked, .. }: &Answered) {
        let missing = self.everybody.iter().filter(|node| !asked.contains(node));
        let missing: Vec<&NodeId> =
            missing.filter(|node| self.killed_ms.is_none() || Some(*node) != self.victim.as_ref()).collect();
        if let Some(node) = missing.first() {
            self.elsewhere.add(|| format!("query {id} was not sent to {node}"));
        }
    }

    /// The answer is exactly that of the partitions that answered.
    fn check_answer(&mut self, answered: &Answered, query: Option<Query>) {
        let replied = answered.outcomes.iter().filter(|outcome| outcome.failure.is_none());
        let rows = replied.filter_map(|outcome| self.rows.get(&outcome.node)).flatten();
        let expected = query.map(|query| query.run(rows));
        if expected.is_none() || expected != answered.merged {
            self.queries.mismatches += 1;
            self.wrong.add(|| format!("query {}", answered.id));
        }
    }
}

/// What it comes to.
impl Tally {
    /// Notes the numbers and what must hold of them.
    pub(crate) fn report(&self, report: &mut Report) {
        let queries = self.queries.clone();
        let Queries { total, requests, ref outcomes, .. } = queries;
        let (answered, after) = (self.answered, self.answered_after_kill);
        let counted = outcomes.ok + outcomes.failed;
        let held = answered == total && counted == requests && self.uncounted.count == 0;
        let detail = format!("{answered} of {total} queries answered, {requests} requests, {counted} outcomes");
        report.assert("every request has one outcome", held, self.uncounted.detail(detail));
        let detail = format!("{answered} answers are exactly those of the partitions that answered");
        report.assert("every answer is exact", queries.mismatches == 0 && answered > 0, self.wrong.detail(detail));
        let victim = self.victim.as_ref().map(|victim| format!(" but {victim}")).unwrap_or_default();
        let detail = format!("{after} queries after the kill were answered by all nodes{victim}");
        report.assert("queries go on", self.elsewhere.count == 0 && after > 0, self.elsewhere.detail(detail));
        self.slow.report(&self.rows, self.victim.as_ref(), report);
        report.queries = Some(Queries { streamed: self.slow.streamed(), first: self.slow.first(), ..queries });
    }

    /// Whether each query was answered exactly, by this many nodes, in words too.
    pub(crate) fn all_replied(&self, nodes: u64) -> (bool, String) {
        let Queries { total, ref outcomes, mismatches, .. } = self.queries;
        let held = self.answered == total && outcomes.ok == total * nodes && outcomes.failed == 0 && mismatches == 0;
        let detail = format!("{} of {total} queries answered by all {nodes} nodes", self.answered);
        (held, self.elsewhere.detail(detail))
    }
}

#[cfg(test)]
mod tests;
