//! Which versions of the protocol a member understands, so that a cluster can be upgraded one member at a time.
//!
//! Each member says the range that it understands, everything that goes to it is written in the highest version of both ranges,
//! and an answer in that of its question. What every version keeps, so that members of any two can refuse each other by name, is
//! in [`packet`](crate::packet). A release that brings a version understands the one before as well: then a rolling upgrade
//! never has two members that share none.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdb_net_types::{BootId, NodeId};

use crate::entry::Member;
use crate::event::Event;
use crate::packet::Alive;
use crate::swim::Swim;
use crate::table::Slot;
use crate::wire::{DecodeError, Reader};

/// One node is told of as incompatible at most once in this time.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// So many nodes are remembered for that; beyond it they are counted and not told of.
const TOLD_MAX: usize = 32;

/// The nodes that were told of, and when.
pub(crate) type Told = BTreeMap<NodeId, Duration>;

/// A range of versions of the membership protocol, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    lowest: u8,
    highest: u8,
}

impl Versions {
    /// Those that this release understands.
    pub const SPOKEN: Self = Self::FIRST;

    /// The first version alone, and what a member understands that says nothing of it.
    pub(crate) const FIRST: Self = Self::only(1);

    /// A range; `None` where it is empty or holds version 0, which does not exist.
    pub const fn new(lowest: u8, highest: u8) -> Option<Self> {
        if lowest == 0 || lowest > highest { None } else { Some(Self { lowest, highest }) }
    }

    pub(crate) const fn only(version: u8) -> Self {
        Self { lowest: version, highest: version }
    }

    /// The lowest version of the range.
    pub const fn lowest(self) -> u8 {
        self.lowest
    }

    /// The highest version of the range.
    pub const fn highest(self) -> u8 {
        self.highest
    }

    /// Whether the range holds this version.
    pub const fn contains(self, version: u8) -> bool {
        self.lowest <= version && version <= self.highest
    }

    /// The highest version that is in both ranges.
    pub fn shared(self, other: Self) -> Option<u8> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }

    /// Writes the range where it is another one than members have that say nothing: those who say nothing and those who say the
    /// same are written alike.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        if self != Self::FIRST {
            out.extend_from_slice(&[self.lowest, self.highest]);
        }
    }

    /// Reads what [`write`](Self::write) has written at the end of something.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self::FIRST);
        }
        let (lowest, highest) = (reader.u8("versions")?, reader.u8("versions")?);
        Self::new(lowest, highest).ok_or(DecodeError::Value { field: "versions" })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { lowest, highest } if lowest == highest => write!(f, "version {lowest}"),
            Self { lowest, highest } => write!(f, "versions {lowest} to {highest}"),
        }
    }
}

impl Swim {
    /// The versions that this member understands.
    pub fn versions(&self) -> Versions {
        self.table.local().versions
    }

    /// Has this member understand other versions, as one of another release does; whatever their number, what is written is the
    /// first version's. For tests of releases that do not exist yet: to be called before anything else.
    #[cfg(any(test, feature = "mutations"))]
    pub fn speak(&mut self, versions: Versions) {
        self.table.update(crate::table::SELF, &mut self.random, |own| {
            let word = (own.profile.boot(), own.profile.address(), own.profile.meta().clone());
            own.introduce(word.0, word.1, word.2, versions);
        });
        self.greeting = versions.lowest();
    }

    /// In which version a packet to this node is written, unless it answers another one: the highest of both, and the lowest
    /// where nothing is known of the node.
    pub(crate) fn version_for(&self, node: &NodeId) -> u8 {
        let shared = self.table.find(node).and_then(|held| held.versions.shared(self.versions()));
        shared.unwrap_or(self.versions().lowest())
    }

    /// Holds a member to understand this range, and tells that.
    pub(crate) fn note_versions(&mut self, slot: Slot, versions: Versions) {
        self.table.update(slot, &mut self.random, |entry| {
            let profile = entry.profile.clone();
            entry.introduce(profile.boot(), profile.address(), profile.meta().clone(), versions);
        });
        self.emit_of(slot, Event::Updated);
    }

