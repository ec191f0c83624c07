//! Verdicts of others: whoever holds a member for there takes them for suspicions.
//!
//! A member whose own packets are lost finds everybody silent, and says so. Believed as it comes, its verdict takes members out
//! all over the cluster until they have refuted it, in no time that anybody has tolerated. So a verdict is only ever come to by
//! each member for itself: what others say starts the subject's clock here, or confirms what is suspected already (Lifeguard,
//! arXiv 1707.00788, section IV-B), and the subject has as long as ever to answer. Members that are gone lose little by it:
//! suspicion and confirmations have spread long before the first clock runs out, so that everybody's runs out with it. A member that thinks itself ill waits longer than others for what it has
//! found, but not for what as many others have found as confirmations are needed.
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
        let held = self.table.slot_of(&verdict.id).filter(|slot| *slot != SELF);
        let held = held.and_then(|slot| Some((slot, self.table.get(slot)?.state)));
        match held {
            Some((slot, NodeState::Alive | NodeState::Suspect | NodeState::Left))
                if self.config.lifeguard.own_verdicts =>
            {
                self.stats.verdicts_doubted += 1;
                let (judge, incarnation) = (verdict.from.clone(), verdict.incarnation);
                self.apply_claim(now, verdict, NodeState::Suspect, Spread::Yes);
                if self.table.get(slot).is_some_and(|entry| entry.incarnation == incarnation) {
                    self.note_verdict(slot, judge);
                }
            }
            // Nobody is held for there in whom it could raise a doubt.
            _ => self.apply_claim(now, verdict, NodeState::Failed, Spread::Yes),
        }
    }

    /// With a verdict go the refusals that are enough for one, so that whoever hears of it late comes to its own as fast.
    pub(crate) fn tell_evidence(&mut self, slot: Slot) {
        let needed = self.config.refusal_observers;
        let Some(refusal) = self.refusals.get(&slot).filter(|refusal| refusal.observers.len() >= needed) else {
            return;
        };
        for observer in refusal.observers.iter().take(needed) {
            self.queue.push(Topic::Refusal(slot, observer.clone()));
        }
    }
}
