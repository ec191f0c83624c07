//! The layout of a sealed packet.
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 1 | version, `0xA1`: no packet in the clear begins with it |
//! | 1 | 1 | kind of what is inside |
//! | 2 | 4 | name of the key |
//! | 6 | 8 | sender: the first bytes of a digest of its node id |
//! | 14 | 16 | epoch: drawn at random when the sender started |
//! | 30 | 8 | counter, from 1 |
//! | 38 | 6 | when it was sealed: milliseconds since 1970 |
//! | 44 | n | ciphertext |
//! | 44 + n | 16 | tag |
//!
//! All integers are big-endian. The header is associated data together with a digest of the cluster's id, which is not sent.

use std::fmt;

use rdb_net_types::{ClusterId, NodeId};

use super::time::UnixTime;
use crate::cipher::{self, CipherError, NONCE_BYTES, TAG_BYTES};
use crate::key::KeyId;

pub(crate) const VERSION: u8 = 0xa1;
pub(crate) const HEADER_BYTES: usize = 44;
const CLUSTER_BYTES: usize = 32;

/// What sealing adds to a packet, in bytes: 44 of header and 16 of tag.
pub const PACKET_OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// The longest plaintext, in bytes: what a UDP datagram over IPv4 carries, less the overhead. Networks pass less unbroken; see
/// [`plaintext_bytes_max`].
pub const PLAINTEXT_BYTES_MAX: usize = plaintext_bytes_max(65_507);

/// The longest plaintext of a packet that is no longer than this once it is sealed.
pub const fn plaintext_bytes_max(packet_bytes: usize) -> usize {
    packet_bytes.saturating_sub(PACKET_OVERHEAD_BYTES)
}

/// What is inside a packet. It is bound to the packet: what was sealed as one kind opens as no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketKind(pub u8);

impl PacketKind {
    /// A packet of the membership protocol.
    pub const GOSSIP: Self = Self(1);
}

/// Who sealed a packet: a digest of its node id, so that strangers who see packets read no names.
///
/// It is what a holder of the key says of itself. 64 bits: among 10,000 members two share one with a chance of 2⁻³⁸, which
/// harms nobody, since counters are kept by epoch as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderId(u64);

impl SenderId {
    /// The one of this node.
    pub fn of(node: &NodeId) -> Self {
        let digest = cipher::digest(b"rdb-net-seal sender v1", &[node.as_str().as_bytes()]);
        Self(u64::from_be_bytes(cipher::truncated(digest)))
    }
}

impl fmt::Debug for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sender:{:016x}", self.0)
    }
}

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One life of a sender: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Epoch(pub(crate) [u8; 16]);

impl Epoch {
    pub(crate) fn draw() -> Result<Self, CipherError> {
        cipher::random().map(Self)
    }
}

/// Which sender, and which life of it. Counters, windows and derived keys are one life's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    pub(crate) sender: SenderId,
    pub(crate) epoch: Epoch,
}

impl Life {
    /// The salt of its derived keys.
    pub(crate) fn salt(self) -> [u8; 24] {
        let mut salt = [0; 24];
        salt[..8].copy_from_slice(&self.sender.0.to_be_bytes());
        salt[8..].copy_from_slice(&self.epoch.0);
        salt
    }
}

/// What stands before the ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: PacketKind,
    pub(crate) key: KeyId,
    pub(crate) life: Life,
    pub(crate) counter: u64,
    pub(crate) sealed_at: UnixTime,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = VERSION;
        bytes[1] = self.kind.0;
        bytes[2..6].copy_from_slice(&self.key.as_u32().to_be_bytes());
        bytes[6..30].copy_from_slice(&self.life.salt());
        bytes[30..38].copy_from_slice(&self.counter.to_be_bytes());
        bytes[38..].copy_from_slice(&self.sealed_at.as_millis().to_be_bytes()[2..]);
        bytes
    }

    /// Reads all but the version.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        Self {
            kind: PacketKind(bytes[1]),
            key: KeyId::from_u32(u32::from_be_bytes(part(bytes, 2))),
            life: Life { sender: SenderId(u64::from_be_bytes(part(bytes, 6))), epoch: Epoch(part(bytes, 14)) },
            counter: u64::from_be_bytes(part(bytes, 30)),
            sealed_at: UnixTime::from_millis(u64::from_be_bytes(part(bytes, 36)) & 0xffff_ffff_ffff),
        }
    }

    /// The nonce: the counter, which alone makes it unique under the key of one life. The time fills what is left: should a
    /// machine be copied or set back with the process running, the copies count alike but hardly seal at the same millisecond.
    pub(crate) fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..4].copy_from_slice(&(self.sealed_at.as_millis() as u32).to_be_bytes());
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        nonce
    }
}

fn part<const N: usize>(bytes: &[u8; HEADER_BYTES], from: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[from + index])
}

/// The cluster, as associated data know it.
#[derive(Clone, Copy)]
pub(crate) struct Cluster([u8; CLUSTER_BYTES]);

impl Cluster {
    pub(crate) fn of(cluster: &ClusterId) -> Self {
        Self(cipher::digest(b"rdb-net-seal cluster v1", &[cluster.as_str().as_bytes()]))
    }

    /// The associated data of a packet.
    pub(crate) fn bind(&self, header: &[u8; HEADER_BYTES]) -> [u8; HEADER_BYTES + CLUSTER_BYTES] {
        let mut data = [0; HEADER_BYTES + CLUSTER_BYTES];
        data[..HEADER_BYTES].copy_from_slice(header);
        data[HEADER_BYTES..].copy_from_slice(&self.0);
        data
    }
}
