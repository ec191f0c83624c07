//! What the nodes have told of a log and what their files held, and the rules that are asked of it.

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_patterns::replication::Position;
use rdb_net_patterns::replication::check::{Fact, Rules};
use rdb_net_types::NodeId;

use super::super::report::Report;
use super::{
    Acknowledged, BEFORE_FOLLOWER_RETURNS, Committed, ENTRIES, ENTRY_BYTES, FIRST_LEADERS, LogTold, MEMBERS, Replicated,
};
use crate::output::note;

/// Somebody has led.
#[derive(Debug)]
pub(super) struct Reign {
    node: NodeId,
    epoch: u64,
    opened: Position,
    /// What its file held before that; `None` until somebody looks.
    before: Option<Vec<Position>>,
    /// The first number that it was to append.
    next: u64,
    acknowledged: Vec<Word>,
}

/// A leader was told that an entry is on a quorum.
#[derive(Debug)]
struct Word {
    position: Position,
    value: u64,
    /// In whose files it was when they were read next.
    durable_at: Option<Vec<NodeId>>,
}

/// What the nodes have told and what their files held.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) reigns: Vec<Reign>,
    /// In which epochs nobody led.
    pub(super) not_led: BTreeSet<u64>,
    pub(super) opened: usize,
    /// How many entries were acknowledged when nodes were killed.
    pub(super) acknowledged_at_kills: Vec<u64>,
    pub(super) ends: BTreeMap<NodeId, (Position, u64)>,
    pub(super) failures: Vec<String>,
    /// What is committed, as told by each node, and when nodes began anew.
    told: Vec<Fact>,
    /// What each node has told in its present life.
    logs: BTreeMap<NodeId, Vec<Position>>,
}

impl History {
    pub(super) fn take(&mut self, node: &NodeId, told: LogTold) {
        match told {
            LogTold::Opened(_) => {
                self.opened += 1;
                if self.logs.insert(node.clone(), Vec::new()).is_some() {
                    self.told.push(Fact::Restarted { node: node.clone() });
                }
            }
            LogTold::Led { epoch, opened, next } => {
                let (node, opened) = (node.clone(), opened.into());
                self.reigns.push(Reign { node, epoch, opened, before: None, next, acknowledged: Vec::new() });
            }
            LogTold::NotLed { epoch } => {
                self.not_led.insert(epoch);
            }
            LogTold::Acknowledged { entries } => {
                let word = |Acknowledged { at, value }| Word { position: at.into(), value, durable_at: None };
                match self.reigns.iter_mut().rfind(|reign| reign.node == *node) {
                    Some(reign) => reign.acknowledged.extend(entries.into_iter().map(word)),
                    None => self.failures.push(format!("{node} tells of entries, and has not led")),
                }
            }
            LogTold::Appended { .. } => {}
            LogTold::Committed { entries } => {
                let log = self.logs.entry(node.clone()).or_default();
                for Committed { at, value } in entries {
                    log.push(at.into());
                    self.told.push(Fact::Committed { node: node.clone(), position: at.into(), value });
                }
            }
            LogTold::Status { last, committed } => {
                self.ends.insert(node.clone(), (last.into(), committed));
            }
            LogTold::Failed { text } => self.failures.push(format!("{node}: {text}")),
        }
    }

    pub(super) fn has_led_in(&self, epoch: u64) -> bool {
        self.reigns.iter().any(|reign| reign.epoch == epoch)
    }

    /// Whether a node has begun to lead, and nobody has looked at its file since.
    pub(super) fn is_to_be_looked_at(&self, node: &NodeId) -> bool {
        self.reigns.iter().any(|reign| reign.node == *node && reign.before.is_none())
    }

    /// A leader's file held this when it began, and perhaps more since.
    pub(super) fn led_with(&mut self, node: &NodeId, log: &[Position]) {
        for reign in self.reigns.iter_mut().filter(|reign| reign.node == *node && reign.before.is_none()) {
            let before = log.iter().take_while(|position| position.index < reign.opened.index);
            reign.before = Some(before.copied().collect());
        }
    }

    /// The files held this when all that was told by now was told.
    pub(super) fn saw_disks(&mut self, disks: &BTreeMap<NodeId, Vec<Position>>) {
        for word in self.reigns.iter_mut().flat_map(|reign| &mut reign.acknowledged) {
            let holds = |log: &Vec<Position>| log.get(word.position.index as usize - 1) == Some(&word.position);
            let durable_at = || disks.iter().filter(|(_, log)| holds(log)).map(|(node, _)| node.clone()).collect();
            word.durable_at.get_or_insert_with(durable_at);
        }
    }

    /// How many entries leaders were told to be on a quorum.
    pub(super) fn acknowledged(&self) -> u64 {
        self.reigns.iter().map(|reign| reign.acknowledged.len() as u64).sum()
    }

