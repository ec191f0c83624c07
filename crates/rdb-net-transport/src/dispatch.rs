//! From an inbound message to its answer.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdb_net_session::{Inbound, InboundId, Replies, Session, Terms};
use rdb_net_types::{BoxFuture, Effect, Lane, MessageType, NodeId, OverloadScope, Payload, Reason};
use rdb_net_wire::{BodyWriter, Encode, Prepared, control_type};

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
            let effect = if error.started { Effect::Unknown } else { Effect::NotStarted };
            out.reply_error(id, effect, Reason::HandlerFailed, &error.text);
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
    /// What was answered at once, until it is handed over.
    pub(crate) replies: Replies,
}

impl Dispatcher {
    pub(crate) fn new(inner: Arc<Inner>, link: Arc<Link>, terms: Terms) -> Self {
        let replies = Replies::new(terms, &inner.config.session.compression);
        Self { inner, link, from: None, replies }
    }

    /// Handles messages in their order. Those of the data lanes are left over as soon as the answers have some `room_bytes`.
    pub(crate) fn handle(&mut self, inbox: &mut VecDeque<Inbound>, room_bytes: usize, now: Duration) {
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
        while inbox.front().is_some_and(|next| next.lane == Lane::System || self.replies.bytes() < room_bytes)
            && let Some(message) = inbox.pop_front()
        {
            if message.deadline.is_some_and(|deadline| deadline <= now) {
                self.refuse(message.id, Reason::Expired, "");
                continue;
            }
            if turn.message_type != Some(message.message_type) {
                turn = Turn::of(message.message_type, self.inner.handlers.find(message.message_type));
            }
            self.handle_one(&from, message, &mut turn);
        }
        while let Some((id, prepared, compression)) = self.replies.poll_elsewhere() {
            self.link.answer_elsewhere(&self.inner, id, prepared, compression);
        }
        self.from = Some(from);
    }

    /// No handler saw it.
    #[cold]
    fn refuse(&mut self, id: InboundId, reason: Reason, text: &str) {
        self.replies.reply_error(id, Effect::NotStarted, reason, text);
    }

    #[inline]
    fn handle_one(&mut self, from: &NodeId, message: Inbound, turn: &mut Turn) {
        let Inbound { id, message_type, lane, wants_stream, deadline, body } = message;
        let wants_reply = id.wants_reply();
        let request = || Request { message_type, lane, deadline, wants_reply, wants_stream, body };
        let Some(entry) = &turn.entry else {
            return self.unhandled(id, request());
        };
        if !turn.has_place && !entry.enter() {
            return self.refuse(id, Reason::Overloaded(OverloadScope::Handler), "");
        }
        turn.has_place = true;
        match entry.run(from, request) {
            Ok(Handling::Ready(result)) => apply(&result, &mut self.replies, id),
            Ok(Handling::Later(future)) => {
                // The place goes with the future.
                turn.has_place = false;
                let running = Running(Arc::clone(entry));
                self.later(id, Origin { from, message_type, deadline }, running, future);
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
    }

    /// A message of a type that nobody registered for: a heartbeat is answered by the transport itself, and the rest goes to
    /// whoever asks for unhandled messages.
    fn unhandled(&mut self, id: InboundId, request: Request) {
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

    /// Polls the handler once; if it is not ready, gives it a task.
    fn later(
        &mut self,
        id: InboundId,
        origin: Origin<'_>,
        running: Running,
        future: BoxFuture<'static, Result<Answer, HandlerError>>,
    ) {
        let mut future = Guarded(future);
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut future).poll(&mut nobody) {
            Poll::Ready(Some(result)) => apply(&result, &mut self.replies, id),
            Poll::Ready(None) => self.panicked(id, origin.message_type, origin.from),
            Poll::Pending => self.spawn(id, origin, running, future),
        }
    }

    /// Gives a handler a task. A request's ends with the request, a one-way message's with the transport at the latest.
    fn spawn(&self, id: InboundId, origin: Origin<'_>, running: Running, future: Guarded) {
        let Origin { from, message_type, deadline } = origin;
        let correlation = id.correlation();
        let duty = Duty::new(Arc::clone(&self.link), id);
        let until = deadline.map(|deadline| self.link.clock.instant(deadline));
        let (inner, peer) = (Arc::clone(&self.inner), from.clone());
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
            drop(running);
        };
        // The task cannot end its message before it is kept: that takes the same lock.
        let mut core = self.link.lock();
        let task = self.inner.tasks.spawn(task);
        if correlation != 0 {
            core.set_handler(correlation, task.abort_handle());
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

/// The handler of a run of messages of one type, and its place among those under way: one place for all that are ready at
/// once, since they are handled one behind the other.
#[derive(Default)]
struct Turn {
    message_type: Option<MessageType>,
    entry: Option<Arc<Entry>>,
    has_place: bool,
}

impl Turn {
    fn of(message_type: MessageType, entry: Option<Arc<Entry>>) -> Self {
        Self { message_type: Some(message_type), entry, has_place: false }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.as_ref().filter(|_| self.has_place) {
            entry.leave();
        }
    }
}

/// A handler's future whose panic is an outcome: `None`.
struct Guarded(BoxFuture<'static, Result<Answer, HandlerError>>);

impl Future for Guarded {
    type Output = Option<Result<Answer, HandlerError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

/// The duty to end an inbound message even when its handler's task is aborted.
pub(crate) struct Duty {
    link: Arc<Link>,
    id: Option<InboundId>,
}

impl Duty {
    pub(crate) fn new(link: Arc<Link>, id: InboundId) -> Self {
        Self { link, id: Some(id) }
    }

    /// Ends it with an answer that was encoded before.
    pub(crate) fn end_prepared(mut self, prepared: Prepared) {
        if let Some(id) = self.id.take() {
            self.link.answer_prepared(id, prepared);
        }
    }

    fn end(mut self, verdict: Verdict) {
        if let Some(id) = self.id.take() {
            self.link.answer(id, verdict);
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.link.abandon(id);
        }
    }
}
