//! What one version writes the other reads as the same message.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof, proptest};
use rdb_net_types::{
    AbortTransaction, Application, BootId, ClusterId, ClusterMessage, CommitTransaction, Heartbeat, Incarnation, Lane,
    LogEntry, MessageType, NodeAddress, NodeId, Payload, PrepareTransaction, ProtocolRange, QueryRequest,
    QueryResponse, ReplicationAck, ReplicationLog, TransactionAck, TransactionId, TransactionVote, Tuple, Vote,
};
use rdb_net_wire as today;
use rdb_net_wire_previous as previous;

const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Writes a message with one version and reads it with the other: the type and the body.
macro_rules! carry {
    ($from:ident, $to:ident, $message:expr) => {{
        let message = $message;
        let head = $from::FrameHead {
            message_type: $from::Encode::message_type(message),
            flags: $from::Flags::CHECKSUM,
            lane: Lane::Bulk,
            correlation: 0x0000_0001_0000_0002,
        };
        let mut buffer = $from::FrameBuffer::new();
        let mark = buffer.push(head, message, FRAME_BYTES_MAX).expect("it fits");
        buffer.seal(&mark, 12_345);
        let bytes = Bytes::from(buffer.to_vec());
        assert_eq!($to::frame_length(&bytes, FRAME_BYTES_MAX), Ok(Some(bytes.len())));
        let frame = $to::decode_frame(&bytes, true).expect("a frame");
        let read = &frame.head;
        assert_eq!((read.message_type, read.lane, read.correlation), (head.message_type, Lane::Bulk, head.correlation));
        assert_eq!((read.flags.0, frame.deadline_us), (head.flags.0, 12_345));
        $to::Body::of(&frame, &bytes)
    }};
}

/// Both ways: the fields come back as they were.
macro_rules! check_fields {
    ($name:ident { $($field:ident),* }, $values:expr) => {{
        let ($($field),*,) = $values;
        let new = today::$name { $($field: $field.clone()),* };
        let old = previous::$name { $($field: $field.clone()),* };
        let read = <today::$name as today::Message>::decode(&carry!(previous, today, &old)).expect("readable");
        assert_eq!(read, new);
        let read = <previous::$name as previous::Message>::decode(&carry!(today, previous, &new)).expect("readable");
        assert_eq!(read, old);
    }};
}

fn node_id() -> impl Strategy<Value = NodeId> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|text| NodeId::new(&text).expect("follows the rules"))
}

/// Bytes on both sides of the size from which they are shared instead of copied.
fn piece() -> impl Strategy<Value = Bytes> {
    (prop_oneof![4 => 0usize..40, 1 => 4090usize..9000], any::<u8>())
        .prop_map(|(length, byte)| vec![byte; length].into())
}

fn payload() -> impl Strategy<Value = Payload> {
    vec(piece(), 0..4).prop_map(|pieces| pieces.into_iter().collect())
}

fn transactions() -> BoxedStrategy<ClusterMessage> {
    let id = || any::<u128>().prop_map(TransactionId);
    let prepare =
        (id(), node_id(), vec(node_id(), 0..5), payload()).prop_map(|(txn_id, coordinator, participants, work)| {
            PrepareTransaction { txn_id, coordinator, participants, work }.into()
        });
    let vote = (id(), prop_oneof![Just(Vote::Commit), Just(Vote::Abort), Just(Vote::ReadOnly)], any::<String>());
    prop_oneof![
        prepare,
        vote.prop_map(|(txn_id, vote, reason)| TransactionVote { txn_id, vote, reason }.into()),
        (id(), any::<String>()).prop_map(|(txn_id, reason)| AbortTransaction { txn_id, reason }.into()),
        id().prop_map(|txn_id| CommitTransaction { txn_id }.into()),
        id().prop_map(|txn_id| TransactionAck { txn_id }.into()),
    ]
    .boxed()
}

fn data() -> BoxedStrategy<ClusterMessage> {
    let entry = (any::<u64>(), any::<u64>(), piece()).prop_map(|(index, epoch, data)| LogEntry { index, epoch, data });
    let log = (any::<[u64; 5]>(), vec(entry, 0..6)).prop_map(|(numbers, entries)| {
        let [log_id, epoch, previous_index, previous_epoch, committed_index] = numbers;
        ReplicationLog { log_id, epoch, previous_index, previous_epoch, committed_index, entries }.into()
    });
    let ack = (any::<[u64; 3]>(), any::<bool>()).prop_map(|([log_id, epoch, durable_index], accepted)| {
        ReplicationAck { log_id, epoch, durable_index, accepted }.into()
    });
    let request =
        (any::<u64>(), any::<u32>(), any::<String>(), payload()).prop_map(|(query_id, fragment, query, parameters)| {
            QueryRequest { query_id, fragment, query, parameters }.into()
        });
    let response = (any::<u64>(), any::<u32>(), any::<bool>(), vec(piece().prop_map(Tuple), 0..6))
        .prop_map(|(query_id, fragment, more, result)| QueryResponse { query_id, fragment, result, more }.into());
    prop_oneof![log, ack, request, response].boxed()
}

