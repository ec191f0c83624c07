//! The task of one connection: it moves bytes and time between socket and session, and decides nothing.
//!
//! A pass reads what is there, wakes the callers whose requests ended, and runs the handlers. If callers were woken it lets
//! them run before it writes, so that what they queue next leaves in the same system call.

mod apart;
mod datagrams;
mod farewell;

use std::collections::VecDeque;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdb_net_session::{Arrivals, Batch, CloseReason, Event, Inbound, Loss, Terms};
use rdb_net_types::Lane;
use tokio::time::Sleep;

use crate::backend::{Connection, loss_of};
use crate::clock::wall_clock;
use crate::dispatch::Dispatcher;
use crate::guarded::Ended;
use crate::input::Input;
use crate::link::Link;
use crate::owner::Owner;
use crate::transport::Inner;
use apart::Apart;
use farewell::Ending;

/// Reads and writes of one pass, so that one busy connection leaves others their turn.
const READS_PER_PASS: usize = 8;
const WRITES_PER_PASS: usize = 16;
const SLICES_PER_WRITE: usize = 32;
/// How long a farewell may take to leave and to be taken.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    link: Arc<Link>,
    owner: Owner,
    dispatcher: Dispatcher,
    io: Box<dyn Connection>,
    /// Where each lane has a stream of its own: what is read of them and written to them.
    apart: Option<Box<Apart>>,
    /// The session has something to say beside the streams.
    beats: bool,
    input: Input,
    /// When this pass began.
    now: Duration,
    terms: Terms,
    arrivals: Arrivals,
    /// The batch being written, and how many of its bytes have left.
    writing: Option<(Batch, usize)>,
    /// Whether bytes that the connection took may wait in it.
    buffers_writes: bool,
    /// Some may.
    unflushed: bool,
    reply_backlog_bytes: usize,
    /// How many bytes of replies are handed over at once, so that urgent frames wait for no more.
    batch_bytes: usize,
    ending: Ending,
    /// Callers were woken since the last write.
    woke_callers: bool,
    /// Messages wait in the session because the replies to others have no room.
    held_back: bool,
    /// The session was looked at since the pass began.
    pumped: bool,
    /// Nothing was left to do when the last frame was written.
    sleeps: bool,
    /// When the session is due next.
    due: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    armed: Duration,
    /// The timer was set since it was last polled.
    timer_set: bool,
    inbox: VecDeque<Inbound>,
    wakers: Vec<Waker>,
    ended: Ended,
    events: Vec<Event>,
}

/// Whether a part of a pass left something undone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    More,
}

impl Progress {
    /// What is left undone by one part or the other.
    fn or(self, other: Self) -> Self {
        if self == Self::More { self } else { other }
    }
}

impl Driver {
    pub(crate) fn new(inner: &Arc<Inner>, link: Arc<Link>, owner: Owner, mut io: Box<dyn Connection>) -> Self {
        let now = link.clock.now();
        let apart = io.lanes().is_some().then(Box::default);
        if apart.is_some() {
            link.lock().session.set_apart();
        }
        if link.datagrams.as_ref().is_some_and(|datagrams| datagrams.bytes_max() > 0) {
            link.lock().session.set_datagrams();
        }
        let terms = link.lock().session.terms();
        Self {
            dispatcher: Dispatcher::new(Arc::clone(inner), Arc::clone(&link), terms),
            timer: Box::pin(tokio::time::sleep_until(link.clock.instant(now))),
            armed: now,
            link,
            owner,
            buffers_writes: io.buffers_writes(),
            unflushed: false,
            io,
            apart,
            beats: false,
            input: Input::default(),
            now,
            terms,
            arrivals: Arrivals::default(),
            writing: None,
            reply_backlog_bytes: inner.config.reply_backlog_bytes,
            batch_bytes: inner.config.session.batch_bytes,
            ending: Ending::Open,
            woke_callers: false,
            held_back: false,
            pumped: false,
            sleeps: false,
            due: None,
            timer_set: true,
            inbox: VecDeque::new(),
            wakers: Vec::new(),
            ended: Ended::default(),
            events: Vec::new(),
        }
    }

