//! Messages out of any input: every field as the input decides, and every message legal.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use rdb_net_types::{
    AbortTransaction, Application, BootId, ClusterId, ClusterMessage, CommitTransaction, Heartbeat, Incarnation,
    LogEntry, MessageType, NodeAddress, NodeId, Payload, PrepareTransaction, ProtocolRange, QueryRequest,
    QueryResponse, ReplicationAck, ReplicationLog, TransactionAck, TransactionId, TransactionVote, Tuple, Vote,
};
use rdb_net_wire::{Body, Encode, Flags, FrameBuffer, FrameHead, HEAD_BYTES, Hello, TypeCost, decode_frame};

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
const ITEMS_MAX: usize = 5;
/// Some pieces are large enough to be shared instead of copied.
const PIECE_BYTES_MAX: usize = 200;
const LARGE_PIECE_BYTES: usize = 5000;

/// The largest frame that messages are written into here.
pub(crate) const FRAME_BYTES_MAX: u32 = 1 << 20;

fn name(input: &mut Unstructured<'_>) -> Result<String> {
    let length = input.int_in_range(1..=64usize)?;
    (0..length).map(|_| input.choose(LETTERS).map(|letter| char::from(*letter))).collect()
}

fn node(input: &mut Unstructured<'_>) -> Result<NodeId> {
    Ok(NodeId::new(&name(input)?).expect("made of legal letters"))
}

fn text(input: &mut Unstructured<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(input)?).into_owned())
}

fn bytes(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = input.int_in_range(0..=PIECE_BYTES_MAX)?.min(input.len());
    input.bytes(length).map(<[u8]>::to_vec)
}

fn piece(input: &mut Unstructured<'_>) -> Result<Bytes> {
    if input.ratio(1u8, 32)? {
        return Ok(Bytes::from(vec![input.arbitrary()?; LARGE_PIECE_BYTES]));
    }
    bytes(input).map(Bytes::from)
}

fn payload(input: &mut Unstructured<'_>) -> Result<Payload> {
    list(input, piece).map(|pieces| pieces.into_iter().collect())
}

fn list<T>(input: &mut Unstructured<'_>, item: fn(&mut Unstructured<'_>) -> Result<T>) -> Result<Vec<T>> {
    let length = input.int_in_range(0..=ITEMS_MAX)?;
    (0..length).map(|_| item(input)).collect()
}

fn transaction(input: &mut Unstructured<'_>) -> Result<TransactionId> {
    input.arbitrary().map(TransactionId)
}

fn entry(input: &mut Unstructured<'_>) -> Result<LogEntry> {
    Ok(LogEntry { index: input.arbitrary()?, epoch: input.arbitrary()?, data: piece(input)? })
}

fn query_response(input: &mut Unstructured<'_>) -> Result<QueryResponse> {
    Ok(QueryResponse {
        query_id: input.arbitrary()?,
        fragment: input.arbitrary()?,
        result: list(input, |input| piece(input).map(Tuple))?,
        more: input.arbitrary()?,
    })
}

fn replication_log(input: &mut Unstructured<'_>) -> Result<ReplicationLog> {
    Ok(ReplicationLog {
        log_id: input.arbitrary()?,
        epoch: input.arbitrary()?,
        previous_index: input.arbitrary()?,
        previous_epoch: input.arbitrary()?,
        committed_index: input.arbitrary()?,
        entries: list(input, entry)?,
    })
}

fn replication_ack(input: &mut Unstructured<'_>) -> Result<ReplicationAck> {
    Ok(ReplicationAck {
        log_id: input.arbitrary()?,
        epoch: input.arbitrary()?,
        durable_index: input.arbitrary()?,
        accepted: input.arbitrary()?,
    })
}

fn vote(input: &mut Unstructured<'_>) -> Result<TransactionVote> {
    let vote = *input.choose(&[Vote::Commit, Vote::Abort, Vote::ReadOnly])?;
    Ok(TransactionVote { txn_id: transaction(input)?, vote, reason: text(input)? })
}

