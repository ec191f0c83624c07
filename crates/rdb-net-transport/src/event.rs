//! What a transport tells of its peers, in order, for whoever drives the engine.

use std::collections::VecDeque;
use std::sync::Mutex;

use rdb_net_peer::PeerEvent;
use tokio::sync::Notify;

/// How many events wait at most for a slow reader. Beyond it the oldest are dropped and counted.
const EVENTS_MAX: usize = 16 * 1024;

/// The events' queue: any task puts, one takes.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    state: Mutex<(VecDeque<PeerEvent>, u64)>,
    filled: Notify,
}

impl EventQueue {
    pub(crate) fn push(&self, event: PeerEvent) {
        let mut state = self.state.lock().expect("no code panics while it holds this lock");
        if state.0.len() == EVENTS_MAX {
            state.0.pop_front();
            state.1 += 1;
        }
        state.0.push_back(event);
        drop(state);
        self.filled.notify_one();
    }

    pub(crate) async fn next(&self) -> PeerEvent {
        loop {
            let event = self.state.lock().expect("no code panics while it holds this lock").0.pop_front();
            if let Some(event) = event {
                return event;
            }
            self.filled.notified().await;
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().expect("no code panics while it holds this lock").1
    }
}
