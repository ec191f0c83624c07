//! From one backend to many subscribers, none of which can delay it or lose a change unnoticed.
//!
//! No runtime is needed: a subscriber is a queue behind a short lock and a waker. A queue that would grow past its limit is
//! emptied and given the current snapshot instead.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use rdb_net_types::MembershipEvent;

use crate::{DiscoveryEvent, Freshness, MembershipView, Reconciler, ReconcilerStats, Snapshot};

/// The bounds of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedConfig {
    /// Events that wait for one subscriber before a snapshot replaces them. Default 4,096, at most some 200 KiB; 0 is
    /// taken as 1.
    pub queue_events: usize,
    /// Subscribers at one time. Default 1,024.
    pub subscribers_max: usize,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { queue_events: 4_096, subscribers_max: 1_024 }
    }
}

/// Why nobody more is told of changes. The feed is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The backend has ended; no events will come.
    #[error("the source is closed")]
    Closed,
    /// Somebody in this process subscribes and does not drop its streams, or the limit is too low.
    #[error("there are {limit} subscribers already")]
    TooManySubscribers {
        /// The limit.
        limit: usize,
    },
}

/// Hands one backend's events to many subscribers. Clones share it.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    config: FeedConfig,
    snapshot: Snapshot,
    stats: ReconcilerStats,
    subscribers: BTreeMap<u64, Subscriber>,
    next_key: u64,
    lagged: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Subscriber {
    events: VecDeque<DiscoveryEvent>,
    waker: Option<Waker>,
}

impl Feed {
    /// A feed whose source has not answered yet.
    pub fn new(config: FeedConfig) -> Self {
        let snapshot = Snapshot {
            nodes: Arc::from([]),
            as_of: std::time::Duration::ZERO,
            freshness: Freshness::Never { cause: None },
        };
        let shared = Shared {
            config,
            snapshot,
            stats: ReconcilerStats::default(),
            subscribers: BTreeMap::new(),
            next_key: 0,
            lagged: 0,
            closed: false,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Takes what the reconciler has to tell, gives it to every subscriber, and returns it.
    pub fn publish(&self, reconciler: &mut Reconciler) -> Vec<DiscoveryEvent> {
        let events: Vec<_> = std::iter::from_fn(|| reconciler.poll_event()).collect();
        let mut wakers = Vec::new();
        let mut shared = self.lock();
        shared.snapshot = reconciler.snapshot();
        shared.stats = reconciler.stats();
        if !events.is_empty() {
            wakers = shared.deliver(&events);
        }
        drop(shared);
        wakers.into_iter().for_each(Waker::wake);
        events
    }

    /// A stream of everything from here on; its first event is the snapshot, at once where the source has answered.
    ///
    /// # Errors
    ///
    /// [`FeedError`] when the feed is closed or has all the subscribers it takes.
    pub fn subscribe(&self) -> Result<EventStream, FeedError> {
        let mut shared = self.lock();
        if shared.closed {
            return Err(FeedError::Closed);
        }
        let limit = shared.config.subscribers_max;
        if shared.subscribers.len() >= limit {
            return Err(FeedError::TooManySubscribers { limit });
        }
        let key = shared.next_key;
        shared.next_key += 1;
        let mut subscriber = Subscriber::default();
        if !matches!(shared.snapshot.freshness, Freshness::Never { .. }) {
            subscriber.events.push_back(DiscoveryEvent::Snapshot(shared.snapshot.clone()));
        }
        shared.subscribers.insert(key, subscriber);
        Ok(EventStream { shared: Arc::clone(&self.shared), key })
    }

    /// The list as last published.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    /// The reconciler's counters as last published.
    pub fn stats(&self) -> ReconcilerStats {
        self.lock().stats
    }

    /// How often a subscriber lagged and was given a snapshot instead.
    pub fn lagged(&self) -> u64 {
        self.lock().lagged
    }

    /// Ends every stream, once it has given what already waits in it.
    pub fn close(&self) {
        let mut shared = self.lock();
        shared.closed = true;
        let wakers: Vec<_> = shared.subscribers.values_mut().filter_map(|subscriber| subscriber.waker.take()).collect();
        drop(shared);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Shared {
    /// Queues the events; returns whom to wake once the lock is free.
    fn deliver(&mut self, events: &[DiscoveryEvent]) -> Vec<Waker> {
        let limit = self.config.queue_events.max(1);
        let mut wakers = Vec::new();
        for subscriber in self.subscribers.values_mut() {
            if subscriber.events.len() + events.len() > limit {
                self.lagged += 1;
                subscriber.events.clear();
                subscriber.events.push_back(DiscoveryEvent::Snapshot(self.snapshot.clone()));
            } else {
                subscriber.events.extend(events.iter().cloned());
            }
            wakers.extend(subscriber.waker.take());
        }
        wakers
    }
}

// A panic cannot leave the lists half changed: nothing that may panic runs under the lock.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one subscriber is told. It ends when the backend ends.
#[derive(Debug)]
pub struct EventStream {
    shared: Arc<Mutex<Shared>>,
    key: u64,
}

impl EventStream {
    /// The same changes as the specification's membership events: known nodes first as joined.
    pub fn membership(self) -> MembershipStream {
        MembershipStream { events: self, view: MembershipView::new(), ready: VecDeque::new() }
    }
}

impl Stream for EventStream {
    type Item = DiscoveryEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DiscoveryEvent>> {
        let mut shared = lock(&self.shared);
        let closed = shared.closed;
        let Some(subscriber) = shared.subscribers.get_mut(&self.key) else {
            return Poll::Ready(None);
        };
        match subscriber.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if closed => Poll::Ready(None),
            None => {
                subscriber.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let subscriber = lock(&self.shared).subscribers.remove(&self.key);
        // Its waker runs foreign code when dropped, which must not happen under the lock.
        drop(subscriber);
    }
}

/// What one subscriber is told, as membership events. It ends when the backend ends.
#[derive(Debug)]
pub struct MembershipStream {
    events: EventStream,
    view: MembershipView,
    ready: VecDeque<MembershipEvent>,
}

impl Stream for MembershipStream {
    type Item = MembershipEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<MembershipEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            match std::task::ready!(Pin::new(&mut self.events).poll_next(context)) {
                Some(event) => {
                    let told = self.view.apply(&event);
                    self.ready.extend(told);
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
