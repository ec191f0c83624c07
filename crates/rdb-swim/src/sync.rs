//! Joining and anti-entropy: a request and a reply over a reliable stream that the driver owns.
//!
//! The request says who asks and how its view hashes, whole and by buckets; the reply says whether the asker is accepted, what is
//! remembered of it, and, where the views differ, every member of each bucket that does. What the reply calls failed is only suspected by an asker that held it alive:
//! views differ most after a partition, and a suspicion can be refuted before anybody acts on it.
//!
//! ```text
//! request = header, alive without versions, summary, versions        reply = header, verdict u8, and:
//! 1 accepted     what is remembered, records: varint length, state u8, alive; an unknown state is passed over
//! 2 conflict     address, boot of the other process
//! 3 busy, 4 itself
//! 5 versions     lowest u8, highest u8, id of whose they are: the replier, or a member with whom the asker shares none
//! ```
//!
//! A reply is written in the version of its request, which the asker understands; the fifth verdict is the same in all versions.

use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_types::{BootId, Incarnation, NodeId, NodeState};

use crate::apply::Spread;
use crate::entry::Member;
use crate::event::Event;
use crate::merge::{Standing, rank};
use crate::mutation::Mutation;
use crate::packet::{
    Accusation, Alive, Body, KIND_SYNC_REPLY, KIND_SYNC_REQUEST, read_alive, read_any_header, read_header,
    read_whole_alive, write_alive, write_header,
};
use crate::schedule::Timer;
use crate::summary::Summary;
use crate::swim::{Phase, Swim};
use crate::table::SELF;
use crate::transmit::alive_of;
use crate::unverified::UNVERIFIED_MAX;
use crate::versions::Versions;
use crate::wire::{DecodeError, Reader, Write};

/// After a failed member's return, views are exchanged with it within this time.
const HEALING_DELAY: Duration = Duration::from_secs(1);

const ACCEPTED: u8 = 1;
const CONFLICT: u8 = 2;
pub(crate) const BUSY: u8 = 3;
const ITSELF: u8 = 4;
const VERSIONS: u8 = 5;

/// A request whose answer is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncId(pub u64);

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncAnswer {
    /// Send this back.
    Ready(Vec<u8>),
    /// Wait for [`Event::SyncAnswered`] with this id; it comes within [`Config::probe_timeout`](crate::Config::probe_timeout).
    Pending(SyncId),
}

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncOutcome {
    /// This node is known there, and its view holds that member's.
    Accepted {
        /// How many members are held, this node included.
        members: usize,
    },
    /// Another living process has this node's id. An operator must decide; asking again will not help until one has stopped.
    Conflict {
        /// Gossip address of the other process.
        address: SocketAddr,
        /// Its boot id.
        boot: BootId,
    },
    /// The member cannot answer just now: ask it again later, or another one.
    Busy,
    /// The request came back to this very process: the address is its own.
    Itself,
    /// The member does not understand the version of the request. The next request is in one that both understand.
    AnotherVersion,
    /// The member, or another one of its cluster, shares no version with this node; [`Event::Incompatible`] tells of it.
    Incompatible,
}

/// How often views that differ are exchanged out of turn, and views that are equal are not exchanged.
#[derive(Debug)]
pub(crate) struct Differences {
    last: Duration,
    /// When a view was last compared that was equal to this node's.
    equal_at: Duration,
    /// How many answers in a row have brought nothing new.
    fruitless: u32,
    /// Another's view was taken since this process began, or came back.
    pub(crate) has_view: bool,
    /// The last view that was compared was this node's.
    is_equal: bool,
    /// Exchanges in a row that were spared for that.
    spared: u32,
}

impl Differences {
    pub(crate) fn new(now: Duration) -> Self {
        Self { last: Duration::ZERO, equal_at: now, fruitless: 0, has_view: false, is_equal: false, spared: 0 }
    }
}

/// Exchanges that are spared in a row at most: a hash is not a view.
const SPARED_MAX: u32 = 9;

/// A member as a reply carries it.
type Record = (NodeState, Alive);

impl Swim {
    /// The bytes by which this node introduces itself to somebody of whom it knows nothing, and asks for its view.
    pub fn sync_request(&self) -> Vec<u8> {
        self.sync_request_in(self.greeting)
    }

    /// The same to this member.
    pub fn sync_request_to(&self, node: &NodeId) -> Vec<u8> {
        self.sync_request_in(self.version_for(node))
    }

