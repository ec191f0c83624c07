//! One registration through everything that a source does to it, on a virtual clock.

use proptest::prelude::*;
use rdb_net_types::NodeId;

use super::*;

const TTL: Duration = Duration::from_secs(9);

fn node(version: &str) -> Arc<NodeInfo> {
    let node = NodeInfo::new(NodeId::new("n1").expect("legal"), "host:1".parse().expect("legal"));
    Arc::new(NodeInfo { version: version.to_owned(), ..node })
}

fn s(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn away() -> Cause {
    Cause::unavailable("away")
}

/// The command that is due, in short.
fn command(registration: &mut Registration, now: Duration) -> String {
    match registration.poll_command(now) {
        Some(RegistrationCommand::Write { node, anew }) => {
            format!("write {} {}{}", node.version, node.weight.value(), if anew { " anew" } else { "" })
        }
        Some(RegistrationCommand::Renew) => "renew".to_owned(),
        Some(RegistrationCommand::Withdraw) => "withdraw".to_owned(),
        None => String::new(),
    }
}

fn new() -> Registration {
    Registration::new(RegistrationConfig::default(), node("1"), 7, s(0))
}

fn active() -> Registration {
    let mut registration = new();
    assert_eq!(command(&mut registration, s(0)), "write 1 1 anew");
    registration.handle_written(s(0), TTL);
    assert_eq!(*registration.state(), RegistrationState::Active { epoch: 1, since: s(0) });
    registration
}

/// Lets time pass until a command is due, within this time.
#[track_caller]
fn within(registration: &mut Registration, now: Duration, limit: Duration) -> (Duration, String) {
    let mut at = now;
    while let Some(due) = registration.poll_timeout().filter(|due| *due <= now + limit) {
        at = at.max(due);
        registration.handle_timeout(at);
        let command = command(registration, at);
        if !command.is_empty() {
            return (at, command);
        }
    }
    panic!("no command within {limit:?}: {registration:?}");
}

#[test]
fn a_promise_is_renewed_three_times_in_its_life_and_never_beside_another_command() {
    let mut registration = active();
    assert_eq!(command(&mut registration, Duration::from_millis(2_999)), "");
    assert_eq!(command(&mut registration, s(3)), "renew");
    assert_eq!(command(&mut registration, s(4)), "", "one command at a time");
    registration.handle_renewed(s(4), TTL);
    assert_eq!(registration.poll_timeout(), Some(s(6)), "counted from the question");
    assert_eq!(command(&mut registration, s(6)), "renew");
    assert_eq!(registration.stats().renewals, 1);
}

#[test]
fn a_source_that_is_away_loses_a_node_only_when_the_promise_ends_and_gets_it_back_at_once() {
    let mut registration = active();
    let mut now = s(0);
    while now < TTL {
        let (at, command) = within(&mut registration, now, TTL);
        if at >= TTL {
            assert_eq!(command, "write 1 1 anew");
            registration.handle_failure(at, away());
            now = at;
            break;
        }
        assert_eq!(command, "renew");
        assert!(matches!(registration.state(), RegistrationState::Active { .. }));
        registration.handle_failure(at, away());
        now = at;
    }
    assert_eq!(*registration.state(), RegistrationState::Lost { since: TTL, cause: away() });
    assert_eq!(registration.stats().lost, 1);
    assert!(registration.stats().failures >= 4, "it was tried while it could be saved");
    let (at, command) = within(&mut registration, now, s(5));
    assert_eq!(command, "write 1 1 anew");
    registration.handle_written(at, TTL);
    assert_eq!(*registration.state(), RegistrationState::Active { epoch: 2, since: at });
}

#[test]
fn silence_alone_ends_a_promise_too() {
    let mut registration = active();
    assert_eq!(command(&mut registration, s(3)), "renew");
    registration.handle_timeout(TTL);
    assert!(matches!(registration.state(), RegistrationState::Lost { since, .. } if *since == TTL));
}

#[test]
fn what_the_source_forgot_is_written_anew_at_once_but_not_in_a_loop() {
    let mut registration = active();
    assert_eq!(command(&mut registration, s(3)), "renew");
    registration.handle_lapsed(s(3), Cause::missing("no lease"));
    assert!(matches!(registration.state(), RegistrationState::Lost { .. }));
    assert_eq!(command(&mut registration, s(3)), "write 1 1 anew");
    registration.handle_lapsed(s(3), Cause::missing("no lease"));
    assert_eq!(command(&mut registration, s(3)), "");
    let (at, again) = within(&mut registration, s(3), s(1));
    assert_eq!(again, "write 1 1 anew");
    registration.handle_written(at, TTL);
    assert_eq!(*registration.state(), RegistrationState::Active { epoch: 2, since: at });
}

#[test]
fn another_process_with_the_name_is_told_and_outlived() {
    let mut registration = new();
    assert_eq!(command(&mut registration, s(0)), "write 1 1 anew");
    registration.handle_conflict(s(0), "boot 0x7");
    let conflict = RegistrationState::Conflict { since: s(0), other: "boot 0x7".into() };
    assert_eq!(*registration.state(), conflict);
    let (at, again) = within(&mut registration, s(0), s(5));
    assert!(at >= Duration::from_millis(2_500), "{at:?}");
    assert_eq!(again, "write 1 1 anew");
    registration.handle_conflict(at, "boot 0x7");
    assert_eq!(*registration.state(), conflict, "since the first time");
    let (at, _) = within(&mut registration, at, s(5));
    registration.handle_written(at, TTL);
    assert_eq!(*registration.state(), RegistrationState::Active { epoch: 1, since: at });
    assert_eq!(registration.stats().conflicts, 2);
}

#[test]
fn other_facts_are_written_under_the_same_promise() {
    let mut registration = active();
    registration.handle_node(s(1), node("2"));
    assert_eq!(command(&mut registration, s(1)), "write 2 1");
    registration.handle_node(s(1), node("3"));
    registration.handle_written(s(1), TTL);
    assert_eq!(*registration.state(), RegistrationState::Active { epoch: 1, since: s(0) });
    assert_eq!(command(&mut registration, s(1)), "write 3 1", "what came meanwhile is not lost");
    registration.handle_written(s(1), TTL);
    registration.handle_node(s(2), node("3"));
    assert_eq!(command(&mut registration, s(2)), "", "no write without a change");
}

#[test]
fn a_write_of_other_facts_that_failed_is_not_forgotten_when_the_promise_holds() {
    let mut registration = active();
    registration.handle_node(s(1), node("2"));
    assert_eq!(command(&mut registration, s(1)), "write 2 1");
    registration.handle_failure(s(1), away());
    let (_, again) = within(&mut registration, s(1), s(2));
    assert_eq!(again, "write 2 1");
}

#[test]
fn a_drain_takes_the_weight_waits_and_withdraws() {
    let mut registration = active();
    registration.handle_drain(s(1), s(5));
    assert_eq!(*registration.state(), RegistrationState::Draining { since: s(1) });
    assert_eq!(command(&mut registration, s(1)), "write 1 0");
    registration.handle_written(s(1), TTL);
    assert_eq!(command(&mut registration, s(4)), "renew");
    registration.handle_renewed(s(4), TTL);
    registration.handle_node(s(4), node("2"));
    assert_eq!(command(&mut registration, s(5)), "");
    assert_eq!(within(&mut registration, s(5), s(2)), (s(6), "withdraw".to_owned()));
    registration.handle_withdrawn(s(6));
    assert_eq!(*registration.state(), RegistrationState::Ended);
    assert_eq!((registration.poll_timeout(), registration.stats().abandoned), (None, 0));
}

#[test]
fn a_withdrawal_that_fails_is_tried_again_and_then_left_to_expire() {
    let mut registration = active();
    registration.handle_drain(s(1), s(0));
    let mut now = s(1);
    let mut tries = 0;
    while *registration.state() != RegistrationState::Ended {
        now = now.max(registration.poll_timeout().expect("it goes on"));
        registration.handle_timeout(now);
        if let Some(command) = registration.poll_command(now) {
            assert_eq!(command, RegistrationCommand::Withdraw);
            registration.handle_failure(now, away());
            tries += 1;
        }
    }
    assert_eq!(now, s(4), "the patience of 3 s");
    assert!(tries > 2, "{tries}");
    assert_eq!(registration.stats().abandoned, 1);
}

#[test]
fn a_node_that_was_never_registered_is_withdrawn_without_a_wait_since_a_write_may_be_under_way() {
    let mut registration = new();
    assert_eq!(command(&mut registration, s(0)), "write 1 1 anew");
    registration.handle_failure(s(1), away());
    registration.handle_drain(s(1), s(60));
    assert_eq!(command(&mut registration, s(1)), "withdraw");
    registration.handle_withdrawn(s(1));
    assert_eq!(*registration.state(), RegistrationState::Ended);
}

#[test]
fn an_earlier_life_gives_way_and_another_process_does_not() {
    let life = |boot, address: &str, generation| NodeInfo {
        boot: BootId(boot),
        address: address.parse().expect("legal"),
        incarnation: rdb_net_types::Incarnation::first_of(generation),
        ..NodeInfo::clone(&node("1"))
    };
    let own = life(2, "host:1", 5);
    assert!(gives_way(&life(2, "other:1", 5), &own), "this process, moved");
    assert!(gives_way(&life(1, "host:1", 4), &own), "an earlier life");
    assert!(gives_way(&life(0, "other:1", 0), &own), "written by an operator");
    assert!(!gives_way(&life(1, "other:1", 4), &own), "somewhere else");
    assert!(!gives_way(&life(1, "host:1", 6), &own), "a later life");
}

/// What a source does next to the command that it has.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Success,
    Lapsed,
    Conflict,
    Failure,
    Nothing,
}

