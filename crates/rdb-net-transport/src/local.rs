//! A node's messages to itself: the same handlers, the same limits and outcomes, no connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_session::Reply;
use rdb_net_types::{BoxFuture, Effect, Lane, MessageType, NodeId, OverloadScope, Payload, Reason, RequestError};
use rdb_net_wire::{Body, Encode, Flags, FrameBuffer, FrameHead, Raw, control_type, decode_frame};

use tokio::time::{Instant, Sleep};

use crate::clock::Clock;
use crate::handler::{Answer, AnswerStream, HandlerError, Handling, Request, Running};
use crate::options::CallOptions;
use crate::stream::ReplyStream;
use crate::transport::Transport;

impl Transport {
    /// Lets this node's own handler answer a message.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as if the message had come from a peer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the handler's.
    pub async fn request_local<M>(&self, message: &M, options: CallOptions) -> Result<Reply, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let begun = self.begin_local(message, options, false)?;
        let (from, started) = (&begun.from, begun.started);
        let result = match begun.handling {
            Handling::Ready(result) => result,
            Handling::Later(future) => {
                let waited = tokio::time::timeout_at(begun.until, future).await;
                waited.map_err(|_| RequestError::new(Effect::Unknown, Reason::Expired).of(from))?
            }
            Handling::Stream(_) => Err(HandlerError::not_one_reply()),
        };
        drop(begun.running);
        let answer = result.map_err(|error| failed(from, &error))?;
        Ok(reply(answer, self.inner.clock.now().saturating_sub(started)))
    }

    /// Lets this node's own handler answer a message with a stream of replies. It is asked for the next one when that is taken.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as if the message had come from a peer.
    pub fn stream_local<M>(&self, message: &M, options: CallOptions) -> Result<ReplyStream, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let Begun { from, started, until, handling, running } = self.begin_local(message, options, true)?;
        let answers = match handling {
            Handling::Ready(result) => Answers::One(Some(result)),
            Handling::Later(future) => Answers::Later(future),
            Handling::Stream(stream) => Answers::Stream(stream),
        };
        let expiry = Box::pin(tokio::time::sleep_until(until));
        let (clock, under_way) = (self.inner.clock, Some((answers, running)));
        Ok(LocalStream { from, clock, started, expiry, under_way }.into())
    }

    /// Runs the handler of a message.
    fn begin_local<M>(&self, message: &M, options: CallOptions, wants_stream: bool) -> Result<Begun, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let started = self.inner.clock.now();
        let from = self.inner.identity().node;
        let failed = |effect, reason| RequestError::new(effect, reason).of(&from);
        let message_type = message.message_type();
        let Some(entry) = self.inner.handlers.find(message_type) else {
            return Err(failed(Effect::NotStarted, Reason::UnknownType).because(&message_type.to_string()));
        };
        if !entry.enter() {
            return Err(failed(Effect::NotStarted, Reason::Overloaded(OverloadScope::Handler)));
        }
        let running = Running(entry.clone());
        let deadline = started.saturating_add(options.timeout.unwrap_or(self.inner.config.request_timeout));
        let request = Request {
            message_type,
            lane: options.lane.unwrap_or_else(|| message_type.spec().lane),
            deadline: Some(deadline),
            wants_reply: true,
            wants_stream,
            body: through_the_codec(message_type, message),
        };
        let handling = entry.run(&from, || request);
        let handling = handling.map_err(|_| failed(Effect::Unknown, Reason::HandlerPanicked))?;
        Ok(Begun { from, started, until: self.inner.clock.instant(deadline), handling, running })
    }
}

/// A message that a handler of this node has begun to answer.
struct Begun {
    from: NodeId,
    started: Duration,
    until: Instant,
    handling: Handling,
    running: Running,
}

/// What is to come of a handler.
enum Answers {
    One(Option<Result<Answer, HandlerError>>),
    Later(BoxFuture<'static, Result<Answer, HandlerError>>),
    Stream(AnswerStream),
}

/// The answers of this node's own handler, as they are taken.
pub(crate) struct LocalStream {
    from: NodeId,
    clock: Clock,
    started: Duration,
    expiry: Pin<Box<Sleep>>,
    /// None at its end.
    under_way: Option<(Answers, Running)>,
}

impl LocalStream {
    pub(crate) fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Reply, RequestError>>> {
        let Some((answers, _)) = &mut self.under_way else { return Poll::Ready(None) };
        let (next, is_last) = match answers {
            Answers::One(answer) => (Poll::Ready(answer.take()), true),
            Answers::Later(future) => (future.as_mut().poll(context).map(Some), true),
            Answers::Stream(stream) => (stream.as_mut().poll_next(context), false),
        };
        let Poll::Ready(next) = next else {
            std::task::ready!(self.expiry.as_mut().poll(context));
            self.under_way = None;
            return Poll::Ready(Some(Err(RequestError::new(Effect::Unknown, Reason::Expired).of(&self.from))));
        };
        // One empty answer is the end alone, as over a connection.
        let next = next.filter(|answer| !(is_last && matches!(answer, Ok(Answer::Empty))));
        if is_last || !matches!(next, Some(Ok(_))) {
            self.under_way = None;
        }
        let round_trip = self.clock.now().saturating_sub(self.started);
        Poll::Ready(next.map(|answer| match answer {
            Ok(answer) => Ok(reply(answer, round_trip)),
            Err(error) => Err(failed(&self.from, &error)),
        }))
    }
}

fn failed(from: &NodeId, error: &HandlerError) -> RequestError {
    let (effect, reason) = error.outcome();
    RequestError::new(effect, reason).of(from).because(&error.text)
}

fn reply(answer: Answer, round_trip: Duration) -> Reply {
    let (message_type, body) = match answer {
        Answer::Empty => (control_type::REPLY, Body::default()),
        Answer::Payload(payload) => {
            (control_type::REPLY, through_the_codec(control_type::REPLY, &raw(control_type::REPLY, payload)))
        }
        Answer::Message(message) => {
            let message_type = message.message_type();
            (message_type, through_the_codec(message_type, &*message))
        }
    };
    Reply::new(message_type, body, round_trip)
}

fn raw(message_type: MessageType, payload: Payload) -> Raw {
    Raw { message_type, payload }
}

/// The body as the other end of a connection would have read it. Bytes are copied once.
fn through_the_codec(message_type: MessageType, message: &(impl Encode + ?Sized)) -> Body {
    let mut buffer = FrameBuffer::new();
    let head = FrameHead { message_type, flags: Flags::default(), lane: Lane::Interactive, correlation: 0 };
    let pushed = buffer.push(head, message, u32::MAX);
    debug_assert!(pushed.is_ok(), "a frame without a size limit takes every message");
    let bytes = Bytes::from(buffer.to_vec());
    match decode_frame(&bytes, false) {
        Ok(frame) => Body::of(&frame, &bytes),
        Err(_) => Body::default(),
    }
}
