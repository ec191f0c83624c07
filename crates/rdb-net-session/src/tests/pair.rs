//! The harness: two sessions, a byte pipe either way that is cut into pieces at will, and a clock that only tests move.

use std::time::Duration;

use bytes::BytesMut;
use rdb_net_types::{BootId, ClusterId, Incarnation, Lane, MessageType, NodeAddress, NodeId, Payload, ProtocolRange};
use rdb_net_wire::{Encode, Flags, FrameBuffer, FrameHead, Raw};

use crate::{CloseReason, Config, Event, Identity, Inbound, Outcome, RequestId, RequestOptions, Session, Side};

/// A message type of the application's own.
pub(super) const ASK: MessageType = MessageType(0x8001);
/// The type of its answers.
pub(super) const TELL: MessageType = MessageType(0x8002);

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

pub(super) fn identity(name: &str) -> Identity {
    Identity {
        cluster: ClusterId::new("test").expect("legal"),
        node: NodeId::new(name).expect("legal"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(u64::from(name.as_bytes()[0])),
        address: NodeAddress::new("10.0.0.1", 7000).expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: "test".to_owned(),
        token: Vec::new(),
    }
}

/// An application's message of so many bytes.
pub(super) fn message(bytes: usize) -> Raw {
    Raw { message_type: ASK, payload: Payload::from(vec![7; bytes]) }
}

pub(super) fn answer(text: &'static str) -> Raw {
    Raw { message_type: TELL, payload: Payload::from(text) }
}

pub(super) fn on(lane: Lane) -> RequestOptions {
    RequestOptions { lane, timeout: None, idempotent: false }
}

pub(super) fn within(timeout: Duration) -> RequestOptions {
    RequestOptions { timeout: Some(timeout), ..on(Lane::Interactive) }
}

/// The bytes of one frame, as a peer of any intention would write it.
pub(super) fn frame(message: &impl Encode, flags: Flags, lane: Lane, correlation: u64) -> Vec<u8> {
    let head =
        FrameHead { message_type: message.message_type(), flags: flags.with(Flags::CHECKSUM), lane, correlation };
    let mut buffer = FrameBuffer::new();
    let mark = buffer.push(head, message, 16 * 1024 * 1024).expect("small enough");
    buffer.seal(&mark, 0);
    buffer.to_vec()
}

pub(super) fn control(message: &impl Encode) -> Vec<u8> {
    frame(message, Flags::ONE_WAY, Lane::System, 0)
}

/// One session with what its owner would hold.
#[derive(Debug)]
pub(super) struct End {
    pub(super) session: Session,
    /// Bytes that it has written and the other side has not read.
    pub(super) wire: Vec<u8>,
    input: BytesMut,
    pub(super) events: Vec<Event>,
    /// Whether a dialer is let in as soon as its hello is here.
    pub(super) accepts: bool,
}

impl End {
    pub(super) fn new(config: Config, identity: Identity, side: Side) -> Self {
        let session = Session::new(config, identity, side, Duration::ZERO);
        Self { session, wire: Vec::new(), input: BytesMut::new(), events: Vec::new(), accepts: true }
    }

    /// Lets bytes arrive.
    pub(super) fn feed(&mut self, now: Duration, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.handle_input(now, &mut self.input);
        self.collect(now);
    }

    pub(super) fn collect(&mut self, now: Duration) {
        while let Some(event) = self.session.poll_event() {
            if self.accepts && matches!(event, Event::Hello(_)) {
                self.session.accept(now);
            }
            self.events.push(event);
        }
    }

    /// Writes one batch; returns its length.
    pub(super) fn write_batch(&mut self, now: Duration) -> Option<usize> {
        let mut batch = self.session.take_batch(now)?;
        batch.seal(now);
        let bytes = batch.buffer().to_vec();
        self.wire.extend_from_slice(&bytes);
        self.session.recycle(batch);
        self.collect(now);
        Some(bytes.len())
    }

    /// Writes everything that waits. Whatever wants to be written must be there.
    pub(super) fn write_all(&mut self, now: Duration) {
        for _ in 0..100_000 {
            if self.write_batch(now).is_none() {
                assert!(!self.session.wants_write(), "a session that wants to write has something to write");
                self.collect(now);
                return;
            }
        }
        panic!("a session writes without end");
    }

    pub(super) fn pop(&mut self) -> Option<Inbound> {
        Lane::ALL.into_iter().find_map(|lane| self.session.poll_message(lane))
    }

    pub(super) fn pop_all(&mut self) -> Vec<Inbound> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        let mut reasons = self.events.iter().filter_map(|event| match event {
            Event::Closed(reason) => Some(*reason),
            _ => None,
        });
        let first = reasons.next();
        assert_eq!(reasons.next(), None, "a session ends once");
        assert_eq!(first.is_some(), self.session.is_closed(), "its end is told");
        first
    }

    /// How often this kind of event came.
    pub(super) fn count(&self, kind: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| kind(event)).count()
    }

    pub(super) fn is_writable_told(&mut self) -> bool {
        let told = self.count(|event| *event == Event::Writable) > 0;
        self.events.retain(|event| *event != Event::Writable);
        told
    }
}

