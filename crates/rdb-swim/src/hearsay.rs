//! Verdicts of others: whoever holds a member for there takes them for suspicions.
//!
//! A member whose own packets are lost finds everybody silent, and says so. Believed as it comes, its verdict takes members out
//! all over the cluster until they have refuted it, in no time that anybody has tolerated. So a verdict is only ever come to by
//! each member for itself: what others say starts the subject's clock here, or confirms what is suspected already (Lifeguard,
//! arXiv 1707.00788, section IV-B), and the subject has as long as ever to answer. Members that are gone lose little by it:
//! suspicion and confirmations have spread long before the first clock runs out, so that everybody's runs out with it.
//!
//! What refused connections have shown is told apart from the verdict and counted by everybody: see the refusals.

use std::time::Duration;

use rdb_net_types::NodeState;

use crate::apply::Spread;
use crate::gossip::Topic;
use crate::packet::Accusation;
use crate::swim::Swim;
use crate::table::{SELF, Slot};

impl Swim {
    /// Somebody says that a member has failed.
    pub(crate) fn hear_verdict(&mut self, now: Duration, verdict: Accusation) {
        let state = match self.table.slot_of(&verdict.id) {
            // Nobody is held for there in whom it could raise a doubt.
            None | Some(SELF) => NodeState::Failed,
            Some(slot) => match self.table.get(slot).map(|entry| entry.state) {
                None | Some(NodeState::Failed) => NodeState::Failed,
                Some(NodeState::Alive | NodeState::Suspect | NodeState::Left) => self.weighed(),
            },
        };
        self.apply_claim(now, verdict, state, Spread::Yes);
    }

    /// With a verdict go the refusals that are enough for one, so that whoever hears of it late comes to its own as fast.
    pub(crate) fn tell_evidence(&mut self, slot: Slot) {
        let needed = self.config.refusal_observers;
        let Some(refusal) = self.refusals.get(&slot).filter(|refusal| refusal.observers.len() >= needed) else { return };
        for observer in refusal.observers.iter().take(needed) {
            self.queue.push(Topic::Refusal(slot, observer.clone()));
        }
    }

    fn weighed(&mut self) -> NodeState {
        if !self.config.lifeguard.doubts_verdicts {
            return NodeState::Failed;
        }
        self.stats.verdicts_doubted += 1;
        NodeState::Suspect
    }
}
