//! From an inbound message to its answer.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdb_net_session::{Inbound, InboundId, Session};
use rdb_net_types::{BoxFuture, Effect, Lane, MessageType, NodeId, OverloadScope, Payload, Reason};
use rdb_net_wire::{Encode, Raw, control_type};

use crate::handler::{Answer, Entry, HandlerError, Handling, Request, Running};
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

    /// About how many bytes the answer will keep waiting for the socket.
    #[inline]
    fn bytes(&self) -> usize {
        match self {
            Self::Handled(Ok(Answer::Payload(payload))) => payload.len(),
            Self::Handled(Ok(Answer::Message(message))) => message.attachment_bytes(),
            Self::Handled(Ok(Answer::Empty) | Err(_)) | Self::Error(..) => 0,
        }
    }

    /// Tells the caller. An answer that is too large for a frame has already become an error reply.
    #[inline]
    pub(crate) fn apply(self, session: &mut Session, id: InboundId) {
        let raw = |payload| Raw { message_type: control_type::REPLY, payload };
        let _too_large = match self {
            Self::Handled(Ok(Answer::Empty)) => session.reply(id, &raw(Payload::new())),
            Self::Handled(Ok(Answer::Payload(payload))) => session.reply(id, &raw(payload)),
            Self::Handled(Ok(Answer::Message(message))) => session.reply(id, &*message),
            Self::Handled(Err(error)) => {
                let effect = if error.started { Effect::Unknown } else { Effect::NotStarted };
                session.reply_error(id, effect, Reason::HandlerFailed, &error.text);
                Ok(())
            }
            Self::Error(effect, reason, detail) => {
                session.reply_error(id, effect, reason, &detail);
                Ok(())
            }
        };
    }
}

/// Answers the messages of one connection.
pub(crate) struct Dispatcher {
    inner: Arc<Inner>,
    link: Arc<Link>,
    from: Option<NodeId>,
    /// What was answered at once, until it is applied.
    answers: Vec<(InboundId, Verdict)>,
    answers_bytes: usize,
}

impl Dispatcher {
    pub(crate) fn new(inner: Arc<Inner>, link: Arc<Link>) -> Self {
        Self { inner, link, from: None, answers: Vec::new(), answers_bytes: 0 }
    }

    /// Tells the callers what was answered.
    pub(crate) fn apply_answers(&mut self, session: &mut Session) {
        if self.answers.is_empty() {
            return;
        }
        self.answers_bytes = 0;
        self.answers.drain(..).for_each(|(id, verdict)| verdict.apply(session, id));
    }

    /// Handles messages in their order. Those of the data lanes are left over as soon as the answers have some `room_bytes`.
    pub(crate) fn handle(&mut self, inbox: &mut VecDeque<Inbound>, room_bytes: usize, now: Duration) {
        if inbox.is_empty() {
            return;
        }
        if self.from.is_none() {
            self.from = self.link.node().cloned();
        }
        // Bursts are mostly of one type, so its handler is looked up once; a new handler counts from the next burst.
        let mut turn = Turn::default();
        while inbox.front().is_some_and(|next| self.answers_bytes < room_bytes || next.lane == Lane::System)
            && let Some(message) = inbox.pop_front()
        {
            if message.deadline.is_some_and(|deadline| deadline <= now) {
                self.refuse(message.id, Reason::Expired, String::new());
                continue;
            }
            if turn.message_type != Some(message.message_type) {
                turn = Turn::of(message.message_type, self.inner.handlers.find(message.message_type));
            }
            self.handle_one(message, &mut turn);
        }
    }

    #[inline]
    fn answer(&mut self, id: InboundId, verdict: Verdict) {
        self.answers_bytes += verdict.bytes();
        self.answers.push((id, verdict));
    }

    /// No handler saw it.
    #[cold]
    fn refuse(&mut self, id: InboundId, reason: Reason, text: String) {
        self.answers.push((id, Verdict::Error(Effect::NotStarted, reason, text)));
    }

    #[inline]
    fn handle_one(&mut self, message: Inbound, turn: &mut Turn) {
        let Inbound { id, message_type, lane, deadline, body } = message;
        let Some(from) = self.from.clone() else {
            let text = "the peer has no name yet".to_owned();
            return self.refuse(id, Reason::Draining, text);
        };
        let request = Request { from, message_type, lane, deadline, wants_reply: id.wants_reply(), body };
        let Some(entry) = &turn.entry else {
            return self.unhandled(id, request);
        };
        if !turn.has_place && !entry.enter() {
            return self.refuse(id, Reason::Overloaded(OverloadScope::Handler), String::new());
        }
        turn.has_place = true;
        let verdict = match entry.run(request) {
            Some(Handling::Ready(result)) => Verdict::Handled(result),
            Some(Handling::Later(future)) => {
                // The place goes with the future.
                turn.has_place = false;
                let running = Running(Arc::clone(entry));
                return self.later(id, message_type, deadline, running, future);
            }
            None => self.report_panic(message_type),
        };
        self.answer(id, verdict);
    }

    /// A message of a type that nobody registered for: a heartbeat is answered by the transport itself, and the rest goes to
    /// whoever asks for unhandled messages.
    fn unhandled(&mut self, id: InboundId, request: Request) {
        if request.message_type == MessageType::HEARTBEAT {
            self.answer(id, Verdict::Handled(Ok(Answer::Empty)));
        } else if id.wants_reply() {
            let text = request.message_type.to_string();
            self.refuse(id, Reason::UnknownType, text);
        } else {
            self.inner.keep_unhandled(&self.link, id, request);
        }
    }

    fn report_panic(&self, message_type: MessageType) -> Verdict {
        tracing::error!(%message_type, peer = ?self.from, "a handler panicked");
        Verdict::panicked()
    }

    /// Polls the handler once; if it is not ready, gives it a task.
    fn later(
        &mut self,
        id: InboundId,
        message_type: MessageType,
        deadline: Option<Duration>,
        running: Running,
        future: BoxFuture<'static, Result<Answer, HandlerError>>,
    ) {
        let mut future = Guarded(future);
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut future).poll(&mut nobody) {
            Poll::Ready(Some(result)) => self.answer(id, Verdict::Handled(result)),
            Poll::Ready(None) => {
                let panicked = self.report_panic(message_type);
                self.answer(id, panicked);
            }
            Poll::Pending => self.spawn(id, message_type, deadline, running, future),
        }
    }

    /// Gives a handler a task. A request's ends with the request, a one-way message's with the transport at the latest.
    fn spawn(
        &self,
        id: InboundId,
        message_type: MessageType,
        deadline: Option<Duration>,
        running: Running,
        future: Guarded,
    ) {
        let correlation = id.correlation();
        let duty = Duty::new(Arc::clone(&self.link), id);
        let until = deadline.map(|deadline| self.link.clock.instant(deadline));
        let (inner, peer) = (Arc::clone(&self.inner), self.from.clone());
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
                    tracing::error!(%message_type, ?peer, "a handler panicked");
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
