//! On which way gossip travels: UDP, sealed where the node has a key for it, or inside the connections, as datagrams where they
//! carry such and in the System lane's stream where they do not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rdb_net_membership::Passage;
use rdb_net_transport::{CallOptions, Transport};
use rdb_net_types::{Lane, MessageType, NodeAddress, NodeId, NodeInfo, Payload};
use rdb_net_wire::Raw;

use crate::config::GossipTransport;

/// How long nothing comes by UDP before gossip travels inside the connections too.
const SILENCE: Duration = Duration::from_secs(3);
/// The same for a node that has heard nothing by UDP since its start. Short, so that members which are suspected meanwhile, for
/// three seconds at least, have the time to refute it.
const SILENCE_AT_FIRST: Duration = Duration::from_millis(1500);
/// And how many packets were sent meanwhile, which somebody would have answered.
const UNANSWERED_MIN: u64 = 6;
/// How long a member that sent its gossip inside a connection is answered there.
const ANSWERED_FOR: Duration = Duration::from_secs(15);

const LOCKED: &str = "no code panics while it holds this lock";

/// Where a member is.
#[derive(Debug, Clone)]
struct Place {
    node: NodeId,
    transport: NodeAddress,
}

#[derive(Debug, Default)]
struct Book {
    by_gossip: BTreeMap<SocketAddr, Place>,
    by_node: BTreeMap<NodeId, SocketAddr>,
}

/// What is counted of gossip's ways.
#[derive(Debug, Default)]
pub(crate) struct WayCounters {
    /// Packets that left as datagrams of connections.
    pub(crate) in_datagrams: AtomicU64,
    /// Packets that left in the streams of connections.
    pub(crate) streamed: AtomicU64,
    /// Packets that could not, because there was no connection or no room.
    pub(crate) not_streamed: AtomicU64,
    /// Packets that came inside connections.
    pub(crate) received: AtomicU64,
}

/// Gossip inside connections.
pub(crate) struct Streams {
    mode: GossipTransport,
    transport: Transport,
    book: ArcSwap<Book>,
    heard: Mutex<Heard>,
    pub(crate) counters: WayCounters,
}

/// Whether UDP passes.
#[derive(Debug, Default)]
struct Heard {
    /// When a packet came by UDP last.
    at: Option<Duration>,
    /// How many were sent by UDP since.
    unanswered: u64,
    /// Until when members are answered inside their connections.
    answer_until: BTreeMap<SocketAddr, Duration>,
}

/// Whether a packet travels in the stream of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streamed {
    No,
    /// Where a connection with its member is up.
    WhereConnected,
    /// One is made where there is none.
    Yes,
}

impl Heard {
    /// A packet leaves by UDP; how it is to leave beside that. As long as nobody knows whether UDP passes, it takes every way that is
    /// there: what is told in the first moments of a node is told a few times and not again.
    fn sends(&mut self, now: Duration, to: SocketAddr) -> Streamed {
        self.unanswered += 1;
        if self.is_silent(now) || self.answer_until.get(&to).is_some_and(|until| now < *until) {
            return Streamed::Yes;
        }
        if self.at.is_none() { Streamed::WhereConnected } else { Streamed::No }
    }

    fn is_silent(&self, now: Duration) -> bool {
        // The clock began with the node.
        let (since, silence) = self.at.map_or((Duration::ZERO, SILENCE_AT_FIRST), |at| (at, SILENCE));
        self.unanswered >= UNANSWERED_MIN && now.saturating_sub(since) >= silence
    }
}

impl Streams {
    pub(crate) fn new(mode: GossipTransport, transport: Transport) -> Self {
        let book = ArcSwap::default();
        Self { mode, transport, book, heard: Mutex::default(), counters: WayCounters::default() }
    }

    /// Who is where, from here on.
    pub(crate) fn learn(&self, members: &[Arc<NodeInfo>]) {
        let mut book = Book::default();
        for member in members {
            if let Some(gossip) = member.gossip_address.as_ref().and_then(NodeAddress::to_socket_addr) {
                let place = Place { node: member.id.clone(), transport: member.address.clone() };
                book.by_gossip.insert(gossip, place);
                book.by_node.insert(member.id.clone(), gossip);
            }
        }
        self.heard.lock().expect(LOCKED).answer_until.retain(|address, _| book.by_gossip.contains_key(address));
        self.book.store(Arc::new(book));
    }

    /// Whether gossip inside connections is listened to.
    pub(crate) fn is_wanted(&self) -> bool {
        self.mode != GossipTransport::Udp
    }

    /// Whether UDP does not pass, as far as this node can tell.
    pub(crate) fn is_udp_silent(&self, now: Duration) -> bool {
        self.mode == GossipTransport::Auto && self.heard.lock().expect(LOCKED).is_silent(now)
    }

    /// From whose gossip socket a packet would have come that this node has sent inside its connection; `None` for who is no
    /// member.
    pub(crate) fn received(&self, now: Duration, from: &NodeId) -> Option<SocketAddr> {
        let address = self.received_datagram(from)?;
        self.heard.lock().expect(LOCKED).answer_until.insert(address, now + ANSWERED_FOR);
        Some(address)
    }

