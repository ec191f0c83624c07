//! One connection as callers and its task share it: the session behind a short lock.
//!
//! Nobody holds the lock over an await, a system call or a handler. Whoever queues a frame wakes the connection's task only if
//! it sleeps; whoever ends requests wakes their callers after the lock is released.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use rdb_net_session::{CloseReason, InboundId, Outcome, RequestId, SendError, Session, SessionStatistics};
use rdb_net_types::{Effect, Lane, NodeId, Reason};
use rdb_net_wire::{Encode, Hello};
use tokio::task::AbortHandle;

use crate::blocked::Blocked;
use crate::clock::Clock;
use crate::dispatch::Verdict;
use crate::exchange::{LinkError, Wait};
use crate::mail::Mail;
use rdb_net_peer::LinkSide;

/// A connection.
pub(crate) struct Link {
    core: Padded<Mutex<Core>>,
    /// Outcomes on their way to callers.
    pub(crate) mail: Mail,
    pub(crate) clock: Clock,
    pub(crate) side: LinkSide,
    /// Tells connections of this process apart.
    pub(crate) number: u64,
    hello: OnceLock<Hello>,
    /// It is given to no caller any more.
    retired: AtomicBool,
}

/// Alone on its cache lines: what many threads write keeps no reader of its neighbours waiting.
#[repr(align(128))]
struct Padded<T>(T);

/// What the lock guards.
pub(crate) struct Core {
    pub(crate) session: Session,
    /// Who sleeps in which request slot.
    callers: Vec<Option<Waker>>,
    pub(crate) blocked: Blocked,
    task: Option<Waker>,
    /// The connection's task runs, or will, and looks at the queue before it sleeps.
    task_awake: bool,
    /// Handlers that have a task, by correlation id, so that a cancelled request ends its handler.
    pub(crate) handlers: HashMap<u64, AbortHandle>,
    completed: Vec<RequestId>,
}

/// A request that has ended, on its way to its caller.
pub(crate) struct Ended {
    id: RequestId,
    outcome: Outcome,
    caller: Option<Waker>,
}

impl Core {
    /// The task's waker, if it sleeps; it counts as awake from now on.
    #[inline]
    pub(crate) fn wake_task(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.task_awake, true) { None } else { self.task.clone() }
    }

    /// Lets the task sleep until this waker is called, unless there is work for it. Returns whether it may sleep, and when the
    /// session is due next.
    pub(crate) fn rest(&mut self, waker: &Waker) -> (bool, Option<Duration>) {
        let idle = !self.session.wants_write();
        let (sleeps, due) = self.rest_until_writable(waker);
        self.task_awake |= !idle;
        (sleeps && idle, due)
    }

    /// The same for a task whose socket takes no more for the moment: frames that wait are no work for it.
    pub(crate) fn rest_until_writable(&mut self, waker: &Waker) -> (bool, Option<Duration>) {
        if self.task.as_ref().is_none_or(|task| !task.will_wake(waker)) {
            self.task = Some(waker.clone());
        }
        // It is woken for new requests even then: their time counts from when it sees them.
        self.task_awake = self.session.has_events();
        (!self.task_awake, self.session.poll_timeout())
    }

    /// Takes the outcomes of requests that have ended, and their callers' wakers.
    pub(crate) fn take_ended(&mut self, ended: &mut Vec<Ended>) {
        if !self.session.has_completed() {
            return;
        }
        self.session.drain_completed(&mut self.completed);
        for id in self.completed.drain(..) {
            let caller = self.callers.get_mut(id.slot()).and_then(Option::take);
            if let Some(outcome) = self.session.take_outcome(id) {
                ended.push(Ended { id, outcome, caller });
            }
        }
    }

    pub(crate) fn take_blocked(&mut self, wakers: &mut Vec<Waker>) {
        self.blocked.take(wakers);
    }

    /// Keeps the handler's task of a request. Whoever ends the request takes it out again.
    pub(crate) fn set_handler(&mut self, correlation: u64, handler: AbortHandle) {
        self.handlers.insert(correlation, handler);
    }

    pub(crate) fn end_handler(&mut self, correlation: u64) {
        if let Some(handler) = self.handlers.remove(&correlation) {
            handler.abort();
        }
    }

    pub(crate) fn end_all_handlers(&mut self) {
        self.handlers.drain().for_each(|(_, handler)| handler.abort());
    }

    #[inline]
    pub(crate) fn set_caller(&mut self, id: RequestId, waker: &Waker) {
        let slot = id.slot();
        if self.callers.len() <= slot {
            self.callers.resize_with(slot + 1, || None);
        }
        match &mut self.callers[slot] {
            Some(caller) if caller.will_wake(waker) => {}
            caller => *caller = Some(waker.clone()),
        }
    }

    pub(crate) fn clear_caller(&mut self, id: RequestId) {
        if let Some(caller) = self.callers.get_mut(id.slot()) {
            *caller = None;
        }
    }
}

