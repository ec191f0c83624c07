//! Streams of replies: one request, many replies, and credits of its own that the caller gives as it takes them.
//!
//! A slow caller holds up its own stream and nothing else: what may come before it asks for more is told with the request, and
//! is reserved as memory when the stream is opened.

use std::collections::{BTreeMap, VecDeque};

use crate::budget::Reservation;
use crate::event::Reply;

/// What a reply costs beside its bytes.
const ITEM_CHARGE: u64 = 64;

/// What a reply of this length costs of its stream's credits.
pub(crate) fn item_charge(body_bytes: usize) -> u64 {
    body_bytes as u64 + ITEM_CHARGE
}

/// A stream of replies, as its caller's side has it.
#[derive(Debug)]
pub(crate) struct StreamIn {
    items: VecDeque<Reply>,
    window: u64,
    received: u64,
    taken: u64,
    /// What the other side was told that it may send in all.
    limit: u64,
    /// A higher limit waits to be told.
    pub(crate) is_limit_due: bool,
    #[expect(dead_code, reason = "it is held, and released by being dropped")]
    reservation: Reservation,
}

impl StreamIn {
    pub(crate) fn new(window: u32, reservation: Reservation) -> Self {
        let window = u64::from(window);
        Self { items: VecDeque::new(), window, received: 0, taken: 0, limit: window, is_limit_due: false, reservation }
    }

    /// Takes a reply in. `false` when the other side had no credits for it.
    pub(crate) fn push(&mut self, reply: Reply) -> bool {
        let had_credits = self.received < self.limit;
        self.received += item_charge(reply.body.len());
        self.items.push_back(reply);
        had_credits
    }

    /// The next reply. Returns with it whether a higher limit waits to be told since: when half a window was taken.
    pub(crate) fn pop(&mut self) -> Option<(Reply, bool)> {
        let mut reply = self.items.pop_front()?;
        reply.release();
        self.taken += item_charge(reply.body.len());
        let is_worth_it = self.taken + self.window - self.limit >= self.window / 2;
        let is_new = is_worth_it && !self.is_limit_due;
        self.is_limit_due |= is_worth_it;
        Some((reply, is_new))
    }

    /// The limit that is to be told.
    pub(crate) fn take_limit(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.is_limit_due) {
            return None;
        }
        self.limit = self.taken + self.window;
        Some(self.limit)
    }
}

/// How far the replies to a request for a stream have come.
#[derive(Debug)]
struct StreamOut {
    sent: u64,
    limit: u64,
}

/// The streams that handlers write, by correlation id.
#[derive(Debug, Default)]
pub(crate) struct StreamsOut(BTreeMap<u64, StreamOut>);

impl StreamsOut {
    /// A request asks for a stream.
    pub(crate) fn open(&mut self, correlation: u64, window: u32) {
        self.0.insert(correlation, StreamOut { sent: 0, limit: u64::from(window) });
    }

    pub(crate) fn close(&mut self, correlation: u64) {
        self.0.remove(&correlation);
    }

    /// Whether a reply may be sent; `None` where there is no such stream.
    pub(crate) fn has_credit(&self, correlation: u64) -> Option<bool> {
        self.0.get(&correlation).map(|stream| stream.sent < stream.limit)
    }

    pub(crate) fn charge(&mut self, correlation: u64, charge: u64) {
        if let Some(stream) = self.0.get_mut(&correlation) {
            stream.sent += charge;
        }
    }

    /// Raises what may be sent; `true` when that lets a reply go.
    pub(crate) fn raise_limit(&mut self, correlation: u64, limit: u64) -> bool {
        let Some(stream) = self.0.get_mut(&correlation) else { return false };
        let was_blocked = stream.sent >= stream.limit;
        stream.limit = stream.limit.max(limit);
        was_blocked && stream.sent < stream.limit
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