    /// Takes the range that a member says itself, over its own connection: whatever others have said of this process.
    pub(crate) fn hear_own_versions(&mut self, node: &NodeId, boot: BootId, versions: Versions) {
        let is_it = |held: &Member<'_>| held.boot == boot && held.versions != versions;
        if self.table.find(node).is_some_and(|held| is_it(&held)) && versions.shared(self.versions()).is_some() {
            self.table.slot_of(node).into_iter().for_each(|slot| self.note_versions(slot, versions));
        }
    }

    /// Whether this member and that one share a version. If not, that is counted and told.
    pub(crate) fn shares_version(&mut self, now: Duration, alive: &Alive) -> bool {
        let is_shared = alive.versions.shared(self.versions()).is_some();
        if !is_shared {
            self.stats.refused_versions += 1;
            self.tell_incompatible(now, alive.id.clone(), alive.versions);
        }
        is_shared
    }

    /// A live member that shares no version with a newcomer: with both, the cluster would have two views for ever.
    pub(crate) fn rival_in_version(&self, newcomer: &Alive) -> Option<(NodeId, Versions)> {
        let held = self.table.find(&newcomer.id);
        if held.is_some_and(|held| held.state.is_routable() && held.boot == newcomer.boot) {
            return None;
        }
        let mut live = self.table.iter().filter(|held| held.state.is_routable() && *held.id != newcomer.id);
        let rival = live.find(|held| held.versions.shared(newcomer.versions).is_none());
        rival.map(|held| (held.id.clone(), held.versions))
    }

    /// Counts a request of a version that is not understood here. Its asker may understand another one: then it asks anew in that, and
    /// nothing is wrong. Who comes with the same again does not.
    pub(crate) fn note_refused(&mut self, now: Duration, asker: NodeId, version: u8) {
        self.stats.refused_versions += 1;
        self.refused_once.retain(|_, refused| now.saturating_sub(*refused) < TELL_INTERVAL);
        if self.refused_once.contains_key(&asker) || version > self.versions().highest() {
            return self.tell_incompatible(now, asker, Versions::only(version));
        }
        if self.refused_once.len() < TOLD_MAX {
            self.refused_once.insert(asker, now);
        }
    }

    pub(crate) fn tell_incompatible(&mut self, now: Duration, node: NodeId, theirs: Versions) {
        self.tell_incompatible_with(now, node, theirs, self.versions());
    }

    pub(crate) fn tell_incompatible_with(&mut self, now: Duration, node: NodeId, theirs: Versions, ours: Versions) {
        self.incompatible_told.retain(|_, told| now.saturating_sub(*told) < TELL_INTERVAL);
        if self.incompatible_told.contains_key(&node) || self.incompatible_told.len() >= TOLD_MAX {
            return;
        }
        self.incompatible_told.insert(node.clone(), now);
        self.emit(Event::Incompatible { node, theirs, ours });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn range(lowest: u8, highest: u8) -> Versions {
        Versions::new(lowest, highest).expect("a range")
    }

    #[test]
    fn two_ranges_share_their_highest_common_version_or_none() {
        for (one, other, shared) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 1), (1, 2), Some(1)),
            ((1, 3), (2, 5), Some(3)),
            ((1, 1), (2, 3), None),
            ((4, 4), (1, 3), None),
        ] {
            let (one, other) = (range(one.0, one.1), range(other.0, other.1));
            assert_eq!((one.shared(other), other.shared(one)), (shared, shared), "{one} and {other}");
        }
    }

    #[test]
    fn a_range_is_written_only_where_it_says_something() {
        let written = |range: Versions| {
            let mut out = Vec::new();
            range.write(&mut out);
            out
        };
        assert_eq!(written(Versions::FIRST), [0u8; 0]);
        assert_eq!(written(range(1, 2)), [1, 2]);
        let read = |bytes: &[u8]| Versions::read(&mut Reader::new(bytes));
        assert_eq!(read(&[]), Ok(Versions::FIRST));
        assert_eq!(read(&[2, 3, 99]), Ok(range(2, 3)), "what later versions add is passed over");
        assert_eq!(read(&[2]), Err(DecodeError::Truncated { field: "versions" }));
        assert_eq!(read(&[3, 2]), Err(DecodeError::Value { field: "versions" }));
        assert_eq!(read(&[0, 2]), Err(DecodeError::Value { field: "versions" }));
    }

    #[test]
    fn a_range_is_told_in_words() {
        assert_eq!((range(1, 1).to_string(), range(1, 3).to_string()), ("version 1".into(), "versions 1 to 3".into()));
    }
}
