//! From an inbound message to its answer.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdb_net_session::{Inbound, InboundId, Replies, Session, Terms};
use rdb_net_types::{BoxFuture, Effect, Lane, MessageType, NodeId, OverloadScope, Payload, Reason};
use rdb_net_wire::{BodyWriter, Encode, Prepared, control_type};

use crate::clock::Clock;
use crate::duty::{Duty, Guarded};
use crate::handler::{Answer, Entry, HandlerError, Handling, Request, Running};
use crate::large::LARGE_BYTES;
use crate::link::Link;
use crate::transport::Inner;

/// How an inbound message ends.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// As its handler says.
    Handled(Result<Answer, HandlerError>),
    /// With an error that is not the handler's.
    Error(Effect, Reason, String),
}

impl Verdict {
    fn panicked() -> Self {
        Self::Error(Effect::Unknown, Reason::HandlerPanicked, String::new())
    }

    /// The answer, if it is one that is prepared before the connection's lock is taken.
    pub(crate) fn large(&self) -> Option<&Answer> {
        match self {
            Self::Handled(Ok(answer)) => Some(answer).filter(|answer| answer.bytes_at_least() > LARGE_BYTES),
            _ => None,
        }
    }

    /// Tells the caller.
    pub(crate) fn apply(self, out: &mut impl Out, id: InboundId) {
        match self {
            Self::Handled(result) => apply(&result, out, id),
            Self::Error(effect, reason, detail) => out.reply_error(id, effect, reason, &detail),
        }
    }
}

/// Where replies are written: into the session, or beside it.
pub(crate) trait Out {
    /// One that is too large for a frame becomes an error reply.
    fn reply(&mut self, id: InboundId, message: &(impl Encode + ?Sized));
    fn reply_error(&mut self, id: InboundId, effect: Effect, reason: Reason, detail: &str);
}

impl Out for Session {
    fn reply(&mut self, id: InboundId, message: &(impl Encode + ?Sized)) {
        let _too_large = self.reply(id, message);
    }

    fn reply_error(&mut self, id: InboundId, effect: Effect, reason: Reason, detail: &str) {
        self.reply_error(id, effect, reason, detail);
    }
}

impl Out for Replies {
    #[inline]
    fn reply(&mut self, id: InboundId, message: &(impl Encode + ?Sized)) {
        let _too_large = self.reply(id, message);
    }

    fn reply_error(&mut self, id: InboundId, effect: Effect, reason: Reason, detail: &str) {
        self.reply_error(id, effect, reason, detail);
    }
}

/// Tells the caller what its handler says.
#[inline]
fn apply(result: &Result<Answer, HandlerError>, out: &mut impl Out, id: InboundId) {
    match result {
        Ok(Answer::Payload(payload)) => out.reply(id, &Bytes(payload)),
        Ok(Answer::Empty) => out.reply(id, &Bytes(&Payload::new())),
        Ok(Answer::Message(message)) => out.reply(id, &**message),
        Err(error) => {
            let (effect, reason) = error.outcome();
            out.reply_error(id, effect, reason, &error.text);
        }
    }
}

impl Answer {
    pub(crate) fn bytes_at_least(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Payload(payload) => payload.len(),
            Self::Message(message) => message.bytes_at_least(),
        }
    }

    /// Encodes it, and compresses it where that pays.
    pub(crate) fn prepare(&self, link: &Link, lane: Lane) -> Option<Prepared> {
        match self {
            Self::Empty => None,
            Self::Payload(payload) => link.prepare(lane, &Bytes(payload)),
            Self::Message(message) => link.prepare(lane, &**message),
        }
    }
}

/// A reply of opaque bytes.
pub(crate) struct Bytes<'a>(pub(crate) &'a Payload);

impl Encode for Bytes<'_> {
    fn message_type(&self) -> MessageType {
        control_type::REPLY
    }

    fn bytes_at_least(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.share(self.0);
    }
}

/// Answers the messages of one connection.
pub(crate) struct Dispatcher {
    inner: Arc<Inner>,
    link: Arc<Link>,
    from: Option<NodeId>,
    /// The lanes whose next message waits for its handler, one bit each.
    stalled: u8,
    /// What was answered at once, until it is handed over.
    pub(crate) replies: Replies,
}

impl Dispatcher {
    pub(crate) fn new(inner: Arc<Inner>, link: Arc<Link>, terms: Terms) -> Self {
        let replies = Replies::new(terms, &inner.config.session.compression);
        Self { inner, link, from: None, stalled: 0, replies }
    }

