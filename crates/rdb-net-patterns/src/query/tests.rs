//! The machine alone, step by step and at random.

use std::time::Duration;

use proptest::prelude::*;
use rdb_net_types::{Effect, NodeId, Reason, RequestError};

use super::{Action, Gather, NoPart, Options, Outcome, Part, Repeat, Tried, Wanted};

fn id(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).unwrap()
}

fn parts(nodes: &[&[usize]]) -> Vec<Part> {
    let part = |(fragment, nodes): (u32, &&[usize])| Part {
        fragment,
        nodes: nodes.iter().map(|node| id(*node)).collect(),
        query: "select".to_owned(),
        parameters: Default::default(),
    };
    (0..).zip(nodes).map(part).collect()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn error(effect: Effect) -> RequestError {
    RequestError::new(effect, Reason::ConnectionLost)
}

fn actions(gather: &mut Gather) -> Vec<Action> {
    std::iter::from_fn(|| gather.poll_action()).collect()
}

fn ask(part: usize, node: usize, budget_ms: u64) -> Action {
    Action::Ask { part, node: id(node), budget: ms(budget_ms) }
}

fn ended(part: usize, outcome: Outcome) -> Action {
    Action::Ended { part, outcome }
}

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::timeout(ms(1000));
    change(&mut options);
    options
}

#[test]
fn all_are_asked_at_once_with_the_budget_but_the_reserve() {
    let plan = parts(&[&[1], &[2]]);
    let mut gather = Gather::new(ms(50), &plan, options(|options| options.reserve = ms(100))).unwrap();
    assert_eq!(actions(&mut gather), [ask(0, 1, 900), ask(1, 2, 900)]);
    assert_eq!(gather.poll_timeout(), Some(ms(1050)));
    gather.handle_end(ms(60), 1, Ok(()));
    gather.handle_end(ms(70), 0, Ok(()));
    let complete = |node| Outcome::Complete { node: id(node) };
    assert_eq!(actions(&mut gather), [ended(1, complete(2)), ended(0, complete(1))]);
    assert!(gather.has_ended());
}

#[test]
fn a_replica_is_asked_where_the_one_before_it_has_not_begun_with_what_is_left() {
    let mut gather = Gather::new(ms(0), &parts(&[&[1, 2, 3]]), options(|_| {})).unwrap();
    assert_eq!(actions(&mut gather).pop().map(|ask| format!("{ask:?}")), Some(format!("{:?}", ask(0, 1, 1000))));
    gather.handle_end(ms(200), 0, Err(error(Effect::NotStarted)));
    assert_eq!(actions(&mut gather), [ask(0, 2, 800)]);
    gather.handle_end(ms(300), 0, Err(error(Effect::Unknown)));
    let tried = [(1, Effect::NotStarted), (2, Effect::Unknown)];
    let tried = tried.map(|(node, effect)| Tried { node: id(node), error: error(effect) }).to_vec();
    assert_eq!(actions(&mut gather), [ended(0, Outcome::Failed { tried })], "the second one may have acted");
}

#[test]
fn a_node_that_has_begun_has_the_whole_time_and_one_that_has_not_its_share() {
    let begin = |repeat| {
        let mut gather = Gather::new(ms(0), &parts(&[&[1, 2]]), options(|options| options.repeat = repeat)).unwrap();
        actions(&mut gather);
        assert_eq!(gather.poll_timeout(), Some(ms(500)), "two share the time");
        gather
    };
    for repeat in [Repeat::NotStarted, Repeat::Always] {
        let mut connecting = begin(repeat);
        connecting.handle_timeout(ms(500));
        assert!(connecting.gives_up(0));
        connecting.handle_given_up(ms(500), 0, Effect::NotSent);
        assert_eq!(actions(&mut connecting), [ask(0, 2, 500)], "{repeat:?}");
        assert_eq!(connecting.poll_timeout(), Some(ms(1000)), "nobody is behind the last one");
        let mut streaming = begin(repeat);
        streaming.handle_sent(0);
        streaming.handle_rows(0);
        streaming.handle_timeout(ms(999));
        assert_eq!((actions(&mut streaming), streaming.poll_timeout()), (vec![], Some(ms(1000))), "{repeat:?}");
    }
    let silent = |repeat| {
        let mut gather = begin(repeat);
        gather.handle_sent(0);
        gather.handle_timeout(ms(500));
        gather.handle_given_up(ms(500), 0, Effect::Unknown);
        actions(&mut gather)
    };
    assert_eq!(silent(Repeat::NotStarted), [], "it may have begun, so nobody may take its place");
    assert_eq!(silent(Repeat::Always), [ask(0, 2, 500)]);
}

