//! What the doctor found, as JSON.

use rdb_net_admin::views::{DiscoveryView, SourceView, TopologyView};
use rdb_net_manager::config::Config;
use rdb_net_types::{NodeAddress, NodeId};
use serde::Serialize;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The cluster of the configuration.
    pub(crate) cluster: String,
    /// What each source says when this command asks it, the one that counts most first.
    pub(crate) sources: Vec<SourceView>,
    /// The node that was asked; `null` where none was, or none answered.
    pub(crate) node: Option<AnsweredView>,
    /// Where they differ, problems first.
    pub(crate) findings: Vec<Finding>,
}

/// A running node.
#[derive(Debug, Serialize)]
pub(crate) struct AnsweredView {
    /// Its id.
    pub(crate) node_id: NodeId,
    /// Where it was asked.
    pub(crate) admin: Option<NodeAddress>,
    /// What its sources say to it, and how it stands there.
    pub(crate) sources: Vec<SourceView>,
    /// The members of its cluster in its view.
    pub(crate) members: Vec<SeenView>,
}

/// A member in the view of the node.
#[derive(Debug, Serialize)]
pub(crate) struct SeenView {
    /// Its id.
    pub(crate) node_id: NodeId,
    /// Where it is.
    pub(crate) address: NodeAddress,
    /// `alive`, `suspect`, `failed` or `left`.
    pub(crate) state: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Somebody should act.
    Problem,
    /// It may well be meant.
    Remark,
}

/// Something that is to be told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What kind of thing: `source_away`, `missing_in_source`, …
    pub(crate) kind: &'static str,
    /// The source that it is about.
    pub(crate) source: Option<String>,
    /// The node that it is about, by its id or its address.
    pub(crate) node: Option<String>,
    /// The whole of it, for people.
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn is_problem(&self) -> bool {
        self.severity == Severity::Problem
    }
}

/// What a running node said.
#[derive(Debug)]
pub(crate) struct NodeView {
    pub(crate) topology: TopologyView,
    pub(crate) discovery: DiscoveryView,
}

impl Report {
    pub(crate) fn new(
        config: &Config,
        sources: Vec<SourceView>,
        admin: Option<&NodeAddress>,
        node: Option<NodeView>,
        mut findings: Vec<Finding>,
    ) -> Self {
        findings.sort();
        let node = node.map(|node| AnsweredView {
            node_id: node.topology.node_id,
            admin: admin.cloned(),
            sources: node.discovery.sources,
            members: (node.topology.members.into_iter())
                .map(|member| SeenView {
                    node_id: member.node_id,
                    address: member.address,
                    state: member.state.to_string(),
                })
                .collect(),
        });
        Self { cluster: config.cluster_id.to_string(), sources, node, findings }
    }
}
