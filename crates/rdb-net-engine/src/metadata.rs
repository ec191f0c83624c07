//! What a node tells of itself beside its id, as the metadata of its membership record.
//!
//! The fields in postcard behind their number, as the bodies of messages have it: a reader takes the fields that it knows,
//! gives defaults to those that an older writer did not send, and leaves those that a newer one sent behind them. Lists are
//! read item by item, so that a length which nobody checked allocates nothing. Texts are for people and programs that show them:
//! what is not to be seen in them is replaced, and what is longer than a text may be is cut.

use std::net::SocketAddr;

use postcard::ser_flavors::Flavor;
use rdb_net_types::{Capability, Locality, NodeAddress, NodeInfo, ProtocolRange, Resources, Visible, Weight};
use rdb_swim::MemberRecord;
use serde::{Deserialize, Serialize};

/// Fields of this version.
const FIELDS: u32 = 9;

/// The longest text that is taken, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The metadata cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undecodable;

/// The description of a node without what its membership record says already: id, boot, incarnation, gossip address.
pub(crate) fn encode(node: &NodeInfo, gossip: SocketAddr) -> Vec<u8> {
    let mut out = Vec::new();
    // The record carries the gossip socket's own address; only another way to it needs words.
    let gossip_address = node.gossip_address.as_ref().filter(|address| address.to_socket_addr() != Some(gossip));
    put(&mut out, &FIELDS);
    put(&mut out, &node.address);
    put(&mut out, &gossip_address);
    put(&mut out, &node.admin_address);
    put(&mut out, &node.version);
    put(&mut out, &node.protocol);
    put(&mut out, &(node.capabilities.len() as u32));
    node.capabilities.iter().for_each(|capability| put(&mut out, capability_name(capability)));
    put(&mut out, &resources_of(node));
    put(&mut out, &(&node.locality.region, &node.locality.zone, &node.locality.rack, node.weight));
    put(&mut out, &(node.labels.len() as u32));
    node.labels.iter().for_each(|label| put(&mut out, &label));
    out
}

/// The node of a membership record.
pub(crate) fn decode(record: &MemberRecord) -> Result<NodeInfo, Undecodable> {
    let mut fields = Fields::new(&record.meta)?;
    let address: NodeAddress = fields.next()?.ok_or(Undecodable)?;
    let mut node = NodeInfo::new(record.id.clone(), address);
    node.gossip_address = fields.next::<Option<NodeAddress>>()?.flatten();
    node.admin_address = fields.next()?.flatten();
    node.version = fields.next::<String>()?.map(text).unwrap_or_default();
    node.protocol = fields.next()?.unwrap_or(ProtocolRange::CURRENT);
    node.capabilities = fields.list::<String>()?.into_iter().map(capability_of).collect();
    let (cpu_millicores, memory_bytes, disk_bytes) = fields.next()?.unwrap_or_default();
    node.resources = Resources { cpu_millicores, memory_bytes, disk_bytes };
    if let Some((region, zone, rack, weight)) = fields.next::<(String, String, String, Weight)>()? {
        node.locality = Locality { region: text(region), zone: text(zone), rack: text(rack) };
        node.weight = weight;
    }
    let labels = fields.list::<(String, String)>()?;
    node.labels = labels.into_iter().map(|(name, value)| (text(name), text(value))).collect();
    fill(&mut node, record);
    Ok(node)
}

/// The node of a record whose metadata says nothing that can be read: a member whose transport nobody knows, at port 0.
pub(crate) fn unknown(record: &MemberRecord) -> NodeInfo {
    let mut node = NodeInfo::new(record.id.clone(), NodeAddress::from(record.address).with_port(0));
    fill(&mut node, record);
    node
}

/// What the record itself says.
fn fill(node: &mut NodeInfo, record: &MemberRecord) {
    node.boot = record.boot;
    node.incarnation = record.incarnation;
    node.state = record.state;
    node.gossip_address = node.gossip_address.take().or_else(|| Some(NodeAddress::from(record.address)));
}

fn resources_of(node: &NodeInfo) -> (Option<u32>, Option<u64>, Option<u64>) {
    (node.resources.cpu_millicores, node.resources.memory_bytes, node.resources.disk_bytes)
}

fn capability_name(capability: &Capability) -> &str {
    match capability {
        Capability::Read => "read",
        Capability::Write => "write",
        Capability::Analytics => "analytics",
        Capability::Custom(name) => name,
        // A kind that this version does not know has no name to travel under.
        _ => "",
    }
}

fn capability_of(name: String) -> Capability {
    match name.as_str() {
        "read" => Capability::Read,
        "write" => Capability::Write,
        "analytics" => Capability::Analytics,
        _ => Capability::Custom(text(name)),
    }
}

/// A text of another node's, as it is shown.
fn text(told: String) -> String {
    Visible(&told).cut(TEXT_BYTES_MAX)
}

fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, field: &T) {
    let appended = postcard::serialize_with_flavor(field, Appender(out));
    appended.expect("plain data with known lengths encodes into memory");
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

struct Fields<'a> {
    rest: &'a [u8],
    remaining: u32,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Undecodable> {
        let mut fields = Self { rest: bytes, remaining: 0 };
        fields.remaining = fields.take()?;
        Ok(fields)
    }

    fn take<T: Deserialize<'a>>(&mut self) -> Result<T, Undecodable> {
        let (value, rest) = postcard::take_from_bytes(self.rest).map_err(|_| Undecodable)?;
        self.rest = rest;
        Ok(value)
    }

    /// The next field, `None` where an older writer did not send it.
    fn next<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, Undecodable> {
        if self.remaining == 0 {
            return Ok(None);
        }
        self.remaining -= 1;
        self.take().map(Some)
    }

    /// The next field, a list; empty where an older writer did not send it.
    fn list<T: Deserialize<'a>>(&mut self) -> Result<Vec<T>, Undecodable> {
        let length: u32 = self.next()?.unwrap_or(0);
        // An item has at least one byte, so the bytes that are there bound the list.
        if length as usize > self.rest.len() {
            return Err(Undecodable);
        }
        (0..length).map(|_| self.take()).collect()
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
