//! Bytes of integers, ids and addresses, read with every length checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeId};

use crate::config::META_BYTES_LIMIT;
use crate::merge::is_possible;

/// Bytes that no member of this version sends. The sender is at fault, or the network; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle of a field.
    #[error("the bytes end within {field}")]
    Truncated {
        /// The field that is cut off.
        field: &'static str,
    },
    /// The first bytes are not those of this protocol.
    #[error("these are not bytes of this protocol")]
    Magic,
    /// The sender speaks another version.
    #[error("protocol version {version} is not spoken here")]
    Version {
        /// The version of the bytes.
        version: u8,
    },
    /// The sender belongs to another cluster.
    #[error("the bytes belong to another cluster")]
    Cluster,
    /// No such kind of packet, or one that does not belong here.
    #[error("kind {kind} is not expected here")]
    Kind {
        /// The kind's number.
        kind: u8,
    },
    /// A field has a value that no member writes.
    #[error("{field} has an impossible value")]
    Value {
        /// The field.
        field: &'static str,
    },
    /// The whole is longer than anything that is read.
    #[error("{bytes} bytes are more than the limit of {limit}")]
    TooLong {
        /// Length of what came.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Reads fields off the front of a slice. Never allocates by a length that was not compared with what is there.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, bytes: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    /// A LEB128 number, in its shortest form only, so that a value has one encoding.
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(field)?;
            let bits = u64::from(byte & 0x7f);
            let fits = shift < 63 || bits <= 1;
            let is_last = byte & 0x80 == 0;
            let is_padded = is_last && bits == 0 && shift > 0;
            if !fits || is_padded {
                return Err(DecodeError::Value { field });
            }
            value |= bits << shift;
            if is_last {
                return Ok(value);
            }
        }
        Err(DecodeError::Value { field })
    }

    pub(crate) fn length(&mut self, limit: usize, field: &'static str) -> Result<usize, DecodeError> {
        let length = self.varint(field)?;
        usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(DecodeError::Value { field })
    }

    pub(crate) fn id(&mut self) -> Result<NodeId, DecodeError> {
        let length = usize::from(self.u8("node id")?);
        let text = std::str::from_utf8(self.take(length, "node id")?).ok();
        text.and_then(|text| NodeId::new(text).ok()).ok_or(DecodeError::Value { field: "node id" })
    }

    pub(crate) fn boot(&mut self) -> Result<BootId, DecodeError> {
        self.u64("boot id").map(BootId)
    }

    pub(crate) fn incarnation(&mut self) -> Result<Incarnation, DecodeError> {
        let incarnation = Incarnation::from_u64(self.u64("incarnation")?);
        if is_possible(incarnation) { Ok(incarnation) } else { Err(DecodeError::Value { field: "incarnation" }) }
    }

    pub(crate) fn address(&mut self) -> Result<SocketAddr, DecodeError> {
        let ip = match self.u8("address")? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>("address")?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>("address")?)),
            _ => return Err(DecodeError::Value { field: "address" }),
        };
        Ok(SocketAddr::new(ip, u16::from_be_bytes(self.array("address")?)))
    }

    pub(crate) fn meta(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.length(META_BYTES_LIMIT, "metadata")?;
        Ok(Bytes::copy_from_slice(self.take(length, "metadata")?))
    }
}

/// Appends fields to a buffer.
pub(crate) trait Write {
    fn varint(&mut self, value: u64);
    fn id(&mut self, id: &NodeId);
    fn boot(&mut self, boot: BootId);
    fn incarnation(&mut self, incarnation: Incarnation);
    fn address(&mut self, address: SocketAddr);
    fn meta(&mut self, meta: &[u8]);
}

impl Write for Vec<u8> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn id(&mut self, id: &NodeId) {
        self.push(id.as_str().len() as u8);
        self.extend_from_slice(id.as_str().as_bytes());
    }

    fn boot(&mut self, boot: BootId) {
        self.extend_from_slice(&boot.0.to_be_bytes());
    }

    fn incarnation(&mut self, incarnation: Incarnation) {
        self.extend_from_slice(&incarnation.as_u64().to_be_bytes());
    }

    fn address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => {
                self.push(4);
                self.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.push(6);
                self.extend_from_slice(&ip.octets());
            }
        }
        self.extend_from_slice(&address.port().to_be_bytes());
    }

    fn meta(&mut self, meta: &[u8]) {
        self.varint(meta.len() as u64);
        self.extend_from_slice(meta);
    }
}

/// A 64-bit hash that is the same in every build (FNV-1a). Not for secrets.
pub(crate) fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
