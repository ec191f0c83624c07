//! One connection as callers and its task share it: the session behind a short lock.
//!
//! Nobody holds the lock over an await, a system call or a handler. Whoever queues a frame wakes the connection's task only if
//! it sleeps; whoever ends requests wakes their callers after the lock is released.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use rdb_net_session::{CloseReason, InboundId, Outbox, SendError, Session, SessionStatistics};
use rdb_net_types::{Effect, Lane, NodeId, Reason};
use rdb_net_wire::{Encode, Hello, Prepared};

use crate::backend::{Datagrams, Proof};
use crate::clock::Clock;
use crate::dispatch::Verdict;
use crate::exchange::{LinkError, Wait, beyond_any_frame};
use crate::guarded::{Core, Ended};
use crate::large::{LARGE_BYTES, Parcel};
use crate::places::Places;
use crate::shard::shards;
use rdb_net_peer::LinkSide;

/// How much of a lane waits for the socket before senders let the connection's task run.
const CROWDED_BYTES: usize = 64 * 1024;

/// A connection.
pub(crate) struct Link {
    core: Padded<Mutex<Core>>,
    /// Where callers write requests, by thread; none at the end that only answers.
    pub(crate) shards: Box<[Padded<Mutex<Outbox>>]>,
    /// Where those who wrote into a shard find their outcomes.
    pub(crate) places: Box<[Places]>,
    /// The shards that something was written to, one bit each.
    pub(crate) written: Padded<AtomicU32>,
    /// Nobody needs to wake the connection's task: it runs, or will, and looks at session and shards before it sleeps.
    awake: Padded<AtomicBool>,
    task: Mutex<Option<Waker>>,
    /// So much waits for the socket that who sends more lets the connection's task run first.
    crowded: Padded<AtomicBool>,
    /// Bytes of replies that are being compressed, by lane number.
    pub(crate) elsewhere_bytes: [AtomicUsize; Lane::ALL.len()],
    /// The bits of a request's slot that tell whose it is: 0 of the session's own, otherwise the shard's number from 1.
    pub(crate) owner_mask: usize,
    pub(crate) clock: Clock,
    pub(crate) side: LinkSide,
    /// Tells connections of this process apart.
    pub(crate) number: u64,
    /// Who is at the other end, where the connection has proved it.
    pub(crate) proof: Option<Arc<Proof>>,
    /// What sends single packets beside its streams, where it has such.
    pub(crate) datagrams: Option<Arc<dyn Datagrams>>,
    /// Since when that proof would not do any more.
    outdated_since: OnceLock<Duration>,
    hello: OnceLock<Hello>,
    /// It is given to no caller any more.
    retired: AtomicBool,
}

/// Why a message was not queued at once.
#[derive(Debug)]
pub(crate) enum TryPostError {
    /// The session says why.
    Refused(SendError),
    /// It has 4 GiB or more.
    TooLarge,
}

