//! The messages whose bytes the golden files pin: every cluster message, every control message, every flag, an attachment,
//! and extensions.

use std::fmt::Debug;

use bytes::Bytes;
use rdb_net_types::{
    AbortTransaction, Application, BootId, ClusterId, ClusterMessage, CommitTransaction, Effect, Heartbeat,
    Incarnation, Lane, LogEntry, MessageType, NodeAddress, NodeId, OverloadScope, Payload, PrepareTransaction,
    ProtocolRange, QueryRequest, QueryResponse, Reason, RefusalReason, ReplicationAck, ReplicationLog, TransactionAck,
    TransactionId, TransactionVote, Tuple, Vote,
};

use super::application;
use crate::{
    Body, Close, CloseCode, Credit, Encode, ErrorReply, Fence, Flags, FrameError, FrameHead, GoAway, Hello, Message,
    Ping, Pong, Raw, Reject, StreamCredit, TypeCost, control_type, decode_cluster_message, feature,
};

/// Reads a body as the message: whether it is equal, `None` where it cannot be read.
type Read = Box<dyn Fn(Body) -> Option<bool>>;

/// A message with everything that its frame says.
pub(super) struct Vector {
    /// The name of its golden file.
    pub(super) name: &'static str,
    pub(super) head: FrameHead,
    pub(super) deadline_us: u32,
    pub(super) message: Box<dyn Encode>,
    /// Extensions in front of those that the crate writes.
    pub(super) extensions: &'static [u8],
    /// What a reader says that refuses it.
    pub(super) refused: Option<FrameError>,
    /// How many fields of its struct came after the first version.
    pub(super) later_fields: u8,
    structured: bool,
    read: Read,
}

impl Vector {
    fn new(name: &'static str, head: FrameHead, message: impl Encode + 'static, structured: bool, read: Read) -> Self {
        let message = Box::new(message);
        Self { name, head, deadline_us: 0, message, extensions: &[], refused: None, later_fields: 0, structured, read }
    }

    /// Whether its body begins with a struct, and is not opaque bytes.
    pub(super) fn has_structure(&self) -> bool {
        self.structured
    }

    /// Whether this body is the message.
    pub(super) fn reads(&self, body: Body) -> bool {
        (self.read)(body) == Some(true)
    }

    /// Whether this struct, with the message's own attachment, is the message.
    pub(super) fn reads_as_itself(&self, structure: Bytes) -> bool {
        let attachment = super::body(self.message.as_ref()).attachment().into_bytes();
        self.reads(Body::new(structure, &attachment))
    }

    /// Whether this struct, with the message's own attachment, is any message of its type.
    pub(super) fn is_readable(&self, structure: Bytes) -> bool {
        let attachment = super::body(self.message.as_ref()).attachment().into_bytes();
        (self.read)(Body::new(structure, &attachment)).is_some()
    }
}

const CORRELATION: u64 = 0x0000_0003_0000_0007;

fn cluster(name: &'static str, message: impl Into<ClusterMessage>) -> Vector {
    let message = message.into();
    let message_type = message.message_type();
    let lane = message_type.spec().lane;
    let head = FrameHead { message_type, flags: Flags::default(), lane, correlation: CORRELATION };
    let (expected, structured) = (message.clone(), !message_type.is_application());
    let read = move |body| decode_cluster_message(message_type, body).ok().map(|message| message == expected);
    Vector::new(name, head, message, structured, Box::new(read))
}

fn control<M: Message + Clone + PartialEq + Debug + 'static>(name: &'static str, message: M) -> Vector {
    let head = FrameHead { message_type: M::TYPE, flags: Flags::ONE_WAY, lane: Lane::System, correlation: 0 };
    let expected = message.clone();
    let read = move |body: Body| M::decode(&body).ok().map(|message| message == expected);
    Vector::new(name, head, message, true, Box::new(read))
}

fn opaque(name: &'static str, message_type: MessageType, flags: Flags, bytes: &'static str) -> Vector {
    let head = FrameHead { message_type, flags, lane: Lane::System, correlation: CORRELATION };
    let payload = Payload::from(bytes);
    let read = move |body: Body| Some(body.into_payload() == Payload::from(bytes));
    Vector::new(name, head, Raw { message_type, payload }, false, Box::new(read))
}

