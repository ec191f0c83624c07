//! Those who begin and do not go on, and those who vanish. S12.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use rdb_net_tests::{End, Stranger, frame, hello, message};
use rdb_net_wire::{CloseCode, Ping};

use crate::case::{Case, Counted};
use crate::world::{ECHO, HELLO_TIMEOUT, HOLD, KEEP_ALIVE, LIVENESS, World};

/// How late a timer may ring beside everything else.
const LATE: Duration = Duration::from_millis(700);

pub(crate) fn cases() -> Vec<Case> {
    let late = Counted::error("hello_timeout");
    let silent = Counted::error("silent");
    let gone = Counted::error("eof");
    let stream = "end of stream";
    let quiet = "close silent";
    let play = Case::play_of;
    vec![
        play("nothing_first", "nothing", stream, nothing_first, late.clone()),
        play("half_header_first", "half a header, then nothing", stream, half_header_first, late.clone()),
        play("half_frame_first", "a hello but for its last byte", stream, half_frame_first, late.clone()),
        play("slow_hello", "a hello, a byte each 100 ms", stream, slow_hello, late),
        play("nothing", "nothing behind the hello", quiet, nothing, silent.clone()),
        play("half_header", "half a header, then nothing", quiet, half_header, silent.clone()),
        play("half_frame", "a request but for its last byte", quiet, half_frame, silent),
        play("half_close_first", "the end of the stream instead of a hello", stream, half_close_first, gone.clone()),
        play("half_close", "the end of the stream with a request under way", stream, half_close, gone.clone()),
        play(
            "half_close_in_frame",
            "the end of the stream in the middle of a frame",
            stream,
            half_close_in_frame,
            gone,
        ),
        play("reset_in_frame", "a reset in the middle of a frame", "nothing", reset_in_frame, Counted::error("reset")),
    ]
}

fn up(world: &World) -> Stranger {
    let mut stranger = Stranger::connect(world.address());
    stranger.shake(&hello("stranger"));
    stranger
}

/// The node ends the connection in this way, and at this time.
fn ends(stranger: Stranger, begun: Instant, wanted: End, due: Duration) -> Result<(), String> {
    let seen = stranger.end();
    let took = begun.elapsed();
    let early = due.saturating_sub(Duration::from_millis(20));
    if seen == wanted && (early..due + LATE).contains(&took) {
        return Ok(());
    }
    Err(format!("{seen:?} after {took:?} instead of {wanted:?} after {due:?}"))
}

fn late_hello(world: &World, bytes: &[u8]) -> Result<(), String> {
    let begun = Instant::now();
    let mut stranger = Stranger::connect(world.address());
    stranger.send(bytes);
    ends(stranger, begun, End::Silent, HELLO_TIMEOUT)
}

fn nothing_first(world: &mut World) -> Result<(), String> {
    late_hello(world, b"")
}

fn half_header_first(world: &mut World) -> Result<(), String> {
    late_hello(world, &frame(&hello("stranger"))[..6])
}

fn half_frame_first(world: &mut World) -> Result<(), String> {
    let whole = frame(&hello("stranger"));
    late_hello(world, &whole[..whole.len() - 1])
}

fn slow_hello(world: &mut World) -> Result<(), String> {
    let begun = Instant::now();
    let mut stranger = Stranger::connect(world.address());
    for byte in frame(&hello("stranger")) {
        stranger.send(&[byte]);
        if stranger.listen(Duration::from_millis(100)) {
            break;
        }
    }
    ends(stranger, begun, End::Silent, HELLO_TIMEOUT)
}

fn silent(world: &World, bytes: &[u8]) -> Result<(), String> {
    let mut stranger = up(world);
    stranger.send(bytes);
    let begun = Instant::now();
    ends(stranger, begun, End::Closed(CloseCode::Silent), KEEP_ALIVE + LIVENESS)
}

fn nothing(world: &mut World) -> Result<(), String> {
    silent(world, b"")
}

fn half_header(world: &mut World) -> Result<(), String> {
    silent(world, &frame(&Ping { token: 1 })[..6])
}

fn half_frame(world: &mut World) -> Result<(), String> {
    let whole = message(ECHO, 1, vec![7; 4096]);
    silent(world, &whole[..whole.len() - 1])
}

fn half_closed(mut stranger: Stranger, bytes: &[u8]) -> Result<(), String> {
    stranger.send(bytes);
    stranger.shutdown(Shutdown::Write);
    ends(stranger, Instant::now(), End::Silent, Duration::ZERO)
}

fn half_close_first(world: &mut World) -> Result<(), String> {
    half_closed(Stranger::connect(world.address()), b"")
}

fn half_close(world: &mut World) -> Result<(), String> {
    half_closed(up(world), &message(HOLD, 1, "x"))
}

fn half_close_in_frame(world: &mut World) -> Result<(), String> {
    half_closed(up(world), &message(ECHO, 1, vec![7; 4096])[..2000])
}

/// A socket that is closed over bytes that nobody has read resets its connection.
fn reset_in_frame(world: &mut World) -> Result<(), String> {
    let mut stranger = up(world);
    stranger.send(&frame(&Ping { token: 1 }));
    if !stranger.listen(Duration::from_secs(5)) {
        return Err(String::from("the ping is not answered"));
    }
    stranger.send(&message(ECHO, 1, vec![7; 4096])[..2000]);
    drop(stranger);
    Ok(())
}
