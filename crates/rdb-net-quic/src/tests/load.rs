//! A listener under load asks strangers to show first that their addresses are their own.

use super::scene::{Scene, listen, pair, soon};
use crate::QuicConfig;

#[tokio::test]
async fn who_is_asked_to_show_its_address_does_and_is_let_in() {
    let scene = Scene::new();
    let cautious = QuicConfig { retry_from_handshakes: 0, ..QuicConfig::default() };
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", cautious));
    let (mut listener, address) = listen(&b).await;
    pair(&a, &mut listener, &address).await;
}

#[tokio::test]
async fn a_stranger_that_does_not_show_its_address_makes_no_work() {
    let scene = Scene::new();
    let cautious = QuicConfig { retry_from_handshakes: 0, ..QuicConfig::default() };
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", cautious));
    let (mut listener, address) = listen(&b).await;
    // The first packet of a real dial, sent again by somebody who does not read the answer.
    let recorded = first_packet(&a).await;
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    for _ in 0..100 {
        stranger.send_to(&recorded, (address.host(), address.port())).await.expect("sent");
    }
    let mut answer = [0; 2000];
    let length = soon("an answer", async {
        tokio::select! {
            _ = listener.accept() => panic!("it is no dial before its address is shown"),
            length = stranger.recv(&mut answer) => length.expect("asked to show its address"),
        }
    });
    let length = length.await;
    // A long header of the type Retry (RFC 9000, section 17.2.5), much shorter than what it answers.
    assert_eq!(answer[0] & 0xf0, 0xf0);
    assert!(length < 200 && recorded.len() >= 1200, "{length} bytes for {}", recorded.len());
    // Whoever does show it is the first that is taken.
    pair(&a, &mut listener, &address).await;
}

/// What a dial sends first.
async fn first_packet(dialer: &crate::QuicBackend) -> Vec<u8> {
    use rdb_net_transport::Backend;
    let tap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = tap.local_addr().expect("bound").into();
    let mut packet = vec![0; 2000];
    let length = tokio::select! {
        length = tap.recv(&mut packet) => length.expect("a packet"),
        _ = dialer.dial(&address) => panic!("nobody answers"),
    };
    packet.truncate(length);
    packet
}
