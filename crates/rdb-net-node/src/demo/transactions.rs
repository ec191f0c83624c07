//! Transactions over all nodes while nodes are killed, and the checks of what all processes told.
//!
//! Each kill leaves something in doubt, on purpose: the coordinator's own vote is held back until the node that is to be killed has given
//! its own; and where the coordinator is to be killed, its decision is let come, and an acknowledgement of it is held back.

mod doubt;

use std::collections::BTreeSet;
use std::time::Duration;

use rdb_net_patterns::transaction::check::{self, Violation};
use rdb_net_patterns::transaction::{Decision, Event, History, Occurrence};
use rdb_net_types::{NodeId, TransactionId};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::holds::HoldOrder;
use super::protocol::{Order, TransactOrder, unix_ms, unix_us};
use super::report::{Report, Transactions};
use crate::exit::Failure;
use crate::output::note;
use doubt::Doubt;

/// How many transactions are under way at once.
const UNDER_WAY_MAX: usize = 8;
/// How long an answer may take: longer than votes are waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How many things gone wrong are told one by one.
const TOLD_MAX: usize = 5;

/// Who is killed when so many are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Killing {
    /// Nobody; all are answered.
    Nobody,
    /// This node, while others are under way.
    AtTheEnd(usize),
}

/// What became of the transactions.
#[derive(Debug, Default)]
pub(super) struct Tally {
    transactions: Transactions,
    under_way: BTreeSet<u64>,
    answered: u64,
    begun: Option<Instant>,
    /// Not begun although their coordinator runs.
    not_begun: Vec<String>,
    left_open: Vec<Event>,
    /// What the kills left in doubt.
    doubts: Vec<Doubt>,
}

impl Tally {
    /// Has one node begin transactions until so many are done with, of all runs together. Returns when a node was killed, in milliseconds
    /// since 1970; otherwise when it was over.
    pub(super) async fn run(
        &mut self,
        cluster: &mut Cluster,
        coordinator: usize,
        until: u64,
        killing: Killing,
    ) -> Result<u64, Failure> {
        self.begun.get_or_insert_with(Instant::now);
        let goes_on = killing != Killing::Nobody;
        while self.done() < until && self.step(cluster, coordinator, if goes_on { u64::MAX } else { until }).await? {}
        let Killing::AtTheEnd(victim) = killing else { return Ok(unix_ms()) };
        let held_by = self.leave_in_doubt(cluster, coordinator, victim).await?;
        note(&format!("{} transactions are done: killing {}", self.done(), cluster.id(victim)));
        let killed_ms = cluster.kill(victim).await?;
        self.transactions.under_way_at_kills.push(self.under_way.len() as u64);
        let (node, log) = (cluster.id(victim).clone(), cluster.transactions_file(victim));
        self.doubts.push(Doubt::read(node, killed_ms * 1000, &log)?);
        for (place, order) in held_by {
            cluster.hold(place, order, ANSWER_LIMIT).await?;
        }
        if victim == coordinator {
            // What it had answered before its end is in the pipe.
            while cluster.listen(Instant::now() + Duration::from_millis(200)).await? {
                self.count(cluster);
            }
            self.transactions.unanswered += self.under_way.len() as u64;
            self.under_way.clear();
        }
        Ok(killed_ms)
    }

    /// Has so many be under way, of this many in all, and takes in one line. `false` where none came.
    async fn step(&mut self, cluster: &mut Cluster, coordinator: usize, total: u64) -> Result<bool, Failure> {
        let participants: Vec<NodeId> = cluster.nodes().iter().map(|node| node.id.clone()).collect();
        while self.under_way.len() < UNDER_WAY_MAX && self.transactions.total < total {
            self.transactions.total += 1;
            let number = self.transactions.total;
            self.under_way.insert(number);
            let order = TransactOrder { number, participants: participants.clone() };
            cluster.order(coordinator, &Order::Transact(order)).await?;
        }
        let has_come = cluster.listen(Instant::now() + ANSWER_LIMIT).await?;
        self.count(cluster);
        Ok(has_come)
    }

