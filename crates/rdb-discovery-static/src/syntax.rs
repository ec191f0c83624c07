//! The two syntaxes of a file, TOML and JSON: one format, read from either with the place of what may be at fault.
//!
//! toml tells where a value stands. serde_json does not, but it can leave a value as a piece of the text, and where that begins is
//! the place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rdb_net_types::{Capability, NodeId, Resources, Weight, nearest_name};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use toml::Spanned;

/// The keys of a file, of a node in it, and of a node's resources.
const FILE_KEYS: &[&str] = &["seeds", "nodes"];
const NODE_KEYS: &[&str] = &[
    "id",
    "address",
    "gossip_address",
    "admin_address",
    "version",
    "region",
    "zone",
    "rack",
    "weight",
    "capabilities",
    "labels",
    "resources",
];
const RESOURCE_KEYS: &[&str] = &["cpu_millicores", "memory_bytes", "disk_bytes"];

/// In what a file is written: JSON where its name ends in `.json`, TOML otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Toml,
    Json,
}

/// A value and the byte at which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) at: usize,
    pub(crate) value: T,
}

/// What is wrong with a text, with which key, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) key: String,
    pub(crate) problem: String,
}

/// What a file says.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) seeds: Option<Vec<Placed<String>>>,
    pub(crate) nodes: Option<Vec<Entered<Placed<NodeId>, Placed<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<S, N> {
    seeds: Option<Vec<S>>,
    nodes: Option<Vec<N>>,
}

/// A node. What has to be unique is of a type that knows its place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entered<I, A> {
    pub(crate) id: I,
    pub(crate) address: A,
    pub(crate) gossip_address: Option<A>,
    pub(crate) admin_address: Option<A>,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) region: String,
    #[serde(default)]
    pub(crate) zone: String,
    #[serde(default)]
    pub(crate) rack: String,
    #[serde(default)]
    pub(crate) weight: Weight,
    #[serde(default)]
    pub(crate) capabilities: BTreeSet<Capability>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) resources: Resources,
}

impl<I, A> Entered<I, A> {
    /// The same with places of another kind.
    fn placed<J, B>(
        self,
        id: impl FnOnce(I) -> Result<J, Fault>,
        mut address: impl FnMut(A, &'static str) -> Result<B, Fault>,
    ) -> Result<Entered<J, B>, Fault> {
        Ok(Entered {
            id: id(self.id)?,
            address: address(self.address, "address")?,
            gossip_address: self.gossip_address.map(|it| address(it, "gossip_address")).transpose()?,
            admin_address: self.admin_address.map(|it| address(it, "admin_address")).transpose()?,
            version: self.version,
            region: self.region,
            zone: self.zone,
            rack: self.rack,
            weight: self.weight,
            capabilities: self.capabilities,
            labels: self.labels,
            resources: self.resources,
        })
    }
}

impl Syntax {
    pub(crate) fn of(path: &Path) -> Self {
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if is_json { Self::Json } else { Self::Toml }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Toml => "TOML",
            Self::Json => "JSON",
        }
    }

    pub(crate) fn read(self, text: &str) -> Result<Written, Fault> {
        let read = match self {
            Self::Toml => read_toml(text),
            Self::Json => read_json(text),
        };
        read.map_err(Fault::hinted)
    }
}

impl Fault {
    /// In our words, with what was probably meant, where the fault is a key that the format does not have.
    fn hinted(self) -> Self {
        let (table, name) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
        let (owner, known) = match table.split_once('.') {
            None if table.is_empty() => ("a file has", FILE_KEYS),
            None => ("a node has", NODE_KEYS),
            Some((_, "resources")) => ("resources have", RESOURCE_KEYS),
            Some(_) => return self,
        };
        // What stands in a list is no key.
        if name.is_empty() || name.ends_with(']') || known.contains(&name) {
            return self;
        }
        let problem = match nearest_name(name, known.iter().copied()) {
            Some(meant) => format!("there is no such key; did you mean {meant}?"),
            None => format!("there is no such key; {owner} {}", known.join(", ")),
        };
        Self { problem, ..self }
    }
}

