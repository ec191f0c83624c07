//! The requests of a query in the simulated world, as the streams of a node behave: a request is sent when a connection is there and
//! the query looks, rows wait here until they are taken, and an end comes behind them.

use std::time::Duration;

use rdb_net_patterns::query::{GivenUp, Requests, Taken};
use rdb_net_types::{Effect, NodeId, Reason, RequestError, Tuple};

use crate::history::Fact;
use crate::script::{id, ms};
use crate::world::{Due, Piece, Request, World};

impl World {
    fn open(&self, part: usize) -> Option<usize> {
        self.requests.iter().rposition(|request| request.is_open && request.part == part)
    }

    fn close(&mut self, request: usize, fact: Fact) {
        let at = &mut self.requests[request];
        at.is_open = false;
        let (node, tells) = (at.node, at.is_written && !at.is_lost && at.end.is_none());
        self.note(fact);
        if tells {
            self.later(self.script.nodes[node].latency, Due::Stop { request });
        }
    }

    /// Sends a request where it has a connection, or sees that it will have none.
    fn queue(&mut self, request: usize) {
        let at = &mut self.requests[request];
        let (node, has_ended) = (at.node, at.end.is_some());
        if at.is_queued || !(at.is_connected || has_ended) {
            return;
        }
        at.is_queued = true;
        if has_ended {
            self.note(Fact::EndCame { request });
        } else if node == 0 {
            at.is_written = true;
            self.note(Fact::Written { request });
            self.later(Duration::ZERO, Due::Arrive { request });
        } else if !self.script.nodes[node].is_stuck {
            let delay = if self.random.chance(0.8) { Duration::ZERO } else { ms(5) };
            self.later(delay, Due::Write { request });
        }
    }

    fn taken(&mut self, request: usize, piece: Piece) -> Taken {
        let window = self.script.options.window_bytes as usize;
        let at = &mut self.requests[request];
        at.taken_bytes += piece.bytes;
        let (node, limit) = (at.node, at.taken_bytes + window);
        self.later(self.script.nodes[node].latency, Due::Credit { request, limit });
        let tuple = |(request, row): &(usize, u64)| {
            let bytes = [(*request as u64).to_le_bytes(), row.to_le_bytes()].concat();
            Tuple(bytes.into())
        };
        Taken::Rows { rows: piece.rows.iter().map(tuple).collect(), bytes: piece.bytes }
    }

    fn ended(&mut self, request: usize, result: Result<(), RequestError>) -> Taken {
        self.close(request, Fact::Ended { request, result: result.clone() });
        Taken::End(result)
    }

    /// The asking node's own handler makes rows when they are taken.
    fn take_own(&mut self, request: usize) -> Taken {
        let Request { ready, until, .. } = self.requests[request];
        if self.requests[request].handler.is_some() && self.now >= ready {
            let pause = self.random.duration(Duration::ZERO, self.script.nodes[0].pause_max);
            self.requests[request].ready = self.now + pause;
            self.later(pause, Due::Wake);
            match self.next_piece(request) {
                Some(Ok(piece)) => return self.taken(request, piece),
                Some(Err(result)) => return self.ended(request, result),
                None => {}
            }
        }
        if self.now >= until {
            return self.ended(request, Err(RequestError::new(Effect::Unknown, Reason::Expired)));
        }
        Taken::Nothing
    }
}

impl Requests for World {
    fn ask(&mut self, part: usize, node: &NodeId, budget: Duration) {
        let request = self.requests.len();
        let to = (0..self.script.nodes.len()).find(|place| id(*place) == *node).expect("it is one of them");
        self.requests.push(Request {
            part,
            node: to,
            until: self.now + budget,
            is_open: true,
            is_connected: to == 0,
            is_queued: false,
            is_written: false,
            is_lost: false,
            here: [].into(),
            end: None,
            taken_bytes: 0,
            handler: None,
            last: self.now,
            ready: self.now,
        });
        self.note(Fact::Asked { request, part, node: node.clone(), budget });
        if to == 0 {
            self.queue(request);
        } else {
            // Where a connection is up, the request goes at once.
            let is_up = self.random.chance(0.5);
            let delay = self.random.duration(ms(0), ms(30));
            if is_up {
                self.connect(request)
            } else {
                self.later(delay, Due::Connect { request })
            }
            self.queue(request);
        }
        self.later(budget, Due::Expire { request });
    }

    fn take(&mut self, part: usize) -> Taken {
        let Some(request) = self.open(part) else { return Taken::Nothing };
        self.queue(request);
        let at = &mut self.requests[request];
        let node = at.node;
        if let Some(piece) = at.here.pop_front() {
            return self.taken(request, piece);
        }
        match at.end.take() {
            Some(result) => self.ended(request, result),
            None if node == 0 => self.take_own(request),
            None => Taken::Nothing,
        }
    }

    fn is_sent(&self, part: usize) -> bool {
        self.open(part).is_some_and(|request| self.requests[request].is_queued)
    }

    fn give_up(&mut self, part: usize) -> GivenUp {
        let Some(request) = self.open(part) else { return GivenUp::UnderWay(Effect::NotSent) };
        let at = &self.requests[request];
        if let Some(result) = at.end.clone().filter(|_| at.is_queued && at.here.is_empty()) {
            self.close(request, Fact::Ended { request, result: result.clone() });
            return GivenUp::Ended(result);
        }
        let effect = match &at.end {
            Some(Err(error)) => error.effect,
            _ if at.is_written => Effect::Unknown,
            _ => Effect::NotSent,
        };
        self.close(request, Fact::GivenUp { request, effect });
        GivenUp::UnderWay(effect)
    }
}
