//! Streams of replies whose callers give no credits, endless ones or odd ones, and costs that no sender can pay.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rdb_net_tests::{End, Stranger, flagged, frame, hello, message, patched, streamed};
use rdb_net_transport::{CallOptions, StreamOptions};
use rdb_net_types::{Application, Payload};
use rdb_net_wire::{Close, CloseCode, Credit, Flags, Hello, Ping, Raw, StreamCredit, TypeCost, control_type};

use crate::case::{Case, Counted, Said, leaves, lives};
use crate::fragments::cancel;
use crate::memory::{asked, heard};
use crate::messages::{awaited, ends, expect, said, up};
use crate::world::{COUNT, ECHO, ITEM_BYTES, World};

/// What a reply of a stream costs.
const ITEM_CHARGE: u64 = ITEM_BYTES as u64 + 64;
const RESETS: u64 = 10_000;
/// How many are given up in one write.
const BURST: u64 = 16;
/// How many read as fast as they can, and for how long: less than the node waits for a byte of them.
const READERS: usize = 2;
const READING: Duration = Duration::from_millis(700);
/// How many streams are opened and ended on one connection, and how many at once.
const STREAMS: u64 = 200_000;
const STREAMS_AT_ONCE: u64 = 16;

pub(crate) fn cases() -> Vec<Case> {
    [plain(), plays()].concat()
}

fn credit(id: u64, limit: u64) -> Vec<u8> {
    patched(frame(&StreamCredit { limit }), 16, &id.to_be_bytes())
}

fn plain() -> Vec<Case> {
    let unreadable = frame(&Raw { message_type: control_type::STREAM_CREDIT, payload: Payload::new() });
    let item = flagged(message(control_type::REPLY, 77, "x"), Flags::RESPONSE.with(Flags::STREAM));
    let late = Counted { late_replies: 1, ..Counted::NOTHING };
    vec![
        Case::lives(
            "stream_of_one",
            "a request for a stream of one",
            streamed(message(ECHO, 1, "x"), 1000),
            &[Said::Reply(1)],
        ),
        Case::lives("stream_one_way", "a one-way message for a stream", streamed(message(ECHO, 0, "x"), 1000), &[]),
        Case::lives("stream_window_alone", "a stream window without the flag", windowed(), &[Said::Reply(1)]),
        Case::lives(
            "stream_not_wanted",
            "a request for one reply of a stream",
            message(COUNT, 1, "x"),
            &[Said::Error(1, 7, false)],
        ),
        Case::lives("stream_credit_unknown", "credits for a stream of nobody", credit(77, 1000), &[]),
        Case::lives(
            "stream_credit_plain",
            "credits for a request that is no stream",
            [message(ECHO, 1, "x"), credit(1, u64::MAX)].concat(),
            &[Said::Reply(1)],
        ),
        Case::breach("stream_credit_empty", "stream credits of no bytes", unreadable),
        Case::lives("item_to_nothing", "a reply of a stream that nobody asked for", item, &[]).counted(late),
    ]
}

fn windowed() -> Vec<u8> {
    let flags = 0x0040u16.to_be_bytes();
    patched(streamed(message(ECHO, 1, "x"), 1000), 12, &flags)
}

fn plays() -> Vec<Case> {
    let play = Case::play_of;
    let out = Counted::NOTHING;
    vec![
        play(
            "stream_without_credits",
            "16 endless streams, never any credits",
            "what the windows allow",
            without_credits,
            out.clone(),
        ),
        play(
            "stream_window_0",
            "a stream with a window of 0, then credits",
            "as many replies as credits",
            window_of_nothing,
            out.clone(),
        ),
        play(
            "stream_credit_falls",
            "stream credits that fall",
            "replies up to the highest",
            falling_credits,
            out.clone(),
        ),
        play(
            "stream_credit_endless",
            "credits of 2^64 - 1 for endless replies, and never reads",
            "close silent",
            endless_credits,
            Counted::error("silent"),
        ),
        play(
            "stream_endless_read",
            "2 endless streams with endless credits, read as fast as they come",
            "replies",
            endless_read,
            out.clone(),
        )
        .flood(),
        play(
            "streams_of_one",
            "200,000 requests for streams, each answered at once",
            "replies",
            many_streams,
            out.clone(),
        )
        .flood(),
        play("stream_reset", "10,000 streams, each given up at once", "nothing, items, or error 11", rapid_reset, out)
            .flood(),
        play(
            "items_beyond_window",
            "replies of a stream beyond its window to a node that has dialled",
            "close credit",
            items_beyond_window,
            Counted::error("credit"),
        ),
        play(
            "costs_endless",
            "a hello with costs of 65,535 a byte to a node that has dialled",
            "one request for each credit",
            endless_costs,
            Counted::NOTHING,
        ),
    ]
}

