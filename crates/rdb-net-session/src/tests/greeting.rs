//! The hello: both ways, refused for every reason, and too late.

use std::time::Duration;

use rdb_net_types::{BootId, ClusterId, NodeId, ProtocolRange, RefusalReason};
use rdb_net_wire::{CloseCode, Credit, Encode, Hello, Raw, Reject, control_type};

use super::pair::{ASK, End, MILLISECOND, Pair, SECOND, control, identity, message, on, ring};
use crate::{CloseReason, Config, Event, Identity, Secured, SendError, Side};
use rdb_net_types::Lane;

#[test]
fn a_hello_each_way_brings_both_sides_up() {
    let mut pair = Pair::new(Config::default(), Config::default());
    assert_eq!(pair.dialer.session.request(on(Lane::Interactive), &message(1)), Err(SendError::NotUp));
    pair.drive();
    let [Event::Hello(theirs)] = &pair.acceptor.events[..] else { panic!("{:?}", pair.acceptor.events) };
    assert_eq!((theirs.node.as_str(), theirs.requests_max), ("dialer", 4096));
    let [Event::Up(theirs)] = &pair.dialer.events[..] else { panic!("{:?}", pair.dialer.events) };
    assert_eq!((theirs.node.as_str(), theirs.checksum), ("acceptor", true));
    assert!(pair.dialer.session.is_up() && pair.acceptor.session.is_up());
    assert_eq!(pair.dialer.session.peer().map(|hello| hello.boot), Some(identity("acceptor").boot));
}

#[test]
fn only_the_dialer_sends() {
    let mut pair = Pair::up(Config::default());
    assert_eq!(pair.acceptor.session.request(on(Lane::System), &message(1)), Err(SendError::NotUp));
    assert_eq!(pair.acceptor.session.one_way(Lane::System, &message(1)), Err(SendError::NotUp));
}

#[test]
fn a_hello_and_what_follows_it_may_come_in_one_read() {
    let config = Config { lane_credit_bytes: [4096; 4], ..Config::default() };
    let mut pair = Pair::new(config.clone(), config);
    pair.feed_acceptor();
    pair.acceptor.write_all(pair.now);
    let mut read = std::mem::take(&mut pair.acceptor.wire);
    read.extend(control(&Credit { lane: Lane::Interactive as u8, limit: 1_000_000 }));
    pair.dialer.feed(pair.now, &read);
    let sent = (0..100).take_while(|_| pair.dialer.session.one_way(Lane::Interactive, &message(100)).is_ok());
    assert_eq!(sent.count(), 100, "the credits behind the hello count without another read");
}

/// What both sides say when the dialer's identity and target, and the acceptor's identity, are these.
#[track_caller]
fn check_refusal(dialer: Identity, target: Option<&str>, acceptor: Identity, reason: RefusalReason) {
    let target = target.map(|name| NodeId::new(name).expect("legal"));
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.dialer = End::new(Config::default(), dialer, Side::Dialer { target });
    pair.acceptor = End::new(Config::default(), acceptor, Side::Acceptor);
    pair.drive();
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::Rejected(reason)));
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Refused(reason)));
    assert_eq!(pair.dialer.session.poll_timeout(), None);
}

#[test]
fn a_dialer_is_told_why_it_is_refused() {
    let (dialer, acceptor) = (identity("dialer"), identity("acceptor"));
    let newer = Identity { protocol: ProtocolRange { min: 2, max: 3 }, ..dialer.clone() };
    check_refusal(newer, None, acceptor.clone(), RefusalReason::Version);
    let foreign = Identity { cluster: ClusterId::new("other").expect("legal"), ..dialer.clone() };
    check_refusal(foreign, None, acceptor.clone(), RefusalReason::Cluster);
    check_refusal(acceptor.clone(), None, acceptor.clone(), RefusalReason::SelfConnection);
    let twin = Identity { boot: BootId(99), ..acceptor.clone() };
    check_refusal(twin, None, acceptor.clone(), RefusalReason::DuplicateNode);
    check_refusal(dialer, Some("somebody-else"), acceptor, RefusalReason::TargetNode);
}

