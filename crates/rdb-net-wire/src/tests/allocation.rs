//! Memory: what a body of n bytes can make a reader allocate is bounded by n, whatever lengths it declares.
//!
//! The test program's allocator counts what this thread holds at once while a body is decoded.
//!
//! The densest body decides the bound. A query response spends one byte on an empty row; the row is a 32-byte handle, and
//! its length is held as four bytes while the rows are cut: 36 to 1. A log entry costs at least three bytes and makes 68. A
//! participant costs at least two bytes and makes 40, or 72 for a moment where the declared length is a lie and the list
//! has to grow.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use allocation_counter::measure;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_oneof, proptest};
use rdb_net_types::{
    LogEntry, MessageSpec, MessageType, NodeId, PrepareTransaction, QueryResponse, ReplicationLog, Tuple,
};

use super::body;
use super::vectors;
use crate::codec;
use crate::{Body, Hello, Message, decode_cluster_message};

/// Bytes held for each byte of a body.
const FACTOR: u64 = 36;
/// Bytes held for the smallest bodies: a few strings and the handles of shared memory.
const CONSTANT: u64 = 128;

/// The most that is held at once while something is decoded, the result included.
fn peak(decode: impl FnOnce()) -> u64 {
    let mut ended = Ok(());
    let measured = measure(|| ended = catch_unwind(AssertUnwindSafe(decode)));
    // The counter does not survive a panic that passes through it.
    ended.unwrap_or_else(|panic| resume_unwind(panic));
    measured.bytes_max
}

fn held(message_type: MessageType, body: Body) -> u64 {
    peak(|| drop(decode_cluster_message(message_type, body)))
}

fn held_by_hello(body: &Body) -> u64 {
    peak(|| drop(Hello::decode(body)))
}

#[track_caller]
fn check(message_type: MessageType, body: Body) -> u64 {
    let bytes = body.len() as u64;
    let held = held(message_type, body);
    assert!(held <= FACTOR * bytes + CONSTANT, "{message_type}: {bytes} bytes made {held}");
    held
}

fn structure(write: impl FnOnce(&mut Vec<u8>)) -> Body {
    let mut structure = Vec::new();
    write(&mut structure);
    Body::new(structure.into(), &[])
}

#[test]
fn the_counter_counts() {
    assert_eq!(peak(|| drop(std::hint::black_box(vec![0u8; 12_345]))), 12_345);
}

/// The shortest way to ask for a lot: a list of this length, of which nothing follows.
const HUGE: [u64; 6] = [1 << 16, 1 << 20, u32::MAX as u64, 1 << 40, i64::MAX as u64, u64::MAX];

/// S7: nothing is allocated by a length that a peer has declared.
#[test]
fn a_declared_length_allocates_nothing() {
    for length in HUGE {
        let log = |columns_before: usize| {
            structure(|out| {
                codec::put(out, &(8u32, [1u64, 2, 3, 4, 5]));
                (0..columns_before).for_each(|_| codec::put(out, &[7u64][..]));
                codec::put(out, &length);
            })
        };
        for columns_before in 0..3 {
            let held = held(MessageType::REPLICATION_LOG, log(columns_before));
            assert!(held <= 8 * columns_before as u64, "{length} log entries: {held} bytes");
        }
        let response = structure(|out| codec::put(out, &(4u32, 1u64, 0u32, false, length)));
        assert_eq!(held(MessageType::QUERY_RESPONSE, response), 0, "{length} rows");
        let query = structure(|out| codec::put(out, &(3u32, 1u64, 0u32, length)));
        assert_eq!(held(MessageType::QUERY_REQUEST, query), 0, "a query of {length} bytes");
        let name = structure(|out| codec::put(out, &(2u32, length)));
        assert_eq!(held(MessageType::HEARTBEAT, name), 0, "a name of {length} bytes");
        let prepare = structure(|out| codec::put(out, &(4u32, 1u128, "n", length)));
        assert!(held(MessageType::PREPARE_TRANSACTION, prepare) <= 24, "{length} participants");
    }
}

