//! Shutdown ends everything, in bounded time.

use std::time::Duration;

use rdb_net_peer::State;

use super::{NEVER, Network, SOON, config, echo, message, pair, start, to, until};
use crate::CallOptions;

async fn shut(transport: &crate::Transport) -> bool {
    let in_time = tokio::time::timeout(SOON, transport.shutdown()).await.expect("shutdown hangs");
    assert_eq!((transport.inner.links.len(), transport.inner.tasks.len()), (0, 0), "tasks are left");
    assert!(transport.inner.registry.links().is_empty(), "connections are left");
    in_time
}

#[tokio::test]
async fn a_one_way_handler_without_end_does_not_hold_a_shutdown() {
    let network = Network::default();
    let a = start(&network, config("a")).await;
    let mut hasty = config("b");
    hasty.shutdown_timeout = Duration::from_millis(50);
    let b = start(&network, hasty).await;
    let peer = to(&a, "b");
    peer.send(&message(NEVER, "x"), CallOptions::timeout(SOON)).await.expect("queued");
    echo(&peer).await.expect("answered");
    assert!(!shut(&b).await, "it was cut off");
    assert!(shut(&a).await);
}

#[tokio::test]
async fn a_handler_that_begins_with_the_end_of_its_connection_is_ended_too() {
    let (a, b) = pair().await;
    let peer = to(&a, "b");
    echo(&peer).await.expect("answered");
    // The message and the farewell arrive in one read.
    peer.send(&message(NEVER, "x"), CallOptions::timeout(SOON)).await.expect("queued");
    a.close_connections();
    until("b has seen the end", || b.inner.registry.links().is_empty()).await;
    shut(&b).await;
    shut(&a).await;
}

#[tokio::test]
async fn a_dial_under_way_is_given_up() {
    let network = Network::default();
    let dials = network.dials.available_permits();
    network.dials.forget_permits(dials);
    let a = start(&network, config("a")).await;
    let b = start(&network, config("b")).await;
    let peer = to(&a, "b");
    peer.keep(true);
    until("it is dialled", || peer.state() == State::Dialing).await;
    let (in_time, error) = tokio::join!(shut(&a), echo(&peer));
    assert!(in_time && error.is_err());
    network.dials.add_permits(dials);
    assert!(shut(&b).await);
    assert!(a.inner.registry.links().is_empty());
}

#[tokio::test]
async fn a_connection_whose_hello_is_under_way_is_closed() {
    let network = Network::default();
    let a = start(&network, config("a")).await;
    // Nobody takes connections at this address, so no hello is answered.
    let _listener = crate::Backend::listen(&network, &"b:1".parse().expect("legal")).await.expect("free");
    let peer = to(&a, "b");
    peer.keep(true);
    until("a connection is made", || a.inner.registry.links().len() == 1).await;
    assert!(shut(&a).await);
}

#[tokio::test]
async fn a_transport_that_is_shut_down_twice_stays_so() {
    let (a, b) = pair().await;
    echo(&to(&a, "b")).await.expect("answered");
    assert!(shut(&a).await && shut(&a).await && shut(&b).await);
    assert!(echo(&to(&a, "b")).await.is_err());
}