/// Messages that an older writer wrote with fewer fields, as a reader has them: those of the files in `golden/older/`.
pub(super) fn older() -> Vec<Vector> {
    let [dialer, acceptor] = hello_messages().map(|hello| Hello { costs: Vec::new(), ..hello });
    let dialer = Hello { features: 0, ..dialer };
    let mut older = vec![
        control("hello_dialer", dialer),
        control("hello_acceptor", acceptor),
        control("pong", Pong { token: u64::MAX, clock_us: 0 }),
    ];
    older.sort_by_key(|vector| vector.name);
    older
}

fn flag(name: &'static str, flags: Flags) -> Vector {
    let mut vector = cluster(name, application("body"));
    vector.head.flags = flags;
    vector
}

/// Every vector, by name.
pub(super) fn all() -> Vec<Vector> {
    let parts = [queries(), replication(), transactions(), hellos(), controls(), replies(), flags(), extensions()];
    let mut all: Vec<Vector> = parts.into_iter().flatten().collect();
    all.sort_by_key(|vector| vector.name);
    all
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("follows the rules")
}

fn queries() -> Vec<Vector> {
    let heartbeat = Heartbeat { node_id: node("node-1"), timestamp_us: 1_800_000_000_000_000 };
    let query = "select * from t where k = $1".to_owned();
    let parameters = Payload::from(vec![0, 0, 0, 42]);
    let request = QueryRequest { query_id: 300, fragment: 2, query, parameters };
    let rows = ["alpha", "", "gamma"].map(|row| Tuple(Bytes::from_static(row.as_bytes())));
    let response = QueryResponse { query_id: 300, fragment: 2, result: rows.to_vec(), more: true };
    let bare = QueryRequest { parameters: Payload::new(), ..request.clone() };
    let no_rows = QueryResponse { result: Vec::new(), more: false, ..response.clone() };
    let mut request = cluster("query_request", request);
    request.deadline_us = 250_000;
    let mut response = cluster("query_response", response);
    let mut no_rows = cluster("query_response_without_rows", no_rows);
    (response.head.flags, no_rows.head.flags) = (Flags::RESPONSE, Flags::RESPONSE);
    vec![cluster("heartbeat", heartbeat), request, cluster("query_request_without_parameters", bare), response, no_rows]
}

fn replication() -> Vec<Vector> {
    let entry = |index, data: &'static str| LogEntry { index, epoch: 7, data: Bytes::from_static(data.as_bytes()) };
    let log = ReplicationLog {
        log_id: 5,
        epoch: 7,
        previous_index: 127,
        previous_epoch: 6,
        committed_index: 126,
        entries: vec![entry(128, "first"), entry(129, "second")],
    };
    let ack = ReplicationAck { log_id: 5, epoch: 7, durable_index: 129, accepted: true };
    let empty = ReplicationLog { entries: Vec::new(), ..log.clone() };
    vec![
        cluster("replication_log", log),
        cluster("replication_log_without_entries", empty),
        cluster("replication_ack", ack),
    ]
}

fn transactions() -> Vec<Vector> {
    let txn_id = TransactionId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
    let prepare = PrepareTransaction {
        txn_id,
        coordinator: node("node-1"),
        participants: vec![node("node-2"), node("node-3")],
        work: Payload::from("work"),
    };
    let vote = |vote, reason: &str| TransactionVote { txn_id, vote, reason: reason.to_owned() };
    vec![
        cluster("prepare_transaction", prepare),
        cluster("transaction_vote_commit", vote(Vote::Commit, "")),
        cluster("transaction_vote_abort", vote(Vote::Abort, "conflict")),
        cluster("transaction_vote_read_only", vote(Vote::ReadOnly, "")),
        cluster("commit_transaction", CommitTransaction { txn_id }),
        cluster("abort_transaction", AbortTransaction { txn_id, reason: "timeout".to_owned() }),
        cluster("transaction_ack", TransactionAck { txn_id: TransactionId(u128::MAX) }),
    ]
}

