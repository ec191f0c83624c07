//! `cargo xtask layers`: who may import whom.
//!
//! A crate imports lower floors only, and on one floor nobody imports a neighbour; the pure floors do not know that a
//! runtime exists; each external client has one owner. What only tests use does not count, and `xtask`, `tests`,
//! `benches` and `fuzz` stand outside.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::failure::{Failure, no_arguments};
use crate::house::{FLOOR_MAX, FLOOR_OF_DRIVERS, Floor, House, Member, Place};

/// What the pure floors may not know of: runtimes, sockets and what is built on them.
pub(crate) const RUNTIME: &[&str] = &["tokio", "tokio-util", "rustls", "quinn", "quinn-proto", "hyper", "socket2"];

/// External clients, and the crates that may import them. A client in one place can be replaced, upgraded and left out.
pub(crate) const OWNERS: &[(&str, &[&str])] = &[
    ("aws-lc-rs", &["rdb-net-seal", "rdb-net-tls"]),
    ("axum", &["rdb-net-admin"]),
    ("clap", &["rdb-net-node", "rdb-net-sim"]),
    ("comfy-table", &["rdb-net-node"]),
    ("consulrs", &["rdb-discovery-consul"]),
    ("etcd-client", &["rdb-discovery-etcd"]),
    ("hickory-resolver", &["rdb-discovery-dns"]),
    ("notify", &["rdb-discovery-static", "rdb-net-manager"]),
    ("prometheus-client", &["rdb-net-admin"]),
    ("quinn", &["rdb-net-quic"]),
    ("quinn-proto", &["rdb-net-quic"]),
    ("quinn-udp", &["rdb-net-quic"]),
    ("rcgen", &["rdb-net-tls"]),
    ("reqwest", &["rdb-discovery-consul"]),
    ("rustify", &["rdb-discovery-consul"]),
    ("rustls", &["rdb-net-tls", "rdb-net-tcp", "rdb-net-quic"]),
    ("socket2", &["rdb-net-tcp", "rdb-net-quic", "rdb-net-membership"]),
    ("tokio-rustls", &["rdb-net-tls", "rdb-net-tcp"]),
    ("tracing-subscriber", &["rdb-net-node"]),
    ("x509-parser", &["rdb-net-tls"]),
];

/// Names that say nothing of a purpose: such a crate collects what belongs elsewhere.
const GRAB_BAGS: &[&str] = &["common", "util", "utils", "core"];

/// Prints the house and fails when an edge of it is not allowed.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    no_arguments("layers", arguments)?;
    println!("{}", render(house));
    Failure::unless_empty("layers", &violations(house))
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Violation<'a> {
    NoFloor { name: &'a str },
    WrongFloor { name: &'a str, written: &'a str },
    Upward { from: &'a str, from_floor: u8, to: &'a str, to_floor: u8 },
    Sideways { from: &'a str, to: &'a str, floor: u8 },
    ImportsTool { from: &'a str, to: &'a str },
    ImpureImport { from: &'a str, floor: u8, to: &'a str },
    SecondOwner { client: &'a str, from: &'a str, owners: &'a [&'a str] },
    FolderDiffers { name: &'a str, folder: &'a str },
    GrabBag { name: &'a str },
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFloor { name } => write!(f, "{name}: the manifest lacks `[package.metadata.rdb] floor = N`"),
            Self::WrongFloor { name, written } => {
                write!(f, "{name}: floor {written} is not a number from 0 to {FLOOR_MAX}")
            }
            Self::Upward { from, from_floor, to, to_floor } => {
                write!(f, "{from} (floor {from_floor}) imports {to} (floor {to_floor}): an edge goes down only")
            }
            Self::Sideways { from, to, floor } => {
                write!(f, "{from} imports its neighbour {to} on floor {floor}: what both need belongs below them")
            }
            Self::ImportsTool { from, to } => write!(f, "{from} imports {to}, which stands outside the house"),
            Self::ImpureImport { from, floor, to } => {
                write!(f, "{from} (floor {floor}) imports {to}: below floor {FLOOR_OF_DRIVERS} everything is pure")
            }
            Self::SecondOwner { client, from, owners } => {
                write!(f, "{from} imports {client}, which belongs to {} only", owners.join(" and "))
            }
            Self::FolderDiffers { name, folder } => {
                write!(f, "{name} lives in `{folder}`: folder and crate share their name")
            }
            Self::GrabBag { name } => write!(f, "{name}: a crate is named for its one purpose"),
        }
    }
}

