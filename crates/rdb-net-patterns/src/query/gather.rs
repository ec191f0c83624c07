//! Which node is asked for which part, with what budget, until when: the state machine of a query.

use std::collections::VecDeque;
use std::time::Duration;

use rdb_net_types::{NodeId, Reason, RequestError};

use super::plan::{NoPart, Options, Outcome, Part, Tried, Wanted};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask a node for a part.
    Ask {
        /// Which part, by its place in the plan.
        part: usize,
        /// Whom.
        node: NodeId,
        /// How long it may take.
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

    /// Rows of a part have come.
    pub fn handle_rows(&mut self, part: usize) {
        self.parts[part].has_rows = true;
    }

    /// A part's node has answered in full, or will answer no more.
    pub fn handle_end(&mut self, now: Duration, part: usize, result: Result<(), RequestError>) {
        let state = &mut self.parts[part];
        let Some(node) = state.asked.take() else { return };
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
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` at the end.
    pub fn poll_timeout(&self) -> Option<Duration> {
        (self.open > 0).then_some(self.deadline)
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

    /// Asks the next node of a part. What is left of the time is split over the nodes that may have to be asked yet, so that a node
    /// which is silent leaves some for those behind it.
    fn ask_next(&mut self, now: Duration, part: usize) {
        let left = self.deadline.saturating_sub(now).saturating_sub(self.options.reserve);
        let state = &mut self.parts[part];
        let may_go_on = self.options.repeat != super::Repeat::Never;
        let nodes = if may_go_on { u32::try_from(state.nodes.len()).unwrap_or(u32::MAX) } else { 1 };
        let Some(node) = state.nodes.pop_front() else { return };
        state.asked = Some(node.clone());
        self.actions.push_back(Action::Ask { part, node, budget: left / nodes.max(1) });
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
