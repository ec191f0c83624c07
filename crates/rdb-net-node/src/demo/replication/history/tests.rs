//! A run as it must be, and doctored ones: each rule is broken by what it forbids.

use super::*;

fn node(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).expect("legal")
}

/// What was acknowledged when the leader was killed, and what the next one found in its log.
const ACKNOWLEDGED: u64 = 6_020;
const FOUND: u64 = 6_200;

/// The log of the run: two epochs are opened in it.
fn log() -> Vec<Committed> {
    let (mut log, mut last) = (Vec::new(), Position::START);
    let values = (1..=FOUND).map(|value| (1, Some(value)));
    let openings = |epoch| std::iter::once((epoch, None));
    let rest = (FOUND + 1..=ENTRIES).map(|value| (2, Some(value)));
    for (epoch, value) in openings(1).chain(values).chain(openings(2)).chain(rest) {
        last = last.next(epoch, &value.map(|value| value.to_be_bytes().to_vec()).unwrap_or_default());
        log.push(Committed { at: last.into(), value });
    }
    log
}

/// What the run is made of, for a change.
struct Draft {
    /// In which epoch the second leader leads, and what its file holds then.
    epoch: u64,
    before: Vec<Position>,
    /// What the files of all hold when the leader is killed.
    disks: BTreeMap<NodeId, Vec<Position>>,
    /// What the second leader is told to be on a quorum.
    acknowledged: Vec<Acknowledged>,
    /// What the third node tells after its return.
    third: Vec<Committed>,
}

/// A run in which the third node and the first one are killed, changed.
fn history(change: impl FnOnce(&mut Draft)) -> History {
    let log = log();
    let positions: Vec<Position> = log.iter().map(|entry| entry.at.into()).collect();
    let words = |values: std::ops::RangeInclusive<u64>| -> Vec<Acknowledged> {
        let of = log.iter().filter_map(|at| at.value.map(|value| Acknowledged { at: at.at, value }));
        of.filter(|word| values.contains(&word.value)).collect()
    };
    let opening = FOUND as usize + 1;
    let mut draft = Draft {
        epoch: 2,
        before: positions[..opening].to_vec(),
        disks: (1..=3).map(|number| (node(number), positions[..opening].to_vec())).collect(),
        acknowledged: words(FOUND + 1..=ENTRIES),
        third: log.clone(),
    };
    change(&mut draft);
    let mut history = History::default();
    let open = |history: &mut History, number| history.take(&node(number), LogTold::Opened(true));
    (1..=3).for_each(|number| open(&mut history, number));
    history.take(&node(1), LogTold::Led { epoch: 1, opened: log[0].at, next: 1 });
    history.take(&node(3), LogTold::Committed { entries: log[..500].to_vec() });
    history.acknowledged_at_kills.push(1_500);
    open(&mut history, 3);
    history.take(&node(1), LogTold::Acknowledged { entries: words(1..=ACKNOWLEDGED) });
    history.take(&node(1), LogTold::Committed { entries: log[..6_000].to_vec() });
    history.acknowledged_at_kills.push(ACKNOWLEDGED);
    history.saw_disks(&draft.disks);
    let opened = log[opening].at;
    history.take(&node(2), LogTold::Led { epoch: draft.epoch, opened, next: FOUND + 1 });
    history.led_with(&node(2), &draft.before);
    open(&mut history, 1);
    history.take(&node(2), LogTold::Acknowledged { entries: draft.acknowledged });
    let committed = log.len() as u64;
    for (number, entries) in [(1, log.clone()), (2, log.clone()), (3, draft.third)] {
        let last = entries.last().expect("not empty").at;
        history.take(&node(number), LogTold::Committed { entries });
        history.take(&node(number), LogTold::Status { last, committed });
    }
    history.saw_disks(&(1..=3).map(|number| (node(number), positions.clone())).collect());
    history
}

