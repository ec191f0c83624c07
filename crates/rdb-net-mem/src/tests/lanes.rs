//! In which order frames are handed out.

use rdb_net_types::{Lane, MessageType, SeededRandom};
use rdb_net_wire::control_type;

use crate::arrived::Arrived;

const DATA: MessageType = MessageType::FIRST_APPLICATION;

/// A frame of a lane with a number in its body.
fn frame(message_type: MessageType, lane: Lane, number: u32) -> Vec<u8> {
    let mut frame = b"RDBN\0\x01".to_vec();
    frame.extend(message_type.0.to_be_bytes());
    frame.extend(24u32.to_be_bytes());
    frame.extend([0, 0, lane as u8, 5]);
    frame.extend([0; 16]);
    frame.extend(number.to_be_bytes());
    frame
}

fn arrived(seed: u64) -> Arrived {
    Arrived::new(true, SeededRandom::new(seed))
}

/// Everything that can be read, in pieces of at most so many bytes.
fn read_all(arrived: &mut Arrived, bytes_max: usize) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        match arrived.take(bytes_max) {
            piece if piece.is_empty() => return read,
            piece => read.extend(piece),
        }
    }
}

/// The frames of bytes, as message type, lane and number.
fn told(bytes: &[u8]) -> Vec<(u16, u8, u8)> {
    let frames = bytes.chunks(36);
    frames.map(|frame| (u16::from_be_bytes([frame[6], frame[7]]), frame[14], frame[35])).collect()
}

/// Five frames on each lane, one after the other in turn.
fn in_turn() -> Vec<u8> {
    let number = |index: u32| frame(DATA, Lane::ALL[index as usize % 4], index / 4);
    (0..20).flat_map(number).collect()
}

#[test]
fn lanes_are_shuffled_by_the_seed_and_keep_their_own_order() {
    let read = |seed| {
        let mut arrived = arrived(seed);
        arrived.push(&in_turn());
        read_all(&mut arrived, usize::MAX)
    };
    let first = read(1);
    assert_eq!(read(1), first);
    assert_ne!(read(2), first);
    assert_ne!(first, in_turn());
    for lane in 0..4 {
        let numbers: Vec<u8> =
            told(&first).iter().filter(|(_, of, _)| *of == lane).map(|(_, _, number)| *number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4], "lane {lane}");
    }
}

#[test]
fn frames_of_the_protocol_keep_their_place() {
    let mut bytes = Vec::new();
    for round in 0..10 {
        bytes.extend(frame(control_type::CREDIT, Lane::System, round));
        bytes.extend(frame(DATA, Lane::System, 10 + 2 * round));
        bytes.extend(frame(DATA, Lane::Interactive, 11 + 2 * round));
    }
    let mut arrived = arrived(3);
    arrived.push(&bytes);
    let frames = told(&read_all(&mut arrived, usize::MAX));
    let mut swapped = 0;
    for (round, frames) in frames.chunks(3).enumerate() {
        assert_eq!((frames[0].0, frames[0].2), (control_type::CREDIT.0, round as u8));
        let pair = (frames[1].2, frames[2].2);
        let round = 2 * round as u8;
        assert!(pair == (10 + round, 11 + round) || pair == (11 + round, 10 + round), "{pair:?}");
        swapped += usize::from(pair.0 > pair.1);
    }
    assert!((1..10).contains(&swapped), "{swapped} of 10 were swapped");
}

#[test]
fn a_reply_on_a_data_lane_is_data() {
    let swapped = (0..20).filter(|seed| {
        let mut arrived = arrived(*seed);
        arrived.push(&frame(DATA, Lane::System, 1));
        arrived.push(&frame(control_type::REPLY, Lane::Interactive, 2));
        told(&read_all(&mut arrived, usize::MAX))[0].2 == 2
    });
    assert!((1..20).contains(&swapped.count()));
}

#[test]
fn however_bytes_arrive_and_are_read_every_frame_stays_whole() {
    let mut random = SeededRandom::new(4);
    for round in 0..300 {
        let mut bytes = in_turn();
        bytes.extend(frame(control_type::PING, Lane::System, 9));
        bytes.extend(in_turn());
        let mut arrived = arrived(round);
        let mut read = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + random.index(200)).min(rest.len()));
            arrived.push(now);
            rest = later;
            if random.chance(0.5) {
                read.extend(read_all(&mut arrived, 1 + random.index(50)));
            } else {
                read.extend(arrived.take(1 + random.index(50)));
            }
        }
        read.extend(read_all(&mut arrived, 1 + random.index(50)));
        let (mut expected, mut frames) = (told(&bytes), told(&read));
        let ping = (control_type::PING.0, 0, 9);
        assert_eq!(frames.iter().position(|frame| *frame == ping), Some(20), "round {round}");
        expected.sort_unstable();
        frames.sort_unstable();
        assert_eq!(frames, expected, "round {round}");
    }
}

#[test]
fn a_frame_that_is_not_whole_is_handed_out_as_it_comes() {
    let mut arrived = arrived(5);
    let (whole, partial) = (frame(DATA, Lane::Bulk, 1), frame(DATA, Lane::System, 2));
    arrived.push(&partial[..20]);
    assert_eq!(read_all(&mut arrived, usize::MAX), partial[..20], "nothing is before it");
    arrived.push(&partial[20..]);
    arrived.push(&whole);
    arrived.push(&partial[..20]);
    assert_eq!(read_all(&mut arrived, usize::MAX), [&partial[20..], &whole, &partial[..20]].concat());
}

#[test]
fn what_is_no_frame_passes_unchanged() {
    let mut arrived = arrived(6);
    let (one, two) = (frame(DATA, Lane::Bulk, 1), in_turn());
    arrived.push(&one);
    arrived.push(b"GET / HTTP/1.1\r\n");
    arrived.push(&two);
    assert_eq!(read_all(&mut arrived, usize::MAX), [&one, b"GET / HTTP/1.1\r\n".as_slice(), &two].concat());
}

#[test]
fn the_order_is_kept_where_that_is_wanted() {
    let mut arrived = Arrived::new(false, SeededRandom::new(1));
    arrived.push(&in_turn());
    assert_eq!(read_all(&mut arrived, 7), in_turn());
}