    fn sync_request_in(&self, version: u8) -> Vec<u8> {
        let mut request = Vec::new();
        write_header(&mut request, version, self.cluster, KIND_SYNC_REQUEST);
        write_alive(&mut request, &alive_of(&self.table.local()));
        Summary::of(&self.table).write(&mut request);
        self.versions().write(&mut request);
        request
    }

    /// Whom another node's request speaks for, by its own word and whatever its version: who knows by other means whose connection it came over
    /// compares the two before handing it over.
    ///
    /// # Errors
    ///
    /// The bytes are no request of this cluster.
    pub fn sync_asker(&self, request: &[u8]) -> Result<NodeId, DecodeError> {
        let mut reader = Reader::new(request);
        match read_any_header(&mut reader, self.cluster)? {
            (_, KIND_SYNC_REQUEST) => reader.id(),
            (_, kind) => Err(DecodeError::Kind { kind }),
        }
    }

    /// Takes another node's request.
    ///
    /// # Errors
    ///
    /// The bytes are no request of this version and cluster. Nothing was changed.
    pub fn handle_sync_request(&mut self, now: Duration, request: &[u8]) -> Result<SyncAnswer, DecodeError> {
        let mut reader = Reader::new(request);
        let version = match read_any_header(&mut reader, self.cluster)? {
            (version, KIND_SYNC_REQUEST) => version,
            (_, kind) => return Err(DecodeError::Kind { kind }),
        };
        if !self.versions().contains(version) {
            return Ok(SyncAnswer::Ready(self.refuse_version(now, version, reader.id()?)));
        }
        let (newcomer, summary) = (read_alive(&mut reader)?, Summary::read(&mut reader)?);
        let newcomer = Alive { versions: Versions::read(&mut reader)?, ..newcomer };
        if !matches!(self.phase, Phase::Active) {
            return Ok(SyncAnswer::Ready(self.verdict(version, BUSY)));
        }
        let own = self.table.local();
        if newcomer.id == *own.id {
            let (boot, address) = (own.boot, own.address);
            if newcomer.boot == boot {
                return Ok(SyncAnswer::Ready(self.verdict(version, ITSELF)));
            }
            self.tell_conflict(now, newcomer.id, newcomer.address, newcomer.boot);
            return Ok(SyncAnswer::Ready(self.conflict_reply(version, address, boot)));
        }
        // Another life at the same address is a restart: one socket has one process. At another address, the known life
        // must be given the chance to say that it is there. So must one that is said to have left, which anybody may have made up,
        // and one that is only remembered as failed; one that has failed since had that chance, from whoever failed it here.
        let (held, is_heard) = (self.table.find(&newcomer.id), self.differences.has_view);
        let is_rival = |held: &Member<'_>| {
            !(held.state == NodeState::Failed && is_heard)
                && held.boot != newcomer.boot
                && held.address != newcomer.address
        };
        match held.filter(is_rival).map(|held| held.boot) {
            Some(boot) => Ok(self.verify(now, version, newcomer, summary, boot)),
            None => Ok(SyncAnswer::Ready(self.accept(now, version, newcomer, &summary))),
        }
    }

    /// Takes the answer to this node's own request to somebody of whom it knows no more than where it is.
    ///
    /// # Errors
    ///
    /// The bytes are no reply of this version and cluster. Nothing was changed.
    pub fn handle_sync_reply(&mut self, now: Duration, reply: &[u8]) -> Result<SyncOutcome, DecodeError> {
        self.take_reply(now, None, reply)
    }

    /// The same of this member, to which the request was.
    ///
    /// # Errors
    ///
    /// As with [`handle_sync_reply`](Self::handle_sync_reply).
    pub fn handle_sync_reply_of(
        &mut self,
        now: Duration,
        asked: &NodeId,
        reply: &[u8],
    ) -> Result<SyncOutcome, DecodeError> {
        self.take_reply(now, Some(asked), reply)
    }

    fn take_reply(&mut self, now: Duration, asked: Option<&NodeId>, reply: &[u8]) -> Result<SyncOutcome, DecodeError> {
        let mut reader = Reader::new(reply);
        let version = match read_header(&mut reader, self.versions(), self.cluster)? {
            (version, KIND_SYNC_REPLY) => version,
            (_, kind) => return Err(DecodeError::Kind { kind }),
        };
        match reader.u8("verdict")? {
            ACCEPTED => {}
            CONFLICT => {
                let (address, boot) = (reader.address()?, reader.boot()?);
                let id = self.table.local().id.clone();
                self.tell_conflict(now, id, address, boot);
                return Ok(SyncOutcome::Conflict { address, boot });
            }
            BUSY => return Ok(SyncOutcome::Busy),
            ITSELF => return Ok(SyncOutcome::Itself),
            VERSIONS => return self.take_refusal_of_version(now, asked, version, &mut reader),
            _ => return Err(DecodeError::Value { field: "verdict" }),
        }
        let remembered = read_remembered(&mut reader)?;
        let records = read_records(&mut reader)?;
        if matches!(self.phase, Phase::Active) {
            let before = self.table.digest();
            let asked = self.stats.unverified_asked;
            self.take_view(now, remembered, records);
            self.differences.has_view = true;
            // An answer that was lost says nothing of what another one will bring.
            let is_fruitless = self.table.digest() == before && self.stats.unverified_asked == asked;
            self.differences.fruitless = if is_fruitless { (self.differences.fruitless + 1).min(5) } else { 0 };
        }
        Ok(SyncOutcome::Accepted { members: self.table.len() })
    }

    fn take_view(&mut self, now: Duration, remembered: Option<(Incarnation, BootId)>, records: Vec<Record>) {
        // What a newcomer learns, the cluster knows; what a member learns may be news to those around it. Who has only a memory of
        // others has nobody around it either.
        let is_first = !self.differences.has_view && self.table.alive_count() == 1;
        let is_newcomer = is_first || self.table.len() == 1;
        let spread = if is_newcomer { Spread::No } else { Spread::Yes };
        let own_boot = self.table.local().boot;
        match remembered {
            Some((incarnation, boot)) if boot == own_boot => self.rise_to(now, incarnation.next()),
            Some((incarnation, _)) => self.outbid(now, incarnation),
            None => {}
        }
        let Some((_, replier)) = records.first().cloned() else { return };
        let mut records = records;
        // There may be more unknown ones than are asked: whoever wrote the list shall not choose among them.
        if records.len() > UNVERIFIED_MAX {
            self.random.shuffle(&mut records[1..]);
        }
        for (state, alive) in records {
            self.take_record(now, state, alive, &replier.id, spread);
        }
        if is_newcomer {
            self.tell(now, SELF);
        }
        // It has answered, so it is there: told what is held against it, it refutes.
        if self.table.find(&replier.id).is_none_or(|held| !held.state.is_routable()) {
            let body = Body::Ping { sequence: 0, target: replier.id.clone(), target_boot: replier.boot };
            self.send(replier.address, replier.id, body);
        }
    }

    fn take_record(&mut self, now: Duration, state: NodeState, alive: Alive, replier: &NodeId, spread: Spread) {
        let slot = self.table.slot_of(&alive.id);
        let held = slot.and_then(|slot| self.table.get(slot)).map(|entry| entry.state);
        let claim = Accusation { id: alive.id.clone(), incarnation: alive.incarnation, from: replier.clone() };
        // Who joins has nothing but the first view that it is given, and the replier has just answered.
        let is_hearsay = self.differences.has_view && alive.id != *replier;
        match (held, state) {
            _ if slot == Some(SELF) => {}
            (None, NodeState::Alive | NodeState::Suspect) if is_hearsay => self.ask_unverified(now, alive),
            (_, NodeState::Alive) => self.apply_alive(now, alive, spread),
            (None, _) => self.admit(now, alive, state, spread),
            // Both hold it gone: the newer end stands, and there was no life in between to tell of.
            (Some(NodeState::Failed | NodeState::Left), NodeState::Failed | NodeState::Left) => {
                self.take_newer_end(now, state, alive, spread);
            }
            (Some(_), _) => {
                let state = if state == NodeState::Failed { NodeState::Suspect } else { state };
                self.apply_alive(now, alive, spread);
                self.apply_claim(now, claim, state, spread);
            }
        }
    }

    /// Takes the end of a later life, or a later word of the same end, of a member that is gone here too.
    fn take_newer_end(&mut self, now: Duration, state: NodeState, alive: Alive, spread: Spread) {
        let Some(slot) = self.table.slot_of(&alive.id) else { return };
        let Some(held) = self.table.get(slot) else { return };
        let is_dropped = state == held.state && self.has(Mutation::EvidenceDropped);
        if is_dropped || !Standing::new(alive.incarnation, state).beats(held.standing()) {
            self.stats.updates_stale += 1;
            return;
        }
        if !self.shares_version(now, &alive) {
            return;
        }
        let Some(held) = self.table.get(slot) else { return };
        let former = held.state;
        let (said, known) = ((alive.boot, alive.address, alive.versions), (held.boot, held.address, held.versions));
        let is_changed = said != known || alive.meta != *held.meta;
        self.table.update(slot, &mut self.random, |entry| {
            let Alive { id: _, incarnation, boot, address, meta, versions } = alive;
            entry.turn(state, now);
            entry.incarnation = incarnation;
            entry.introduce(boot, address, meta, versions);
        });
        if is_changed && former == state {
            self.emit_of(slot, Event::Updated);
        }
        self.note_change(now, slot, Some(former), false, spread);
    }

    /// The answer to a request that cannot be read.
    fn refuse_version(&mut self, now: Duration, version: u8, asker: NodeId) -> Vec<u8> {
        if version > 0 {
            self.note_refused(now, asker, version);
        }
        let own = self.table.local();
        self.versions_reply(version, own.versions, own.id)
    }

    pub(crate) fn versions_reply(&self, version: u8, versions: Versions, node: &NodeId) -> Vec<u8> {
        let mut reply = self.verdict(version, VERSIONS);
        reply.extend_from_slice(&[versions.lowest(), versions.highest()]);
        reply.id(node);
        reply
    }

    /// Somebody does not understand the version of this node's request, or is in a cluster with somebody who does not.
    fn take_refusal_of_version(
        &mut self,
        now: Duration,
        asked: Option<&NodeId>,
        refused: u8,
        reader: &mut Reader<'_>,
    ) -> Result<SyncOutcome, DecodeError> {
        let (lowest, highest) = (reader.u8("versions")?, reader.u8("versions")?);
        let versions = Versions::new(lowest, highest).ok_or(DecodeError::Value { field: "versions" })?;
        let node = reader.id()?;
        if versions.contains(refused) {
            // Nobody refuses what it understands; whoever does would be asked the same for ever.
            return Err(DecodeError::Value { field: "versions" });
        }
        if let Some(version) = versions.shared(self.versions()) {
            match asked {
                None => self.greeting = version,
                // What others have said of its range was wrong, and it would be asked in that again.
                Some(asked) if *asked == node => {
                    self.table.slot_of(&node).into_iter().for_each(|slot| self.note_versions(slot, versions));
                }
                Some(_) => {}
            }
            return Ok(SyncOutcome::AnotherVersion);
        }
        self.stats.refused_versions += 1;
        self.tell_incompatible(now, node, versions);
        Ok(SyncOutcome::Incompatible)
    }

    /// Takes the newcomer in, and writes what it needs to know.
    pub(crate) fn accept(&mut self, now: Duration, version: u8, newcomer: Alive, summary: &Summary) -> Vec<u8> {
        if let Some((node, versions)) = self.rival_in_version(&newcomer) {
            self.stats.refused_versions += 1;
            self.tell_incompatible_with(now, newcomer.id, newcomer.versions, versions);
            return self.versions_reply(version, versions, &node);
        }
        let remembered = self.remembered(&newcomer);
        let asker = newcomer.id.clone();
        let is_member = self.table.find(&asker).is_some_and(|held| held.boot == newcomer.boot);
        let (boot, versions) = (newcomer.boot, newcomer.versions);
        self.apply_alive(now, newcomer, Spread::Yes);
        self.hear_own_versions(&asker, boot, versions);
        if is_member {
            self.compare_views(now, &asker, summary.digest);
        }
        let mut reply = self.verdict(version, ACCEPTED);
        match remembered {
            None => reply.push(0),
            Some((incarnation, boot)) => {
                reply.push(1);
                reply.incarnation(incarnation);
                reply.boot(boot);
            }
        }
        let own = self.table.local();
        write_record(&mut reply, &own);
        if summary.digest != self.table.digest() {
            let differs = summary.differs(&self.table);
            let others = self.table.iter().filter(|entry| entry.id != own.id && *entry.id != asker);
            others.filter(|entry| differs(entry.id)).for_each(|entry| write_record(&mut reply, &entry));
        }
        reply
    }

    /// What stands against the newcomer's own word: it must go above this to be heard.
    fn remembered(&self, newcomer: &Alive) -> Option<(Incarnation, BootId)> {
        let Some(held) = self.table.find(&newcomer.id) else {
            let dead = self.tombstones.incarnation(&newcomer.id)?;
            return (newcomer.incarnation <= dead).then_some((dead, BootId(0)));
        };
        let is_same = held.boot == newcomer.boot
            && held.incarnation == newcomer.incarnation
            && (held.versions == newcomer.versions || held.versions == Versions::FIRST);
        let is_known = is_same && held.state == NodeState::Alive;
        (held.incarnation >= newcomer.incarnation && !is_known).then_some((held.incarnation, held.boot))
    }

    pub(crate) fn verdict(&self, version: u8, verdict: u8) -> Vec<u8> {
        let mut reply = Vec::new();
        write_header(&mut reply, version, self.cluster, KIND_SYNC_REPLY);
        reply.push(verdict);
        reply
    }

    pub(crate) fn conflict_reply(&self, version: u8, address: SocketAddr, boot: BootId) -> Vec<u8> {
        let mut reply = self.verdict(version, CONFLICT);
        reply.address(address);
        reply.boot(boot);
        reply
    }

    /// Asks for an exchange of views with a random member, unless the last member that answered a probe has this node's own view:
    /// then there is nothing to exchange, and a member without a connection would have to be dialled for it.
    pub(crate) fn sync_tick(&mut self, now: Duration) {
        let interval = self.config.sync_interval_for(self.table.alive_count());
        let next = self.random.duration(interval * 9 / 10, interval * 11 / 10);
        self.schedule.set(Timer::Sync, now + next);
        let wanted =
            self.sync_with.take().filter(|id| self.member(id).is_some_and(|member| member.state.is_routable()));
        let is_equal = std::mem::take(&mut self.differences.is_equal);
        if wanted.is_none() && is_equal && self.differences.spared < SPARED_MAX {
            self.differences.spared += 1;
            self.stats.syncs_spared += 1;
            return;
        }
        self.differences.spared = 0;
        let random = self.table.live().sample(1, &[], &mut self.random);
        let random = random.first().and_then(|slot| self.table.get(*slot)).map(|entry| entry.id.clone());
        if let Some(node) = wanted.or(random) {
            self.emit(Event::SyncWanted { node });
        }
    }

    /// An ack carries the hash of its sender's view. Where that differs although there is no news under way, this node may
    /// have missed something: every member tells an update a bounded number of times, so a few are missed now and then.
    ///
    /// So does a member's request for this one's view: whoever asks may be the one that knows more.
    ///
    /// The gap between such exchanges starts at a thirtieth of the regular interval and doubles as long as they do not help. News
    /// makes views differ for as long as it travels; where there is always some, as in a large cluster whose members come and
    /// go, views that have not been equal for a tenth of the regular interval are exchanged all the same.
    pub(crate) fn compare_views(&mut self, now: Duration, node: &NodeId, digest: u64) {
        self.differences.is_equal = digest == self.table.digest();
        if self.differences.is_equal {
            self.differences.equal_at = now;
            self.differences.fruitless = 0;
            return;
        }
        let interval = self.config.sync_interval_for(self.table.alive_count());
        let gap = (interval / 30 * (1 << self.differences.fruitless.min(5))).min(interval);
        let is_mere_news =
            !self.queue.is_empty() && now < self.differences.equal_at.max(self.differences.last) + interval / 10;
        if is_mere_news || now < self.differences.last + gap || !matches!(self.phase, Phase::Active) {
            return;
        }
        self.differences.last = now;
        self.stats.syncs_by_difference += 1;
        self.emit(Event::SyncWanted { node: node.clone() });
    }

    /// A failed member is back, perhaps from the other side of a partition: soon exchange views with it.
    pub(crate) fn hurry_sync(&mut self, now: Duration, slot: u32) {
        if let Some(entry) = self.table.get(slot) {
            self.sync_with = Some(entry.id.clone());
            let at = now + self.random.duration(Duration::ZERO, HEALING_DELAY);
            self.schedule.bring_forward(Timer::Sync, at);
        }
    }
}

fn write_record(reply: &mut Vec<u8>, entry: &Member<'_>) {
    let mut record = vec![rank(entry.state)];
    write_alive(&mut record, &alive_of(entry));
    entry.versions.write(&mut record);
    reply.varint(record.len() as u64);
    reply.extend_from_slice(&record);
}

fn read_remembered(reader: &mut Reader<'_>) -> Result<Option<(Incarnation, BootId)>, DecodeError> {
    match reader.u8("remembered")? {
        0 => Ok(None),
        1 => Ok(Some((reader.incarnation()?, reader.boot()?))),
        _ => Err(DecodeError::Value { field: "remembered" }),
    }
}

fn read_records(reader: &mut Reader<'_>) -> Result<Vec<Record>, DecodeError> {
    let mut records = Vec::new();
    while !reader.is_empty() {
        let length = reader.length(usize::MAX, "record")?;
        let mut record = Reader::new(reader.take(length, "record")?);
        let state = match record.u8("state")? {
            0 => NodeState::Alive,
            1 => NodeState::Suspect,
            2 => NodeState::Failed,
            3 => NodeState::Left,
            // Of a later release.
            _ => continue,
        };
        records.push((state, read_whole_alive(&mut record)?));
    }
    Ok(records)
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
