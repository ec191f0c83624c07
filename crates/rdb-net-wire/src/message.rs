//! The bodies of the cluster's messages.

use bytes::{Bytes, BytesMut};
use rdb_net_types::{
    AbortTransaction, Application, ClusterMessage, CommitTransaction, Heartbeat, LogEntry, MessageType, Payload,
    PrepareTransaction, QueryRequest, QueryResponse, ReplicationAck, ReplicationLog, TransactionAck, TransactionVote,
    Tuple,
};

use crate::DecodeError;
use crate::body::{Body, BodyWriter, Encode, Message};
use crate::codec::{Fields, Malformed};

/// A message that is a struct of plain fields, all of which the first version has.
macro_rules! plain_message {
    ($name:ident = $message_type:ident { $($field:ident),* $(,)? }) => {
        impl Encode for $name {
            fn message_type(&self) -> MessageType {
                MessageType::$message_type
            }

            fn encode(&self, body: &mut BodyWriter<'_>) {
                const FIELDS: u32 = [$(stringify!($field)),*].len() as u32;
                body.field(&FIELDS);
                $(body.field(&self.$field);)*
            }
        }

        impl Message for $name {
            const TYPE: MessageType = MessageType::$message_type;

            fn decode(body: &Body) -> Result<Self, DecodeError> {
                let read = || {
                    let mut fields = Fields::new(body.structure())?;
                    Ok(Self { $($field: fields.required()?),* })
                };
                read().map_err(|Malformed| DecodeError::Malformed { message_type: Self::TYPE })
            }
        }
    };
}

plain_message!(Heartbeat = HEARTBEAT { node_id, timestamp_us });
plain_message!(ReplicationAck = REPLICATION_ACK { log_id, epoch, durable_index, accepted });
plain_message!(TransactionVote = TRANSACTION_VOTE { txn_id, vote, reason });
plain_message!(CommitTransaction = COMMIT_TRANSACTION { txn_id });
plain_message!(AbortTransaction = ABORT_TRANSACTION { txn_id, reason });
plain_message!(TransactionAck = TRANSACTION_ACK { txn_id });

fn malformed(message_type: MessageType) -> impl Fn(Malformed) -> DecodeError {
    move |Malformed| DecodeError::Malformed { message_type }
}

/// Cuts an attachment into pieces of these lengths, which must use it up exactly. A piece that lies on both sides of a
/// fragment's end is copied; all others are shared.
fn cut(
    attachment: &Payload,
    lengths: &[u32],
    message_type: MessageType,
) -> Result<impl Iterator<Item = Bytes>, DecodeError> {
    let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    if total != attachment.len() as u64 {
        return Err(DecodeError::Attachment { message_type });
    }
    let mut pieces = attachment.pieces().iter().cloned();
    let mut rest = Bytes::new();
    Ok(lengths.iter().map(move |length| {
        let length = *length as usize;
        if length != 0 && rest.is_empty() {
            rest = pieces.next().unwrap_or_default();
        }
        if length <= rest.len() {
            return rest.split_to(length);
        }
        let mut joined = BytesMut::with_capacity(length);
        while joined.len() < length {
            if rest.is_empty() {
                rest = pieces.next().unwrap_or_default();
            }
            joined.extend_from_slice(&rest.split_to(rest.len().min(length - joined.len())));
        }
        joined.freeze()
    }))
}

impl Encode for QueryRequest {
    fn message_type(&self) -> MessageType {
        Self::TYPE
    }

    fn attachment_bytes(&self) -> usize {
        self.parameters.len()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.field(&3u32);
        body.field(&self.query_id);
        body.field(&self.fragment);
        body.field(&self.query);
        body.share(&self.parameters);
    }
}

impl Message for QueryRequest {
    const TYPE: MessageType = MessageType::QUERY_REQUEST;

    fn decode(body: &Body) -> Result<Self, DecodeError> {
        let read = || {
            let mut fields = Fields::new(body.structure())?;
            Ok(Self {
                query_id: fields.required()?,
                fragment: fields.required()?,
                query: fields.required()?,
                parameters: body.attachment(),
            })
        };
        read().map_err(malformed(Self::TYPE))
    }
}

impl Encode for QueryResponse {
    fn message_type(&self) -> MessageType {
        Self::TYPE
    }

    fn attachment_bytes(&self) -> usize {
        self.result.iter().map(|tuple| tuple.0.len()).sum()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        let lengths: Vec<u32> = self.result.iter().map(|tuple| tuple.0.len() as u32).collect();
        body.field(&4u32);
        body.field(&self.query_id);
        body.field(&self.fragment);
        body.field(&self.more);
        body.field(&lengths);
        self.result.iter().for_each(|tuple| body.share(&Payload::from(tuple.0.clone())));
    }
}