fn held(history: &History) -> Vec<bool> {
    let mut report = Report::default();
    history.conclude(vec![node(3), node(1)], 1, &mut report);
    report.assertions.iter().map(|assertion| assertion.held).collect()
}

#[test]
fn a_run_as_it_must_be_is_held_for_one() {
    let history = history(|_| {});
    assert_eq!((history.broken(), held(&history)), (Vec::new(), vec![true; 4]));
    let mut report = Report::default();
    history.conclude(Vec::new(), 1, &mut report);
    let replicated = report.replication.expect("it is noted");
    assert_eq!(
        (replicated.acknowledged, replicated.unanswered),
        (ENTRIES - FOUND + ACKNOWLEDGED, FOUND - ACKNOWLEDGED)
    );
}

#[test]
fn each_rule_is_broken_by_a_doctored_run() {
    type Change = fn(&mut Draft);
    let doctored: [(&str, Change); 8] = [
        ("one-leader", |draft| draft.epoch = 1),
        ("committed-prefix", |draft| draft.third[7_000].at.digest ^= 1),
        ("acknowledged-is-durable", |draft| {
            for number in [1, 3] {
                draft.disks.get_mut(&node(number)).expect("there").truncate(ACKNOWLEDGED as usize);
            }
        }),
        ("nothing-lost", |draft| draft.before.truncate(ACKNOWLEDGED as usize)),
        ("nothing-lost", |draft| draft.third.truncate(9_000)),
        ("order-kept", |draft| draft.third.swap(5, 6)),
        ("progress", |draft| draft.acknowledged.truncate(draft.acknowledged.len() - 1)),
        ("progress", |draft| draft.third.truncate(draft.third.len() - 1)),
    ];
    for (rule, change) in doctored {
        let broken = history(change).broken();
        assert!(broken.iter().any(|problem| problem.starts_with(&format!("{rule}: "))), "{rule}: {broken:#?}");
    }
}

#[test]
fn a_run_that_lacks_an_entry_a_kill_or_a_look_at_the_files_does_not_hold() {
    let lacking = history(|draft| draft.third.truncate(draft.third.len() - 1));
    assert_eq!(held(&lacking), [false, true, false, false]);
    let other = history(|draft| draft.third.last_mut().expect("not empty").at.digest ^= 1);
    assert_eq!(held(&other), [true, true, false, false]);
    for (place, all) in [(0, BEFORE_FOLLOWER_RETURNS), (1, FIRST_LEADERS)] {
        let mut late = history(|_| {});
        late.acknowledged_at_kills[place] = all;
        assert_eq!(held(&late), [true, false, true, true], "nothing was under way any more");
    }
    let mut unseen = history(|_| {});
    unseen.reigns[1].acknowledged[0].durable_at = None;
    assert_eq!(held(&unseen), [true, true, true, false]);
}

#[test]
fn a_leader_whose_first_claim_is_told_late_had_what_its_file_held_before_each() {
    let positions: Vec<Position> = log().iter().map(|entry| entry.at.into()).collect();
    let mut history = History::default();
    for (number, epoch, index) in [(1, 1, 0), (2, 2, 700), (2, 3, 800)] {
        let opened = log()[index].at;
        history.take(&node(number), LogTold::Led { epoch, opened, next: 1 });
        assert!(history.has_led_in(epoch) && !history.has_led_in(epoch + 1));
    }
    history.led_with(&node(2), &positions[..900]);
    assert_eq!([1, 2, 3].map(|number| history.is_to_be_looked_at(&node(number))), [true, false, false]);
    let before = history.reigns.iter().map(|reign| reign.before.as_ref().map(Vec::len));
    assert_eq!(before.collect::<Vec<_>>(), [None, Some(700), Some(800)]);
    history.led_with(&node(2), &positions);
    assert_eq!(history.reigns[2].before.as_deref(), Some(&positions[..800]), "it is looked at once");
}
