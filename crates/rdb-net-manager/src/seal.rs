//! Gossip packets on their way to the socket and from it, sealed with the node's keys.

use std::sync::Arc;

use rdb_net_seal::{CipherError, PacketKind, PacketSeal, Refused, SealConfig, UnixTime};
use rdb_net_types::{ClusterId, NodeId};

use crate::keys::Keys;

/// Seals and opens packets.
pub(crate) struct Seal {
    packets: PacketSeal,
    keys: Arc<Keys>,
    buffer: Vec<u8>,
}

impl Seal {
    pub(crate) fn new(keys: &Arc<Keys>, cluster: &ClusterId, node: &NodeId) -> Result<Self, CipherError> {
        let keyring = Arc::clone(&keys.keyring);
        let packets = PacketSeal::new(keyring, cluster, node, SealConfig::default(), UnixTime::now())?;
        Ok(Self { packets, keys: Arc::clone(keys), buffer: Vec::new() })
    }

    /// What leaves; `None` as long as this node has no key: nothing is sent in the clear.
    pub(crate) fn seal(&mut self, packet: &[u8]) -> Option<&[u8]> {
        self.buffer.clear();
        let sealed = self.packets.seal_into(&mut self.buffer, PacketKind::GOSSIP, packet, UnixTime::now());
        self.publish();
        sealed.is_ok().then_some(&self.buffer)
    }

    pub(crate) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let opened = self.packets.open_in_place(datagram, UnixTime::now());
        if matches!(opened, Err(Refused::UnknownKey)) {
            self.keys.unknown_key();
        }
        self.publish();
        Some(opened.ok()?.plaintext)
    }

    fn publish(&self) {
        self.keys.tell(self.packets.statistics(), self.packets.wants_rotation());
    }
}