fn prepare(input: &mut Unstructured<'_>) -> Result<PrepareTransaction> {
    Ok(PrepareTransaction {
        txn_id: transaction(input)?,
        coordinator: node(input)?,
        participants: list(input, node)?,
        work: payload(input)?,
    })
}

/// A message of the cluster.
pub(crate) fn cluster_message(input: &mut Unstructured<'_>) -> Result<ClusterMessage> {
    Ok(match input.int_in_range(0..=10u8)? {
        0 => Heartbeat { node_id: node(input)?, timestamp_us: input.arbitrary()? }.into(),
        1 => {
            let (query_id, fragment) = (input.arbitrary()?, input.arbitrary()?);
            QueryRequest { query_id, fragment, query: text(input)?, parameters: payload(input)? }.into()
        }
        2 => query_response(input)?.into(),
        3 => replication_log(input)?.into(),
        4 => replication_ack(input)?.into(),
        5 => prepare(input)?.into(),
        6 => vote(input)?.into(),
        7 => CommitTransaction { txn_id: transaction(input)? }.into(),
        8 => AbortTransaction { txn_id: transaction(input)?, reason: text(input)? }.into(),
        9 => TransactionAck { txn_id: transaction(input)? }.into(),
        _ => {
            let number = input.int_in_range(0..=0x7fffu16)?;
            let message_type = MessageType::application(number).expect("in range");
            Application { message_type, payload: payload(input)? }.into()
        }
    })
}

/// A hello with any limits.
pub(crate) fn hello(input: &mut Unstructured<'_>) -> Result<Hello> {
    let target = if input.arbitrary()? { Some(node(input)?) } else { None };
    Ok(Hello {
        cluster: ClusterId::new(&name(input)?).expect("made of legal letters"),
        node: node(input)?,
        target,
        incarnation: Incarnation::from_u64(input.arbitrary()?),
        boot: BootId(input.arbitrary()?),
        address: NodeAddress::new("10.0.0.1", input.arbitrary()?).expect("legal"),
        protocol: ProtocolRange { min: input.arbitrary()?, max: input.arbitrary()? },
        features: input.arbitrary()?,
        codecs: bytes(input)?,
        frame_bytes_max: input.arbitrary()?,
        message_bytes_max: input.arbitrary()?,
        requests_max: input.arbitrary()?,
        credits: list(input, |input| input.arbitrary())?,
        liveness_ms: input.arbitrary()?,
        checksum: input.arbitrary()?,
        channel_binding: bytes(input)?,
        token: bytes(input)?,
        software: text(input)?,
        costs: costs(input)?,
    })
}

fn costs(input: &mut Unstructured<'_>) -> Result<Vec<TypeCost>> {
    let count = input.int_in_range(0..=3)?;
    (0..count).map(|_| Ok(TypeCost { message_type: input.arbitrary()?, bytes_per_byte: input.arbitrary()? })).collect()
}

/// Writes a message as a frame of its own.
pub(crate) fn framed(head: FrameHead, message: &(impl Encode + ?Sized)) -> Bytes {
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, message, FRAME_BYTES_MAX).expect("the message is small enough");
    buffer.seal(&mark, 0);
    buffer.to_vec().into()
}

/// The body of a message, as it comes out of its frame.
pub(crate) fn body(message: &(impl Encode + ?Sized)) -> Body {
    let flags = Flags::CHECKSUM.with(Flags::ONE_WAY);
    let lane = rdb_net_types::Lane::Interactive;
    let frame = framed(FrameHead { message_type: message.message_type(), flags, lane, correlation: 0 }, message);
    let read = decode_frame(&frame, true).expect("our own frame");
    assert!(frame.len() >= HEAD_BYTES);
    Body::of(&read, &frame)
}
