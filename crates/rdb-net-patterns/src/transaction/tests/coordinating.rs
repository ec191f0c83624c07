//! The coordinator's steps.

use rdb_net_types::{Effect, NodeId, Payload, Reason, RequestError, TransactionAck, TransactionId, Vote};

use super::super::{
    BeginError, Coordinator, CoordinatorAction, CoordinatorConfig, Decision, Life, Record, Ticket, Verdict,
};
use super::{ms, node, vote};

/// A coordinator named `c` whose own record is durable.
pub(super) fn coordinator(config: CoordinatorConfig, records: Vec<Record>) -> Coordinator {
    let mut coordinator = Coordinator::new(config, node("c"), 1, records, ms(0));
    let started = coordinator.poll_action();
    assert!(matches!(
        started,
        Some(CoordinatorAction::Append { record: Record::Started { .. }, forced: Some(Ticket(1)) })
    ));
    coordinator.handle_synced(ms(0), Ticket(1));
    coordinator
}

pub(super) fn parts(names: &[&str]) -> Vec<(NodeId, Payload)> {
    names.iter().map(|name| (node(name), Payload::from("work"))).collect()
}

/// What it wants done, a word for each.
pub(super) fn actions(coordinator: &mut Coordinator) -> Vec<String> {
    let words = |action| match action {
        CoordinatorAction::Prepare { node, .. } => format!("prepare {node}"),
        CoordinatorAction::GiveUp { node, .. } => format!("give up {node}"),
        CoordinatorAction::Append { record, forced } => {
            let kind = format!("{record:?}");
            let kind = kind.split(' ').next().expect("a record has a kind").to_owned();
            if forced.is_some() { format!("force {kind}") } else { format!("append {kind}") }
        }
        CoordinatorAction::Commit { node, .. } => format!("commit {node}"),
        CoordinatorAction::Abort { node, .. } => format!("abort {node}"),
        CoordinatorAction::Decided { decision, .. } => format!("decided {decision}"),
        CoordinatorAction::Ended { .. } => "ended".to_owned(),
        CoordinatorAction::GivenUp { node, .. } => format!("given up {node}"),
        CoordinatorAction::StillGivenUp { node, .. } => format!("still given up {node}"),
    };
    std::iter::from_fn(|| coordinator.poll_action()).map(words).collect()
}

/// A transaction of these, all asked.
pub(super) fn begun(names: &[&str]) -> (Coordinator, TransactionId) {
    let mut coordinator = coordinator(CoordinatorConfig::default(), Vec::new());
    let txn = coordinator.begin(ms(0), parts(names), ms(1000)).expect("legal");
    let asked: Vec<String> = names.iter().map(|name| format!("prepare {name}")).collect();
    assert_eq!(actions(&mut coordinator), asked);
    (coordinator, txn)
}

pub(super) fn acknowledge(coordinator: &mut Coordinator, txn: TransactionId, name: &str) {
    coordinator.handle_told(txn, &node(name), Ok(TransactionAck { txn_id: txn }));
}

#[test]
fn a_commit_is_durable_before_anybody_hears_of_it() {
    let (mut coordinator, txn) = begun(&["a", "b"]);
    coordinator.handle_prepared(ms(1), txn, &node("a"), Ok(vote(txn, Vote::Commit)));
    assert_eq!(actions(&mut coordinator), [""; 0]);
    coordinator.handle_prepared(ms(1), txn, &node("b"), Ok(vote(txn, Vote::Commit)));
    assert_eq!(actions(&mut coordinator), ["force Decided"]);
    assert_eq!(coordinator.handle_question(ms(2), &node("a"), vote(txn, Vote::Commit)), Verdict::Undecided);
    coordinator.abort(txn);
    coordinator.handle_synced(ms(3), Ticket(2));
    assert_eq!(actions(&mut coordinator), ["decided commit", "commit a", "commit b"]);
    acknowledge(&mut coordinator, txn, "b");
    assert_eq!(actions(&mut coordinator), [""; 0]);
    acknowledge(&mut coordinator, txn, "a");
    assert_eq!(actions(&mut coordinator), ["append Ended", "ended"]);
    assert_eq!(coordinator.live_records(), [Record::Started { epoch: 1 }], "nothing of it stays in the log");
}

