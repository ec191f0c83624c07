//! Two Swim machines over loopback sockets.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeId, NodeState};
use rdb_swim::{Config, LocalNode, Swim, SyncAnswer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Gossip, InTheClear, bind};

struct Node {
    gossip: Gossip<Swim>,
    id: NodeId,
}

async fn start(name: &str, tasks: &TaskTracker, cancel: &CancellationToken) -> Node {
    let socket = bind(&"127.0.0.1:0".parse().expect("legal")).await.expect("loopback has a free port");
    let id = NodeId::new(name).expect("legal");
    let local = LocalNode {
        id: id.clone(),
        boot: BootId(name.len() as u64),
        incarnation: Incarnation::first_of(1),
        address: socket.local_addr().expect("bound"),
        meta: Bytes::new(),
    };
    let cluster = ClusterId::new("test").expect("legal");
    let swim = Swim::new(Config::local(), &cluster, local, 1, Duration::ZERO);
    let gossip = Gossip::new(swim, Instant::now());
    tasks.spawn(gossip.clone().drive(
        socket,
        InTheClear,
        cancel.clone(),
        |swim, _| while swim.poll_event().is_some() {},
    ));
    Node { gossip, id }
}

fn sees(node: &Node, other: &Node, state: NodeState) -> bool {
    node.gossip.look(|swim, _| swim.member(&other.id).is_some_and(|member| member.state == state))
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the condition holds within ten seconds");
}

#[tokio::test]
async fn two_nodes_join_probe_each_other_and_part() {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let (a, b) = (start("a", &tasks, &cancel).await, start("bb", &tasks, &cancel).await);
    let request = b.gossip.look(|swim, _| swim.sync_request());
    let answer = a.gossip.with(|swim, now| swim.handle_sync_request(now, &request)).expect("sound");
    let SyncAnswer::Ready(reply) = answer else { panic!("nothing is to be verified") };
    b.gossip.with(|swim, now| swim.handle_sync_reply(now, &reply)).expect("sound");
    eventually(|| sees(&a, &b, NodeState::Alive) && sees(&b, &a, NodeState::Alive)).await;
    eventually(|| a.gossip.statistics().packets_received > 2).await;
    b.gossip.with(|swim, now| swim.leave(now));
    eventually(|| sees(&a, &b, NodeState::Left)).await;
    cancel.cancel();
    tasks.close();
    tasks.wait().await;
}
