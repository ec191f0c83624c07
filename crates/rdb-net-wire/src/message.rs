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

/// A [`ReplicationLog`] whose entries belong to somebody else: whoever sends the same ones to several nodes puts their data together
/// once.
#[derive(Debug, Clone, Copy)]
pub struct ReplicationLogOf<'a> {
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
    /// The entries, of which indexes, epochs and lengths are written.
    pub entries: &'a [LogEntry],
    /// The data of all of them, one after the other.
    pub data: &'a Payload,
}

impl Encode for ReplicationLogOf<'_> {
    fn message_type(&self) -> MessageType {
        MessageType::REPLICATION_LOG
    }

    fn attachment_bytes(&self) -> usize {
        self.data.len()
    }

    fn encode(&self, body: &mut BodyWriter<'_>) {
        let column = |read: fn(&LogEntry) -> u64| -> Vec<u64> { self.entries.iter().map(read).collect() };
        body.field(&8u32);
        body.field(&self.log_id);
        body.field(&self.epoch);
        body.field(&self.previous_index);
        body.field(&self.previous_epoch);
        body.field(&self.committed_index);
        body.field(&column(|entry| entry.index));
        body.field(&column(|entry| entry.epoch));
        body.field(&column(|entry| entry.data.len() as u64));
        body.share(self.data);
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
        let data = &entries.iter().map(|entry| entry.data.clone()).collect();
        ReplicationLogOf { log_id, epoch, previous_index, previous_epoch, committed_index, entries, data }.encode(body);
    }
}

impl Message for ReplicationLog {
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
                entries: Vec::new(),
            };
            let columns: [Vec<u64>; 2] = [fields.required()?, fields.required()?];
            Ok((log, columns, fields.required::<Vec<u32>>()?))
        };
        let (log, [indexes, epochs], lengths) = read().map_err(malformed(Self::TYPE))?;
        if indexes.len() != lengths.len() || epochs.len() != lengths.len() {
            return Err(DecodeError::Malformed { message_type: Self::TYPE });
        }
        let attachment = body.attachment();
        let data = cut(&attachment, &lengths, Self::TYPE)?;
        let entries = indexes.into_iter().zip(epochs).zip(data);
        let entries = entries.map(|((index, epoch), data)| LogEntry { index, epoch, data }).collect();
        Ok(Self { entries, ..log })
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
