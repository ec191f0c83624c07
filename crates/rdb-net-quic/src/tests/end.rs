//! How connections and dials end, in the words of sockets.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rdb_net_peer::DialFailure;
use rdb_net_transport::Backend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::network::Relay;
use super::scene::{Scene, listen, pair, soon};
use crate::QuicConfig;

#[tokio::test]
async fn a_dial_where_nobody_listens_is_refused_at_once() {
    let scene = Scene::new();
    let dialer = scene.backend("a", QuicConfig::default());
    let free = UdpSocket::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    let begun = Instant::now();
    let error = soon("the dial", dialer.dial(&free.into())).await.err().expect("nobody is there");
    assert_eq!(error.failure, DialFailure::Refused);
    assert!(begun.elapsed() < Duration::from_secs(1), "its port answers for it: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_dial_where_nobody_answers_ends_with_its_time() {
    let scene = Scene::new();
    let config = QuicConfig { handshake_timeout: Duration::from_millis(200), ..QuicConfig::default() };
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("bound").into();
    let error = soon("the dial", scene.backend("a", config).dial(&address)).await.err().expect("nobody answers");
    assert_eq!(error.failure, DialFailure::TimedOut);
}

#[tokio::test]
async fn a_dial_to_a_listener_that_is_closed_while_its_connections_live_is_turned_away_at_once() {
    let scene = Scene::new();
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&b).await;
    let _open = pair(&a, &mut listener, &address).await;
    drop(listener);
    let begun = Instant::now();
    let error = soon("the dial", a.dial(&address)).await.err().expect("it listens no more");
    // It lives: nobody may take it for dead.
    assert_eq!(error.failure, DialFailure::Io);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_to_a_port_that_was_closed_without_a_word_is_reset_by_it() {
    let scene = Scene::new();
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&b).await;
    // What the dialing node sees of a process is a port, here of a relay, which can be killed.
    let relay = Relay::to(&address).await;
    let (mut dialed, _accepted) = pair(&a, &mut listener, &relay.address).await;
    drop(relay);
    let begun = Instant::now();
    let error = soon("the loss", async {
        loop {
            dialed.write_all(b"?").await?;
            tokio::select! {
                read = dialed.read_u8() => return read,
                () = tokio::task::yield_now() => {}
            }
        }
    });
    let error = error.await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_that_is_dropped_ends_at_the_other_side_with_its_code() {
    let scene = Scene::new();
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&b).await;
    let (mut dialed, mut accepted) = pair(&a, &mut listener, &address).await;
    accepted.tell_end(6);
    drop(accepted);
    let error = soon("the end", dialed.read_u8()).await.expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("closed by peer: 6"), "{error}");
}

#[tokio::test]
async fn what_was_written_before_the_end_arrives() {
    let scene = Scene::new();
    let (a, b) = (scene.backend("a", QuicConfig::default()), scene.backend("b", QuicConfig::default()));
    let (mut listener, address) = listen(&b).await;
    let (mut dialed, mut accepted) = pair(&a, &mut listener, &address).await;
    let much = vec![7; 1_000_000];
    let write = async {
        dialed.write_all(&much).await.expect("written");
        dialed.shutdown().await.expect("taken");
        drop(dialed);
    };
    let read = async {
        let mut read = Vec::new();
        // Either its end comes first or the end of the connection.
        while accepted.read_buf(&mut read).await.is_ok_and(|count| count > 0) {}
        read
    };
    let ((), read) = soon("the end", async { tokio::join!(write, read) }).await;
    assert_eq!(read.len(), much.len());
}
