//! Packets on their way out. They are encoded when the driver fetches them, so that the records in them are the newest.

use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_types::{NodeId, NodeState};

use crate::doubt::Doubts;
use crate::entry::Member;
use crate::gossip::{Offer, Topic};
use crate::mutation::Mutation;
use crate::packet::{Accusation, Alive, Body, Sender, Update, write_start, write_update};
use crate::refusal::Refusals;
use crate::schedule::Timer;
use crate::swim::{Phase, Swim, release_room};
use crate::table::{SELF, Slot, Table};
use crate::tombstone::Tombstones;

/// How many packets may wait for the driver.
const OUTGOING_MAX: usize = 4_096;

/// A packet without its records.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddr,
    /// Whom it goes to: what is said against a node is told to that node first.
    pub(crate) node: NodeId,
    pub(crate) body: Body,
    /// Whether the receiver must learn who this node is.
    pub(crate) introduces: bool,
}

impl Swim {
    /// Encodes the next packet into `packet`, replacing what is in it, and gives where to send it.
    pub fn poll_transmit(&mut self, _now: Duration, packet: &mut Vec<u8>) -> Option<SocketAddr> {
        while let Some(outgoing) = self.outgoing.pop_front() {
            packet.clear();
            let records = self.encode(&outgoing, packet);
            if outgoing.body == Body::Gossip && records == 0 {
                continue;
            }
            self.stats.packets_sent += 1;
            self.stats.probe_packets_sent += u64::from(outgoing.body.is_of_probe());
            self.stats.bytes_sent += packet.len() as u64;
            self.stats.updates_sent += records as u64;
            return Some(outgoing.to);
        }
        release_room(&mut self.outgoing);
        None
    }

    pub(crate) fn send(&mut self, to: SocketAddr, node: NodeId, body: Body) {
        self.send_outgoing(Outgoing { to, node, body, introduces: false });
    }

    pub(crate) fn send_outgoing(&mut self, outgoing: Outgoing) {
        if self.outgoing.len() >= OUTGOING_MAX {
            self.stats.limit_outgoing += 1;
            return;
        }
        self.outgoing.push_back(outgoing);
    }

    /// Sends to a member at the address that is held of it.
    pub(crate) fn send_member(&mut self, slot: Slot, body: Body) {
        if let Some(entry) = self.table.get(slot) {
            let (to, node) = (entry.address, entry.id.clone());
            self.send(to, node, body);
        }
    }

    /// Tells a few random members what there is to tell, and goes on while there is.
    pub(crate) fn gossip_tick(&mut self, now: Duration) {
        self.last_gossip = Some(now);
        let is_quiet = self.queue.is_empty() && self.broadcasts.is_empty();
        if self.config.gossip_fanout == 0 || is_quiet || self.table.live().len() == 0 {
            return;
        }
        for slot in self.table.live().sample(self.config.gossip_fanout, &[], &mut self.random) {
            self.send_member(slot, Body::Gossip);
        }
        self.schedule.set(Timer::Gossip, now + self.config.gossip_interval);
    }

    /// Writes the packet and as many records as fit, and gives their number.
    fn encode(&mut self, outgoing: &Outgoing, packet: &mut Vec<u8>) -> usize {
        let own = self.table.local();
        let sender = Sender { id: own.id.clone(), boot: own.boot, incarnation: own.incarnation };
        write_start(packet, self.cluster, &sender, &outgoing.body);
        let bytes_max = self.config.packet_bytes_max;
        let receiver = self.table.slot_of(&outgoing.node);
        let mut records = 0;
        let is_buddy = self.config.lifeguard.buddy;
        let first = first_records(&self.table, &self.refusals, outgoing, receiver, is_buddy);
        for update in &first {
            records += usize::from(write_update(packet, bytes_max, update));
        }
        if !matches!(self.phase, Phase::Silent) {
            let limit = self.config.retransmit_limit(self.table.alive_count());
            let limit = if self.has(Mutation::RumoursNeverEnd) { u32::MAX } else { limit };
            let (table, tombstones) = (&self.table, &self.tombstones);
            let (refusals, doubts) = (&self.refusals, &self.doubts);
            records += self.queue.fill(limit, |topic| {
                let about = match topic {
                    Topic::State(slot) | Topic::Doubt(slot, _) | Topic::Refusal(slot, _) => Some(*slot),
                    Topic::Forgotten(_) => None,
                };
                let is_told_first = about == receiver && (is_buddy || !is_suspect(table, receiver));
                if about.is_some() && (is_told_first || about == Some(SELF) && outgoing.introduces) {
                    // What the receiver must hear of itself is in the packet already; that it is alive it knows.
                    return Offer::Skipped;
                }
                match update_of(table, refusals, doubts, tombstones, topic) {
                    None => Offer::Obsolete,
                    Some(update) if write_update(packet, bytes_max, &update) => Offer::Written,
                    Some(_) => Offer::TooLarge,
                }
            });
            records += self.broadcasts.fill(limit, |update| write_update(packet, bytes_max, update));
        }
        records
    }
}