    /// The same of one that came as a datagram: the connection that brought it takes the answer.
    pub(crate) fn received_datagram(&self, from: &NodeId) -> Option<SocketAddr> {
        let address = self.book.load().by_node.get(from).copied()?;
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        Some(address)
    }

    /// Takes note of a packet that leaves, and sends it inside a connection where that is called for. Returns whether it is to
    /// leave by UDP as well.
    fn sends(&self, now: Duration, to: SocketAddr, packet: &[u8]) -> bool {
        if self.mode == GossipTransport::Udp {
            return true;
        }
        if self.mode != GossipTransport::Stream && self.send_datagram(to, packet) {
            return false;
        }
        let streamed = match self.mode {
            GossipTransport::Udp => Streamed::No,
            GossipTransport::Stream | GossipTransport::Quic => Streamed::Yes,
            GossipTransport::Auto => self.heard.lock().expect(LOCKED).sends(now, to),
        };
        if streamed != Streamed::No {
            if self.send(to, packet, streamed) {
                self.counters.streamed.fetch_add(1, Ordering::Relaxed);
            } else if streamed == Streamed::Yes {
                self.counters.not_streamed.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.mode == GossipTransport::Auto
    }

    /// Sends a packet as a datagram, where a connection with its member is up that carries it.
    fn send_datagram(&self, to: SocketAddr, packet: &[u8]) -> bool {
        let book = self.book.load();
        let Some(place) = book.by_gossip.get(&to) else { return false };
        let sent = self.transport.send_datagram(&place.node, MessageType::GOSSIP_PACKET, packet).is_ok();
        if sent {
            self.counters.in_datagrams.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    fn send(&self, to: SocketAddr, packet: &[u8], streamed: Streamed) -> bool {
        let book = self.book.load();
        let Some(place) = book.by_gossip.get(&to) else { return false };
        let is_up = || self.transport.find_peer(&place.node).is_some_and(|peer| peer.is_up());
        if streamed == Streamed::WhereConnected && !is_up() {
            return false;
        }
        let message = Raw { message_type: MessageType::GOSSIP_PACKET, payload: Payload::from(packet.to_vec()) };
        let options = CallOptions { lane: Some(Lane::System), ..CallOptions::default() };
        // What finds no connection makes the transport dial one; gossip is repeated.
        self.transport.peer(&place.node, &place.transport).try_send(&message, options).is_ok()
    }

    /// A packet that may be believed has come by UDP.
    fn heard(&self, now: Duration) {
        let mut heard = self.heard.lock().expect(LOCKED);
        (heard.at, heard.unanswered) = (Some(now), 0);
    }
}

/// Gossip's way between the engine and the socket.
pub(crate) struct Way {
    pub(crate) streams: Arc<Streams>,
    /// What seals packets, where TLS is on or nodes share a secret.
    #[cfg(feature = "secure")]
    pub(crate) seal: Option<crate::seal::Seal>,
}

impl Passage for Way {
    fn outgoing<'a>(&'a mut self, now: Duration, to: SocketAddr, packet: &'a [u8]) -> Option<&'a [u8]> {
        if !self.streams.sends(now, to, packet) {
            return None;
        }
        #[cfg(feature = "secure")]
        if let Some(seal) = &mut self.seal {
            return seal.seal(packet);
        }
        Some(packet)
    }

    fn incoming<'a>(&mut self, now: Duration, _: SocketAddr, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        if matches!(self.streams.mode, GossipTransport::Stream | GossipTransport::Quic) {
            return None;
        }
        #[cfg(feature = "secure")]
        if let Some(seal) = &mut self.seal {
            let packet = seal.open(datagram)?;
            self.streams.heard(now);
            return Some(packet);
        }
        self.streams.heard(now);
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_shorter_where_udp_has_never_passed() {
        let ms = Duration::from_millis;
        let mut heard = Heard { unanswered: UNANSWERED_MIN, ..Heard::default() };
        assert!(!heard.is_silent(ms(1499)) && heard.is_silent(ms(1500)));
        heard.at = Some(ms(10_000));
        assert!(!heard.is_silent(ms(12_999)) && heard.is_silent(ms(13_000)));
        heard.unanswered = UNANSWERED_MIN - 1;
        assert!(!heard.is_silent(ms(20_000)), "nobody was asked");
    }

    #[test]
    fn until_udp_has_passed_gossip_takes_the_connections_that_are_up_as_well() {
        let (ms, to) = (Duration::from_millis, "127.0.0.1:7001".parse().expect("legal"));
        let mut heard = Heard::default();
        assert_eq!(heard.sends(ms(100), to), Streamed::WhereConnected);
        (heard.at, heard.unanswered) = (Some(ms(110)), 0);
        assert_eq!(heard.sends(ms(200), to), Streamed::No);
        heard.answer_until.insert(to, ms(300));
        assert_eq!((heard.sends(ms(299), to), heard.sends(ms(300), to)), (Streamed::Yes, Streamed::No));
    }
}
