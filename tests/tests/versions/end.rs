//! One side of a connection, of either version, behind one set of calls.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use rdb_net_types::{
    BootId, ClusterId, ClusterMessage, Effect, Incarnation, Lane, MessageType, NodeAddress, NodeId, ProtocolRange,
    Reason,
};

/// Limits that both versions have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) frame_bytes_max: u32,
    pub(crate) requests_max: u32,
    pub(crate) window_bytes: u64,
    /// What peers may make a process of today's version hold beyond credits.
    pub(crate) budget_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_bytes_max: 16 * 1024, requests_max: 8, window_bytes: 32 * 1024, budget_bytes: u64::MAX }
    }
}

/// How a request ended: what its answer says, or what went wrong.
pub(crate) type Outcome = Result<(MessageType, Vec<u8>), (Effect, Reason)>;

/// A message that has arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// The number by which it is answered.
    pub(crate) number: u64,
    /// 0 for a one-way message.
    pub(crate) correlation: u64,
    pub(crate) lane: Lane,
    pub(crate) message: ClusterMessage,
}

/// What both versions can.
pub(crate) trait End: Debug {
    fn feed(&mut self, now: Duration, bytes: &[u8]);
    /// The next bytes for the socket.
    fn write(&mut self, now: Duration) -> Option<Vec<u8>>;
    fn tick(&mut self, now: Duration);
    fn poll_timeout(&self) -> Option<Duration>;
    /// The correlation id; `None` where the session takes no request at the moment, or never.
    fn request(
        &mut self,
        now: Duration,
        lane: Lane,
        timeout: Option<Duration>,
        message: &ClusterMessage,
    ) -> Option<u64>;
    /// Whether it was taken.
    fn one_way(&mut self, lane: Lane, message: &ClusterMessage) -> bool;
    fn cancel(&mut self, now: Duration, correlation: u64);
    /// The requests that have ended since the last call.
    fn outcomes(&mut self) -> Vec<(u64, Outcome)>;
    /// The messages that have arrived since the last call.
    fn arrived(&mut self) -> Vec<Arrived>;
    fn reply(&mut self, number: u64, message: &ClusterMessage);
    fn reply_error(&mut self, number: u64, reason: Reason);
    fn finish(&mut self, number: u64);
    fn drain(&mut self, now: Duration);
    fn is_up(&self) -> bool;
    /// How many messages and requests are not ended.
    fn open(&self) -> usize;
    /// Why the connection has ended.
    fn ended(&self) -> Option<String>;
    /// The requests that the other side has given up.
    fn cancelled(&self) -> &[u64];
}

fn name(text: &str) -> NodeId {
    NodeId::new(text).expect("legal")
}

