//! Where a follower's log ends or differs, as its leader finds it.

use std::time::Duration;

use rdb_net_types::NodeId;

use super::event::{Action, Event};
use super::log::{LogStorage, Position};
use super::message::Question;
use super::replica::Replica;

impl<S: LogStorage> Replica<S> {
    /// Where does its log end, as seen from ours?
    pub(super) fn compare(&mut self, now: Duration, node: &NodeId, last: Position, committed: u64) {
        if self.log.position(last.index) == Some(last) {
            return self.stream(node, last);
        }
        if last.index < self.log.base().index {
            return self.out_of_reach(now, node, last);
        }
        // Both have what is committed, or one of them is damaged, which the last answer shows.
        let own = self.log.last().index;
        let (low, high) = (committed.min(own).min(last.index), last.index.min(own));
        self.search(node, low, high, last);
    }

    /// One step of a search for the last common entry, by halves: digests are equal up to it, and never behind it.
    pub(super) fn narrow(
        &mut self,
        now: Duration,
        node: &NodeId,
        index: u64,
        (last, at): (Position, Position),
        (low, high): (u64, u64),
    ) {
        if at.index != index {
            return self.ask(node, Question::Last, (0, 0));
        }
        let is_common = self.log.position(index) == Some(at);
        if !is_common && index <= self.log.base().index {
            return self.out_of_reach(now, node, last);
        }
        let (low, high) = if is_common { (index, high) } else { (low, index - 1) };
        self.search(node, low, high, last);
    }

    fn search(&mut self, node: &NodeId, low: u64, high: u64, last: Position) {
        if low < high {
            // Before its base this log says nothing.
            let middle = (low + (high - low).div_ceil(2)).max(self.log.base().index);
            return self.ask(node, Question::At(middle), (low, high));
        }
        self.actions.push_back(Action::Event(Event::Differs { node: node.clone(), common: low, last }));
        self.ask(node, Question::Keep(low), (low, low));
    }
}
