//! Which node is asked for which part, with what budget, until when: the state machine of a query.

use std::collections::VecDeque;
use std::time::Duration;

use rdb_net_types::{Effect, NodeId, Reason, RequestError};

use super::plan::{NoPart, Options, Outcome, Part, Repeat, Tried, Wanted};

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
    /// A part has its outcome. There is one of these for each part.
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
    tried: Vec<Tried>,
    has_rows: bool,
    has_ended: bool,
}

/// A query under way.
#[derive(Debug)]
pub struct Gather {
    options: Options,
    deadline: Duration,
    parts: Vec<State>,
    complete: usize,
    open: usize,
    actions: VecDeque<Action>,
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
        let state = |part: &Part| State {
            nodes: part.nodes.iter().cloned().collect(),
            asked: None,
            begins_by: None,
            is_sent: false,
            tried: Vec::new(),
            has_rows: false,
            has_ended: false,
        };
        let mut this = Self {
            deadline: now.saturating_add(options.timeout),
            options,
            parts: parts.iter().map(state).collect(),
            complete: 0,
            open: parts.len(),
            actions: VecDeque::new(),
        };
        (0..this.parts.len()).for_each(|part| this.ask_next(now, part));
        Ok(this)
    }

    /// A part's request is queued: from now on its node may act on it.
    pub fn handle_sent(&mut self, part: usize) {
        let state = &mut self.parts[part];
        state.is_sent = true;
        if self.options.repeat != Repeat::Always {
            // Nobody may be asked in its place any more, so it has the whole time.
            state.begins_by = None;
        }
    }

    /// Rows of a part have come.
    pub fn handle_rows(&mut self, part: usize) {
        let state = &mut self.parts[part];
        (state.is_sent, state.has_rows, state.begins_by) = (true, true, None);
    }

    /// A part's node has answered in full, or will answer no more.
    pub fn handle_end(&mut self, now: Duration, part: usize, result: Result<(), RequestError>) {
        let state = &mut self.parts[part];
        let Some(node) = state.asked.take() else { return };
        state.begins_by = None;
        match result {
            Ok(()) => {
                self.complete += 1;
                self.end(part, Outcome::Complete { node });
                if matches!(self.options.wanted, Wanted::First(wanted) if self.complete >= wanted) {
                    self.end_all(|_| Outcome::NotNeeded);
                }
            }
            Err(error) => {
                let may_go_on = self.options.repeat.allows(&error) && !state.has_rows;
                let goes_on = may_go_on && !state.nodes.is_empty();
                if error.reason == Reason::Expired && !goes_on {
                    let has_rows = state.has_rows;
                    return self.end(part, Outcome::Late { node, has_rows });
                }
                if state.has_rows {
                    return self.end(part, Outcome::Broken { node, error });
                }
                state.tried.push(Tried { node, error });
                if goes_on && now < self.deadline {
                    self.ask_next(now, part);
                } else {
                    let tried = std::mem::take(&mut state.tried);
                    self.end(part, Outcome::Failed { tried });
                }
            }
        }
    }

    /// More was gathered than may be.
    pub fn handle_too_much(&mut self) {
        self.end_all(|_| Outcome::TooMuch);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now >= self.deadline {
            self.end_all(|state| match &state.asked {
                Some(node) => Outcome::Late { node: node.clone(), has_rows: state.has_rows },
                None => Outcome::Failed { tried: std::mem::take(&mut state.tried) },
            });
        }
        for part in 0..self.parts.len() {
            let state = &self.parts[part];
            if !state.has_ended && state.begins_by.is_some_and(|begins_by| begins_by <= now) {
                let effect = if state.is_sent { Effect::Unknown } else { Effect::NotSent };
                self.actions.push_back(Action::Cancel { part });
                self.handle_end(now, part, Err(RequestError::new(effect, Reason::Expired)));
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` at the end.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let begins_by = self.parts.iter().filter(|state| !state.has_ended).filter_map(|state| state.begins_by).min();
        (self.open > 0).then(|| begins_by.map_or(self.deadline, |begins_by| begins_by.min(self.deadline)))
    }

    /// The next thing to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether there is something to be done.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Whether every part has its outcome.
    pub fn has_ended(&self) -> bool {
        self.open == 0
    }

    /// Asks the next node of a part, with all that is left of the time. Until it has begun it has a share alone, so that a node which
    /// is not there leaves some for those behind it; one that has begun is not cut for the sake of nodes that will not be asked.
    fn ask_next(&mut self, now: Duration, part: usize) {
        let budget = self.deadline.saturating_sub(now).saturating_sub(self.options.reserve);
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

    fn end(&mut self, part: usize, outcome: Outcome) {
        self.parts[part].has_ended = true;
        self.open -= 1;
        self.actions.push_back(Action::Ended { part, outcome });
    }

    fn end_all(&mut self, outcome: impl Fn(&mut State) -> Outcome) {
        for part in 0..self.parts.len() {
            if self.parts[part].has_ended {
                continue;
            }
            let outcome = outcome(&mut self.parts[part]);
            if self.parts[part].asked.take().is_some() {
                self.actions.push_back(Action::Cancel { part });
            }
            self.end(part, outcome);
        }
    }
}
