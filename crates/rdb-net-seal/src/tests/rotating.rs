//! Two members whose keys are exchanged while packets are under way: at each step, in every order of delivery.

use std::sync::Arc;
use std::time::Duration;

use super::{key, keyring, member, open, seal};
use crate::{Keyring, Refused};

/// A step of one of the two keyrings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Install,
    Use,
    Remove,
}

const CHANGES: [Change; 3] = [Change::Install, Change::Use, Change::Remove];

fn apply(keyring: &Keyring, change: Change) {
    let result = match change {
        Change::Install => keyring.install(key(2), Duration::ZERO).map(drop),
        Change::Use => keyring.use_key(key(2).id()),
        Change::Remove => keyring.remove(key(1).id()),
    };
    result.expect("in order");
}

/// All ways to lead both members through the three steps. Each way is the list of those who move.
fn schedules() -> Vec<Vec<usize>> {
    (0..64_u32)
        .filter(|bits| bits.count_ones() == 3)
        .map(|bits| (0..6).map(|place| (bits >> place & 1) as usize).collect())
        .collect()
}

/// Whether the schedule obeys the rule of a rotation: nobody uses the key before all have installed it, and nobody removes the
/// former one before all use the new one.
fn is_orderly(schedule: &[usize]) -> bool {
    let mut steps = [0, 0];
    schedule.iter().all(|mover| {
        steps[*mover] += 1;
        steps[*mover] <= steps[1 - mover] + 1
    })
}

/// Sends a packet each way before each step, delivers what was sent so far before each step in the given order, and returns why
/// packets were refused.
fn run(schedule: &[usize], delay: usize, is_reversed: bool) -> Vec<Refused> {
    let keyrings: [Arc<Keyring>; 2] = [keyring(1), keyring(1)];
    let mut members = [member("a", &keyrings[0]), member("b", &keyrings[1])];
    let (mut steps, mut under_way, mut refused) = ([0, 0], Vec::new(), Vec::new());
    for round in 0..schedule.len() + delay + 1 {
        for (from, member) in members.iter_mut().enumerate() {
            under_way.push((round, 1 - from, seal(member, &[round as u8])));
        }
        let (mut due, later): (Vec<_>, Vec<_>) = under_way.into_iter().partition(|(sent, ..)| sent + delay <= round);
        under_way = later;
        if is_reversed {
            due.reverse();
        }
        for (sent, to, packet) in due {
            match open(&mut members[to], &packet) {
                Ok(plaintext) => assert_eq!(plaintext, [sent as u8]),
                Err(reason) => refused.push(reason),
            }
            // A copy that comes later is opened in no case.
            assert!(open(&mut members[to], &packet).is_err());
        }
        if let Some(mover) = schedule.get(round) {
            apply(&keyrings[*mover], CHANGES[steps[*mover]]);
            steps[*mover] += 1;
        }
    }
    refused
}

#[test]
fn an_orderly_rotation_loses_no_packet_that_arrives_before_the_next_step() {
    let orderly: Vec<_> = schedules().into_iter().filter(|schedule| is_orderly(schedule)).collect();
    assert_eq!(orderly.len(), 8, "each pair of steps in either order");
    for schedule in orderly {
        for is_reversed in [false, true] {
            assert_eq!(run(&schedule, 0, is_reversed), [], "{schedule:?}");
            // One step late is still well: the step in between keeps both keys.
            assert_eq!(run(&schedule, 1, is_reversed), [], "{schedule:?}");
        }
    }
}

#[test]
fn whatever_the_order_of_steps_and_delivery_packets_are_lost_for_want_of_a_key_only() {
    let mut lost = 0;
    for schedule in schedules() {
        for delay in 0..7 {
            for is_reversed in [false, true] {
                let refused = run(&schedule, delay, is_reversed);
                assert!(
                    refused.iter().all(|reason| *reason == Refused::UnknownKey),
                    "{schedule:?}, {delay}: {refused:?}"
                );
                lost += refused.len();
            }
        }
    }
    assert!(lost > 0, "a disorderly rotation does lose packets");
}

#[test]
fn after_the_rotation_both_seal_with_the_new_key() {
    let keyrings = [keyring(1), keyring(1)];
    let mut members = [member("a", &keyrings[0]), member("b", &keyrings[1])];
    for change in CHANGES {
        keyrings.iter().for_each(|keyring| apply(keyring, change));
    }
    let mut packet = seal(&mut members[0], b"x");
    assert_eq!(members[1].open_in_place(&mut packet, super::NOW).expect("opened").key, key(2).id());
}