/// So many replies of this stream.
fn items(stranger: &mut Stranger, id: u64, count: u64) -> Result<(), String> {
    (0..count).try_for_each(|_| expect(said(stranger)?, Said::Reply(id)))
}

/// A stream ends with its connection.
fn left(world: &World, stranger: Stranger) -> Result<(), String> {
    leaves(stranger)?;
    world.wait("no handler writes any more", |world| world.counting() == 0)
}

/// A message more is sent while there are any credits.
fn within(credits: u64) -> u64 {
    credits.div_ceil(ITEM_CHARGE)
}

fn without_credits(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    // One place is for the request by which the connection shows that it lives.
    for id in 1..BURST {
        stranger.send(&streamed(message(COUNT, id, "x"), 4000));
        items(&mut stranger, id, within(4000))?;
    }
    lives(&mut stranger, &[])?;
    lives(&mut stranger, &[])?;
    left(world, stranger)
}

fn window_of_nothing(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    stranger.send(&flagged(message(COUNT, 1, "x"), Flags::STREAM));
    lives(&mut stranger, &[])?;
    stranger.send(&credit(1, 3 * ITEM_CHARGE));
    items(&mut stranger, 1, 3)?;
    lives(&mut stranger, &[])?;
    left(world, stranger)
}

fn falling_credits(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    stranger.send(&streamed(message(COUNT, 1, "x"), 1000));
    items(&mut stranger, 1, 1)?;
    stranger.send(&[credit(1, 5 * ITEM_CHARGE), credit(1, 1), credit(1, 0)].concat());
    items(&mut stranger, 1, 4)?;
    lives(&mut stranger, &[])?;
    left(world, stranger)
}

fn endless_credits(world: &mut World) -> Result<(), String> {
    let before = world.counters();
    let mut stranger = up(world);
    stranger.send(&[streamed(message(COUNT, 1, "x"), 1000), credit(1, u64::MAX)].concat());
    world.wait_counted(&before, &Counted::error("silent"))?;
    drop(stranger);
    world.wait("no handler writes any more", |world| world.counting() == 0)
}

/// A stream that has ended leaves nothing behind.
fn many_streams(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    for batch in 0..STREAMS / STREAMS_AT_ONCE {
        let ids = batch * STREAMS_AT_ONCE + 1..=(batch + 1) * STREAMS_AT_ONCE;
        let burst: Vec<u8> = ids.clone().flat_map(|id| streamed(message(ECHO, id, ""), 1000)).collect();
        stranger.send(&burst);
        ids.into_iter().try_for_each(|id| expect(said(&mut stranger)?, Said::Reply(id)))?;
    }
    left(world, stranger)
}

/// Whoever reads as fast as replies come keeps their handlers at work, and holds up nobody else.
fn endless_read(world: &mut World) -> Result<(), String> {
    let connected = || TcpStream::connect(world.address()).map_err(|error| error.to_string());
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let stream = connected()?;
        let mut stranger = Stranger::on(stream.try_clone().map_err(|error| error.to_string())?);
        stranger.shake(&hello("stranger"));
        stranger.send(&[streamed(message(COUNT, 1, "x"), 1000), credit(1, u64::MAX)].concat());
        readers.push(std::thread::spawn(move || read_for(stream, READING)));
    }
    let read: Vec<usize> = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
    world.wait("no handler writes any more", |world| world.counting() == 0)?;
    if read.iter().all(|bytes| *bytes > 1024 * 1024) { Ok(()) } else { Err(format!("{read:?} bytes were read")) }
}

