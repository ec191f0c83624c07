//! What a run of the demo found: a JSON document, or a story for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use rdb_net_types::NodeId;
use serde::Serialize;

use super::replication::Replicated;

/// A run of the demo. Parts that the run did not come to are `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    /// How many nodes there were.
    pub(crate) nodes: usize,
    /// What protected their connections: `mtls` or `plaintext`.
    pub(crate) security: &'static str,
    /// From the start of the last process until all nodes told the same members, all alive.
    pub(crate) agreed_ms: Option<u64>,
    /// What came of a replicated log.
    pub(crate) replication: Option<Replicated>,
    pub(crate) queries: Option<Queries>,
    /// How a node was killed, and who noticed.
    pub(crate) kill: Option<Noticed>,
    /// How it was started again, and who noticed.
    pub(crate) recover: Option<Noticed>,
    pub(crate) transactions: Option<Transactions>,
    /// How another one left, and who noticed.
    pub(crate) leave: Option<Noticed>,
    pub(crate) assertions: Vec<Assertion>,
    /// Whether every assertion held.
    pub(crate) ok: bool,
    /// The nodes that run on.
    pub(crate) kept: Option<Kept>,
}

/// What became of the queries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Queries {
    /// How many queries there were.
    pub(crate) total: u64,
    /// How many requests they became: one for each member that was alive at the time.
    pub(crate) requests: u64,
    pub(crate) outcomes: Outcomes,
    /// Answers that are not exactly those of the partitions that answered.
    pub(crate) mismatches: u64,
    /// How the parts ended of a query whose rows were on their way when the node was killed.
    pub(crate) streamed: BTreeMap<String, u64>,
    /// And of one that wanted the first complete part alone.
    pub(crate) first: BTreeMap<String, u64>,
    /// From the first order to the last answer.
    pub(crate) elapsed_ms: u64,
    /// The longest time from an order to its answer.
    pub(crate) slowest_ms: u64,
}

/// What became of the transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Transactions {
    /// How many were ordered.
    pub(crate) total: u64,
    /// How many of them were answered with a commit.
    pub(crate) committed: u64,
    /// And with an abort.
    pub(crate) aborted: u64,
    /// Those whose coordinator was killed before it answered.
    pub(crate) unanswered: u64,
    /// How many were in the middle when a participant was killed, and when the coordinator was.
    pub(crate) under_way_at_kills: Vec<u64>,
    /// How many were found in the logs of the nodes that were started again, in doubt or not told to all.
    pub(crate) recovered: u64,
    /// What happened to them, told by all processes.
    pub(crate) events: u64,
    /// From the first order until no transaction was open anywhere.
    pub(crate) elapsed_ms: u64,
}

/// How requests ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcomes {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// Those that failed, by effect and reason.
    pub(crate) reasons: BTreeMap<String, u64>,
}

/// Something that happened to a node, and after how many milliseconds each other node had noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Noticed {
    pub(crate) node: NodeId,
    pub(crate) noticed_ms: BTreeMap<NodeId, u64>,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Assertion {
    pub(crate) name: &'static str,
    pub(crate) held: bool,
    pub(crate) detail: String,
}

/// A cluster that runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    /// Where its configurations and logs are.
    pub(crate) directory: String,
    pub(crate) nodes: Vec<KeptNode>,
}

/// A node that runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeptNode {
    pub(crate) node: NodeId,
    pub(crate) process_id: u32,
    pub(crate) admin: String,
}

impl Report {
    /// Notes something that must hold, and whether it did.
    pub(crate) fn assert(&mut self, name: &'static str, held: bool, detail: impl Into<String>) {
        self.assertions.push(Assertion { name, held, detail: detail.into() });
    }

    /// Decides whether the run was as it must be. Without assertions nothing was shown.
    pub(crate) fn conclude(&mut self) {
        self.ok = !self.assertions.is_empty() && self.assertions.iter().all(|assertion| assertion.held);
    }

