//! Sound frames at the wrong moment: correlation ids, answers that nobody asked for, credits, drains and farewells.

use std::net::TcpListener;
use std::time::Duration;

use rdb_net_session::CloseReason;
use rdb_net_tests::{End, Stranger, frame, hello, message, patched};
use rdb_net_transport::{CallOptions, PeerHandle};
use rdb_net_types::{Application, MessageType, NodeAddress, NodeId, Payload, RefusalReason};
use rdb_net_wire::{Close, CloseCode, Credit, Flags, GoAway, Message, Ping, Pong, Raw, Reject, control_type};

use crate::case::{Case, Counted, Said, leaves, lives};
use crate::world::{CREDIT_BYTES, ECHO, FRAME_BYTES_MAX, HOLD, REQUESTS_MAX, UNKNOWN, World};

pub(crate) fn cases() -> Vec<Case> {
    [correlations(), unknown(), credits(), farewells(), plays()].concat()
}

fn flagged(frame: Vec<u8>, flags: Flags) -> Vec<u8> {
    patched(frame, 12, &flags.with(Flags::CHECKSUM).0.to_be_bytes())
}

fn correlations() -> Vec<Case> {
    let reply = flagged(message(control_type::REPLY, 77, "reply"), Flags::RESPONSE);
    let error = flagged(message(control_type::REPLY, 77, "no error"), Flags::RESPONSE.with(Flags::ERROR));
    let bare = message(control_type::REPLY, 77, "reply");
    let late = |count| Counted { late_replies: count, ..Counted::NOTHING };
    let twice = [message(ECHO, 5, "a"), message(ECHO, 5, "b")].concat();
    let due = patched(message(ECHO, 6, "due"), 24, &1u32.to_be_bytes());
    let for_ever = patched(message(ECHO, 6, "due"), 24, &u32::MAX.to_be_bytes());
    vec![
        Case::breach(
            "request_0",
            "a request with the correlation id 0",
            flagged(message(ECHO, 0, "x"), Flags::default()),
        ),
        Case::breach(
            "one_way_1",
            "a one-way message with a correlation id",
            flagged(message(ECHO, 1, "x"), Flags::ONE_WAY),
        ),
        Case::lives("reply_to_nothing", "an answer to nothing", reply, &[]).counted(late(1)),
        Case::lives("error_to_nothing", "an error answer to nothing that cannot be read", error, &[]).counted(late(1)),
        Case::lives("reply_without_flag", "a reply that does not say so", bare, &[]),
        Case::lives(
            "correlation_again",
            "two requests with one correlation id",
            twice,
            &[Said::Reply(5), Said::Reply(5)],
        ),
        Case::lives("deadline_for_ever", "a request with the longest deadline", for_ever, &[Said::Reply(6)]),
        Case::lives("deadline_1_us_ready", "a request of 1 µs to a handler that is ready", due, &[Said::Reply(6)]),
    ]
}

fn unknown() -> Vec<Case> {
    let control = MessageType(0x00fe);
    let received = |message_type| Counted { received: Some((message_type, 1)), ..Counted::NOTHING };
    let odd = frame(&Raw { message_type: control, payload: Payload::from("later") });
    let answer = flagged(odd.clone(), Flags::RESPONSE);
    let late = Counted { late_replies: 1, ..Counted::NOTHING };
    let dropped = Counted { dropped: 1, ..Counted::NOTHING };
    let sync = message(control_type::MEMBERSHIP_SYNC, 3, "sync");
    let unknown = [Said::Error(3, 4, true)];
    vec![
        Case::lives("control_unknown", "an unknown control type", odd, &[]).counted(received(control)),
        Case::lives("control_unknown_answer", "an unknown control type as an answer", answer, &[]).counted(late),
        Case::lives("type_unknown", "a request that nobody handles", message(UNKNOWN, 3, "x"), &unknown),
        Case::lives("type_unknown_one_way", "a one-way message that nobody handles", message(UNKNOWN, 0, "x"), &[])
            .counted(dropped),
        Case::lives(
            "type_reserved",
            "a request of a cluster type that does not exist",
            message(MessageType(0x01ff), 3, "x"),
            &unknown,
        ),
        Case::lives("sync_unhandled", "a membership exchange that nobody handles", sync, &unknown),
        Case::lives(
            "cancel_unknown",
            "a cancel of nothing",
            frame(&Raw { message_type: control_type::CANCEL, payload: Payload::new() }),
            &[],
        ),
        Case::lives(
            "pong_unknown",
            "a pong of a ping that was not sent",
            frame(&Pong { token: u64::MAX, clock_us: 0 }),
            &[],
        ),
        Case::lives(
            "ping_on_lane_3",
            "a ping on the Bulk lane",
            patched(frame(&Ping { token: 1 }), 14, &[3]),
            &[Said::Pong],
        ),
        Case::lives(
            "ping_not_one_way",
            "a ping without the flag ONE_WAY",
            flagged(frame(&Ping { token: 1 }), Flags::default()),
            &[Said::Pong],
        ),
    ]
}

