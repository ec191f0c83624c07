//! The leader of a rotation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::{NodeId, SeededRandom};

use super::{key, keyring, ms, node, secs};
use crate::{Keyring, KeyringOffer, Phase, Rotation, RotationAction, RotationConfig, Step};

fn nodes(count: usize) -> Vec<NodeId> {
    (0..count).map(|index| node(&format!("n{index}"))).collect()
}

fn rotation(count: usize) -> Rotation {
    rotation_with(RotationConfig::default(), count)
}

fn rotation_with(config: RotationConfig, count: usize) -> Rotation {
    Rotation::new(config, key(2).id(), key(1).id(), nodes(count), secs(0))
}

/// Everything that is to be told now, by name.
fn told(rotation: &mut Rotation, now: Duration) -> Vec<(String, Step)> {
    let mut told: Vec<_> = std::iter::from_fn(|| match rotation.poll_action(now) {
        RotationAction::Tell { node, step } => Some((node.to_string(), step)),
        _ => None,
    })
    .collect();
    told.sort();
    told
}

/// Answers everything that is told now, until there is nothing more to be told.
fn answer_all(rotation: &mut Rotation, now: Duration, except: &[&str]) {
    while let RotationAction::Tell { node, step } = rotation.poll_action(now) {
        if !except.contains(&node.as_str()) {
            rotation.handle_acknowledged(&node, step);
        }
    }
}

#[test]
fn all_install_before_anybody_uses_and_all_use_before_anybody_removes() {
    let mut rotation = rotation(2);
    let both = |step| vec![("n0".to_owned(), step), ("n1".to_owned(), step)];
    assert_eq!(told(&mut rotation, secs(0)), both(Step::Install));
    rotation.handle_acknowledged(&node("n0"), Step::Install);
    assert_eq!(told(&mut rotation, secs(1)), []);
    assert_eq!(rotation.progress(Step::Install), (1, 2));
    rotation.handle_acknowledged(&node("n1"), Step::Install);
    assert_eq!(told(&mut rotation, secs(1)), both(Step::Use));
    assert_eq!(rotation.phase(), Phase::Using);
    rotation.handle_acknowledged(&node("n1"), Step::Use);
    rotation.handle_acknowledged(&node("n0"), Step::Use);
    assert_eq!(rotation.poll_action(secs(2)), RotationAction::WaitUntil(secs(122)));
    assert_eq!(rotation.phase(), Phase::Grace);
    assert_eq!(rotation.poll_action(secs(121)), RotationAction::WaitUntil(secs(122)));
    assert_eq!(told(&mut rotation, secs(122)), both(Step::Remove));
    rotation.handle_acknowledged(&node("n0"), Step::Remove);
    rotation.handle_acknowledged(&node("n1"), Step::Remove);
    assert_eq!(rotation.poll_action(secs(123)), RotationAction::Ended);
    assert_eq!((rotation.phase(), rotation.missing().count()), (Phase::Finished, 0));
}

#[test]
fn a_member_that_does_not_answer_is_told_again_and_does_not_hold_the_others_up_for_ever() {
    let mut rotation = rotation(3);
    answer_all(&mut rotation, secs(0), &["n1"]);
    assert_eq!(rotation.poll_action(secs(0)), RotationAction::WaitUntil(secs(2)));
    assert_eq!(told(&mut rotation, secs(2)), [("n1".to_owned(), Step::Install)]);
    assert_eq!(told(&mut rotation, secs(3)), []);
    answer_all(&mut rotation, secs(60), &["n1"]);
    assert_eq!(rotation.progress(Step::Use), (2, 3));
    let missing: Vec<_> = rotation.missing().map(|(node, done)| (node.to_string(), done)).collect();
    assert_eq!(missing, [("n1".to_owned(), None)]);
    // It comes back in the next phase, and is led through what it missed.
    assert_eq!(told(&mut rotation, secs(70)), [("n1".to_owned(), Step::Install)]);
    rotation.handle_acknowledged(&node("n1"), Step::Install);
    assert_eq!(told(&mut rotation, secs(70)), [("n1".to_owned(), Step::Use)]);
    rotation.handle_acknowledged(&node("n1"), Step::Use);
    assert_eq!(told(&mut rotation, secs(71)), []);
    assert_eq!((rotation.phase(), rotation.missing().count()), (Phase::Grace, 0));
}