/// What each outcome of a prepare does at once.
#[test]
fn the_outcome_of_a_prepare_drives_the_decision() {
    let abort_a = ["give up a", "abort a", "decided abort", "ended"];
    type Outcome = Result<Vote, (Effect, Reason)>;
    let table: [(Outcome, &[&str]); 7] = [
        (Ok(Vote::Commit), &[]),
        (Ok(Vote::ReadOnly), &[]),
        (Ok(Vote::Abort), &abort_a),
        (Err((Effect::NotSent, Reason::Unreachable)), &abort_a),
        (Err((Effect::NotStarted, Reason::Draining)), &abort_a),
        (Err((Effect::Unknown, Reason::ConnectionLost)), &[]),
        (Err((Effect::Unknown, Reason::HandlerFailed)), &[]),
    ];
    for (outcome, expected) in table {
        let (mut coordinator, txn) = begun(&["a", "b"]);
        let told = outcome.map(|told| vote(txn, told)).map_err(|(effect, reason)| RequestError::new(effect, reason));
        coordinator.handle_prepared(ms(1), txn, &node("b"), told);
        assert_eq!(actions(&mut coordinator), expected, "{outcome:?}");
    }
}

#[test]
fn a_silent_participant_is_not_asked_later_because_another_falls_silent() {
    let (mut coordinator, txn) = begun(&["a", "b"]);
    let lost = || Err(RequestError::new(Effect::Unknown, Reason::ConnectionLost));
    coordinator.handle_prepared(ms(0), txn, &node("a"), lost());
    coordinator.handle_prepared(ms(499), txn, &node("b"), lost());
    assert_eq!(coordinator.poll_timeout(), Some(ms(500)));
    coordinator.handle_timeout(ms(500));
    assert_eq!(actions(&mut coordinator), ["prepare a", "prepare b"]);
    assert_eq!(coordinator.poll_timeout(), Some(ms(1000)), "the deadline, while both are being asked");
}

#[test]
fn an_unknown_outcome_is_asked_about_again_until_the_deadline() {
    let (mut coordinator, txn) = begun(&["a", "b"]);
    let lost = || Err(RequestError::new(Effect::Unknown, Reason::ConnectionLost));
    coordinator.handle_prepared(ms(1), txn, &node("a"), Ok(vote(txn, Vote::Commit)));
    coordinator.handle_prepared(ms(1), txn, &node("b"), lost());
    assert_eq!(coordinator.poll_timeout(), Some(ms(501)));
    coordinator.handle_timeout(ms(501));
    assert_eq!(actions(&mut coordinator), ["prepare b"]);
    coordinator.handle_prepared(ms(600), txn, &node("b"), lost());
    assert_eq!(coordinator.poll_timeout(), Some(ms(1000)));
    coordinator.handle_timeout(ms(1000));
    assert_eq!(actions(&mut coordinator), ["abort a", "abort b", "decided abort", "ended"]);
}

#[test]
fn who_was_heard_perhaps_is_told_of_the_abort_although_the_second_prepare_was_not_sent() {
    let (mut coordinator, txn) = begun(&["a"]);
    coordinator.handle_prepared(ms(1), txn, &node("a"), Err(RequestError::new(Effect::Unknown, Reason::Expired)));
    coordinator.handle_timeout(ms(501));
    assert_eq!(actions(&mut coordinator), ["prepare a"]);
    coordinator.handle_prepared(ms(502), txn, &node("a"), Err(RequestError::new(Effect::NotSent, Reason::Unreachable)));
    assert_eq!(actions(&mut coordinator), ["give up a", "abort a", "decided abort", "ended"]);
}

#[test]
fn the_question_of_who_is_in_doubt_is_a_vote() {
    let (mut coordinator, txn) = begun(&["a"]);
    coordinator.handle_prepared(ms(1), txn, &node("a"), Err(RequestError::new(Effect::Unknown, Reason::Expired)));
    assert_eq!(coordinator.handle_question(ms(5), &node("a"), vote(txn, Vote::Commit)), Verdict::Undecided);
    assert_eq!(actions(&mut coordinator), ["force Decided", "give up a"]);
    coordinator.handle_synced(ms(6), Ticket(2));
    let verdict = coordinator.handle_question(ms(7), &node("a"), vote(txn, Vote::Commit));
    assert_eq!(verdict, Verdict::Decided(Decision::Commit));
}

#[test]
fn who_changed_nothing_hears_of_no_second_phase() {
    let (mut coordinator, txn) = begun(&["a", "b"]);
    coordinator.handle_prepared(ms(1), txn, &node("a"), Ok(vote(txn, Vote::ReadOnly)));
    coordinator.handle_prepared(ms(1), txn, &node("b"), Ok(vote(txn, Vote::Commit)));
    let appended = coordinator.poll_action();
    let decided = Record::Decided { txn, participants: vec![node("b")] };
    assert_eq!(appended, Some(CoordinatorAction::Append { record: decided, forced: Some(Ticket(2)) }));
    coordinator.handle_synced(ms(2), Ticket(2));
    assert_eq!(actions(&mut coordinator), ["decided commit", "commit b"]);
    let verdict = coordinator.handle_question(ms(3), &node("a"), vote(txn, Vote::Commit));
    assert_eq!(verdict, Verdict::Decided(Decision::Abort), "a second preparing of who had changed nothing is undone");
}

