//! Nodes, their connections and a reader in simulated time: one seed is one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use rdb_net_patterns::query::{QueryEvent, Step, Taking};
use rdb_net_types::{Effect, NodeId, Reason, RequestError, SeededRandom, Tuple};

use crate::history::{Event, Fact, History, Row};
use crate::script::{Script, ms};

/// After how long a lost connection is seen to be lost, at the most.
const DETECT_MAX: Duration = Duration::from_millis(150);
/// So many things happen in a run at the most; one that goes on for ever has broken its deadline.
const STEPS_MAX: usize = 200_000;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Due {
    Connect { request: usize },
    Write { request: usize },
    Arrive { request: usize },
    Make { request: usize },
    Piece { request: usize, piece: Piece },
    End { request: usize, result: Result<(), RequestError> },
    Credit { request: usize, limit: usize },
    Stop { request: usize },
    Lost { request: usize },
    Expire { request: usize },
    Fault { node: usize, is_killed: bool },
    Mend { node: usize },
    Wake,
    Read { turn: u64 },
}

/// Rows that come together.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) rows: Vec<Row>,
    pub(crate) bytes: usize,
}

/// A node's work on a request.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) left: u64,
    pub(crate) next_row: u64,
    pub(crate) sent_bytes: usize,
    pub(crate) limit_bytes: usize,
    /// Whether it waits for room.
    pub(crate) waits: bool,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) part: usize,
    pub(crate) node: usize,
    pub(crate) until: Duration,
    /// Whether the query still has it.
    pub(crate) is_open: bool,
    pub(crate) is_connected: bool,
    pub(crate) is_queued: bool,
    pub(crate) is_written: bool,
    /// Whether its connection is gone, seen here or not.
    pub(crate) is_lost: bool,
    pub(crate) here: VecDeque<Piece>,
    pub(crate) end: Option<Result<(), RequestError>>,
    pub(crate) taken_bytes: usize,
    pub(crate) handler: Option<Handler>,
    /// The time of the last arrival here: a connection keeps its order.
    pub(crate) last: Duration,
    /// When the asking node's own handler has its next rows.
    pub(crate) ready: Duration,
}

/// Counts of what happened, so that runs in which nothing did are seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) losses: u64,
    pub(crate) kills: u64,
    pub(crate) cuts: u64,
    pub(crate) refusals: u64,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    what: BTreeMap<u64, Due>,
    next_due: u64,
    pub(crate) random: SeededRandom,
    pub(crate) script: Script,
    pub(crate) requests: Vec<Request>,
    is_dead: Vec<bool>,
    is_cut: Vec<bool>,
    /// The reader's turn, where it waits.
    waits: Option<u64>,
    turn: u64,
    is_over: bool,
    given: usize,
    pub(crate) counts: Counts,
    events: Vec<Event>,
}

impl World {
    pub(crate) fn new(seed: u64, change: impl FnOnce(&mut Script)) -> Self {
        let mut random = SeededRandom::new(seed);
        let mut script = Script::draw(&mut random);
        change(&mut script);
        let count = script.nodes.len();
        Self {
            now: Duration::ZERO,
            due: BinaryHeap::new(),
            what: BTreeMap::new(),
            next_due: 0,
            random,
            script,
            requests: Vec::new(),
            is_dead: vec![false; count],
            is_cut: vec![false; count],
            waits: None,
            turn: 0,
            is_over: false,
            given: 0,
            counts: Counts::default(),
            events: Vec::new(),
        }
    }

    /// Runs until nothing more happens.
    pub(crate) fn run(mut self) -> (History, Counts) {
        let mut taking = Taking::new(self.now, &self.script.parts, self.script.options).expect("the plan is fine");
        if let Some(mutation) = self.script.mutation {
            taking.plant(mutation);
        }
        for (at, node, is_killed) in self.script.faults.clone() {
            self.later(at, Due::Fault { node, is_killed });
        }
        self.later(Duration::ZERO, Due::Read { turn: 0 });
        for _ in 0..STEPS_MAX {
            let Some(Reverse((at, number))) = self.due.pop() else { break };
            let Some(due) = self.what.remove(&number) else { continue };
            self.now = at;
            match due {
                Due::Read { turn } if turn == self.turn => self.read(&mut taking),
                Due::Read { .. } => {}
                due => {
                    self.happen(due);
                    if self.waits == Some(self.turn) {
                        self.read(&mut taking);
                    }
                }
            }
        }
        let Self { script, events, counts, .. } = self;
        (History { options: script.options, parts: script.parts.len(), events }, counts)
    }

    pub(crate) fn note(&mut self, what: Fact) {
        self.events.push(Event { at: self.now, what });
    }

