//! Connections that are lost, and made anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use rdb_net_transport::PeerHandle;
use rdb_net_types::{Effect, Reason, RequestError};
use tokio::task::JoinSet;

use super::node::{echo, message, note, patient};
use super::{Kind, NEVER, Node, finish, pair, soon};

/// Requests that wait when the peer is killed.
const WAITING: usize = 100;
/// Tasks that go on asking while it is.
const ASKING: u32 = 8;

/// Whoever waits is told once, and whoever is told that nothing was done may rely on it.
pub async fn a_killed_peer_gives_each_request_one_outcome_that_is_true(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING {
        let peer = a.to(&b);
        waiting.spawn(async move { peer.request(&message(NEVER, "x"), patient()).await.map(drop) });
    }
    b.wait_started("all that wait", |started| started.begun == WAITING).await;
    let mut asking = JoinSet::new();
    for task in 0..ASKING {
        asking.spawn(ask_until_lost(a.to(&b), task));
    }
    b.wait_notes(500).await;
    b.kill().await;
    for outcome in soon("those that wait", waiting.join_all()).await {
        let error = outcome.expect_err("never answered");
        assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::ConnectionLost));
    }
    let outcomes: Vec<(u32, Result<(), RequestError>)> =
        soon("those that ask", asking.join_all()).await.into_iter().flatten().collect();
    let noted = b.notes();
    let seen: BTreeSet<u32> = noted.iter().copied().collect();
    assert_eq!(seen.len(), noted.len(), "a request was carried out twice");
    for (number, outcome) in &outcomes {
        match outcome {
            Ok(()) => assert!(seen.contains(number), "{number} was answered by nobody"),
            Err(error) if error.effect != Effect::Unknown => {
                assert!(!seen.contains(number), "{number} was carried out: {error}");
            }
            Err(error) => assert_eq!(error.reason, Reason::ConnectionLost, "{number}"),
        }
    }
    let answered = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    let failed = WAITING + outcomes.len() - answered;
    assert_eq!(a.transport.latencies()[b.id()].count(), answered as u64, "each reply is counted once");
    let errors = a.transport.statistics().peers[b.id()].outcomes.clone();
    let errors = errors.into_iter().filter(|(name, _)| *name != "ok").map(|(_, count)| count);
    assert_eq!(errors.sum::<u64>(), failed as u64, "each error is counted once");
    finish([a]).await;
}

/// Asks one thing after the other until nobody is reached any more.
async fn ask_until_lost(peer: PeerHandle, task: u32) -> Vec<(u32, Result<(), RequestError>)> {
    let mut outcomes = Vec::new();
    for number in task << 24.. {
        let outcome = peer.request(&note(number), patient()).await.map(drop);
        let is_over = outcome.as_ref().is_err_and(|error| error.reason == Reason::Unreachable);
        outcomes.push((number, outcome));
        if is_over {
            break;
        }
    }
    outcomes
}

/// A connection that the other side closes takes its requests with it, and the next one makes another.
pub async fn a_peer_that_closes_its_connections_is_dialled_again(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    let asked = peer.clone();
    let waiting = tokio::spawn(async move { asked.request(&message(NEVER, "x"), patient()).await.map(drop) });
    b.wait_started("the handler", |started| started.begun == 1).await;
    b.transport.close_connections();
    let error = soon("the loss", waiting).await.expect("no panic").expect_err("lost");
    assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::ConnectionLost));
    b.wait_started("the handler's end", |started| started.ended == 1).await;
    echo(&peer).await.expect("a new connection was made");
    finish([a, b]).await;
}

/// A peer that comes back at its address is reached through the handle that its callers have.
pub async fn a_peer_that_was_killed_and_came_back_is_reached_again(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    echo(&peer).await.expect("answered");
    b.kill().await;
    // The loss is seen, and the peer found to be away.
    soon("a refusal", async { while echo(&peer).await.is_ok() {} }).await;
    let again = Node::start_at(&kind, "b", b.address().clone(), |config| config.identity.boot.0 += 1).await;
    let reached = async {
        loop {
            peer.hurry();
            match echo(&peer).await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.effect, Effect::NotSent, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the peer is reached", reached).await;
    finish([a, again]).await;
}