    /// Handles messages in their order. Those of the data lanes are left over as soon as the answers of their lane have no more of its room;
    /// those of a lane whose next one waits for its handler are left over until the task runs again.
    pub(crate) fn handle(&mut self, inbox: &mut VecDeque<Inbound>, rooms: [usize; Lane::ALL.len()], now: Duration) {
        if inbox.is_empty() {
            return;
        }
        if self.from.is_none() {
            self.from = self.link.node().cloned();
        }
        // It is put back below; a connection that was let in has a name.
        let Some(from) = self.from.take() else {
            return inbox
                .drain(..)
                .for_each(|message| self.refuse(message.id, Reason::Draining, "the peer has no name"));
        };
        // Bursts are mostly of one type, so its handler is looked up once; a new handler counts from the next burst.
        let mut turn = Turn::default();
        let clock = self.link.clock;
        let mut since = clock.now();
        let mut left_over = VecDeque::new();
        while let Some(message) = inbox.pop_front() {
            let has_room =
                message.lane == Lane::System || self.replies.bytes_of(message.lane) < rooms[message.lane as usize];
            if !has_room || self.is_stalled(message.lane) {
                left_over.push_back(message);
                continue;
            }
            if message.deadline.is_some_and(|deadline| deadline <= now) {
                self.refuse(message.id, Reason::Expired, "");
                continue;
            }
            if turn.message_type != Some(message.message_type) {
                turn.count_time(clock, &mut since);
                turn = Turn::of(message.message_type, self.inner.handlers.find(message.message_type));
            }
            if let Some(message) = self.handle_one(&from, message, &mut turn) {
                self.stalled |= 1 << message.lane as u8;
                left_over.push_back(message);
            }
        }
        turn.count_time(clock, &mut since);
        drop(turn);
        if !left_over.is_empty() {
            *inbox = left_over;
        }
        while let Some((id, prepared, compression)) = self.replies.poll_elsewhere() {
            self.link.answer_elsewhere(&self.inner, id, prepared, compression);
        }
        self.from = Some(from);
    }

    /// Whether a message of this lane waits for its handler.
    pub(crate) fn is_stalled(&self, lane: Lane) -> bool {
        self.stalled & 1 << lane as u8 != 0
    }

    /// Lanes whose messages wait for their handlers try again.
    pub(crate) fn try_again(&mut self) {
        self.stalled = 0;
    }

    /// No handler saw it.
    #[cold]
    fn refuse(&mut self, id: InboundId, reason: Reason, text: &str) {
        self.replies.reply_error(id, Effect::NotStarted, reason, text);
    }

    /// Returns a message that has to wait for its handler.
    #[inline]
    fn handle_one(&mut self, from: &NodeId, message: Inbound, turn: &mut Turn) -> Option<Inbound> {
        let Some(entry) = &turn.entry else {
            self.unhandled(message);
            return None;
        };
        if !turn.has_place && !entry.enter() {
            if !message.id.wants_reply() && !entry.enter_or_wait(&self.link) {
                return Some(message);
            } else if message.id.wants_reply() {
                entry.count_overload();
                self.refuse(message.id, Reason::Overloaded(OverloadScope::Handler), "");
                return None;
            }
        }
        turn.has_place = true;
        let (message_type, deadline, wants_stream) = (message.message_type, message.deadline, message.wants_stream);
        let (id, request) = parts(message);
        match entry.run(from, || request) {
            Ok(Handling::Ready(result)) => {
                turn.ready += 1;
                apply(&result, &mut self.replies, id);
            }
            Ok(Handling::Later(future)) => {
                // The place goes with the future.
                turn.has_place = false;
                let running = Running(Arc::clone(entry));
                let is_ready = self.later(id, Origin { from, message_type, deadline }, running, future);
                turn.ready += u32::from(is_ready);
            }
            Ok(Handling::Stream(_)) if !wants_stream => {
                apply(&Err(HandlerError::not_one_reply()), &mut self.replies, id);
            }
            Ok(Handling::Stream(answers)) => {
                turn.has_place = false;
                let running = Running(Arc::clone(entry));
                let written = Arc::clone(&self.link).write_stream(id.stream(), answers);
                self.spawn(id, Origin { from, message_type, deadline }, running, Guarded(Box::pin(written)));
            }
            Err(_) => self.panicked(id, message_type, from),
        }
        None
    }

