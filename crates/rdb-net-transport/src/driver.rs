//! The task of one connection: it moves bytes and time between socket and session, and decides nothing.
//!
//! A pass reads what is there, wakes the callers whose requests ended, and runs the handlers. If callers were woken it lets
//! them run before it writes, so that what they queue next leaves in the same system call.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use rdb_net_session::{Batch, Event, Inbound, InboundId, Loss};
use rdb_net_types::Lane;
use tokio::time::Sleep;

use crate::backend::Connection;
use crate::dispatch::{Dispatcher, Verdict};
use crate::link::Link;
use crate::transport::{Inner, Owner};

/// How much a read asks for, where the frame at hand does not ask for more.
const READ_BYTES: usize = 64 * 1024;
/// Room below which the read buffer is renewed.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Reads and writes of one pass, so that one busy connection leaves others their turn.
const READS_PER_PASS: usize = 8;
const WRITES_PER_PASS: usize = 16;
const SLICES_PER_WRITE: usize = 32;
/// How long a farewell may take to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    link: Arc<Link>,
    owner: Owner,
    dispatcher: Dispatcher,
    io: Box<dyn Connection>,
    input: BytesMut,
    /// The batch being written, and how many of its bytes have left.
    writing: Option<(Batch, usize)>,
    reply_backlog_bytes: usize,
    read_open: bool,
    closed: bool,
    /// Callers were woken since the last write.
    woke_callers: bool,
    /// Messages wait in the session because the replies to others have no room.
    held_back: bool,
    /// The session was looked at since the pass began.
    pumped: bool,
    timer: Pin<Box<Sleep>>,
    armed: Duration,
    /// The timer was set since it was last polled.
    timer_set: bool,
    inbox: Vec<Inbound>,
    answers: Vec<(InboundId, Verdict)>,
    wakers: Vec<Waker>,
    events: Vec<Event>,
}

/// Whether a part of a pass left something undone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    More,
}

