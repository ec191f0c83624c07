//! What happens next to whom: sixteen bytes an item, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Something that happens. What arrives comes before a timer of the same moment: an answer that came in time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// The packet in this place arrives.
    Packet(u32),
    /// This member may have something due.
    Timer(u32),
}

/// Items by their times in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Agenda(BinaryHeap<Reverse<(u64, Item)>>);

impl Agenda {
    pub(crate) fn push(&mut self, at: Duration, item: Item) {
        self.0.push(Reverse((ns(at), item)));
    }

    /// The next item up to this moment, the moment itself included.
    pub(crate) fn pop(&mut self, end: Duration) -> Option<(Duration, Item)> {
        if self.0.peek()?.0.0 > ns(end) {
            return None;
        }
        self.0.pop().map(|Reverse((at, item))| (Duration::from_nanos(at), item))
    }
}

fn ns(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_comes_before_a_timer_of_the_same_moment() {
        let at = Duration::from_millis;
        let mut agenda = Agenda::default();
        agenda.push(at(5), Item::Timer(1));
        agenda.push(at(5), Item::Packet(9));
        agenda.push(at(2), Item::Timer(7));
        agenda.push(at(6), Item::Packet(0));
        let order: Vec<Item> = std::iter::from_fn(|| agenda.pop(at(5))).map(|(_, item)| item).collect();
        assert_eq!(order, [Item::Timer(7), Item::Packet(9), Item::Timer(1)]);
    }

    #[test]
    fn an_item_has_sixteen_bytes() {
        assert_eq!(size_of::<(u64, Item)>(), 16);
    }
}
