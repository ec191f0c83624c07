//! A session and its owner, who does what a script says and looks whether every promise is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rdb_net_session::{
    Budget, CloseReason, Event, InboundId, Loss, Outcome, Reply, RequestId, RequestOptions, Session, StreamNews,
};
use rdb_net_types::{Effect, Lane, MessageType, Payload, Reason};
use rdb_net_wire::{Body, FRAGMENT_BYTES_MIN, Flags, FrameError, HEAD_BYTES, Prepared, Raw, frame_length, split_frame};

use crate::lanes::Streams;
use crate::memory;
use crate::script::{Script, Step};
use crate::sides::{FRAME_BYTES_MAX, WINDOW_BYTES, WINDOW_BYTES_FIRST, config, identity, rules};

/// What an arrival may hold at once for each of its bytes: a frame of 32 bytes becomes an entry of 100 bytes in a list that may
/// just have doubled, and a message or an answer in another such list.
const ARRIVAL_FACTOR: u64 = 20;
/// What an arrival of few bytes may hold: tables that are made when they are first used.
const ARRIVAL_BYTES: u64 = 4 * 1024;
/// What a codec may hold while it compresses an answer to what arrived: its table.
const CODEC_BYTES: u64 = 40 * 1024;
/// What a session and its owner may hold at any moment beyond its budget, however long its script is: what waits on four lanes
/// within the credits, in buffers that may just have doubled, and what arrives.
const SESSION_BYTES_MAX: u64 = 320 * 1024;
/// A fragment may come with as many bytes as it has itself that are gone in a moment, and keeps both.
const BUDGET_FACTOR: u64 = 2;

/// How what arrives is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Whole,
    /// Into pieces of so many bytes.
    Pieces(usize),
}

/// What the owner of a session sees.
#[derive(Debug, PartialEq)]
enum Seen {
    Event(Event),
    Message { message_type: MessageType, correlation: u64, lane: Lane, deadline: Option<Duration>, body: Body },
    Item(RequestId, Reply),
    Outcome(RequestId, Option<Outcome>),
    Wrote(Vec<u8>),
}

/// Plays the script in one piece and cut, and compares what the owner saw.
pub(crate) fn play(script: &Script, pieces: usize) {
    let permitted = SESSION_BYTES_MAX + BUDGET_FACTOR * script.budget_bytes;
    memory::within(permitted, "a session", || World::new(script, Cut::Whole, false).play(script));
    let whole = World::new(script, Cut::Whole, true).play(script);
    for pieces in [1, pieces] {
        let cut = World::new(script, Cut::Pieces(pieces), true).play(script);
        if let Some(at) = (0..whole.len().max(cut.len())).find(|at| whole.get(*at) != cut.get(*at)) {
            panic!("in pieces of {pieces}, number {at} is {:?} instead of {:?}", cut.get(at), whole.get(at));
        }
    }
}

/// Plays the script once, for what holds whatever comes.
pub(crate) fn play_once(script: &Script) {
    let permitted = SESSION_BYTES_MAX + BUDGET_FACTOR * script.budget_bytes;
    memory::within(permitted, "a session", || World::new(script, Cut::Whole, false).play(script));
}

pub(crate) struct World {
    pub(crate) session: Session,
    budget: Arc<Budget>,
    accepts: bool,
    compresses: bool,
    slow: bool,
    cut: Cut,
    /// Whether what is seen is kept.
    keeps: bool,
    seen: Vec<Seen>,
    pub(crate) now: Duration,
    input: BytesMut,
    /// Where each lane has a stream of its own.
    pub(crate) streams: Option<Streams>,
    open: Vec<InboundId>,
    waiting: Vec<RequestId>,
    completed: Vec<RequestId>,
    closed: Option<CloseReason>,
}

impl World {
    fn new(script: &Script, cut: Cut, keeps: bool) -> Self {
        let budget = Budget::process(script.budget_bytes);
        let mut session = Session::new(config(script), identity(), script.side.clone(), Duration::ZERO);
        session.set_budget(&budget);
        if script.apart {
            session.set_apart();
        }
        Self {
            session,
            budget,
            accepts: script.accepts,
            compresses: script.compresses,
            slow: script.slow,
            cut,
            keeps,
            seen: Vec::new(),
            now: Duration::ZERO,
            input: BytesMut::new(),
            streams: script.apart.then(Streams::default),
            open: Vec::new(),
            waiting: Vec::new(),
            completed: Vec::new(),
            closed: None,
        }
    }

