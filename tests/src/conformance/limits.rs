//! What happens at a limit, and to whom it does not happen.

use std::sync::Arc;

use rdb_net_transport::CallOptions;
use rdb_net_types::{Effect, Heartbeat, Lane, OverloadScope, Reason};
use tokio::task::JoinSet;

use super::node::{echo, message, patient};
use super::{ECHO, Kind, NARROW, NEVER, finish, pair, soon};

/// A message that no frame holds is told to its caller, before a byte of it is written.
pub async fn a_message_that_is_too_large_is_not_sent_and_the_connection_unharmed(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    echo(&peer).await.expect("answered");
    let large = message(ECHO, vec![7; rdb_net_session::Config::default().message_bytes_max as usize + 1]);
    let error = peer.request(&large, patient()).await.expect_err("too large");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::TooLarge));
    let error = peer.send(&large, patient()).await.expect_err("too large");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::TooLarge));
    echo(&peer).await.expect("the connection lives");
    let statistics = a.transport.statistics();
    let to_b = &statistics.peers[b.id()];
    assert_eq!((to_b.active_connections, to_b.errors.len()), (1, 0), "{to_b:?}");
    finish([a, b]).await;
}

/// A message of many frames arrives as it was, on every lane, and so does its reply.
pub async fn a_message_of_many_frames_goes_there_and_back(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    let payload: Vec<u8> = (0..3_000_000u32).map(|index| (index >> 7) as u8).collect();
    for lane in Lane::ALL {
        let options = CallOptions { lane: Some(lane), ..patient() };
        let reply = peer.request(&message(ECHO, payload.clone()), options).await.expect("answered");
        assert_eq!(reply.into_payload().into_bytes(), payload, "{lane:?}");
    }
    assert_eq!((a.transport.memory().0, peer.is_up()), (0, true));
    finish([a, b]).await;
}

/// One request more than a handler takes is turned away and may be sent again; the place is free afterwards.
pub async fn a_handler_at_its_limit_answers_overloaded_and_not_started(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    let asked = peer.clone();
    let first = tokio::spawn(async move { asked.request(&message(NARROW, "1"), patient()).await });
    b.wait_started("the first", |started| started.begun == 1).await;
    let error = peer.request(&message(NARROW, "2"), patient()).await.expect_err("turned away");
    assert_eq!((error.effect, error.reason), (Effect::NotStarted, Reason::Overloaded(OverloadScope::Handler)));
    b.open_gate(2);
    soon("the first", first).await.expect("no panic").expect("answered");
    peer.request(&message(NARROW, "3"), patient()).await.expect("the place is free again");
    finish([a, b]).await;
}

/// Hundreds of requests that wait for their handlers hold up neither the System lane nor their own.
pub async fn a_slow_handler_holds_up_no_other_type_and_no_other_lane(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let mut slow = JoinSet::new();
    for _ in 0..300 {
        let peer = a.to(&b);
        slow.spawn(async move { peer.request(&message(NEVER, vec![7; 1000]), patient()).await.map(drop) });
    }
    b.wait_started("the slow ones", |started| started.begun == 300).await;
    let peer = a.to(&b);
    let heartbeat = Heartbeat { node_id: a.id().clone(), timestamp_us: 0 };
    soon("a heartbeat", peer.request(&heartbeat, patient())).await.expect("answered");
    let urgent = CallOptions { lane: Some(Lane::System), ..patient() };
    soon("the System lane", peer.request(&message(ECHO, "x"), urgent)).await.expect("answered");
    soon("the same lane", echo(&peer)).await.expect("answered");
    slow.shutdown().await;
    b.wait_started("their end", |started| started.ended == 300).await;
    finish([a, b]).await;
}
