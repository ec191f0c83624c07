//! A new life: what the log holds of the former ones, and how it goes on from there.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::{NodeId, Payload, TransactionId};

use super::{Coordinator, CoordinatorAction, GivenUp, Member, Phase, Progress, Transaction};
use crate::transaction::Record;

/// What a log holds of a coordinator's former lives.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The newest of them.
    pub(super) epoch: u32,
    /// Commits that perhaps not all participants have acknowledged.
    pub(super) decided: BTreeMap<TransactionId, Vec<NodeId>>,
    /// Who was given up.
    pub(super) given_up: BTreeMap<NodeId, GivenUp>,
}

impl Found {
    pub(super) fn read(records: impl IntoIterator<Item = Record>) -> Self {
        let mut found = Self::default();
        for record in records {
            match record {
                Record::Started { epoch } => found.epoch = found.epoch.max(epoch),
                Record::Decided { txn, participants } => {
                    found.decided.insert(txn, participants);
                }
                Record::Ended { txn } => {
                    found.decided.remove(&txn);
                }
                Record::GivenUp { node, newest, transactions } => {
                    found.given_up.insert(node.clone(), GivenUp { node, newest, transactions });
                }
                _ => {}
            }
        }
        found
    }
}

impl Coordinator {
    /// Tells the commits of former lives again, but to no one who was given up.
    pub(super) fn recover(&mut self, now: Duration, decided: BTreeMap<TransactionId, Vec<NodeId>>) {
        let mut passed_over: BTreeMap<NodeId, Vec<TransactionId>> = BTreeMap::new();
        for (txn, participants) in decided {
            let mut members = Vec::with_capacity(participants.len());
            for node in participants {
                // Who was given up stays a member: should it ask, it must not hear that it had no part in what was committed.
                let is_given_up = self.is_given_up(&node, txn);
                if is_given_up {
                    passed_over.entry(node.clone()).or_default().push(txn);
                }
                let progress = if is_given_up { Progress::Done } else { Progress::Untold };
                members.push(Member::new(node, Payload::new(), progress));
            }
            let is_waiting = members.iter().any(|member| member.progress != Progress::Done);
            let (phase, wait) = (Phase::Telling, self.config.tell_again);
            self.open.insert(txn, Transaction { phase, members, deadline: now, wait });
            if is_waiting {
                self.stats.recovered += 1;
                self.tell(now, txn);
            } else {
                self.end_if_all_are_done(txn);
            }
        }
        for (node, transactions) in passed_over {
            self.actions.push_back(CoordinatorAction::StillGivenUp { node, transactions });
        }
    }
}
