//! `discovery doctor`: asks every source of a configuration itself, asks a running node what it sees, and tells where they differ.
//!
//! It registers nothing and keeps nothing: whoever looks changes nothing.

mod compare;
mod render;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::{DiscoverySource, Freshness};
use rdb_net_admin::views::{DiscoveryView, SourceView, TopologyView};
use rdb_net_manager::{SourceView as Source, configured_sources};
use rdb_net_types::NodeAddress;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::cli::DoctorOptions;
use crate::client;
use crate::exit::Failure;
use crate::output::Output;
use crate::run;
use compare::{Gossip, compare};
use view::{NodeView, Report};

/// How often a source is looked at that has not answered yet.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the name of a host may take to resolve. Names that do not are compared as texts.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many host names are resolved: more say no more of what is wrong.
const RESOLVE_MAX: usize = 1_000;

/// Looks, tells, and fails where something is wrong.
pub(crate) async fn run(options: DoctorOptions, output: Output) -> Result<(), Failure> {
    let config = run::load(options.config.as_deref(), &options.set)?;
    let sources = configured_sources(&config).map_err(run::not_started)?;
    let admin = options.admin.clone().or_else(|| config.admin_bind().filter(|admin| admin.port() != 0));
    let asked = ask(&sources, Duration::from_secs(options.wait.into()));
    let (asked, node) = tokio::join!(asked, running(admin.as_ref().filter(|_| !options.offline)));
    let (node, unreachable) = match node {
        Ok(node) => (node, None),
        Err(failure) => (None, Some(failure)),
    };
    let hosts = resolve(&asked, node.as_ref()).await;
    let same = |one: &NodeAddress, other: &NodeAddress| is_same(&hosts, one, other);
    let gossip =
        node.as_ref().map(|node| Gossip { answering: &node.topology.node_id, members: &node.topology.members });
    let mut findings = compare(&asked, gossip, same);
    findings.extend(compare::heard(
        &asked,
        node.as_ref().map(|node| (&node.topology.node_id, &node.discovery.sources[..])),
    ));
    let wrong = findings.iter().filter(|finding| finding.is_problem()).count();
    let report = Report::new(&config, asked, admin.filter(|_| node.is_some()).as_ref(), node, findings);
    output.result(&report, render::report)?;
    match (unreachable, wrong) {
        (_, 1..) => Err(Failure::Discovery(format!(
            "{wrong} {}",
            if wrong == 1 { "thing is wrong" } else { "things are wrong" }
        ))),
        (Some(failure), _) => Err(failure),
        (None, 0) => Ok(()),
    }
}

/// What each source says, within this time. All are stopped again.
async fn ask(sources: &[Arc<dyn DiscoverySource>], wait: Duration) -> Vec<SourceView> {
    let deadline = Instant::now() + wait;
    let mut asking = JoinSet::new();
    for (place, source) in sources.iter().enumerate() {
        let source = Arc::clone(source);
        asking.spawn(async move { (place, one(&*source, deadline).await) });
    }
    // A task of these neither panics nor is aborted.
    let mut views: Vec<_> = asking.join_all().await;
    views.sort_by_key(|(place, _)| *place);
    views.into_iter().map(|(_, view)| view).collect()
}

async fn one(source: &dyn DiscoverySource, deadline: Instant) -> SourceView {
    let is_live = || source.snapshot().freshness == Freshness::Live;
    let started = timeout_at(deadline, source.initialize()).await;
    let answered = async {
        while !is_live() {
            sleep(LOOK_AGAIN).await;
        }
    };
    let refused = match started {
        Ok(Err(error)) => error.to_string(),
        _ => {
            // Whatever it has said by then is what it says.
            let _ = timeout_at(deadline, answered).await;
            String::new()
        }
    };
    let mut view = SourceView::of(&Source::of(source));
    if view.cause.is_empty() && view.state != "live" {
        view.cause = if refused.is_empty() { String::from("it did not answer in time") } else { refused };
    }
    // It is nobody's source any more, and what does not end by itself ends with this process.
    let _ = source.shutdown().await;
    view
}

/// What the node says whose admin listener this is.
async fn running(admin: Option<&NodeAddress>) -> Result<Option<NodeView>, Failure> {
    let Some(admin) = admin else { return Ok(None) };
    let topology: TopologyView = client::get(admin, "/api/v1/network/topology").await?;
    let discovery: DiscoveryView = client::get(admin, "/api/v1/network/discovery").await?;
    Ok(Some(NodeView { topology, discovery }))
}

/// The addresses behind every host that is named, as far as they are known: one source may say a name and another its address.
async fn resolve(asked: &[SourceView], node: Option<&NodeView>) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let listed = asked.iter().flat_map(|source| &source.nodes).map(|node| &node.address);
    let members = node.into_iter().flat_map(|node| &node.topology.members).map(|member| &member.address);
    let hosts: BTreeSet<&str> = listed.chain(members).map(NodeAddress::host).collect();
    let mut resolving = JoinSet::new();
    for host in hosts.into_iter().take(RESOLVE_MAX) {
        let host = host.to_owned();
        resolving.spawn(async move {
            let found = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host.as_str(), 0))).await;
            let found =
                found.map(|found| found.map(|found| found.map(|address| address.ip().to_canonical()).collect()));
            (host, found.unwrap_or(Ok(BTreeSet::new())).unwrap_or_default())
        });
    }
    resolving.join_all().await.into_iter().collect()
}

fn is_same(hosts: &BTreeMap<String, BTreeSet<IpAddr>>, one: &NodeAddress, other: &NodeAddress) -> bool {
    let addresses = |address: &NodeAddress| hosts.get(address.host()).cloned().unwrap_or_default();
    one.port() == other.port() && (one.host() == other.host() || !addresses(one).is_disjoint(&addresses(other)))
}
