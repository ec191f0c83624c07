//! The order in which what has come of the nodes is taken: a query without its network.
//!
//! Who is looked at first, what is done at the deadline with what has come by then, and how much of it is given. The requests are
//! the caller's, and so is the clock: over a node they are its streams, in a simulation whatever it draws.

use std::time::Duration;

use rdb_net_types::{Effect, NodeId, RequestError, Tuple};

use super::gather::{Action, Gather};
use super::mutation::Mutation;
use super::plan::{NoPart, Options, Outcome, Part};

/// Something that has come of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryEvent {
    /// Rows of a part, in the order in which its node sent them.
    Rows {
        /// Which part, by its place in the plan.
        part: usize,
        /// Who sent them.
        node: NodeId,
        /// The rows.
        rows: Vec<Tuple>,
    },
    /// A part has its outcome: the last thing that comes of it.
    Ended {
        /// Which part, by its place in the plan.
        part: usize,
        /// What became of it.
        outcome: Outcome,
    },
}

/// What a query asks nodes by. Of each part one request is under way at most.
pub trait Requests {
    /// Asks a node for a part, which may take so long.
    fn ask(&mut self, part: usize, node: &NodeId, budget: Duration);

    /// The next that has come of a part's request. It may send it, where that had to wait. After an end it is not asked again.
    fn take(&mut self, part: usize) -> Taken;

    /// Whether a part's request was queued, so that its node may act on it, or could not be and has its end.
    fn is_sent(&self, part: usize) -> bool;

    /// Gives a part's request up, whose node is told where it may have heard of it.
    fn give_up(&mut self, part: usize) -> GivenUp;
}

/// What is known of a request that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenUp {
    /// It had not ended. This is whether its node may have acted.
    UnderWay(Effect),
    /// It had ended, and nothing else of it waited to be taken.
    Ended(Result<(), RequestError>),
}

/// What has come of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing yet.
    Nothing,
    /// A message with rows; with none where its node had only that to say.
    Rows {
        /// The rows.
        rows: Vec<Tuple>,
        /// How much of the window they were.
        bytes: usize,
    },
    /// Its end: nothing comes any more.
    End(Result<(), RequestError>),
}

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This is to be given to the reader.
    Event(QueryEvent),
    /// Nothing has come: look again when something has, at this time at the latest. Where that is now, there may be more at once, and
    /// others are to have their turn before.
    Wait(Duration),
    /// Every part has its outcome.
    End,
}

#[derive(Debug)]
struct Asked {
    part: usize,
    node: NodeId,
    /// What may still be taken of it when its time is over.
    left_bytes: usize,
}

/// A query under way, and whom it looks at next.
#[derive(Debug)]
pub struct Taking {
    gather: Gather,
    window_bytes: usize,
    asked: Vec<Asked>,
    /// Who is looked at first, so that none is kept waiting by another.
    next: usize,
    /// Whether a message without rows was taken, so that more may be there.
    looks_again: bool,
}

impl Taking {
    /// Begins a query.
    ///
    /// # Errors
    ///
    /// [`NoPart`] where the plan cannot be carried out.
    pub fn new(now: Duration, parts: &[Part], options: Options) -> Result<Self, NoPart> {
        let gather = Gather::new(now, parts, options)?;
        Ok(Self {
            gather,
            window_bytes: options.window_bytes.max(1) as usize,
            asked: Vec::new(),
            next: 0,
            looks_again: false,
        })
    }

    /// Plants a bug.
    #[cfg(feature = "mutations")]
    pub fn plant(&mut self, mutation: Mutation) {
        self.gather.plant(mutation);
    }

    /// More was gathered than may be.
    pub fn handle_too_much(&mut self) {
        self.gather.handle_too_much();
    }

