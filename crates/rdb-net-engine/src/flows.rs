//! Which links carry traffic of the application, and until when that is believed.
//!
//! Only those are asked about on an interval: membership watches everybody as it is, and an idle link that were asked about each
//! second would cost more than all of membership. Who drives the engine tells of traffic now and then while there is some, and
//! nothing of its end; so a link is taken for quiet when it was not told of for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_net_types::NodeId;

/// Nodes whose link carries traffic.
#[derive(Debug)]
pub(crate) struct Flows {
    quiet_after: Duration,
    last: BTreeMap<NodeId, Duration>,
    /// When each is looked at again: not later than its traffic could have ended. One entry for each node of `last`.
    looks: BTreeSet<(Duration, NodeId)>,
}

impl Flows {
    pub(crate) fn new(quiet_after: Duration) -> Self {
        Self { quiet_after, last: BTreeMap::new(), looks: BTreeSet::new() }
    }

    /// The link with this node has carried something. Gives whether it was quiet before.
    pub(crate) fn note(&mut self, now: Duration, node: &NodeId) -> bool {
        match self.last.get_mut(node) {
            Some(last) => {
                *last = now;
                false
            }
            None => {
                self.last.insert(node.clone(), now);
                self.looks.insert((now + self.quiet_after, node.clone()));
                true
            }
        }
    }

    /// There is no link with this node any more.
    pub(crate) fn end(&mut self, node: &NodeId) {
        if self.last.remove(node).is_some() {
            self.looks.retain(|(_, other)| other != node);
        }
    }

    /// The next link that has become quiet.
    pub(crate) fn poll_quiet(&mut self, now: Duration) -> Option<NodeId> {
        while self.looks.first().is_some_and(|(at, _)| *at <= now) {
            let (_, node) = self.looks.pop_first()?;
            let quiet_at = self.last.get(&node).map(|last| *last + self.quiet_after);
            match quiet_at.filter(|at| *at > now) {
                Some(at) => {
                    self.looks.insert((at, node));
                }
                None => {
                    self.last.remove(&node);
                    return Some(node);
                }
            }
        }
        None
    }

    /// When [`poll_quiet`](Self::poll_quiet) may have something.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// How many links carry traffic.
    pub(crate) fn len(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(10);

    fn id(n: usize) -> NodeId {
        NodeId::new(&format!("n{n}")).expect("legal")
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_link_is_quiet_once_nothing_was_told_of_it_for_a_while() {
        let mut flows = Flows::new(QUIET);
        assert!(flows.note(secs(1), &id(1)));
        assert!(!flows.note(secs(7), &id(1)), "it carries traffic already");
        assert_eq!((flows.poll_quiet(secs(11)), flows.len()), (None, 1));
        assert_eq!(flows.poll_timeout(), Some(secs(17)));
        assert_eq!(flows.poll_quiet(secs(17)), Some(id(1)));
        assert_eq!((flows.poll_quiet(secs(17)), flows.poll_timeout(), flows.len()), (None, None, 0));
        assert!(flows.note(secs(20), &id(1)), "it begins anew");
    }

    #[test]
    fn a_link_that_ends_leaves_nothing_to_look_at() {
        let mut flows = Flows::new(QUIET);
        flows.note(secs(1), &id(1));
        flows.note(secs(2), &id(2));
        flows.end(&id(1));
        flows.end(&id(3));
        assert_eq!((flows.poll_timeout(), flows.len()), (Some(secs(12)), 1));
        assert_eq!(flows.poll_quiet(secs(30)), Some(id(2)));
    }
}