fn credits() -> Vec<Case> {
    let credit = |lane, limit| frame(&Credit { lane, limit });
    let falling = [credit(0, 1 << 40), credit(0, 1)].concat();
    // The credits, one frame more, and one byte: each message takes a whole frame.
    let body = vec![7; FRAME_BYTES_MAX as usize - 36];
    let count = CREDIT_BYTES as usize / FRAME_BYTES_MAX as usize + 2;
    let too_much = message(HOLD, 0, body).repeat(count);
    vec![
        Case::lives("credit_falls", "credits that fall", falling, &[]),
        Case::lives("credit_endless", "credits of 2^64 - 1 bytes", credit(1, u64::MAX), &[]),
        Case::lives("credit_of_lane_9", "credits for lane 9", credit(9, 5), &[]),
        Case::ends(
            "beyond_credits",
            "messages beyond the credits",
            too_much,
            CloseReason::CreditExceeded,
            CloseCode::Credit,
        ),
    ]
}

fn farewells() -> Vec<Case> {
    let go_away = |last| frame(&GoAway { last, accepted: vec![0; 4] });
    let warned = [go_away(false), go_away(false)].concat();
    let close = |code: u16| frame(&Close { code });
    let reject = |code: u16| frame(&Reject { code, retry_after_ms: u32::MAX });
    let mut last = Case::ends(
        "go_away_last_twice",
        "the last go-away, twice",
        [go_away(true), go_away(true)].concat(),
        CloseReason::Local,
        CloseCode::Normal,
    );
    last.counted = Counted::NOTHING;
    let mut behind = Case::ends(
        "message_behind_last_go_away",
        "the last go-away and a request behind it",
        [go_away(true), message(ECHO, 1, "x")].concat(),
        CloseReason::Local,
        CloseCode::Normal,
    );
    behind.counted = Counted::NOTHING;
    vec![
        Case::lives("go_away_twice", "two warnings that it drains", warned, &[]),
        last,
        behind,
        Case::goes("close_unknown", "a close with an unknown code", close(999), Counted::NOTHING),
        Case::goes(
            "data_behind_close",
            "a close and 64 KiB of garbage behind it",
            [close(1), vec![0x5a; 65_536]].concat(),
            Counted::NOTHING,
        ),
        Case::goes(
            "close_as_accuser",
            "a close that accuses the node",
            close(CloseCode::Protocol as u16),
            Counted::error("protocol"),
        ),
        Case::goes(
            "reject_up",
            "a refusal when the connection is up",
            reject(RefusalReason::Draining.code()),
            Counted::error("draining"),
        ),
        Case::goes("reject_up_unknown", "a refusal for an unknown reason", reject(999), Counted::error("malformed")),
    ]
}

fn plays() -> Vec<Case> {
    vec![
        Case::play_of(
            "requests_beyond_limit",
            "20 requests at once where 16 were agreed",
            "4 errors 3, not started, then 16 replies",
            requests_beyond_limit,
            Counted::NOTHING,
        ),
        Case::play_of(
            "deadline_1_us_held",
            "a request of 1 µs to a handler that waits",
            "error 1",
            deadline_of_a_moment,
            Counted::NOTHING,
        ),
        Case::play_of(
            "correlation_again_held",
            "two requests with one id whose handlers wait",
            "close state",
            correlation_again_held,
            Counted::error("protocol"),
        ),
        Case::play_of(
            "message_behind_last_word",
            "a request behind the last word of a node that drains",
            "close normal, no answer",
            message_behind_last_word,
            Counted::NOTHING,
        ),
        Case::play_of(
            "request_by_acceptor",
            "a request on a connection that the node has dialled",
            "close state",
            request_by_acceptor,
            Counted::error("protocol"),
        ),
        Case::play_of(
            "garbage_by_acceptor",
            "garbage instead of the answer to the node's hello",
            "close protocol",
            garbage_by_acceptor,
            Counted::error("bad_magic"),
        ),
        Case::play_of(
            "other_node_by_acceptor",
            "the hello of another node than the one that was dialled",
            "reject target_node",
            other_node_by_acceptor,
            Counted::error("target_node"),
        ),
    ]
}

pub(crate) fn up(world: &World) -> Stranger {
    let mut stranger = Stranger::connect(world.address());
    stranger.shake(&hello("stranger"));
    stranger
}

/// The next frame that a case cares for.
pub(crate) fn said(stranger: &mut Stranger) -> Result<Said, String> {
    loop {
        let (head, body) = stranger.hear().ok_or("it has ended")?;
        if let Some(said) = Said::of(&head, &body) {
            return Ok(said);
        }
    }
}

pub(crate) fn expect(seen: Said, wanted: Said) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?} instead of {wanted:?}")) }
}

