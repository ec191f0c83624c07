//! The event bus: everything that happens, to everybody who asked, without waiting for anybody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use rdb_net_types::NodeInfo;
use tokio::sync::Notify;

use crate::control::NetworkEvent;

/// How many events wait for one subscriber. Beyond it they are dropped, and the subscriber is told and given the members as
/// they are.
const QUEUE_EVENTS_MAX: usize = 4096;
/// How many subscribers there are at most.
const SUBSCRIBERS_MAX: usize = 256;

const LOCKED: &str = "no code panics while it holds this lock";

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<NetworkEvent>,
    missed: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Subscriber {
    queue: Mutex<Queue>,
    filled: Notify,
}

type Members = Arc<dyn Fn() -> Vec<Arc<NodeInfo>> + Send + Sync>;

/// Where events are published.
pub(crate) struct EventBus {
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
    members: Members,
}

impl EventBus {
    pub(crate) fn new(members: Members) -> Self {
        Self { subscribers: Mutex::new(Vec::new()), members }
    }

    pub(crate) fn publish(&self, event: &NetworkEvent) {
        let mut subscribers = self.subscribers.lock().expect(LOCKED);
        subscribers.retain(|subscriber| {
            let Some(subscriber) = subscriber.upgrade() else { return false };
            let mut queue = subscriber.queue.lock().expect(LOCKED);
            if queue.missed > 0 || queue.events.len() == QUEUE_EVENTS_MAX {
                queue.missed += 1;
            } else {
                queue.events.push_back(event.clone());
            }
            drop(queue);
            subscriber.filled.notify_one();
            true
        });
    }

    /// Events from here on. At the limit of subscribers, a subscription that has ended already.
    pub(crate) fn subscribe(&self) -> EventSubscription {
        let subscriber = Arc::new(Subscriber::default());
        let mut subscribers = self.subscribers.lock().expect(LOCKED);
        subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        if subscribers.len() < SUBSCRIBERS_MAX {
            subscribers.push(Arc::downgrade(&subscriber));
        } else {
            subscriber.queue.lock().expect(LOCKED).closed = true;
        }
        EventSubscription { subscriber, members: Arc::clone(&self.members) }
    }

    pub(crate) fn close(&self) {
        for subscriber in self.subscribers.lock().expect(LOCKED).iter().filter_map(Weak::upgrade) {
            subscriber.queue.lock().expect(LOCKED).closed = true;
            subscriber.filled.notify_one();
        }
    }
}

/// Events for one subscriber, in order.
pub struct EventSubscription {
    subscriber: Arc<Subscriber>,
    members: Members,
}

impl EventSubscription {
    /// The next event; `None` once the node is shut down. A subscriber that was too slow first gets what it had, then
    /// [`NetworkEvent::Lagged`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<NetworkEvent> {
        loop {
            {
                let mut queue = self.subscriber.queue.lock().expect(LOCKED);
                if let Some(event) = queue.events.pop_front() {
                    return Some(event);
                }
                if queue.missed > 0 {
                    let missed = std::mem::take(&mut queue.missed);
                    drop(queue);
                    return Some(NetworkEvent::Lagged { missed, members: (self.members)() });
                }
                if queue.closed {
                    return None;
                }
            }
            self.subscriber.filled.notified().await;
        }
    }
}

impl std::fmt::Debug for EventSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSubscription").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(members: usize) -> NetworkEvent {
        NetworkEvent::Joined { members }
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_that_it_lagged_and_gets_a_snapshot() {
        let bus = EventBus::new(Arc::new(Vec::new));
        let mut slow = bus.subscribe();
        (0..QUEUE_EVENTS_MAX + 3).for_each(|count| bus.publish(&joined(count)));
        for count in 0..QUEUE_EVENTS_MAX {
            assert_eq!(slow.next().await, Some(joined(count)));
        }
        assert_eq!(slow.next().await, Some(NetworkEvent::Lagged { missed: 3, members: Vec::new() }));
        bus.publish(&joined(1));
        assert_eq!(slow.next().await, Some(joined(1)));
        bus.close();
        assert_eq!(slow.next().await, None);
    }

    #[tokio::test]
    async fn subscribers_beyond_the_limit_get_nothing() {
        let bus = EventBus::new(Arc::new(Vec::new));
        let mut all: Vec<_> = (0..SUBSCRIBERS_MAX).map(|_| bus.subscribe()).collect();
        assert_eq!(bus.subscribe().next().await, None);
        all.pop();
        let mut next = bus.subscribe();
        bus.publish(&joined(1));
        assert_eq!(next.next().await, Some(joined(1)));
    }
}