impl Message for QueryResponse {
    const TYPE: MessageType = MessageType::QUERY_RESPONSE;

    fn decode(body: &Body) -> Result<Self, DecodeError> {
        let read = || {
            let mut fields = Fields::new(body.structure())?;
            let response = Self {
                query_id: fields.required()?,
                fragment: fields.required()?,
                more: fields.required()?,
                result: Vec::new(),
            };
            Ok((response, fields.required::<Vec<u32>>()?))
        };
        let (response, lengths) = read().map_err(malformed(Self::TYPE))?;
        let attachment = body.attachment();
        let tuples = cut(&attachment, &lengths, Self::TYPE)?;
        Ok(Self { result: tuples.map(Tuple).collect(), ..response })
    }
}

/// A [`ReplicationLog`] as it travels: what its entries are, and the data of all of them one after the other. Whoever sends the same
/// entries to several nodes puts their data together once, and whoever receives thousands of them needs no handle for each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackedReplicationLog<H> {
    /// As of [`ReplicationLog`].
    pub log_id: u64,
    /// As of [`ReplicationLog`].
    pub epoch: u64,
    /// As of [`ReplicationLog`].
    pub previous_index: u64,
    /// As of [`ReplicationLog`].
    pub previous_epoch: u64,
    /// As of [`ReplicationLog`].
    pub committed_index: u64,
    /// What the entries are.
    pub heads: H,
    /// The data of all of them, one after the other.
    pub data: Payload,
}

/// What an entry is beside its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntryHead {
    /// Its place in the log.
    pub index: u64,
    /// The epoch of the leader that wrote it.
    pub epoch: u64,
    /// How many bytes of data it has.
    pub length: u32,
}

/// What entries are beside their data, however their owner keeps it.
pub trait EntryHeads {
    /// One after the other.
    fn heads(&self) -> impl ExactSizeIterator<Item = EntryHead>;
}

impl EntryHeads for Vec<EntryHead> {
    fn heads(&self) -> impl ExactSizeIterator<Item = EntryHead> {
        self.iter().copied()
    }
}

impl EntryHeads for &[LogEntry] {
    fn heads(&self) -> impl ExactSizeIterator<Item = EntryHead> {
        self.iter().map(|entry| EntryHead { index: entry.index, epoch: entry.epoch, length: entry.data.len() as u32 })
    }
}

impl<H: EntryHeads> Encode for PackedReplicationLog<H> {
    fn message_type(&self) -> MessageType {
        MessageType::REPLICATION_LOG
    }

    fn attachment_bytes(&self) -> usize {
        self.data.len()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.field(&8u32);
        body.field(&self.log_id);
        body.field(&self.epoch);
        body.field(&self.previous_index);
        body.field(&self.previous_epoch);
        body.field(&self.committed_index);
        body.numbers(self.heads.heads().map(|head| head.index));
        body.numbers(self.heads.heads().map(|head| head.epoch));
        body.numbers(self.heads.heads().map(|head| u64::from(head.length)));
        body.share(&self.data);
    }
}

impl Message for PackedReplicationLog<Vec<EntryHead>> {
    const TYPE: MessageType = MessageType::REPLICATION_LOG;

    fn decode(body: &Body) -> Result<Self, DecodeError> {
        let read = || {
            let mut fields = Fields::new(body.structure())?;
            let log = Self {
                log_id: fields.required()?,
                epoch: fields.required()?,
                previous_index: fields.required()?,
                previous_epoch: fields.required()?,
                committed_index: fields.required()?,
                ..Self::default()
            };
            let columns: [Vec<u64>; 2] = [fields.required()?, fields.required()?];
            Ok((log, columns, fields.required::<Vec<u32>>()?))
        };
        let (log, [indexes, epochs], lengths) = read().map_err(malformed(Self::TYPE))?;
        if indexes.len() != lengths.len() || epochs.len() != lengths.len() {
            return Err(DecodeError::Malformed { message_type: Self::TYPE });
        }
        let data = body.attachment();
        if lengths.iter().map(|length| u64::from(*length)).sum::<u64>() != data.len() as u64 {
            return Err(DecodeError::Attachment { message_type: Self::TYPE });
        }
        let heads = indexes.into_iter().zip(epochs).zip(lengths);
        let heads = heads.map(|((index, epoch), length)| EntryHead { index, epoch, length }).collect();
        Ok(Self { heads, data, ..log })
    }
}

impl Encode for ReplicationLog {
    fn message_type(&self) -> MessageType {
        Self::TYPE
    }