fn requests_beyond_limit(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    let limit = u64::from(REQUESTS_MAX);
    (1..=limit + 4).for_each(|id| stranger.send(&message(HOLD, id, "x")));
    for id in limit + 1..=limit + 4 {
        expect(said(&mut stranger)?, Said::Error(id, 3, true))?;
    }
    world.release();
    for _ in 1..=limit {
        let seen = said(&mut stranger)?;
        if !matches!(seen, Said::Reply(id) if id <= limit) {
            return Err(format!("{seen:?} instead of a reply"));
        }
    }
    world.hold();
    lives(&mut stranger, &[])?;
    leaves(stranger)
}

fn deadline_of_a_moment(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    stranger.send(&patched(message(HOLD, 6, "due"), 24, &1u32.to_be_bytes()));
    expect(said(&mut stranger)?, Said::Error(6, 1, false))?;
    lives(&mut stranger, &[])?;
    leaves(stranger)
}

/// An id whose request is open cannot be used again.
fn correlation_again_held(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    stranger.send(&[message(HOLD, 9, "x"), message(HOLD, 9, "y")].concat());
    ends(stranger.end(), End::Closed(CloseCode::State))
}

fn message_behind_last_word(world: &mut World) -> Result<(), String> {
    let node = world.another();
    let mut stranger = Stranger::connect(node.local_address().expect("it listens"));
    stranger.shake(&hello("stranger"));
    stranger.send(&message(HOLD, 1, "x"));
    lives(&mut stranger, &[])?;
    let stopping = world.runtime.spawn({
        let node = node.clone();
        async move { node.shutdown().await }
    });
    loop {
        let (head, body) = stranger.hear().ok_or("it has ended")?;
        match head.message_type {
            control_type::PING => {
                let ping = Ping::decode(&body).map_err(|error| error.to_string())?;
                stranger.send(&frame(&Pong { token: ping.token, clock_us: 0 }));
            }
            control_type::GO_AWAY if GoAway::decode(&body).is_ok_and(|go_away| go_away.last) => break,
            _ => {}
        }
    }
    stranger.send(&message(ECHO, 2, "late"));
    // What came behind the last word has arrived before the answer to this ping.
    stranger.send(&frame(&Ping { token: 5 }));
    expect(said(&mut stranger)?, Said::Pong)?;
    world.release();
    expect(said(&mut stranger)?, Said::Reply(1))?;
    let end = stranger.end();
    world.hold();
    let in_time = world.runtime.block_on(stopping).map_err(|error| error.to_string())?;
    if end == End::Closed(CloseCode::Normal) && in_time { Ok(()) } else { Err(format!("{end:?}, {in_time}")) }
}

/// A place where a stranger awaits the node, and the node's way to it.
pub(crate) fn awaited(world: &World) -> Result<(TcpListener, PeerHandle, NodeId), String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = NodeAddress::from(listener.local_addr().map_err(|error| error.to_string())?);
    let name = NodeId::new("stranger").expect("legal");
    let peer = world.node.peer(&name, &address);
    Ok((listener, peer, name))
}

/// Lets the node dial a stranger who answers as this says, and returns how the node ends the connection.
pub(crate) fn dialled(world: &World, answer: impl FnOnce(&mut Stranger, &NodeId)) -> Result<End, String> {
    let (listener, peer, name) = awaited(world)?;
    let asking = world.runtime.spawn(async move {
        let message = Application { message_type: ECHO, payload: Payload::from("x") };
        peer.request(&message, CallOptions::timeout(Duration::from_secs(5))).await.is_err()
    });
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    let mut stranger = Stranger::on(stream);
    stranger.hear().ok_or("the node says hello")?;
    answer(&mut stranger, &name);
    let end = stranger.end();
    world.node.forget(&name);
    let failed = world.runtime.block_on(asking).map_err(|error| error.to_string())?;
    if failed { Ok(end) } else { Err(String::from("the request was answered")) }
}

pub(crate) fn ends(seen: End, wanted: End) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?} instead of {wanted:?}")) }
}

fn request_by_acceptor(world: &mut World) -> Result<(), String> {
    let end = dialled(world, |stranger, name| {
        stranger.send(&frame(&hello("stranger")));
        while stranger.hear().is_some_and(|(head, _)| head.message_type != ECHO) {}
        // One that was up would be dialled again at once.
        world.node.forget(name);
        stranger.send(&message(ECHO, 1, "x"));
    })?;
    ends(end, End::Closed(CloseCode::State))
}

fn garbage_by_acceptor(world: &mut World) -> Result<(), String> {
    let end = dialled(world, |stranger, _| stranger.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))?;
    ends(end, End::Closed(CloseCode::Protocol))
}

fn other_node_by_acceptor(world: &mut World) -> Result<(), String> {
    let end = dialled(world, |stranger, _| stranger.send(&frame(&hello("another"))))?;
    ends(end, End::Rejected(RefusalReason::TargetNode.code()))
}
