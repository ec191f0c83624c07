//! What was opened once is opened never again, whatever was forgotten meanwhile.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, proptest};

use rdb_net_types::SeededRandom;

use super::{NOW, keyring, member, member_with, ms, open, open_at, seal, seal_at, secs};
use crate::{PacketSeal, Refused, SealConfig, WINDOW_COUNTERS};

#[test]
fn s15_a_hundred_thousand_replayed_packets_change_nothing_but_counters() {
    let keyring = keyring(1);
    let mut receiver = member("receiver", &keyring);
    let mut senders: Vec<_> = (0..10).map(|index| member(&format!("sender-{index}"), &keyring)).collect();
    let captured: Vec<_> =
        (0..1_000).map(|index| seal(&mut senders[index % 10], &(index as u32).to_be_bytes())).collect();
    assert!(captured.iter().all(|packet| open(&mut receiver, packet).is_ok()));

    let (windows, keys) = (receiver.senders().windows(), keyring.list(secs(0)));
    let mut random = SeededRandom::new(1);
    for _ in 0..100_000 {
        assert_eq!(open(&mut receiver, &captured[random.index(1_000)]), Err(Refused::Replayed));
    }
    assert!(receiver.senders().windows() == windows);
    assert_eq!(keyring.list(secs(0)), keys);
    let statistics = receiver.statistics();
    assert_eq!((statistics.packets_opened, statistics.refused(Refused::Replayed)), (1_000, 100_000));
    assert_eq!((statistics.senders, statistics.keys_derived), (10, 10));
}

#[test]
fn packets_that_overtake_each_other_within_the_window_are_opened_once_each() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let mut packets: Vec<_> = (0..WINDOW_COUNTERS).map(|_| seal(&mut a, b"x")).collect();
    SeededRandom::new(7).shuffle(&mut packets);
    assert!(packets.iter().all(|packet| open(&mut b, packet).is_ok()));
    assert!(packets.iter().all(|packet| open(&mut b, packet) == Err(Refused::Replayed)));
}

