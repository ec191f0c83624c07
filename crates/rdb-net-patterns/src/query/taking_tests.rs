//! The order in which what has come is taken, with requests that do as they are told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdb_net_types::{Effect, NodeId, Reason, RequestError, Tuple};

use super::{GivenUp, Options, Outcome, Part, QueryEvent, Requests, Step, Taken, Taking, Tried};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn id(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).unwrap()
}

/// What has come of each part, and which requests have gone.
#[derive(Default)]
struct Here {
    news: BTreeMap<usize, VecDeque<Taken>>,
    unsent: Vec<usize>,
}

impl Requests for Here {
    fn ask(&mut self, _: usize, _: &NodeId, _: Duration) {}

    fn take(&mut self, part: usize) -> Taken {
        assert!(!self.unsent.contains(&part), "a look might send it");
        self.news.get_mut(&part).and_then(VecDeque::pop_front).unwrap_or(Taken::Nothing)
    }

    fn is_sent(&self, part: usize) -> bool {
        !self.unsent.contains(&part)
    }

    fn give_up(&mut self, part: usize) -> GivenUp {
        match self.news.get_mut(&part).and_then(VecDeque::pop_front) {
            Some(Taken::End(result)) => GivenUp::Ended(result),
            _ => GivenUp::UnderWay(if self.is_sent(part) { Effect::Unknown } else { Effect::NotSent }),
        }
    }
}

fn rows(count: usize, bytes: usize) -> Taken {
    Taken::Rows { rows: vec![Tuple(vec![7].into()); count], bytes }
}

fn begin(nodes: usize) -> Taking {
    let parts = Part::for_each((1..=nodes).map(id), "select");
    let options = Options { window_bytes: 100, ..Options::timeout(ms(1000)) };
    Taking::new(ms(0), &parts, options).unwrap()
}

/// How many rows of each part come by the end, and the outcomes.
fn read_all(taking: &mut Taking, now: Duration, here: &mut Here) -> (BTreeMap<usize, usize>, BTreeMap<usize, Outcome>) {
    let (mut counts, mut outcomes) = (BTreeMap::<_, usize>::new(), BTreeMap::new());
    loop {
        match taking.step(now, here) {
            Step::Event(QueryEvent::Rows { part, rows, .. }) => *counts.entry(part).or_default() += rows.len(),
            Step::Event(QueryEvent::Ended { part, outcome }) => assert_eq!(outcomes.insert(part, outcome), None),
            Step::Wait(until) => panic!("it waits until {until:?}"),
            Step::End => return (counts, outcomes),
        }
    }
}

#[test]
fn who_was_asked_at_once_is_looked_at_behind_the_deadline_and_who_was_not_reached_is_not() {
    let (mut taking, mut here) = (begin(4), Here::default());
    here.unsent.push(3);
    let refused = RequestError::new(Effect::NotStarted, Reason::HandlerPanicked).of(&id(3));
    here.news.insert(0, [rows(1, 10)].into());
    here.news.insert(1, [rows(2, 10), Taken::End(Ok(()))].into());
    here.news.insert(2, [Taken::End(Err(refused.clone()))].into());
    assert!(matches!(taking.step(ms(1), &mut here), Step::Event(QueryEvent::Rows { part: 0, .. })), "and then it naps");
    let (counts, outcomes) = read_all(&mut taking, ms(1100), &mut here);
    assert_eq!(counts, [(1, 2)].into());
    let failed = |number, error| Outcome::Failed { tried: vec![Tried { node: id(number), error }] };
    let unsent = RequestError::new(Effect::NotSent, Reason::Expired).of(&id(4));
    let late = Outcome::Late { node: id(1), has_rows: true, tried: vec![] };
    let complete = Outcome::Complete { node: id(2) };
    assert_eq!(outcomes, [(0, late), (1, complete), (2, failed(3, refused)), (3, failed(4, unsent))].into());
}

#[test]
fn an_end_that_waits_behind_a_full_window_is_given_and_more_rows_are_not() {
    let (mut taking, mut here) = (begin(3), Here::default());
    let broken = RequestError::new(Effect::Unknown, Reason::HandlerFailed).of(&id(2));
    here.news.insert(0, [rows(1, 100), Taken::End(Ok(()))].into());
    here.news.insert(1, [rows(1, 99), rows(1, 99), Taken::End(Err(broken.clone()))].into());
    here.news.insert(2, [rows(1, 100), rows(1, 1), Taken::End(Ok(()))].into());
    let (counts, outcomes) = read_all(&mut taking, ms(1100), &mut here);
    assert_eq!(counts, [(0, 1), (1, 2), (2, 1)].into());
    let broken = Outcome::Broken { node: id(2), error: broken, tried: vec![] };
    let late = Outcome::Late { node: id(3), has_rows: true, tried: vec![] };
    assert_eq!(outcomes, [(0, Outcome::Complete { node: id(1) }), (1, broken), (2, late)].into());
}

#[test]
fn messages_without_rows_for_ever_keep_nobody_from_the_clock_nor_from_the_others() {
    let (mut taking, mut here) = (begin(2), Here::default());
    here.news.insert(0, vec![rows(0, 10); 1000].into());
    here.news.insert(1, [rows(0, 10), rows(3, 10), Taken::End(Ok(()))].into());
    assert_eq!(taking.step(ms(1), &mut here), Step::Wait(ms(1)), "one of each, and others have their turn");
    assert!(matches!(taking.step(ms(1), &mut here), Step::Event(QueryEvent::Rows { part: 1, .. })));
    let (counts, outcomes) = read_all(&mut taking, ms(1000), &mut here);
    let late = Outcome::Late { node: id(1), has_rows: false, tried: vec![] };
    assert_eq!(outcomes, [(0, late), (1, Outcome::Complete { node: id(2) })].into());
    assert!(counts.is_empty() && here.news[&0].len() > 900, "a window of them is taken behind the deadline");
}
