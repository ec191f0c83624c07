//! Views as tables for people.

use comfy_table::{Table, presets};
use rdb_net_admin::views::{MemberView, StatusView, TopologyView};
use rdb_net_types::NodeId;

pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// Rows without the space before the first column and those that fill the last one.
pub(crate) fn text(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end())).collect()
}

/// The members of a cluster, one a row.
pub(crate) fn members(topology: &TopologyView) -> String {
    let mut rows = table(["NODE", "ADDRESS", "STATE", "HEALTH", "FOR", "CONNECTED", "VERSION", "ZONE"]);
    for member in &topology.members {
        rows.add_row(member_row(member, &topology.node_id));
    }
    text(&rows)
}

fn member_row(member: &MemberView, answering: &NodeId) -> [String; 8] {
    let is_self = member.node_id == *answering;
    let connected = match (is_self, member.connected) {
        (true, _) => "self",
        (false, true) => "yes",
        (false, false) => "no",
    };
    [
        member.node_id.to_string(),
        member.address.to_string(),
        member.state.to_string(),
        member.health.to_string(),
        member.in_state_seconds.map_or_else(|| "-".to_owned(), duration),
        connected.to_owned(),
        or_dash(&member.version),
        or_dash(&member.zone),
    ]
}

/// A node in one screen: what it is, then what its health is made of.
pub(crate) fn status(status: &StatusView) -> String {
    let mut facts = Table::new();
    facts.load_style(presets::NOTHING);
    let members: Vec<String> = status.members.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let joined = if status.health.joined { "yes" } else { "no" };
    facts.add_rows([
        ["node", status.node_id.as_str()],
        ["cluster", &status.cluster],
        ["version", &or_dash(&status.version)],
        ["address", &status.address.to_string()],
        ["gossip", &status.gossip_address.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)],
        ["uptime", &duration(status.uptime_seconds)],
        ["joined", joined],
        ["members", &members.join(", ")],
        ["connections", &status.active_connections.to_string()],
        ["sent", &bytes(status.bytes_sent)],
        ["received", &bytes(status.bytes_received)],
        ["health", status.health.status.name()],
    ]);
    let mut shown = text(&facts);
    if !status.health.parts.is_empty() {
        let mut parts = table(["PART", "STATUS", "REASON"]);
        for part in &status.health.parts {
            parts.add_row([part.name.clone(), part.status.to_string(), or_dash(&part.reason)]);
        }
        shown.push('\n');
        shown.push_str(&text(&parts));
    }
    shown
}

/// Texts come from other nodes: characters that steer a terminal are shown, not obeyed.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A duration to the precision that matters for its length.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3_600 => format!("{minutes}m {}s", whole % 60),
        3_600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A number of bytes with a binary unit.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let exponent = count.ilog2() / 10;
    format!("{:.1} {}", count as f64 / (1_u64 << (10 * exponent)) as f64, UNITS[exponent as usize - 1])
}

#[cfg(test)]
mod tests;
