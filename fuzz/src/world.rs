//! A session and its owner, who does what a script says and looks whether every promise is kept.

use std::time::Duration;

use bytes::BytesMut;
use rdb_net_session::{
    CloseReason, Config, Event, Identity, InboundId, Loss, Outcome, RequestId, RequestOptions, Session,
};
use rdb_net_types::{
    BootId, ClusterId, Effect, Incarnation, Lane, MessageType, NodeAddress, NodeId, Payload, ProtocolRange, Reason,
};
use rdb_net_wire::{Body, FrameError, FrameRules, Hello, Raw, feature, frame_length};

use crate::memory;
use crate::script::{Script, Step};

const FRAME_BYTES_MAX: u32 = 4096;
const WINDOW_BYTES: u64 = 8192;
const REQUESTS_MAX: u32 = 6;

/// What an arrival may hold at once for each of its bytes: a frame of 32 bytes becomes an entry of 100 bytes in a list that may
/// just have doubled, and a message or an answer in another such list.
const ARRIVAL_FACTOR: u64 = 20;
/// What an arrival of few bytes may hold: tables that are made when they are first used.
const ARRIVAL_BYTES: u64 = 4 * 1024;
/// What a session and its owner may hold at any moment, however long its script is: what waits on two lanes within the credits,
/// in buffers that may just have doubled, and what arrives.
const SESSION_BYTES_MAX: u64 = 192 * 1024;

/// What a session may write to one that said this hello.
const RULES: FrameRules = FrameRules { fragments: true, streams: true, ..FrameRules::plain(false) };

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

/// A hello that the session accepts.
pub(crate) fn hello(name: &str) -> Hello {
    Hello {
        cluster: ClusterId::new("fuzz").expect("legal"),
        node: node(name),
        target: None,
        incarnation: Incarnation::first_of(1),
        boot: BootId(7),
        address: NodeAddress::new("10.0.0.1", 7000).expect("legal"),
        protocol: ProtocolRange::CURRENT,
        features: feature::LANES | feature::FRAGMENTS | feature::STREAMS,
        codecs: Vec::new(),
        frame_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: 4 * FRAME_BYTES_MAX,
        requests_max: REQUESTS_MAX,
        credits: vec![WINDOW_BYTES; 4],
        liveness_ms: 5000,
        checksum: true,
        channel_binding: Vec::new(),
        token: Vec::new(),
        software: String::new(),
        costs: Vec::new(),
    }
}

fn config(checksum: bool) -> Config {
    Config {
        checksum,
        frame_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: 4 * FRAME_BYTES_MAX,
        requests_max: REQUESTS_MAX,
        lane_credit_bytes: [WINDOW_BYTES; 4],
        batch_bytes: 600,
        ..Config::default()
    }
}

fn identity() -> Identity {
    Identity {
        cluster: ClusterId::new("fuzz").expect("legal"),
        node: node("self"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(1),
        address: NodeAddress::new("10.0.0.2", 7000).expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    }
}

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
    Outcome(RequestId, Option<Outcome>),
    Wrote(Vec<u8>),
}

/// Plays the script in one piece and cut, and compares what the owner saw.
pub(crate) fn play(script: &Script, pieces: usize) {
    memory::within(SESSION_BYTES_MAX, "a session", || World::new(script, Cut::Whole, false).play(script));
    let whole = World::new(script, Cut::Whole, true).play(script);
    for pieces in [1, pieces] {
        let cut = World::new(script, Cut::Pieces(pieces), true).play(script);
        if let Some(at) = (0..whole.len().max(cut.len())).find(|at| whole.get(*at) != cut.get(*at)) {
            panic!("in pieces of {pieces}, number {at} is {:?} instead of {:?}", cut.get(at), whole.get(at));
        }
    }
}

struct World {
    session: Session,
    accepts: bool,
    cut: Cut,
    /// Whether what is seen is kept.
    keeps: bool,
    seen: Vec<Seen>,
    now: Duration,
    input: BytesMut,
    open: Vec<InboundId>,
    waiting: Vec<RequestId>,
    completed: Vec<RequestId>,
    closed: Option<CloseReason>,
}

impl World {
    fn new(script: &Script, cut: Cut, keeps: bool) -> Self {
        Self {
            session: Session::new(config(script.checksum), identity(), script.side.clone(), Duration::ZERO),
            accepts: script.accepts,
            cut,
            keeps,
            seen: Vec::new(),
            now: Duration::ZERO,
            input: BytesMut::new(),
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
        assert_eq!(self.waiting, [], "every request has its end");
        self.seen
    }

    fn see(&mut self, seen: Seen) {
        if self.keeps {
            self.seen.push(seen);
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Arrive(bytes) => self.arrive(bytes),
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
            let permitted = ARRIVAL_FACTOR * self.input.len() as u64 + ARRIVAL_BYTES;
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
                RULES.read(frame).expect("our own frames");
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
            let outcome = self.session.take_outcome(id);
            let position = self.waiting.iter().position(|waiting| *waiting == id);
            assert_eq!(position.is_some(), outcome.is_some(), "who waits has an outcome, and nobody else");
            position.map(|position| self.waiting.remove(position));
            assert_eq!(self.session.take_outcome(id), None, "once only");
            self.see(Seen::Outcome(id, outcome));
        }
    }

    /// What holds at any moment.
    fn check(&self) {
        assert_eq!(self.session.is_closed(), self.closed.is_some(), "the end is told");
        assert_eq!(self.session.poll_timeout().is_none(), self.session.is_closed(), "only the dead have no timer");
        assert_eq!(self.session.inbound_open() as usize, self.open.len(), "every message has one end");
        let charged = 2 * (WINDOW_BYTES + u64::from(FRAME_BYTES_MAX) + 64) / 96 + 2;
        assert!(u64::from(self.session.inbound_open()) <= charged, "no more messages than credits");
        assert!(self.session.requests_in_flight() <= self.waiting.len(), "nobody's request is in flight");
    }
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