impl Link {
    pub(crate) fn new(session: Session, clock: Clock, side: LinkSide, number: u64) -> Self {
        let core = Core {
            session,
            callers: Vec::new(),
            blocked: Blocked::default(),
            task: None,
            task_awake: true,
            handlers: HashMap::new(),
            completed: Vec::new(),
        };
        Self {
            core: Padded(Mutex::new(core)),
            mail: Mail::default(),
            clock,
            side,
            number,
            hello: OnceLock::new(),
            retired: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        match self.core.0.lock() {
            Ok(core) => core,
            Err(poisoned) => self.recover(poisoned.into_inner()),
        }
    }

    /// A caller's `Encode` panicked, and left half a frame: the connection ends, and everybody on it is told.
    #[cold]
    fn recover<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        self.core.0.clear_poison();
        tracing::error!(number = self.number, "code panicked while it held a connection, which ends");
        core.session.close(CloseReason::Local);
        core
    }

    /// Whether code panicked while it held the lock, and nobody has seen it yet.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.core.0.is_poisoned()
    }

    /// Gives ended requests to their callers.
    pub(crate) fn deliver(&self, ended: &mut Vec<Ended>) {
        for Ended { id, outcome, caller } in ended.drain(..) {
            self.mail.deliver(id, outcome);
            if let Some(caller) = caller {
                caller.wake();
            }
        }
    }

    /// Runs code under the lock, then wakes everybody whom it concerns.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let (mut ended, mut wakers) = (Vec::new(), Vec::new());
        let mut core = self.lock();
        let result = change(&mut core);
        core.take_ended(&mut ended);
        if core.session.is_closed() {
            core.take_blocked(&mut wakers);
        }
        // The task is woken even while it waits for its socket: it carries events on as well.
        core.task_awake = true;
        wakers.extend(core.task.clone());
        drop(core);
        self.deliver(&mut ended);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// The other side's hello, once the connection was up.
    pub(crate) fn hello(&self) -> Option<&Hello> {
        self.hello.get()
    }

    pub(crate) fn set_hello(&self, hello: Hello) {
        // Set once, by the connection's task.
        let _first = self.hello.set(hello);
    }

    pub(crate) fn node(&self) -> Option<&NodeId> {
        self.hello().map(|hello| &hello.node)
    }

    #[inline]
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Callers look for another connection from now on.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.lock().session.is_up()
    }

    pub(crate) fn statistics(&self) -> (SessionStatistics, usize) {
        let core = self.lock();
        (core.session.statistics(), core.session.queued_bytes())
    }

    pub(crate) fn drain(&self) {
        let now = self.clock.now();
        self.with(|core| core.session.drain(now));
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.with(|core| core.session.close(reason));
    }

    /// Ends an inbound message, with its answer.
    pub(crate) fn answer(&self, id: InboundId, verdict: Verdict) {
        self.with(|core| {
            core.handlers.remove(&id.correlation());
            verdict.apply(&mut core.session, id);
        });
    }

    /// Ends an inbound message whose handler ended without an answer.
    pub(crate) fn abandon(&self, id: InboundId) {
        self.with(|core| match core.handlers.remove(&id.correlation()) {
            Some(_) => Verdict::Error(Effect::Unknown, Reason::Cancelled, String::new()).apply(&mut core.session, id),
            // Nobody waits: it was a one-way message, or its caller has given it up.
            None => core.session.finish(id),
        });
    }

    /// Queues a one-way message, or says why not now.
    pub(crate) fn try_post(&self, lane: Lane, message: &(impl Encode + ?Sized)) -> Result<(), SendError> {
        let mut core = self.lock();
        core.session.one_way(lane, message)?;
        let task = core.wake_task();
        drop(core);
        if let Some(task) = task {
            task.wake();
        }
        Ok(())
    }

    /// Queues a one-way message, waiting for credits until the deadline.
    pub(crate) fn post<'a, M: Encode + ?Sized>(
        self: &'a Arc<Self>,
        lane: Lane,
        deadline: Duration,
        message: &'a M,
    ) -> impl Future<Output = Result<(), LinkError>> + 'a {
        let mut wait = Wait::new(self, deadline);
        std::future::poll_fn(move |context| {
            let mut core = self.lock();
            match core.session.one_way(lane, message) {
                Ok(()) => {
                    let task = core.wake_task();
                    drop(core);
                    if let Some(task) = task {
                        task.wake();
                    }
                    Poll::Ready(Ok(()))
                }
                Err(error) => wait.blocked(error, core, context).map(Err),
            }
        })
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("number", &self.number).field("side", &self.side).finish_non_exhaustive()
    }
}
