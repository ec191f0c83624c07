//! Connections that are not made, and why.

use std::sync::Arc;

use rdb_net_types::{Effect, Reason, RefusalReason};

use super::node::{cluster, echo, id};
use super::{Kind, Node, finish, pair, soon};

/// Nobody at the address is known at once, and nothing was sent.
pub async fn a_dial_where_nobody_listens_is_refused_at_once(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    assert!(soon("a shutdown", b.transport.shutdown()).await);
    let error = soon("a refusal", echo(&peer)).await.expect_err("nobody is there");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Unreachable));
    assert_eq!(error.detail.as_deref(), Some("dial_refused"));
    finish([a]).await;
}

/// A node of another cluster takes no message.
pub async fn another_cluster_is_refused_with_that_reason(kind: Arc<dyn Kind>) {
    let a = Node::start(&kind, "a").await;
    let b = Node::start_with(&kind, "b", |config| config.identity.cluster = cluster("other")).await;
    let error = echo(&a.to(&b)).await.expect_err("refused");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Refused(RefusalReason::Cluster)));
    finish([a, b]).await;
}

/// A node at a reused address takes no message that was meant for another.
pub async fn another_node_than_the_one_meant_is_refused_with_that_reason(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let error = echo(&a.transport.peer(&id("c"), b.address())).await.expect_err("refused");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Refused(RefusalReason::TargetNode)));
    echo(&a.to(&b)).await.expect("the one that is there answers to its own name");
    finish([a, b]).await;
}
