//! The participant's steps.

use rdb_net_types::{
    AbortTransaction, CommitTransaction, Effect, Payload, PrepareTransaction, Reason, RequestError, TransactionId, Vote,
};

use super::super::{
    CallId, Decision, Life, Participant, ParticipantAction, ParticipantAnswer, ParticipantConfig, Record, ResolveError,
    Ticket, Verdict,
};
use super::{ms, node};

pub(super) fn txn(sequence: u32) -> TransactionId {
    Life::new(&node("c"), 1).transaction(sequence)
}

pub(super) fn prepare(participant: &mut Participant, call: u64, txn: TransactionId) {
    let participants = vec![node("a")];
    let message = PrepareTransaction { txn_id: txn, coordinator: node("c"), participants, work: Payload::from("work") };
    participant.handle_prepare(CallId(call), &node("c"), message);
}

pub(super) fn commit(participant: &mut Participant, call: u64, txn: TransactionId) {
    participant.handle_commit(ms(0), CallId(call), &node("c"), &CommitTransaction { txn_id: txn });
}

pub(super) fn abort(participant: &mut Participant, call: u64, txn: TransactionId) {
    let message = AbortTransaction { txn_id: txn, reason: String::new() };
    participant.handle_abort(CallId(call), &node("c"), &message);
}

/// What it wants done, some words for each.
pub(super) fn actions(participant: &mut Participant) -> Vec<String> {
    let words = |action| match action {
        ParticipantAction::Answer { call, answer } => match answer {
            ParticipantAnswer::Vote(vote) => format!("{}: vote {:?}", call.0, vote.vote),
            ParticipantAnswer::Ack(_) => format!("{}: ack", call.0),
            ParticipantAnswer::Refused(refusal) => format!("{}: refused {refusal:?}", call.0),
        },
        ParticipantAction::Work { .. } => "work".to_owned(),
        ParticipantAction::Restore { .. } => "restore".to_owned(),
        ParticipantAction::Append { record, forced } => {
            let kind = format!("{record:?}");
            let kind = kind.split(' ').next().expect("a record has a kind").to_owned();
            if forced.is_some() { format!("force {kind}") } else { format!("append {kind}") }
        }
        ParticipantAction::Apply { decision, .. } => format!("apply {decision}"),
        ParticipantAction::Resolved { decision, .. } => format!("resolved {decision}"),
        ParticipantAction::Contradicted { resolved, .. } => format!("contradicted {resolved}"),
        ParticipantAction::AckPresumed { coordinator, .. } => format!("presumed {coordinator}"),
        ParticipantAction::Ask { coordinator, .. } => format!("ask {coordinator}"),
    };
    std::iter::from_fn(|| participant.poll_action()).map(words).collect()
}

/// A participant that has prepared a transaction and voted at time 0.
pub(super) fn prepared() -> Participant {
    let mut participant = Participant::new(ParticipantConfig::default(), [], ms(0));
    prepare(&mut participant, 1, txn(1));
    assert_eq!(actions(&mut participant), ["work"]);
    participant.handle_worked(ms(0), txn(1), Vote::Commit, "");
    assert_eq!(actions(&mut participant), ["force Prepared"]);
    participant.handle_synced(ms(0), Ticket(1));
    assert_eq!(actions(&mut participant), ["1: vote Commit"]);
    participant
}

#[test]
fn a_vote_is_durable_before_it_is_given_and_a_commit_before_it_is_acknowledged() {
    let mut participant = prepared();
    commit(&mut participant, 2, txn(1));
    assert_eq!(actions(&mut participant), ["force Committed"]);
    participant.handle_synced(ms(1), Ticket(2));
    assert_eq!(actions(&mut participant), ["2: ack", "apply commit"]);
    participant.handle_applied(txn(1));
    assert_eq!(actions(&mut participant), ["append Applied"]);
    assert_eq!(participant.held().count(), 0);
    let live = participant.live_records();
    assert!(matches!(live.as_slice(), [Record::Over { highest: 1, .. }]), "{live:?}");
}

#[test]
fn what_comes_twice_is_answered_twice_and_done_once() {
    let mut participant = prepared();
    prepare(&mut participant, 2, txn(1));
    assert_eq!(actions(&mut participant), ["2: vote Commit"]);
    commit(&mut participant, 3, txn(1));
    commit(&mut participant, 4, txn(1));
    assert_eq!(actions(&mut participant), ["force Committed"]);
    participant.handle_synced(ms(1), Ticket(2));
    assert_eq!(actions(&mut participant), ["3: ack", "4: ack", "apply commit"]);
    participant.handle_applied(txn(1));
    commit(&mut participant, 5, txn(1));
    prepare(&mut participant, 6, txn(1));
    assert_eq!(actions(&mut participant), ["append Applied", "5: ack", "6: vote Abort"]);
    assert_eq!(participant.stats().late_prepares, 1);
}

