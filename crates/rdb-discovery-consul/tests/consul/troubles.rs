//! Agents that answer what nobody wants.

use std::time::Duration;

use rdb_discovery::{DiscoverySource, Freshness};
use rdb_discovery_consul::test_agent::{TestAgent, Trouble};
use rdb_discovery_driver::conformance::{Reader, node, soon};
use rdb_net_types::Component;

use crate::agents::{cluster, config, started};
use crate::raw;

/// The list outlives the trouble, its cause is told in these words, and what changes after it is told.
async fn outlived(path: &str, trouble: Trouble, cause: &str, words: &str) {
    let (agent, cluster) = (TestAgent::start(), cluster());
    raw::register(agent.address(), cluster.as_str(), &node(1, "1"));
    let source = started(config(&cluster, &agent.url())).await;
    let mut reader = Reader::of(&source);
    reader.until("=1").await;
    agent.trouble(path, trouble.clone());
    // The first failure may be that of the connection which the trouble ends.
    let told = |freshness: Freshness| match freshness {
        Freshness::Stale { cause, .. } => format!("{} {cause}", cause.name()),
        other => format!("{other:?}"),
    };
    let wanted = || {
        let text = told(source.snapshot().freshness);
        text.starts_with(cause) && text.contains(words)
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{trouble:?}: {}", told(source.snapshot().freshness));
    assert_eq!(source.snapshot().nodes.len(), 1, "{trouble:?}");
    agent.heal();
    reader.until("restored").await;
    raw::register(agent.address(), cluster.as_str(), &node(2, "1"));
    reader.until("+").await;
    assert!(!reader.log.iter().any(|event| event.starts_with('-')), "{trouble:?}: {:?}", reader.log);
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_a_leader_are_told_by_their_answer() {
    let no_leader = Trouble::Status(500, "No cluster leader\n".to_owned());
    outlived("/", no_leader, "unavailable", "it answers 500 No cluster leader").await;
    outlived("/v1/status", Trouble::NoLeader, "unavailable", "the agent knows no leader of its servers").await;
    outlived("/v1/health", Trouble::NoLeader, "unavailable", "the agent knows no leader of its servers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_asked_too_often_says_so() {
    let limited = Trouble::Status(429, "Your IP is issuing too many concurrent connections".to_owned());
    outlived("/", limited, "unavailable", "it is asked more often than it allows").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_rights_that_lack() {
    let refused = Trouble::Status(403, "Permission denied".to_owned());
    outlived("/v1/health", refused, "refused", "service:write, service:read and node:read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_not_waited_for() {
    outlived("/", Trouble::SlowBody, "unavailable", "no answer within").await;
    outlived("/", Trouble::Silence, "unavailable", "no answer within").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_of_consul_is_told_as_such() {
    outlived("/v1/health", Trouble::Page, "invalid", "its answer is not what was asked for").await;
    outlived("/v1/health", Trouble::NoIndex, "invalid", "lacks the header X-Consul-Index").await;
    outlived("/v1/health", Trouble::OddHeader, "invalid", "headers that the client cannot read").await;
}