#[test]
fn a_length_that_the_bytes_behind_it_do_not_bear_out_is_bounded_by_them() {
    // As many bytes follow as items are declared, but an item needs more than one byte.
    for count in [10usize, 1000, 100_000] {
        let columns = structure(|out| {
            codec::put(out, &(8u32, [1u64, 2, 3, 4, 5], count as u64));
            out.extend(vec![0xff; count]);
        });
        check(MessageType::REPLICATION_LOG, columns);
        let participants = structure(|out| {
            codec::put(out, &(3u32, 1u128, "n", count as u64));
            out.extend([1, b'a'].repeat(count / 2));
        });
        check(MessageType::PREPARE_TRANSACTION, participants);
    }
}

/// S9: a count is worth as many items as there are bytes for.
#[test]
fn a_list_that_grows_because_its_length_is_a_lie_is_bounded_by_what_came() {
    // Just behind a power of two the list has doubled, and holds its old and its new place at once.
    for count in [1usize, 5, 9, 1025, 65_537] {
        let participants = structure(|out| {
            codec::put(out, &(3u32, 1u128, "n", u64::MAX));
            out.extend([1, b'a'].repeat(count));
        });
        check(MessageType::PREPARE_TRANSACTION, participants);
        let indexes = structure(|out| {
            codec::put(out, &(8u32, [1u64, 2, 3, 4, 5], u64::MAX));
            out.extend(vec![1; count]);
        });
        check(MessageType::REPLICATION_LOG, indexes);
        let lengths = structure(|out| {
            codec::put(out, &(4u32, 1u64, 0u32, false, u64::MAX));
            out.extend(vec![1; count]);
        });
        check(MessageType::QUERY_RESPONSE, lengths);
    }
}

#[test]
fn the_densest_bodies_stay_within_the_bound() {
    let count = 100_000;
    let result = vec![Tuple::default(); count];
    let rows = body(&QueryResponse { result, ..QueryResponse::default() });
    let held = check(MessageType::QUERY_RESPONSE, rows.clone());
    let nearly = FACTOR * rows.structure().len() as u64 * 99 / 100;
    assert!(held > nearly, "the bound is {FACTOR} and no larger because of this body: {held} bytes");

    let entries = vec![LogEntry::default(); count];
    check(MessageType::REPLICATION_LOG, body(&ReplicationLog { entries, ..ReplicationLog::default() }));

    let node = NodeId::new("n").expect("follows the rules");
    let participants = vec![node.clone(); count];
    let prepare =
        PrepareTransaction { txn_id: Default::default(), coordinator: node, participants, work: Default::default() };
    check(MessageType::PREPARE_TRANSACTION, body(&prepare));
}

#[test]
fn a_hello_stays_within_the_bound() {
    let vector = vectors::all().into_iter().find(|vector| vector.name == "hello_dialer").expect("there is one");
    let hello = body(vector.message.as_ref());
    let mut hello = Hello::decode(&hello).expect("our own");
    (hello.credits, hello.codecs) = (vec![0; 1000], vec![0; 1000]);
    let dense = body(&hello);
    assert!(held_by_hello(&dense) <= FACTOR * dense.structure().len() as u64);
    for length in 0..dense.structure().len() {
        let cut = Body::new(Bytes::copy_from_slice(&dense.structure()[..length]), &[]);
        let held = held_by_hello(&cut);
        assert!(held <= FACTOR * length as u64 + CONSTANT, "{length} bytes made {held}");
    }
}

proptest! {
    #[test]
    fn any_body_stays_within_the_bound(
        row in 0..MessageSpec::TABLE.len(),
        structure in vec(likely_byte(), 0..400),
        attachment in vec(any::<u8>(), 0..20),
    ) {
        let bytes = (structure.len() + attachment.len()) as u64;
        let body = Body::new(structure.into(), &attachment);
        let held = held(MessageSpec::TABLE[row].message_type, body.clone());
        prop_assert!(held <= FACTOR * bytes + CONSTANT, "{bytes} bytes made {held}");
        let held = held_by_hello(&body);
        prop_assert!(held <= FACTOR * bytes + CONSTANT, "{bytes} bytes of a hello made {held}");
    }
}

/// Bytes of which many are small numbers, so that counts, lengths and lists are often plausible.
fn likely_byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0u8..12, 1 => any::<u8>()]
}
