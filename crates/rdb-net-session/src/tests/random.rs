//! Whatever two honest sides do, and however the network cuts and delays it: every request ends once, no effect lies, and
//! credits come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use rdb_net_types::{Effect, Lane, Reason};

use super::pair::{End, MILLISECOND, Pair, SECOND, answer, message, ring};
use crate::{Budget, CloseReason, CompressionConfig, Config, Inbound, Loss, Outcome, RequestId, RequestOptions};

const WINDOW: u64 = 8192;
/// The largest message; several frames.
const LARGE: usize = 30_000;
/// What either side may reserve: two or three large messages.
const BUDGET: u64 = 80_000;

fn small() -> Config {
    Config {
        frame_bytes_max: 4096,
        message_bytes_max: LARGE as u32,
        requests_max: 6,
        lane_credit_bytes: [2 * WINDOW; 4],
        lane_credit_bytes_first: [WINDOW; 4],
        batch_bytes: 600,
        compression: CompressionConfig::default(),
        ..Config::default()
    }
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Dialer,
    Acceptor,
}

#[derive(Debug, Clone)]
enum Step {
    Request { lane: Lane, timeout_ms: Option<u64>, bytes: usize },
    OneWay { lane: Lane, bytes: usize },
    Cancel(usize),
    TakeOutcomes,
    Pop(usize),
    Reply { which: usize, bytes: usize },
    ReplyError(usize),
    Finish(usize),
    Write(Who),
    Deliver { from: Who, bytes: usize },
    Wait { ms: u64 },
    Drain(Who),
    Lose(Who),
    Close(Who),
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![Just(Who::Dialer), Just(Who::Acceptor)]
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::System), Just(Lane::Interactive), Just(Lane::Replication), Just(Lane::Bulk)]
}

fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..200usize, 3 => 0..4000usize, 2 => 0..=LARGE]
}

fn step() -> impl Strategy<Value = Step> {
    let timeout = prop_oneof![Just(None), (0..50u64).prop_map(Some), (0..5000u64).prop_map(Some)];
    let delivered = prop_oneof![1..60usize, 60..2000usize, Just(usize::MAX)];
    prop_oneof![
        60 => (lane(), timeout, bytes()).prop_map(|(lane, timeout_ms, bytes)| Step::Request { lane, timeout_ms, bytes }),
        20 => (lane(), bytes()).prop_map(|(lane, bytes)| Step::OneWay { lane, bytes }),
        20 => any::<usize>().prop_map(Step::Cancel),
        30 => Just(Step::TakeOutcomes),
        40 => (1..8usize).prop_map(Step::Pop),
        30 => (any::<usize>(), bytes()).prop_map(|(which, bytes)| Step::Reply { which, bytes }),
        10 => any::<usize>().prop_map(Step::ReplyError),
        10 => any::<usize>().prop_map(Step::Finish),
        80 => who().prop_map(Step::Write),
        100 => (who(), delivered).prop_map(|(from, bytes)| Step::Deliver { from, bytes }),
        20 => prop_oneof![0..30u64, 0..3000u64].prop_map(|ms| Step::Wait { ms }),
        2 => who().prop_map(Step::Drain),
        1 => who().prop_map(Step::Lose),
        1 => who().prop_map(Step::Close),
    ]
}

/// The pair, and what their owners know.
struct World {
    pair: Pair,
    budgets: [Arc<Budget>; 2],
    open: Vec<Inbound>,
    /// Requests that a handler has seen.
    seen: BTreeSet<u64>,
    requests: BTreeMap<u64, (RequestId, Fate)>,
    completed: Vec<RequestId>,
    /// A socket was lost, so that the other side may hear nothing more.
    lost: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Waiting,
    GivenUp,
    Ended(Outcome),
}

impl World {
    fn new() -> Self {
        let mut pair = Pair::up(small());
        let budgets = [&mut pair.dialer, &mut pair.acceptor].map(|end| {
            let budget = Budget::process(BUDGET);
            end.session.set_budget(&budget);
            budget
        });
        let (seen, requests) = (BTreeSet::new(), BTreeMap::new());
        Self { pair, budgets, open: Vec::new(), seen, requests, completed: Vec::new(), lost: false }
    }

    fn end(&mut self, who: Who) -> &mut End {
        match who {
            Who::Dialer => &mut self.pair.dialer,
            Who::Acceptor => &mut self.pair.acceptor,
        }
    }