#[test]
fn a_packet_behind_the_window_is_too_old() {
    let keyring = keyring(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let packets: Vec<_> = (0..=WINDOW_COUNTERS).map(|_| seal(&mut a, b"x")).collect();
    assert!(open(&mut b, &packets[WINDOW_COUNTERS as usize]).is_ok());
    assert_eq!(open(&mut b, &packets[0]), Err(Refused::TooOld));
    assert!(open(&mut b, &packets[1]).is_ok());
}

/// A receiver that remembers few senders.
fn forgetful(senders_max: usize) -> (std::sync::Arc<crate::Keyring>, PacketSeal) {
    let keyring = keyring(1);
    let config = SealConfig { senders_max, ..SealConfig::default() };
    let receiver = member_with("receiver", &keyring, config, NOW);
    (keyring, receiver)
}

#[test]
fn s15_memory_is_bounded_and_an_evicted_sender_is_not_replayable() {
    let (keyring, mut receiver) = forgetful(8);
    let mut captured = Vec::new();
    for index in 0..100_u32 {
        let now = NOW.later(ms(u64::from(index)));
        let packet = seal_at(&mut member(&format!("sender-{index}"), &keyring), b"x", now);
        assert!(open_at(&mut receiver, &packet, now).is_ok());
        captured.push(packet);
        assert!(receiver.statistics().senders <= 8);
    }
    assert_eq!(receiver.statistics().senders_evicted, 92);
    let now = NOW.later(ms(100));
    for (index, packet) in captured.iter().enumerate() {
        let expected = if index < 92 { Refused::TooOld } else { Refused::Replayed };
        assert_eq!(open_at(&mut receiver, packet, now), Err(expected), "{index}");
    }
    assert_eq!(receiver.statistics().senders_evicted, 92, "a replay evicts nobody");
}

#[test]
fn an_evicted_sender_is_heard_again_with_what_it_seals_later() {
    let (keyring, mut receiver) = forgetful(2);
    let mut senders: Vec<_> = (0..3).map(|index| member(&format!("sender-{index}"), &keyring)).collect();
    for round in 0..50_u64 {
        for (index, sender) in senders.iter_mut().enumerate() {
            let now = NOW.later(ms(round * 30 + index as u64 * 10));
            let packet = seal_at(sender, b"x", now);
            assert!(open_at(&mut receiver, &packet, now).is_ok(), "round {round}, sender {index}");
        }
    }
}

#[test]
fn the_life_that_spoke_longest_ago_is_forgotten_first() {
    let (keyring, mut receiver) = forgetful(2);
    let (mut quiet, mut loud) = (member("quiet", &keyring), member("loud", &keyring));
    let quiet_packet = seal(&mut quiet, b"x");
    open(&mut receiver, &seal(&mut loud, b"x")).expect("opened");
    open(&mut receiver, &quiet_packet).expect("opened");
    let loud_packet = seal_at(&mut loud, b"x", NOW.later(ms(1)));
    open_at(&mut receiver, &loud_packet, NOW.later(ms(1))).expect("opened");
    let newcomer = seal_at(&mut member("newcomer", &keyring), b"x", NOW.later(ms(2)));
    open_at(&mut receiver, &newcomer, NOW.later(ms(2))).expect("opened");
    assert_eq!(open(&mut receiver, &quiet_packet), Err(Refused::TooOld));
    assert_eq!(open(&mut receiver, &loud_packet), Err(Refused::Replayed));
}

#[test]
fn s15_a_sender_that_was_forgotten_and_is_known_again_is_not_replayable() {
    let (keyring, mut receiver) = forgetful(1);
    let (mut a, mut b) = (member("a", &keyring), member("b", &keyring));
    let packets: Vec<_> =
        (0..4_u64).map(|index| seal_at(if index == 2 { &mut b } else { &mut a }, b"x", NOW.later(ms(index)))).collect();
    let now = NOW.later(ms(4));
    assert!(packets.iter().all(|packet| open_at(&mut receiver, packet, now).is_ok()));
    assert_eq!(receiver.statistics().senders_evicted, 2);
    let again: Vec<_> = packets.iter().map(|packet| open_at(&mut receiver, packet, now).err()).collect();
    let (old, replayed) = (Some(Refused::TooOld), Some(Refused::Replayed));
    assert_eq!(again, [old, old, old, replayed]);
}

proptest! {
    #[test]
    fn s15_nothing_is_opened_twice_however_little_is_remembered(
        senders_max in 1..5_usize,
        // Which sender seals, how far its clock is behind the others', and which captured packets are replayed then.
        steps in vec((0..8_usize, 0..3_000_u64, vec(any::<proptest::sample::Index>(), 0..4)), 1..60),
    ) {
        let (keyring, mut receiver) = forgetful(senders_max);
        let mut senders: Vec<_> = (0..8).map(|index| member(&format!("sender-{index}"), &keyring)).collect();
        let (mut captured, mut opened) = (Vec::new(), std::collections::HashSet::new());
        for (round, (sender, behind, replays)) in steps.into_iter().enumerate() {
            let now = NOW.later(ms(round as u64 * 100));
            captured.push(seal_at(&mut senders[sender], b"x", now.earlier(ms(behind))));
            let picked = replays.iter().map(|replay| replay.index(captured.len()));
            for index in picked.chain([captured.len() - 1]) {
                if open_at(&mut receiver, &captured[index], now).is_ok() {
                    prop_assert!(opened.insert(index), "packet {} was opened twice", index);
                }
            }
            prop_assert!(receiver.statistics().senders <= senders_max as u64);
        }
    }
}

#[test]
fn s15_a_restarted_receiver_opens_nothing_that_is_older_than_its_start() {
    let keyring = keyring(1);
    let (mut a, mut former) = (member("a", &keyring), member("receiver", &keyring));
    let captured: Vec<_> = (0..20_u64).map(|second| seal_at(&mut a, b"x", NOW.later(secs(second)))).collect();
    let now = NOW.later(secs(20));
    assert!(captured.iter().all(|packet| open_at(&mut former, packet, now).is_ok()));
    drop(former);

    let mut restarted = member_with("receiver", &keyring, SealConfig::default(), now);
    // The last 5 s before the start are open by default. That is the documented rest.
    let mut replay = || captured.iter().map(|packet| open_at(&mut restarted, packet, now).is_ok()).collect::<Vec<_>>();
    let first = replay();
    assert_eq!(
        (first.iter().position(|is_open| *is_open), first.iter().filter(|is_open| **is_open).count()),
        (Some(16), 4)
    );
    // Also now that the sender is known again.
    assert!(!replay().contains(&true));

    let strict = SealConfig { before_start_max: secs(0), ..SealConfig::default() };
    let mut strict = member_with("receiver", &keyring, strict, now);
    assert!(captured.iter().all(|packet| open_at(&mut strict, packet, now) == Err(Refused::TooOld)));
    assert!(open_at(&mut strict, &seal_at(&mut a, b"x", now.later(ms(1))), now.later(ms(1))).is_ok());
}
