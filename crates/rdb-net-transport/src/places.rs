//! Where outcomes wait for their callers: a place for each request that a shard has given out, behind a lock of its own, so
//! that a caller meets the connection's task there and nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use rdb_net_session::{Outcome, RequestId};

/// The first row has one place; each of the others has twice as many as the one before it.
const ROWS: usize = 14;

/// The places of one shard. They are made as they are needed, and stay where they are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    rows: OnceLock<Box<[Row; ROWS]>>,
}

type Row = OnceLock<Box<[Place]>>;

/// Alone on its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Place {
    /// The correlation id of the request that has it; 0 while it is free.
    request: AtomicU64,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    caller: Option<Waker>,
    outcome: Option<Outcome>,
}

impl Place {
    /// Whether a request may have it. One whose last request has ended waits until its caller has taken the outcome.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.request.load(Ordering::Acquire) == 0
    }

    /// Gives it, which is free, to a request, whose caller is woken when the outcome is there.
    #[inline(always)]
    pub(crate) fn give(&self, id: RequestId, caller: &Waker) {
        let mut content = self.lock();
        content.caller = Some(caller.clone());
        self.request.store(id.correlation(), Ordering::Relaxed);
    }

    /// What is in it, if this request has it.
    #[inline]
    fn of(&self, id: RequestId) -> Option<MutexGuard<'_, Content>> {
        let content = self.lock();
        (self.request.load(Ordering::Relaxed) == id.correlation()).then_some(content)
    }

    /// Nothing that is done under the lock panics but the clone of a foreign waker, which leaves the content as it was.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn free(&self) {
        self.request.store(0, Ordering::Release);
    }
}

impl Places {
    #[inline]
    fn get(&self, place: usize) -> Option<&Place> {
        let (row, at) = row_of(place);
        self.rows.get()?.get(row)?.get()?.get(at)
    }

    /// The place of this number; `None` where the number is larger than there may be.
    #[inline]
    pub(crate) fn get_or_make(&self, place: usize) -> Option<&Place> {
        self.get(place).or_else(|| self.make(place))
    }

    #[cold]
    fn make(&self, place: usize) -> Option<&Place> {
        let (row, at) = row_of(place);
        let rows = self.rows.get_or_init(Box::default);
        let make = || std::iter::repeat_with(Place::default).take(1 << row).collect();
        rows.get(row)?.get_or_init(make).get(at)
    }

    /// Keeps the outcome for the request's caller, and returns whom to wake. Nobody waits for a request that was left.
    #[inline(always)]
    pub(crate) fn arrive(&self, place: usize, id: RequestId, outcome: Outcome) -> Option<Waker> {
        let mut content = self.get(place)?.of(id)?;
        content.outcome = Some(outcome);
        content.caller.take()
    }

    /// The request's outcome, if it has come; otherwise this caller is woken when it does.
    #[inline(always)]
    pub(crate) fn take(&self, place: usize, id: RequestId, caller: &Waker) -> Option<Outcome> {
        let place = self.get(place)?;
        let mut content = place.of(id)?;
        match content.outcome.take() {
            None => content.caller = Some(caller.clone()),
            outcome => {
                place.free();
                return outcome;
            }
        }
        None
    }

    /// The caller leaves. Returns whether the outcome had come.
    pub(crate) fn leave(&self, place: usize, id: RequestId) -> bool {
        let Some(place) = self.get(place) else { return false };
        let Some(mut content) = place.of(id) else { return false };
        let Content { caller, outcome } = std::mem::take(&mut *content);
        place.free();
        // Foreign code runs when these are dropped.
        drop(content);
        drop(caller);
        outcome.is_some()
    }

    /// Whether all places are free.
    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        let rows = self.rows.get().into_iter().flat_map(|rows| rows.iter());
        rows.filter_map(OnceLock::get).flatten().all(|place| {
            let content = place.lock();
            place.request.load(Ordering::Relaxed) == 0 && content.caller.is_none() && content.outcome.is_none()
        })
    }
}

/// The row of a place, and where in it the place is.
#[inline]
fn row_of(place: usize) -> (usize, usize) {
    let row = (place + 1).ilog2() as usize;
    (row, place + 1 - (1 << row))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdb_net_session::Reply;
    use rdb_net_types::MessageType;

    use super::*;

    fn outcome() -> Outcome {
        Ok(Reply::new(MessageType(0x8000), Default::default(), Duration::ZERO))
    }

    #[test]
    fn every_place_is_in_one_row_and_the_rows_are_full() {
        let mut expected = (0..ROWS).flat_map(|row| (0..1 << row).map(move |at| (row, at)));
        let count = (1 << ROWS) - 1;
        assert!((0..count).all(|place| expected.next() == Some(row_of(place))));
        assert_eq!(expected.next(), None);
        assert_eq!(row_of(count).0, ROWS);
    }

    #[test]
    fn a_place_is_free_again_only_when_its_outcome_was_taken() {
        let (places, id) = (Places::default(), RequestId::from_correlation(7));
        let place = places.get_or_make(5).expect("there are as many");
        assert!(place.is_free());
        place.give(id, Waker::noop());
        assert!(!place.is_free());
        assert!(places.take(5, id, Waker::noop()).is_none());
        assert!(places.arrive(5, id, outcome()).is_some(), "the caller is to be woken");
        assert!(!place.is_free());
        assert!(places.take(5, id, Waker::noop()).is_some());
        assert!(place.is_free() && places.are_free());
    }

    #[test]
    fn an_outcome_for_a_caller_that_left_is_nobodys() {
        let (places, [old, new]) = (Places::default(), [7, 9].map(RequestId::from_correlation));
        let place = places.get_or_make(0).expect("there is one");
        place.give(old, Waker::noop());
        assert!(!places.leave(0, old), "nothing had come");
        place.give(new, Waker::noop());
        assert!(places.arrive(0, old, outcome()).is_none());
        assert!(places.take(0, new, Waker::noop()).is_none(), "the outcome was another's");
        assert!(places.arrive(0, new, outcome()).is_some());
        assert!(places.leave(0, new), "its outcome had come");
        assert!(places.are_free());
    }

    #[test]
    fn there_is_no_place_beyond_the_last_row() {
        let beyond = (1 << ROWS) - 1;
        let places = Places::default();
        assert!(places.get_or_make(beyond - 1).is_some() && places.get_or_make(beyond).is_none());
    }
}
