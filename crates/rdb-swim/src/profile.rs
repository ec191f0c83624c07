//! What a member says of itself, kept once for all who hold it.
//!
//! It changes only when the member speaks, so it is immutable and shared: within one process by the member's entry and whoever
//! keeps a copy, and in a simulator by the views of all members, which would otherwise hold n² of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use rdb_net_types::{BootId, NodeId};

use crate::versions::Versions;

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
    versions: Versions,
}

/// An address as it travels, without IPv6 scope and flow label: 20 bytes instead of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packed {
    octets: [u8; 16],
    port: u16,
    is_v4: bool,
}

impl Profile {
    /// A member's word of itself. IPv6 scope and flow label do not travel, and are left out. It understands what this release
    /// does.
    pub fn new(id: NodeId, boot: BootId, address: SocketAddr, meta: Bytes) -> Self {
        Self::of_versions(id, boot, address, meta, Versions::SPOKEN)
    }

    /// The same of a member that may be of another release.
    pub fn of_versions(id: NodeId, boot: BootId, address: SocketAddr, meta: Bytes, versions: Versions) -> Self {
        let meta = (!meta.is_empty()).then(|| Box::new(meta));
        Self(Arc::new(Content { id, boot, meta, address: Packed::new(address), versions }))
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

    /// Which versions of the protocol it understands.
    pub fn versions(&self) -> Versions {
        self.0.versions
    }

    /// Whether these would be the same words: then the copy that is held stays.
    pub(crate) fn says(&self, boot: BootId, address: SocketAddr, meta: &Bytes, versions: Versions) -> bool {
        let is_same = self.boot() == boot && self.0.address == Packed::new(address) && self.meta() == meta;
        is_same && self.versions() == versions
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_travels() {
        let id = NodeId::new("a").expect("legal");
        for (given, kept) in [
            ("10.1.2.3:7000", "10.1.2.3:7000"),
            ("[2001:db8::7]:65535", "[2001:db8::7]:65535"),
            ("[::ffff:10.1.2.3]:1", "[::ffff:10.1.2.3]:1"),
            ("[fe80::1%7]:9", "[fe80::1]:9"),
        ] {
            let profile = Profile::new(id.clone(), BootId(1), given.parse().expect("legal"), Bytes::new());
            assert_eq!(profile.address(), kept.parse().expect("legal"), "{given}");
        }
    }

    #[test]
    fn clones_share_one_copy_and_no_metadata_costs_nothing() {
        let with = |meta: &'static [u8]| {
            let address = "10.1.2.3:7000".parse().expect("legal");
            Profile::new(NodeId::new("a").expect("legal"), BootId(1), address, Bytes::from_static(meta))
        };
        let profile = with(b"");
        assert!(Arc::ptr_eq(&profile.0, &profile.clone().0));
        assert_eq!(profile.meta(), &Bytes::new());
        assert!(profile.says(BootId(1), "10.1.2.3:7000".parse().expect("legal"), &Bytes::new(), Versions::FIRST));
        assert!(!with(b"x").says(BootId(1), "10.1.2.3:7000".parse().expect("legal"), &Bytes::new(), Versions::FIRST));
        assert_eq!(size_of::<Content>(), 56);
    }
}