    fn apply(&mut self, step: Step) {
        let now = self.pair.now;
        match step {
            Step::Request { lane, timeout_ms, bytes } => {
                let options =
                    RequestOptions { lane, timeout: timeout_ms.map(Duration::from_millis), idempotent: false };
                if let Ok(id) = self.pair.dialer.session.request(options, &message(bytes)) {
                    let former = self.requests.insert(id.correlation(), (id, Fate::Waiting));
                    assert_eq!(former, None, "a correlation id is used once");
                }
            }
            Step::OneWay { lane, bytes } => drop(self.pair.dialer.session.one_way(lane, &message(bytes))),
            Step::Cancel(which) => self.cancel(which),
            Step::TakeOutcomes => self.take_outcomes(),
            Step::Pop(count) => (0..count).for_each(|_| self.pop()),
            Step::Reply { which, bytes } => {
                if let Some(inbound) = self.take_open(which) {
                    self.pair.acceptor.session.reply(inbound.id, &message(bytes)).expect("small enough");
                }
            }
            Step::ReplyError(which) => {
                if let Some(inbound) = self.take_open(which) {
                    let session = &mut self.pair.acceptor.session;
                    session.reply_error(inbound.id, Effect::Unknown, Reason::HandlerFailed, "");
                }
            }
            Step::Finish(which) => {
                if let Some(inbound) = self.take_open(which) {
                    self.pair.acceptor.session.finish(inbound.id);
                }
            }
            Step::Write(who) => drop(self.end(who).write_batch(now)),
            Step::Deliver { from, bytes } => self.deliver(from, bytes),
            Step::Wait { ms } => self.wait(Duration::from_millis(ms)),
            Step::Drain(who) => self.end(who).session.drain(now),
            Step::Lose(who) => {
                self.end(who).session.handle_lost(Loss::Reset);
                self.lost = true;
            }
            Step::Close(who) => self.end(who).session.close(CloseReason::Local),
        }
        self.pair.dialer.collect(now);
        self.pair.acceptor.collect(now);
        self.check();
    }

    /// Gives up one of the requests that wait, drained outcomes or not.
    fn cancel(&mut self, which: usize) {
        let waiting: Vec<u64> =
            self.requests.iter().filter(|(_, (_, fate))| *fate == Fate::Waiting).map(|(key, _)| *key).collect();
        if waiting.is_empty() {
            return;
        }
        let (id, fate) = self.requests.get_mut(&waiting[which % waiting.len()]).expect("it waits");
        self.pair.dialer.session.cancel(self.pair.now, *id);
        *fate = Fate::GivenUp;
        assert_eq!(self.pair.dialer.session.take_outcome(*id), None);
    }

    fn take_outcomes(&mut self) {
        self.pair.dialer.session.drain_completed(&mut self.completed);
        for id in self.completed.drain(..) {
            let mut outcome = self.pair.dialer.session.take_outcome(id);
            if let Some(Ok(reply)) = &mut outcome {
                reply.release();
            }
            let (_, fate) = self.requests.get_mut(&id.correlation()).expect("it was accepted");
            match (&*fate, outcome) {
                (Fate::Waiting, Some(outcome)) => *fate = Fate::Ended(outcome),
                (Fate::GivenUp, None) => {}
                (fate, outcome) => panic!("{id:?} was {fate:?} and ends with {outcome:?}"),
            }
            assert_eq!(self.pair.dialer.session.take_outcome(id), None, "once only");
        }
    }

    fn pop(&mut self) {
        if let Some(inbound) = self.pair.acceptor.pop() {
            if inbound.id.wants_reply() {
                assert!(self.seen.insert(inbound.id.correlation()), "a handler sees a request once");
            }
            self.open.push(inbound);
        }
    }

    fn take_open(&mut self, which: usize) -> Option<Inbound> {
        if self.open.is_empty() { None } else { Some(self.open.swap_remove(which % self.open.len())) }
    }

    fn deliver(&mut self, from: Who, bytes: usize) {
        let now = self.pair.now;
        let wire = &mut self.end(from).wire;
        let piece: Vec<u8> = wire.drain(..bytes.min(wire.len())).collect();
        match from {
            Who::Dialer => self.pair.acceptor.feed(now, &piece),
            Who::Acceptor => self.pair.dialer.feed(now, &piece),
        }
    }

    /// Lets timers ring, with nothing delivered meanwhile.
    fn wait(&mut self, span: Duration) {
        let end = self.pair.now + span;
        for who in [Who::Dialer, Who::Acceptor] {
            while let Some(due) = self.end(who).session.poll_timeout().filter(|due| *due <= end) {
                let at = due.max(self.pair.now);
                ring(self.end(who), at);
            }
        }
        self.pair.now = end;
    }

