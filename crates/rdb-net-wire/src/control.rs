//! The protocol's own messages: hello, refusal, liveness, credits, cancellation, drain.

use std::fmt;

use rdb_net_types::{
    BootId, ClusterId, Effect, Hidden, Incarnation, MessageType, NodeAddress, NodeId, OverloadScope, ProtocolRange,
    Reason, RefusalReason,
};

use serde::{Deserialize, Serialize};

use crate::DecodeError;
use crate::body::{Body, BodyWriter, Encode, Message};
use crate::codec::wire_struct;

/// The numbers of the protocol's own messages.
pub mod control_type {
    use rdb_net_types::MessageType;

    /// The first frame of either side: who it is and what it can.
    pub const HELLO: MessageType = MessageType(0x0001);
    /// The hello is not accepted; the connection ends.
    pub const REJECT: MessageType = MessageType(0x0002);
    /// Are you there?
    pub const PING: MessageType = MessageType(0x0003);
    /// I am.
    pub const PONG: MessageType = MessageType(0x0004);
    /// More may be sent on a lane.
    pub const CREDIT: MessageType = MessageType(0x0005);
    /// The request of this correlation id is given up. Its body is empty.
    pub const CANCEL: MessageType = MessageType(0x0006);
    /// No new messages are taken on this connection.
    pub const GO_AWAY: MessageType = MessageType(0x0007);
    /// The connection ends, for this reason.
    pub const CLOSE: MessageType = MessageType(0x0008);
    /// More replies of a stream may come. Its correlation id is the request's.
    pub const STREAM_CREDIT: MessageType = MessageType(0x0009);
    /// What follows on this stream comes after what was sent on the others.
    pub const FENCE: MessageType = MessageType(0x000A);
    /// A membership exchange, as a request: its body is the membership protocol's own.
    pub const MEMBERSHIP_SYNC: MessageType = MessageType(0x0010);
    /// The answer to a request that has no body type of its own.
    pub const REPLY: MessageType = MessageType(0x0011);
}

/// What a side can beyond the first version, one bit each in [`Hello::features`]. Unknown bits are ignored.
pub mod feature {
    /// It accounts each of the four lanes by itself. Without it lanes 2 and 3 are accounted as lane 1, and nothing is sent on
    /// them.
    pub const LANES: u64 = 1 << 0;
    /// It puts fragments together, in both directions.
    pub const FRAGMENTS: u64 = 1 << 1;
    /// It takes requests for streams of replies.
    pub const STREAMS: u64 = 1 << 2;
}

macro_rules! control_message {
    ($name:ident = $message_type:expr) => {
        impl Encode for $name {
            fn message_type(&self) -> MessageType {
                $message_type
            }

            fn encode(&self, body: &mut BodyWriter<'_>) {
                self.encode_fields(body.out());
            }
        }

        impl Message for $name {
            const TYPE: MessageType = $message_type;

            fn decode(body: &Body) -> Result<Self, DecodeError> {
                let malformed = |_| DecodeError::Malformed { message_type: $message_type };
                Self::decode_fields(body.structure()).map_err(malformed)
            }
        }
    };
}

/// Who a side is and what it can. The dialer's comes first; the acceptor's is the answer that brings the connection up.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its node id; proved by the certificate where TLS is on.
    pub node: NodeId,
    /// The node that the dialer means to reach, where it knows.
    pub target: Option<NodeId>,
    /// Its newest incarnation.
    pub incarnation: Incarnation,
    /// Which process it is.
    pub boot: BootId,
    /// Where its transport can be reached by others.
    pub address: NodeAddress,
    /// The wire versions that it speaks.
    pub protocol: ProtocolRange,
    /// Optional abilities, one bit each; unknown bits are ignored.
    pub features: u64,
    /// The compression codecs that it can read, the preferred first.
    pub codecs: Vec<u8>,
    /// The largest frame that it reads, in bytes, header included.
    pub frame_bytes_max: u32,
    /// The largest message that it puts together, in bytes.
    pub message_bytes_max: u32,
    /// How many requests the other side may have in flight.
    pub requests_max: u32,
    /// How many bytes the other side may send at first, by lane.
    pub credits: Vec<u64>,
    /// How long it waits for any byte before it calls the connection dead, in milliseconds.
    pub liveness_ms: u32,
    /// Whether its frames carry a checksum, and it wants one on those it reads.
    pub checksum: bool,
    /// What ties the hello to this TLS session; empty without TLS.
    pub channel_binding: Vec<u8>,
    /// Bytes for the other side's authenticator; empty where none is used.
    pub token: Vec<u8>,
    /// Version of its software, for people.
    pub software: String,
    /// What the structs of some types cost this side beyond their bytes; each other type's cost their bytes.
    pub costs: Vec<TypeCost>,
}

