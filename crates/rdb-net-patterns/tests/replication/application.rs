//! The world's application: it names leaders, and gives them entries.

use std::time::Duration;

use rdb_net_patterns::replication::check::Fact;
use rdb_net_patterns::replication::{LogStorage, Position, Role};

use crate::world::{Due, World};

impl World {
    /// Names another leader, in a higher epoch; once nothing fails, only where there is none.
    pub(crate) fn lead(&mut self) {
        let count = self.nodes.len();
        let next = self.about(self.script.lead_every);
        self.later(next.max(Duration::from_millis(if self.is_healed { 400 } else { 0 })), Due::Lead);
        if self.is_healed && self.leads_as_named() {
            return;
        }
        let place = self.hint.take().unwrap_or_else(|| self.random.index(count));
        // Sometimes nobody has told it of the newest epoch.
        self.epoch += 1;
        let epoch = if !self.is_healed && self.random.chance(0.1) { self.epoch / 2 } else { self.epoch };
        let id = self.nodes[place].id.clone();
        self.note(|| format!("{id} is to lead in epoch {epoch}"));
        self.act(place, |replica, now| {
            let _refused = replica.lead(now, epoch);
        });
    }

    /// Whether the leader leads that was named last.
    pub(crate) fn leads_as_named(&self) -> bool {
        let leader = self.newest_leader().and_then(|place| self.replica(place));
        leader.is_some_and(|leader| leader.promise().epoch == self.epoch)
    }

    pub(crate) fn newest_leader(&self) -> Option<usize> {
        let leads = |place: &usize| self.replica(*place).is_some_and(|replica| replica.status().role == Role::Leader);
        let epoch = |place: &usize| self.replica(*place).map(|replica| replica.promise().epoch);
        (0..self.nodes.len()).filter(leads).max_by_key(epoch)
    }

    /// Gives entries to whoever leads, or believes so.
    pub(crate) fn propose(&mut self) {
        const AFTER: u32 = 10;
        let next = self.about(self.script.propose_every);
        if self.is_healed && (!self.is_settled || self.proposed_after >= AFTER) {
            return;
        }
        self.later(next, Due::Propose);
        let count = self.nodes.len();
        let anybody = self.random.index(count);
        let place = self.newest_leader().filter(|_| self.is_healed).unwrap_or(anybody);
        let lengths: Vec<usize> = (0..1 + self.random.index(4)).map(|_| 8 + self.random.index(60)).collect();
        let first = self.next_value + 1;
        let entry = |(value, length): (u64, usize)| {
            let mut data = value.to_be_bytes().to_vec();
            data.resize(length, value as u8);
            data.into()
        };
        let entries: Vec<bytes::Bytes> = (first..).zip(lengths.iter().copied()).map(entry).collect();
        let node = &mut self.nodes[place];
        let Some(replica) = &mut node.replica else { return };
        let Ok(taken) = replica.propose(entries) else { return };
        let (id, epoch) = (node.id.clone(), replica.promise().epoch);
        self.next_value += lengths.len() as u64;
        self.proposed_after += u32::from(self.is_healed);
        for (index, value) in taken.zip(first..) {
            self.nodes[place].proposed.insert(index, (epoch, value));
            self.see(Fact::Proposed { node: id.clone(), epoch, index, value });
        }
        self.act(place, |_, _| {});
    }

    /// Somewhere the application has applied what is committed, and drops it from the log.
    pub(crate) fn compact(&mut self) {
        let Some(every) = self.script.compact_every else { return };
        let (next, place) = (self.about(every), self.random.index(self.nodes.len()));
        self.later(next, Due::Compact);
        let Some(replica) = self.replica(place) else { return };
        let (base, committed) = (replica.log().base().index, replica.committed());
        let up_to = committed - self.random.index(committed.saturating_sub(base) as usize / 2 + 1) as u64;
        if self.apply(place, up_to).is_none() {
            return;
        }
        self.compactions += u64::from(up_to > base);
        self.act(place, |replica, _| {
            // Only a storage that has failed refuses.
            let _failed = replica.compact(up_to);
        });
    }

    /// The application keeps what came of the entries up to this one; `None` where a bug has left one out.
    fn apply(&mut self, place: usize, up_to: u64) -> Option<()> {
        for index in self.nodes[place].copy.len() as u64 + 1..=up_to {
            let entry = self.entry(place, index)?;
            self.nodes[place].copy.push(entry);
        }
        Some(())
    }

    /// A node is given a copy of another one's data.
    pub(crate) fn restore(&mut self, to: usize, from: usize, base: Position) {
        let Some(copy) = self.nodes[from].copy.get(..base.index as usize) else { return };
        let copy = copy.to_vec();
        if self.replica(to).is_none() || copy.len() <= self.nodes[to].copy.len() {
            return;
        }
        self.nodes[to].copy = copy;
        self.act(to, |replica, _| {
            // Who leads, or wants to, is given a copy when it does no longer and lacks something.
            let _refused = replica.restore(base);
        });
    }
}
