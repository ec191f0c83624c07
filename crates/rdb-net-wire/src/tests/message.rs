//! The cluster's messages: they come back as they were, and a body that is none of them is an error, never a panic.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::sample::Index;
use rdb_net_types::{ClusterMessage, LogEntry, MessageSpec, MessageType, QueryResponse, ReplicationLog, Tuple};

use super::arbitrary::cluster_message;
use super::{FRAME_BYTES_MAX, body, checked, request_head, sealed};
use crate::codec;
use crate::{Body, DecodeError, Encode, Flags, decode_cluster_message, decode_frame};

proptest! {
    #[test]
    fn every_message_comes_back_from_its_frame(message in cluster_message(), with_checksum: bool, deadline_us: u32) {
        let head = request_head(message.message_type());
        let head = if with_checksum { checked(head) } else { head };
        let bytes = Bytes::from(sealed(head, &message, deadline_us));
        let frame = decode_frame(&bytes, with_checksum).expect("our own");
        prop_assert_eq!((frame.head, frame.deadline_us), (head, deadline_us));
        let body = Body::of(&frame, &bytes);
        prop_assert_eq!(body.attachment().len(), message.attachment_bytes());
        prop_assert_eq!(decode_cluster_message(frame.head.message_type, body), Ok(message));
    }

    #[test]
    fn any_body_of_any_type_is_read_or_refused(
        row in 0..MessageSpec::TABLE.len(),
        structure in vec(any::<u8>(), 0..80),
        attachment in vec(any::<u8>(), 0..20),
    ) {
        let body = Body::new(structure.into(), &attachment);
        let _ = decode_cluster_message(MessageSpec::TABLE[row].message_type, body);
    }

    #[test]
    fn a_message_with_a_changed_byte_is_read_or_refused(
        message in cluster_message(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let whole = body(&message);
        let (mut structure, attachment) = (whole.structure().to_vec(), whole.attachment().into_bytes().to_vec());
        for (at, byte) in changes.into_iter().filter(|_| !structure.is_empty()).collect::<Vec<_>>() {
            let at = at.index(structure.len());
            structure[at] = byte;
        }
        let _ = decode_cluster_message(message.message_type(), Body::new(structure.into(), &attachment));
    }
}

#[test]
fn a_type_that_is_no_cluster_message_is_unknown_and_harms_nothing() {
    let known: Vec<u16> = MessageSpec::TABLE.iter().map(|row| row.message_type.0).collect();
    for number in (0..MessageType::FIRST_APPLICATION.0).filter(|number| !known.contains(number)) {
        let message_type = MessageType(number);
        let decoded = decode_cluster_message(message_type, Body::default());
        assert_eq!(decoded, Err(DecodeError::UnknownType { message_type }));
    }
}

#[test]
fn every_type_of_the_table_has_a_decoder() {
    for row in MessageSpec::TABLE {
        let message_type = row.message_type;
        let decoded = decode_cluster_message(message_type, Body::default());
        assert_eq!(decoded, Err(DecodeError::Malformed { message_type }));
    }
}

#[test]
fn an_application_message_is_its_bytes_wherever_its_attachment_begins() {
    let body = Body::new(Bytes::from_static(b"ab"), b"cd");
    let message_type = MessageType(0xffff);
    let decoded = decode_cluster_message(message_type, body);
    let expected = rdb_net_types::Application { message_type, payload: "abcd".into() };
    assert_eq!(decoded, Ok(ClusterMessage::Application(expected)));
}

fn response(rows: &[&'static [u8]]) -> QueryResponse {
    let result = rows.iter().map(|row| Tuple(Bytes::from_static(row))).collect();
    QueryResponse { query_id: 1, fragment: 0, result, more: false }
}

#[test]
fn lengths_that_do_not_use_up_the_attachment_are_refused() {
    let message_type = MessageType::QUERY_RESPONSE;
    let structure = Bytes::copy_from_slice(body(&response(&[b"abc", b"", b"de"])).structure());
    for length in (0..10).filter(|length| *length != 5) {
        let body = Body::new(structure.clone(), &vec![0; length]);
        assert_eq!(decode_cluster_message(message_type, body), Err(DecodeError::Attachment { message_type }));
    }
}

#[test]
fn lengths_whose_sum_exceeds_every_integer_of_32_bits_are_refused() {
    let message_type = MessageType::QUERY_RESPONSE;
    let mut structure = Vec::new();
    codec::put(&mut structure, &(4u32, 1u64, 0u32, false, vec![u32::MAX, 1, u32::MAX, 3]));
    let body = Body::new(structure.into(), b"ab");
    assert_eq!(decode_cluster_message(message_type, body), Err(DecodeError::Attachment { message_type }));
}

#[test]
fn columns_of_different_lengths_are_refused() {
    let message_type = MessageType::REPLICATION_LOG;
    let decode = |columns: &[&[u64]; 3]| {
        let mut structure = Vec::new();
        codec::put(&mut structure, &(8u32, [1u64, 2, 3, 4, 5]));
        columns.iter().for_each(|column| codec::put(&mut structure, column));
        decode_cluster_message(message_type, Body::new(structure.into(), &[]))
    };
    assert!(decode(&[&[6, 7], &[2, 2], &[0, 0]]).is_ok());
    for columns in [[&[6][..], &[2, 2], &[0, 0]], [&[6, 7], &[2], &[0, 0]], [&[6, 7], &[2, 2], &[0]]] {
        assert_eq!(decode(&columns), Err(DecodeError::Malformed { message_type }));
    }
}

#[test]
fn a_received_field_of_bytes_shares_the_read_buffer() {
    let entries = vec![LogEntry { index: 1, epoch: 1, data: Bytes::from(vec![9; 100]) }];
    let log = ReplicationLog { entries, ..ReplicationLog::default() };
    let bytes = Bytes::from(sealed(request_head(MessageType::REPLICATION_LOG), &log, 0));
    let frame = decode_frame(&bytes, false).expect("our own");
    let decoded = decode_cluster_message(MessageType::REPLICATION_LOG, Body::of(&frame, &bytes));
    let Ok(ClusterMessage::ReplicationLog(decoded)) = decoded else { panic!("{decoded:?}") };
    assert_eq!(decoded.entries[0].data.as_ptr(), bytes[frame.attachment()].as_ptr());
}

#[test]
fn a_vote_beyond_the_third_and_a_bool_beyond_one_are_malformed() {
    let message_type = MessageType::TRANSACTION_VOTE;
    let body = |vote: u8| Body::new(vec![3, 1, vote, 0].into(), &[]);
    assert!((0..3).all(|vote| decode_cluster_message(message_type, body(vote)).is_ok()));
    let malformed = Err(DecodeError::Malformed { message_type });
    assert_eq!(decode_cluster_message(message_type, body(3)), malformed);

    let message_type = MessageType::REPLICATION_ACK;
    let body = |accepted: u8| Body::new(vec![4, 1, 2, 3, accepted].into(), &[]);
    assert!((0..2).all(|accepted| decode_cluster_message(message_type, body(accepted)).is_ok()));
    assert_eq!(decode_cluster_message(message_type, body(2)), Err(DecodeError::Malformed { message_type }));
}

#[test]
fn a_name_that_breaks_the_rules_of_names_is_malformed() {
    let message_type = MessageType::HEARTBEAT;
    let decode = |name: &[u8]| {
        let structure = [&[2, name.len() as u8][..], name, &[7]].concat();
        decode_cluster_message(message_type, Body::new(structure.into(), &[]))
    };
    assert!(decode(b"n1").is_ok());
    for name in [&b""[..], b"a b", b"\xff\xfe", &[b'x'; 65]] {
        assert_eq!(decode(name), Err(DecodeError::Malformed { message_type }), "{name:?}");
    }
}

#[test]
fn a_message_larger_than_a_frame_says_so() {
    let message = response(&[b"abc"]);
    let mut buffer = crate::FrameBuffer::new();
    let head = crate::FrameHead { flags: Flags::RESPONSE, ..request_head(MessageType::QUERY_RESPONSE) };
    let error = buffer.push(head, &message, 48).expect_err("49 bytes");
    assert_eq!(error.to_string(), "query_response(0x0111) takes 49 bytes, and the other side takes at most 48");
    assert!(buffer.push(head, &message, FRAME_BYTES_MAX).is_ok());
}
