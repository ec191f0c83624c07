//! Whatever two honest sides of different versions do, and however the network cuts what they send: neither accuses the
//! other, and every request ends once.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use rdb_net_types::{Lane, Reason};

use crate::end::{Arrived, Limits};
use crate::pair::{BOTH, Dials, Pair, log, plain, prepare};

#[derive(Debug, Clone)]
enum Step {
    Request { lane: usize, timeout_ms: Option<u64>, bytes: usize },
    OneWay { lane: usize, kind: usize, size: usize },
    Cancel(usize),
    Answer { which: usize, bytes: usize },
    Fail(usize),
    Take,
    Write,
    Deliver,
    Wait(u64),
    Drain { acceptor: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let timeout = prop_oneof![Just(None), (0..3000u64).prop_map(Some)];
    prop_oneof![
        60 => (0..4usize, timeout, 0..14_000usize)
            .prop_map(|(lane, timeout_ms, bytes)| Step::Request { lane, timeout_ms, bytes }),
        40 => (0..4usize, 0..3usize, 0..1000usize).prop_map(|(lane, kind, size)| Step::OneWay { lane, kind, size }),
        20 => any::<usize>().prop_map(Step::Cancel),
        60 => (any::<usize>(), 0..14_000usize).prop_map(|(which, bytes)| Step::Answer { which, bytes }),
        20 => any::<usize>().prop_map(Step::Fail),
        40 => Just(Step::Take),
        80 => Just(Step::Write),
        100 => Just(Step::Deliver),
        10 => (0..2000u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(|acceptor| Step::Drain { acceptor }),
    ]
}

struct World {
    pair: Pair,
    waiting: Vec<u64>,
    ended: BTreeSet<u64>,
    open: Vec<Arrived>,
}

impl World {
    fn apply(&mut self, step: &Step) {
        let now = self.pair.now;
        match *step {
            Step::Request { lane, timeout_ms, bytes } => {
                let timeout = timeout_ms.map(Duration::from_millis);
                self.waiting.extend(self.pair.dialer.request(now, Lane::ALL[lane], timeout, &plain(bytes)));
            }
            Step::OneWay { lane, kind, size } => {
                let message = [plain(size * 10), log(1, size), prepare(1, size)];
                self.pair.dialer.one_way(Lane::ALL[lane], &message[kind]);
            }
            Step::Cancel(which) if !self.waiting.is_empty() => {
                let correlation = self.waiting.swap_remove(which % self.waiting.len());
                self.pair.dialer.cancel(now, correlation);
                assert!(self.ended.insert(correlation));
            }
            Step::Answer { which, bytes } if !self.open.is_empty() => {
                let message = self.open.swap_remove(which % self.open.len());
                self.pair.acceptor.reply(message.number, &plain(bytes));
            }
            Step::Fail(which) if !self.open.is_empty() => {
                let message = self.open.swap_remove(which % self.open.len());
                self.pair.acceptor.reply_error(message.number, Reason::HandlerFailed);
            }
            Step::Take => self.open.extend(self.pair.acceptor.arrived()),
            Step::Write => drop(self.pair.write()),
            Step::Deliver => drop(self.pair.deliver()),
            Step::Wait(ms) => self.pair.advance(Duration::from_millis(ms)),
            Step::Drain { acceptor: true } => self.pair.acceptor.drain(now),
            Step::Drain { acceptor: false } => self.pair.dialer.drain(now),
            Step::Cancel(_) | Step::Answer { .. } | Step::Fail(_) => {}
        }
        self.take_outcomes();
        self.pair.check_honest();
    }

    fn take_outcomes(&mut self) {
        for (correlation, _) in self.pair.dialer.outcomes() {
            assert!(self.ended.insert(correlation), "a request ends once");
            self.waiting.retain(|waiting| *waiting != correlation);
        }
    }

    /// Handlers answer, every byte arrives, and nothing is left.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.pair.drive();
            self.open.extend(self.pair.acceptor.arrived());
            self.take_outcomes();
            self.pair.check_honest();
            if self.open.is_empty() {
                break;
            }
            for message in self.open.drain(..) {
                self.pair.acceptor.reply(message.number, &plain(1));
            }
        }
        assert_eq!(self.waiting, [], "every request has ended");
        assert_eq!((self.pair.dialer.open(), self.pair.acceptor.open()), (0, 0));
    }
}

fn run(dials: Dials, steps: &[Step], seed: u64) {
    let mut pair = Pair::new(dials, Limits::default(), seed);
    pair.drive();
    let mut world = World { pair, waiting: Vec::new(), ended: BTreeSet::new(), open: Vec::new() };
    steps.iter().for_each(|step| world.apply(step));
    world.settle();
}

proptest! {
    #[test]
    fn two_honest_sides_of_different_versions_stay_honest(steps in vec(step(), 1..200), seed in any::<u64>()) {
        for dials in BOTH {
            run(dials, &steps, seed);
        }
    }
}
