//! What can be asked of an engine: members, health, how well the node itself is, and counters.

use std::sync::Arc;
use std::time::Duration;

use rdb_balance::Balancer;
use rdb_discovery::{DiscoveryEvent, Freshness};
use rdb_net_types::{HealthReport, HealthStatus, NodeId, NodeInfo};
use rdb_swim::Decision;

use crate::engine::{Engine, Phase};
use crate::roster::Census;

/// How far discovery can be trusted.
#[derive(Debug, Default)]
pub(crate) enum Trust {
    /// It has said nothing.
    #[default]
    Never,
    /// Its list is what its source says.
    Live,
    /// Its list is the last good one.
    Stale(String),
}

impl Trust {
    pub(crate) fn note(&mut self, event: &DiscoveryEvent) {
        match event {
            DiscoveryEvent::Snapshot(list) => {
                *self = match &list.freshness {
                    Freshness::Live => Self::Live,
                    Freshness::Stale { cause, .. } => Self::Stale(cause.to_string()),
                    _ => Self::Never,
                }
            }
            DiscoveryEvent::Degraded { cause } => *self = Self::Stale(cause.to_string()),
            DiscoveryEvent::Restored => *self = Self::Live,
            _ => {}
        }
    }
}

/// What the engine itself counts; its parts have their own counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets that were not, or not wholly, acted on; the reasons are in the membership's counters.
    pub packets_dropped: u64,
    /// Probes of members without an answer.
    pub probes_failed: u64,
    /// Exchanges of views asked for.
    pub syncs_started: u64,
    /// Of them, without an accepting answer.
    pub syncs_failed: u64,
    /// Of those, without any answer in time.
    pub syncs_timed_out: u64,
    /// Answers that came too late, or were never asked for.
    pub late_replies: u64,
    /// Answers that could not be read.
    pub replies_undecodable: u64,
    /// Requests of others that were refused: unreadable, or in another node's name.
    pub syncs_refused: u64,
    /// Connections lost without a farewell.
    pub links_lost: u64,
    /// Refused connections of members' addresses.
    pub refusals_seen: u64,
    /// Links with traffic whose silence became suspicious; see [`PhiConfig`](crate::PhiConfig).
    pub phi_crossed: u64,
    /// Connections with another life of a member than the known one.
    pub other_lives: u64,
    /// Limit hit: an exchange of views was not asked for because too many were under way.
    pub limit_syncs: u64,
    /// Limit hit: a change of health was not told because the driver does not fetch events.
    pub limit_events: u64,
}

/// Counters of the engine and of its parts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EngineStatistics {
    /// The engine's own.
    pub engine: Counters,
    /// Membership's.
    pub swim: rdb_swim::Statistics,
    /// Health's.
    pub health: rdb_health::Statistics,
    /// The balancer's.
    pub balance: rdb_balance::Statistics,
    /// Members whose description could not be read, counted once a change.
    pub descriptions_undecodable: u64,
    /// Limit hit: seeds that are not called because there are too many.
    pub limit_seeds: u64,
    /// Calls on seeds.
    pub seed_calls: u64,
    /// Seeds that are held.
    pub seeds: usize,
    /// Links that are kept.
    pub links_kept: usize,
    /// Of them, up.
    pub links_up: usize,
    /// Links of this node's own that carry traffic, and are asked about on an interval.
    pub links_busy: usize,
}

impl Engine {
    /// All members by ascending id, this node included, failed and left ones too. Folding the events that were fetched since
    /// an earlier answer over that answer gives this one.
    pub fn members(&self) -> Vec<Arc<NodeInfo>> {
        self.roster.iter().cloned().collect()
    }

    /// How many members are held in each state.
    pub fn census(&self) -> Census {
        self.roster.census()
    }

    /// The member of this id.
    pub fn member(&self, node: &NodeId) -> Option<&Arc<NodeInfo>> {
        self.roster.find(node)
    }

    /// This node as it tells of itself.
    pub fn local(&self) -> &Arc<NodeInfo> {
        self.roster.local()
    }

    /// The membership protocol's own state, for who checks or shows it.
    pub fn membership(&self) -> &rdb_swim::Swim {
        &self.swim
    }

    /// The balancer over the other members that messages are sent to.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// How a node is; `Unknown` where it is not followed.
    pub fn health(&self, node: &NodeId) -> HealthStatus {
        self.health.status(node)
    }

    /// All that is known of a node's health.
    pub fn node_health(&self, node: &NodeId) -> Option<rdb_health::NodeHealth> {
        self.health.node(node)
    }

    /// The nodes that are unhealthy, by ascending id.
    pub fn unhealthy(&self) -> Vec<NodeId> {
        self.health.unhealthy()
    }

