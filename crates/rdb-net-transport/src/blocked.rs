//! The callers who wait for credits or slots of one connection.

use std::task::Waker;

/// All are woken together; a place tells each caller whether it was. As many wakers are kept as callers wait.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    wakers: Vec<Option<Waker>>,
    /// Places that were left without a wake-up.
    free: Vec<usize>,
    /// How often they were woken.
    round: u64,
}

/// A caller's place among those of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockedPlace {
    round: u64,
    index: usize,
}

impl Blocked {
    /// Keeps one waker a caller, however often it looks.
    pub(crate) fn wait(&mut self, place: Option<BlockedPlace>, waker: &Waker) -> BlockedPlace {
        let index = match place.filter(|place| place.round == self.round) {
            Some(place) => place.index,
            None => self.free.pop().unwrap_or_else(|| {
                self.wakers.push(None);
                self.wakers.len() - 1
            }),
        };
        self.wakers[index] = Some(waker.clone());
        BlockedPlace { round: self.round, index }
    }

    /// A caller waits no longer.
    pub(crate) fn leave(&mut self, place: BlockedPlace) {
        if place.round == self.round {
            self.wakers[place.index] = None;
            self.free.push(place.index);
        }
    }

    pub(crate) fn take(&mut self, wakers: &mut Vec<Waker>) {
        self.round += 1;
        self.free.clear();
        wakers.extend(self.wakers.drain(..).flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_looks_often_and_one_that_leaves_keep_no_waker() {
        let (mut blocked, mut woken) = (Blocked::default(), Vec::new());
        let mut place = None;
        for _ in 0..100 {
            place = Some(blocked.wait(place, Waker::noop()));
            let other = blocked.wait(None, Waker::noop());
            blocked.leave(other);
        }
        assert_eq!(blocked.wakers.len(), 2);
        blocked.take(&mut woken);
        assert_eq!(woken.len(), 1);
        let next = blocked.wait(None, Waker::noop());
        blocked.leave(place.expect("it waited"));
        blocked.take(&mut woken);
        assert_eq!((woken.len(), next.index), (2, 0), "a place of a former round is nobody's");
    }
}