#[test]
fn a_member_that_is_never_reached_is_named_at_the_end() {
    let mut rotation = rotation(3);
    let mut now = secs(0);
    while rotation.phase() != Phase::Finished {
        answer_all(&mut rotation, now, &["n2"]);
        now = match rotation.poll_action(now) {
            RotationAction::WaitUntil(at) => at,
            _ => now,
        };
    }
    assert_eq!(now, secs(60 + 60 + 120 + 60), "three phases in full, and the grace");
    let missing: Vec<_> = rotation.missing().map(|(node, done)| (node.to_string(), done)).collect();
    assert_eq!(missing, [("n2".to_owned(), None)]);
}

#[test]
fn a_rotation_that_reaches_few_members_is_abandoned_before_the_key_is_used() {
    let mut rotation = rotation(5);
    answer_all(&mut rotation, secs(0), &["n0", "n1", "n2"]);
    assert_eq!(rotation.phase(), Phase::Installing);
    answer_all(&mut rotation, secs(60), &["n0", "n1", "n2"]);
    assert_eq!(rotation.poll_action(secs(60)), RotationAction::Ended);
    assert_eq!(rotation.phase(), Phase::Abandoned);
    assert_eq!(rotation.progress(Step::Use), (0, 5));
    assert_eq!(rotation.missing().count(), 3);
}

#[test]
fn a_member_that_fails_is_told_again_after_a_while() {
    let mut rotation = rotation(2);
    assert_eq!(told(&mut rotation, secs(0)).len(), 2);
    rotation.handle_failed(secs(1), &node("n0"), Step::Install);
    rotation.handle_failed(secs(1), &node("n1"), Step::Use);
    assert_eq!(
        told(&mut rotation, secs(2)),
        [("n1".to_owned(), Step::Install)],
        "a failure it was not told of is no failure"
    );
    assert_eq!(told(&mut rotation, secs(3)), [("n0".to_owned(), Step::Install)]);
}

#[test]
fn few_members_are_told_at_the_same_time() {
    let mut rotation = rotation_with(RotationConfig { in_flight_max: 3, ..RotationConfig::default() }, 10);
    assert_eq!(told(&mut rotation, secs(0)).len(), 3);
    rotation.handle_acknowledged(&node("n1"), Step::Install);
    assert_eq!(told(&mut rotation, secs(0)), [("n3".to_owned(), Step::Install)]);
    rotation.handle_failed(secs(0), &node("n0"), Step::Install);
    rotation.handle_left(&node("n2"));
    assert_eq!(told(&mut rotation, secs(0)).len(), 2);
    assert_eq!(told(&mut rotation, secs(2)).len(), 3, "what was not answered makes room for others");
}

#[test]
fn a_member_that_is_behind_is_led_from_the_first_step_on() {
    let mut rotation = rotation(2);
    answer_all(&mut rotation, secs(0), &[]);
    assert_eq!(rotation.phase(), Phase::Grace);
    rotation.handle_behind(&node("n1"));
    assert_eq!(rotation.progress(Step::Use), (1, 2));
    // What it was told before it fell behind does not count.
    rotation.handle_acknowledged(&node("n1"), Step::Install);
    rotation.handle_acknowledged(&node("n1"), Step::Use);
    assert_eq!(told(&mut rotation, secs(1)), [("n1".to_owned(), Step::Install)]);
    rotation.handle_acknowledged(&node("n1"), Step::Install);
    assert_eq!(told(&mut rotation, secs(1)), [("n1".to_owned(), Step::Use)]);
}

#[test]
fn an_answer_to_what_was_not_told_does_not_count() {
    let mut rotation = rotation(2);
    rotation.handle_acknowledged(&node("n0"), Step::Remove);
    rotation.handle_acknowledged(&node("n0"), Step::Install);
    rotation.handle_acknowledged(&node("stranger"), Step::Install);
    assert_eq!(rotation.progress(Step::Install), (0, 2));
    assert_eq!(told(&mut rotation, secs(0)).len(), 2);
    rotation.handle_acknowledged(&node("n0"), Step::Install);
    rotation.handle_acknowledged(&node("n0"), Step::Install);
    assert_eq!(rotation.progress(Step::Install), (1, 2));
}

#[test]
fn members_come_and_go_meanwhile() {
    let mut rotation = rotation_with(RotationConfig { members_max: 3, ..RotationConfig::default() }, 2);
    answer_all(&mut rotation, secs(0), &[]);
    assert_eq!(rotation.phase(), Phase::Grace);
    assert!(rotation.handle_joined(node("late")));
    assert!(!rotation.handle_joined(node("too-many")));
    rotation.handle_left(&node("n0"));
    assert_eq!(told(&mut rotation, secs(1)), [("late".to_owned(), Step::Install)]);
    answer_all(&mut rotation, secs(3), &[]);
    assert_eq!(rotation.progress(Step::Use), (2, 2));
}

