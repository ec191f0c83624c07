//! Too much of everything: frames, connections, answers that nobody reads. S10, S11.

use std::time::{Duration, Instant};

use rdb_net_tests::{End, Stranger, frame, hello, message, patched};
use rdb_net_types::{Lane, MessageType, Payload};
use rdb_net_wire::{CloseCode, Credit, FRAGMENT_BYTES_MIN, Ping, Pong, Raw, control_type};

use crate::case::{Case, Counted, Said, leaves, lives};
use crate::fragments::{of, on};
use crate::world::{
    CREDIT_BYTES, HANDSHAKES_MAX, HELLO_TIMEOUT, HOLD, KEEP_ALIVE, LARGE, LIVENESS, REQUESTS_MAX, World,
};

/// How many frames a flood has.
const FRAMES: usize = 100_000;
const TINY_FRAMES: usize = 1_000_000;
const RESETS: u64 = 10_000;
const PINNED: usize = 100;
const CONNECTIONS: usize = 1000;
const WITHOUT_HELLO: usize = 300;
/// How many answers to nothing fill a read.
const ANSWERS: usize = 64 * 1024 / 36;
/// How much is written at once.
const WRITE_BYTES: usize = 64 * 1024;

pub(crate) fn cases() -> Vec<Case> {
    let play = |name, sends, comes_back, play, counted| Case::play_of(name, sends, comes_back, play, counted).flood();
    let received =
        |message_type, count: usize| Counted { received: Some((message_type, count as u64)), ..Counted::NOTHING };
    let late = Counted { late_replies: FRAMES as u64, ..Counted::NOTHING };
    let odd = MessageType(0x00fd);
    vec![
        play("ping_flood", "100,000 pings", "few pongs", ping_flood, received(control_type::PING, FRAMES)),
        play("pong_flood", "100,000 pongs", "nothing", pong_flood, received(control_type::PONG, FRAMES)),
        play(
            "cancel_flood",
            "100,000 cancels of nothing",
            "nothing",
            cancel_flood,
            received(control_type::CANCEL, FRAMES),
        ),
        play("credit_flood", "100,000 credits", "nothing", credit_flood, received(control_type::CREDIT, FRAMES)),
        play("reply_flood", "100,000 answers to nothing", "nothing", reply_flood, late),
        play(
            "tiny_frames",
            "a million unknown control frames of no body",
            "nothing",
            tiny_frames,
            received(odd, TINY_FRAMES),
        ),
        play(
            "rapid_reset",
            "10,000 requests, each given up at once",
            "nothing, or error 3",
            rapid_reset,
            received(HOLD, RESETS as usize),
        ),
        play(
            "pinned_reads",
            "messages that wait, each beside 64 KiB of unknown frames",
            "nothing",
            pinned_reads,
            Counted::NOTHING,
        ),
        play(
            "pinned_reads_answers",
            "messages that wait, each beside 64 KiB of answers to nothing",
            "nothing",
            pinned_reads_answers,
            Counted { late_replies: (PINNED * ANSWERS) as u64, ..Counted::NOTHING },
        ),
        play(
            "pinned_fragments",
            "fragments of 2 KiB, each beside 64 KiB of answers to nothing",
            "nothing",
            pinned_fragments,
            Counted { late_replies: (PINNED * ANSWERS) as u64, ..Counted::NOTHING },
        ),
        play(
            "never_reads",
            "requests for large answers, and never reads",
            "close silent",
            never_reads,
            Counted::error("silent"),
        ),
        play(
            "never_reads_and_pings",
            "the same, and goes on pinging",
            "nothing more than fits",
            never_reads_and_pings,
            Counted::error("reset"),
        ),
        play("vanish", "1,000 connections that end at once", "end of stream", vanish, Counted::errors("eof", 1000)),
        play("many_names", "1,000 connections, each under another name", "hello", many_names, Counted::NOTHING),
        play(
            "bad_hellos",
            "1,000 connections that begin with garbage",
            "close protocol",
            bad_hellos,
            Counted::errors("bad_magic", 1000),
        ),
        play(
            "no_hello",
            "300 connections without a hello",
            "end of stream",
            no_hello,
            Counted::errors("hello_timeout", 300),
        ),
    ]
}