    /// The nodes to which a link is kept, by ascending id.
    pub fn kept_links(&self) -> Vec<NodeId> {
        self.links.kept().cloned().collect()
    }

    /// Whether the node belongs to its cluster.
    pub fn is_joined(&self) -> bool {
        self.phase == Phase::Joined
    }

    /// The partition that this node is in, as far as it can tell.
    pub fn partition(&self) -> Option<rdb_swim::Partition> {
        self.swim.partition()
    }

    /// What a split-brain strategy says to this node's view. Looks at every member.
    pub fn decide_split(&self, strategy: rdb_swim::Strategy) -> rdb_swim::Decision {
        self.swim.decide_split(strategy)
    }

    /// A hash of the view: nodes that agree on every member have the same, and others hardly ever do.
    pub fn view_digest(&self) -> u64 {
        self.swim.digest()
    }

    /// How well this node is, worst part first.
    pub fn report(&self) -> HealthReport {
        HealthReport::of(
            [self.report_cluster(), self.report_discovery(), self.report_links(), self.report_members()]
                .into_iter()
                .chain(self.report_split())
                .collect(),
        )
    }

    /// A side that has to withdraw is of no use, however well it is.
    fn report_split(&self) -> Option<(String, HealthStatus, String)> {
        self.config.split_brain.strategy?;
        let (status, words) = match self.split_verdict() {
            None => (HealthStatus::Healthy, "nothing was to be decided".to_owned()),
            Some(verdict) if verdict.decision == Decision::Stay => (HealthStatus::Healthy, verdict.to_string()),
            Some(verdict) => (HealthStatus::Unhealthy, format!("this side withdraws; {verdict}")),
        };
        Some(("split brain".to_owned(), status, words))
    }

    /// Where many members have vanished together it is more likely that this node is cut off than that they are all gone.
    fn report_members(&self) -> (String, HealthStatus, String) {
        let census = self.roster.census();
        let known = census.routable() + census.failed;
        let partition = self.swim.partition();
        let is_degraded = census.failed * 2 > known || partition.is_some() || self.swim.is_unheard();
        let status = if is_degraded { HealthStatus::Degraded } else { HealthStatus::Healthy };
        let gossip =
            if self.swim.is_unheard() { "; no gossip comes, members answer over connections only" } else { "" };
        let apart = partition.map_or_else(String::new, |apart| format!("; {} vanished together", apart.unreachable));
        let (routable, suspect) = (census.routable(), census.suspect);
        let words = format!("{routable} of {known} members are routable, {suspect} suspected{apart}{gossip}");
        ("membership".to_owned(), status, words)
    }

    fn report_cluster(&self) -> (String, HealthStatus, String) {
        let (status, words) = match self.phase {
            Phase::Joining => (HealthStatus::Degraded, "looking for the cluster".to_owned()),
            Phase::Joined => (HealthStatus::Healthy, "joined".to_owned()),
            Phase::Leaving => (HealthStatus::Degraded, "leaving".to_owned()),
            Phase::Left => (HealthStatus::Unhealthy, "left".to_owned()),
        };
        ("cluster".to_owned(), status, words)
    }

    fn report_discovery(&self) -> (String, HealthStatus, String) {
        let (status, words) = match &self.trust {
            Trust::Never => (HealthStatus::Healthy, "no source has spoken; the given seeds are used".to_owned()),
            Trust::Live => (HealthStatus::Healthy, format!("{} seeds", self.seeds.len())),
            Trust::Stale(cause) => (HealthStatus::Degraded, cause.clone()),
        };
        ("discovery".to_owned(), status, words)
    }

    fn report_links(&self) -> (String, HealthStatus, String) {
        let (kept, up) = (self.links.kept().count(), self.links.kept_up());
        let status = if kept > 0 && up == 0 { HealthStatus::Degraded } else { HealthStatus::Healthy };
        let words = format!("{up} of {kept} kept links are up, {} nodes are connected", self.links.connected());
        ("links".to_owned(), status, words)
    }

    /// How suspicious the silence of a node is, by phi; `None` where its link carries no traffic.
    pub fn phi(&self, now: Duration, node: &NodeId) -> Option<f64> {
        self.phi.phi(now, node)
    }

    /// What happened since the start.
    pub fn statistics(&self) -> EngineStatistics {
        EngineStatistics {
            engine: self.counters,
            swim: self.swim.stats().clone(),
            health: self.health.stats(),
            balance: self.balancer.statistics(),
            descriptions_undecodable: self.roster.undecodable,
            limit_seeds: self.seeds.limit_seeds,
            seed_calls: self.seeds.attempts(),
            seeds: self.seeds.len(),
            links_kept: self.links.kept().count(),
            links_up: self.links.kept_up(),
            links_busy: self.flows.len(),
        }
    }
}