    /// What did not hold, a line each.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = self.assertions.iter().filter(|assertion| !assertion.held);
        failed.map(|assertion| format!("failed: {}: {}", assertion.name, assertion.detail)).collect()
    }

    /// The story for people.
    pub(crate) fn story(&self) -> String {
        let mut story = String::new();
        let mut say = |sentence: String| writeln!(story, "{sentence}").expect("a string takes every text");
        if let Some(agreed_ms) = self.agreed_ms {
            say(format!("{} nodes agreed on their members after {agreed_ms} ms ({}).", self.nodes, self.security));
        }
        if let Some(replicated) = &self.replication {
            say(replicated.sentence());
        }
        if let Some(queries) = &self.queries {
            queries.tell(&mut say);
        }
        if let Some(transactions) = &self.transactions {
            transactions.tell(&mut say);
        }
        let changes = [
            ("was killed", "noticed", &self.kill),
            ("was started again", "noticed", &self.recover),
            ("left", "heard of it", &self.leave),
        ];
        for (happened, verb, noticed) in changes {
            if let Some(noticed) = noticed {
                say(noticed.sentence(happened, verb));
            }
        }
        say(String::new());
        for assertion in &self.assertions {
            let held = if assertion.held { "held  " } else { "FAILED" };
            say(format!("{held}  {}: {}", assertion.name, assertion.detail));
        }
        if let Some(kept) = &self.kept {
            kept.tell(&mut say);
        }
        story
    }
}

impl Queries {
    fn tell(&self, say: &mut impl FnMut(String)) {
        let Self { total, requests, outcomes, mismatches, streamed, first, elapsed_ms, slowest_ms } = self;
        say(format!(
            "{total} queries became {requests} requests: {} with a reply, {} without; {mismatches} wrong answers.",
            outcomes.ok, outcomes.failed
        ));
        for (reason, count) in &outcomes.reasons {
            say(format!("  {count} without a reply: {reason}"));
        }
        let parts = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(ended, count)| format!("{count} {ended}")).collect::<Vec<_>>().join(", ")
        };
        if !streamed.is_empty() {
            say(format!("  Two more had rows on their way at the kill. All parts: {}.", parts(streamed)));
            say(format!("  The first complete part: {}.", parts(first)));
        }
        say(format!("  They took {elapsed_ms} ms, the slowest {slowest_ms} ms."));
    }
}

impl Transactions {
    fn tell(&self, say: &mut impl FnMut(String)) {
        let Self { total, committed, aborted, unanswered, under_way_at_kills, recovered, events, elapsed_ms } = self;
        say(format!(
            "{total} transactions over all nodes: {committed} committed, {aborted} aborted, {unanswered} without an answer \
             because their coordinator was killed."
        ));
        let under_way: Vec<String> = under_way_at_kills.iter().map(u64::to_string).collect();
        say(format!(
            "  At the kills {} were under way; {recovered} were found in the logs of the nodes that came back. {events} \
             events, {elapsed_ms} ms.",
            under_way.join(" and ")
        ));
    }
}

impl Noticed {
    fn sentence(&self, happened: &str, verb: &str) -> String {
        let times: Vec<String> =
            self.noticed_ms.iter().map(|(node, ms)| format!("{node} {verb} after {ms} ms")).collect();
        let times = if times.is_empty() { "nobody noticed".to_owned() } else { times.join(", ") };
        format!("{} {happened}: {times}.", self.node)
    }
}

impl Kept {
    fn tell(&self, say: &mut impl FnMut(String)) {
        say("\nThe cluster runs on. To look at it:".to_owned());
        for node in &self.nodes {
            say(format!("  rdbnet members --admin {}   # {}, process {}", node.admin, node.node, node.process_id));
        }
        let ids: Vec<String> = self.nodes.iter().map(|node| node.process_id.to_string()).collect();
        say(format!("To stop it:\n  kill {} && rm -r {}", ids.join(" "), self.directory));
    }
}

#[cfg(test)]
mod tests;
