//! What the faults do to bytes.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::time::Duration;

use rdb_net_transport::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{at, connection, ms, network, timed};
use crate::{LinkFaults, MemoryConfig, MemoryNetwork};

async fn read(connection: &mut Box<dyn Connection>, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    connection.read_exact(&mut read).await.expect("open");
    read
}

/// Whether a read waits, whatever the time does.
async fn reads_nothing_for(connection: &mut Box<dyn Connection>, time: Duration) -> bool {
    tokio::time::timeout(time, connection.read_u8()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_a_latency_later() {
    let (mut near, mut far) = connection(&network(LinkFaults { latency: ms(30), ..LinkFaults::NONE })).await;
    near.write_all(b"there").await.expect("room");
    let (said, took) = timed(read(&mut far, 5)).await;
    assert_eq!((said.as_slice(), took), (&b"there"[..], ms(30)));
    far.write_all(b"back").await.expect("room");
    let (said, took) = timed(read(&mut near, 4)).await;
    assert_eq!((said.as_slice(), took), (&b"back"[..], ms(30)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_is_woken_by_what_is_written_later() {
    let (mut near, mut far) = connection(&network(LinkFaults { latency: ms(30), ..LinkFaults::NONE })).await;
    let write = async {
        tokio::time::advance(ms(100)).await;
        near.write_all(b"x").await.expect("room");
        tokio::time::advance(ms(10)).await;
        near.write_all(b"y").await.expect("room");
    };
    let (((said, took), (more, later)), ()) =
        tokio::join!(async { (timed(read(&mut far, 1)).await, timed(read(&mut far, 1)).await) }, write);
    assert_eq!((said.as_slice(), took), (&b"x"[..], ms(130)));
    assert_eq!((more.as_slice(), later), (&b"y"[..], ms(10)));
}

#[tokio::test(start_paused = true)]
async fn jitter_and_loss_delay_bytes_and_never_change_them() {
    let rough = LinkFaults {
        jitter: ms(50),
        loss: 0.2,
        duplication: 0.5,
        reordering: 0.5,
        reordering_delay: ms(50),
        ..LinkFaults::NONE
    };
    let transfer = |seed| async move {
        let network = MemoryNetwork::new(MemoryConfig { seed, link: rough, ..MemoryConfig::default() });
        let (mut near, mut far) = connection(&network).await;
        let sent: Vec<u8> = (0..2000u32).map(|number| (number % 251) as u8).collect();
        let write = async {
            for piece in sent.chunks(10) {
                near.write_all(piece).await.expect("room");
                tokio::time::advance(ms(1)).await;
            }
        };
        let ((read, took), ()) = tokio::join!(timed(read(&mut far, 2000)), write);
        assert_eq!(read, sent);
        took
    };
    let took = transfer(1).await;
    assert!(took >= ms(400), "{took:?}: of 200 pieces one is lost at least once");
    assert_eq!(transfer(1).await, took, "one seed is one run");
    assert_ne!(transfer(2).await, took);
}

#[tokio::test(start_paused = true)]
async fn a_link_of_limited_bandwidth_takes_its_time() {
    let slow = LinkFaults { bytes_per_second: NonZeroU64::new(1000), ..LinkFaults::NONE };
    let (mut near, mut far) = connection(&network(slow)).await;
    near.write_all(&[7; 500]).await.expect("room");
    near.write_all(&[7; 500]).await.expect("room");
    assert_eq!(timed(read(&mut far, 1000)).await.1, ms(1000));
}

#[tokio::test(start_paused = true)]
async fn a_cut_holds_bytes_in_one_direction_until_it_is_mended() {
    let network = network(LinkFaults { latency: ms(5), ..LinkFaults::NONE });
    let (mut near, mut far) = connection(&network).await;
    near.write_all(b"1").await.expect("room");
    network.cut_one_way(&at("a:1"), &at("b:1"));
    near.write_all(b"2").await.expect("room");
    assert_eq!(read(&mut far, 1).await, b"1", "what was under way arrives");
    assert!(reads_nothing_for(&mut far, ms(60_000)).await);
    far.write_all(b"3").await.expect("room");
    assert_eq!(read(&mut near, 1).await, b"3", "the other direction is not cut");
    network.mend(&at("c:1"), &at("b:1"));
    assert!(reads_nothing_for(&mut far, ms(60_000)).await, "another link was mended");
    network.mend(&at("a:1"), &at("b:1"));
    near.write_all(b"4").await.expect("room");
    let (said, took) = timed(read(&mut far, 2)).await;
    assert_eq!((said.as_slice(), took), (&b"24"[..], ms(5)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_a_connection_at_both_ends_and_no_other() {
    let network = network(LinkFaults { latency: ms(5), ..LinkFaults::NONE });
    let (mut near, mut far) = connection(&network).await;
    near.write_all(b"lost").await.expect("room");
    network.reset(&at("a:1"), &at("c:1"));
    assert_eq!(read(&mut far, 4).await, b"lost", "it is another connection");
    near.write_all(b"lost").await.expect("room");
    let (reader, ()) = tokio::join!(near.read_u8(), async { network.reset(&at("b:1"), &at("a:1")) });
    assert_eq!(reader.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(far.read_u8().await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(far.write_u8(1).await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_ahead_waits_for_the_reader() {
    let config = MemoryConfig { buffer_bytes: 100, ..MemoryConfig::default() };
    let (mut near, mut far) = connection(&MemoryNetwork::new(config)).await;
    assert_eq!(near.write(&[1; 70]).await.expect("room"), 70);
    assert_eq!(near.write(&[2; 70]).await.expect("room"), 30);
    assert!(tokio::time::timeout(ms(1000), near.write(&[3])).await.is_err(), "the buffer is full");
    let (wrote, said) = tokio::join!(near.write(&[3; 70]), read(&mut far, 70));
    assert_eq!((wrote.expect("room"), said), (70, vec![1; 70]));
    assert_eq!(read(&mut far, 100).await, [[2; 30].as_slice(), &[3; 70]].concat());
}

#[tokio::test(start_paused = true)]
async fn bytes_held_by_a_cut_fill_the_buffer_too() {
    let network = MemoryNetwork::new(MemoryConfig { buffer_bytes: 100, ..MemoryConfig::default() });
    let (mut near, mut far) = connection(&network).await;
    network.cut(&at("a:1"), &at("b:1"));
    assert_eq!(near.write(&[1; 200]).await.expect("room"), 100);
    assert!(tokio::time::timeout(ms(1000), near.write(&[1])).await.is_err(), "the buffer is full");
    network.mend(&at("a:1"), &at("b:1"));
    let (wrote, said) = tokio::join!(near.write(&[2; 200]), read(&mut far, 100));
    assert_eq!((wrote.expect("room"), said), (100, vec![1; 100]));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_end_is_read_first() {
    let network = network(LinkFaults { latency: ms(5), ..LinkFaults::NONE });
    let (mut near, mut far) = connection(&network).await;
    near.write_all(b"last").await.expect("room");
    near.shutdown().await.expect("open");
    assert_eq!(near.write_u8(1).await.expect_err("shut down").kind(), ErrorKind::BrokenPipe);
    far.write_all(b"still").await.expect("the other direction is open");
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.expect("no reset");
    assert_eq!(said, b"last");
    assert_eq!(read(&mut near, 5).await, b"still");
    drop(near);
    assert_eq!(network.connections(), 1);
    drop(far);
    assert_eq!(network.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_begin_a_header_and_end_are_read_too() {
    let (mut near, mut far) = connection(&network(LinkFaults::NONE)).await;
    near.write_all(b"RDB").await.expect("room");
    assert!(reads_nothing_for(&mut far, ms(10)).await, "it may become a frame");
    near.shutdown().await.expect("open");
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.expect("no reset");
    assert_eq!(said, b"RDB");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_leaves_bytes_unread_resets() {
    let (mut near, far) = connection(&network(LinkFaults::NONE)).await;
    near.write_all(b"unread").await.expect("room");
    drop(far);
    assert_eq!(near.read_u8().await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(near.write_u8(1).await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn who_writes_to_an_end_that_is_gone_is_told() {
    let config = MemoryConfig { buffer_bytes: 10, ..MemoryConfig::default() };
    let (mut near, far) = connection(&MemoryNetwork::new(config)).await;
    near.write_all(&[1; 10]).await.expect("room");
    let (wrote, ()) = tokio::join!(near.write_all(&[2; 10]), async { drop(far) });
    assert!(wrote.is_err(), "a writer that waits does not wait for ever");
    let (mut near, far) = connection(&network(LinkFaults::NONE)).await;
    drop(far);
    assert_eq!(near.read(&mut [0]).await.expect("no reset"), 0);
    near.write_all(b"lost").await.expect("the end does not say that nobody reads");
    assert_eq!(near.write_u8(1).await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
}