proptest! {
    /// Whatever a source did: once it answers, the node is registered within the longest wait, with its latest facts.
    #[test]
    fn a_source_that_answers_again_has_the_node_soon(
        acts in proptest::collection::vec((0..5u8, 0..4_000u64, any::<bool>()), 0..60),
        seed in any::<u64>(),
    ) {
        let mut registration = Registration::new(RegistrationConfig::default(), node("0"), seed, s(0));
        let (mut now, mut version, mut written) = (s(0), 0, None);
        let answers = [Answer::Success, Answer::Lapsed, Answer::Conflict, Answer::Failure, Answer::Nothing];
        let mut step = |registration: &mut Registration, now: Duration, answer: Answer| {
            registration.handle_timeout(now);
            let Some(command) = registration.poll_command(now) else { return };
            match (answer, command) {
                (Answer::Success, RegistrationCommand::Write { node, .. }) => {
                    written = Some(node.version.clone());
                    registration.handle_written(now, TTL);
                }
                (Answer::Success, _) => registration.handle_renewed(now, TTL),
                (Answer::Lapsed, _) => registration.handle_lapsed(now, away()),
                (Answer::Conflict, RegistrationCommand::Write { .. }) => registration.handle_conflict(now, "other"),
                // A driver has a time limit of its own: in the end, nothing is a failure.
                _ => registration.handle_failure(now, away()),
            }
        };
        for (answer, wait_ms, change) in acts {
            if change {
                version += 1;
                registration.handle_node(now, node(&version.to_string()));
            }
            step(&mut registration, now, answers[usize::from(answer)]);
            now += Duration::from_millis(wait_ms);
        }
        let end = now + s(10);
        while now < end {
            let due = registration.poll_timeout().expect("it goes on");
            now = now.max(due);
            step(&mut registration, now, Answer::Success);
        }
        let active = matches!(registration.state(), RegistrationState::Active { .. });
        prop_assert!(active, "{registration:?}");
        prop_assert_eq!(written, Some(version.to_string()));
    }
}
