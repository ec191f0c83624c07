//! What the connections of this node have seen of others.

use std::time::Duration;

use rdb_net_types::{Evidence, EvidenceKind};

use crate::swim::{Phase, Swim};
use crate::table::SELF;

impl Swim {
    /// Takes something that this node has seen by itself. Only a refusal accuses; the rest brings a probe forward or calls it
    /// off. Evidence of a life that is not the held one, or of a member that is gone, says nothing.
    pub fn handle_evidence(&mut self, now: Duration, evidence: &Evidence) {
        self.forgive_pause(now);
        let Some(slot) = self.table.slot_of(&evidence.node).filter(|slot| *slot != SELF) else { return };
        let Some(entry) = self.table.get(slot) else { return };
        let is_other_life = evidence.boot.is_some_and(|boot| boot != entry.boot);
        if is_other_life || !entry.state.is_routable() || !matches!(self.phase, Phase::Active) {
            return;
        }
        match evidence.kind {
            EvidenceKind::Alive { .. } => {
                self.void_urgent_probe(slot);
                if evidence.boot.is_some() {
                    self.stop_refusal(now, slot);
                }
            }
            EvidenceKind::Refused => self.observe_refusal(now, slot),
            EvidenceKind::Reset | EvidenceKind::Silent | EvidenceKind::PhiCrossed => self.probe_soon(now, slot),
            // Evidence of a kind that is not known here is still a reason to ask.
            _ => self.probe_soon(now, slot),
        }
    }
}