    /// A message of a type that nobody registered for: a heartbeat is answered by the transport itself, and the rest goes to
    /// whoever asks for unhandled messages.
    fn unhandled(&mut self, message: Inbound) {
        let (id, request) = parts(message);
        if request.message_type == MessageType::HEARTBEAT {
            apply(&Ok(Answer::Empty), &mut self.replies, id);
        } else if id.wants_reply() {
            self.refuse(id, Reason::UnknownType, &request.message_type.to_string());
        } else {
            self.inner.keep_unhandled(&self.link, id, request);
        }
    }

    #[cold]
    fn panicked(&mut self, id: InboundId, message_type: MessageType, from: &NodeId) {
        tracing::error!(%message_type, peer = %from, "a handler panicked");
        Verdict::panicked().apply(&mut self.replies, id);
    }

    /// Polls the handler once; if it is not ready, gives it a task. Returns whether it was ready.
    fn later(
        &mut self,
        id: InboundId,
        origin: Origin<'_>,
        running: Running,
        future: BoxFuture<'static, Result<Answer, HandlerError>>,
    ) -> bool {
        let mut future = Guarded(future);
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut future).poll(&mut nobody) {
            Poll::Ready(Some(result)) => apply(&result, &mut self.replies, id),
            Poll::Ready(None) => self.panicked(id, origin.message_type, origin.from),
            Poll::Pending => {
                self.spawn(id, origin, running, future);
                return false;
            }
        }
        true
    }

    /// Gives a handler a task. A request's ends with the request, a one-way message's with the transport at the latest.
    fn spawn(&mut self, id: InboundId, origin: Origin<'_>, running: Running, future: Guarded) {
        let Origin { from, message_type, deadline } = origin;
        let correlation = id.correlation();
        if correlation != 0 && !self.link.lock().expect_handler(correlation) {
            return self.replies.finish(id);
        }
        let duty = Duty::new(Arc::clone(&self.link), id);
        let until = deadline.map(|deadline| self.link.clock.instant(deadline));
        let (inner, peer) = (Arc::clone(&self.inner), from.clone());
        let began = self.link.clock.now();
        let clock = self.link.clock;
        let task = async move {
            let in_time = async {
                match until {
                    Some(until) => tokio::time::timeout_at(until, future).await.ok(),
                    None => Some(future.await),
                }
            };
            match inner.cancel.run_until_cancelled(in_time).await {
                Some(Some(Some(result))) => duty.end(Verdict::Handled(result)),
                Some(Some(None)) => {
                    tracing::error!(%message_type, %peer, "a handler panicked");
                    duty.end(Verdict::panicked());
                }
                Some(None) => duty.end(Verdict::Error(Effect::Unknown, Reason::Expired, String::new())),
                None => drop(duty),
            }
            running.0.count_time(clock.now().saturating_sub(began), 1);
            drop(running);
        };
        // Without the lock: a runtime that ends drops the task here and now, and its duty takes the lock.
        let task = self.inner.tasks.spawn(task);
        if correlation != 0 {
            self.link.lock().set_handler(correlation, task.abort_handle());
        }
    }
}

/// What a handler's task has to know of its message.
#[derive(Clone, Copy)]
struct Origin<'a> {
    from: &'a NodeId,
    message_type: MessageType,
    deadline: Option<Duration>,
}

/// What a handler gets of a message, and the duty to end it.
fn parts(message: Inbound) -> (InboundId, Request) {
    let Inbound { id, message_type, lane, wants_stream, deadline, body } = message;
    let wants_reply = id.wants_reply();
    (id, Request { message_type, lane, deadline, wants_reply, wants_stream, body })
}

/// The handler of a run of messages of one type, and its place among those under way: one place for all that are ready at
/// once, since they are handled one behind the other.
#[derive(Default)]
struct Turn {
    message_type: Option<MessageType>,
    entry: Option<Arc<Entry>>,
    has_place: bool,
    /// How many messages were answered at once.
    ready: u32,
}

impl Turn {
    fn of(message_type: MessageType, entry: Option<Arc<Entry>>) -> Self {
        Self { message_type: Some(message_type), entry, ..Self::default() }
    }

    /// Counts how long the messages took that were answered at once: all of the turn, since the last one ended.
    fn count_time(&self, clock: Clock, since: &mut Duration) {
        if let Some(entry) = self.entry.as_ref().filter(|_| self.ready > 0) {
            let began = std::mem::replace(since, clock.now());
            entry.count_time(since.saturating_sub(began), self.ready);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.as_ref().filter(|_| self.has_place) {
            entry.leave();
        }
    }
}