    fn play(mut self, script: &Script) -> Vec<Seen> {
        for step in &script.steps {
            self.apply(step);
            self.collect();
            self.check();
        }
        self.write();
        self.session.handle_lost(Loss::Eof);
        self.collect();
        self.check();
        assert!(self.closed.is_some(), "a lost connection has ended");
        self.waiting.clone().into_iter().for_each(|id| while self.take_item(id) {});
        assert_eq!(self.waiting, [], "every request has its end");
        self.open.drain(..).for_each(|id| self.session.finish(id));
        let Self { session, budget, seen, .. } = self;
        let widened = Lane::ALL.len() as u64 * (WINDOW_BYTES - WINDOW_BYTES_FIRST);
        assert!(budget.reserved_bytes() <= widened, "{} bytes are reserved for nothing", budget.reserved_bytes());
        drop(session);
        assert_eq!(budget.reserved_bytes(), 0, "a session leaves nothing behind");
        seen
    }

    fn see(&mut self, seen: Seen) {
        if self.keeps {
            self.seen.push(seen);
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Arrive(bytes) if self.streams.is_some() => self.arrive_apart(bytes),
            Step::Arrive(bytes) => self.arrive(bytes),
            Step::ArriveOn(lane, bytes) => self.arrive_on(*lane, bytes),
            Step::Wait(span) => self.wait(*span),
            Step::Request { lane, timeout, bytes } => {
                let options = RequestOptions { lane: *lane, timeout: *timeout, idempotent: false };
                if let Ok(id) = self.session.request(options, &message(*bytes)) {
                    assert!(!self.waiting.contains(&id), "an id is used once");
                    self.waiting.push(id);
                }
                self.session.tell_time(self.now);
            }
            Step::OneWay { lane, bytes } => drop(self.session.one_way(*lane, &message(*bytes))),
            Step::Stream { lane, window_bytes, bytes } => {
                let options = RequestOptions { lane: *lane, timeout: None, idempotent: false };
                let mut prepared = Prepared::new(&message(*bytes));
                if let Ok(id) = self.session.open_stream(options, *window_bytes, &mut prepared) {
                    self.waiting.push(id);
                }
                self.session.tell_time(self.now);
            }
            Step::TakeItem(which) => {
                if let Some(id) = self.waiting.get(*which).copied() {
                    self.take_item(id);
                }
            }
            Step::ReplyItem { which, bytes } => {
                if let Some(id) = self.open.get(*which) {
                    let stream = id.stream();
                    let _no_credit = self.session.reply_item(stream, &message(*bytes));
                }
            }
            Step::Cancel(which) => {
                if let Some(id) = self.waiting.get(*which).copied() {
                    self.waiting.remove(*which);
                    self.session.cancel(self.now, id);
                }
            }
            Step::Reply { which, bytes } => {
                if let Some(id) = self.take(*which) {
                    let _too_large = self.session.reply(id, &message(*bytes));
                }
            }
            Step::ReplyError(which) => {
                if let Some(id) = self.take(*which) {
                    self.session.reply_error(id, Effect::Unknown, Reason::HandlerFailed, "failed");
                }
            }
            Step::Finish(which) => {
                if let Some(id) = self.take(*which) {
                    self.session.finish(id);
                }
            }
            Step::Write => self.write(),
            Step::Drain => self.session.drain(self.now),
            Step::Close => self.session.close(CloseReason::Local),
            Step::Lose => self.session.handle_lost(Loss::Reset),
        }
    }

    fn take(&mut self, which: usize) -> Option<InboundId> {
        (which < self.open.len()).then(|| self.open.remove(which))
    }