    /// What is next, at this time.
    pub fn step(&mut self, now: Duration, requests: &mut impl Requests) -> Step {
        loop {
            match self.gather.poll_action() {
                Some(Action::Ask { part, node, budget }) => {
                    requests.ask(part, &node, budget);
                    self.asked.push(Asked { part, node, left_bytes: self.window_bytes });
                    // It may have gone at once. Its rows may be here before anybody looks, as long as others have some.
                    if requests.is_sent(part) && !self.gather.planted.has(Mutation::SentIsNotSeen) {
                        self.gather.handle_sent(part);
                    }
                    continue;
                }
                Some(Action::Cancel { part }) => {
                    self.asked.retain(|asked| asked.part != part);
                    requests.give_up(part);
                    continue;
                }
                Some(Action::Ended { part, outcome }) => return Step::Event(QueryEvent::Ended { part, outcome }),
                None if self.gather.has_ended() => return Step::End,
                None => {}
            }
            if self.gather.poll_timeout().is_some_and(|due| due <= now) {
                self.gather.handle_timeout(now);
                continue;
            }
            self.looks_again = false;
            for gives_up in [true, false] {
                if let Some(event) = self.take(now, requests, gives_up) {
                    return Step::Event(event);
                }
                if self.gather.has_actions() {
                    break;
                }
            }
            if !self.gather.has_actions() {
                if self.looks_again {
                    // A node may say nothing for ever without a pause: the clock is read again. Behind the deadline its window ends it.
                    match self.gather.poll_timeout() {
                        Some(_) => return Step::Wait(now),
                        None => continue,
                    }
                }
                // Behind the deadline everybody who was asked is given up in turn, so that there is an action.
                return self.gather.poll_timeout().map_or(Step::End, Step::Wait);
            }
        }
    }

    /// Looks at each node whose time is over, or at the others, until one has rows or has come to its end.
    fn take(&mut self, now: Duration, requests: &mut impl Requests, gives_up: bool) -> Option<QueryEvent> {
        let is_endless = self.gather.planted.has(Mutation::TakesOnBehindDeadline);
        let count = self.asked.len();
        for step in 0..count {
            let place = (self.next + step) % count;
            let asked = &mut self.asked[place];
            let part = asked.part;
            if self.gather.gives_up(part) != gives_up {
                continue;
            }
            // What had come by then began within the window. What comes while it is taken may not go on for ever.
            let may_take = !gives_up || asked.left_bytes > 0 || is_endless;
            let may_take = may_take && self.gather.may_be_looked_at(part);
            let taken = if may_take { requests.take(part) } else { Taken::Nothing };
            if requests.is_sent(part) {
                self.gather.handle_sent(part);
            }
            match taken {
                Taken::Nothing if !self.gather.gives_up(part) => continue,
                Taken::Nothing => {
                    (self.next, _) = (place, self.asked.remove(place));
                    // A window that is used up holds rows back. An end that waits behind it needs no room.
                    match requests.give_up(part) {
                        GivenUp::Ended(result) if !self.gather.planted.has(Mutation::ForgetsEnds) => {
                            self.gather.handle_end(now, part, result);
                        }
                        GivenUp::Ended(_) => self.gather.handle_given_up(now, part, Effect::Unknown),
                        GivenUp::UnderWay(effect) => self.gather.handle_given_up(now, part, effect),
                    }
                }
                Taken::Rows { rows, bytes } => {
                    if !rows.is_empty() {
                        self.next = place + 1;
                        self.gather.handle_rows(part);
                    }
                    let still_gives_up = self.gather.gives_up(part);
                    asked.left_bytes =
                        if still_gives_up { asked.left_bytes.saturating_sub(bytes.max(1)) } else { self.window_bytes };
                    if rows.is_empty() {
                        self.looks_again = true;
                        continue;
                    }
                    return Some(QueryEvent::Rows { part, node: asked.node.clone(), rows });
                }
                Taken::End(result) => {
                    (self.next, _) = (place, self.asked.remove(place));
                    self.gather.handle_end(now, part, result);
                }
            }
            return None;
        }
        None
    }
}