    /// Goes on until a kill of the victim leaves something in doubt. Returns what is held back for that, and by whom, as the orders that
    /// let it go on. Where it does not come to that, the report tells.
    async fn leave_in_doubt(
        &mut self,
        cluster: &mut Cluster,
        coordinator: usize,
        victim: usize,
    ) -> Result<Vec<(usize, HoldOrder)>, Failure> {
        let by = Instant::now() + ANSWER_LIMIT;
        let held_us = cluster.hold(coordinator, HoldOrder::Votes(true), ANSWER_LIMIT).await?;
        let decides = cluster.id(coordinator).clone();
        if victim != coordinator {
            let voters = [cluster.id(victim).clone()];
            while doubt::waiting(cluster.occurred(), &decides, held_us, &voters).is_empty() && Instant::now() < by {
                self.step(cluster, coordinator, u64::MAX).await?;
            }
            return Ok(vec![(coordinator, HoldOrder::Votes(false))]);
        }
        let voters: Vec<NodeId> = cluster.others(coordinator).into_iter().collect();
        while doubt::waiting(cluster.occurred(), &decides, held_us, &voters).is_empty() && Instant::now() < by {
            self.step(cluster, coordinator, u64::MAX).await?;
        }
        // Who has voted and cannot write acknowledges nothing of what is decided from here on.
        let silent = usize::from(coordinator == 0);
        cluster.hold(silent, HoldOrder::Disk(true), ANSWER_LIMIT).await?;
        let waiting = doubt::waiting(cluster.occurred(), &decides, held_us, &voters);
        cluster.hold(coordinator, HoldOrder::Votes(false), ANSWER_LIMIT).await?;
        let is_decided = |event: &Event| matches!(&event.what, Occurrence::Decided { txn, decision: Decision::Commit } if waiting.contains(txn));
        while !cluster.occurred().iter().any(is_decided) && Instant::now() < by {
            self.step(cluster, coordinator, u64::MAX).await?;
        }
        Ok(vec![(silent, HoldOrder::Disk(false))])
    }

    /// Answered, or never to be answered.
    fn done(&self) -> u64 {
        self.answered + self.transactions.unanswered
    }

    fn count(&mut self, cluster: &mut Cluster) {
        for transacted in cluster.take_transacted() {
            if !self.under_way.remove(&transacted.number) {
                continue;
            }
            self.answered += 1;
            match transacted.decision {
                Some(Decision::Commit) => self.transactions.committed += 1,
                Some(Decision::Abort) => self.transactions.aborted += 1,
                None => self.not_begun.extend(transacted.cause),
            }
        }
    }

    /// Waits until nothing is open anywhere; what still is then, is noted.
    pub(super) async fn settle(&mut self, cluster: &mut Cluster, limit: Duration) -> Result<(), Failure> {
        const ASK_AGAIN: Duration = Duration::from_millis(100);
        let until = Instant::now() + limit;
        loop {
            let nodes = cluster.nodes().len();
            let told = cluster.open(limit).await?;
            self.transactions.recovered = told.values().map(|open| open.recovered).sum();
            let open: Vec<(NodeId, u128)> = told
                .iter()
                .flat_map(|(node, open)| open.transactions.iter().map(move |txn| (node, txn)))
                .filter_map(|(node, txn)| Some((node.clone(), u128::from_str_radix(txn, 16).ok()?)))
                .collect();
            let is_settled = told.len() == nodes && open.is_empty();
            if !is_settled && Instant::now() >= until && told.len() < nodes {
                let silent = nodes - told.len();
                return Err(Failure::Other(format!(
                    "{silent} of {nodes} nodes do not tell which transactions are open"
                )));
            }
            if is_settled || Instant::now() >= until {
                let left_open = |(node, txn)| {
                    let what = Occurrence::LeftOpen { txn: TransactionId(txn) };
                    Event { at_us: unix_us(), node, what }
                };
                self.left_open = open.into_iter().map(left_open).collect();
                let elapsed = self.begun.map(|begun| begun.elapsed()).unwrap_or_default();
                self.transactions.elapsed_ms = elapsed.as_millis() as u64;
                return Ok(());
            }
            let again = Instant::now() + ASK_AGAIN;
            while cluster.listen(again).await? {}
        }
    }

