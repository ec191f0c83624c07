//! Large messages and replies that do not end, or for which there is no memory. S13.

use std::time::Duration;

use rdb_net_tests::{End, Stranger, flagged, frame, hello, message, part};
use rdb_net_transport::CallOptions;
use rdb_net_types::{Application, Lane, MessageType, OverloadScope, Payload, Reason};
use rdb_net_wire::{CloseCode, Flags, Hello, Ping, control_type};

use crate::CASE_BYTES_MAX;
use crate::case::{Case, Counted, Said, leaves, lives};
use crate::fragments::{MESSAGE_BYTES_MAX, PART, cancel, of, on};
use crate::messages::{awaited, dialled, ends, expect, said, up};
use crate::world::{ECHO, HOLD, MEMORY_BYTES_MAX, PEER_MEMORY_BYTES_MAX, REQUESTS_MAX, World};

const KIB: usize = 1024;
/// How much of an endless message is sent.
const SENT_BYTES: usize = 1024 * KIB;
const CONNECTIONS: usize = 100;
/// What a connection reads into, and some more.
const CONNECTION_BYTES: usize = 80 * KIB;

pub(crate) fn cases() -> Vec<Case> {
    let play = Case::play_of;
    let out = Counted::NOTHING;
    let mut everybody = play(
        "beyond_process_memory",
        "100 peers, each with the beginning of 64 MiB",
        "error 3, not started, to 98 of them",
        beyond_process_memory,
        out.clone(),
    );
    everybody.bytes_max = CONNECTIONS * CONNECTION_BYTES + CASE_BYTES_MAX;
    vec![
        play("message_without_end", "the first MiB of 64, and no more", "nothing", without_end, out.clone()),
        play(
            "half_sent",
            "4 half-sent messages on each of 4 connections, which end",
            "end of stream",
            half_sent,
            Counted::errors("eof", 4),
        ),
        play(
            "beyond_peer_memory",
            "a second message of 64 MiB beside a half-sent one",
            "error 3, not started; then replies",
            beyond_peer_memory,
            out.clone(),
        ),
        everybody,
        play(
            "fragments_beyond_limit",
            "a request in fragments where there is no place for a request",
            "error 3, not started; then replies",
            beyond_requests,
            Counted::NOTHING,
        ),
        play(
            "reply_between",
            "a reply between the fragments of another, on a connection that the node has dialled",
            "close state",
            reply_between,
            Counted::error("protocol"),
        ),
        play(
            "reply_in_lying_fragments",
            "fragments of a reply, of which the second is missing, to a node that has dialled",
            "close state",
            reply_without_middle,
            Counted::error("protocol"),
        ),
        play(
            "reply_behind_deadline",
            "the beginning of a reply of 64 MiB whose request expires, to a node that has dialled",
            "nothing; its memory is free",
            reply_behind_deadline,
            Counted::NOTHING,
        ),
        play(
            "reply_beyond_memory",
            "the beginnings of two replies of 64 MiB to a node that has dialled",
            "nothing; one of the requests fails",
            reply_beyond_memory,
            Counted::error("eof"),
        ),
    ]
}

/// The beginning of a message of 64 MiB.
fn beginning(id: u64, lane: Lane, bytes: usize) -> Vec<u8> {
    on(lane, of(id, true, MESSAGE_BYTES_MAX as usize, 0, bytes))
}

/// Sends fragments, of which everything comes back as credits: a few at a time.
fn pour(stranger: &mut Stranger, mut parts: impl Iterator<Item = Vec<u8>>) -> Result<(), String> {
    // Not all at once: what the stranger holds is counted too.
    loop {
        let some: Vec<u8> = parts.by_ref().take(4).flatten().collect();
        if some.is_empty() {
            return Ok(());
        }
        stranger.send(&some);
        stranger.send(&frame(&Ping { token: 1 }));
        expect(said(stranger)?, Said::Pong)?;
    }
}

/// What was received is held, and no more is reserved than for one message.
fn without_end(world: &mut World) -> Result<(), String> {
    let before = world.reserved_bytes();
    let mut stranger = up(world);
    let parts = (0..SENT_BYTES).step_by(8 * KIB);
    pour(&mut stranger, parts.map(|at| on(Lane::Bulk, of(1, true, MESSAGE_BYTES_MAX as usize, at, 8 * KIB))))?;
    lives(&mut stranger, &[])?;
    let reserved = world.reserved_bytes() - before;
    if !(u64::from(MESSAGE_BYTES_MAX)..=PEER_MEMORY_BYTES_MAX).contains(&reserved) {
        return Err(format!("{reserved} bytes are reserved"));
    }
    leaves(stranger)?;
    world.wait("the memory is free again", |world| world.reserved_bytes() <= before)
}

