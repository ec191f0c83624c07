//! Whether a known life of a joining node's id is still there.
//!
//! A node that comes from another address may have moved, or be a second process of the same id. Only the known address can
//! tell: if the known life answers there, the newcomer is refused, and an operator must decide.

use std::time::Duration;

use rdb_net_types::{BootId, NodeId};

use crate::event::Event;
use crate::packet::Alive;
use crate::schedule::Timer;
use crate::summary::Summary;
use crate::swim::Swim;
use crate::sync::{BUSY, SyncAnswer, SyncId};

/// How many joining nodes may wait for the check of a known life.
pub(crate) const VERIFICATIONS_MAX: usize = 64;

/// How many pings a known life is given.
const PINGS: u32 = 3;

/// A joining node that claims the id of a life known elsewhere, while that life is asked whether it is there.
#[derive(Debug)]
pub(crate) struct Verification {
    newcomer: Alive,
    summary: Summary,
    /// In which version it asked.
    version: u8,
    boot: BootId,
    sequence: u32,
    pings: u32,
}

impl Swim {
    pub(crate) fn verify(
        &mut self,
        now: Duration,
        version: u8,
        newcomer: Alive,
        summary: Summary,
        boot: BootId,
    ) -> SyncAnswer {
        if self.verifications.len() >= VERIFICATIONS_MAX {
            self.stats.limit_verifications += 1;
            return SyncAnswer::Ready(self.verdict(version, BUSY));
        }
        let id = self.next_sync;
        self.next_sync += 1;
        let sequence = self.next_sequence();
        self.verifications.insert(id, Verification { newcomer, summary, version, boot, sequence, pings: 0 });
        self.verification_step(now, id);
        SyncAnswer::Pending(SyncId(id))
    }

    /// Pings the known life, or gives it up.
    pub(crate) fn verification_step(&mut self, now: Duration, id: u64) {
        let Some(verification) = self.verifications.get_mut(&id) else { return };
        if verification.pings < PINGS {
            verification.pings += 1;
            let (sequence, slot) = (verification.sequence, self.table.slot_of(&verification.newcomer.id));
            self.schedule.set(Timer::Verification(id), now + self.config.probe_timeout / PINGS);
            if let Some(slot) = slot {
                self.ping(slot, sequence);
            }
            return;
        }
        let Some(Verification { newcomer, summary, version, .. }) = self.verifications.remove(&id) else { return };
        let reply = self.accept(now, version, newcomer, &summary);
        self.emit(Event::SyncAnswered { id: SyncId(id), reply });
    }

    /// The known life answers: there are two.
    pub(crate) fn verification_answered(&mut self, now: Duration, sequence: u32, node: &NodeId, boot: BootId) -> bool {
        let mut waiting = self.verifications.iter();
        let found = waiting.find(|(_, v)| v.sequence == sequence && v.newcomer.id == *node && v.boot == boot);
        let Some(id) = found.map(|(id, _)| *id) else { return false };
        let Some(Verification { newcomer, version, .. }) = self.verifications.remove(&id) else { return false };
        self.schedule.cancel(Timer::Verification(id));
        let Some(address) = self.table.find(node).map(|entry| entry.address) else { return false };
        let reply = self.conflict_reply(version, address, boot);
        self.tell_conflict(now, newcomer.id, newcomer.address, newcomer.boot);
        self.emit(Event::SyncAnswered { id: SyncId(id), reply });
        true
    }

    /// Asks those who wait for an answer to come again.
    pub(crate) fn give_up_verifications(&mut self) {
        for (id, waiting) in std::mem::take(&mut self.verifications) {
            self.schedule.cancel(Timer::Verification(id));
            let reply = self.verdict(waiting.version, BUSY);
            self.emit(Event::SyncAnswered { id: SyncId(id), reply });
        }
    }
}
