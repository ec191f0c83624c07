//! Packets beside the streams.

use bytes::Bytes;
use rdb_net_transport::Connection;

use super::scene::{Scene, beside, in_passes, listen, pair, soon};
use crate::QuicConfig;

async fn next(connection: &mut Box<dyn Connection>) -> Bytes {
    soon("a packet", in_passes(connection, |connection, context| connection.poll_datagram(context))).await
}

#[tokio::test]
async fn a_packet_arrives_whole_in_either_direction() {
    let scene = Scene::new();
    let (dialer, backend) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&backend).await;
    let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &address).await;
    let (there, back) = (dialed.datagrams().expect("QUIC has them"), accepted.datagrams().expect("QUIC has them"));
    assert!(there.send(Bytes::from_static(b"probe")));
    assert_eq!(beside(&mut dialed, next(&mut accepted)).await, "probe");
    assert!(back.send(Bytes::from_static(b"ack")));
    assert_eq!(beside(&mut accepted, next(&mut dialed)).await, "ack");
}

#[tokio::test]
async fn a_packet_has_what_the_path_carries_and_not_a_byte_more() {
    let scene = Scene::new();
    let (dialer, backend) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&backend).await;
    let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &address).await;
    let datagrams = dialed.datagrams().expect("QUIC has them");
    let bytes_max = datagrams.bytes_max();
    assert!((1100..8952).contains(&bytes_max), "{bytes_max}");
    // It grows while the path is found to carry more.
    assert!(!datagrams.send(Bytes::from(vec![7; 9000])));
    assert!(datagrams.send(Bytes::from(vec![7; bytes_max])));
    assert_eq!(beside(&mut dialed, next(&mut accepted)).await.len(), bytes_max);
}

#[tokio::test]
async fn packets_that_nobody_reads_are_given_up_from_the_oldest_on() {
    let scene = Scene::new();
    let (dialer, backend) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&backend).await;
    let (mut dialed, mut accepted) = pair(&dialer, &mut listener, &address).await;
    let datagrams = dialed.datagrams().expect("QUIC has them");
    let sent: u32 = 1000;
    for number in 0..sent {
        let mut packet = vec![0; 1000];
        packet[..4].copy_from_slice(&number.to_le_bytes());
        assert!(datagrams.send(Bytes::from(packet)));
        beside(&mut dialed, beside(&mut accepted, tokio::task::yield_now())).await;
    }
    let number = |packet: &Bytes| u32::from_le_bytes(packet[..4].try_into().expect("four bytes"));
    let (mut count, mut last) = (0, None);
    while last != Some(sent - 1) {
        last = Some(number(&beside(&mut dialed, next(&mut accepted)).await));
        count += 1;
    }
    assert!(count < sent / 2, "{count} of {sent} were kept");
}

#[tokio::test]
async fn after_the_end_of_the_connection_nothing_is_taken() {
    let scene = Scene::new();
    let (dialer, backend) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&backend).await;
    let (dialed, accepted) = pair(&dialer, &mut listener, &address).await;
    let datagrams = dialed.datagrams().expect("QUIC has them");
    drop((dialed, accepted));
    assert!(!datagrams.send(Bytes::from_static(b"late")));
}