#[test]
fn an_abort_is_acknowledged_at_once_and_forces_nothing() {
    let mut participant = prepared();
    abort(&mut participant, 2, txn(1));
    assert_eq!(actions(&mut participant), ["append Aborted", "apply abort", "2: ack"]);
}

#[test]
fn an_abort_that_overtakes_its_prepare_ends_it() {
    let mut participant = Participant::new(ParticipantConfig::default(), [], ms(0));
    abort(&mut participant, 1, txn(1));
    prepare(&mut participant, 2, txn(1));
    assert_eq!(actions(&mut participant), ["1: ack", "2: vote Abort"]);
}

#[test]
fn an_abort_while_the_vote_is_being_written_is_heard() {
    let mut participant = Participant::new(ParticipantConfig::default(), [], ms(0));
    for (sequence, is_written) in [(1, false), (2, true)] {
        prepare(&mut participant, 1, txn(sequence));
        if is_written {
            participant.handle_worked(ms(0), txn(sequence), Vote::Commit, "");
        }
        abort(&mut participant, 2, txn(sequence));
        if is_written {
            participant.handle_synced(ms(0), Ticket(1));
            let expected = ["work", "force Prepared", "2: ack", "1: vote Abort", "append Aborted", "apply abort"];
            assert_eq!(actions(&mut participant), expected);
        } else {
            participant.handle_worked(ms(0), txn(sequence), Vote::Commit, "");
            assert_eq!(actions(&mut participant), ["work", "2: ack", "1: vote Abort", "apply abort"]);
        }
    }
}

/// It voted, and its log was lost: an acknowledgement would hide that its part is not done.
#[test]
fn a_commit_of_which_nothing_is_known_is_refused_and_counted() {
    let mut participant = Participant::new(ParticipantConfig::default(), [], ms(0));
    commit(&mut participant, 1, txn(1));
    assert_eq!(actions(&mut participant), ["1: refused NotVoted"]);
    assert_eq!(participant.stats().contradictions, 1);
}

#[test]
fn in_doubt_it_asks_and_never_decides() {
    let mut participant = prepared();
    let mut asked_at = Vec::new();
    for _ in 0..5 {
        let at = participant.poll_timeout().expect("it is in doubt");
        asked_at.push(at.as_millis());
        participant.handle_timeout(at);
        assert_eq!(actions(&mut participant), ["ask c"]);
        participant.handle_verdict(at, txn(1), Err(RequestError::new(Effect::NotSent, Reason::Unreachable)));
        participant.handle_verdict(at, txn(1), Ok(Verdict::Undecided));
        assert_eq!(actions(&mut participant), [""; 0]);
    }
    assert_eq!(asked_at, [1000, 3000, 7000, 12_000, 17_000]);
    participant.handle_verdict(ms(20_000), txn(1), Ok(Verdict::Decided(Decision::Commit)));
    assert_eq!(actions(&mut participant), ["force Committed"]);
    participant.handle_verdict(ms(20_001), txn(1), Ok(Verdict::Decided(Decision::Abort)));
    assert_eq!(actions(&mut participant), [""; 0], "what comes after the decision is old");
}

#[test]
fn the_next_life_asks_at_once_and_commits_again_what_was_decided() {
    let prepared = |txn| Record::Prepared { txn, coordinator: node("c"), work: b"work".to_vec() };
    let records = [
        prepared(txn(1)),
        prepared(txn(2)),
        Record::Committed { txn: txn(2) },
        prepared(txn(3)),
        Record::Committed { txn: txn(3) },
        Record::Applied { txn: txn(3) },
        prepared(txn(4)),
        Record::Aborted { txn: txn(4) },
    ];
    let mut participant = Participant::new(ParticipantConfig::default(), records, ms(5));
    assert_eq!(actions(&mut participant), ["restore", "restore", "apply commit"]);
    assert_eq!(participant.poll_timeout(), Some(ms(5)));
    participant.handle_timeout(ms(5));
    assert_eq!(actions(&mut participant), ["ask c"]);
    let stats = participant.stats();
    assert_eq!((stats.held, stats.in_doubt, stats.recovered, stats.work_bytes), (2, 1, 1, 8));
    prepare(&mut participant, 1, txn(3));
    assert_eq!(actions(&mut participant), ["1: vote Abort"], "what was done in a former life is not done again");
}