impl Driver {
    pub(crate) fn new(inner: &Arc<Inner>, link: Arc<Link>, owner: Owner, io: Box<dyn Connection>) -> Self {
        let now = link.clock.now();
        Self {
            dispatcher: Dispatcher::new(Arc::clone(inner), Arc::clone(&link)),
            timer: Box::pin(tokio::time::sleep_until(link.clock.instant(now))),
            armed: now,
            link,
            owner,
            io,
            input: BytesMut::with_capacity(READ_BYTES),
            writing: None,
            reply_backlog_bytes: inner.config.reply_backlog_bytes,
            read_open: true,
            closed: false,
            woke_callers: false,
            held_back: false,
            pumped: false,
            timer_set: true,
            inbox: Vec::new(),
            answers: Vec::new(),
            wakers: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Reads what is there.
    fn read(&mut self, context: &mut Context<'_>) -> Progress {
        for _ in 0..READS_PER_PASS {
            if !self.read_open {
                return Progress::Done;
            }
            let wanted = self.link.lock().session.bytes_wanted(&self.input);
            let room = self.input.capacity() - self.input.len();
            if room < wanted || room < READ_BYTES_MIN {
                self.input.reserve(wanted.max(READ_BYTES));
            }
            let io: Pin<&mut dyn Connection> = Pin::new(&mut *self.io);
            match tokio_util::io::poll_read_buf(io, context, &mut self.input) {
                Poll::Pending => return Progress::Done,
                Poll::Ready(Ok(0)) => self.lost(Loss::Eof),
                Poll::Ready(Ok(_)) => self.take_in(),
                Poll::Ready(Err(error)) => self.lost(loss_of(&error)),
            }
        }
        Progress::More
    }

    fn lost(&mut self, loss: Loss) {
        self.read_open = false;
        self.link.lock().session.handle_lost(loss);
        self.writing = None;
        self.pump();
    }

    fn take_in(&mut self) {
        let now = self.link.clock.now();
        let mut core = self.link.lock();
        core.session.handle_input(now, &mut self.input);
        drop(core);
        self.pump();
    }

    /// Carries on what the session has for callers, handlers and owner, until it has nothing more.
    fn pump(&mut self) {
        loop {
            let now = self.link.clock.now();
            let mut core = self.link.lock();
            for (id, verdict) in self.answers.drain(..) {
                verdict.apply(&mut core.session, id);
            }
            core.take_ended(&mut self.wakers);
            while let Some(event) = core.session.poll_event() {
                self.events.push(event);
            }
            // Handlers of the data lanes wait while their replies have no room; those of the System lane never do.
            let has_room = core.session.queued_bytes() < self.reply_backlog_bytes;
            for lane in Lane::ALL.into_iter().filter(|lane| has_room || *lane == Lane::System) {
                while let Some(message) = core.session.poll_message(lane) {
                    self.inbox.push(message);
                }
            }
            drop(core);
            self.pumped = true;
            self.held_back = !has_room;
            self.woke_callers |= !self.wakers.is_empty();
            self.wakers.drain(..).for_each(Waker::wake);
            if self.inbox.is_empty() && self.events.is_empty() {
                return;
            }
            for event in std::mem::take(&mut self.events) {
                self.handle_event(event);
            }
            self.dispatcher.handle(&mut self.inbox, &mut self.answers, now);
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Writable => self.link.lock().take_blocked(&mut self.wakers),
            Event::Cancelled { correlation } => self.link.lock().end_handler(correlation),
            Event::Closed(reason) => {
                self.closed = true;
                self.read_open = false;
                let mut core = self.link.lock();
                core.take_blocked(&mut self.wakers);
                core.end_all_handlers();
                drop(core);
                self.wakers.drain(..).for_each(Waker::wake);
                self.arm(self.link.clock.now() + FAREWELL_TIMEOUT);
                self.owner.closed(&self.link, reason);
            }
            other => self.owner.event(&self.link, &other),
        }
    }

    /// Writes what waits, as far as the socket takes it.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<Progress> {
        for _ in 0..WRITES_PER_PASS {
            let Some((batch, written)) = &mut self.writing else {
                let Some(mut batch) = self.link.lock().session.take_batch() else {
                    return Poll::Ready(Progress::Done);
                };
                batch.seal(self.link.clock.now());
                self.writing = Some((batch, 0));
                continue;
            };
            let mut slices: [IoSlice<'_>; SLICES_PER_WRITE] = std::array::from_fn(|_| IoSlice::new(&[]));
            let filled = batch.buffer().io_slices(*written, &mut slices);
            let io: Pin<&mut dyn Connection> = Pin::new(&mut *self.io);
            match io.poll_write_vectored(context, &slices[..filled]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => *written += count,
                Poll::Ready(Ok(_)) => self.lost(Loss::Io),
                Poll::Ready(Err(error)) => self.lost(loss_of(&error)),
            }
            if let Some((batch, _)) = self.writing.take_if(|(batch, written)| *written == batch.buffer().len()) {
                self.link.lock().session.recycle(batch);
            }
        }
        Poll::Ready(Progress::More)
    }

    fn arm(&mut self, at: Duration) {
        self.armed = at;
        self.timer_set = true;
        self.timer.as_mut().reset(self.link.clock.instant(at));
    }

    /// Does what is due, and keeps the timer armed. The timer may ring early: a deadline that moved away costs a ring.
    fn keep_time(&mut self, context: &mut Context<'_>) {
        while self.timer.as_mut().poll(context).is_ready() {
            if self.closed {
                // The farewell did not leave in time.
                self.writing = None;
                self.link.lock().session.handle_lost(Loss::TimedOut);
                return;
            }
            let now = self.link.clock.now();
            self.link.lock().session.handle_timeout(now);
            self.pump();
            if !self.closed {
                let next = self.link.lock().session.poll_timeout().unwrap_or(now + Duration::from_secs(3600));
                self.arm(next.max(now + Duration::from_millis(1)));
            }
        }
    }

    fn rearm(&mut self, next: Option<Duration>) {
        if let Some(next) = next.filter(|next| *next < self.armed) {
            self.arm(next);
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.pumped = false;
        let read = this.read(context);
        this.keep_time(context);
        if !this.pumped {
            this.pump();
        }
        if std::mem::take(&mut this.woke_callers) && !this.closed {
            // They run first, and what they queue leaves with the rest.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = this.write(context);
        let mut core = this.link.lock();
        let nothing_left = written.is_ready() && this.writing.is_none() && !core.session.wants_write();
        if this.closed && nothing_left {
            drop(core);
            // The stream ends after the farewell; an error here changes nothing any more.
            let io: Pin<&mut dyn Connection> = Pin::new(&mut *this.io);
            let _ended = io.poll_shutdown(context);
            return Poll::Ready(());
        }
        let next = if this.closed { None } else { core.session.poll_timeout() };
        let sleeps = core.sleep_unless_work(context.waker(), written.is_pending());
        drop(core);
        this.rearm(next);
        let again = !sleeps
            || read == Progress::More
            || written == Poll::Ready(Progress::More)
            || (this.held_back && written.is_ready())
            || (std::mem::take(&mut this.timer_set) && this.timer.as_mut().poll(context).is_ready());
        if again {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn loss_of(error: &std::io::Error) -> Loss {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Loss::Reset,
        ErrorKind::TimedOut => Loss::TimedOut,
        ErrorKind::UnexpectedEof => Loss::Eof,
        _ => Loss::Io,
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("link", &self.link).finish_non_exhaustive()
    }
}
