//! What becomes of lists and registrations when the agent or the way to it fails.

use std::time::{Duration, Instant};

use rdb_discovery::{DiscoverySource, RegistrationState};
use rdb_discovery_consul::test_agent::{TestAgent, Trouble};
use rdb_discovery_consul::{ConsulConfig, ConsulDiscovery};
use rdb_discovery_driver::conformance::{Proxy, Reader, node, soon, until};
use rdb_net_types::{BootId, ClusterId, Component, NodeInfo, ServiceDiscovery};

use crate::agents::{cluster, config, started};
use crate::raw;

fn booted(number: u16) -> NodeInfo {
    NodeInfo { boot: BootId(u64::from(number) + 1), ..node(number, "1") }
}

fn all(count: u16) -> Vec<NodeInfo> {
    (0..count).map(booted).collect()
}

/// Processes of one cluster, each registered, and a reader of the first.
async fn registered(agent: &TestAgent, cluster: &ClusterId, count: u16) -> (Vec<ConsulDiscovery>, Reader) {
    let mut sources = Vec::new();
    for node in all(count) {
        let source = started(config(cluster, &agent.url())).await;
        soon("a registration", source.register_node(&node)).await.expect("registered");
        sources.push(source);
    }
    let mut reader = Reader::of(&sources[0]);
    reader.until_addresses(&all(count)).await;
    reader.log.clear();
    (sources, reader)
}

fn epoch(source: &ConsulDiscovery) -> Option<u64> {
    match source.registration() {
        Some(RegistrationState::Active { epoch, .. }) => Some(epoch),
        _ => None,
    }
}

async fn finish(sources: Vec<ConsulDiscovery>) {
    for source in sources {
        soon("a shutdown", source.shutdown()).await.expect("everything ends");
    }
}

