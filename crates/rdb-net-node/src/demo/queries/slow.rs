//! Two queries whose rows are on their way when a node is killed: one for all parts, one for the first that is complete.

use std::collections::BTreeMap;

use rdb_net_types::NodeId;

use super::super::cluster::Cluster;
use super::super::protocol::{Answered, Ended, Outcome, QueryOrder};
use super::super::report::Report;
use super::super::table::{Answer, Row};

/// Their numbers, which no other query has.
const ALL: u64 = 1_000_000;
const FIRST: u64 = 1_000_001;
/// How many complete parts the second one wants.
const WANTED: usize = 1;

const TEXT: &str = "slowly select";

/// The two, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Slow {
    is_begun: bool,
    answered: BTreeMap<u64, Answered>,
}

impl Slow {
    /// What is to be ordered; nothing the second time.
    pub(super) fn begin(&mut self) -> Vec<QueryOrder> {
        if std::mem::replace(&mut self.is_begun, true) {
            return Vec::new();
        }
        let order = |id, first| QueryOrder { id, text: TEXT.to_owned(), first };
        vec![order(ALL, None), order(FIRST, Some(WANTED))]
    }

    /// Whether rows of some part are still waited for.
    pub(super) fn is_beginning(&self, cluster: &Cluster) -> bool {
        let is_silent = |id| !cluster.is_streaming(id) && !self.answered.contains_key(&id);
        self.is_begun && (is_silent(ALL) || is_silent(FIRST))
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_begun && self.answered.len() < 2
    }

    /// Takes an answer to one of them; `false` where it is none.
    pub(super) fn take(&mut self, answered: &Answered) -> bool {
        let is_one = self.is_begun && [ALL, FIRST].contains(&answered.id) && !self.answered.contains_key(&answered.id);
        if is_one {
            self.answered.insert(answered.id, answered.clone());
        }
        is_one
    }

    /// How the parts ended of the one for all.
    pub(super) fn streamed(&self) -> BTreeMap<String, u64> {
        self.counts(ALL)
    }

    /// And of the other.
    pub(super) fn first(&self) -> BTreeMap<String, u64> {
        self.counts(FIRST)
    }

    fn counts(&self, id: u64) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for outcome in self.answered.get(&id).iter().flat_map(|answered| &answered.outcomes) {
            let name = match outcome.ended {
                Ended::Complete => "complete",
                Ended::Failed => "failed",
                Ended::Broken => "broken",
                Ended::Late => "late",
                Ended::NotNeeded => "not_needed",
            };
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Notes what must hold of them, where a node was killed.
    pub(super) fn report(&self, rows: &BTreeMap<NodeId, Vec<Row>>, victim: Option<&NodeId>, report: &mut Report) {
        let Some(victim) = victim.filter(|_| self.is_begun) else { return };
        let others = rows.len() - 1;
        for (name, id, complete) in [
            ("a streamed query under the kill gives what has come of each part", ALL, others),
            ("a query for the first part under the kill ends with it", FIRST, WANTED),
        ] {
            let problem = self.problem(id, rows, victim, complete);
            let counts: Vec<String> = self.counts(id).iter().map(|(ended, count)| format!("{count} {ended}")).collect();
            report.assert(name, problem.is_none(), problem.unwrap_or_else(|| counts.join(", ")));
        }
    }

    /// What is wrong with an answer: one outcome for each part, the killed node's broken, as many complete, the others not needed, and
    /// rows that are right as far as they go.
    fn problem(&self, id: u64, rows: &BTreeMap<NodeId, Vec<Row>>, victim: &NodeId, complete: usize) -> Option<String> {
        let Some(Answered { outcomes, .. }) = self.answered.get(&id) else {
            return Some("it was not answered".to_owned());
        };
        if !outcomes.iter().map(|outcome| &outcome.node).eq(rows.keys()) {
            return Some(format!("{} parts, {} outcomes", rows.len(), outcomes.len()));
        }
        let count = outcomes.iter().filter(|outcome| outcome.ended == Ended::Complete).count();
        if count != complete {
            return Some(format!("{count} parts are complete, not {complete}"));
        }
        let is_wrong = |outcome: &&Outcome| {
            let Some(Answer::Rows(came)) = &outcome.rows else { return true };
            let whole = &rows[&outcome.node];
            let is_right = match outcome.ended {
                Ended::Complete => came == whole,
                // All may have come when the first part was complete, but for the word that it is all.
                Ended::NotNeeded => whole.starts_with(came),
                _ => !came.is_empty() && came.len() < whole.len() && whole.starts_with(came),
            };
            let is_expected = match outcome.ended {
                Ended::Broken => outcome.node == *victim,
                Ended::Complete | Ended::NotNeeded => outcome.node != *victim,
                Ended::Failed | Ended::Late => false,
            };
            !(is_right && is_expected)
        };
        outcomes.iter().find(is_wrong).map(|outcome| {
            let came = outcome.rows.as_ref().map(|rows| match rows {
                Answer::Rows(rows) => rows.len(),
                Answer::Number(_) => 0,
            });
            format!("{}: {:?} with {came:?} of {} rows", outcome.node, outcome.ended, rows[&outcome.node].len())
        })
    }
}

#[cfg(test)]
mod tests;