#[test]
fn a_node_whose_share_is_over_goes_on_where_it_is_seen_to_have_begun() {
    for repeat in [Repeat::NotStarted, Repeat::Always] {
        let mut gather = Gather::new(ms(0), &parts(&[&[1, 2]]), options(|options| options.repeat = repeat)).unwrap();
        actions(&mut gather);
        gather.handle_timeout(ms(600));
        assert!(gather.gives_up(0));
        gather.handle_sent(0);
        assert_eq!(gather.gives_up(0), repeat == Repeat::Always, "it may be asked again until its first row");
        gather.handle_rows(0);
        gather.handle_given_up(ms(600), 0, Effect::Unknown);
        assert_eq!((gather.gives_up(0), actions(&mut gather)), (false, vec![]), "{repeat:?}");
    }
}

#[test]
fn who_may_be_asked_again_is_the_callers_choice() {
    let asked_again = |repeat, effect| {
        let mut gather = Gather::new(ms(0), &parts(&[&[1, 2]]), options(|options| options.repeat = repeat)).unwrap();
        actions(&mut gather);
        gather.handle_end(ms(1), 0, Err(error(effect)));
        matches!(actions(&mut gather)[..], [Action::Ask { .. }])
    };
    let effects = [Effect::NotSent, Effect::NotStarted, Effect::Unknown];
    assert_eq!(effects.map(|effect| asked_again(Repeat::Never, effect)), [false, false, false]);
    assert_eq!(effects.map(|effect| asked_again(Repeat::NotStarted, effect)), [true, true, false]);
    assert_eq!(effects.map(|effect| asked_again(Repeat::Always, effect)), [true, true, true]);
}

#[test]
fn rows_are_never_sent_twice() {
    let mut gather =
        Gather::new(ms(0), &parts(&[&[1, 2]]), options(|options| options.repeat = Repeat::Always)).unwrap();
    actions(&mut gather);
    gather.handle_rows(0);
    gather.handle_end(ms(1), 0, Err(error(Effect::Unknown)));
    let broken = Outcome::Broken { node: id(1), error: error(Effect::Unknown), tried: vec![] };
    assert_eq!(actions(&mut gather), [ended(0, broken)]);
}

#[test]
fn the_others_are_cancelled_when_enough_are_complete() {
    let plan = parts(&[&[1], &[2], &[3], &[4]]);
    let mut gather = Gather::new(ms(0), &plan, options(|options| options.wanted = Wanted::First(2))).unwrap();
    actions(&mut gather);
    gather.handle_end(ms(1), 3, Err(error(Effect::Unknown)));
    gather.handle_end(ms(1), 2, Ok(()));
    gather.handle_rows(1);
    gather.handle_end(ms(2), 0, Ok(()));
    let actions = actions(&mut gather);
    assert_eq!(actions[0], Action::Cancel { part: 1 }, "nobody waits for it while outcomes are read");
    assert_eq!(actions[4..], [ended(1, Outcome::NotNeeded)]);
    assert!(gather.has_ended());
    gather.handle_end(ms(3), 1, Ok(()));
    assert_eq!(gather.poll_action(), None, "what comes later changes nothing");
}

#[test]
fn the_deadline_gives_each_part_an_outcome_of_its_own() {
    let plan = parts(&[&[1], &[2], &[3], &[4], &[5]]);
    let mut gather = Gather::new(ms(0), &plan, options(|_| {})).unwrap();
    actions(&mut gather);
    gather.handle_end(ms(1), 0, Ok(()));
    gather.handle_rows(1);
    [2, 4].into_iter().for_each(|part| gather.handle_sent(part));
    gather.handle_timeout(ms(999));
    assert_eq!(actions(&mut gather).len(), 1, "it is not time yet");
    gather.handle_timeout(ms(1000));
    let late = |node, has_rows| Outcome::Late { node: id(node), has_rows, tried: vec![] };
    let unsent = |node| {
        let error = RequestError::new(Effect::NotSent, Reason::Expired).of(&id(node));
        Outcome::Failed { tried: vec![Tried { node: id(node), error }] }
    };
    assert_eq!([1, 2, 3, 4].map(|part| gather.gives_up(part)), [true; 4]);
    assert_eq!(
        [1, 2, 3, 4].map(|part| gather.may_be_looked_at(part)),
        [true, true, false, true],
        "it must not go any more"
    );
    gather.handle_rows(1);
    gather.handle_given_up(ms(1001), 1, Effect::Unknown);
    gather.handle_given_up(ms(1001), 2, Effect::Unknown);
    gather.handle_given_up(ms(1001), 3, Effect::NotSent);
    gather.handle_given_up(ms(1001), 4, Effect::NotSent);
    let outcomes = [ended(1, late(2, true)), ended(2, late(3, false)), ended(3, unsent(4)), ended(4, unsent(5))];
    assert_eq!(actions(&mut gather), outcomes);
    assert_eq!((gather.has_ended(), gather.poll_timeout()), (true, None));
}

