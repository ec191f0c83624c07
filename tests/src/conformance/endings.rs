//! Shutdowns: what was taken is finished, what does not end is cut off, and nothing is left.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::Effect;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::node::{echo, message, note, patient};
use super::{GATED, Kind, NEVER, Node, finish, pair, soon, until};

/// Handlers that run when a shutdown begins end, and their callers get the answers.
pub async fn a_node_that_drains_answers_every_request_that_it_has_begun(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let peer = peer.clone();
        callers.spawn(async move { peer.request(&message(GATED, "x"), patient()).await.map(drop) });
    }
    b.wait_started("all handlers", |started| started.begun == 50).await;
    let release = async {
        until("a knows that b drains", || !peer.is_up()).await;
        let error = echo(&peer).await.expect_err("b takes nothing new");
        assert!(matches!(error.effect, Effect::NotSent | Effect::NotStarted), "{error}");
        b.open_gate(50);
    };
    let (in_time, ()) = soon("the drain", async { tokio::join!(b.transport.shutdown(), release) }).await;
    assert!(in_time, "everything ended in time");
    for outcome in soon("all outcomes", callers.join_all()).await {
        outcome.expect("what was begun is answered");
    }
    finish([a]).await;
}

/// A one-way message whose sender was told that it is queued arrives although its node shuts down at once.
pub async fn a_node_that_drains_delivers_every_message_that_it_has_taken(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    for number in 0..1000 {
        peer.send(&note(number), patient()).await.expect("queued");
    }
    assert!(soon("the drain", a.transport.shutdown()).await, "everything ended in time");
    assert!(b.wait_notes(1000).await.into_iter().eq(0..1000), "messages were lost");
    finish([b]).await;
}

/// A handler without end and a peer that is dialled for ever do not outlive the shutdown, nor does the listener.
pub async fn a_shutdown_ends_what_goes_on_for_ever_and_leaves_no_task(kind: Arc<dyn Kind>) {
    let hasty = |config: &mut rdb_net_transport::Config| config.shutdown_timeout = Duration::from_millis(50);
    let a = Node::start(&kind, "a").await;
    let b = Node::start_with(&kind, "b", hasty).await;
    let peer = a.to(&b);
    let nobody = a.transport.seed(&kind.address("nobody"));
    nobody.keep(true);
    peer.send(&message(NEVER, "x"), patient()).await.expect("queued");
    b.wait_started("the handler", |started| started.begun == 1).await;
    echo(&peer).await.expect("answered");
    let here = || Handle::current().metrics().num_alive_tasks();
    assert!(here() > 0 && a.tasks() > 0 && b.tasks() > 0, "something runs");
    assert!(!soon("a shutdown", b.transport.shutdown()).await, "the handler was cut off");
    b.wait_started("the handler's end", |started| started.ended == 1).await;
    assert!(soon("a shutdown", a.transport.shutdown()).await);
    // A task is counted until its worker has put it away, which is a moment after those who wait for it were told.
    until("no task is left", || here() + a.tasks() + b.tasks() == 0).await;
    let again = Node::start_at(&kind, "b", b.address().clone(), |_| {}).await;
    finish([again]).await;
}