fn up(world: &World) -> Stranger {
    let mut stranger = Stranger::connect(world.address());
    stranger.shake(&hello("stranger"));
    stranger
}

/// Sends so many of the frame, many at once.
fn pour(stranger: &mut Stranger, frame: &[u8], count: usize) {
    let many = frame.repeat(WRITE_BYTES / frame.len());
    let mut left = many.len() / frame.len();
    let mut rest = count;
    while rest > 0 {
        left = left.min(rest);
        stranger.send(&many[..left * frame.len()]);
        rest -= left;
    }
}

/// Sends a flood of one frame, after which the connection lives.
fn flood(world: &World, frame: &[u8], said: &[Said]) -> Result<(), String> {
    let mut stranger = up(world);
    pour(&mut stranger, frame, FRAMES);
    lives(&mut stranger, said)?;
    leaves(stranger)
}

fn ping_flood(world: &mut World) -> Result<(), String> {
    flood(world, &frame(&Ping { token: 1 }), &[Said::Pong])
}

fn pong_flood(world: &mut World) -> Result<(), String> {
    flood(world, &frame(&Pong { token: 1, clock_us: 0 }), &[])
}

fn cancel() -> Vec<u8> {
    frame(&Raw { message_type: control_type::CANCEL, payload: Payload::new() })
}

fn cancel_flood(world: &mut World) -> Result<(), String> {
    flood(world, &cancel(), &[])
}

fn credit_flood(world: &mut World) -> Result<(), String> {
    flood(world, &frame(&Credit { lane: 1, limit: u64::MAX }), &[])
}

fn reply_flood(world: &mut World) -> Result<(), String> {
    flood(world, &patched(message(control_type::REPLY, 77, ""), 12, &0x0041u16.to_be_bytes()), &[])
}

fn tiny_frames(world: &mut World) -> Result<(), String> {
    let tiny = frame(&Raw { message_type: MessageType(0x00fd), payload: Payload::new() });
    let mut stranger = up(world);
    pour(&mut stranger, &tiny, TINY_FRAMES);
    lives(&mut stranger, &[])?;
    leaves(stranger)
}

/// Opens requests and gives them up, over and over. One whose cancel comes in the same read as itself may go on: then those
/// behind it are too many.
fn rapid_reset(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    for batch in 0..RESETS / u64::from(REQUESTS_MAX) {
        let mut burst = Vec::new();
        for index in 0..u64::from(REQUESTS_MAX) {
            let id = batch * u64::from(REQUESTS_MAX) + index + 1;
            burst.extend(message(HOLD, id, ""));
            burst.extend(patched(cancel(), 16, &id.to_be_bytes()));
        }
        burst.extend(frame(&Ping { token: batch }));
        stranger.send(&burst);
        loop {
            let (head, body) = stranger.hear().ok_or("it has ended")?;
            match Said::of(&head, &body) {
                Some(Said::Pong) => break,
                Some(Said::Error(_, 3, true)) | None => {}
                Some(other) => return Err(format!("{other:?} instead of an overload or nothing")),
            }
        }
    }
    // The end of the connection ends every handler that is left.
    leaves(stranger)
}

/// A message that a handler holds does not keep the read in which it came: 64 KiB, however small it is itself.
fn pinned_reads(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    let tiny = frame(&Raw { message_type: MessageType(0x00fd), payload: Payload::new() });
    let beside = tiny.repeat(WRITE_BYTES / tiny.len());
    for _ in 0..PINNED {
        stranger.send(&message(HOLD, 0, "x"));
        stranger.send(&beside);
    }
    lives(&mut stranger, &[])?;
    world.release();
    lives(&mut stranger, &[])?;
    world.hold();
    leaves(stranger)
}

