//! What a session tells its owner.

use std::time::Duration;

use rdb_net_types::{Lane, MessageType, Payload, RequestError};
use rdb_net_wire::{Body, DecodeError, Hello, Message};

use crate::CloseReason;
use crate::budget::Reservation;

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
    /// A stream of replies whose credits were used up may go on.
    StreamWritable {
        /// The request's correlation id.
        correlation: u64,
    },
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
    /// Of a large reply: its memory, counted until the caller has it.
    pub(crate) reservation: Held,
}

/// What is counted for a large message as long as it is held here. Two messages are equal whatever is counted for them.
#[derive(Debug, Default)]
pub(crate) struct Held(
    #[expect(dead_code, reason = "it is held, and released by being dropped")] Option<Box<Reservation>>,
);

impl Held {
    pub(crate) fn new(reservation: Option<Reservation>) -> Self {
        Self(reservation.map(Box::new))
    }
}

impl Clone for Held {
    /// The copy shares its bytes with the original, which counts them.
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

impl Reply {
    /// A reply that came over no connection.
    pub fn new(message_type: MessageType, body: Body, round_trip: Duration) -> Self {
        Self { message_type, body, round_trip, reservation: Held::default() }
    }

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

    /// The caller has it: it counts as memory that peers make us hold no longer.
    #[inline]
    pub fn release(&mut self) {
        self.reservation = Held::default();
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
    /// Whether its caller wants a stream of replies.
    pub wants_stream: bool,
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
    /// Memory that no credits stand for: that of a message that came in fragments, or what reading adds to one of an old peer.
    #[expect(dead_code, reason = "it is held, and released by being dropped")]
    pub(crate) reservation: Held,
    /// Whether a stream of replies was asked for.
    pub(crate) wants_stream: bool,
}

/// The stream of replies to an inbound request, for whoever writes it while another has the duty to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamId {
    pub(crate) correlation: u64,
    pub(crate) lane: Lane,
}

impl StreamId {
    /// The request's correlation id.
    pub fn correlation(self) -> u64 {
        self.correlation
    }

    /// The lane that it is answered on.
    pub fn lane(self) -> Lane {
        self.lane
    }
}

impl InboundId {
    /// The stream of replies to it, where one is wanted.
    pub fn stream(&self) -> StreamId {
        StreamId { correlation: self.correlation, lane: self.lane }
    }

    /// The request's correlation id; 0 for a one-way message.
    pub fn correlation(&self) -> u64 {
        self.correlation
    }

    /// The lane that it is accounted and answered on.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Whether somebody waits for a reply.
    pub fn wants_reply(&self) -> bool {
        self.correlation != 0
    }
}