/// What comes before everything else: who this node is, where the receiver must learn it, and what is said against the
/// receiver (Lifeguard's buddy system), so that it can refute.
fn first_records(
    table: &Table,
    refusals: &Refusals,
    outgoing: &Outgoing,
    receiver: Option<Slot>,
    is_buddy: bool,
) -> Vec<Update> {
    let mut first = Vec::new();
    if outgoing.introduces {
        first.push(state_update(table, SELF, &table.local()));
    }
    let accused = receiver.filter(|slot| *slot != SELF).and_then(|slot| Some((slot, table.get(slot)?)));
    if let Some((slot, entry)) = accused {
        if entry.state != NodeState::Alive && (is_buddy || entry.state != NodeState::Suspect) {
            first.push(state_update(table, slot, &entry));
        }
        let refusal = refusals.get(&slot).and_then(|refusal| Some((refusal.incarnation, refusal.observers.first()?)));
        if let Some((incarnation, observer)) = refusal {
            first.push(Update::Refused(Accusation { id: entry.id.clone(), incarnation, from: observer.clone() }));
        }
    }
    first
}

fn is_suspect(table: &Table, slot: Option<Slot>) -> bool {
    slot.and_then(|slot| table.get(slot)).is_some_and(|entry| entry.state == NodeState::Suspect)
}

fn update_of(
    table: &Table,
    refusals: &Refusals,
    doubts: &Doubts,
    tombstones: &Tombstones,
    topic: &Topic,
) -> Option<Update> {
    match topic {
        Topic::Doubt(slot, accuser) => {
            let (entry, doubt) = (table.get(*slot)?, doubts.get(slot)?);
            let is_held = entry.state == NodeState::Suspect && doubt.accusers.contains(accuser);
            is_held.then(|| {
                let from = accuser.clone();
                Update::Suspect(Accusation { id: entry.id.clone(), incarnation: entry.incarnation, from })
            })
        }
        Topic::State(slot) => table.get(*slot).map(|entry| state_update(table, *slot, &entry)),
        Topic::Refusal(slot, observer) => {
            let (entry, refusal) = (table.get(*slot)?, refusals.get(slot)?);
            refusal.observers.contains(observer).then(|| {
                let from = observer.clone();
                Update::Refused(Accusation { id: entry.id.clone(), incarnation: refusal.incarnation, from })
            })
        }
        Topic::Forgotten(id) => tombstones
            .incarnation(id)
            .map(|incarnation| Update::Forgotten(Accusation { id: id.clone(), incarnation, from: id.clone() })),
    }
}

/// How a member stands, as a record.
fn state_update(table: &Table, slot: Slot, entry: &Member<'_>) -> Update {
    let accusation =
        |from: &NodeId| Accusation { id: entry.id.clone(), incarnation: entry.incarnation, from: from.clone() };
    match entry.state {
        NodeState::Alive => Update::Alive(alive_of(entry)),
        NodeState::Suspect => Update::Suspect(accusation(table.accuser(slot))),
        NodeState::Failed => Update::Failed(accusation(table.accuser(slot))),
        NodeState::Left => Update::Left(accusation(entry.id)),
    }
}

/// What a member says of itself, as this node knows it.
pub(crate) fn alive_of(entry: &Member<'_>) -> Alive {
    Alive {
        id: entry.id.clone(),
        incarnation: entry.incarnation,
        boot: entry.boot,
        address: entry.address,
        meta: entry.meta.clone(),
    }
}