/// A side whose connection has proved that the other end is this node, in the TLS session of this binding.
fn secured(node: &str, channel_binding: &[u8]) -> Config {
    let node = Some(NodeId::new(node).expect("legal"));
    Config { secured: Some(Secured { node, channel_binding: channel_binding.to_vec() }), ..Config::default() }
}

/// Why each side closed the connection, where the connection tells the dialer and the acceptor this.
fn ends(dialer: Config, acceptor: Config) -> [Option<CloseReason>; 2] {
    let mut pair = Pair::new(dialer, acceptor);
    pair.drive();
    [pair.dialer.close_reason(), pair.acceptor.close_reason()]
}

/// S1: a hello names whom the handshake has proved, on this very connection.
#[test]
fn a_hello_says_what_the_connection_has_proved() {
    let (refused, rejected) =
        (Some(CloseReason::Refused(RefusalReason::Identity)), Some(CloseReason::Rejected(RefusalReason::Identity)));
    assert_eq!(ends(secured("acceptor", b"one"), secured("dialer", b"one")), [None, None]);
    // The certificate names another node than the hello.
    assert_eq!(ends(secured("acceptor", b"one"), secured("somebody", b"one")), [refused, rejected]);
    assert_eq!(ends(secured("somebody", b"one"), secured("dialer", b"one")), [rejected, refused]);
    // Two TLS sessions with somebody between them, who has a certificate of each side.
    assert_eq!(ends(secured("acceptor", b"one"), secured("dialer", b"two")), [refused, rejected]);
    // TLS ended before this side, or began behind the other.
    assert_eq!(ends(secured("acceptor", b"one"), Config::default()), [refused, rejected]);
    assert_eq!(ends(Config::default(), secured("dialer", b"one")), [refused, rejected]);
}

#[test]
fn an_owner_refuses_whom_it_does_not_want() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.acceptor.accepts = false;
    pair.feed_acceptor();
    pair.acceptor.session.reject(RefusalReason::Identity);
    pair.drive();
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::Rejected(RefusalReason::Identity)));
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Refused(RefusalReason::Identity)));
}

/// A dialer that means `target` reads this hello, or what a change makes of the acceptor's own.
fn dialer_reading(target: Option<&str>, change: impl FnOnce(&mut Hello)) -> (End, End) {
    let mut acceptor = End::new(Config::default(), identity("acceptor"), Side::Acceptor);
    let target = target.map(|name| NodeId::new(name).expect("legal"));
    let mut dialer = End::new(Config::default(), identity("dialer"), Side::Dialer { target });
    let mut hello = crate::hello::hello(&Config::default(), &identity("acceptor"), &Side::Acceptor);
    change(&mut hello);
    dialer.write_all(Duration::ZERO);
    acceptor.feed(Duration::ZERO, &std::mem::take(&mut dialer.wire));
    dialer.feed(Duration::ZERO, &control(&hello));
    dialer.write_all(Duration::ZERO);
    (dialer, acceptor)
}

#[test]
fn an_acceptor_is_told_by_a_dialer_that_meant_another_node() {
    let mut pair = Pair::new(Config::default(), Config::default());
    let target = Some(NodeId::new("meant").expect("legal"));
    pair.dialer = End::new(Config::default(), identity("dialer"), Side::Dialer { target });
    pair.dialer.write_all(pair.now);
    pair.dialer.wire.clear();
    // An acceptor of an older kind that does not look at the target.
    let mut blind = crate::hello::hello(&Config::default(), &identity("dialer"), &Side::Acceptor);
    blind.target = None;
    pair.acceptor.feed(pair.now, &control(&blind));
    assert!(pair.acceptor.session.is_up());
    pair.drive();
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Rejected(RefusalReason::TargetNode)));
    assert_eq!(
        pair.acceptor.close_reason(),
        Some(CloseReason::Refused(RefusalReason::TargetNode)),
        "a refusal is no breach of the protocol, though the acceptor was up already"
    );
}