#[test]
fn who_does_not_decide_is_refused() {
    let mut participant = prepared();
    let commit = CommitTransaction { txn_id: txn(1) };
    participant.handle_commit(ms(0), CallId(2), &node("z"), &commit);
    let message = AbortTransaction { txn_id: txn(1), reason: String::new() };
    participant.handle_abort(CallId(3), &node("z"), &message);
    let work = Payload::from("work");
    let forged = PrepareTransaction { txn_id: txn(9), coordinator: node("c"), participants: vec![node("a")], work };
    participant.handle_prepare(CallId(4), &node("z"), forged.clone());
    let foreign = PrepareTransaction { coordinator: node("z"), ..forged };
    participant.handle_prepare(CallId(5), &node("z"), foreign);
    let expected: Vec<String> = (2..=5).map(|call| format!("{call}: refused NotTheCoordinator")).collect();
    assert_eq!(actions(&mut participant), expected);
    assert_eq!(participant.stats().strangers, 4);
}

#[test]
fn contradictions_are_refused_and_counted() {
    let mut participant = prepared();
    commit(&mut participant, 2, txn(1));
    abort(&mut participant, 3, txn(1));
    prepare(&mut participant, 4, txn(2));
    commit(&mut participant, 5, txn(2));
    let expected = ["force Committed", "3: refused Contradiction", "work", "5: refused NotVoted"];
    assert_eq!(actions(&mut participant), expected);
    assert_eq!(participant.stats().contradictions, 2);
}

#[test]
fn limits_refuse_and_count() {
    let config = ParticipantConfig { held_max: 2, work_bytes_max: 7, callers_max: 2, ..ParticipantConfig::default() };
    let mut participant = Participant::new(config.clone(), [], ms(0));
    prepare(&mut participant, 1, txn(1));
    prepare(&mut participant, 2, txn(2));
    assert_eq!(actions(&mut participant), ["work", "2: refused Full"], "eight bytes of work are more than seven");
    prepare(&mut participant, 3, txn(1));
    prepare(&mut participant, 4, txn(1));
    assert_eq!(actions(&mut participant), ["1: refused Busy"], "its coordinator waits for the newest copy");
    participant.handle_worked(ms(0), txn(1), Vote::ReadOnly, "");
    assert_eq!(actions(&mut participant), ["3: vote ReadOnly", "4: vote ReadOnly"]);
    assert_eq!((participant.stats().work_bytes, participant.stats().refused_busy), (0, 1));

    let mut participant = Participant::new(ParticipantConfig { work_bytes_max: 100, ..config }, [], ms(0));
    (1..=3).for_each(|sequence| prepare(&mut participant, sequence.into(), txn(sequence)));
    assert_eq!(actions(&mut participant), ["work", "work", "3: refused Full"]);
    assert_eq!(participant.stats().refused_full, 1);
}

/// One coordinator more than have a window is served, and the one whose window it takes is not carried out twice.
#[test]
fn the_coordinator_beyond_the_limit_is_served() {
    let config = ParticipantConfig { coordinators_max: 1, ..ParticipantConfig::default() };
    let mut participant = Participant::new(config, [], ms(0));
    let ask = |participant: &mut Participant, call, name: &str, sequence| {
        let txn = Life::new(&node(name), 1).transaction(sequence);
        let (participants, work) = (vec![node("a")], Payload::from("work"));
        let message = PrepareTransaction { txn_id: txn, coordinator: node(name), participants, work };
        participant.handle_prepare(CallId(call), &node(name), message);
        participant.handle_worked(ms(0), txn, Vote::ReadOnly, "");
        actions(participant)
    };
    assert_eq!(ask(&mut participant, 1, "c", 1), ["work", "1: vote ReadOnly"]);
    assert_eq!(ask(&mut participant, 2, "d", 1), ["work", "2: vote ReadOnly"]);
    assert_eq!(ask(&mut participant, 3, "c", 1), ["3: vote Abort"]);
    assert_eq!(ask(&mut participant, 4, "c", 2), ["work", "4: vote ReadOnly"]);
    let stats = participant.stats();
    assert_eq!((stats.refused_full, stats.windows_closed, stats.coordinators_forgotten), (0, 2, 0));
}

