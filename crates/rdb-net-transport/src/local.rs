//! A node's messages to itself: the same handlers, the same limits and outcomes, no connection.

use std::time::Duration;

use bytes::Bytes;
use rdb_net_session::Reply;
use rdb_net_types::{Effect, Lane, MessageType, OverloadScope, Payload, Reason, RequestError};
use rdb_net_wire::{Body, Encode, Flags, FrameBuffer, FrameHead, Raw, control_type, decode_frame};

use crate::handler::{Answer, HandlerError, Handling, Request, Running};
use crate::options::CallOptions;
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
        let deadline = started + options.timeout.unwrap_or(self.inner.config.request_timeout);
        let request = Request {
            message_type,
            lane: options.lane.unwrap_or_else(|| message_type.spec().lane),
            deadline: Some(deadline),
            wants_reply: true,
            wants_stream: false,
            body: through_the_codec(message_type, message),
        };
        let result = match entry.run(&from, || request) {
            Ok(Handling::Ready(result)) => result,
            Ok(Handling::Later(future)) => {
                let until = self.inner.clock.instant(deadline);
                let waited = tokio::time::timeout_at(until, future).await;
                waited.map_err(|_| failed(Effect::Unknown, Reason::Expired))?
            }
            Ok(Handling::Stream(_)) => Err(HandlerError::not_one_reply()),
            Err(_) => return Err(failed(Effect::Unknown, Reason::HandlerPanicked)),
        };
        drop(running);
        let answer = result.map_err(|error| {
            let (effect, reason) = error.outcome();
            failed(effect, reason).because(&error.text)
        })?;
        Ok(reply(answer, self.inner.clock.now().saturating_sub(started)))
    }
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