    /// Reads what is there, and does what it asks for.
    fn read(&mut self, context: &mut Context<'_>) -> Progress {
        if self.apart.is_some() {
            return self.read_datagrams(context).or(self.read_apart(context));
        }
        for _ in 0..READS_PER_PASS {
            if self.ending != Ending::Open {
                return Progress::Done;
            }
            let wanted = self.terms.bytes_wanted(&self.input.bytes);
            match self.input.poll_read(Pin::new(&mut *self.io), context, wanted) {
                Poll::Pending => return Progress::Done,
                Poll::Ready(Ok(0)) => self.lost(Loss::Eof),
                Poll::Ready(Ok(_)) => self.pump(true),
                Poll::Ready(Err(error)) => self.lost(loss_of(&error)),
            }
        }
        Progress::More
    }

    fn lost(&mut self, loss: Loss) {
        self.link.lock().session.handle_lost(loss);
        self.writing = None;
        self.forget_apart();
        self.pump(false);
    }

    /// Takes in what was read, and carries on what the session has for callers, handlers and owner, until it has nothing more.
    fn pump(&mut self, mut has_read: bool) {
        self.pumped = true;
        loop {
            // Frames are read and checked before the lock is taken: callers wait for no more than what the frames do.
            let mut core = loop {
                let more = has_read && self.arrivals.read(self.terms, &mut self.input.bytes);
                let mut core = self.link.lock();
                // What is left over goes back to the head of its lane: its caller may have left meanwhile.
                while let Some(message) = self.inbox.pop_back() {
                    core.session.put_back(message);
                }
                if has_read {
                    core.session.handle_arrivals(self.now, &mut self.arrivals);
                    self.terms = core.session.terms();
                }
                if !more {
                    break core;
                }
            };
            has_read = false;
            if self.now >= self.armed {
                core.session.tell_wall_clock(self.now, wall_clock());
                core.session.handle_timeout(self.now);
                self.armed = Duration::MAX;
            }
            if !self.dispatcher.replies.is_empty() {
                core.session.take_replies(&mut self.dispatcher.replies);
            }
            core.session.tell_time(self.now);
            self.link.collect(&mut core, self.now);
            core.take_ended(&mut self.ended);
            while let Some(event) = core.session.poll_event() {
                self.events.push(event);
            }
            // Handlers of the data lanes wait while their replies have no room; those of the System lane never do.
            let rooms = Lane::ALL.map(|lane| {
                let elsewhere_bytes = self.link.elsewhere_bytes[lane as usize].load(Ordering::Relaxed);
                let waiting = core.session.queued_bytes_of(lane) + elsewhere_bytes;
                self.reply_backlog_bytes.saturating_sub(waiting)
            });
            // Whoever brings a reply from elsewhere wakes the task.
            self.held_back = rooms[1..].contains(&0) && core.session.queued_bytes() > 0;
            let has_room = |lane: Lane| lane == Lane::System || rooms[lane as usize] > 0;
            let is_wanted = |lane| has_room(lane) && !self.dispatcher.is_stalled(lane);
            core.session.take_messages(is_wanted, &mut self.inbox);
            let is_quiet = self.inbox.is_empty() && self.events.is_empty();
            self.woke_callers |= !self.ended.is_empty();
            if is_quiet && !self.woke_callers && self.writing.is_none() && self.apart.is_none() {
                self.writing = core.session.take_batch(self.now).map(|batch| (batch, 0));
            }
            drop(core);
            self.link.deliver(&mut self.ended);
            if is_quiet {
                return;
            }
            if !self.events.is_empty() {
                std::mem::take(&mut self.events).into_iter().for_each(|event| self.handle_event(event));
                // Whoever was let in may send more than a hello.
                self.terms = self.link.lock().session.terms();
                self.dispatcher.replies.set_terms(self.terms);
            }
            // Those who were held back may send, or find out that they may not.
            self.woke_callers |= !self.wakers.is_empty();
            self.wakers.drain(..).for_each(Waker::wake);
            self.dispatcher.handle(&mut self.inbox, rooms.map(|room| room.min(self.batch_bytes)), self.now);
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Writable => self.link.lock().take_blocked(&mut self.wakers),
            Event::StreamWritable { correlation } => {
                self.link.lock().take_stream_writer(correlation, &mut self.wakers);
            }
            Event::Cancelled { correlation } => self.link.lock().end_handler(correlation),
            Event::Closed(reason) => {
                let socket_lives = !matches!(reason, CloseReason::Lost(_) | CloseReason::HelloTimeout);
                self.ending = Ending::Farewell { socket_lives };
                if let Some(code) = reason.code() {
                    self.io.tell_end(code as u16);
                }
                let mut core = self.link.lock();
                core.take_blocked(&mut self.wakers);
                core.end_all_handlers();
                drop(core);
                self.arm(self.now + FAREWELL_TIMEOUT);
                self.owner.closed(&self.link, reason);
            }
            other => self.owner.event(&self.link, &other),
        }
    }