#[test]
fn a_transaction_that_changes_nothing_writes_nothing() {
    let (mut coordinator, txn) = begun(&["a", "b"]);
    coordinator.handle_prepared(ms(1), txn, &node("a"), Ok(vote(txn, Vote::ReadOnly)));
    coordinator.handle_prepared(ms(1), txn, &node("b"), Ok(vote(txn, Vote::ReadOnly)));
    assert_eq!(actions(&mut coordinator), ["decided commit", "ended"]);
}

#[test]
fn the_next_life_tells_what_was_decided_and_presumes_abort_of_the_rest() {
    let (former, _) = begun(&["a"]);
    let decided = former.life().transaction(1);
    let ended = former.life().transaction(2);
    let records = vec![
        Record::Started { epoch: 1 },
        Record::Decided { txn: decided, participants: vec![node("a"), node("b")] },
        Record::Decided { txn: ended, participants: vec![node("a")] },
        Record::Ended { txn: ended },
    ];
    let mut coordinator = coordinator(CoordinatorConfig::default(), records);
    assert_eq!(coordinator.life(), Life::new(&node("c"), 2), "ids of the former life are not used again");
    assert_eq!(actions(&mut coordinator), ["commit a", "commit b"]);
    let mut ask = |txn| coordinator.handle_question(ms(1), &node("a"), vote(txn, Vote::Commit));
    assert_eq!(ask(decided), Verdict::Decided(Decision::Commit));
    assert_eq!(ask(former.life().transaction(9)), Verdict::Decided(Decision::Abort));
    assert_eq!(ask(Life::new(&node("x"), 1).transaction(1)), Verdict::Undecided, "another's is not presumed");
}

#[test]
fn a_commit_is_told_again_ever_less_often() {
    let (mut coordinator, txn) = begun(&["a"]);
    coordinator.handle_prepared(ms(0), txn, &node("a"), Ok(vote(txn, Vote::Commit)));
    coordinator.handle_synced(ms(0), Ticket(2));
    let mut waits = Vec::new();
    let mut now = ms(0);
    for _ in 0..7 {
        assert_eq!(actions(&mut coordinator).last().map(String::as_str), Some("commit a"));
        coordinator.handle_told(txn, &node("a"), Err(RequestError::new(Effect::NotSent, Reason::Unreachable)));
        let next = coordinator.poll_timeout().expect("it is not over");
        waits.push((next - now).as_millis());
        now = next;
        coordinator.handle_timeout(now);
    }
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
}

#[test]
fn limits_refuse_and_count() {
    let config = CoordinatorConfig { open_max: 1, participants_max: 2, ..CoordinatorConfig::default() };
    let mut coordinator = coordinator(config, Vec::new());
    let mut begin = |names: &[&str]| coordinator.begin(ms(0), parts(names), ms(1000));
    assert_eq!(begin(&[]), Err(BeginError::NoParticipant));
    assert_eq!(begin(&["a", "a"]), Err(BeginError::NamedTwice { node: node("a") }));
    let too_many = BeginError::TooManyParticipants { participants: 3, participants_max: 2 };
    assert_eq!(begin(&["a", "b", "c"]), Err(too_many));
    begin(&["a"]).expect("there is room");
    assert_eq!(begin(&["a"]), Err(BeginError::TooManyOpen { open_max: 1 }));
    let stats = coordinator.stats();
    assert_eq!((stats.begun, stats.open, stats.refused_too_many), (1, 1, 1));
}

#[test]
fn strangers_change_nothing() {
    let (mut coordinator, txn) = begun(&["a"]);
    coordinator.handle_question(ms(1), &node("z"), vote(txn, Vote::Abort));
    coordinator.handle_prepared(ms(1), txn, &node("a"), Ok(vote(Life::of(txn).transaction(77), Vote::Commit)));
    assert_eq!(actions(&mut coordinator), [""; 0]);
    assert_eq!(coordinator.stats().strangers, 2);
}

#[test]
fn nothing_begins_before_the_life_is_durable() {
    let mut coordinator = Coordinator::new(CoordinatorConfig::default(), node("c"), 7, [], ms(0));
    assert_eq!(coordinator.begin(ms(0), parts(&["a"]), ms(100)), Err(BeginError::Starting));
    assert_eq!(coordinator.life().epoch, 7);
}