    pub(crate) fn later(&mut self, delay: Duration, due: Due) {
        self.next_due += 1;
        self.due.push(Reverse((self.now + delay, self.next_due)));
        self.what.insert(self.next_due, due);
    }

    /// Something arrives here of a request's connection, behind everything before it; or the connection is lost at it.
    fn arrives(&mut self, request: usize, due: Due) {
        let node = self.requests[request].node;
        if node != 0 && self.random.chance(self.script.loss) {
            return self.lose(node);
        }
        let last = self.requests[request].last.max(self.now + self.script.nodes[node].latency);
        self.requests[request].last = last;
        self.later(last - self.now, due);
    }

    /// The connection to a node is lost: with it what is on its way.
    fn lose(&mut self, node: usize) {
        self.counts.losses += 1;
        for request in 0..self.requests.len() {
            let Request { node: of, is_lost, is_connected, is_queued, .. } = self.requests[request];
            if of != node || is_lost || !is_connected {
                continue;
            }
            let detect = self.random.duration(Duration::ZERO, DETECT_MAX);
            if !is_queued {
                self.requests[request].is_connected = false;
                self.later(detect, Due::Connect { request });
                continue;
            }
            self.requests[request].is_lost = true;
            self.later(detect, Due::Stop { request });
            if !self.random.chance(self.script.unseen) {
                let detect = self.random.duration(Duration::ZERO, DETECT_MAX);
                self.later(detect, Due::Lost { request });
            }
        }
    }

    /// The reader looks, and is given one thing at most.
    fn read(&mut self, taking: &mut Taking) {
        if self.is_over {
            return;
        }
        self.waits = None;
        self.turn += 1;
        let turn = self.turn;
        let event = match taking.step(self.now, self) {
            Step::Event(event) => event,
            Step::Wait(until) => {
                self.note(Fact::Waits { until });
                self.waits = Some(turn);
                return self.later(until.saturating_sub(self.now).max(Duration::from_micros(1)), Due::Read { turn });
            }
            Step::End => {
                self.is_over = true;
                return self.note(Fact::Over);
            }
        };
        match event {
            QueryEvent::Rows { part, node, rows } => {
                self.give(part, node, &rows);
                if self.given > self.script.rows_max {
                    taking.handle_too_much();
                }
            }
            QueryEvent::Ended { part, outcome } => self.note(Fact::Outcome { part, outcome }),
        }
        let nap = if self.random.chance(self.script.naps) { self.script.options.timeout / 2 } else { Duration::ZERO };
        let later = self.script.reader + self.random.duration(Duration::ZERO, nap);
        self.later(later, Due::Read { turn });
    }