#[test]
fn a_dialer_refuses_a_hello_that_it_cannot_live_with() {
    let reason = |change: fn(&mut Hello)| dialer_reading(None, change).0.close_reason();
    assert_eq!(reason(|_| {}), None);
    let malformed = Some(CloseReason::Rejected(RefusalReason::Malformed));
    assert_eq!(reason(|hello| hello.frame_bytes_max = 100), malformed);
    assert_eq!(reason(|hello| hello.requests_max = 0), malformed);
    let (dialer, _) = dialer_reading(Some("meant"), |_| {});
    assert_eq!(dialer.close_reason(), Some(CloseReason::Rejected(RefusalReason::TargetNode)));
    let (dialer, _) = dialer_reading(Some("acceptor"), |_| {});
    assert_eq!(dialer.close_reason(), None);
}

#[test]
fn a_hello_that_cannot_be_read_is_refused_as_malformed() {
    let mut acceptor = End::new(Config::default(), identity("acceptor"), Side::Acceptor);
    let nonsense = Raw { message_type: control_type::HELLO, payload: rdb_net_types::Payload::from("\u{7f}nonsense") };
    acceptor.feed(Duration::ZERO, &control(&nonsense));
    assert_eq!(acceptor.close_reason(), Some(CloseReason::Rejected(RefusalReason::Malformed)));
    acceptor.write_all(Duration::ZERO);
    let told = control(&Reject { code: RefusalReason::Malformed.code(), retry_after_ms: 0 });
    assert_eq!(acceptor.wire, told);
}

#[test]
fn a_refusal_for_a_reason_of_a_newer_version_is_still_a_refusal() {
    let mut dialer = End::new(Config::default(), identity("dialer"), Side::Dialer { target: None });
    dialer.feed(Duration::ZERO, &control(&Reject { code: 999, retry_after_ms: 0 }));
    assert_eq!(dialer.close_reason(), Some(CloseReason::Refused(RefusalReason::Malformed)));
}

#[test]
fn a_hello_that_does_not_come_in_time_ends_either_side() {
    for side in [Side::Acceptor, Side::Dialer { target: None }] {
        let mut end = End::new(Config::default(), identity("one"), side);
        assert_eq!(end.session.poll_timeout(), Some(3 * SECOND));
        ring(&mut end, 3 * SECOND - MILLISECOND);
        assert_eq!(end.close_reason(), None);
        ring(&mut end, 3 * SECOND);
        assert_eq!(end.close_reason(), Some(CloseReason::HelloTimeout));
    }
}

#[test]
fn an_owner_that_never_decides_loses_the_connection() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.acceptor.accepts = false;
    pair.advance(10 * SECOND);
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::HelloTimeout));
    pair.acceptor.session.accept(pair.now);
    assert!(!pair.acceptor.session.is_up(), "a decision that comes too late changes nothing");
}

#[test]
fn a_side_that_closes_during_the_hello_is_not_accused() {
    let mut pair = Pair::new(Config::default(), Config::default());
    pair.acceptor.accepts = false;
    pair.feed_acceptor();
    pair.acceptor.session.drain(pair.now);
    pair.drive();
    assert_eq!(pair.dialer.close_reason(), Some(CloseReason::Peer(CloseCode::Normal)));

    let mut pair = Pair::new(Config::default(), Config::default());
    pair.acceptor.accepts = false;
    pair.feed_acceptor();
    pair.dialer.session.close(CloseReason::Local);
    pair.drive();
    assert_eq!(pair.acceptor.close_reason(), Some(CloseReason::Peer(CloseCode::Normal)));
}

#[test]
fn a_message_of_the_protocol_is_not_sent_for_a_caller() {
    let mut pair = Pair::up(Config::default());
    let forged = Raw { message_type: control_type::CREDIT, payload: Default::default() };
    assert_eq!(pair.dialer.session.one_way(Lane::System, &forged), Err(SendError::ReservedType));
    assert_eq!(pair.dialer.session.request(on(Lane::System), &forged), Err(SendError::ReservedType));
    let sync = Raw { message_type: control_type::MEMBERSHIP_SYNC, payload: Default::default() };
    assert!(pair.dialer.session.request(on(Lane::System), &sync).is_ok());
    pair.drive();
    assert_eq!(pair.acceptor.pop().map(|inbound| inbound.message_type), Some(sync.message_type()));
    assert_ne!(sync.message_type(), ASK);
}
