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
    /// With this answer.
    Answer(Answer),
    /// With an error.
    Error(Effect, Reason, String),
}

impl From<Result<Answer, HandlerError>> for Verdict {
    fn from(result: Result<Answer, HandlerError>) -> Self {
        match result {
            Ok(answer) => Self::Answer(answer),
            Err(error) => {
                let effect = if error.started { Effect::Unknown } else { Effect::NotStarted };
                Self::Error(effect, Reason::HandlerFailed, error.text)
            }
        }
    }
}

impl Verdict {
    fn panicked() -> Self {
        Self::Error(Effect::Unknown, Reason::HandlerPanicked, String::new())
    }

    fn expired(effect: Effect) -> Self {
        Self::Error(effect, Reason::Expired, String::new())
    }

    /// About how many bytes the answer will keep waiting for the socket.
    fn bytes(&self) -> usize {
        match self {
            Self::Answer(Answer::Payload(payload)) => payload.len(),
            Self::Answer(Answer::Message(message)) => message.attachment_bytes(),
            Self::Answer(Answer::Empty) | Self::Error(..) => 0,
        }
    }

    /// Tells the caller. An answer that is too large for a frame has already become an error reply.
    pub(crate) fn apply(self, session: &mut Session, id: InboundId) {
        let raw = |payload| Raw { message_type: control_type::REPLY, payload };
        let _too_large = match self {
            Self::Answer(Answer::Empty) => session.reply(id, &raw(Payload::new())),
            Self::Answer(Answer::Payload(payload)) => session.reply(id, &raw(payload)),
            Self::Answer(Answer::Message(message)) => session.reply(id, &*message),
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
}

impl Dispatcher {
    pub(crate) fn new(inner: Arc<Inner>, link: Arc<Link>) -> Self {
        Self { inner, link, from: None }
    }

    /// Handles messages in their order; what is answered at once goes into `answers`. Messages of the data lanes are left
    /// over as soon as the answers have some `room_bytes`.
    pub(crate) fn handle(
        &mut self,
        inbox: &mut VecDeque<Inbound>,
        answers: &mut Vec<(InboundId, Verdict)>,
        room_bytes: usize,
        now: Duration,
    ) {
        if self.from.is_none() {
            self.from = self.link.node().cloned();
        }
        // Bursts are mostly of one type, so its handler is looked up once; a new handler counts from the next burst.
        let mut last: Option<(MessageType, Option<Arc<Entry>>)> = None;
        let mut answer_bytes = 0;
        while inbox.front().is_some_and(|next| answer_bytes < room_bytes || next.lane == Lane::System)
            && let Some(message) = inbox.pop_front()
        {
            if message.deadline.is_some_and(|deadline| deadline <= now) {
                answers.push((message.id, Verdict::expired(Effect::NotStarted)));
                continue;
            }
            if last.as_ref().is_none_or(|(message_type, _)| *message_type != message.message_type) {
                last = Some((message.message_type, self.inner.handlers.find(message.message_type)));
            }
            let entry = last.as_ref().and_then(|(_, entry)| entry.as_ref());
            if let Some(answer) = self.handle_one(message, entry) {
                answer_bytes += answer.1.bytes();
                answers.push(answer);
            }
        }
    }

    fn handle_one(&self, message: Inbound, entry: Option<&Arc<Entry>>) -> Option<(InboundId, Verdict)> {
        let Inbound { id, message_type, lane, deadline, body } = message;
        let Some(from) = self.from.clone() else {
            let text = "the peer has no name yet".to_owned();
            return Some((id, Verdict::Error(Effect::NotStarted, Reason::Draining, text)));
        };
        let request = Request { from, message_type, lane, deadline, wants_reply: id.wants_reply(), body };
        let Some(entry) = entry else {
            return self.unhandled(id, request);
        };
        if !entry.enter() {
            let reason = Reason::Overloaded(OverloadScope::Handler);
            return Some((id, Verdict::Error(Effect::NotStarted, reason, String::new())));
        }
        let verdict = match entry.run(request) {
            Some(Handling::Ready(result)) => result.into(),
            Some(Handling::Later(future)) => {
                return self.later(id, message_type, deadline, Running(Arc::clone(entry)), future);
            }
            None => self.report_panic(message_type),
        };
        entry.leave();
        Some((id, verdict))
    }

    /// A message of a type that nobody registered for: a heartbeat is answered by the transport itself, and the rest goes to
    /// whoever asks for unhandled messages.
    fn unhandled(&self, id: InboundId, request: Request) -> Option<(InboundId, Verdict)> {
        if request.message_type == MessageType::HEARTBEAT {
            return Some((id, Verdict::Answer(Answer::Empty)));
        }
        if id.wants_reply() {
            let text = request.message_type.to_string();
            return Some((id, Verdict::Error(Effect::NotStarted, Reason::UnknownType, text)));
        }
        self.inner.keep_unhandled(&self.link, id, request);
        None
    }

    fn report_panic(&self, message_type: MessageType) -> Verdict {
        tracing::error!(%message_type, peer = ?self.from, "a handler panicked");
        Verdict::panicked()
    }

    /// Polls the handler once; if it is not ready, gives it a task.
    fn later(
        &self,
        id: InboundId,
        message_type: MessageType,
        deadline: Option<Duration>,
        running: Running,
        future: BoxFuture<'static, Result<Answer, HandlerError>>,
    ) -> Option<(InboundId, Verdict)> {
        let mut future = Guarded(future);
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut future).poll(&mut nobody) {
            Poll::Ready(Some(result)) => return Some((id, result.into())),
            Poll::Ready(None) => return Some((id, self.report_panic(message_type))),
            Poll::Pending => {}
        }
        self.spawn(id, message_type, deadline, running, future);
        None
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
                Some(Some(Some(result))) => duty.end(result.into()),
                Some(Some(None)) => {
                    tracing::error!(%message_type, ?peer, "a handler panicked");
                    duty.end(Verdict::panicked());
                }
                Some(None) => duty.end(Verdict::expired(Effect::Unknown)),
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