#[test]
fn an_end_that_had_come_by_the_deadline_is_what_it_is() {
    let mut gather = Gather::new(ms(0), &parts(&[&[1], &[2], &[3, 4]]), options(|_| {})).unwrap();
    actions(&mut gather);
    (0..3).for_each(|part| gather.handle_sent(part));
    gather.handle_rows(1);
    gather.handle_timeout(ms(1000));
    gather.handle_end(ms(1000), 0, Ok(()));
    gather.handle_end(ms(1000), 1, Err(error(Effect::Unknown)));
    gather.handle_end(ms(1000), 2, Err(error(Effect::NotStarted)));
    let broken = Outcome::Broken { node: id(2), error: error(Effect::Unknown), tried: vec![] };
    let failed = Outcome::Failed { tried: vec![Tried { node: id(3), error: error(Effect::NotStarted) }] };
    let complete = Outcome::Complete { node: id(1) };
    assert_eq!(actions(&mut gather), [ended(0, complete), ended(1, broken), ended(2, failed)], "nobody is asked then");
}

#[test]
fn an_expired_request_is_late_only_where_its_node_may_have_acted() {
    let outcome = |effect, at| {
        let mut gather = Gather::new(ms(0), &parts(&[&[1]]), options(|_| {})).unwrap();
        gather.handle_sent(0);
        gather.handle_end(ms(at), 0, Err(RequestError::new(effect, Reason::Expired)));
        actions(&mut gather).pop()
    };
    for at in [900, 1000, 1100] {
        let late = Outcome::Late { node: id(1), has_rows: false, tried: vec![] };
        assert_eq!(outcome(Effect::Unknown, at), Some(ended(0, late)));
        for effect in [Effect::NotSent, Effect::NotStarted] {
            let tried = vec![Tried { node: id(1), error: RequestError::new(effect, Reason::Expired) }];
            assert_eq!(outcome(effect, at), Some(ended(0, Outcome::Failed { tried })));
        }
    }
}

#[test]
fn who_was_asked_before_is_told_of_a_part_that_is_late_or_broken() {
    let second = |repeat, effect| {
        let mut gather = Gather::new(ms(0), &parts(&[&[1, 2]]), options(|options| options.repeat = repeat)).unwrap();
        gather.handle_end(ms(1), 0, Err(error(effect)));
        gather.handle_sent(0);
        actions(&mut gather);
        (gather, vec![Tried { node: id(1), error: error(effect) }])
    };
    for (repeat, effect) in [(Repeat::Always, Effect::Unknown), (Repeat::NotStarted, Effect::NotStarted)] {
        let (mut gather, tried) = second(repeat, effect);
        gather.handle_timeout(ms(1000));
        gather.handle_given_up(ms(1000), 0, Effect::Unknown);
        let late = Outcome::Late { node: id(2), has_rows: false, tried };
        assert_eq!(actions(&mut gather), [ended(0, late)]);
        let (mut gather, tried) = second(repeat, effect);
        gather.handle_rows(0);
        gather.handle_end(ms(2), 0, Err(error(Effect::Unknown)));
        let broken = Outcome::Broken { node: id(2), error: error(Effect::Unknown), tried };
        assert_eq!(actions(&mut gather), [ended(0, broken)]);
    }
}