    /// Bytes arrive. What they may hold is bounded by how many they are, whatever they declare.
    fn arrive(&mut self, bytes: &[u8]) {
        let piece_bytes = match self.cut {
            Cut::Whole => bytes.len().max(1),
            Cut::Pieces(piece_bytes) => piece_bytes.max(1),
        };
        for piece in bytes.chunks(piece_bytes) {
            if self.session.is_closed() {
                return;
            }
            self.input.extend_from_slice(piece);
            let wanted = self.session.terms().bytes_wanted(&self.input);
            assert!(wanted <= 2 * FRAME_BYTES_MAX as usize, "{wanted} bytes of room are asked for");
            let codec_bytes = if self.compresses { CODEC_BYTES } else { 0 };
            let fixed = ARRIVAL_BYTES + codec_bytes;
            let permitted = ARRIVAL_FACTOR * self.input.len() as u64 + fixed + unpacked(&self.input);
            let Self { session, input, now, cut, .. } = self;
            match cut {
                Cut::Whole => memory::within(permitted, "an arrival", || session.handle_input(*now, input)),
                Cut::Pieces(_) => session.handle_input(*now, input),
            }
            assert!(self.input.len() < 2 * FRAME_BYTES_MAX as usize, "whole frames are taken out");
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.session.handle_timeout(self.now);
            let next = self.session.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "the timer rings without end");
        }
        self.now = end;
    }

    /// Writes all that waits, and looks whether it is frames that the other side reads.
    fn write(&mut self) {
        if self.streams.is_some() {
            return self.write_apart();
        }
        for _ in 0..10_000 {
            let Some(mut batch) = self.session.take_batch(self.now) else {
                assert!(!self.session.wants_write(), "who wants to write has something to write");
                return;
            };
            batch.seal(self.now);
            let bytes = batch.buffer().to_vec();
            self.session.recycle(batch);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let whole = frame_length(rest, u32::MAX).expect("our own frames").expect("a batch is whole frames");
                let (frame, behind) = rest.split_at(whole);
                rules().read(frame).expect("our own frames");
                rest = behind;
            }
            self.see(Seen::Wrote(bytes));
        }
        panic!("a session writes without end");
    }

    fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match &event {
                Event::Hello(_) if self.accepts => self.session.accept(self.now),
                Event::Hello(_) => self.session.reject(rdb_net_types::RefusalReason::Draining),
                Event::Closed(reason) => {
                    assert_eq!(self.closed.replace(*reason), None, "a session ends once");
                }
                _ => {}
            }
            self.see(Seen::Event(regardless_of_cut(event)));
        }
        for lane in Lane::ALL {
            while let Some(inbound) = self.session.poll_message(lane) {
                let (message_type, correlation) = (inbound.message_type, inbound.id.correlation());
                let (lane, deadline, body) = (inbound.lane, inbound.deadline, inbound.body);
                self.see(Seen::Message { message_type, correlation, lane, deadline, body });
                self.open.push(inbound.id);
            }
        }
        self.session.drain_completed(&mut self.completed);
        for id in std::mem::take(&mut self.completed) {
            if self.session.is_stream(id) {
                while !self.slow && self.take_item(id) {}
                continue;
            }
            let outcome = self.session.take_outcome(id);
            let position = self.waiting.iter().position(|waiting| *waiting == id);
            assert_eq!(position.is_some(), outcome.is_some(), "who waits has an outcome, and nobody else");
            self.ended(id, outcome);
        }
    }

    fn ended(&mut self, id: RequestId, mut outcome: Option<Outcome>) {
        if let Some(Ok(reply)) = &mut outcome {
            reply.release();
        }
        self.waiting.retain(|waiting| *waiting != id);
        assert_eq!(self.session.take_outcome(id), None, "once only");
        self.see(Seen::Outcome(id, outcome));
    }

    /// Takes what came next of a stream. `false` where nothing did.
    fn take_item(&mut self, id: RequestId) -> bool {
        if !self.session.is_stream(id) {
            return false;
        }
        match self.session.take_stream(id) {
            None => false,
            Some(StreamNews::Reply(reply)) => {
                self.see(Seen::Item(id, reply));
                true
            }
            Some(StreamNews::End(outcome)) => {
                assert!(self.waiting.contains(&id), "who waits has an outcome, and nobody else");
                self.ended(id, Some(outcome));
                false
            }
        }
    }

    /// What holds at any moment.
    fn check(&self) {
        assert_eq!(self.session.is_closed(), self.closed.is_some(), "the end is told");
        assert_eq!(self.session.poll_timeout().is_none(), self.session.is_closed(), "only the dead have no timer");
        assert_eq!(self.session.inbound_open() as usize, self.open.len(), "every message has one end");
        let charged = 4 * (WINDOW_BYTES + u64::from(FRAME_BYTES_MAX) + 64) / 96 + 4;
        let reserved = self.budget.limit_bytes() / u64::from(FRAGMENT_BYTES_MIN);
        assert!(u64::from(self.session.inbound_open()) <= charged + reserved, "no more messages than credits");
        assert!(self.budget.reserved_bytes() <= self.budget.limit_bytes(), "no more than may be reserved");
        assert!(self.session.requests_in_flight() <= self.waiting.len(), "nobody's request is in flight");
    }
}

/// How many bytes the compressed bodies among these frames may become.
fn unpacked(input: &[u8]) -> u64 {
    let (mut rest, mut bytes) = (input, 0);
    while let Some((frame, behind)) = split_frame(rest) {
        if frame.len() >= HEAD_BYTES && Flags(u16::from_be_bytes([frame[12], frame[13]])).has(Flags::CODEC) {
            let raw = u32::from_be_bytes([frame[28], frame[29], frame[30], frame[31]]);
            bytes += u64::from(raw.min(FRAME_BYTES_MAX));
        }
        rest = behind;
    }
    bytes
}

/// A wrong magic is told from its first wrong byte, hence with as much of it as had come.
fn regardless_of_cut(event: Event) -> Event {
    match event {
        Event::Closed(CloseReason::Frame(FrameError::Magic { .. })) => {
            Event::Closed(CloseReason::Frame(FrameError::Magic { found: [0; 4] }))
        }
        other => other,
    }
}

fn message(bytes: usize) -> Raw {
    Raw { message_type: MessageType(0x8001), payload: Payload::from(vec![7; bytes]) }
}
