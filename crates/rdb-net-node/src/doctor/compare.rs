//! Where sources differ from each other and from the members of a running node. Pure: lists in, findings out.

use std::collections::BTreeSet;

use rdb_net_admin::views::{ListedView, MemberView, SourceView};
use rdb_net_types::{NodeAddress, NodeId, NodeState};

use super::view::{Finding, Severity};

/// The members that a running node sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gossip<'a> {
    pub(crate) answering: &'a NodeId,
    pub(crate) members: &'a [MemberView],
}

/// One node, whoever tells of it.
#[derive(Debug)]
struct Row<'a> {
    id: Option<&'a NodeId>,
    /// Which sources name it, by their place, and where they say that it is.
    listed: Vec<(usize, &'a NodeAddress)>,
    member: Option<&'a MemberView>,
}

impl Row<'_> {
    fn addresses(&self) -> impl Iterator<Item = &NodeAddress> {
        self.listed.iter().map(|(_, address)| *address).chain(self.member.map(|member| &member.address))
    }

    fn name(&self) -> String {
        let address = || self.addresses().next().map(ToString::to_string).unwrap_or_default();
        self.id.map_or_else(address, ToString::to_string)
    }
}

/// Where the lists of the sources and the members differ. A source that is away is told as such, and its list not held against
/// the others. Two addresses are the same where `same` says so.
pub(crate) fn compare(
    sources: &[SourceView],
    gossip: Option<Gossip<'_>>,
    same: impl Fn(&NodeAddress, &NodeAddress) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if sources.is_empty() {
        let text = "no source is configured: the node waits for others (networking.service_discovery.type)";
        findings.push(finding(Severity::Remark, "no_source", None, None, text.to_owned()));
    }
    for source in sources {
        let name = &source.name;
        match (source.state.as_str(), source.nodes.len()) {
            ("live", 0) => {
                let text = format!("{name} names no node");
                findings.push(finding(Severity::Remark, "empty_source", Some(name), None, text));
            }
            ("live", _) => {}
            _ => {
                let text = format!("{name} is away: {}", source.cause);
                findings.push(finding(Severity::Problem, "source_away", Some(name), None, text));
            }
        }
    }
    let rows = rows(sources, gossip, &same);
    for row in &rows {
        differences(row, sources, gossip, &same, &mut findings);
    }
    doubles(sources, &same, &mut findings);
    findings
}

/// Whether a running node hears its sources as this command does, and stands where it should.
pub(crate) fn heard(asked: &[SourceView], node: Option<(&NodeId, &[SourceView])>) -> Vec<Finding> {
    let Some((id, heard)) = node else { return Vec::new() };
    let mut findings = Vec::new();
    let node = id.to_string();
    for source in heard {
        let name = &source.name;
        let is_here = asked.iter().any(|asked| asked.name == *name && asked.state == "live");
        if source.state != "live" && is_here {
            let text = format!("{node} does not hear {name}, which answers this command: {}", source.cause);
            findings.push(finding(Severity::Problem, "source_away_for_node", Some(name), Some(&node), text));
        }
        if let Some(standing) = source.registration.as_ref().filter(|standing| standing.state != "active") {
            let reason = if standing.detail.is_empty() { String::new() } else { format!(": {}", standing.detail) };
            let text = format!("{node} is not registered in {name} but {}{reason}", standing.state);
            findings.push(finding(Severity::Problem, "registration", Some(name), Some(&node), text));
        }
    }
    for source in asked.iter().filter(|asked| heard.iter().all(|heard| heard.name != asked.name)) {
        let text = format!("{node} runs without the source {}, which this configuration names", source.name);
        findings.push(finding(Severity::Problem, "other_configuration", Some(&source.name), Some(&node), text));
    }
    findings
}

/// Everybody of whom anybody tells, the same node in one row.
fn rows<'a>(
    sources: &'a [SourceView],
    gossip: Option<Gossip<'a>>,
    same: &impl Fn(&NodeAddress, &NodeAddress) -> bool,
) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for member in gossip.iter().flat_map(|gossip| gossip.members) {
        rows.push(Row { id: Some(&member.node_id), listed: Vec::new(), member: Some(member) });
    }
    let listed = |source: (usize, &'a SourceView)| source.1.nodes.iter().map(move |node| (source.0, node));
    let (named, seeds): (Vec<_>, Vec<_>) =
        sources.iter().enumerate().flat_map(listed).partition(|(_, node)| node.node_id.is_some());
    // Seeds come last, when everybody is known whom they may be.
    for (place, node) in named.into_iter().chain(seeds) {
        let fits = |row: &&mut Row<'_>| match (&node.node_id, row.id) {
            (Some(id), Some(other)) => id == other,
            (None, _) => row.addresses().any(|address| same(address, &node.address)),
            (Some(_), None) => false,
        };
        match rows.iter_mut().find(fits) {
            Some(row) => row.listed.push((place, &node.address)),
            None => {
                rows.push(Row { id: node.node_id.as_ref(), listed: vec![(place, &node.address)], member: None });
            }
        }
    }
    rows
}