/// Without the token.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By name, so that none is forgotten.
        let Self {
            cluster,
            node,
            target,
            incarnation,
            boot,
            address,
            protocol,
            features,
            codecs,
            frame_bytes_max,
            message_bytes_max,
            requests_max,
            credits,
            liveness_ms,
            checksum,
            channel_binding,
            token,
            software,
            costs,
        } = self;
        f.debug_struct("Hello")
            .field("cluster", cluster)
            .field("node", node)
            .field("target", target)
            .field("incarnation", incarnation)
            .field("boot", boot)
            .field("address", address)
            .field("protocol", protocol)
            .field("features", features)
            .field("codecs", codecs)
            .field("frame_bytes_max", frame_bytes_max)
            .field("message_bytes_max", message_bytes_max)
            .field("requests_max", requests_max)
            .field("credits", credits)
            .field("liveness_ms", liveness_ms)
            .field("checksum", checksum)
            .field("channel_binding", channel_binding)
            .field("token", &Hidden(token))
            .field("software", software)
            .field("costs", costs)
            .finish()
    }
}

/// How many bytes of memory one byte of a type's struct can become when it is read, at most. Credits are charged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCost {
    /// The message type.
    pub message_type: u16,
    /// Bytes for each byte of its struct; 0 counts as 1.
    pub bytes_per_byte: u16,
}

wire_struct!(Hello {
    cluster,
    node,
    target,
    incarnation,
    boot,
    address,
    protocol,
    features,
    codecs,
    frame_bytes_max,
    message_bytes_max,
    requests_max,
    credits,
    liveness_ms,
    checksum,
    channel_binding,
    token,
    software;
    costs = Vec::new(),
});
control_message!(Hello = control_type::HELLO);

/// Why a hello is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Code of a [`RefusalReason`].
    pub code: u16,
    /// Earliest useful retry, in milliseconds; 0 for none.
    pub retry_after_ms: u32,
}

impl Reject {
    /// The reason, `None` where a newer version knows one that this does not.
    pub fn reason(&self) -> Option<RefusalReason> {
        RefusalReason::from_code(self.code)
    }
}

wire_struct!(Reject { code, retry_after_ms });
control_message!(Reject = control_type::REJECT);

/// Are you there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Comes back in the pong.
    pub token: u64,
}

wire_struct!(Ping { token });
control_message!(Ping = control_type::PING);

/// I am.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The ping's token.
    pub token: u64,
    /// The wall clock of its sender, in microseconds since 1970; 0 where it does not tell.
    pub clock_us: u64,
}

wire_struct!(Pong { token; clock_us = 0 });
control_message!(Pong = control_type::PONG);

/// More may be sent on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// The lane's number.
    pub lane: u8,
    /// Bytes that may have been sent on the lane in all, since the connection began. Never falls.
    pub limit: u64,
}

wire_struct!(Credit { lane, limit });
control_message!(Credit = control_type::CREDIT);

/// More replies of a stream may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCredit {
    /// Bytes of replies that may have come in all, since the stream began. Never falls.
    pub limit: u64,
}

wire_struct!(StreamCredit { limit });
control_message!(StreamCredit = control_type::STREAM_CREDIT);

/// Where each lane has a stream of its own: what follows on the System stream comes after so many bytes of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// How many bytes were sent on each lane's stream, by lane number; the System lane's is not looked at.
    pub sent_bytes: Vec<u64>,
}

wire_struct!(Fence { sent_bytes });
control_message!(Fence = control_type::FENCE);

