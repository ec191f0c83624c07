//! A message in a packet of its own.

use bytes::Bytes;
use rdb_net_types::MessageType;

use crate::{read_datagram, write_datagram};

#[test]
fn a_datagram_is_a_type_and_a_body() {
    let packet = write_datagram(MessageType::GOSSIP_PACKET, b"swim");
    assert_eq!(&packet[..], b"\x02\x01swim");
    assert_eq!(read_datagram(packet), Some((MessageType::GOSSIP_PACKET, Bytes::from_static(b"swim"))));
    assert_eq!(read_datagram(Bytes::from_static(b"\x02\x01")), Some((MessageType::GOSSIP_PACKET, Bytes::new())));
    for short in ["", "\x02"] {
        assert_eq!(read_datagram(Bytes::from_static(short.as_bytes())), None, "{short:?}");
    }
}
