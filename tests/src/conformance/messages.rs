//! Messages arrive, whole, in order, and are counted.

use std::sync::Arc;

use rdb_net_types::{Payload, QueryRequest, QueryResponse};
use tokio::task::JoinSet;

use super::node::{echo, message, note, patient};
use super::{ECHO, Kind, NOTE, finish, pair, soon};

/// Payloads from none to several writes of a socket come back as they were sent.
pub async fn a_request_is_answered_whatever_its_size(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    for size in [0usize, 1, 64, 4096, 4097, 100_000, 200_000] {
        let sent: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let reply = peer.request(&message(ECHO, sent.clone()), patient()).await.expect("answered");
        assert!(reply.into_payload().into_bytes() == sent, "{size} bytes came back changed");
    }
    finish([a, b]).await;
}

/// `send` means queued, and what is queued arrives.
pub async fn a_one_way_message_arrives(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    a.to(&b).send(&note(7), patient()).await.expect("queued");
    assert_eq!(b.wait_notes(1).await, [7]);
    finish([a, b]).await;
}

/// A lane is a queue: what one task sends on it arrives in the order of its sends.
pub async fn messages_of_one_lane_from_one_task_keep_their_order(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    for number in 0..2000 {
        peer.send(&note(number), patient()).await.expect("queued");
    }
    assert!(b.wait_notes(2000).await.into_iter().eq(0..2000), "the order was changed");
    finish([a, b]).await;
}

/// The large bytes of a message travel behind its struct, both ways.
pub async fn an_attachment_of_64_kib_arrives_unchanged_and_comes_back(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let sent: Vec<u8> = (0..64 * 1024usize).map(|at| (at % 251) as u8).collect();
    let query =
        QueryRequest { query_id: 7, fragment: 1, query: "SELECT".to_owned(), parameters: Payload::from(sent.clone()) };
    let reply = a.to(&b).request(&query, patient()).await.expect("answered");
    let response: QueryResponse = reply.decode().expect("both sides are of one version");
    assert_eq!((response.query_id, response.fragment, response.result.len()), (7, 1, 1));
    assert!(response.result[0].0 == sent, "the attachment was changed");
    finish([a, b]).await;
}

/// A thousand callers of one connection are each answered.
pub async fn a_thousand_requests_at_once_all_end(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let mut callers = JoinSet::new();
    for number in 0..1000u32 {
        let peer = a.to(&b);
        callers.spawn(async move {
            let sent = number.to_be_bytes().to_vec();
            let reply = peer.request(&message(ECHO, sent.clone()), patient()).await.expect("answered");
            assert_eq!(reply.into_payload().into_bytes(), sent);
        });
    }
    assert_eq!(soon("a thousand outcomes", callers.join_all()).await.len(), 1000);
    finish([a, b]).await;
}

/// Who dials a peer at once from many tasks makes one connection.
pub async fn many_tasks_share_one_connection(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        let peer = a.to(&b);
        callers.spawn(async move {
            for _ in 0..50 {
                echo(&peer).await.expect("answered");
            }
        });
    }
    soon("all callers", callers.join_all()).await;
    assert_eq!(a.transport.statistics().peers[b.id()].active_connections, 1);
    assert_eq!(b.transport.statistics().peers[a.id()].active_connections, 1);
    finish([a, b]).await;
}

/// Both sides count the same messages, by type, and at least their bytes; replies are counted with their latencies.
pub async fn statistics_count_what_was_sent(kind: Arc<dyn Kind>) {
    let (a, b) = pair(&kind).await;
    let peer = a.to(&b);
    for _ in 0..10 {
        peer.request(&message(ECHO, vec![7; 1000]), patient()).await.expect("answered");
    }
    for number in 0..5 {
        peer.send(&note(number), patient()).await.expect("queued");
    }
    b.wait_notes(5).await;
    peer.request(&message(ECHO, ""), patient()).await.expect("answered");
    let (sent, received) = (a.transport.statistics(), b.transport.statistics());
    let (sent, received) = (&sent.peers[b.id()], &received.peers[a.id()]);
    assert_eq!((sent.sent[&ECHO], sent.sent[&NOTE]), (11, 5));
    assert_eq!(a.transport.latencies()[b.id()].count(), 11, "each reply is counted");
    assert_eq!(sent.outcomes["ok"], 11);
    assert_eq!((received.received[&ECHO], received.received[&NOTE]), (11, 5));
    assert!(sent.bytes_sent > 10_000 && sent.bytes_received > 10_000, "{sent:?}");
    assert!(received.bytes_received > 10_000 && received.bytes_sent > 10_000, "{received:?}");
    assert!(sent.errors.is_empty() && received.errors.is_empty(), "{sent:?} {received:?}");
    finish([a, b]).await;
}