/// A dialer and an acceptor.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) now: Duration,
    pub(super) dialer: End,
    pub(super) acceptor: End,
}

impl Pair {
    /// Before the hello.
    pub(super) fn new(dialer: Config, acceptor: Config) -> Self {
        let dialer = End::new(dialer, identity("dialer"), Side::Dialer { target: None });
        let acceptor = End::new(acceptor, identity("acceptor"), Side::Acceptor);
        Self { now: Duration::ZERO, dialer, acceptor }
    }

    /// After the hello.
    pub(super) fn up(config: Config) -> Self {
        Self::up_with(config.clone(), config)
    }

    pub(super) fn up_with(dialer: Config, acceptor: Config) -> Self {
        let mut pair = Self::new(dialer, acceptor);
        pair.drive();
        assert!(pair.dialer.session.is_up() && pair.acceptor.session.is_up());
        pair
    }

    pub(super) fn feed_acceptor(&mut self) {
        self.dialer.write_all(self.now);
        let bytes = std::mem::take(&mut self.dialer.wire);
        self.acceptor.feed(self.now, &bytes);
    }

    pub(super) fn feed_dialer(&mut self) {
        self.acceptor.write_all(self.now);
        let bytes = std::mem::take(&mut self.acceptor.wire);
        self.dialer.feed(self.now, &bytes);
    }

    /// Moves bytes until both are silent.
    pub(super) fn drive(&mut self) {
        for _ in 0..1000 {
            self.feed_acceptor();
            self.feed_dialer();
            if !self.dialer.session.wants_write() && !self.acceptor.session.wants_write() {
                self.dialer.collect(self.now);
                self.acceptor.collect(self.now);
                return;
            }
        }
        panic!("the two never fall silent");
    }

    /// Lets time pass; every timer rings when it is due, and what it causes is delivered at once.
    pub(super) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            let due = [self.dialer.session.poll_timeout(), self.acceptor.session.poll_timeout()];
            let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            ring(&mut self.dialer, self.now);
            ring(&mut self.acceptor, self.now);
            self.drive();
        }
        panic!("time stands still");
    }

    pub(super) fn request(&mut self, options: RequestOptions) -> RequestId {
        let id = self.dialer.session.request(options, &message(8)).expect("the session takes requests");
        self.dialer.session.tell_time(self.now);
        id
    }

    pub(super) fn outcome(&mut self, id: RequestId) -> Option<Outcome> {
        self.dialer.session.take_outcome(id)
    }

    /// The effect and reason of a request that failed, as words.
    #[track_caller]
    pub(super) fn failure(&mut self, id: RequestId) -> (rdb_net_types::Effect, rdb_net_types::Reason) {
        let error = self.outcome(id).expect("the request has ended").expect_err("it ended without a reply");
        (error.effect, error.reason)
    }

    pub(super) fn reply_to_all(&mut self) -> usize {
        let messages = self.acceptor.pop_all();
        let count = messages.len();
        for inbound in messages {
            self.acceptor.session.reply(inbound.id, &answer("done")).expect("small enough");
        }
        count
    }
}

/// Lets a session's timer ring, and sees that it does not ring again at once.
pub(super) fn ring(end: &mut End, now: Duration) {
    end.session.handle_timeout(now);
    let next = end.session.poll_timeout();
    assert!(next.is_none_or(|next| next > now), "the timer of {next:?} rings without end at {now:?}");
    end.collect(now);
}