fn half_sent(world: &mut World) -> Result<(), String> {
    let before = world.reserved_bytes();
    let mut strangers: Vec<Stranger> = (0..4).map(|_| up(world)).collect();
    for stranger in &mut strangers {
        for (id, lane) in (1..).zip(Lane::ALL) {
            // Of one that was given up nothing is left.
            let given_up = on(lane, of(id + 10, true, 1024 * KIB, 0, 3 * PART));
            let half = on(lane, of(id, true, 1024 * KIB, 0, 3 * PART));
            stranger.send(&[given_up, cancel(id + 10), half].concat());
        }
        stranger.send(&frame(&Ping { token: 1 }));
        expect(said(stranger)?, Said::Pong)?;
    }
    let reserved = world.reserved_bytes() - before;
    let messages = 16 * 1024 * KIB as u64;
    if !(messages..=messages + messages / 8).contains(&reserved) {
        return Err(format!("{reserved} bytes are reserved"));
    }
    drop(strangers);
    world.wait("the memory is free again", |world| world.reserved_bytes() <= before)
}

fn beyond_peer_memory(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    stranger.send(&beginning(1, Lane::Bulk, PART));
    stranger.send(&beginning(2, Lane::Interactive, PART));
    expect(said(&mut stranger)?, Said::Error(2, 3, true))?;
    // What still comes of it is thrown away, and the lane goes on behind its end.
    let parts = (PART..64 * PART).step_by(PART);
    pour(&mut stranger, parts.map(|at| of(2, true, MESSAGE_BYTES_MAX as usize, at, PART)))?;
    stranger.send(&cancel(2));
    lives(&mut stranger, &[])?;
    stranger.send(&cancel(1));
    lives(&mut stranger, &[])?;
    leaves(stranger)
}

fn beyond_process_memory(world: &mut World) -> Result<(), String> {
    let node = world.another();
    let address = node.local_address().expect("it listens");
    let mut strangers = Vec::new();
    let mut refused = 0;
    for number in 0..CONNECTIONS {
        let mut stranger = Stranger::connect(address);
        stranger.shake(&hello(&format!("stranger-{number}")));
        stranger.send(&beginning(1, Lane::Bulk, PART));
        stranger.send(&on(Lane::Bulk, frame(&Ping { token: 1 })));
        loop {
            match said(&mut stranger)? {
                Said::Pong => break,
                Said::Error(1, 3, true) => refused += 1,
                other => return Err(format!("{other:?} instead of an overload or nothing")),
            }
        }
        if node.memory().0 > MEMORY_BYTES_MAX {
            return Err(format!("{} bytes are reserved", node.memory().0));
        }
        strangers.push(stranger);
    }
    // A pong may overtake the refusal.
    for stranger in &mut strangers {
        stranger.send(&cancel(1));
        stranger.send(&message(ECHO, 2, "x"));
        loop {
            match said(stranger)? {
                Said::Reply(2) => break,
                Said::Error(1, 3, true) => refused += 1,
                other => return Err(format!("{other:?} instead of an overload or a reply")),
            }
        }
    }
    let wanted = CONNECTIONS - (MEMORY_BYTES_MAX / u64::from(MESSAGE_BYTES_MAX + MESSAGE_BYTES_MAX / 16)) as usize;
    if refused != wanted {
        return Err(format!("{refused} instead of {wanted} are refused"));
    }
    strangers.into_iter().try_for_each(leaves)?;
    let stopped = world.runtime.block_on(node.shutdown());
    let left = node.memory().0;
    if stopped && left == 0 { Ok(()) } else { Err(format!("{left} bytes are reserved when it has stopped: {stopped}")) }
}

/// A part of a reply to this request.
fn reply(id: u64, has_more: bool, total: usize, offset: usize, bytes: usize) -> Vec<u8> {
    let body = message(control_type::REPLY, id, vec![7; bytes]);
    part(flagged(body, Flags::RESPONSE), has_more, total as u32, offset as u32)
}

/// Answers the node's hello, and waits for its request; returns its correlation id.
pub(crate) fn asked(stranger: &mut Stranger, greeting: &Hello, wanted: MessageType) -> Option<u64> {
    stranger.send(&frame(greeting));
    heard(stranger, wanted)
}

/// Waits for a message of this type; returns its correlation id.
pub(crate) fn heard(stranger: &mut Stranger, wanted: MessageType) -> Option<u64> {
    loop {
        let (head, _) = stranger.hear()?;
        if head.message_type == wanted {
            return Some(head.correlation);
        }
    }
}

/// What a stranger sends to the node that has dialled it and asked.
fn replied(world: &World, frames: fn(u64) -> Vec<u8>) -> Result<End, String> {
    dialled(world, |stranger, name| {
        let id = asked(stranger, &hello("stranger"), ECHO).unwrap_or_default();
        // One that was up would be dialled again at once.
        world.node.forget(name);
        stranger.send(&frames(id));
    })
}