    /// Writes what waits, as far as the socket takes it. Unless something is left to do, the task counts as asleep then.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<Progress> {
        if self.apart.is_some() {
            return self.write_apart(context);
        }
        for _ in 0..WRITES_PER_PASS {
            if self.unflushed && self.flush(context).is_pending() {
                (self.sleeps, self.due) = self.link.rest_until_writable(&mut self.link.lock(), context.waker());
                return Poll::Pending;
            }
            let Some((batch, written)) = &mut self.writing else {
                let mut core = self.link.lock();
                let Some(batch) = core.session.take_batch(self.now) else {
                    (self.sleeps, self.due) = self.link.rest(&mut core, context.waker());
                    return Poll::Ready(Progress::Done);
                };
                drop(core);
                self.writing = Some((batch, 0));
                continue;
            };
            if *written == 0 {
                batch.seal(self.now);
            }
            let mut slices: [IoSlice<'_>; SLICES_PER_WRITE] = std::array::from_fn(|_| IoSlice::new(&[]));
            let filled = batch.buffer().io_slices(*written, &mut slices);
            let io: Pin<&mut dyn Connection> = Pin::new(&mut *self.io);
            let wrote = match &slices[..filled] {
                [whole] => io.poll_write(context, whole),
                pieces => io.poll_write_vectored(context, pieces),
            };
            match wrote {
                Poll::Pending => {
                    (self.sleeps, self.due) = self.link.rest_until_writable(&mut self.link.lock(), context.waker());
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count)) if count > 0 => {
                    *written += count;
                    self.unflushed = self.buffers_writes;
                }
                Poll::Ready(Ok(_)) => self.lost(Loss::Io),
                Poll::Ready(Err(error)) => self.lost(loss_of(&error)),
            }
            if let Some((batch, _)) = self.writing.take_if(|(batch, written)| *written == batch.buffer().len()) {
                let mut core = self.link.lock();
                core.session.recycle(batch);
                self.link.collect(&mut core, self.now);
                if self.unflushed {
                    continue;
                }
                let Some(batch) = core.session.take_batch(self.now) else {
                    (self.sleeps, self.due) = self.link.rest(&mut core, context.waker());
                    return Poll::Ready(Progress::Done);
                };
                drop(core);
                self.writing = Some((batch, 0));
            }
        }
        Poll::Ready(Progress::More)
    }

    /// What waits in the connection leaves.
    fn flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let io: Pin<&mut dyn Connection> = Pin::new(&mut *self.io);
        let flushed = std::task::ready!(io.poll_flush(context));
        self.unflushed = false;
        if let Err(error) = flushed {
            self.lost(loss_of(&error));
        }
        Poll::Ready(())
    }

    fn arm(&mut self, at: Duration) {
        self.armed = at;
        self.timer_set = true;
        self.timer.as_mut().reset(self.link.clock.instant(at));
    }

    /// Keeps the timer armed for what is due next. It may ring early: a deadline that moved away costs a ring. Returns whether
    /// it rings already.
    fn keep_time(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(due) = self.due.filter(|due| *due < self.armed) {
            self.arm(due.max(self.now + Duration::from_millis(1)));
        }
        std::mem::take(&mut self.timer_set) && self.timer.as_mut().poll(context).is_ready()
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.now = this.link.clock.now();
        this.link.mark_awake();
        if this.ending != Ending::Open {
            return this.end(context);
        }
        this.pumped = false;
        this.dispatcher.try_again();
        this.begin_apart(context);
        let read = this.read(context);
        if !this.pumped {
            this.pump(false);
        }
        if this.ending != Ending::Open {
            return this.end(context);
        }
        if std::mem::take(&mut this.woke_callers) {
            // They run first, and what they queue leaves with the rest.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = this.write(context);
        this.owner.look(&this.link, this.now);
        if this.ending != Ending::Open {
            return this.end(context);
        }
        this.end_apart(context);
        let again = this.keep_time(context)
            || !this.sleeps
            || read == Progress::More
            || written == Poll::Ready(Progress::More)
            || (this.held_back && written.is_ready());
        if again {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("link", &self.link).finish_non_exhaustive()
    }
}
