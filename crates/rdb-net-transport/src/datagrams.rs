//! Packets beside the streams of connections, for what is worth less when it is late than when it is lost: gossip.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use bytes::Bytes;
use rdb_net_types::{MessageType, NodeId};
use rdb_net_wire::{DATAGRAM_HEAD_BYTES, write_datagram};

use crate::backend::Datagrams;
use crate::link::Link;
use crate::transport::Transport;

const LOCKED: &str = "no code panics while it holds this lock";

/// Takes packets: from whom, of which type, and what is in it. It is called on the connection's task, and must not block.
pub type DatagramReceiver = dyn Fn(&NodeId, MessageType, &Bytes) + Send + Sync;

/// Why a packet was not sent. Nothing of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// No connection to the node, or from it, that carries packets is up.
    #[error("no connection with the node carries datagrams")]
    NoWay,
    /// The path carries no packet of this size.
    #[error("the packet has {bytes} bytes, and the path carries {bytes_max}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have now.
        bytes_max: usize,
    },
}

/// A connection that carries packets.
#[derive(Debug, Clone)]
struct Carrier {
    link: Weak<Link>,
    number: u64,
    datagrams: Arc<dyn Datagrams>,
}

/// Which connections carry packets, and who takes those that come.
#[derive(Default)]
pub(crate) struct DatagramTable {
    carriers: Mutex<BTreeMap<NodeId, Vec<Carrier>>>,
    receiver: OnceLock<Arc<DatagramReceiver>>,
    dropped: AtomicU64,
}

impl DatagramTable {
    /// A connection is up.
    pub(crate) fn add(&self, link: &Arc<Link>) {
        let (Some(node), Some(datagrams)) = (link.node(), link.datagrams.clone()) else { return };
        let carrier = Carrier { link: Arc::downgrade(link), number: link.number, datagrams };
        self.carriers.lock().expect(LOCKED).entry(node.clone()).or_default().push(carrier);
    }

    /// A connection has ended.
    pub(crate) fn remove(&self, link: &Link) {
        let Some(node) = link.node() else { return };
        let mut carriers = self.carriers.lock().expect(LOCKED);
        let Some(of_node) = carriers.get_mut(node) else { return };
        of_node.retain(|carrier| carrier.number != link.number);
        if of_node.is_empty() {
            carriers.remove(node);
        }
    }

    /// The newest connection with the node: an older one may be on its way out.
    fn carrier(&self, node: &NodeId) -> Option<Carrier> {
        self.carriers.lock().expect(LOCKED).get(node).and_then(|of_node| of_node.last().cloned())
    }

    fn send(&self, node: &NodeId, message_type: MessageType, body: &[u8]) -> Result<(), DatagramError> {
        let carrier = self.carrier(node).ok_or(DatagramError::NoWay)?;
        let (bytes, bytes_max) = (DATAGRAM_HEAD_BYTES + body.len(), carrier.datagrams.bytes_max());
        if bytes_max == 0 {
            return Err(DatagramError::NoWay);
        }
        if bytes > bytes_max {
            return Err(DatagramError::TooLarge { bytes, bytes_max });
        }
        if !carrier.datagrams.send(write_datagram(message_type, body)) {
            return Err(DatagramError::NoWay);
        }
        if let Some(link) = carrier.link.upgrade() {
            link.lock().session.count_datagram_sent(message_type, bytes);
        }
        Ok(())
    }

    /// A packet has come. A receiver that panics has dropped it.
    pub(crate) fn received(&self, from: &NodeId, message_type: MessageType, body: &Bytes) {
        let Some(receiver) = self.receiver.get() else { return self.drop_one() };
        if catch_unwind(AssertUnwindSafe(|| receiver(from, message_type, body))).is_err() {
            tracing::error!(%from, ?message_type, "code panicked while it took a datagram");
            self.drop_one();
        }
    }

    pub(crate) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Transport {
    /// Sends a packet to a node beside the streams of a connection with it, whichever of the two has made it. Nothing is dialled.
    /// It arrives once or not at all, and nobody is told which.
    ///
    /// # Errors
    ///
    /// [`DatagramError`] where nothing carries it now.
    pub fn send_datagram(&self, node: &NodeId, message_type: MessageType, body: &[u8]) -> Result<(), DatagramError> {
        self.inner.datagrams.send(node, message_type, body)
    }

    /// Who takes the packets that come. The first one that is told stays; without one they are dropped.
    pub fn receive_datagrams(&self, receiver: Arc<DatagramReceiver>) {
        // As it says.
        let _stays = self.inner.datagrams.receiver.set(receiver);
    }

    /// How many packets that came were dropped: they were too short, came before their connection was up, or nobody takes any.
    pub fn datagrams_dropped(&self) -> u64 {
        self.inner.datagrams.dropped.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for DatagramTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatagramTable").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}