/// All broken rules, crate by crate.
fn violations(house: &House) -> Vec<Violation<'_>> {
    house.inside().flat_map(|member| [of_crate(member), of_edges(house, member), of_clients(member)].concat()).collect()
}

/// What a crate says of itself: floor, folder, name.
fn of_crate(member: &Member) -> Vec<Violation<'_>> {
    let name = member.name.as_str();
    let mut found = Vec::new();
    match &member.floor {
        Floor::Missing => found.push(Violation::NoFloor { name }),
        Floor::Invalid(written) => found.push(Violation::WrongFloor { name, written }),
        Floor::At(_) => {}
    }
    let folder = member.folder.file_name().and_then(|folder| folder.to_str()).unwrap_or_default();
    if folder != name {
        found.push(Violation::FolderDiffers { name, folder });
    }
    if name.split('-').any(|word| GRAB_BAGS.contains(&word)) {
        found.push(Violation::GrabBag { name });
    }
    found
}

/// Edges to other packages of the workspace. An end without a floor is reported once, by [`of_crate`].
fn of_edges<'a>(house: &'a House, member: &'a Member) -> Vec<Violation<'a>> {
    let from = member.name.as_str();
    let judge = |to: &'a str| -> Option<Violation<'a>> {
        let target = house.member(to)?;
        if target.place == Place::Outside {
            return Some(Violation::ImportsTool { from, to });
        }
        let (from_floor, to_floor) = (member.level()?, target.level()?);
        match from_floor.cmp(&to_floor) {
            std::cmp::Ordering::Less => Some(Violation::Upward { from, from_floor, to, to_floor }),
            std::cmp::Ordering::Equal => Some(Violation::Sideways { from, to, floor: from_floor }),
            std::cmp::Ordering::Greater => None,
        }
    };
    member.imports().into_iter().filter_map(judge).collect()
}

/// Edges to external crates.
fn of_clients(member: &Member) -> Vec<Violation<'_>> {
    let from = member.name.as_str();
    let mut found = Vec::new();
    for to in member.imports() {
        if let Some(floor) = member.level().filter(|_| member.is_pure() && RUNTIME.contains(&to)) {
            found.push(Violation::ImpureImport { from, floor, to });
            continue;
        }
        let owned = OWNERS.iter().find(|(client, _)| *client == to);
        if let Some((client, owners)) = owned.filter(|(_, owners)| !owners.contains(&from)) {
            found.push(Violation::SecondOwner { client, from, owners });
        }
    }
    found
}

/// The house as a table: floor, crate, what it imports from the house, which external clients it holds.
fn render(house: &House) -> String {
    let mut floors: BTreeMap<Option<u8>, Vec<&Member>> = BTreeMap::new();
    for member in house.inside() {
        floors.entry(member.level()).or_default().push(member);
    }
    let width = house.inside().map(|member| member.name.len()).max().unwrap_or(0).max("crate".len());
    let mut lines = vec![format!("floor  {:<width$}  imports", "crate")];
    for (floor, members) in floors.iter().rev() {
        let floor = floor.map_or(String::from("?"), |floor| floor.to_string());
        for member in members {
            let line = format!("{floor:>5}  {:<width$}  {}", member.name, imports(house, member));
            lines.push(line.trim_end().to_owned());
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// One cell of the table: crates of the house, then in brackets the runtime and the owned clients.
fn imports(house: &House, member: &Member) -> String {
    let (own, external): (Vec<&str>, Vec<&str>) =
        member.imports().into_iter().partition(|name| house.member(name).is_some());
    let notable = |name: &&str| RUNTIME.contains(name) || OWNERS.iter().any(|(client, _)| client == name);
    let external: Vec<&str> = external.into_iter().filter(notable).collect();
    let own = own.join(" ");
    if external.is_empty() { own } else { format!("{own} [{}]", external.join(" ")).trim_start().to_owned() }
}