/// Answers to nothing, which are gone in a moment.
fn answers() -> Vec<u8> {
    patched(message(control_type::REPLY, 77, ""), 12, &0x0041u16.to_be_bytes()).repeat(ANSWERS)
}

/// What a message is charged for is what it may keep: not the answers beside it.
fn pinned_reads_answers(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    let beside = answers();
    for _ in 0..PINNED {
        stranger.send(&message(HOLD, 0, "x"));
        stranger.send(&beside);
    }
    lives(&mut stranger, &[])?;
    world.release();
    lives(&mut stranger, &[])?;
    world.hold();
    leaves(stranger)
}

/// Nor may a fragment.
fn pinned_fragments(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    let (beside, bytes) = (answers(), FRAGMENT_BYTES_MIN as usize);
    for number in 0..PINNED {
        stranger.send(&on(Lane::Bulk, of(1, true, 1024 * 1024, number * bytes, bytes)));
        stranger.send(&beside);
    }
    lives(&mut stranger, &[])?;
    leaves(stranger)
}

/// As many requests for large answers as the credits allow.
fn greedy(world: &World) -> Stranger {
    let mut stranger = up(world);
    let request = message(LARGE, 1, "");
    let charge = request.len() + 64;
    stranger.send(&request.repeat(CREDIT_BYTES as usize / charge));
    stranger
}

fn never_reads(world: &mut World) -> Result<(), String> {
    let before = world.counters();
    let stranger = greedy(world);
    world.wait_counted(&before, &Counted::error("silent"))?;
    drop(stranger);
    Ok(())
}

fn never_reads_and_pings(world: &mut World) -> Result<(), String> {
    let before = world.counters();
    let mut stranger = greedy(world);
    let begun = Instant::now();
    while begun.elapsed() < 2 * (KEEP_ALIVE + LIVENESS) {
        stranger.send(&frame(&Ping { token: 1 }));
        std::thread::park_timeout(KEEP_ALIVE / 5);
    }
    world.wait_counted(&before, &Counted::NOTHING)
}

fn vanish(world: &mut World) -> Result<(), String> {
    (0..CONNECTIONS).for_each(|_| drop(Stranger::connect(world.address())));
    Ok(())
}

/// Whoever believes the hello keeps statistics for each name, of 20,000 names at most. On a node of its own, which takes them
/// along.
fn many_names(world: &mut World) -> Result<(), String> {
    let node = world.another();
    let address = node.local_address().expect("it listens");
    for number in 0..CONNECTIONS {
        let mut stranger = Stranger::connect(address);
        stranger.shake(&hello(&format!("stranger-{number}")));
        leaves(stranger)?;
    }
    if world.runtime.block_on(node.shutdown()) { Ok(()) } else { Err(String::from("it does not stop")) }
}

fn bad_hellos(world: &mut World) -> Result<(), String> {
    for _ in 0..CONNECTIONS {
        let mut stranger = Stranger::connect(world.address());
        stranger.send(&[0x5a; 64]);
        let end = stranger.end();
        if end != End::Closed(CloseCode::Protocol) {
            return Err(format!("{end:?}"));
        }
    }
    Ok(())
}

/// They are let in as many at once as there are places for hellos; each loses its place when its time is over.
fn no_hello(world: &mut World) -> Result<(), String> {
    let begun = Instant::now();
    let strangers: Vec<Stranger> = (0..WITHOUT_HELLO).map(|_| Stranger::connect(world.address())).collect();
    for stranger in strangers {
        let end = stranger.end();
        if end != End::Silent {
            return Err(format!("{end:?}"));
        }
    }
    let rounds = WITHOUT_HELLO.div_ceil(HANDSHAKES_MAX) as u32;
    let (took, due) = (begun.elapsed(), HELLO_TIMEOUT * rounds);
    if took < due + Duration::from_secs(3) { Ok(()) } else { Err(format!("{took:?} instead of {due:?}")) }
}