fn read_toml(text: &str) -> Result<Written, Fault> {
    type Node = Entered<Spanned<NodeId>, Spanned<String>>;
    let fault = |error: &toml::de::Error, key: String| Fault {
        at: error.span().map_or(0, |span| span.start),
        key,
        problem: error.message().to_owned(),
    };
    // A file in a third syntax is read as TOML too.
    let none = |error: toml::de::Error| {
        let Fault { at, key, problem } = fault(&error, String::new());
        Fault { at, key, problem: format!("this is no TOML: {problem}") }
    };
    let source = toml::Deserializer::parse(text).map_err(none)?;
    let read: Result<Document<Spanned<String>, Node>, _> = serde_path_to_error::deserialize(source);
    let document = read.map_err(|error| fault(error.inner(), key(error.path())))?;
    let seeds = document.seeds.map(|seeds| seeds.into_iter().map(spanned).collect());
    let place = |node: Node| node.placed(|id| Ok(spanned(id)), |address, _| Ok(spanned(address)));
    let nodes = document.nodes.map(|nodes| nodes.into_iter().map(place).collect()).transpose()?;
    Ok(Written { seeds, nodes })
}

fn spanned<T>(value: Spanned<T>) -> Placed<T> {
    Placed { at: value.span().start, value: value.into_inner() }
}

fn read_json(text: &str) -> Result<Written, Fault> {
    type Node<'a> = Entered<&'a RawValue, &'a RawValue>;
    let document: Document<&RawValue, &RawValue> = parse(text, text, "")?;
    let seed = |(number, seed)| raw(text, seed, &format!("seeds[{number}]"));
    let seeds = document.seeds.map(|seeds| seeds.into_iter().enumerate().map(seed).collect()).transpose()?;
    let node = |(number, node): (usize, &RawValue)| {
        let prefix = format!("nodes[{number}]");
        let node: Node<'_> = parse(text, node.get(), &prefix)?;
        let id = |id| raw(text, id, &format!("{prefix}.id"));
        node.placed(id, |address, name| raw(text, address, &format!("{prefix}.{name}")))
    };
    let nodes = document.nodes.map(|nodes| nodes.into_iter().enumerate().map(node).collect()).transpose()?;
    Ok(Written { seeds, nodes })
}

fn raw<T: DeserializeOwned>(text: &str, value: &RawValue, key: &str) -> Result<Placed<T>, Fault> {
    let at = start(text, value.get());
    let value = parse(text, value.get(), key).map_err(|fault| Fault { at, ..fault })?;
    Ok(Placed { at, value })
}

/// Reads a piece of a text, which stands at this key.
fn parse<'a, T: Deserialize<'a>>(text: &str, piece: &'a str, prefix: &str) -> Result<T, Fault> {
    let mut source = serde_json::Deserializer::from_str(piece);
    let read = serde_path_to_error::deserialize(&mut source);
    let value = read.map_err(|error| {
        let inner = key(error.path());
        let dot = if prefix.is_empty() || inner.is_empty() { "" } else { "." };
        fault(text, piece, error.inner(), format!("{prefix}{dot}{inner}"))
    })?;
    source.end().map_err(|error| fault(text, piece, &error, prefix.to_owned()))?;
    Ok(value)
}

fn fault(text: &str, piece: &str, error: &serde_json::Error, key: String) -> Fault {
    let words = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let words = words.strip_suffix(&place).unwrap_or(&words);
    let problem = if error.is_data() { words.to_owned() } else { format!("this is no JSON: {words}") };
    // Lines count from 1. Columns count bytes, and tell how many were read of the line when it was found: of a key or a value within
    // a node, the place is its end.
    let line = piece.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    Fault { at: start(text, piece) + line + error.column().saturating_sub(1), key, problem }
}

/// Where a piece of this text begins.
fn start(text: &str, piece: &str) -> usize {
    piece.as_ptr().addr().saturating_sub(text.as_ptr().addr())
}

/// The key as it is written. What a library adds to tell places is no part of it.
fn key(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    let text = text.split(".$__").next().unwrap_or_default();
    if text == "." { String::new() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that serde tells where it is given another one.
    #[track_caller]
    fn check<T: DeserializeOwned>(keys: &[&str]) {
        let error = toml::from_str::<T>("none = 1").err().expect("refused").to_string();
        let told: Vec<_> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(told, keys, "{error}");
    }

    #[test]
    fn the_keys_that_hints_know_are_those_that_are_read() {
        check::<Document<String, String>>(FILE_KEYS);
        check::<Entered<String, String>>(NODE_KEYS);
        check::<Resources>(RESOURCE_KEYS);
    }
}