    fn give(&mut self, part: usize, node: NodeId, tuples: &[Tuple]) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let row = |tuple: &Tuple| {
            let bytes: Vec<u8> = tuple.0.to_vec();
            (number(&bytes[..8]) as usize, number(&bytes[8..16]))
        };
        let rows: Vec<Row> = tuples.iter().map(row).collect();
        let bytes = rows.len() * 20;
        self.given += rows.len();
        self.note(Fact::Given { part, node, rows, bytes });
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Connect { request } => self.connect(request),
            Due::Write { request } => self.write(request),
            Due::Arrive { request } => self.arrive(request),
            Due::Make { request } => self.make(request),
            Due::Piece { request, piece } => {
                let to = &mut self.requests[request];
                if to.is_open && !to.is_lost && to.end.is_none() {
                    let rows = piece.rows.clone();
                    to.here.push_back(piece);
                    self.note(Fact::Came { request, rows });
                }
            }
            Due::End { request, result } if !self.requests[request].is_lost => self.end(request, result),
            Due::Credit { request, limit } if !self.requests[request].is_lost => {
                if let Some(handler) = &mut self.requests[request].handler {
                    handler.limit_bytes = limit;
                    if std::mem::take(&mut handler.waits) {
                        self.make(request);
                    }
                }
            }
            Due::Stop { request } => self.requests[request].handler = None,
            Due::Lost { request } => self.end_unanswered(request, Reason::ConnectionLost),
            Due::Expire { request } => {
                // The asking node's own handler is not cut while it has rows, as over a node.
                if self.requests[request].node != 0 {
                    self.end_unanswered(request, Reason::Expired);
                    self.requests[request].handler = None;
                }
            }
            Due::Fault { node, is_killed } => {
                self.is_dead[node] |= is_killed;
                self.is_cut[node] |= !is_killed;
                self.counts.kills += u64::from(is_killed);
                self.counts.cuts += u64::from(!is_killed);
                self.lose(node);
                for request in self.requests.iter_mut().filter(|request| request.node == node && is_killed) {
                    request.handler = None;
                }
                let back = self.random.duration(ms(5), ms(300));
                self.later(back, Due::Mend { node });
            }
            Due::Mend { node } => (self.is_dead[node], self.is_cut[node]) = (false, false),
            Due::End { .. } | Due::Credit { .. } | Due::Wake | Due::Read { .. } => {}
        }
    }

    fn end(&mut self, request: usize, result: Result<(), RequestError>) {
        let at = &mut self.requests[request];
        if at.is_open && at.end.is_none() {
            at.end = Some(result);
            // Where nobody has looked since there was a connection, nobody knows.
            if at.is_queued {
                self.note(Fact::EndCame { request });
            }
        }
    }

    fn end_unanswered(&mut self, request: usize, reason: Reason) {
        let effect = if self.requests[request].is_written { Effect::Unknown } else { Effect::NotSent };
        self.end(request, Err(RequestError::new(effect, reason)));
    }

    /// A connection for a request, unless its node is away: then it is refused, or tried again.
    pub(crate) fn connect(&mut self, request: usize) {
        let Request { node, is_open, until, .. } = self.requests[request];
        if !is_open {
            return;
        }
        if self.now >= until || self.is_dead[node] && self.random.chance(0.5) {
            return self.end(request, Err(RequestError::new(Effect::NotSent, Reason::Unreachable)));
        }
        self.requests[request].is_connected = !(self.is_dead[node] || self.is_cut[node]);
        if !self.requests[request].is_connected {
            self.later(ms(10), Due::Connect { request });
        }
    }

    fn write(&mut self, request: usize) {
        let Request { node, is_open, is_lost, .. } = self.requests[request];
        if !is_open || is_lost || self.requests[request].end.is_some() {
            return;
        }
        self.requests[request].is_written = true;
        self.note(Fact::Written { request });
        if node != 0 && self.random.chance(self.script.loss) {
            return self.lose(node);
        }
        self.later(self.script.nodes[node].latency, Due::Arrive { request });
    }

    fn arrive(&mut self, request: usize) {
        let Request { node, is_lost, until, .. } = self.requests[request];
        // What arrives at a node just before its connection ends is carried out all the same.
        if self.is_dead[node] || is_lost && self.random.chance(0.5) {
            return;
        }
        let refuses = self.now >= until || self.random.chance(self.script.refuses);
        if refuses {
            self.counts.refusals += 1;
            let reason = if self.now >= until { Reason::Expired } else { Reason::HandlerFailed };
            let result = Err(RequestError::new(Effect::NotStarted, reason));
            return self.arrives(request, Due::End { request, result });
        }
        self.note(Fact::Begun { request });
        let left = self.random.below(self.script.pieces_max + 1);
        let limit_bytes = self.script.options.window_bytes as usize;
        self.requests[request].handler = Some(Handler { left, next_row: 0, sent_bytes: 0, limit_bytes, waits: false });
        let pause = self.random.duration(Duration::ZERO, self.script.nodes[node].pause_max);
        self.requests[request].ready = self.now + pause;
        self.later(pause, if node == 0 { Due::Wake } else { Due::Make { request } });
    }

    /// A handler makes its next rows, where there is room for them.
    fn make(&mut self, request: usize) {
        let node = self.requests[request].node;
        let has_room = self.requests[request].handler.as_ref().is_some_and(|it| it.sent_bytes < it.limit_bytes);
        if let Some(handler) = self.requests[request].handler.as_mut().filter(|handler| handler.left > 0 && !has_room) {
            handler.waits = true;
            return;
        }
        match self.next_piece(request) {
            None => {}
            Some(Ok(piece)) => {
                self.arrives(request, Due::Piece { request, piece });
                let pause = self.random.duration(Duration::from_micros(50), self.script.nodes[node].pause_max);
                self.later(pause, Due::Make { request });
            }
            Some(Err(result)) => self.arrives(request, Due::End { request, result }),
        }
    }

    /// What a handler makes next: rows, or its end.
    pub(crate) fn next_piece(&mut self, request: usize) -> Option<Result<Piece, Result<(), RequestError>>> {
        let fails = self.random.chance(self.script.fails);
        let count = 1 + self.random.below(3);
        let handler = self.requests[request].handler.as_mut()?;
        if fails {
            self.requests[request].handler = None;
            return Some(Err(Err(RequestError::new(Effect::Unknown, Reason::HandlerFailed))));
        }
        if handler.left == 0 {
            let rows = handler.next_row;
            self.requests[request].handler = None;
            self.note(Fact::Finished { request, rows });
            return Some(Err(Ok(())));
        }
        let rows: Vec<Row> = (handler.next_row..handler.next_row + count).map(|row| (request, row)).collect();
        let bytes = rows.len() * 20;
        handler.left -= 1;
        handler.next_row += count;
        handler.sent_bytes += bytes;
        Some(Ok(Piece { rows, bytes }))
    }
}
