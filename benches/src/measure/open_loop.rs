//! Calls that begin at fixed times, whether earlier ones have ended or not.
//!
//! A closed loop asks less while the peer is slow, and so leaves out the very latencies that matter (G. Tene's "coordinated
//! omission"). Here the schedule is made before the run, and a latency counts from the moment at which its call was due: what
//! made the call start late counts as well. Nothing is left out: a call that could not be made, or did not end, counts with the
//! time that it had waited when the run was over, and is told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::measure::window::{histogram, payload, quantiles};
use crate::measure::{Caller, Latency};
use crate::peers::PeerError;
use crate::workload::Workload;

/// Tasks that call, each one call at a time. Beyond it a due call waits, and its latency grows.
const OPEN_MAX: usize = 2048;
/// How long after its last due time a run waits for what is open.
const GRACE: Duration = Duration::from_secs(2);

/// What is asked of a peer.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// The payload.
    pub workload: Workload,
    /// Calls that begin in a second.
    pub calls_per_second: f64,
    /// Calls that are due before this do not count.
    pub warm_up: Duration,
    /// For how long calls are due that count.
    pub length: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// Calls that were due in a second.
    pub calls_per_second: f64,
    /// Calls that counted.
    pub calls: u64,
    /// Of these, those that had no answer when the run was over.
    pub unanswered: u64,
    /// From the moment at which a call was due.
    pub latency: Latency,
    /// The longest, in microseconds.
    pub longest_us: f64,
}

impl Offer {
    fn due(&self, start: Instant, number: u64) -> Instant {
        start + Duration::from_secs_f64(number as f64 / self.calls_per_second)
    }
}

/// What those who call share.
struct Calls<C> {
    caller: C,
    payload: Bytes,
    offer: Offer,
    start: Instant,
    /// A permit for each call that is due and not begun.
    due: Semaphore,
    /// The number of the next one to begin.
    next: AtomicU64,
    answers: Mutex<Answers>,
}

#[derive(Debug)]
struct Answers {
    latencies: Histogram<u32>,
    /// By number.
    is_answered: Vec<bool>,
    count: u64,
    /// Answers to earlier calls do not count.
    first_counted: u64,
}

impl Answers {
    fn record(&mut self, number: u64, latency: Duration) {
        if number >= self.first_counted {
            self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

impl<C: Caller> Calls<C> {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one due call after the other.
    async fn work(self: Arc<Self>) -> Result<(), PeerError> {
        while let Ok(permit) = self.due.acquire().await {
            permit.forget();
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let reply = self.caller.call(self.payload.clone()).await?;
            let latency = self.offer.due(self.start, number).elapsed();
            if reply.len() != self.payload.len() {
                return Err(PeerError::Protocol("the reply is not as long as the request"));
            }
            let mut answers = self.answers();
            answers.record(number, latency);
            answers.is_answered[number as usize] = true;
            answers.count += 1;
        }
        Ok(())
    }
}

/// Makes the calls of `offer`, and waits for their answers.
///
/// The task that says which are due never sleeps: a timer's millisecond would be hundreds of calls. It lets all others run
/// between two looks at the clock.
///
/// # Errors
///
/// The first error of a call; [`PeerError::Protocol`] when an answer is not as long as its request.
pub async fn offer<C: Caller>(caller: C, offer: &Offer) -> Result<Offered, PeerError> {
    let payload = payload(offer.workload);
    // The connection is made before the first call is due.
    caller.call(payload.clone()).await?;
    let count = |length: Duration| (length.as_secs_f64() * offer.calls_per_second) as u64;
    let (calls, first_counted) = (count(offer.warm_up + offer.length), count(offer.warm_up));
    let is_answered = vec![false; calls as usize];
    let answers = Mutex::new(Answers { latencies: histogram(3), is_answered, count: 0, first_counted });
    let (due, next, start) = (Semaphore::new(0), AtomicU64::new(0), Instant::now());
    let shared = Arc::new(Calls { caller, payload, offer: *offer, start, due, next, answers });
    let mut workers = JoinSet::new();
    (0..OPEN_MAX).for_each(|_| drop(workers.spawn(Arc::clone(&shared).work())));
    let over = offer.due(start, calls) + GRACE;
    let mut told = 0;
    while shared.answers().count < calls && Instant::now() < over {
        let due = (count(start.elapsed()) + 1).min(calls);
        shared.due.add_permits((due - told) as usize);
        told = due;
        if let Some(ended) = workers.try_join_next() {
            ended.map_err(|_| PeerError::ConnectionLost("a caller panicked"))??;
        }
        tokio::task::yield_now().await;
    }
    workers.abort_all();
    let end = Instant::now();
    let mut answers = shared.answers();
    let unanswered: Vec<u64> = (first_counted..calls).filter(|number| !answers.is_answered[*number as usize]).collect();
    for number in &unanswered {
        answers.record(*number, end.saturating_duration_since(offer.due(start, *number)));
    }
    Ok(Offered {
        calls_per_second: offer.calls_per_second,
        calls: calls - first_counted,
        unanswered: unanswered.len() as u64,
        latency: quantiles(&answers.latencies),
        longest_us: answers.latencies.max() as f64 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, except that it holds up everybody once, for a while.
    #[derive(Clone)]
    struct Stalling {
        begin: Instant,
        stall: Duration,
    }

    impl Caller for Stalling {
        async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
            let (from, to) = (Duration::from_millis(100), Duration::from_millis(100) + self.stall);
            if (from..to).contains(&self.begin.elapsed()) {
                std::thread::sleep(to.saturating_sub(self.begin.elapsed()));
            }
            Ok(payload)
        }

        async fn send(&self, _: Bytes) -> Result<(), PeerError> {
            Err(PeerError::NotOffered)
        }

        async fn barrier(&self) -> Result<u64, PeerError> {
            Err(PeerError::NotOffered)
        }
    }

    #[tokio::test]
    async fn a_stall_counts_for_every_call_that_was_due_in_it() {
        let stall = Duration::from_millis(100);
        let caller = Stalling { begin: Instant::now(), stall };
        let ask = Offer {
            workload: Workload::W2,
            calls_per_second: 1_000.0,
            warm_up: Duration::ZERO,
            length: Duration::from_millis(400),
        };
        let offered = offer(caller, &ask).await.unwrap();
        assert_eq!((offered.calls, offered.unanswered), (400, 0));
        // A quarter of the calls was due while nobody was answered: a closed loop would have seen one long call.
        assert!(offered.latency.p99_us > 80_000.0, "{offered:?}");
        assert!(offered.longest_us > 90_000.0, "{offered:?}");
    }

    /// Never answers after the first call.
    #[derive(Clone)]
    struct Silent(Arc<std::sync::atomic::AtomicBool>);

    impl Caller for Silent {
        async fn call(&self, payload: Bytes) -> Result<Bytes, PeerError> {
            if self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Ok(payload)
        }

        async fn send(&self, _: Bytes) -> Result<(), PeerError> {
            Err(PeerError::NotOffered)
        }

        async fn barrier(&self) -> Result<u64, PeerError> {
            Err(PeerError::NotOffered)
        }
    }

    #[tokio::test]
    async fn a_call_without_an_answer_counts_with_what_it_waited() {
        let ask = Offer {
            workload: Workload::W2,
            calls_per_second: 100.0,
            warm_up: Duration::ZERO,
            length: Duration::from_millis(50),
        };
        let offered = offer(Silent(Arc::default()), &ask).await.unwrap();
        assert_eq!((offered.calls, offered.unanswered), (5, 5));
        assert!(offered.latency.p50_us >= 2_000_000.0, "{offered:?}");
    }
}
