//! What the doctor found, for people: the sources, who names whom, and what is wrong.

use std::collections::BTreeMap;

use rdb_net_admin::views::{ListedView, SourceView};

use super::view::Report;
use crate::render::{duration, or_dash, table, text};

/// More rows are cut: what differs stands below them.
const NODES_SHOWN_MAX: usize = 50;

pub(crate) fn report(report: &Report) -> String {
    let mut shown = sources(report);
    let nodes = nodes(report);
    if !nodes.is_empty() {
        shown.push('\n');
        shown.push_str(&nodes);
    }
    shown.push('\n');
    if report.findings.is_empty() {
        let node = report.node.as_ref().map(|node| format!(" with each other and with {}", node.node_id));
        shown.push_str(&format!("all agree{}\n", node.unwrap_or_default()));
    }
    for finding in &report.findings {
        let severity = if finding.is_problem() { "problem" } else { "remark" };
        shown.push_str(&format!("{severity}: {}\n", or_dash(&finding.text)));
    }
    shown
}

fn sources(report: &Report) -> String {
    let mut rows = table(["SOURCE", "STATE", "AGE", "NODES", "NODE HEARS", "REGISTRATION", "CAUSE"]);
    let heard = |name: &str| report.node.as_ref()?.sources.iter().find(|source| source.name == name);
    for source in &report.sources {
        let heard = heard(&source.name);
        let registration = heard.and_then(|heard| heard.registration.as_ref());
        rows.add_row([
            or_dash(&source.name),
            source.state.clone(),
            age(source),
            source.nodes.len().to_string(),
            heard.map_or_else(
                || "-".to_owned(),
                |heard| format!("{}, {} nodes, {}", heard.state, heard.nodes.len(), age(heard)),
            ),
            registration.map_or_else(|| "-".to_owned(), |registration| registration.state.clone()),
            or_dash(&source.cause),
        ]);
    }
    text(&rows)
}

fn age(source: &SourceView) -> String {
    source.age_seconds.map_or_else(|| "-".to_owned(), duration)
}

/// Each node that anybody tells of, and who does.
fn nodes(report: &Report) -> String {
    let mut listed: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    let mut add = |id: String, address: String, who| listed.entry((id, address)).or_default().push(who);
    for member in report.node.iter().flat_map(|node| &node.members) {
        add(member.node_id.to_string(), member.address.to_string(), member.state.as_str());
    }
    for source in &report.sources {
        for ListedView { node_id, address } in &source.nodes {
            let id = node_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            add(id, address.to_string(), source.name.as_str());
        }
    }
    if listed.is_empty() {
        return String::new();
    }
    let more = listed.len().saturating_sub(NODES_SHOWN_MAX);
    let mut rows = table(["NODE", "ADDRESS", "TOLD BY"]);
    for ((id, address), who) in listed.iter().take(NODES_SHOWN_MAX) {
        rows.add_row([id.clone(), address.clone(), who.join(", ")]);
    }
    let rest = if more > 0 { format!("and {more} more\n") } else { String::new() };
    text(&rows) + &rest
}