    fn attachment_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.data.len()).sum()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        let Self { log_id, epoch, previous_index, previous_epoch, committed_index, ref entries } = *self;
        let (heads, data) = (entries.as_slice(), entries.iter().map(|entry| entry.data.clone()).collect());
        PackedReplicationLog { log_id, epoch, previous_index, previous_epoch, committed_index, heads, data }
            .encode(body);
    }
}

impl Message for ReplicationLog {
    const TYPE: MessageType = MessageType::REPLICATION_LOG;

    fn decode(body: &Body) -> Result<Self, DecodeError> {
        let PackedReplicationLog { log_id, epoch, previous_index, previous_epoch, committed_index, heads, data } =
            PackedReplicationLog::<Vec<EntryHead>>::decode(body)?;
        let lengths: Vec<u32> = heads.iter().map(|head| head.length).collect();
        let data = cut(&data, &lengths, Self::TYPE)?;
        let entries = heads.iter().zip(data);
        let entries = entries.map(|(&EntryHead { index, epoch, .. }, data)| LogEntry { index, epoch, data }).collect();
        Ok(Self { log_id, epoch, previous_index, previous_epoch, committed_index, entries })
    }
}

impl Encode for PrepareTransaction {
    fn message_type(&self) -> MessageType {
        Self::TYPE
    }

    fn attachment_bytes(&self) -> usize {
        self.work.len()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.field(&3u32);
        body.field(&self.txn_id);
        body.field(&self.coordinator);
        body.field(&self.participants);
        body.share(&self.work);
    }
}

impl Message for PrepareTransaction {
    const TYPE: MessageType = MessageType::PREPARE_TRANSACTION;

    fn decode(body: &Body) -> Result<Self, DecodeError> {
        let read = || {
            let mut fields = Fields::new(body.structure())?;
            Ok(Self {
                txn_id: fields.required()?,
                coordinator: fields.required()?,
                participants: fields.required()?,
                work: body.attachment(),
            })
        };
        read().map_err(malformed(Self::TYPE))
    }
}

impl Encode for Application {
    fn message_type(&self) -> MessageType {
        self.message_type
    }

    fn bytes_at_least(&self) -> usize {
        self.payload.len()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        body.share(&self.payload);
    }
}

impl Encode for ClusterMessage {
    fn message_type(&self) -> MessageType {
        Self::message_type(self)
    }

    fn attachment_bytes(&self) -> usize {
        as_encode(self).attachment_bytes()
    }

    fn bytes_at_least(&self) -> usize {
        as_encode(self).bytes_at_least()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        as_encode(self).encode(body);
    }
}

/// The struct inside the enum.
fn as_encode(message: &ClusterMessage) -> &dyn Encode {
    match message {
        ClusterMessage::Heartbeat(message) => message,
        ClusterMessage::QueryRequest(message) => message,
        ClusterMessage::QueryResponse(message) => message,
        ClusterMessage::ReplicationLog(message) => message,
        ClusterMessage::ReplicationAck(message) => message,
        ClusterMessage::PrepareTransaction(message) => message,
        ClusterMessage::TransactionVote(message) => message,
        ClusterMessage::CommitTransaction(message) => message,
        ClusterMessage::AbortTransaction(message) => message,
        ClusterMessage::TransactionAck(message) => message,
        ClusterMessage::Application(message) => message,
    }
}

/// Reads a body as the cluster message of this type.
///
/// # Errors
///
/// [`DecodeError::UnknownType`] for a type that is no cluster message here, and what the message's own decoder says.
pub fn decode_cluster_message(message_type: MessageType, body: Body) -> Result<ClusterMessage, DecodeError> {
    Ok(match message_type {
        MessageType::HEARTBEAT => Heartbeat::decode(&body)?.into(),
        MessageType::QUERY_REQUEST => QueryRequest::decode(&body)?.into(),
        MessageType::QUERY_RESPONSE => QueryResponse::decode(&body)?.into(),
        MessageType::REPLICATION_LOG => ReplicationLog::decode(&body)?.into(),
        MessageType::REPLICATION_ACK => ReplicationAck::decode(&body)?.into(),
        MessageType::PREPARE_TRANSACTION => PrepareTransaction::decode(&body)?.into(),
        MessageType::TRANSACTION_VOTE => TransactionVote::decode(&body)?.into(),
        MessageType::COMMIT_TRANSACTION => CommitTransaction::decode(&body)?.into(),
        MessageType::ABORT_TRANSACTION => AbortTransaction::decode(&body)?.into(),
        MessageType::TRANSACTION_ACK => TransactionAck::decode(&body)?.into(),
        own if own.is_application() => Application { message_type: own, payload: body.into_payload() }.into(),
        unknown => return Err(DecodeError::UnknownType { message_type: unknown }),
    })
}
