//! How requests end that get no reply, and that nothing else ends with them.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_transport::CallOptions;
use rdb_net_types::{Effect, MessageType, Reason};

use super::node::{echo, message, patient};
use super::{Kind, NEVER, PANICS, finish, pair, soon};

/// Nobody answers the type, and the caller may send it again.
pub async fn a_type_without_handler_is_unknown_and_not_started(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    let error = peer.request(&message(MessageType(0xFFFF), "x"), patient()).await.expect_err("no handler");
    assert_eq!((error.effect, error.reason), (Effect::NotStarted, Reason::UnknownType));
    echo(&peer).await.expect("the connection lives");
    finish([a, b]).await;
}

/// The caller is told that time is up and what is not known, and the handler works for nobody.
pub async fn a_deadline_ends_the_request_and_its_handler_and_not_the_connection(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    echo(&peer).await.expect("answered");
    let short = CallOptions::timeout(Duration::from_millis(50));
    let error = soon("the deadline", peer.request(&message(NEVER, "x"), short)).await.expect_err("never answered");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::Expired));
    b.wait_started("the handler's end", |started| (started.begun, started.ended) == (1, 1)).await;
    echo(&peer).await.expect("the connection lives");
    assert_eq!(a.transport.statistics().peers[b.id()].active_connections, 1);
    finish([a, b]).await;
}

/// Dropping the future is giving the request up: the handler is dropped too.
pub async fn a_dropped_request_cancels_its_handler(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    let asked = peer.clone();
    let caller = tokio::spawn(async move { asked.request(&message(NEVER, "x"), patient()).await.map(drop) });
    b.wait_started("the handler", |started| started.begun == 1).await;
    caller.abort();
    b.wait_started("the handler's end", |started| started.ended == 1).await;
    echo(&peer).await.expect("the connection lives");
    finish([a, b]).await;
}

/// A panic is the outcome of the one request whose handler it was.
pub async fn a_handler_that_panics_is_an_outcome_and_harms_nobody(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    let asked = peer.clone();
    let under_way = tokio::spawn(async move { asked.request(&message(super::GATED, "y"), patient()).await });
    b.wait_started("the other handler", |started| started.begun == 1).await;
    let error = peer.request(&message(PANICS, "x"), patient()).await.expect_err("it panicked");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::HandlerPanicked));
    b.open_gate(1);
    soon("the other request", under_way).await.expect("no panic").expect("answered");
    echo(&peer).await.expect("the connection lives");
    finish([a, b]).await;
}
