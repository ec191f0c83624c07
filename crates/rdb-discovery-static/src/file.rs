//! The file's format: text to nodes, or what is wrong and where.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rdb_net_types::{AddressError, Capability, Locality, NodeAddress, NodeId, NodeInfo, Resources, Weight};
use serde::Deserialize;
use toml::Spanned;

#[cfg(test)]
mod tests;

/// A place in a file; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A file that is not taken. Whoever writes or mounts it must act; whatever was listed before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file.
    #[error("{}: the file does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The system does not give the file's content.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// The file is larger than is read.
    #[error("{}: the file has more than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// The file is no TOML, or has a key or value that is not part of the format.
    #[error("{}:{at}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        at: Position,
        /// What is wrong.
        problem: String,
    },
    /// Nobody can be dialled at port 0.
    #[error("{}:{at}: {address} has port 0, which cannot be dialled", path.display())]
    Port {
        /// The file.
        path: PathBuf,
        /// Where.
        at: Position,
        /// The address.
        address: NodeAddress,
    },
    /// Two nodes have one id.
    #[error("{}:{at}: the id {id} stands at {first} already", path.display())]
    DuplicateId {
        /// The file.
        path: PathBuf,
        /// Where it stands again.
        at: Position,
        /// Where it stands first.
        first: Position,
        /// The id.
        id: NodeId,
    },
    /// Two entries have one address.
    #[error("{}:{at}: the address {address} stands at {first} already", path.display())]
    DuplicateAddress {
        /// The file.
        path: PathBuf,
        /// Where it stands again.
        at: Position,
        /// Where it stands first.
        first: Position,
        /// The address.
        address: NodeAddress,
    },
    /// The file has neither `seeds` nor `nodes`: perhaps it is just being written.
    #[error("{}:1:1: there is neither `seeds` nor `[[nodes]]`; `seeds = []` says that there is no node", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    seeds: Option<Vec<Spanned<String>>>,
    nodes: Option<Vec<Entered>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entered {
    id: Spanned<NodeId>,
    address: Spanned<String>,
    gossip_address: Option<Spanned<String>>,
    admin_address: Option<Spanned<String>>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    rack: String,
    #[serde(default)]
    weight: Weight,
    #[serde(default)]
    capabilities: BTreeSet<Capability>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    resources: Resources,
}

/// The nodes of a file with this text, seeds first, in the order of the file. The path is for errors only.
///
/// # Errors
///
/// [`FileError`] with the place of the first thing that is wrong.
pub fn parse_nodes(path: &Path, text: &str) -> Result<Vec<NodeInfo>, FileError> {
    let document: Document = toml::from_str(text).map_err(|error| FileError::Malformed {
        path: path.to_owned(),
        at: position(text, error.span().map_or(0, |span| span.start)),
        problem: error.message().to_owned(),
    })?;
    if document.seeds.is_none() && document.nodes.is_none() {
        return Err(FileError::NoList { path: path.to_owned() });
    }
    let mut checker = Checker { path, text, ids: BTreeMap::new(), addresses: BTreeMap::new() };
    let mut nodes = Vec::new();
    for seed in document.seeds.into_iter().flatten() {
        nodes.push(NodeInfo::seed(checker.unique_address(seed)?));
    }
    for entered in document.nodes.into_iter().flatten() {
        nodes.push(checker.node(entered)?);
    }
    Ok(nodes)
}

/// Refuses what the syntax allows and the format does not.
struct Checker<'a> {
    path: &'a Path,
    text: &'a str,
    ids: BTreeMap<NodeId, Position>,
    addresses: BTreeMap<NodeAddress, Position>,
}

impl Checker<'_> {
    fn node(&mut self, entered: Entered) -> Result<NodeInfo, FileError> {
        let at = self.at(&entered.id.span());
        let id = entered.id.into_inner();
        match self.ids.entry(id.clone()) {
            Entry::Vacant(free) => free.insert(at),
            Entry::Occupied(first) => {
                return Err(FileError::DuplicateId { path: self.path.to_owned(), at, first: *first.get(), id });
            }
        };
        let address = self.unique_address(entered.address)?;
        Ok(NodeInfo {
            gossip_address: entered.gossip_address.map(|address| self.dialable(address)).transpose()?,
            admin_address: entered.admin_address.map(|address| self.dialable(address)).transpose()?,
            version: entered.version,
            capabilities: entered.capabilities,
            resources: entered.resources,
            locality: Locality { region: entered.region, zone: entered.zone, rack: entered.rack },
            weight: entered.weight,
            labels: entered.labels,
            ..NodeInfo::new(id, address)
        })
    }

    fn unique_address(&mut self, address: Spanned<String>) -> Result<NodeAddress, FileError> {
        let at = self.at(&address.span());
        let address = self.dialable(address)?;
        match self.addresses.entry(address.clone()) {
            Entry::Vacant(free) => {
                free.insert(at);
                Ok(address)
            }
            Entry::Occupied(first) => {
                Err(FileError::DuplicateAddress { path: self.path.to_owned(), at, first: *first.get(), address })
            }
        }
    }

    // Parsed here and not by serde, whose errors point at the whole list.
    fn dialable(&self, address: Spanned<String>) -> Result<NodeAddress, FileError> {
        let at = self.at(&address.span());
        let address: NodeAddress = address.into_inner().parse().map_err(|error: AddressError| {
            FileError::Malformed { path: self.path.to_owned(), at, problem: error.to_string() }
        })?;
        if address.port() == 0 {
            return Err(FileError::Port { path: self.path.to_owned(), at, address });
        }
        Ok(address)
    }

    fn at(&self, span: &Range<usize>) -> Position {
        position(self.text, span.start)
    }
}

/// Where this byte stands. A byte within a character counts as its beginning, one beyond the end as the end.
fn position(text: &str, byte: usize) -> Position {
    let mut end = byte.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}