fn reply_between(world: &mut World) -> Result<(), String> {
    let end = replied(world, |id| {
        let other = flagged(message(control_type::REPLY, id + 1, "x"), Flags::RESPONSE);
        [reply(id, true, 2 * PART, 0, PART), other].concat()
    })?;
    ends(end, End::Closed(CloseCode::State))
}

fn reply_without_middle(world: &mut World) -> Result<(), String> {
    let end =
        replied(world, |id| [reply(id, true, 3 * PART, 0, PART), reply(id, false, 3 * PART, 2 * PART, PART)].concat())?;
    ends(end, End::Closed(CloseCode::State))
}

/// Two requests on lanes of their own; there is memory for one of the replies.
fn reply_beyond_memory(world: &mut World) -> Result<(), String> {
    let before = world.reserved_bytes();
    let (listener, peer, name) = awaited(world)?;
    let asking = world.runtime.spawn(async move {
        let message = Application { message_type: ECHO, payload: Payload::from("x") };
        let on = |lane| CallOptions { lane: Some(lane), ..CallOptions::timeout(Duration::from_secs(5)) };
        let one = peer.request(&message, on(Lane::Interactive));
        let other = peer.request(&message, on(Lane::Replication));
        let (one, other) = tokio::join!(one, other);
        [one, other].map(|outcome| outcome.err().map(|error| error.reason))
    });
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    let mut stranger = Stranger::on(stream);
    stranger.hear().ok_or("the node says hello")?;
    let greeting = Hello { features: u64::MAX, ..hello("stranger") };
    let first = asked(&mut stranger, &greeting, ECHO).ok_or("it has ended")?;
    let second = heard(&mut stranger, ECHO).ok_or("it has ended")?;
    let total = MESSAGE_BYTES_MAX as usize;
    stranger.send(&on(Lane::Interactive, reply(first, true, total, 0, PART)));
    stranger.send(&on(Lane::Replication, reply(second, true, total, 0, PART)));
    stranger.send(&frame(&Ping { token: 1 }));
    expect(said(&mut stranger)?, Said::Pong)?;
    if world.reserved_bytes() - before > PEER_MEMORY_BYTES_MAX {
        return Err(format!("{} bytes are reserved", world.reserved_bytes()));
    }
    world.node.forget(&name);
    drop(stranger);
    let reasons = world.runtime.block_on(asking).map_err(|error| error.to_string())?;
    let refused = Some(Reason::Overloaded(OverloadScope::Peer));
    let lost = Some(Reason::ConnectionLost);
    if reasons != [refused, lost] && reasons != [lost, refused] {
        return Err(format!("{reasons:?}"));
    }
    world.wait("the memory is free again", |world| world.reserved_bytes() <= before)
}

/// What comes of it is thrown away, and the lane goes on.
fn beyond_requests(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    let limit = u64::from(REQUESTS_MAX);
    (1..=limit).for_each(|id| stranger.send(&message(HOLD, id, "x")));
    stranger.send(&[of(99, true, 2 * PART, 0, PART), of(99, false, 2 * PART, PART, PART)].concat());
    expect(said(&mut stranger)?, Said::Error(99, 3, true))?;
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

/// Nobody waits for the reply any more, while the connection lives.
fn reply_behind_deadline(world: &mut World) -> Result<(), String> {
    let before = world.reserved_bytes();
    let (listener, peer, name) = awaited(world)?;
    let asking = world.runtime.spawn(async move {
        let message = Application { message_type: ECHO, payload: Payload::from("x") };
        peer.request(&message, CallOptions::timeout(Duration::from_millis(500))).await.is_err()
    });
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    let mut stranger = Stranger::on(stream);
    stranger.hear().ok_or("the node says hello")?;
    let id = asked(&mut stranger, &hello("stranger"), ECHO).ok_or("it has ended")?;
    stranger.send(&reply(id, true, MESSAGE_BYTES_MAX as usize, 0, PART));
    stranger.send(&frame(&Ping { token: 1 }));
    expect(said(&mut stranger)?, Said::Pong)?;
    if world.reserved_bytes() <= before {
        return Err(String::from("nothing is reserved"));
    }
    if !world.runtime.block_on(asking).map_err(|error| error.to_string())? {
        return Err(String::from("the request was answered"));
    }
    stranger.send(&frame(&Ping { token: 2 }));
    expect(said(&mut stranger)?, Said::Pong)?;
    let left = world.reserved_bytes().saturating_sub(before);
    world.node.forget(&name);
    if left == 0 { Ok(()) } else { Err(format!("{left} bytes are reserved for a reply that nobody waits for")) }
}
