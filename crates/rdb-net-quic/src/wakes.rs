//! What of a connection may have something to read.
//!
//! A task is woken without being told for what, and QUIC takes its lock for each stream that is asked. So each source wakes
//! through a waker of its own, which notes it; those that nobody has noted are not asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use rdb_net_types::Lane;

/// The streams of the lanes are sources by their numbers, and then there are the packets beside them,
pub(crate) const DATAGRAMS: usize = Lane::ALL.len();
/// and what the system says of the peer's port.
pub(crate) const REFUSALS: usize = DATAGRAMS + 1;
const SOURCES: usize = REFUSALS + 1;

/// A bit for each source: whether it is to be asked.
#[derive(Debug, Default)]
struct Noted(AtomicU8);

impl Noted {
    fn note(&self, source: usize) {
        self.0.fetch_or(1 << source, Ordering::AcqRel);
    }

    fn contains(&self, source: usize) -> bool {
        self.0.load(Ordering::Acquire) & (1 << source) != 0
    }

    fn forget(&self, source: usize) {
        self.0.fetch_and(!(1 << source), Ordering::AcqRel);
    }
}

/// Wakes the task for one source.
struct SourceWaker {
    noted: Arc<Noted>,
    source: usize,
    task: Waker,
}

impl Wake for SourceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.noted.note(self.source);
        self.task.wake_by_ref();
    }
}

/// The wakers of the task that a connection is with.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    noted: Arc<Noted>,
    /// The task, and what it is woken through.
    wakers: Option<(Waker, [Waker; SOURCES])>,
}

impl Wakes {
    /// Asks a source, unless nothing has come of it since it had nothing.
    pub(crate) fn poll<T>(
        &mut self,
        source: usize,
        context: &mut Context<'_>,
        ask: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Self { noted, wakers } = self;
        if wakers.as_ref().is_none_or(|(known, _)| !known.will_wake(context.waker())) {
            // Another task, which has not been woken for anything yet, asks all.
            *wakers = Some((context.waker().clone(), std::array::from_fn(|source| waker_of(noted, source, context))));
        }
        let Some((_, wakers)) = wakers.as_ref().filter(|_| noted.contains(source)) else { return Poll::Pending };
        // Forgotten before it is asked: what comes meanwhile is noted again.
        noted.forget(source);
        let asked = ask(&mut Context::from_waker(&wakers[source]));
        if asked.is_ready() {
            noted.note(source);
        }
        asked
    }

    /// A source is to be asked, whoever has found out.
    pub(crate) fn note(&self, source: usize) {
        self.noted.note(source);
    }
}

/// What wakes the task for a source, which is noted until it was asked.
fn waker_of(noted: &Arc<Noted>, source: usize, context: &Context<'_>) -> Waker {
    noted.note(source);
    Waker::from(Arc::new(SourceWaker { noted: Arc::clone(noted), source, task: context.waker().clone() }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Asks a source that has nothing, and keeps the waker that it is to wake.
    fn ask(wakes: &mut Wakes, source: usize, task: &Waker) -> Option<Waker> {
        let mut asked = None;
        let answer: Poll<()> = wakes.poll(source, &mut Context::from_waker(task), |context| {
            asked = Some(context.waker().clone());
            Poll::Pending
        });
        assert!(answer.is_pending());
        asked
    }

    #[test]
    fn a_source_is_asked_once_and_then_only_when_it_has_woken_the_task() {
        let (task, mut wakes) = (Arc::new(Task::default()), Wakes::default());
        let waker = Waker::from(Arc::clone(&task));
        let first = ask(&mut wakes, 0, &waker).expect("asked at first");
        assert!(ask(&mut wakes, 1, &waker).is_some());
        assert!(ask(&mut wakes, 0, &waker).is_none());
        first.wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 1);
        assert!(ask(&mut wakes, 1, &waker).is_none(), "another source is not asked for it");
        assert!(ask(&mut wakes, 0, &waker).is_some());
        assert!(ask(&mut wakes, 0, &waker).is_none());
    }

    #[test]
    fn a_source_that_had_something_is_asked_again() {
        let (task, mut wakes) = (Waker::from(Arc::new(Task::default())), Wakes::default());
        let mut context = Context::from_waker(&task);
        assert_eq!(wakes.poll(2, &mut context, |_| Poll::Ready(7)), Poll::Ready(7));
        assert!(ask(&mut wakes, 2, &task).is_some());
        assert!(ask(&mut wakes, 2, &task).is_none());
    }

    #[test]
    fn what_comes_while_a_source_is_asked_is_not_missed() {
        let (task, mut wakes) = (Waker::from(Arc::new(Task::default())), Wakes::default());
        let answer: Poll<()> = wakes.poll(3, &mut Context::from_waker(&task), |context| {
            context.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(answer.is_pending());
        assert!(ask(&mut wakes, 3, &task).is_some());
    }

    #[test]
    fn another_task_asks_every_source() {
        let mut wakes = Wakes::default();
        let [one, other] = [Arc::new(Task::default()), Arc::new(Task::default())];
        let (first, second) = (Waker::from(Arc::clone(&one)), Waker::from(Arc::clone(&other)));
        for source in 0..SOURCES {
            assert!(ask(&mut wakes, source, &first).is_some());
        }
        let asked: Vec<Waker> = (0..SOURCES).filter_map(|source| ask(&mut wakes, source, &second)).collect();
        assert_eq!(asked.len(), SOURCES);
        asked[0].wake_by_ref();
        assert_eq!((one.0.load(Ordering::SeqCst), other.0.load(Ordering::SeqCst)), (0, 1));
    }
}
