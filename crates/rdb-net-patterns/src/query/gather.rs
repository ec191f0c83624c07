//! Which node is asked for which part, with what budget, until when: the state machine of a query.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rdb_net_types::{Effect, NodeId, Reason, RequestError};

use super::mutation::Mutation;
use super::plan::{NoPart, Options, Outcome, Part, Repeat, Tried, Wanted};
use crate::planted::Planted;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask a node for a part.
    Ask {
        /// Which part, by its place in the plan.
        part: usize,
        /// Whom.
        node: NodeId,
        /// How long it may take: what is left of the time, but the reserve.
        budget: Duration,
    },
    /// Nothing more is wanted of this part's node: tell it.
    Cancel {
        /// Which part.
        part: usize,
    },
    /// A part has its outcome. There is one of these for each part, and it comes behind everything that is to be done at once.
    Ended {
        /// Which part.
        part: usize,
        /// What became of it.
        outcome: Outcome,
    },
}

#[derive(Debug)]
struct State {
    nodes: VecDeque<NodeId>,
    /// Who is asked now; `None` before the first and at the end.
    asked: Option<NodeId>,
    /// Until when it has to have begun; `None` where nobody could be asked instead.
    begins_by: Option<Duration>,
    /// Whether the request of the one that is asked may have left this node.
    is_sent: bool,
    /// Whether its time is over, and what has come of it is being taken.
    gives_up: bool,
    tried: Vec<Tried>,
    has_rows: bool,
    has_ended: bool,
}

/// A query under way.
#[derive(Debug)]
pub struct Gather {
    options: Options,
    deadline: Duration,
    /// Whether the deadline has passed.
    is_over: bool,
    parts: Vec<State>,
    complete: usize,
    open: usize,
    actions: VecDeque<Action>,
    outcomes: VecDeque<Action>,
    pub(super) planted: Planted<Mutation>,
}

impl Gather {
    /// Begins a query: everybody in front is asked at once.
    ///
    /// # Errors
    ///
    /// [`NoPart`] where the plan cannot be carried out.
    pub fn new(now: Duration, parts: &[Part], options: Options) -> Result<Self, NoPart> {
        if parts.is_empty() {
            return Err(NoPart::Empty);
        }
        if let Some(part) = parts.iter().find(|part| part.nodes.is_empty()) {
            return Err(NoPart::NoNode { fragment: part.fragment });
        }
        if let Wanted::First(wanted) = options.wanted
            && !(1..=parts.len()).contains(&wanted)
        {
            return Err(NoPart::TooFew { wanted, parts: parts.len() });
        }
        let twice = |part: &Part| {
            let mut seen = BTreeSet::new();
            let node = part.nodes.iter().find(|node| !seen.insert(*node))?.clone();
            Some(NoPart::Twice { fragment: part.fragment, node })
        };
        if let Some(twice) = parts.iter().find_map(twice) {
            return Err(twice);
        }
        if options.timeout <= options.reserve {
            return Err(NoPart::NoTime { timeout: options.timeout, reserve: options.reserve });
        }
        let state = |part: &Part| State {
            nodes: part.nodes.iter().cloned().collect(),
            asked: None,
            begins_by: None,
            is_sent: false,
            gives_up: false,
            tried: Vec::new(),
            has_rows: false,
            has_ended: false,
        };
        let mut this = Self {
            deadline: now.saturating_add(options.timeout),
            options,
            is_over: false,
            parts: parts.iter().map(state).collect(),
            complete: 0,
            open: parts.len(),
            actions: VecDeque::new(),
            outcomes: VecDeque::new(),
            planted: Planted::default(),
        };
        (0..this.parts.len()).for_each(|part| this.ask_next(now, part));
        Ok(this)
    }

    /// Plants a bug.
    #[cfg(feature = "mutations")]
    pub fn plant(&mut self, mutation: Mutation) {
        self.planted.mutation = Some(mutation);
    }

    /// A part's request is queued: from now on its node may act on it.
    pub fn handle_sent(&mut self, part: usize) {
        let state = &mut self.parts[part];
        state.is_sent = true;
        if self.options.repeat != Repeat::Always {
            // Nobody may be asked in its place any more, so it has the whole time.
            state.begins_by = None;
            state.gives_up &= self.is_over;
        }
    }

    /// Rows of a part have come.
    pub fn handle_rows(&mut self, part: usize) {
        let state = &mut self.parts[part];
        (state.is_sent, state.has_rows, state.begins_by) = (true, true, None);
        state.gives_up &= self.is_over;
    }

    /// A part's node has answered in full, or will answer no more.
    pub fn handle_end(&mut self, now: Duration, part: usize, result: Result<(), RequestError>) {
        let state = &mut self.parts[part];
        let Some(node) = state.asked.take() else { return };
        (state.begins_by, state.gives_up) = (None, false);
        match result {
            Ok(()) => self.end_complete(part, node),
            Err(_) if state.has_rows && self.planted.has(Mutation::BrokenIsComplete) => self.end_complete(part, node),
            Err(error) if self.goes_on(now, part, &error) => {
                self.parts[part].tried.push(Tried { node, error });
                self.ask_next(now, part);
            }
            Err(error) => {
                let outcome = self.without_all(part, node, error);
                self.end(part, outcome);
            }
        }
    }