fn hello_messages() -> [Hello; 2] {
    let dialer = Hello {
        cluster: ClusterId::new("rustydb").expect("follows the rules"),
        node: node("node-1"),
        target: Some(node("node-2")),
        incarnation: Incarnation::from_u64(0x6b49_d200_0000_0002),
        boot: BootId(0x0123_4567_89ab_cdef),
        address: NodeAddress::new("10.0.0.1", 7000).expect("legal"),
        protocol: ProtocolRange::CURRENT,
        features: feature::LANES | feature::FRAGMENTS | feature::STREAMS,
        codecs: Vec::new(),
        frame_bytes_max: 256 * 1024,
        message_bytes_max: 256 * 1024,
        requests_max: 4096,
        credits: vec![256 * 1024, 4 << 20, 4 << 20, 4 << 20],
        liveness_ms: 5000,
        checksum: true,
        channel_binding: Vec::new(),
        token: b"secret".to_vec(),
        software: "0.1.0".to_owned(),
        costs: vec![TypeCost { message_type: MessageType::QUERY_RESPONSE.0, bytes_per_byte: 36 }],
    };
    let acceptor = Hello {
        node: node("node-2"),
        target: None,
        address: NodeAddress::new("fe80::2", 7000).expect("legal"),
        features: 1 << 40,
        codecs: vec![2, 1],
        checksum: false,
        channel_binding: vec![0xaa; 4],
        token: Vec::new(),
        ..dialer.clone()
    };
    [dialer, acceptor]
}

fn hellos() -> Vec<Vector> {
    let [dialer, acceptor] = hello_messages();
    let reject = Reject { code: RefusalReason::ConnectionLimit.code(), retry_after_ms: 1500 };
    let dialer = Vector { later_fields: 1, ..control("hello_dialer", dialer) };
    let acceptor = Vector { later_fields: 1, ..control("hello_acceptor", acceptor) };
    vec![dialer, acceptor, control("reject", reject)]
}

fn controls() -> Vec<Vector> {
    vec![
        control("ping", Ping { token: 1 }),
        Vector { later_fields: 1, ..control("pong", Pong { token: u64::MAX, clock_us: 1_800_000_000_000_000 }) },
        control("credit", Credit { lane: Lane::Bulk as u8, limit: 6 << 20 }),
        control("fence", Fence { sent_bytes: vec![0, 1 << 20, 4096, 1] }),
        with_correlation(control("stream_credit", StreamCredit { limit: 1 << 20 })),
        opaque("cancel", control_type::CANCEL, Flags::ONE_WAY, ""),
        control("go_away_warning", GoAway { last: false, accepted: vec![1, 2, 300, 0] }),
        control("go_away_last", GoAway { last: true, accepted: vec![1, 3, 300, 0] }),
        control("close", Close { code: CloseCode::Silent as u16 }),
        opaque("membership_sync", control_type::MEMBERSHIP_SYNC, Flags::default(), "its own bytes"),
    ]
}

fn with_correlation(vector: Vector) -> Vector {
    Vector { head: FrameHead { correlation: CORRELATION, ..vector.head }, ..vector }
}

fn replies() -> Vec<Vector> {
    let overloaded = Reason::Overloaded(OverloadScope::Handler);
    let error = ErrorReply::new(Effect::NotStarted, overloaded, "16 of 16 are running");
    let mut error = control("reply_error", error);
    error.head.flags = Flags::RESPONSE.with(Flags::ERROR);
    error.head.lane = Lane::Interactive;
    error.head.correlation = CORRELATION;
    let reply = |name, bytes| {
        let mut reply = opaque(name, control_type::REPLY, Flags::RESPONSE, bytes);
        reply.head.lane = Lane::Interactive;
        reply
    };
    vec![error, reply("reply", "answer"), reply("reply_empty", "")]
}

fn flags() -> Vec<Vector> {
    let mut one_way = flag("flag_one_way", Flags::ONE_WAY);
    one_way.head.correlation = 0;
    let refused = |name, flags| Vector { refused: Some(FrameError::NotAgreed), ..flag(name, flags) };
    vec![
        flag("flag_none", Flags::default()),
        flag("flag_response", Flags::RESPONSE),
        one_way,
        flag("flag_idempotent", Flags::IDEMPOTENT),
        flag("flag_without_meaning", Flags(0xfe00)),
        refused("refused_flag_more", Flags::MORE),
        refused("refused_flag_codec", Flags::CODEC),
        refused("refused_flag_stream", Flags::STREAM),
    ]
}

fn extensions() -> Vec<Vector> {
    let work = Application { message_type: MessageType(0xffff), payload: Payload::from("body") };
    let unknown =
        Vector { extensions: &[0x3f, 2, 0, 0, 1, 2, 3, 4, 0x01, 1, 0, 0], ..cluster("extension_unknown", work) };
    let beyond = Vector { extensions: &[0x04, 2, 0, 0, 0, 0, 0, 5], ..flag("refused_attachment", Flags::default()) };
    vec![unknown, Vector { refused: Some(FrameError::Extension), ..beyond }]
}
