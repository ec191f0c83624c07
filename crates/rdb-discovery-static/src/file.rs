//! The file's format: text to nodes, or what is wrong and where. What the syntax is, [`syntax`](crate::syntax) knows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::{Path, PathBuf};

use rdb_net_types::{AddressError, Locality, NodeAddress, NodeId, NodeInfo};

use crate::syntax::{Entered, Fault, Placed, Syntax};

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
    /// The file is neither TOML nor JSON, or has a key or value that is not part of the format.
    #[error("{}:{at}: {key}{}{problem}", path.display(), if key.is_empty() { "" } else { ": " })]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        at: Position,
        /// The key at fault, `nodes[1].weight`; empty where the text as a whole is.
        key: String,
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
    #[error("{}:1:1: there is neither `seeds` nor `nodes`; an empty list of `seeds` says that there is no node", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
    },
}

/// The nodes of a file with this text, seeds first, in the order of the file. The path is for errors only.
///
/// # Errors
///
/// [`FileError`] with the place of the first thing that is wrong.
pub fn parse_nodes(path: &Path, text: &str) -> Result<Vec<NodeInfo>, FileError> {
    let read = Syntax::of(path).read(text);
    let document = read.map_err(|Fault { at, key, problem }| FileError::Malformed {
        path: path.to_owned(),
        at: position(text, at),
        key,
        problem,
    })?;
    if document.seeds.is_none() && document.nodes.is_none() {
        return Err(FileError::NoList { path: path.to_owned() });
    }
    let mut checker = Checker { path, text, ids: BTreeMap::new(), addresses: BTreeMap::new() };
    let mut nodes = Vec::new();
    for (number, seed) in document.seeds.into_iter().flatten().enumerate() {
        nodes.push(NodeInfo::seed(checker.unique_address(seed, || format!("seeds[{number}]"))?));
    }
    for (number, entered) in document.nodes.into_iter().flatten().enumerate() {
        nodes.push(checker.node(entered, number)?);
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
    fn node(&mut self, entered: Entered<Placed<NodeId>, Placed<String>>, number: usize) -> Result<NodeInfo, FileError> {
        let key = |name: &'static str| move || format!("nodes[{number}].{name}");
        let (at, id) = (position(self.text, entered.id.at), entered.id.value);
        match self.ids.entry(id.clone()) {
            Entry::Vacant(free) => free.insert(at),
            Entry::Occupied(first) => {
                return Err(FileError::DuplicateId { path: self.path.to_owned(), at, first: *first.get(), id });
            }
        };
        let address = self.unique_address(entered.address, key("address"))?;
        let dialable = |address, name| self.dialable(address, key(name));
        Ok(NodeInfo {
            gossip_address: entered.gossip_address.map(|it| dialable(it, "gossip_address")).transpose()?,
            admin_address: entered.admin_address.map(|it| dialable(it, "admin_address")).transpose()?,
            version: entered.version,
            capabilities: entered.capabilities,
            resources: entered.resources,
            locality: Locality { region: entered.region, zone: entered.zone, rack: entered.rack },
            weight: entered.weight,
            labels: entered.labels,
            ..NodeInfo::new(id, address)
        })
    }

    fn unique_address(
        &mut self,
        address: Placed<String>,
        key: impl FnOnce() -> String,
    ) -> Result<NodeAddress, FileError> {
        let at = position(self.text, address.at);
        let address = self.dialable(address, key)?;
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
    fn dialable(&self, address: Placed<String>, key: impl FnOnce() -> String) -> Result<NodeAddress, FileError> {
        let at = position(self.text, address.at);
        let address: NodeAddress = address.value.parse().map_err(|error: AddressError| FileError::Malformed {
            path: self.path.to_owned(),
            at,
            key: key(),
            problem: error.to_string(),
        })?;
        if address.port() == 0 {
            return Err(FileError::Port { path: self.path.to_owned(), at, address });
        }
        Ok(address)
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