#[test]
fn a_rotation_without_members_waits_out_the_grace_and_ends() {
    let mut rotation = rotation(0);
    assert_eq!(rotation.poll_action(secs(0)), RotationAction::WaitUntil(secs(120)));
    assert_eq!(rotation.poll_action(secs(120)), RotationAction::Ended);
    assert_eq!(rotation.phase(), Phase::Finished);
}

/// Members that answer after a while, do not, crash, come, go, and forget: in the end every member that answers has one
/// keyring, and at no time did anybody seal with a key that another who had been told in time did not know.
fn random_run(seed: u64) {
    let mut random = SeededRandom::new(seed);
    let leader = keyring(1);
    leader.install(key(2), secs(0)).expect("room");
    let names = nodes(12);
    let mut keyrings: BTreeMap<NodeId, Arc<Keyring>> = names.iter().map(|name| (name.clone(), keyring(1))).collect();
    let mut rotation = Rotation::new(RotationConfig::default(), key(2).id(), key(1).id(), names.clone(), secs(0));
    let dead: BTreeSet<NodeId> = names.iter().filter(|_| random.chance(0.1)).cloned().collect();
    let mut answers: Vec<(Duration, NodeId, Step, bool)> = Vec::new();
    let mut now = secs(0);
    loop {
        let next = loop {
            match rotation.poll_action(now) {
                RotationAction::Ended => break None,
                RotationAction::WaitUntil(at) => break Some(at),
                RotationAction::Tell { node, step } => {
                    if dead.contains(&node) || random.chance(0.2) {
                        continue;
                    }
                    let keyring = &keyrings[&node];
                    let result = match rotation.order(step) {
                        None => KeyringOffer::decode(&KeyringOffer::encode(&leader).expect("keys"))
                            .expect("legal")
                            .accept(keyring, now)
                            .map(drop),
                        Some(order) => order.apply(keyring),
                    };
                    answers.push((now + random.duration(ms(1), secs(3)), node, step, result.is_ok()));
                }
            }
        };
        let Some(next) = next else { break };
        // Somebody loses its memory, and gets the keys of whoever it joins through.
        if random.chance(0.05) {
            let (restarted, through) = (&names[random.index(12)], &names[random.index(12)]);
            let offer = KeyringOffer::encode(&keyrings[through]).expect("keys");
            let fresh = Arc::new(Keyring::empty());
            KeyringOffer::decode(&offer).expect("legal").accept(&fresh, now).expect("room");
            keyrings.insert(restarted.clone(), fresh);
            rotation.handle_joined(restarted.clone());
            // What its former life would have answered went with its connection.
            answers.retain(|(_, node, ..)| node != restarted);
        }
        now = answers.iter().map(|(at, ..)| *at).min().unwrap_or(next).min(next).max(now + ms(1));
        for (_, node, step, is_ok) in answers.extract_if(.., |(at, ..)| *at <= now) {
            if is_ok { rotation.handle_acknowledged(&node, step) } else { rotation.handle_behind(&node) }
        }
    }
    let missing: BTreeSet<NodeId> = rotation.missing().map(|(node, _)| node.clone()).collect();
    if rotation.phase() == Phase::Abandoned {
        assert!(keyrings.values().all(|keyring| keyring.primary() == Some(key(1).id())), "seed {seed}");
        return;
    }
    for (name, keyring) in keyrings.iter().filter(|(name, _)| !missing.contains(*name)) {
        let ids: Vec<_> = keyring.list(now).iter().map(|key| key.id).collect();
        assert_eq!(ids, [key(2).id()], "seed {seed}, {name}");
    }
    assert!(now <= secs(60 + 60 + 120 + 60 + 60), "seed {seed}: {now:?}");
}

#[test]
fn whoever_answers_ends_with_the_new_key_alone() {
    (0..500).for_each(random_run);
}

#[test]
fn ten_thousand_members_are_led_through_in_an_instant() {
    let mut rotation = rotation(10_000);
    answer_all(&mut rotation, secs(0), &[]);
    answer_all(&mut rotation, secs(120), &[]);
    assert_eq!(rotation.phase(), Phase::Finished);
}
