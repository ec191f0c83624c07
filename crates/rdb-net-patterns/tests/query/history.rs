//! What was seen of a run, by everybody who took part.

use std::time::Duration;

use rdb_net_patterns::query::{Options, Outcome};
use rdb_net_types::{Effect, NodeId, RequestError};

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) what: Fact,
}

/// A row, as it names itself: who made it for which request, and the how manieth it is.
pub(crate) type Row = (usize, u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The query asks a node.
    Asked { request: usize, part: usize, node: NodeId, budget: Duration },
    /// The request goes to the socket.
    Written { request: usize },
    /// The node's handler has begun.
    Begun { request: usize },
    /// It has made all of its rows.
    Finished { request: usize, rows: u64 },
    /// Rows lie here and wait to be taken.
    Came { request: usize, rows: Vec<Row> },
    /// Its end lies here and waits to be taken.
    EndCame { request: usize },
    /// The query is told that nothing more comes.
    Ended { request: usize, result: Result<(), RequestError> },
    /// The query gives a request up.
    GivenUp { request: usize, effect: Effect },
    /// The reader has rows.
    Given { part: usize, node: NodeId, rows: Vec<Row>, bytes: usize },
    /// The reader has a part's outcome.
    Outcome { part: usize, outcome: Outcome },
    /// The reader waits, until then at the latest.
    Waits { until: Duration },
    /// The reader was told that this is all.
    Over,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) options: Options,
    pub(crate) parts: usize,
    pub(crate) events: Vec<Event>,
}

/// How a request ended for the query: by an end of its own, or with what effect it was given up.
pub(crate) type Closed = Result<Result<(), RequestError>, Effect>;

/// A request, as it was in the end.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) request: usize,
    pub(crate) node: NodeId,
    pub(crate) asked: Duration,
    pub(crate) closed: Option<(Duration, Closed)>,
    pub(crate) is_written: bool,
    pub(crate) is_begun: bool,
    /// How many rows its handler made in all, where it came to the end of them.
    pub(crate) finished: Option<u64>,
}

impl Attempt {
    /// Whether its node may have acted, as the query was told; `None` where it answered in full, or is under way.
    pub(crate) fn effect(&self) -> Option<Effect> {
        match &self.closed.as_ref()?.1 {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.effect),
            Err(effect) => Some(*effect),
        }
    }
}

impl History {
    pub(crate) fn deadline(&self) -> Duration {
        self.options.timeout
    }

    /// The requests for a part, in the order in which they were made.
    pub(crate) fn attempts(&self, part: usize) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = Vec::new();
        for Event { at, what } in &self.events {
            let of = |attempts: &mut Vec<Attempt>, request: usize, change: &mut dyn FnMut(&mut Attempt)| {
                attempts.iter_mut().filter(|attempt| attempt.request == request).for_each(change);
            };
            match what {
                Fact::Asked { request, part: asked, node, .. } if *asked == part => attempts.push(Attempt {
                    request: *request,
                    node: node.clone(),
                    asked: *at,
                    closed: None,
                    is_written: false,
                    is_begun: false,
                    finished: None,
                }),
                Fact::Written { request } => of(&mut attempts, *request, &mut |attempt| attempt.is_written = true),
                Fact::Begun { request } => of(&mut attempts, *request, &mut |attempt| attempt.is_begun = true),
                Fact::Finished { request, rows } => {
                    of(&mut attempts, *request, &mut |attempt| attempt.finished = Some(*rows));
                }
                Fact::Ended { request, result } => {
                    of(&mut attempts, *request, &mut |attempt| attempt.closed = Some((*at, Ok(result.clone()))));
                }
                Fact::GivenUp { request, effect } => {
                    of(&mut attempts, *request, &mut |attempt| attempt.closed = Some((*at, Err(*effect))));
                }
                _ => {}
            }
        }
        attempts
    }

    /// The rows of a part that the reader was given.
    pub(crate) fn given(&self, part: usize) -> Vec<Row> {
        let of_part = |event: &Event| match &event.what {
            Fact::Given { part: given, rows, .. } if *given == part => rows.clone(),
            _ => Vec::new(),
        };
        self.events.iter().flat_map(of_part).collect()
    }

    /// What the reader was told of a part, in order.
    pub(crate) fn outcomes(&self, part: usize) -> Vec<&Outcome> {
        let of_part = |event: &'_ Event| matches!(&event.what, Fact::Outcome { part: told, .. } if *told == part);
        let outcome = |event: &'_ Event| of_part(event);
        let events = self.events.iter().filter(|event| outcome(event));
        events
            .filter_map(|event| if let Fact::Outcome { outcome, .. } = &event.what { Some(outcome) } else { None })
            .collect()
    }
}
