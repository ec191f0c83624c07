//! Arbitrary messages: empty, small and large fields, payloads in one piece and in several.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use rdb_net_types::{
    AbortTransaction, Application, BootId, ClusterId, ClusterMessage, CommitTransaction, Heartbeat, Incarnation,
    LogEntry, MessageType, NodeAddress, NodeId, Payload, PrepareTransaction, ProtocolRange, QueryRequest,
    QueryResponse, ReplicationAck, ReplicationLog, TransactionAck, TransactionId, TransactionVote, Tuple, Vote,
};

use crate::{Hello, INLINE_BYTES_MAX, TypeCost};

pub(super) fn node_id() -> impl Strategy<Value = NodeId> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|text| NodeId::new(&text).expect("follows the rules"))
}

/// Bytes on both sides of the size from which they are shared instead of copied.
pub(super) fn piece() -> impl Strategy<Value = Bytes> {
    let length = prop_oneof![
        4 => 0usize..40,
        2 => INLINE_BYTES_MAX - 1..=INLINE_BYTES_MAX + 1,
        1 => INLINE_BYTES_MAX..2 * INLINE_BYTES_MAX,
    ];
    (length, any::<u8>()).prop_map(|(length, first)| (0..length).map(|i| first.wrapping_add(i as u8)).collect())
}

pub(super) fn payload() -> impl Strategy<Value = Payload> {
    vec(piece(), 0..4).prop_map(|pieces| pieces.into_iter().collect())
}

fn transaction() -> impl Strategy<Value = TransactionId> {
    any::<u128>().prop_map(TransactionId)
}

fn queries() -> BoxedStrategy<ClusterMessage> {
    let request =
        (any::<u64>(), any::<u32>(), any::<String>(), payload()).prop_map(|(query_id, fragment, query, parameters)| {
            QueryRequest { query_id, fragment, query, parameters }.into()
        });
    let response = (any::<u64>(), any::<u32>(), any::<bool>(), vec(piece().prop_map(Tuple), 0..6))
        .prop_map(|(query_id, fragment, more, result)| QueryResponse { query_id, fragment, result, more }.into());
    prop_oneof![request, response].boxed()
}

fn replication() -> BoxedStrategy<ClusterMessage> {
    let entry = (any::<u64>(), any::<u64>(), piece()).prop_map(|(index, epoch, data)| LogEntry { index, epoch, data });
    let log = (any::<[u64; 5]>(), vec(entry, 0..6)).prop_map(|(numbers, entries)| {
        let [log_id, epoch, previous_index, previous_epoch, committed_index] = numbers;
        ReplicationLog { log_id, epoch, previous_index, previous_epoch, committed_index, entries }.into()
    });
    let ack = (any::<[u64; 3]>(), any::<bool>()).prop_map(|([log_id, epoch, durable_index], accepted)| {
        ReplicationAck { log_id, epoch, durable_index, accepted }.into()
    });
    prop_oneof![log, ack].boxed()
}

fn transactions() -> BoxedStrategy<ClusterMessage> {
    let prepare = (transaction(), node_id(), vec(node_id(), 0..5), payload()).prop_map(
        |(txn_id, coordinator, participants, work)| {
            PrepareTransaction { txn_id, coordinator, participants, work }.into()
        },
    );
    let vote = prop_oneof![Just(Vote::Commit), Just(Vote::Abort), Just(Vote::ReadOnly)];
    let vote = (transaction(), vote, any::<String>())
        .prop_map(|(txn_id, vote, reason)| TransactionVote { txn_id, vote, reason }.into());
    let abort =
        (transaction(), any::<String>()).prop_map(|(txn_id, reason)| AbortTransaction { txn_id, reason }.into());
    let commit = transaction().prop_map(|txn_id| CommitTransaction { txn_id }.into());
    let ack = transaction().prop_map(|txn_id| TransactionAck { txn_id }.into());
    prop_oneof![prepare, vote, abort, commit, ack].boxed()
}

pub(super) fn cluster_message() -> impl Strategy<Value = ClusterMessage> {
    let heartbeat =
        (node_id(), any::<u64>()).prop_map(|(node_id, timestamp_us)| Heartbeat { node_id, timestamp_us }.into());
    let application = (0u16..0x8000, payload()).prop_map(|(number, payload)| {
        let message_type = MessageType::application(number).expect("in range");
        Application { message_type, payload }.into()
    });
    prop_oneof![heartbeat, queries(), replication(), transactions(), application]
}

fn address() -> impl Strategy<Value = NodeAddress> {
    let host = prop_oneof![
        "[a-z]{1,20}(\\.[a-z]{1,20}){0,3}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
    ];
    (host, any::<u16>()).prop_map(|(host, port)| NodeAddress::new(&host, port).expect("legal"))
}

pub(super) fn hello() -> impl Strategy<Value = Hello> {
    let cluster = "[A-Za-z0-9._-]{1,64}".prop_map(|text| ClusterId::new(&text).expect("follows the rules"));
    let who = (cluster, node_id(), option::of(node_id()), any::<[u64; 3]>(), address());
    let limits = (any::<[u16; 2]>(), any::<[u32; 4]>(), vec(any::<u64>(), 0..6), any::<bool>());
    let bytes = (vec(any::<u8>(), 0..5), vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40), any::<String>());
    (who, limits, bytes).prop_map(
        |((cluster, node, target, numbers, address), (versions, sizes, credits, checksum), bytes)| {
            let (codecs, channel_binding, token, software) = bytes;
            Hello {
                cluster,
                node,
                target,
                incarnation: Incarnation::from_u64(numbers[0]),
                boot: BootId(numbers[1]),
                address,
                protocol: ProtocolRange { min: versions[0], max: versions[1] },
                features: numbers[2],
                codecs,
                frame_bytes_max: sizes[0],
                message_bytes_max: sizes[1],
                requests_max: sizes[2],
                credits,
                liveness_ms: sizes[3],
                checksum,
                channel_binding,
                token,
                software,
                costs: vec![TypeCost { message_type: versions[0], bytes_per_byte: versions[1] }],
            }
        },
    )
}
