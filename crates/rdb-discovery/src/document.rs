//! The document by which a node stands in a source: JSON that other tools read and write too.
//!
//! Sources that keep a value for each node (etcd, the meta data of Consul) all keep this one; `docs/node-document.schema.json`
//! is its JSON Schema. Only what changes slowly is in it: each write of it wakes every watcher. Whoever knows more of a node may
//! add fields: they are kept when the node writes its document anew ([`NodeDocument::rewritten`]).

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_types::{
    BootId, Capability, Incarnation, Locality, NodeAddress, NodeId, NodeInfo, ProtocolRange, Resources, Weight,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the documents that this build writes, and the newest that it reads. It is raised only when a field changes
/// its meaning; new fields leave it.
pub const DOCUMENT_SCHEMA: u64 = 1;

/// The largest document that is read, in bytes: a node with a thousand long labels.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// The fields of a node that stand in a document, optional ones too: what [`NodeDocument::rewritten`] takes out before it
/// writes.
const OPTIONAL: &[&str] = &["gossip_address", "admin_address", "boot"];

/// A document that is not taken. Whoever wrote it must act; it stands for no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is larger than is read.
    #[error("it has {bytes} bytes, more than {DOCUMENT_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no JSON object.
    #[error("it is no JSON object: {problem}")]
    NoObject {
        /// What is wrong, and where.
        problem: String,
    },
    /// A field is missing or has a value that it cannot have.
    #[error("a field is wrong: {problem}")]
    Field {
        /// Which, and what is wrong.
        problem: String,
    },
    /// Its fields mean something else than they mean here; a newer build writes it.
    #[error("its schema is {found}, and {DOCUMENT_SCHEMA} is the newest that is known here")]
    Schema {
        /// Its number.
        found: u64,
    },
    /// Nobody can be dialled at port 0.
    #[error("{address} has port 0, which cannot be dialled")]
    Port {
        /// The address.
        address: NodeAddress,
    },
}

/// A node as it stands in a source, with all the fields that others have added.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeDocument {
    node: NodeInfo,
    fields: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Entered {
    #[serde(default = "first_schema")]
    schema: u64,
    id: NodeId,
    address: NodeAddress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gossip_address: Option<NodeAddress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    admin_address: Option<NodeAddress>,
    #[serde(default)]
    incarnation: Life,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    #[serde(default)]
    version: String,
    #[serde(default = "current_protocol")]
    protocol: ProtocolRange,
    #[serde(default)]
    capabilities: BTreeSet<Capability>,
    #[serde(default)]
    resources: Means,
    #[serde(default)]
    locality: Place,
    #[serde(default)]
    weight: Weight,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// As two numbers: many readers of JSON keep 53 bits of a number.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Life {
    generation: u32,
    counter: u32,
}

/// As [`Resources`], whose own form takes no unknown fields.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Means {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_millicores: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes: Option<u64>,
}

/// As [`Locality`], whose own form takes no unknown fields.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    region: String,
    zone: String,
    rack: String,
}

const fn first_schema() -> u64 {
    1
}

const fn current_protocol() -> ProtocolRange {
    ProtocolRange::CURRENT
}

impl NodeDocument {
    /// The document of this node, with no other fields.
    pub fn new(node: &NodeInfo) -> Self {
        Self { node: node.clone(), fields: fields_of(node) }
    }

    /// Reads a document. Fields that are not known are kept.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge { bytes: text.len() });
        }
        let fields: Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| DocumentError::NoObject { problem: error.to_string() })?;
        let schema = fields.get("schema").and_then(Value::as_u64).unwrap_or(first_schema());
        if schema > DOCUMENT_SCHEMA {
            return Err(DocumentError::Schema { found: schema });
        }
        let field = |problem: String| DocumentError::Field { problem };
        let entered = Entered::deserialize(Value::Object(fields.clone())).map_err(|error| field(error.to_string()))?;
        let boot = entered.boot.as_deref().map(|text| u64::from_str_radix(text, 16)).transpose();
        let boot = boot.map_err(|_| field(String::from("boot: up to 16 hexadecimal digits")))?;
        for address in [Some(&entered.address), entered.gossip_address.as_ref(), entered.admin_address.as_ref()] {
            if let Some(address) = address.filter(|address| address.port() == 0) {
                return Err(DocumentError::Port { address: address.clone() });
            }
        }
        Ok(Self { node: entered.node(BootId(boot.unwrap_or(0))), fields })
    }

    /// The node.
    pub fn node(&self) -> &NodeInfo {
        &self.node
    }

    /// The node, where nothing else is wanted.
    pub fn into_node(self) -> NodeInfo {
        self.node
    }

    /// What stands in the source is this; the node has other facts. Every field that is not known here stays, also within the
    /// known ones.
    #[must_use]
    pub fn rewritten(&self, node: &NodeInfo) -> Self {
        let mut fields = self.fields.clone();
        fields.retain(|name, _| !OPTIONAL.contains(&name.as_str()));
        if let Some(Value::Object(resources)) = fields.get_mut("resources") {
            resources.retain(|name, _| !matches!(name.as_str(), "cpu_millicores" | "memory_bytes" | "disk_bytes"));
        }
        for (name, value) in fields_of(node) {
            match (fields.get_mut(&name), value) {
                (Some(Value::Object(old)), Value::Object(new)) if name != "labels" => old.extend(new),
                (_, value) => {
                    fields.insert(name, value);
                }
            }
        }
        Self { node: node.clone(), fields }
    }

    /// The document as text, which [`parse`](Self::parse) reads.
    pub fn to_json(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }
}

impl Entered {
    fn of(node: &NodeInfo) -> Self {
        let Resources { cpu_millicores, memory_bytes, disk_bytes } = node.resources;
        let Locality { region, zone, rack } = node.locality.clone();
        Self {
            schema: DOCUMENT_SCHEMA,
            id: node.id.clone(),
            address: node.address.clone(),
            gossip_address: node.gossip_address.clone(),
            admin_address: node.admin_address.clone(),
            incarnation: Life { generation: node.incarnation.generation(), counter: node.incarnation.counter() },
            boot: (node.boot != BootId(0)).then(|| node.boot.to_string()),
            version: node.version.clone(),
            protocol: node.protocol,
            capabilities: node.capabilities.clone(),
            resources: Means { cpu_millicores, memory_bytes, disk_bytes },
            locality: Place { region, zone, rack },
            weight: node.weight,
            labels: node.labels.clone(),
        }
    }

    fn node(self, boot: BootId) -> NodeInfo {
        let Means { cpu_millicores, memory_bytes, disk_bytes } = self.resources;
        let Place { region, zone, rack } = self.locality;
        let Life { generation, counter } = self.incarnation;
        NodeInfo {
            gossip_address: self.gossip_address,
            admin_address: self.admin_address,
            incarnation: Incarnation::from_u64((u64::from(generation) << 32) | u64::from(counter)),
            boot,
            version: self.version,
            protocol: self.protocol,
            capabilities: self.capabilities,
            resources: Resources { cpu_millicores, memory_bytes, disk_bytes },
            locality: Locality { region, zone, rack },
            weight: self.weight,
            labels: self.labels,
            ..NodeInfo::new(self.id, self.address)
        }
    }
}

fn fields_of(node: &NodeInfo) -> Map<String, Value> {
    match serde_json::to_value(Entered::of(node)) {
        Ok(Value::Object(fields)) => fields,
        // A struct with names of fields is an object, and none of its fields can fail: the weight is finite.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