    /// What holds at any moment.
    fn check(&self) {
        for end in [&self.pair.dialer, &self.pair.acceptor] {
            // Two honest sides never accuse each other.
            let orderly = end.close_reason().is_none_or(|reason| {
                reason.is_orderly()
                    || matches!(reason, CloseReason::Lost(_) | CloseReason::Silent | CloseReason::Peer(_))
            });
            assert!(orderly, "{:?}", end.close_reason());
            // Four lanes of credits, one message beyond each, replies, and what the protocol itself says.
            assert!(end.session.queued_bytes() <= 4 * (2 * WINDOW as usize + LARGE) + 8 * LARGE + 40_000);
        }
        assert!(self.pair.dialer.session.requests_in_flight() <= 6);
        let charged = 4 * (2 * WINDOW + 4200) / 100 + 3;
        assert!(u64::from(self.pair.acceptor.session.inbound_open()) <= charged);
        assert!(self.budgets.iter().all(|budget| budget.reserved_bytes() <= BUDGET));
    }

    /// What is reserved once nothing is under way: the wider windows alone.
    fn check_reserved(&self) {
        let [dialer, acceptor] = &self.budgets;
        assert_eq!(dialer.reserved_bytes(), 0);
        assert!(acceptor.reserved_bytes() <= 4 * WINDOW && acceptor.reserved_bytes().is_multiple_of(WINDOW));
    }

    /// Everything that is under way comes to its end: handlers answer and every byte arrives.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.pair.drive();
            (0..1000).for_each(|_| self.pop());
            if self.open.is_empty() {
                return self.take_outcomes();
            }
            for inbound in std::mem::take(&mut self.open) {
                self.pair.acceptor.session.reply(inbound.id, &answer("settled")).expect("small enough");
            }
        }
        panic!("the two never settle");
    }

    /// Callers give up whose requests were ended without an answer.
    fn give_up(&mut self) {
        (0..self.requests.len()).for_each(|_| self.cancel(0));
        self.settle();
    }

    /// The lane takes three windows of messages, as fast as handlers finish them.
    fn check_credits(&mut self) {
        let (dialer, acceptor) = (&self.pair.dialer.session, &self.pair.acceptor.session);
        assert_eq!((dialer.requests_in_flight(), acceptor.inbound_open()), (0, 0));
        self.check_reserved();
        for lane in Lane::ALL {
            let mut sent = 0;
            while sent < 3 * WINDOW {
                let before = sent;
                while self.pair.dialer.session.one_way(lane, &message(100)).is_ok() {
                    sent += 100;
                }
                assert!(sent > before, "{lane:?} is stuck after {sent} bytes");
                self.settle();
            }
        }
    }

    /// The connection ends, and with it everything else.
    fn finish(&mut self) {
        self.pair.dialer.session.handle_lost(Loss::Eof);
        self.pair.dialer.collect(self.pair.now);
        self.take_outcomes();
        assert_eq!(self.pair.dialer.session.requests_in_flight(), 0);
        self.pair.acceptor.session.handle_lost(Loss::Eof);
        self.open.clear();
        while self.pair.acceptor.pop().is_some() {}
        self.check_reserved();
        for (correlation, (_, fate)) in &self.requests {
            let Fate::Ended(outcome) = fate else {
                assert_eq!(*fate, Fate::GivenUp, "{correlation:x} has no end");
                continue;
            };
            if let Err(error) = outcome {
                let seen = self.seen.contains(correlation);
                assert!(
                    !(error.is_safe_to_retry() && seen),
                    "a handler saw {correlation:x}, and its caller hears {error}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn two_honest_sides_stay_honest(
        steps in proptest::collection::vec(step(), 1..250),
        settles in any::<bool>(),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.apply(step));
        if settles {
            world.settle();
            world.give_up();
            if world.pair.dialer.session.is_up() && world.pair.acceptor.session.is_up() {
                world.check_credits();
            } else {
                // A drain that nothing holds up any more ends without its deadline.
                world.wait(MILLISECOND);
                world.settle();
                let closed = world.pair.dialer.session.is_closed() && world.pair.acceptor.session.is_closed();
                assert!(closed || world.lost, "a drain hangs");
            }
            world.wait(60 * SECOND);
            world.check();
        }
        world.finish();
    }
}