/// No new messages are taken. Sent twice: a warning, after which everything under way is still taken, and the last word, after
/// which nothing is. Whoever sent a message beyond the last word knows that no handler saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoAway {
    /// Whether this is the last word.
    pub last: bool,
    /// How many messages were taken on each lane, by lane number.
    pub accepted: Vec<u64>,
}

wire_struct!(GoAway { last, accepted });
control_message!(GoAway = control_type::GO_AWAY);

/// Why a side ends a connection that was up. The number is its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum CloseCode {
    /// The drain is complete, or the connection was idle.
    Normal = 1,
    /// The other side's bytes were no frame.
    Protocol = 2,
    /// The other side sent more than its credits.
    Credit = 3,
    /// The other side sent something that it may not at this point.
    State = 4,
    /// Nothing came for longer than the liveness time.
    Silent = 5,
    /// The process ends.
    Shutdown = 6,
    /// The connection limit needs the place.
    Evicted = 7,
    /// The other side's certificate is not trusted any more.
    Untrusted = 8,
}

impl CloseCode {
    const ALL: [Self; 8] = [
        Self::Normal,
        Self::Protocol,
        Self::Credit,
        Self::State,
        Self::Silent,
        Self::Shutdown,
        Self::Evicted,
        Self::Untrusted,
    ];

    /// The code of this number, `None` for a newer version's.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|close| *close as u16 == code)
    }

    /// Its name, as metrics and logs show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Protocol => "protocol",
            Self::Credit => "credit",
            Self::State => "state",
            Self::Silent => "silent",
            Self::Shutdown => "shutdown",
            Self::Evicted => "evicted",
            Self::Untrusted => "untrusted",
        }
    }
}

/// The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Number of a [`CloseCode`].
    pub code: u16,
}

wire_struct!(Close { code });
control_message!(Close = control_type::CLOSE);

/// The answer to a request that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// Whether it is sure that no handler saw the request.
    pub not_started: bool,
    /// Which reason.
    pub code: u16,
    /// More words; the handler's error text.
    pub detail: String,
}

wire_struct!(ErrorReply { not_started, code, detail });
control_message!(ErrorReply = control_type::REPLY);

/// The longest detail of an error that is sent, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;

impl ErrorReply {
    /// The reply that tells this outcome. A detail beyond 1,024 bytes is cut.
    pub fn new(effect: Effect, reason: Reason, detail: &str) -> Self {
        let mut end = detail.len().min(DETAIL_BYTES_MAX);
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        let not_started = matches!(effect, Effect::NotStarted | Effect::NotSent);
        Self { not_started, code: reason_code(reason), detail: detail[..end].to_owned() }
    }

    /// What it means to the caller: the peer answered, so the effect is `NotStarted` or `Unknown`.
    pub fn outcome(&self) -> (Effect, Reason) {
        let effect = if self.not_started { Effect::NotStarted } else { Effect::Unknown };
        (effect, reason_of(self.code))
    }
}

const fn reason_code(reason: Reason) -> u16 {
    match reason {
        Reason::Expired => 1,
        Reason::Overloaded(OverloadScope::Handler) => 2,
        Reason::Overloaded(OverloadScope::Requests) => 11,
        Reason::Overloaded(OverloadScope::Peer) => 12,
        Reason::Overloaded(_) => 3,
        Reason::UnknownType => 4,
        Reason::TooLarge => 5,
        Reason::Malformed => 6,
        Reason::HandlerPanicked => 8,
        Reason::Cancelled => 9,
        Reason::Draining | Reason::ShuttingDown => 10,
        _ => 7,
    }
}

const fn reason_of(code: u16) -> Reason {
    match code {
        1 => Reason::Expired,
        2 => Reason::Overloaded(OverloadScope::Handler),
        3 => Reason::Overloaded(OverloadScope::Process),
        4 => Reason::UnknownType,
        5 => Reason::TooLarge,
        6 => Reason::Malformed,
        8 => Reason::HandlerPanicked,
        9 => Reason::Cancelled,
        10 => Reason::Draining,
        11 => Reason::Overloaded(OverloadScope::Requests),
        12 => Reason::Overloaded(OverloadScope::Peer),
        _ => Reason::HandlerFailed,
    }
}
