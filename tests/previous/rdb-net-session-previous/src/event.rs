//! What a session tells its owner.

use std::time::Duration;

use rdb_net_types::{Lane, MessageType, Payload, RequestError};
use rdb_net_wire::{Body, DecodeError, Hello, Message};

use crate::CloseReason;

/// Something that happened to the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The dialer's hello is here and sound; the owner answers with [`accept`](crate::Session::accept) or
    /// [`reject`](crate::Session::reject) before the hello time is over.
    Hello(Box<Hello>),
    /// Our hello was answered: the connection is up.
    Up(Box<Hello>),
    /// Senders that were blocked may try again; they may find that the connection takes no more messages.
    Writable,
    /// The other side takes no new messages on this connection.
    GoAway,
    /// The caller of this inbound request has given it up.
    Cancelled {
        /// The request's correlation id.
        correlation: u64,
    },
    /// The connection has ended, once and for all. Every request has its outcome. What [`take_batch`](crate::Session::take_batch)
    /// still gives is a farewell; the socket closes after it.
    Closed(CloseReason),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its message type.
    pub message_type: MessageType,
    /// Its body: slices of the read buffer.
    pub body: Body,
    /// From the request's acceptance by the session to the reply's arrival.
    pub round_trip: Duration,
}

impl Reply {
    /// The body as a message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is another type, or the two sides disagree on the type's layout.
    pub fn decode<M: Message>(&self) -> Result<M, DecodeError> {
        if self.message_type == M::TYPE {
            M::decode(&self.body)
        } else {
            Err(DecodeError::UnknownType { message_type: self.message_type })
        }
    }

    /// The body as opaque bytes.
    pub fn into_payload(self) -> Payload {
        self.body.into_payload()
    }
}

/// How a request ended.
pub type Outcome = Result<Reply, RequestError>;

/// A message that arrived for a handler.
#[derive(Debug)]
pub struct Inbound {
    /// Give it back with the reply, or with [`finish`](crate::Session::finish).
    pub id: InboundId,
    /// Its type.
    pub message_type: MessageType,
    /// The lane it came on.
    pub lane: Lane,
    /// When its caller stops waiting, by this side's clock.
    pub deadline: Option<Duration>,
    /// Its body: slices of the read buffer.
    pub body: Body,
}

/// The duty to end an inbound message: its credits are held until then. It cannot be copied, so a message is answered once.
#[derive(Debug)]
#[must_use = "credits are held until the message is replied to or finished"]
pub struct InboundId {
    pub(crate) correlation: u64,
    pub(crate) lane: Lane,
    pub(crate) charge: u64,
}

impl InboundId {
    /// The request's correlation id; 0 for a one-way message.
    pub fn correlation(&self) -> u64 {
        self.correlation
    }

    /// Whether somebody waits for a reply.
    pub fn wants_reply(&self) -> bool {
        self.correlation != 0
    }
}