/// Writes an end of one version.
macro_rules! end {
    ($version:ident, $session:ident, $wire:ident, $name:literal, $config:expr, $budget:expr, $one_way:expr) => {
        pub(crate) mod $version {
            use bytes::BytesMut;
            use $session::{Config, Event, Identity, InboundId, RequestId, RequestOptions, Session, Side};

            use super::*;

            /// A session, with what its owner would hold.
            #[derive(Debug)]
            pub(crate) struct Side_ {
                session: Session,
                input: BytesMut,
                requests: Vec<RequestId>,
                inbound: VecDeque<(u64, InboundId)>,
                next_number: u64,
                ended: Option<String>,
                cancelled: Vec<u64>,
            }

            impl Side_ {
                fn new(limits: Limits, side: Side) -> Self {
                    let is_dialer = matches!(side, Side::Dialer { .. });
                    let identity = Identity {
                        cluster: ClusterId::new("test").expect("legal"),
                        node: name(if is_dialer { "dialer" } else { "acceptor" }),
                        incarnation: Incarnation::first_of(1),
                        boot: BootId(u64::from(is_dialer)),
                        address: NodeAddress::new("10.0.0.1", 7000).expect("legal"),
                        protocol: ProtocolRange::CURRENT,
                        software: $name.to_owned(),
                        token: Vec::new(),
                    };
                    let configure: fn(Limits) -> Config = $config;
                    let mut session = Session::new(configure(limits), identity, side, Duration::ZERO);
                    let limit: fn(&mut Session, u64) = $budget;
                    limit(&mut session, limits.budget_bytes);
                    Self {
                        session,
                        input: BytesMut::new(),
                        requests: Vec::new(),
                        inbound: VecDeque::new(),
                        next_number: 0,
                        ended: None,
                        cancelled: Vec::new(),
                    }
                }

                fn collect(&mut self, now: Duration) {
                    while let Some(event) = self.session.poll_event() {
                        match event {
                            Event::Hello(_) => self.session.accept(now),
                            Event::Cancelled { correlation } => self.cancelled.push(correlation),
                            Event::Closed(reason) => {
                                assert_eq!(self.ended, None, "a session ends once");
                                self.ended = Some(reason.to_string());
                            }
                            _ => {}
                        }
                    }
                }

                fn take(&mut self, number: u64) -> InboundId {
                    let at = self.inbound.iter().position(|(known, _)| *known == number).expect("it has arrived");
                    self.inbound.remove(at).expect("it is there").1
                }
            }

            pub(crate) fn dialer(limits: Limits) -> Box<dyn End> {
                Box::new(Side_::new(limits, Side::Dialer { target: Some(name("acceptor")) }))
            }

            pub(crate) fn acceptor(limits: Limits) -> Box<dyn End> {
                Box::new(Side_::new(limits, Side::Acceptor))
            }

            impl End for Side_ {
                fn feed(&mut self, now: Duration, bytes: &[u8]) {
                    self.input.extend_from_slice(bytes);
                    self.session.handle_input(now, &mut self.input);
                    self.collect(now);
                }

                fn write(&mut self, now: Duration) -> Option<Vec<u8>> {
                    let mut batch = self.session.take_batch(now)?;
                    batch.seal(now);
                    let bytes = batch.buffer().to_vec();
                    self.session.recycle(batch);
                    self.collect(now);
                    Some(bytes)
                }

                fn tick(&mut self, now: Duration) {
                    self.session.handle_timeout(now);
                    self.collect(now);
                }

                fn poll_timeout(&self) -> Option<Duration> {
                    self.session.poll_timeout()
                }

                fn request(
                    &mut self,
                    now: Duration,
                    lane: Lane,
                    timeout: Option<Duration>,
                    message: &ClusterMessage,
                ) -> Option<u64> {
                    let options = RequestOptions { lane, timeout, idempotent: true };
                    let id = self.session.request(options, message).ok()?;
                    self.session.tell_time(now);
                    self.requests.push(id);
                    Some(id.correlation())
                }

                fn one_way(&mut self, lane: Lane, message: &ClusterMessage) -> bool {
                    let send: fn(&mut Session, Lane, &ClusterMessage) -> bool = $one_way;
                    send(&mut self.session, lane, message)
                }

                fn cancel(&mut self, now: Duration, correlation: u64) {
                    let at = self.requests.iter().position(|id| id.correlation() == correlation);
                    let id = self.requests.swap_remove(at.expect("it is waited for"));
                    self.session.cancel(now, id);
                    self.collect(now);
                }

                fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
                    let mut completed = Vec::new();
                    self.session.drain_completed(&mut completed);
                    let outcome = |id: RequestId| {
                        let outcome = self.session.take_outcome(id)?;
                        self.requests.retain(|known| *known != id);
                        let outcome = outcome
                            .map(|reply| (reply.message_type, reply.body.into_bytes().to_vec()))
                            .map_err(|error| (error.effect, error.reason));
                        Some((id.correlation(), outcome))
                    };
                    completed.into_iter().filter_map(outcome).collect()
                }

                fn arrived(&mut self) -> Vec<Arrived> {
                    let mut arrived = Vec::new();
                    for lane in Lane::ALL {
                        while let Some(inbound) = self.session.poll_message(lane) {
                            let number = self.next_number;
                            self.next_number += 1;
                            arrived.push(Arrived {
                                number,
                                correlation: inbound.id.correlation(),
                                lane: inbound.lane,
                                message: $wire::decode_cluster_message(inbound.message_type, inbound.body)
                                    .expect("both versions have the same messages"),
                            });
                            self.inbound.push_back((number, inbound.id));
                        }
                    }
                    arrived
                }

                fn reply(&mut self, number: u64, message: &ClusterMessage) {
                    let id = self.take(number);
                    self.session.reply(id, message).expect("it fits a frame");
                }

                fn reply_error(&mut self, number: u64, reason: Reason) {
                    let id = self.take(number);
                    self.session.reply_error(id, Effect::Unknown, reason, "as it was told");
                }

                fn finish(&mut self, number: u64) {
                    let id = self.take(number);
                    self.session.finish(id);
                }

                fn drain(&mut self, now: Duration) {
                    self.session.drain(now);
                    self.collect(now);
                }

                fn is_up(&self) -> bool {
                    self.session.is_up()
                }

                fn open(&self) -> usize {
                    self.session.requests_in_flight() + self.session.inbound_open() as usize
                }

                fn ended(&self) -> Option<String> {
                    self.ended.clone()
                }

                fn cancelled(&self) -> &[u64] {
                    &self.cancelled
                }
            }
        }
    };
}

end!(
    previous,
    rdb_net_session_previous,
    rdb_net_wire_previous,
    "previous",
    |limits| Config {
        frame_bytes_max: limits.frame_bytes_max,
        requests_max: limits.requests_max,
        lane_credit_bytes: [limits.window_bytes; 4],
        batch_bytes: 2000,
        ..Config::default()
    },
    |_, _| (),
    |session, lane, message| session.one_way(lane, message).is_ok()
);

// Larger messages are encoded before they are offered, as the transport does it.
// The windows begin smaller than they may become, as by default; everything is compressed that may be.
end!(
    today,
    rdb_net_session,
    rdb_net_wire,
    "today",
    |limits| Config {
        frame_bytes_max: limits.frame_bytes_max,
        requests_max: limits.requests_max,
        lane_credit_bytes: [limits.window_bytes; 4],
        lane_credit_bytes_first: [limits.window_bytes / 4; 4],
        compression: rdb_net_session::CompressionConfig::default(),
        batch_bytes: 2000,
        ..Config::default()
    },
    |session, bytes| session.set_budget(&rdb_net_session::Budget::process(bytes)),
    |session, lane, message| {
        if rdb_net_wire::Encode::bytes_at_least(message) < 5000 {
            return session.one_way(lane, message).is_ok();
        }
        session.one_way_prepared(lane, &mut rdb_net_wire::Prepared::new(message)).is_ok()
    }
);