    /// Up to which index a node has told in its present life.
    pub(super) fn told_of(&self, node: &NodeId) -> u64 {
        self.logs.get(node).and_then(|log| log.last()).map_or(0, |last| last.index)
    }

    /// Whether every replica has told all entries, and what opened each reign.
    pub(super) fn is_whole(&self) -> bool {
        let whole = |log: &Vec<Position>| log.len() as u64 == ENTRIES + self.reigns.len() as u64;
        let last_is_told = self.reigns.last().is_some_and(|reign| {
            reign.next > ENTRIES || reign.acknowledged.last().is_some_and(|word| word.value == ENTRIES)
        });
        last_is_told && self.logs.len() == MEMBERS && self.logs.values().all(whole)
    }

    /// The rules that are broken.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut rules = Rules::new(MEMBERS);
        for (place, reign) in self.reigns.iter().enumerate() {
            let Reign { node, epoch, opened, before, next, acknowledged } = reign;
            let (node, epoch, log) = (node.clone(), *epoch, before.iter().flatten().chain([opened]).copied().collect());
            rules.see(&Fact::Led { node: node.clone(), epoch, log });
            if place + 1 == self.reigns.len() {
                // Nobody is killed any more: all that is proposed has to come through.
                rules.see(&Fact::Healed);
            }
            for (index, value) in (opened.index + 1..).zip(*next..=ENTRIES) {
                rules.see(&Fact::Proposed { node: node.clone(), epoch, index, value });
            }
            for Word { position, value, durable_at } in acknowledged {
                let (position, value, durable_at) = (*position, *value, durable_at.clone());
                rules.see(&Fact::Acknowledged { position, value, durable_at });
            }
        }
        self.told.iter().for_each(|fact| rules.see(fact));
        for (node, log) in &self.logs {
            let committed = self.ends.get(node).map_or(0, |(_, committed)| *committed);
            rules.see(&Fact::Ended { node: node.clone(), log: log.clone(), committed });
        }
        rules.end()
    }

    /// Whether the follower and the leader were killed while more was under way.
    fn was_hit(&self) -> bool {
        let [follower, leader] = *self.acknowledged_at_kills.as_slice() else { return false };
        follower < BEFORE_FOLLOWER_RETURNS && leader < FIRST_LEADERS && self.reigns.len() >= 2
    }

    /// Notes what came of it.
    pub(super) fn conclude(&self, killed: Vec<NodeId>, elapsed_ms: u64, report: &mut Report) {
        let digests = self.ends.iter().map(|(node, (last, _))| (node.clone(), format!("{:016x}", last.digest)));
        let words = self.reigns.iter().flat_map(|reign| &reign.acknowledged);
        let acknowledged = words.clone().map(|word| word.value).collect::<BTreeSet<_>>().len() as u64;
        let is_whole = self.is_whole();
        let replicated = Replicated {
            acknowledged,
            unanswered: if is_whole { ENTRIES.saturating_sub(acknowledged) } else { 0 },
            entry_bytes: ENTRY_BYTES,
            leaders: self.reigns.iter().map(|reign| reign.node.clone()).collect(),
            killed,
            elapsed_ms,
            digests: digests.collect(),
        };
        let failures = self.failures.join("; ");
        let detail = if is_whole { replicated.sentence() } else { format!("{} {failures}", replicated.sentence()) };
        note(&detail);
        report.assert("all entries are replicated", is_whole, detail);
        let detail = format!("{:?} entries were acknowledged when nodes were killed", self.acknowledged_at_kills);
        report.assert("a follower and the leader were killed in the middle of it", self.was_hit(), detail);
        // What each process says of its log, and what it told of each of its entries.
        let mut lasts =
            self.ends.iter().map(|(node, (last, _))| (Some(last), self.logs.get(node).and_then(|log| log.last())));
        let first = self.ends.values().next().map(|(last, _)| last);
        let is_equal = self.ends.len() == MEMBERS && lasts.all(|(says, told)| says == first && told == first);
        let detail = match first {
            Some(last) if is_equal => format!("{} entries with the digest {:016x} at each", last.index, last.digest),
            _ => format!("{:?} {failures}", self.ends),
        };
        report.assert("the replicas are equal", is_equal, detail);
        let is_seen = acknowledged > 0 && words.clone().all(|word| word.durable_at.is_some());
        let broken = self.broken();
        let detail = match (is_seen, broken.is_empty()) {
            (false, _) => "no file was looked at for some of what was acknowledged".to_owned(),
            (true, true) => "no rule is broken".to_owned(),
            (true, false) => broken.join("; "),
        };
        report.assert("replication keeps its rules", is_seen && broken.is_empty(), detail);
        report.replication = Some(replicated);
    }
}

#[cfg(test)]
mod tests;
