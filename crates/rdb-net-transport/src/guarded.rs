//! What a connection's lock guards: its session, and who waits for what of it.

use std::collections::HashMap;
use std::task::Waker;

use rdb_net_session::{CloseReason, Outcome, RequestId, Session};
use tokio::task::AbortHandle;

use crate::blocked::Blocked;

/// Requests that have ended, on their way to their callers.
#[derive(Default)]
pub(crate) struct Ended {
    /// Of requests that were written into shards.
    pub(crate) outcomes: Vec<(RequestId, Outcome)>,
    /// Who takes the outcomes of the session's own, or news of streams, from the session.
    pub(crate) callers: Vec<Waker>,
}

impl Ended {
    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.callers.is_empty()
    }
}

/// What the lock guards.
pub(crate) struct Core {
    pub(crate) session: Session,
    /// Who sleeps in which of the session's own request slots.
    callers: Vec<Option<Waker>>,
    pub(crate) blocked: Blocked,
    /// The waker that the link has of its task.
    pub(crate) task: Option<Waker>,
    /// Whether the outboxes know the connection for up.
    pub(crate) outboxes_take: bool,
    /// Handlers that write a stream of replies and wait for its credits, by correlation id.
    pub(crate) stream_writers: HashMap<u64, Waker>,
    /// Handlers that have a task, by correlation id, so that a cancelled request ends its handler.
    pub(crate) handlers: HashMap<u64, Option<AbortHandle>>,
    completed: Vec<RequestId>,
}

impl Core {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            callers: Vec::new(),
            blocked: Blocked::default(),
            task: None,
            outboxes_take: false,
            stream_writers: HashMap::new(),
            handlers: HashMap::new(),
            completed: Vec::new(),
        }
    }

    /// Takes the requests that have ended.
    pub(crate) fn take_ended(&mut self, ended: &mut Ended) {
        if !self.session.has_completed() {
            return;
        }
        self.session.drain_ended(&mut ended.outcomes);
        self.session.drain_completed(&mut self.completed);
        for id in self.completed.drain(..) {
            ended.callers.extend(self.callers.get_mut(id.slot()).and_then(Option::take));
        }
    }

    pub(crate) fn take_blocked(&mut self, wakers: &mut Vec<Waker>) {
        self.blocked.take(wakers);
        wakers.extend(self.stream_writers.drain().map(|(_, writer)| writer));
    }

    pub(crate) fn take_stream_writer(&mut self, correlation: u64, wakers: &mut Vec<Waker>) {
        wakers.extend(self.stream_writers.remove(&correlation));
    }

    /// A request's handler is given a task; whoever ends the request takes it out again. `false` where another request of this
    /// id is open: the other side may not do that, and its connection ends.
    pub(crate) fn expect_handler(&mut self, correlation: u64) -> bool {
        if self.handlers.contains_key(&correlation) {
            self.session.close(CloseReason::Protocol("a correlation id that is in use"));
            return false;
        }
        self.handlers.insert(correlation, None);
        true
    }

    /// Keeps the handler's task, unless the request has ended meanwhile.
    pub(crate) fn set_handler(&mut self, correlation: u64, handler: AbortHandle) {
        match self.handlers.get_mut(&correlation) {
            Some(expected) => *expected = Some(handler),
            None => handler.abort(),
        }
    }

    /// The handler has ended. Returns whether it had a task that somebody waits for.
    pub(crate) fn forget_handler(&mut self, correlation: u64) -> bool {
        self.stream_writers.remove(&correlation);
        self.handlers.remove(&correlation).is_some()
    }

    pub(crate) fn end_handler(&mut self, correlation: u64) {
        if let Some(Some(handler)) = self.handlers.remove(&correlation) {
            handler.abort();
        }
    }

    pub(crate) fn end_all_handlers(&mut self) {
        self.handlers.drain().filter_map(|(_, handler)| handler).for_each(|handler| handler.abort());
    }

    pub(crate) fn set_caller(&mut self, id: RequestId, waker: &Waker) {
        let slot = id.slot();
        if self.callers.len() <= slot {
            self.callers.resize_with(slot + 1, || None);
        }
        self.callers[slot] = Some(waker.clone());
    }

    pub(crate) fn clear_caller(&mut self, id: RequestId) {
        if let Some(caller) = self.callers.get_mut(id.slot()) {
            *caller = None;
        }
    }
}