#[test]
fn what_an_operator_decides_is_durable_before_it_is_done_and_asked_about_until_the_coordinator_says_the_same() {
    for (decision, vote) in [(Decision::Commit, Vote::Commit), (Decision::Abort, Vote::Abort)] {
        let mut participant = prepared();
        let listed: Vec<_> = participant.in_doubt(ms(700)).map(|doubt| (doubt.txn, doubt.waiting)).collect();
        assert_eq!(listed, [(txn(1), ms(700))]);
        participant.resolve(txn(1), decision).expect("it is in doubt");
        assert_eq!(participant.resolve(txn(1), decision), Err(ResolveError::NotInDoubt { txn: txn(1) }));
        assert_eq!(actions(&mut participant), ["force Resolved"]);
        commit(&mut participant, 2, txn(1));
        abort(&mut participant, 3, txn(1));
        assert_eq!(actions(&mut participant), ["2: refused Busy", "3: refused Busy"]);
        participant.handle_synced(ms(1000), Ticket(2));
        assert_eq!(actions(&mut participant), [format!("resolved {decision}"), format!("apply {decision}")]);
        participant.handle_applied(txn(1));
        actions(&mut participant);
        prepare(&mut participant, 4, txn(1));
        assert_eq!(actions(&mut participant), [format!("4: vote {vote:?}")], "what is true is said");
        assert_eq!(participant.poll_timeout(), Some(ms(2000)));
        participant.handle_timeout(ms(2000));
        let asked = participant.poll_action();
        assert!(matches!(asked, Some(ParticipantAction::Ask { message, .. }) if message.vote == vote));
        assert_eq!(participant.resolved_by_hand().count(), 1);
        participant.handle_verdict(ms(2001), txn(1), Ok(Verdict::Decided(decision)));
        assert_eq!(actions(&mut participant), ["append ResolvedForgotten"]);
        assert_eq!((participant.resolved_by_hand().count(), participant.poll_timeout()), (0, None));
        assert_eq!(participant.stats().contradictions, 0);
    }
}

#[test]
fn a_decision_against_what_was_resolved_by_hand_is_told_once_refused_and_counted_until_it_is_forgotten() {
    for (by_hand, decided) in [(Decision::Commit, Decision::Abort), (Decision::Abort, Decision::Commit)] {
        let mut participant = prepared();
        participant.resolve(txn(1), by_hand).expect("it is in doubt");
        participant.handle_synced(ms(0), Ticket(2));
        participant.handle_applied(txn(1));
        actions(&mut participant);
        participant.handle_verdict(ms(1), txn(1), Ok(Verdict::Decided(decided)));
        assert_eq!(actions(&mut participant), [format!("contradicted {by_hand}")]);
        if decided == Decision::Commit {
            commit(&mut participant, 2, txn(1));
        } else {
            abort(&mut participant, 2, txn(1));
        }
        assert_eq!(actions(&mut participant), ["2: refused Contradiction"]);
        let kept: Vec<_> = participant.resolved_by_hand().map(|kept| (kept.decision, kept.is_contradicted)).collect();
        assert_eq!((kept, participant.stats().contradictions), (vec![(by_hand, true)], 2));
        assert_eq!(participant.poll_timeout(), None, "there is nothing to be asked");
        assert!(participant.forget_resolved(txn(1)));
        assert!(!participant.forget_resolved(txn(1)));
    }
}

#[test]
fn the_next_life_knows_what_was_resolved_by_hand_and_commits_it_again() {
    let prepared = |txn| Record::Prepared { txn, coordinator: node("c"), work: b"work".to_vec() };
    let resolved = |txn, decision| Record::Resolved { txn, coordinator: node("c"), decision };
    let records = vec![
        prepared(txn(1)),
        resolved(txn(1), Decision::Commit),
        prepared(txn(2)),
        resolved(txn(2), Decision::Commit),
        Record::Applied { txn: txn(2) },
        prepared(txn(3)),
        resolved(txn(3), Decision::Abort),
        prepared(txn(4)),
        resolved(txn(4), Decision::Abort),
        Record::ResolvedForgotten { txn: txn(4) },
    ];
    let mut participant = Participant::new(ParticipantConfig::default(), records, ms(0));
    assert_eq!(actions(&mut participant), ["restore", "apply commit"]);
    let kept = |participant: &Participant| -> Vec<_> {
        participant.resolved_by_hand().map(|kept| (kept.txn, kept.decision)).collect()
    };
    let expected = [(txn(1), Decision::Commit), (txn(2), Decision::Commit), (txn(3), Decision::Abort)];
    assert_eq!(kept(&participant), expected);
    let mut again = Participant::new(ParticipantConfig::default(), participant.live_records(), ms(0));
    assert_eq!((kept(&again), actions(&mut again)), (expected.to_vec(), vec!["restore".into(), "apply commit".into()]));
    participant.handle_timeout(ms(0));
    assert_eq!(actions(&mut participant), ["ask c", "ask c", "ask c"]);
    let mut full =
        Participant::new(ParticipantConfig { held_max: 3, ..ParticipantConfig::default() }, records_of(3), ms(0));
    actions(&mut full);
    prepare(&mut full, 1, txn(9));
    assert_eq!(actions(&mut full), ["1: refused Full"], "they count against the limit");
}

/// So many transactions that were resolved by hand and done.
pub(super) fn records_of(count: u32) -> Vec<Record> {
    let resolved = |n| Record::Resolved { txn: txn(n), coordinator: node("c"), decision: Decision::Abort };
    (1..=count).map(resolved).collect()
}