fn differences(
    row: &Row<'_>,
    sources: &[SourceView],
    gossip: Option<Gossip<'_>>,
    same: &impl Fn(&NodeAddress, &NodeAddress) -> bool,
    findings: &mut Vec<Finding>,
) {
    let node = row.name();
    let name_of = |place: usize| sources.get(place).map_or("", |source| source.name.as_str());
    let mut tell = |severity, kind, source: Option<&str>, text| {
        findings.push(finding(severity, kind, source.map(str::to_owned).as_ref(), Some(&node), text));
    };
    let by: Vec<&str> = row.listed.iter().map(|(place, _)| name_of(*place)).collect();
    if let Some(gossip) = gossip {
        let seer = gossip.answering;
        match (row.member, by.first().copied()) {
            (None, Some(first)) => {
                let text = format!("{} names {node}, and {seer} has no such member", by.join(" and "));
                tell(Severity::Problem, "not_a_member", Some(first), text);
            }
            (Some(member), Some(first)) if matches!(member.state, NodeState::Failed | NodeState::Left) => {
                let text =
                    format!("{} names {node}, which is {} in the view of {seer}", by.join(" and "), member.state);
                tell(Severity::Problem, "not_alive", Some(first), text);
            }
            _ => {}
        }
    }
    let is_alive = row.member.is_some_and(|member| matches!(member.state, NodeState::Alive | NodeState::Suspect));
    let is_gone = row.member.is_some_and(|_| !is_alive);
    for (place, source) in sources.iter().enumerate().filter(|(_, source)| source.state == "live") {
        let is_listed = row.listed.iter().any(|(listed, _)| *listed == place);
        if is_listed || is_gone {
            continue;
        }
        let who = match (gossip.filter(|_| is_alive), by.as_slice()) {
            (Some(gossip), _) => format!("{node} is a member in the view of {}", gossip.answering),
            (None, []) => continue,
            (None, by) => format!("{} names {node}", by.join(" and ")),
        };
        let severity = if source.registers && is_alive { Severity::Problem } else { Severity::Remark };
        tell(severity, "missing_in_source", Some(&source.name), format!("{who}, and {} does not name it", source.name));
    }
    let mut told: Vec<(String, &NodeAddress)> =
        row.listed.iter().map(|(place, address)| (name_of(*place).to_owned(), *address)).collect();
    told.extend(
        gossip.zip(row.member).map(|(gossip, member)| (format!("the view of {}", gossip.answering), &member.address)),
    );
    if let Some(((first, one), (second, other))) = (told.first())
        .and_then(|first| told.iter().find(|(_, address)| !same(first.1, address)).map(|second| (first, second)))
    {
        let text = format!("{node} is at {one} in {first}, and at {other} in {second}");
        tell(Severity::Problem, "address_differs", None, text);
    }
}

/// Two names at one address within one source: one of them is no more.
fn doubles(sources: &[SourceView], same: &impl Fn(&NodeAddress, &NodeAddress) -> bool, findings: &mut Vec<Finding>) {
    for source in sources {
        let named: Vec<(&NodeId, &ListedView)> =
            source.nodes.iter().filter_map(|node| Some((node.node_id.as_ref()?, node))).collect();
        let mut told = BTreeSet::new();
        for (index, (id, node)) in named.iter().enumerate() {
            for (other, twin) in &named[index + 1..] {
                // Ports differ far more often than hosts do, and hosts are the dear part.
                if node.address.port() == twin.address.port()
                    && same(&node.address, &twin.address)
                    && told.insert(*other)
                {
                    let text = format!("{} names {id} and {other} at one address, {}", source.name, node.address);
                    let node = id.to_string();
                    findings.push(finding(Severity::Problem, "two_names", Some(&source.name), Some(&node), text));
                }
            }
        }
    }
}

fn finding(
    severity: Severity,
    kind: &'static str,
    source: Option<&String>,
    node: Option<&String>,
    text: String,
) -> Finding {
    Finding { severity, kind, source: source.cloned(), node: node.cloned(), text }
}

#[cfg(test)]
mod tests;
