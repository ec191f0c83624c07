//! Which acknowledgements by presumption are told to the operator: as each message that tells such a commit is acknowledged, its coordinator
//! would decide how much this node logs.

use std::collections::BTreeMap;
use std::time::Duration;

use rdb_net_types::NodeId;

/// How long nothing more is told of a coordinator of which something was told.
const INTERVAL: Duration = Duration::from_secs(60);
/// Of so many coordinators something is told in an interval; all others are counted by the participant alone.
const COORDINATORS_MAX: usize = 64;

#[derive(Debug)]
struct Told {
    at: Duration,
    since: u64,
}

/// What was told of each coordinator, and how much came since.
#[derive(Debug, Default)]
pub(super) struct PresumedWarnings(BTreeMap<NodeId, Told>);

impl PresumedWarnings {
    /// Counts an acknowledgement. Where it is to be told: how many were not, since the last one that was.
    pub(super) fn count(&mut self, now: Duration, coordinator: &NodeId) -> Option<u64> {
        if let Some(told) = self.0.get_mut(coordinator) {
            if now < told.at + INTERVAL {
                told.since += 1;
                return None;
            }
            let since = told.since;
            *told = Told { at: now, since: 0 };
            return Some(since);
        }
        if self.0.len() >= COORDINATORS_MAX {
            self.0.retain(|_, told| now < told.at + INTERVAL);
        }
        if self.0.len() >= COORDINATORS_MAX {
            return None;
        }
        self.0.insert(coordinator.clone(), Told { at: now, since: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeId {
        NodeId::new(&format!("n{number}")).expect("legal")
    }

    #[test]
    fn of_a_coordinator_one_is_told_in_an_interval_with_the_number_of_the_others() {
        let mut warnings = PresumedWarnings::default();
        assert_eq!(warnings.count(Duration::ZERO, &node(1)), Some(0));
        let later = (1..=1000).filter_map(|_| warnings.count(INTERVAL - Duration::from_secs(1), &node(1)));
        assert_eq!(later.count(), 0);
        assert_eq!(warnings.count(INTERVAL / 2, &node(2)), Some(0), "another one has its own");
        assert_eq!(warnings.count(INTERVAL, &node(1)), Some(1000));
        assert_eq!(warnings.count(INTERVAL * 2, &node(1)), Some(0));
    }

    #[test]
    fn coordinators_without_number_take_bounded_memory_and_are_told_again_when_there_is_room() {
        let mut warnings = PresumedWarnings::default();
        let told = (0..10 * COORDINATORS_MAX).filter_map(|number| warnings.count(Duration::ZERO, &node(number)));
        assert_eq!((told.count(), warnings.0.len()), (COORDINATORS_MAX, COORDINATORS_MAX));
        assert_eq!(warnings.count(INTERVAL, &node(9999)), Some(0));
        assert_eq!(warnings.0.len(), 1);
    }
}