fn about_nodes(reader: &Reader) -> Vec<&String> {
    reader.log.iter().filter(|event| event.starts_with(['+', '-', '~'])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_without_a_word_expires_within_its_time() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    let (mut sources, mut reader) = registered(&agent, &cluster, 4).await;
    // No farewell, and nobody tells its check any more.
    drop(sources.pop());
    let died = Instant::now();
    assert_eq!(reader.until("-").await, format!("-{} expired", booted(3).address));
    assert!(died.elapsed() < Duration::from_secs(5), "{:?} with 3 s to live", died.elapsed());
    finish(sources).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_restarted_without_its_data_is_told_of_its_nodes_anew() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    let (sources, mut reader) = registered(&agent, &cluster, 6).await;
    agent.restart_without_data();
    until("all are registered anew", || sources.iter().all(|source| epoch(source) == Some(2))).await;
    reader.until("restored").await;
    until("the list is whole", || sources[0].snapshot().nodes.len() == 6).await;
    assert_eq!(about_nodes(&reader), [""; 0], "nobody left: {:?}", reader.log);
    finish(sources).await;
}

/// What asks next connects anew, and would show the new agent an index of the old one's.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_began_anew_between_two_questions_is_asked_without_an_index() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    for node in all(3) {
        raw::register(agent.address(), cluster.as_str(), &node);
    }
    let source = started(ConsulConfig { wait: Duration::from_secs(60), ..config(&cluster, &agent.url()) }).await;
    let mut reader = Reader::of(&source);
    reader.until_addresses(&all(3)).await;
    // A change ends the question that waits; the next one is asked a tenth of a second later.
    for restart in 0..5 {
        let number = 10 + restart;
        let answers = source.statistics().answers;
        raw::register(agent.address(), cluster.as_str(), &booted(number));
        until("the change is answered", || source.statistics().answers > answers).await;
        agent.restart_with_nothing();
        let began = Instant::now();
        for node in all(3) {
            raw::register(agent.address(), cluster.as_str(), &node);
        }
        raw::register(agent.address(), cluster.as_str(), &booted(20 + restart));
        reader.until(&format!("+{}", booted(20 + restart).address)).await;
        assert!(began.elapsed() < Duration::from_secs(5), "restart {restart}: {:?}", began.elapsed());
    }
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_their_data_are_found_and_nobody_is_lost() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    let (sources, mut reader) = registered(&agent, &cluster, 6).await;
    agent.restart_with_nothing();
    until("all are registered anew", || sources.iter().all(|source| epoch(source) == Some(2))).await;
    reader.until("resynced").await;
    until("the list is whole", || sources[0].health_check() == rdb_net_types::HealthStatus::Healthy).await;
    assert_eq!(sources[0].snapshot().nodes.len(), 6);
    assert_eq!(about_nodes(&reader), [""; 0], "nobody left: {:?}", reader.log);
    finish(sources).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_goes_back_is_followed_by_a_new_list() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    for node in all(3) {
        raw::register(agent.address(), cluster.as_str(), &node);
    }
    let source = started(config(&cluster, &agent.url())).await;
    let mut reader = Reader::of(&source);
    reader.until_addresses(&all(3)).await;
    agent.restore_index(3);
    reader.until("resynced").await;
    assert_eq!(source.statistics().index_resets, 1);
    // Whoever went on from the old index would wait for what the new servers reach in a year.
    let began = Instant::now();
    raw::register(agent.address(), cluster.as_str(), &booted(3));
    reader.until("+").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_silent_is_found_by_an_unanswered_probe() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    let proxy = Proxy::to(&agent.url());
    let second = Duration::from_secs(1);
    let settings = ConsulConfig { request_timeout: second, wait: 60 * second, ..config(&cluster, &proxy.url()) };
    let source = started(settings).await;
    let mut reader = Reader::of(&source);
    reader.until("=0").await;
    let began = Instant::now();
    proxy.silence();
    assert_eq!(reader.until("degraded").await, "degraded unavailable");
    // A probe each half second, and one second for its answer; a blocking query would have waited for a minute.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    proxy.heal();
    reader.until("restored").await;
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_ends_without_a_change_is_no_event() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    raw::register(agent.address(), cluster.as_str(), &booted(1));
    let source = started(ConsulConfig { wait: Duration::from_secs(1), ..config(&cluster, &agent.url()) }).await;
    let mut reader = Reader::of(&source);
    reader.until("=1").await;
    until("three waits have ended", || source.statistics().answers >= 4).await;
    raw::register(agent.address(), cluster.as_str(), &booted(2));
    reader.until("+").await;
    assert_eq!(reader.log, ["=1", &format!("+{}", booted(2).address)]);
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_changes_is_a_few_questions() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    let source = started(config(&cluster, &agent.url())).await;
    let mut reader = Reader::of(&source);
    reader.until("=0").await;
    let before = source.statistics().answers;
    let began = Instant::now();
    for node in all(300) {
        raw::register(agent.address(), cluster.as_str(), &node);
    }
    reader.until_addresses(&all(300)).await;
    let (answers, limit) = (source.statistics().answers - before, began.elapsed().as_millis() as u64 / 100 + 2);
    assert!(answers <= limit, "{answers} answers for 300 changes, and at most {limit} were expected");
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_kept_by_words_to_its_check_alone() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    let source = started(config(&cluster, &agent.url())).await;
    soon("a registration", source.register_node(&booted(1))).await.expect("registered");
    let count = |what: &str| agent.requests().iter().filter(|request| request.starts_with(what)).count();
    until("five words were said", || count("PUT /v1/agent/check/update/service:") >= 5).await;
    assert_eq!(count("PUT /v1/agent/service/register"), 1);
    assert_eq!(epoch(&source), Some(1));
    assert_eq!(raw::health(agent.address(), cluster.as_str())[0]["Checks"][1]["Status"], "passing");
    finish(vec![source]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_are_not_taken_cost_the_registration_and_it_comes_back() {
    let (agent, cluster) = (TestAgent::start(), cluster());
    let (sources, mut reader) = registered(&agent, &cluster, 4).await;
    agent.trouble("/v1/agent/check", Trouble::Status(500, "No cluster leader".to_owned()));
    until("it knows", || matches!(sources[1].registration(), Some(RegistrationState::Lost { .. }))).await;
    agent.heal();
    until("they are registered", || sources.iter().all(|source| epoch(source).is_some())).await;
    until("all are listed", || sources[0].snapshot().nodes.len() == 4).await;
    raw::register(agent.address(), cluster.as_str(), &booted(9));
    reader.until(&format!("+{}", booted(9).address)).await;
    finish(sources).await;
}