fn cluster_message() -> impl Strategy<Value = ClusterMessage> {
    let heartbeat =
        (node_id(), any::<u64>()).prop_map(|(node_id, timestamp_us)| Heartbeat { node_id, timestamp_us }.into());
    let application = (0u16..0x8000, payload()).prop_map(|(number, payload)| {
        Application { message_type: MessageType::application(number).expect("in range"), payload }.into()
    });
    prop_oneof![heartbeat, application, data(), transactions()]
}

fn check_hello(numbers: [u64; 3], sizes: [u32; 4], versions: [u16; 2], target: Option<NodeId>, token: Vec<u8>) {
    let old = previous::Hello {
        cluster: ClusterId::new("test").expect("legal"),
        node: NodeId::new("n1").expect("legal"),
        target,
        incarnation: Incarnation::from_u64(numbers[0]),
        boot: BootId(numbers[1]),
        address: NodeAddress::new("10.0.0.1", versions[0]).expect("legal"),
        protocol: ProtocolRange { min: versions[0], max: versions[1] },
        features: numbers[2],
        codecs: token.clone(),
        frame_bytes_max: sizes[0],
        message_bytes_max: sizes[1],
        requests_max: sizes[2],
        credits: numbers.to_vec(),
        liveness_ms: sizes[3],
        checksum: sizes[0].is_multiple_of(2),
        channel_binding: token.clone(),
        token,
        software: "some".to_owned(),
    };
    let read: today::Hello = today::Message::decode(&carry!(previous, today, &old)).expect("readable");
    assert_eq!(read.costs, []);
    let costs = vec![today::TypeCost { message_type: versions[0], bytes_per_byte: versions[1] }];
    let new = today::Hello { costs, ..read };
    let read: previous::Hello = previous::Message::decode(&carry!(today, previous, &new)).expect("readable");
    assert_eq!(read, old);
}

proptest! {
    #[test]
    fn every_cluster_message_is_read_by_the_other_version(message in cluster_message()) {
        let message_type = today::Encode::message_type(&message);
        let read = today::decode_cluster_message(message_type, carry!(previous, today, &message));
        assert_eq!(read.as_ref(), Ok(&message));
        let read = previous::decode_cluster_message(message_type, carry!(today, previous, &message));
        assert_eq!(read.as_ref(), Ok(&message));
    }

    #[test]
    fn every_control_message_is_read_by_the_other_version(
        number in any::<u64>(), code in any::<u16>(), lane in any::<u8>(), flag in any::<bool>(),
        list in vec(any::<u64>(), 0..6), text in "[a-z ]{0,40}", after in any::<u32>(),
    ) {
        check_fields!(Reject { code, retry_after_ms }, (code, after));
        check_fields!(Ping { token }, (number,));
        check_fields!(Credit { lane, limit }, (lane, number));
        check_fields!(GoAway { last, accepted }, (flag, list));
        check_fields!(Close { code }, (code,));
        check_fields!(ErrorReply { not_started, code, detail }, (flag, code, text));
        // A field that came later: the previous version reads the others, and its own pong tells no clock.
        let new = today::Pong { token: number, clock_us: 1 };
        let old: previous::Pong = previous::Message::decode(&carry!(today, previous, &new)).expect("readable");
        assert_eq!(old.token, number);
        let read: today::Pong = today::Message::decode(&carry!(previous, today, &old)).expect("readable");
        assert_eq!(read, today::Pong { clock_us: 0, ..new });
    }

    #[test]
    fn a_hello_is_read_by_the_other_version(
        numbers in any::<[u64; 3]>(), sizes in any::<[u32; 4]>(), versions in any::<[u16; 2]>(),
        target in option::of(node_id()), token in vec(any::<u8>(), 0..40),
    ) {
        check_hello(numbers, sizes, versions, target, token);
    }
}

#[test]
fn a_cancel_and_opaque_bodies_are_read_by_the_other_version() {
    for (message_type, payload) in [
        (today::control_type::CANCEL, Payload::default()),
        (today::control_type::MEMBERSHIP_SYNC, Payload::from("its own")),
        (today::control_type::REPLY, Payload::from("an answer")),
    ] {
        let (new, old) = (
            today::Raw { message_type, payload: payload.clone() },
            previous::Raw { message_type, payload: payload.clone() },
        );
        assert_eq!(carry!(today, previous, &new).into_payload(), payload);
        assert_eq!(carry!(previous, today, &old).into_payload(), payload);
    }
}
