//! Bodies that cannot be read as what they must be, and bodies of a later version. S9.

use rdb_net_tests::{extended, frame, message};
use rdb_net_types::{MessageType, Payload};
use rdb_net_wire::{Ping, Raw, control_type};

use crate::case::{Case, Counted, Said};

/// A list of 2^64 - 1 items.
const ENDLESS: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

pub(crate) fn cases() -> Vec<Case> {
    [control(), cluster()].concat()
}

fn of(message_type: MessageType, body: impl Into<Vec<u8>>) -> Vec<u8> {
    frame(&Raw { message_type, payload: Payload::from(body.into()) })
}

/// The protocol's own messages: where one cannot be read the connection ends.
fn control() -> Vec<Case> {
    use control_type::{CANCEL, CLOSE, CREDIT, GO_AWAY, PING, PONG, REJECT};
    let go_away = |list: &[u8]| of(GO_AWAY, [b"\x02\x00".as_slice(), list].concat());
    vec![
        Case::breach("ping_empty", "a ping of no bytes", of(PING, "")),
        Case::breach("ping_cut", "a ping whose token goes on", of(PING, *b"\x01\xff\xff")),
        Case::breach(
            "ping_overlong",
            "a ping with a token of eleven bytes",
            of(PING, [&[1; 1], [0x80; 11].as_slice()].concat()),
        ),
        Case::lives("ping_longer", "a ping with a second field", of(PING, *b"\x02\x07later"), &[Said::Pong]),
        Case::breach("pong_empty", "a pong of no bytes", of(PONG, "")),
        Case::breach("credit_empty", "credits of no bytes", of(CREDIT, "")),
        Case::breach("credit_cut", "credits without a limit", of(CREDIT, *b"\x01\x00")),
        Case::breach("go_away_empty", "a go-away of no bytes", of(GO_AWAY, "")),
        Case::breach("go_away_no_bool", "a go-away that is last to the second degree", of(GO_AWAY, *b"\x02\x02\x00")),
        Case::breach("go_away_endless", "a go-away with 2^64 - 1 lanes", go_away(&ENDLESS)),
        Case::lives("cancel_with_body", "a cancel with a body", of(CANCEL, "body"), &[]),
        Case::goes("close_empty", "a close of no bytes", of(CLOSE, ""), Counted::NOTHING),
        Case::goes("reject_empty", "a refusal of no bytes", of(REJECT, ""), Counted::error("malformed")),
        Case::lives(
            "ping_attached",
            "a ping with an attachment of no bytes",
            extended(frame(&Ping { token: 1 }), &[4, 2, 0, 0, 0, 0, 0, 0]),
            &[Said::Pong],
        ),
    ]
}

/// The cluster's messages: what a handler cannot read is answered.
fn cluster() -> Vec<Case> {
    let query = |correlation: u64, body: Vec<u8>| message(MessageType::QUERY_REQUEST, correlation, body);
    let endless = [b"\x03\x01\x00".as_slice(), &ENDLESS].concat();
    // Where a handler's own reading fails, the reason is the handler's.
    let unread = [Said::Error(1, 6, true)];
    vec![
        Case::lives("query_empty", "a query of no bytes", query(1, Vec::new()), &unread),
        Case::lives("query_cut", "a query that ends in its first field", query(1, b"\x03\xff".to_vec()), &unread),
        Case::lives("query_endless", "a query with a text of 2^64 - 1 bytes", query(1, endless), &unread),
        Case::lives(
            "query_no_text",
            "a query whose text is no UTF-8",
            query(1, b"\x03\x01\x00\x02\xff\xfe".to_vec()),
            &unread,
        ),
        Case::lives("query_one_way_unreadable", "a one-way query that cannot be read", query(0, vec![0xff; 9]), &[]),
        Case::lives(
            "query_longer",
            "a query with a fourth field",
            query(1, b"\x04\x01\x00\x01qlater".to_vec()),
            &[Said::Reply(1)],
        ),
    ]
}
