//! Each lane has a stream of its own.

use std::io::{ErrorKind, IoSlice};

use quinn::{ClientConfig, Endpoint, VarInt};
use rdb_net_transport::{Connection, Listener};
use rdb_net_types::Lane;
use tokio::io::ReadBuf;

use super::scene::{Scene, beside, in_passes, listen, pair, soon};
use crate::{QuicConfig, crypto};

async fn write(connection: &mut Box<dyn Connection>, lane: Lane, bytes: &[u8]) -> std::io::Result<usize> {
    let slices = [IoSlice::new(bytes)];
    in_passes(connection, |connection, context| {
        connection.lanes().expect("it has lanes").poll_write(lane, context, &slices)
    })
    .await
}

async fn read(connection: &mut Box<dyn Connection>, lane: Lane) -> std::io::Result<Vec<u8>> {
    let mut memory = vec![0; 100_000];
    let mut into = ReadBuf::new(&mut memory);
    let read = in_passes(connection, |connection, context| {
        connection.lanes().expect("it has lanes").poll_read(lane, context, &mut into)
    });
    read.await?;
    Ok(into.filled().to_vec())
}

#[tokio::test]
async fn a_lane_that_nobody_reads_fills_its_own_window_and_holds_up_no_other() {
    let scene = Scene::new();
    let small = QuicConfig { lane_window_bytes: 64 * 1024, ..QuicConfig::default() };
    let (a, b) = (scene.backend("a", small), scene.backend("b", small));
    let (mut listener, address) = listen(&b).await;
    let (mut dialed, mut accepted) = pair(&a, &mut listener, &address).await;
    // Three lanes that take no more.
    for lane in [Lane::Interactive, Lane::Replication, Lane::Bulk] {
        let mut written = 0;
        while let Ok(count) =
            tokio::time::timeout(std::time::Duration::from_millis(100), write(&mut dialed, lane, &[7; 50_000])).await
        {
            written += count.expect("it lives");
        }
        assert_eq!(written, 64 * 1024, "{lane:?}");
    }
    write(&mut dialed, Lane::System, b"urgent").await.expect("it takes some");
    beside(&mut dialed, async {
        assert_eq!(soon("the System lane", read(&mut accepted, Lane::System)).await.expect("it lives"), b"urgent");
        let first = soon("the first lane", read(&mut accepted, Lane::Interactive)).await.expect("it lives");
        assert!(!first.is_empty());
    })
    .await;
}

/// Somebody with a good certificate and a client of QUIC of its own.
async fn by_hand(
    scene: &Scene,
    listener: &mut Box<dyn Listener>,
) -> (quinn::Connection, Endpoint, Box<dyn Connection>) {
    let tls = scene.tls("c");
    let (client, _handed) = crypto::client(&tls).expect("a configuration");
    let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("legal")).expect("a socket");
    let address = listener.local_address();
    let dialled = async {
        let quic = endpoint.connect_with(ClientConfig::new(client), address, "any").expect("legal").await;
        let quic = quic.expect("let in");
        let (mut send, recv) = quic.open_bi().await.expect("the first stream");
        send.write_all(b"?").await.expect("written");
        std::mem::forget((send, recv));
        quic
    };
    let accepted = async { listener.accept().await.expect("a dial").establish().await.expect("let in") };
    let (quic, accepted) = soon("a connection", async { tokio::join!(dialled, accepted) }).await;
    (quic, endpoint, accepted)
}

#[tokio::test]
async fn a_lanes_stream_that_is_reset_is_an_error_of_the_connection() {
    let scene = Scene::new();
    let (mut listener, _) = listen(&scene.backend("b", QuicConfig::default())).await;
    let (quic, _endpoint, mut accepted) = by_hand(&scene, &mut listener).await;
    let (mut send, _recv) = quic.open_bi().await.expect("the second stream");
    send.reset(VarInt::from_u32(9)).expect("open");
    let error = soon("the reset", read(&mut accepted, Lane::Interactive)).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[tokio::test]
async fn a_stranger_opens_four_streams_and_no_more() {
    let scene = Scene::new();
    let (mut listener, _) = listen(&scene.backend("b", QuicConfig::default())).await;
    let (quic, _endpoint, _accepted) = by_hand(&scene, &mut listener).await;
    let mut opened = Vec::new();
    for _ in 1..4 {
        opened.push(quic.open_bi().await.expect("a stream for each lane"));
    }
    let waits = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(waits, quic.open_bi()).await.is_err(), "a fifth");
    assert!(tokio::time::timeout(waits, quic.open_uni()).await.is_err(), "one in one direction");
}