/// Reads for so long, and returns how many bytes came.
fn read_for(mut stream: TcpStream, time: Duration) -> usize {
    let begun = Instant::now();
    let (mut bytes, mut chunk) = (0, vec![0; 64 * 1024]);
    while begun.elapsed() < time
        && let Ok(count @ 1..) = stream.read(&mut chunk)
    {
        bytes += count;
    }
    // A socket that is closed over bytes that nobody has read resets its connection: this ends it in order.
    let _gone = stream.write_all(&frame(&Close { code: CloseCode::Normal as u16 }));
    while let Ok(1..) = stream.read(&mut chunk) {}
    bytes
}

fn rapid_reset(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    for batch in 0..RESETS / BURST {
        let ids = batch * BURST + 1..=(batch + 1) * BURST;
        let mut burst: Vec<u8> =
            ids.flat_map(|id| [streamed(message(COUNT, id, ""), 1000), cancel(id)].concat()).collect();
        burst.extend(frame(&Ping { token: batch }));
        stranger.send(&burst);
        loop {
            match said(&mut stranger)? {
                Said::Pong => break,
                Said::Error(_, 3 | 11, true) | Said::Reply(_) => {}
                other => return Err(format!("{other:?} instead of an overload, an item or nothing")),
            }
        }
    }
    left(world, stranger)
}

fn items_beyond_window(world: &mut World) -> Result<(), String> {
    let before = world.reserved_bytes();
    let (listener, peer, name) = awaited(world)?;
    let asking = world.runtime.spawn(async move {
        let message = Application { message_type: ECHO, payload: Payload::from("x") };
        let options = StreamOptions { call: CallOptions::timeout(Duration::from_secs(5)), window_bytes: 4000 };
        // Opened, and nothing taken until its end.
        let Ok(mut stream) = peer.stream(&message, options).await else { return 0 };
        let mut taken = 0;
        while let Some(Ok(_)) = stream.next().await {
            taken += 1;
        }
        taken
    });
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    let mut stranger = Stranger::on(stream);
    stranger.hear().ok_or("the node says hello")?;
    let greeting = Hello { features: u64::MAX, ..hello("stranger") };
    let id = asked(&mut stranger, &greeting, ECHO).ok_or("it has ended")?;
    world.node.forget(&name);
    let body = vec![7; ITEM_BYTES];
    let item = flagged(message(control_type::REPLY, id, body), Flags::RESPONSE.with(Flags::STREAM));
    // In one write, so that the caller has taken nothing before.
    stranger.send(&item.repeat(within(4000) as usize + 1));
    ends(stranger.end(), End::Closed(CloseCode::Credit))?;
    world.runtime.block_on(asking).map_err(|error| error.to_string())?;
    world.wait("the memory is free again", |world| world.reserved_bytes() <= before)
}

/// The first request of a byte costs more than the credits; the others wait until there are more.
fn endless_costs(world: &mut World) -> Result<(), String> {
    let (listener, peer, name) = awaited(world)?;
    let asking = world.runtime.spawn(async move {
        let message = Application { message_type: ECHO, payload: Payload::from(vec![7; 1000]) };
        let mut answered = 0;
        for _ in 0..3 {
            answered += u32::from(peer.request(&message, CallOptions::timeout(Duration::from_secs(5))).await.is_ok());
        }
        answered
    });
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    let mut stranger = Stranger::on(stream);
    stranger.hear().ok_or("the node says hello")?;
    let cost = TypeCost { message_type: ECHO.0, bytes_per_byte: u16::MAX };
    let greeting = Hello { costs: vec![cost; 64], ..hello("stranger") };
    let first = asked(&mut stranger, &greeting, ECHO).ok_or("it has ended")?;
    stranger.send(&flagged(message(control_type::REPLY, first, "x"), Flags::RESPONSE));
    if stranger.listen(Duration::from_millis(200)) {
        return Err(String::from("a second request was sent without credits"));
    }
    stranger.send(&frame(&Credit { lane: 1, limit: u64::MAX }));
    for _ in 0..2 {
        let id = heard(&mut stranger, ECHO).ok_or("it has ended")?;
        stranger.send(&flagged(message(control_type::REPLY, id, "x"), Flags::RESPONSE));
    }
    let answered = world.runtime.block_on(asking).map_err(|error| error.to_string())?;
    world.node.forget(&name);
    drop(stranger);
    if answered == 3 { Ok(()) } else { Err(format!("{answered} of 3 requests were answered")) }
}
