//! A packet beside the streams: any bytes are a message or none, and what is in it is read as gossip.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_session::{Session, Side};
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeId};
use rdb_net_wire::{DATAGRAM_HEAD_BYTES, read_datagram, write_datagram};
use rdb_swim::{Config, LocalNode, Swim};

use crate::script::Script;
use crate::{memory, sides};

pub(crate) fn run(bytes: &[u8]) {
    let packet = Bytes::copy_from_slice(bytes);
    let read = memory::within(0, "a datagram", || read_datagram(packet));
    assert_eq!(read.is_some(), bytes.len() >= DATAGRAM_HEAD_BYTES);
    let Some((message_type, body)) = read else { return };
    assert_eq!(write_datagram(message_type, &body), bytes, "said on, it means the same");
    let script = Script::new(Side::Acceptor);
    let mut session = Session::new(sides::config(&script), sides::identity(), script.side, Duration::ZERO);
    session.set_apart();
    session.set_datagrams();
    session.handle_datagram(Duration::from_millis(1), message_type, &body);
    assert!(!session.is_closed(), "no datagram ends a connection");
    assert_eq!(session.statistics().bytes_received, bytes.len() as u64);
    gossip(&body);
}

/// Gossip that no member would send is counted, and nothing else.
fn gossip(packet: &[u8]) {
    let local = LocalNode {
        id: NodeId::new("self").expect("legal"),
        boot: BootId(1),
        incarnation: Incarnation::first_of(1),
        address: ADDRESS,
        meta: Bytes::new(),
    };
    let cluster = ClusterId::new("fuzz").expect("legal");
    let mut swim = Swim::new(Config::lan(), &cluster, local, 1, Duration::ZERO);
    let now = Duration::from_millis(1);
    let taken = memory::within(GOSSIP_BYTES_MAX + GOSSIP_FACTOR * packet.len() as u64, "gossip", || {
        swim.handle_packet(now, SENDER, packet)
    });
    assert!(taken.is_ok() || swim.members().count() == 1, "a packet that is dropped changes nothing");
}

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7001);
const SENDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7003);
/// Tables that are made when they are first used.
const GOSSIP_BYTES_MAX: u64 = 16 * 1024;
/// What a packet may hold at once for each of its bytes: a member of twenty bytes becomes an entry, a name and news.
const GOSSIP_FACTOR: u64 = 40;
