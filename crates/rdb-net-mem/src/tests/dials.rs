//! Who answers a dial, and when.

use std::io::ErrorKind;

use rdb_net_transport::{Backend, DialError};
use tokio::io::AsyncReadExt;

use super::{at, listen, ms, network, timed};
use crate::{LinkFaults, MemoryConfig, MemoryNetwork};

const SLOW: LinkFaults = LinkFaults { latency: ms(30), ..LinkFaults::NONE };

async fn dial(network: &MemoryNetwork, from: &str, to: &str) -> Result<(), DialError> {
    network.backend(&at(from)).dial(&at(to)).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn an_address_where_nobody_listens_refuses_after_a_round_trip() {
    let network = network(SLOW);
    let _b = listen(&network, "b:1").await;
    let (refused, took) = timed(dial(&network, "a:1", "b:2")).await;
    assert_eq!(refused.expect_err("nobody listens").source.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(took, ms(60));
    let (taken, took) = timed(dial(&network, "a:1", "b:1")).await;
    taken.expect("b listens");
    assert_eq!(took, ms(60));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_gone_refuses_and_frees_its_address() {
    let network = network(LinkFaults::NONE);
    let listener = listen(&network, "b:1").await;
    let mut waiting = network.backend(&at("a:1")).dial(&at("b:1")).await.expect("b listens");
    let again = network.backend(&at("b:1")).listen(&at("b:1")).await.err().expect("in use");
    assert_eq!(again.source.kind(), ErrorKind::AddrInUse);
    drop(listener);
    let refused = dial(&network, "a:1", "b:1").await.expect_err("nobody listens");
    assert_eq!(refused.source.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(waiting.read(&mut [0]).await.expect("no reset"), 0, "a connection that nobody took has ended");
    let _again = listen(&network, "b:1").await;
    dial(&network, "a:1", "b:1").await.expect("b listens again");
}

#[tokio::test(start_paused = true)]
async fn a_dial_across_a_cut_times_out_whichever_way_is_cut() {
    for (from, to) in [("a:1", "b:1"), ("b:1", "a:1")] {
        let network = network(LinkFaults::NONE);
        let _b = listen(&network, "b:1").await;
        network.cut_one_way(&at(from), &at(to));
        let (cut, took) = timed(dial(&network, "a:1", "b:1")).await;
        assert_eq!(cut.expect_err("cut").source.kind(), ErrorKind::TimedOut);
        assert_eq!(took, MemoryConfig::default().dial_timeout);
        dial(&network, "c:1", "b:1").await.expect("others are not cut off");
        network.mend(&at("a:1"), &at("b:1"));
        dial(&network, "a:1", "b:1").await.expect("mended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_goes_on_when_the_link_is_mended_in_time() {
    let network = network(SLOW);
    let _b = listen(&network, "b:1").await;
    network.cut(&at("a:1"), &at("b:1"));
    let mend = async {
        tokio::time::advance(ms(1000)).await;
        network.mend(&at("a:1"), &at("b:1"));
    };
    let ((dialled, took), ()) = tokio::join!(timed(dial(&network, "a:1", "b:1")), mend);
    dialled.expect("mended");
    assert_eq!(took, ms(1060));
}

#[tokio::test(start_paused = true)]
async fn more_dials_than_the_listener_has_room_for_wait() {
    let network = MemoryNetwork::new(MemoryConfig { backlog: 2, ..MemoryConfig::default() });
    let mut listener = listen(&network, "b:1").await;
    for _ in 0..2 {
        dial(&network, "a:1", "b:1").await.expect("room");
    }
    let full = dial(&network, "a:1", "b:1").await.expect_err("full");
    assert_eq!(full.source.kind(), ErrorKind::TimedOut);
    listener.accept().await.expect("one waits");
    dial(&network, "a:1", "b:1").await.expect("room");
}

#[tokio::test]
async fn port_0_is_a_free_port_and_names_have_numbers() {
    let network = network(LinkFaults::NONE);
    let backend = network.backend(&at("b:0"));
    let mut first = backend.listen(&at("b:0")).await.expect("free");
    let second = network.backend(&at("b:0")).listen(&at("b:0")).await.expect("free");
    assert_ne!(first.local_address(), second.local_address());
    assert_eq!(first.local_address().ip(), second.local_address().ip());
    let port = first.local_address().port();
    let near = network.backend(&at("127.0.0.1:9")).dial(&at("b:0").with_port(port)).await.expect("b listens");
    assert_eq!(near.remote(), first.local_address());
    assert_eq!(first.accept().await.expect("dialled").remote(), "127.0.0.1:9".parse().expect("legal"));
    network.cut(&at("b:0").with_port(port), &at("b:0").with_port(second.local_address().port()));
    let there = at("b:0").with_port(second.local_address().port());
    let cut = tokio::time::timeout(ms(1), backend.dial(&there)).await;
    assert!(cut.is_err(), "a node's links are those of the address that it listens on");
}