    /// Notes the numbers, and what must hold of what the processes told.
    pub(super) fn report(self, cluster: &Cluster, report: &mut Report) {
        self.conclude(cluster.occurred().iter().cloned(), report);
    }

    fn conclude(mut self, events: impl Iterator<Item = Event>, report: &mut Report) {
        let events = events.chain(std::mem::take(&mut self.left_open));
        let history: History = events.collect();
        let Transactions { total, committed, aborted, unanswered, ref under_way_at_kills, .. } = self.transactions;
        let is_done = total == committed + aborted + unanswered && self.not_begun.is_empty();
        let hit = under_way_at_kills.len() == 2 && under_way_at_kills.iter().all(|under_way| *under_way > 0);
        let detail = match self.not_begun.first() {
            Some(cause) => format!("{} were not begun: {cause}", self.not_begun.len()),
            None => format!("{total} transactions: {committed} committed, {aborted} aborted, {unanswered} unanswered"),
        };
        let held = is_done && hit && committed > 0 && aborted > 0;
        report.assert("transactions are committed and aborted, some while nodes are killed", held, detail);
        let begun = history.begun().count();
        type Check = fn(&History) -> Vec<Violation>;
        let checks: [(&str, Check); 4] = [
            ("every transaction ends the same on all nodes", check::atomicity::check),
            ("every commit has all votes", check::votes::check),
            ("every commit that was told is done on all nodes", check::durability::check),
            ("no transaction stays open", check::progress::check),
        ];
        for (name, check) in checks {
            let found = check(&history);
            let detail = match found.is_empty() {
                true => format!("{begun} transactions, {} events of all processes", history.events().len()),
                false => found.iter().take(TOLD_MAX).map(Violation::to_string).collect::<Vec<_>>().join("; "),
            };
            report.assert(name, found.is_empty() && begun > 0, detail);
        }
        let (held, detail) = self.in_doubt(&history);
        report.assert("what the kills left in doubt is resolved after the restarts", held, detail);
        self.transactions.events = history.events().len() as u64;
        report.transactions = Some(self.transactions);
    }

    /// Whether each kill left something in doubt and nothing of it is left, in words too: a participant had voted, and then a coordinator
    /// had decided and was not acknowledged by all.
    fn in_doubt(&self, history: &History) -> (bool, String) {
        let [participant, coordinator] = self.doubts.as_slice() else {
            return (false, format!("{} nodes were killed", self.doubts.len()));
        };
        let found = participant.count() + coordinator.count();
        let recovered = self.transactions.recovered;
        let unresolved: Vec<String> = self.doubts.iter().flat_map(|doubt| doubt.unresolved(history)).collect();
        let is_hit = !participant.prepared.is_empty() && !coordinator.decided.is_empty();
        let is_resolved = unresolved.is_empty();
        let detail = match is_resolved {
            true => format!(
                "in the logs at the kills: {} without an outcome at {}, {} without an outcome and {} decided without an end at {}; \
                 {recovered} of {found} were taken up",
                participant.prepared.len(),
                participant.node,
                coordinator.prepared.len(),
                coordinator.decided.len(),
                coordinator.node
            ),
            false => unresolved.into_iter().take(TOLD_MAX).collect::<Vec<_>>().join("; "),
        };
        (is_hit && is_resolved && recovered == found, detail)
    }
}

#[cfg(test)]
mod tests;