/// Alone on its cache lines: what many threads write keeps no reader of its neighbours waiting.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl Link {
    pub(crate) fn new(
        mut session: Session,
        clock: Clock,
        side: LinkSide,
        number: u64,
        proof: Option<Arc<Proof>>,
        datagrams: Option<Arc<dyn Datagrams>>,
    ) -> Self {
        let outboxes = if side == LinkSide::Dialer { session.outboxes(shards()) } else { Vec::new() };
        let owner_mask = (outboxes.len() + 1).next_power_of_two() - 1;
        let core = Core::new(session);
        Self {
            core: Padded(Mutex::new(core)),
            places: outboxes.iter().map(|_| Places::default()).collect(),
            shards: outboxes.into_iter().map(|outbox| Padded(Mutex::new(outbox))).collect(),
            written: Padded(AtomicU32::new(0)),
            awake: Padded(AtomicBool::new(true)),
            task: Mutex::new(None),
            crowded: Padded(AtomicBool::new(false)),
            elsewhere_bytes: Default::default(),
            owner_mask,
            clock,
            side,
            number,
            proof,
            datagrams,
            outdated_since: OnceLock::new(),
            hello: OnceLock::new(),
            retired: AtomicBool::new(false),
        }
    }

    /// The task runs: nobody needs to wake it.
    #[inline]
    pub(crate) fn mark_awake(&self) {
        self.awake.0.store(true, Ordering::SeqCst);
    }

    /// The task has ended: nothing keeps it.
    pub(crate) fn forget_task(&self, core: &mut Core) {
        core.task = None;
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Wakes the connection's task, if it sleeps.
    #[inline]
    pub(crate) fn wake_task(&self) {
        if !self.awake.0.load(Ordering::SeqCst) && !self.awake.0.swap(true, Ordering::SeqCst) {
            self.wake_task_always();
        }
    }

    /// Wakes the connection's task, even one that waits for its socket: it carries on more than frames.
    pub(crate) fn wake_task_always(&self) {
        self.awake.0.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// A caller's `Encode` panicked, and left half a frame: nothing behind it can be sent any more, and everybody on the
    /// connection is told.
    #[cold]
    pub(crate) fn close_broken(&self, core: &mut Core) {
        tracing::error!(number = self.number, "code panicked while it wrote a message; the connection ends");
        core.session.close(CloseReason::Local);
    }

    /// Lets the task sleep until this waker is called, unless there is work for it. Returns whether it may sleep, and when the
    /// session is due next.
    pub(crate) fn rest(&self, core: &mut Core, waker: &Waker) -> (bool, Option<Duration>) {
        let (sleeps, due) = self.rest_until_writable(core, waker);
        let sleeps = sleeps && !core.session.wants_write();
        if !sleeps {
            self.awake.0.store(true, Ordering::SeqCst);
        }
        (sleeps, due)
    }

    /// The same for a task whose socket takes no more for the moment: frames that wait are no work for it.
    pub(crate) fn rest_until_writable(&self, core: &mut Core, waker: &Waker) -> (bool, Option<Duration>) {
        if core.task.as_ref().is_none_or(|task| !task.will_wake(waker)) {
            core.task = Some(waker.clone());
            *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
        }
        // Whoever writes from now on either is seen below or sees that the task sleeps.
        self.awake.0.store(false, Ordering::SeqCst);
        let sleeps = !core.session.has_events() && self.written.0.load(Ordering::SeqCst) == 0;
        if !sleeps {
            self.awake.0.store(true, Ordering::SeqCst);
        }
        (sleeps, core.session.poll_timeout())
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        match self.core.0.lock() {
            Ok(core) => core,
            Err(poisoned) => self.recover(poisoned.into_inner()),
        }
    }

    /// Half a frame is in the session.
    #[cold]
    fn recover<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        self.core.0.clear_poison();
        self.close_broken(&mut core);
        self.wake_task_always();
        core
    }

    /// Whether code panicked while it held the lock, and nobody has seen it yet.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.core.0.is_poisoned() || self.shards.iter().any(|shard| shard.0.is_poisoned())
    }

    /// Runs code under the lock, then wakes everybody whom it concerns.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let (mut ended, mut wakers) = (Ended::default(), Vec::new());
        let mut core = self.lock();
        let result = change(&mut core);
        core.take_ended(&mut ended);
        if core.session.is_closed() {
            core.take_blocked(&mut wakers);
        }
        drop(core);
        self.wake_task_always();
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

    /// For how long it has been known that the proof would not do any more; `None` where it is known from now on.
    pub(crate) fn outdated_for(&self) -> Option<Duration> {
        let now = self.clock.now();
        let known = self.outdated_since.get().copied();
        self.outdated_since.get_or_init(|| now);
        known.map(|since| now.saturating_sub(since))
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
        self.with(|core| {
            // What was written so far is still sent.
            self.collect(core, now);
            core.session.drain(now);
        });
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.with(|core| core.session.close(reason));
    }

    /// Ends an inbound message, with its answer.
    pub(crate) fn answer(&self, id: InboundId, verdict: Verdict) {
        let large = verdict.large().filter(|_| id.wants_reply());
        if let Some(prepared) = large.and_then(|answer| answer.prepare(self, id.lane())) {
            return self.answer_prepared(id, prepared);
        }
        self.with(|core| {
            core.forget_handler(id.correlation());
            verdict.apply(&mut core.session, id);
        });
    }

    /// Ends an inbound message with a large answer.
    pub(crate) fn answer_prepared(&self, id: InboundId, prepared: Prepared) {
        self.with(|core| {
            core.forget_handler(id.correlation());
            // A caller whose side takes no such reply is told so.
            let _told = core.session.reply_prepared(id, prepared);
        });
    }

    /// Ends an inbound message whose handler ended without an answer.
    pub(crate) fn abandon(&self, id: InboundId) {
        self.with(|core| match core.forget_handler(id.correlation()) {
            true => Verdict::Error(Effect::Unknown, Reason::Cancelled, String::new()).apply(&mut core.session, id),
            // Nobody waits: it was a one-way message, or its caller has given it up.
            false => core.session.finish(id),
        });
    }

    /// Queues a one-way message, or says why not now.
    pub(crate) fn try_post(&self, lane: Lane, message: &(impl Encode + ?Sized)) -> Result<(), TryPostError> {
        let mut large = (message.bytes_at_least() > LARGE_BYTES).then(|| self.prepare(lane, message));
        let parcel = match &mut large {
            Some(None) => return Err(TryPostError::TooLarge),
            Some(prepared) => Parcel::Large(prepared),
            None => Parcel::Small(message),
        };
        self.offer_one_way(lane, parcel).map_err(|(error, core)| {
            let frees_others = core.session.has_events();
            drop(core);
            if frees_others {
                self.wake_task();
            }
            TryPostError::Refused(error)
        })
    }

    /// Queues a one-way message, or says why not while the lock that saw it is held.
    fn offer_one_way<M: Encode + ?Sized>(
        &self,
        lane: Lane,
        mut parcel: Parcel<'_, M>,
    ) -> Result<(), (SendError, MutexGuard<'_, Core>)> {
        let mut core = self.lock();
        self.collect_written(&mut core);
        let mut offered = parcel.one_way(&mut core, lane);
        if matches!(offered, Err(SendError::NoCredit)) && self.collect_all(&mut core) {
            offered = parcel.one_way(&mut core, lane);
        }
        match offered {
            Ok(()) => {
                let is_crowded = core.session.queued_bytes_of(lane) >= CROWDED_BYTES;
                drop(core);
                if is_crowded {
                    self.crowded.0.store(true, Ordering::Relaxed);
                }
                self.wake_task();
                Ok(())
            }
            Err(error) => Err((error, core)),
        }
    }

    /// Lets the connection's task run first, where much waits for it: on a runtime of one thread, a caller that sends without
    /// end would fill all credits before the first byte leaves.
    #[inline]
    pub(crate) async fn let_task_run(&self) {
        if self.crowded.0.load(Ordering::Relaxed) && self.crowded.0.swap(false, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    /// Queues a one-way message, waiting for credits until the deadline.
    pub(crate) fn post<'a, M: Encode + ?Sized>(
        self: &'a Arc<Self>,
        lane: Lane,
        deadline: Duration,
        message: &'a M,
    ) -> impl Future<Output = Result<(), LinkError>> + 'a {
        let mut wait = Wait::new(self, deadline);
        let mut large = (message.bytes_at_least() > LARGE_BYTES).then(|| self.prepare(lane, message));
        std::future::poll_fn(move |context| {
            let parcel = match &mut large {
                Some(None) => return Poll::Ready(Err(LinkError::Ended(beyond_any_frame()))),
                Some(prepared) => Parcel::Large(prepared),
                None => Parcel::Small(message),
            };
            match self.offer_one_way(lane, parcel) {
                Ok(()) => Poll::Ready(Ok(())),
                Err((error, core)) => wait.blocked(error, core, context).map(Err),
            }
        })
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("number", &self.number).field("side", &self.side).finish_non_exhaustive()
    }
}
