//! What a member says of itself, kept once for all who hold it.
//!
//! It changes only when the member speaks, so it is immutable and shared: within one process by the member's entry and whoever
//! keeps a copy, and in a simulator by the views of all members, which would otherwise hold n² of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use rdb_net_types::{BootId, NodeId};

static NO_META: Bytes = Bytes::new();

/// Which process a member is, where its gossip socket listens, and its metadata. Clones share one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile(Arc<Content>);

#[derive(Debug, PartialEq, Eq)]
struct Content {
    id: NodeId,
    boot: BootId,
    /// Most members of most clusters have some; those that have none pay one word.
    meta: Option<Box<Bytes>>,
    address: Packed,
}

/// An address as it travels, without IPv6 scope and flow label: 20 bytes instead of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packed {
    octets: [u8; 16],
    port: u16,
    is_v4: bool,
}

impl Profile {
    /// A member's word of itself. IPv6 scope and flow label do not travel, and are left out.
    pub fn new(id: NodeId, boot: BootId, address: SocketAddr, meta: Bytes) -> Self {
        let meta = (!meta.is_empty()).then(|| Box::new(meta));
        Self(Arc::new(Content { id, boot, meta, address: Packed::new(address) }))
    }

    /// The member's id.
    pub fn id(&self) -> &NodeId {
        &self.0.id
    }

    /// Which process of it.
    pub fn boot(&self) -> BootId {
        self.0.boot
    }

    /// Where its gossip socket listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address.unpacked()
    }

    /// What it tells of itself.
    pub fn meta(&self) -> &Bytes {
        self.0.meta.as_deref().unwrap_or(&NO_META)
    }

    /// Whether these would be the same words: then the copy that is held stays.
    pub(crate) fn says(&self, boot: BootId, address: SocketAddr, meta: &Bytes) -> bool {
        self.boot() == boot && self.0.address == Packed::new(address) && self.meta() == meta
    }
}

impl Packed {
    fn new(address: SocketAddr) -> Self {
        let mut octets = [0; 16];
        match address.ip() {
            IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => octets = ip.octets(),
        }
        Self { octets, port: address.port(), is_v4: address.is_ipv4() }
    }

    fn unpacked(self) -> SocketAddr {
        let [a, b, c, d, ..] = self.octets;
        let ip = if self.is_v4 { Ipv4Addr::new(a, b, c, d).into() } else { Ipv6Addr::from(self.octets).into() };
        SocketAddr::new(ip, self.port)
    }
}