#[test]
fn nobody_is_asked_when_no_time_is_left_for_it() {
    let change = |options: &mut Options| (options.reserve, options.repeat) = (ms(100), Repeat::Always);
    for (at, asks) in [(899, true), (900, false), (1000, false), (2000, false)] {
        let mut gather = Gather::new(ms(0), &parts(&[&[1, 2]]), options(change)).unwrap();
        actions(&mut gather);
        gather.handle_end(ms(at), 0, Err(error(Effect::Unknown)));
        assert_eq!(matches!(actions(&mut gather)[..], [Action::Ask { .. }]), asks, "{at}");
        assert_eq!(gather.has_ended(), !asks);
    }
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_refused() {
    let refused = |nodes: &[&[usize]], wanted| {
        Gather::new(ms(0), &parts(nodes), options(|options| options.wanted = wanted)).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(&[], Wanted::All), NoPart::Empty);
    assert_eq!(refused(&[&[1], &[]], Wanted::All), NoPart::NoNode { fragment: 1 });
    assert_eq!(refused(&[&[1]], Wanted::First(2)), NoPart::TooFew { wanted: 2, parts: 1 });
    assert_eq!(refused(&[&[1]], Wanted::First(0)), NoPart::TooFew { wanted: 0, parts: 1 });
    assert_eq!(refused(&[&[1], &[2, 1, 2]], Wanted::All), NoPart::Twice { fragment: 1, node: id(2) });
    let timed = |timeout, reserve| {
        let options = Options { timeout, reserve, ..Options::default() };
        Gather::new(ms(0), &parts(&[&[1]]), options).err()
    };
    assert_eq!(timed(ms(100), ms(100)), Some(NoPart::NoTime { timeout: ms(100), reserve: ms(100) }));
    assert_eq!(timed(ms(0), ms(0)), Some(NoPart::NoTime { timeout: ms(0), reserve: ms(0) }));
    assert_eq!(timed(ms(101), ms(100)), None);
}

proptest! {
    /// Whatever comes, each part ends once, no node is asked twice for a part, no two at once, and never with more than is left.
    #[test]
    fn every_part_has_exactly_one_outcome(
        replicas in prop::collection::vec(1usize..4, 1..8),
        first in prop::option::of(1usize..9),
        repeat in 0usize..3,
        steps in prop::collection::vec((0usize..8, 0u8..8, 0u64..200), 0..60),
    ) {
        let nodes: Vec<Vec<usize>> = replicas.iter().map(|count| (1..=*count).collect()).collect();
        let nodes: Vec<&[usize]> = nodes.iter().map(Vec::as_slice).collect();
        let wanted = first.map_or(Wanted::All, |first| Wanted::First(first.min(nodes.len())));
        let repeat = [Repeat::Never, Repeat::NotStarted, Repeat::Always][repeat];
        let mut gather = Gather::new(ms(0), &parts(&nodes), options(|options| (options.wanted, options.repeat) = (wanted, repeat))).unwrap();
        let mut now = ms(0);
        let mut outcomes = vec![0; nodes.len()];
        let mut asked: Vec<Vec<NodeId>> = vec![Vec::new(); nodes.len()];
        let mut under_way = vec![false; nodes.len()];
        let mut see = |gather: &mut Gather, under_way: &mut Vec<bool>, now: Duration| {
            for action in actions(gather) {
                match action {
                    Action::Ask { part, node, budget } => {
                        assert!(!std::mem::replace(&mut under_way[part], true) && !asked[part].contains(&node));
                        assert!(now + budget <= ms(1000));
                        asked[part].push(node);
                    }
                    Action::Cancel { part } => assert!(std::mem::replace(&mut under_way[part], false)),
                    Action::Ended { part, .. } => {
                        outcomes[part] += 1;
                        assert!(!under_way[part], "who is at it is told first");
                    }
                }
            }
        };
        see(&mut gather, &mut under_way, now);
        let give_up = |gather: &mut Gather, under_way: &mut Vec<bool>, now: Duration| {
            for part in (0..under_way.len()).filter(|part| gather.gives_up(*part)).collect::<Vec<_>>() {
                assert!(std::mem::replace(&mut under_way[part], false));
                gather.handle_given_up(now, part, Effect::Unknown);
            }
        };
        for (part, what, later) in steps {
            now += ms(later);
            gather.handle_timeout(now);
            give_up(&mut gather, &mut under_way, now);
            see(&mut gather, &mut under_way, now);
            let part = part % nodes.len();
            if !under_way[part] {
                continue;
            }
            let effect = [Effect::NotSent, Effect::NotStarted, Effect::Unknown][usize::from(what % 3)];
            match what {
                0 => gather.handle_sent(part),
                1 => gather.handle_rows(part),
                2 | 3 => {
                    under_way[part] = false;
                    gather.handle_end(now, part, Ok(()));
                }
                _ => {
                    under_way[part] = false;
                    gather.handle_end(now, part, Err(error(effect)));
                }
            }
            see(&mut gather, &mut under_way, now);
        }
        gather.handle_timeout(ms(100_000));
        give_up(&mut gather, &mut under_way, ms(100_000));
        see(&mut gather, &mut under_way, ms(100_000));
        prop_assert!(gather.has_ended() && outcomes.iter().all(|count| *count == 1), "{outcomes:?}");
        prop_assert!(under_way.iter().all(|is_under_way| !is_under_way));
    }
}