    /// More was gathered than may be.
    pub fn handle_too_much(&mut self) {
        self.end_all(|_| Outcome::TooMuch);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.is_over |= now >= self.deadline;
        for part in 0..self.parts.len() {
            let state = &mut self.parts[part];
            let is_due = self.is_over || state.begins_by.is_some_and(|begins_by| begins_by <= now);
            let Some(node) = state.asked.as_ref().filter(|_| is_due) else { continue };
            state.begins_by = None;
            state.gives_up = true;
            if self.is_over && self.planted.has(Mutation::DropsAtDeadline) {
                let effect = if state.is_sent { Effect::Unknown } else { Effect::NotSent };
                let error = RequestError::new(effect, Reason::Expired).of(node);
                self.actions.push_back(Action::Cancel { part });
                self.handle_end(now, part, Err(error));
            }
        }
    }

    /// Whether the time of a part's node is over: take what has come of it, a window and one message at most, then give the request up, and tell
    /// [`handle_given_up`](Self::handle_given_up). Where another node was to be asked, one of whom rows have come goes on.
    pub fn gives_up(&self, part: usize) -> bool {
        self.parts[part].gives_up
    }

    /// Whether a part's request may be looked at: where it is not sent by the deadline, a look might send it.
    pub(super) fn may_be_looked_at(&self, part: usize) -> bool {
        !self.is_over || self.parts[part].is_sent
    }

    /// A part's request was given up when its time was over, and this is what is known of it.
    pub fn handle_given_up(&mut self, now: Duration, part: usize, effect: Effect) {
        let state = &self.parts[part];
        if let Some(node) = state.asked.as_ref().filter(|_| state.gives_up) {
            let error = RequestError::new(effect, Reason::Expired).of(node);
            self.handle_end(now, part, Err(error));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` when the deadline has passed, and at the end.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let begins_by = self.parts.iter().filter(|state| !state.has_ended).filter_map(|state| state.begins_by).min();
        let is_waiting = self.open > 0 && !self.is_over;
        is_waiting.then(|| begins_by.map_or(self.deadline, |begins_by| begins_by.min(self.deadline)))
    }

    /// The next thing to be done: requests first, so that nobody waits for a cancellation while outcomes are read.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front().or_else(|| self.outcomes.pop_front())
    }

    /// Whether there is something to be done.
    pub fn has_actions(&self) -> bool {
        !(self.actions.is_empty() && self.outcomes.is_empty())
    }

    /// Whether every part has its outcome.
    pub fn has_ended(&self) -> bool {
        self.open == 0
    }

    /// What is left of the time for a node.
    fn budget(&self, now: Duration) -> Duration {
        self.deadline.saturating_sub(now).saturating_sub(self.options.reserve)
    }

    /// Whether the next node is asked for a part after this failure: not where that would carry it out twice, and not without time.
    fn goes_on(&self, now: Duration, part: usize, error: &RequestError) -> bool {
        let state = &self.parts[part];
        let (repeat, planted) = (self.options.repeat, self.planted);
        let may_repeat =
            repeat.allows(error) || repeat == Repeat::NotStarted && planted.has(Mutation::AsksAfterUnknown);
        let may_go_on = may_repeat && (!state.has_rows || planted.has(Mutation::MixesNodes));
        may_go_on && !state.nodes.is_empty() && !self.is_over && !self.budget(now).is_zero()
    }

    /// What has become of a part of which not all has come, and of which nobody else is asked.
    fn without_all(&mut self, part: usize, node: NodeId, error: RequestError) -> Outcome {
        let state = &mut self.parts[part];
        let (mut tried, has_rows) = (std::mem::take(&mut state.tried), state.has_rows);
        let may_have_acted = has_rows || error.effect == Effect::Unknown || self.planted.has(Mutation::UnsentIsLate);
        if self.planted.has(Mutation::ForgetsTried) {
            tried.clear();
        }
        if error.reason == Reason::Expired && may_have_acted {
            return Outcome::Late { node, has_rows, tried };
        }
        if has_rows {
            return Outcome::Broken { node, error, tried };
        }
        tried.push(Tried { node, error });
        Outcome::Failed { tried }
    }

    /// Asks the next node of a part, with all that is left of the time. Until it has begun it has a share alone, so that a node which
    /// is not there leaves some for those behind it; one that has begun is not cut for the sake of nodes that will not be asked.
    fn ask_next(&mut self, now: Duration, part: usize) {
        let budget = self.budget(now);
        let may_go_on = self.options.repeat != Repeat::Never;
        let state = &mut self.parts[part];
        let Some(node) = state.nodes.pop_front() else { return };
        let behind = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
        let share = budget / behind.saturating_add(1);
        state.begins_by = (may_go_on && behind > 0).then(|| now.saturating_add(share));
        state.is_sent = false;
        state.asked = Some(node.clone());
        self.actions.push_back(Action::Ask { part, node, budget });
    }

    fn end_complete(&mut self, part: usize, node: NodeId) {
        self.complete += 1;
        self.end(part, Outcome::Complete { node });
        if matches!(self.options.wanted, Wanted::First(wanted) if self.complete >= wanted) {
            self.end_all(|_| Outcome::NotNeeded);
        }
    }

    fn end(&mut self, part: usize, outcome: Outcome) {
        self.parts[part].has_ended = true;
        self.open -= 1;
        self.outcomes.push_back(Action::Ended { part, outcome });
    }

    fn end_all(&mut self, outcome: impl Fn(&mut State) -> Outcome) {
        for part in 0..self.parts.len() {
            if self.parts[part].has_ended {
                continue;
            }
            let outcome = outcome(&mut self.parts[part]);
            let is_forgotten = outcome == Outcome::NotNeeded && self.planted.has(Mutation::NoCancelAtFirst);
            if self.parts[part].asked.take().is_some() && !is_forgotten {
                self.actions.push_back(Action::Cancel { part });
            }
            self.end(part, outcome);
        }
    }
}
