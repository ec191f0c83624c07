//! The name of a transaction: which life of which coordinator began it, and as its how manieth.

use rdb_net_types::{NodeId, TransactionId};
use serde::{Deserialize, Serialize};

/// One life of a coordinator: from a start of its process to the next.
///
/// A [`TransactionId`] is, from its highest bit, the FNV-1a sum of the coordinator's name in 64 bits, the epoch in 32, and the
/// transaction's number in 32. The epoch is durable before the first transaction of a life, so no id is used twice; it is at
/// least the unix time of the start, so that it grows even where the log was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// The sum of the coordinator's name.
    pub node_sum: u64,
    /// Which of its lives.
    pub epoch: u32,
}

impl Life {
    /// This life of this node.
    pub fn new(node: &NodeId, epoch: u32) -> Self {
        Self { node_sum: sum_of(node), epoch }
    }

    /// The life that began a transaction.
    pub const fn of(txn: TransactionId) -> Self {
        Self { node_sum: (txn.0 >> 64) as u64, epoch: (txn.0 >> 32) as u32 }
    }

    /// Its transaction of this number.
    pub const fn transaction(self, sequence: u32) -> TransactionId {
        TransactionId((self.node_sum as u128) << 64 | (self.epoch as u128) << 32 | sequence as u128)
    }

    /// Whether it is one of this node's.
    pub fn is_of(self, node: &NodeId) -> bool {
        self.node_sum == sum_of(node)
    }
}

/// A transaction's number within its life.
pub(super) const fn sequence_of(txn: TransactionId) -> u32 {
    txn.0 as u32
}

fn sum_of(node: &NodeId) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    node.as_str().bytes().fold(OFFSET_BASIS, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_whose_it_is() {
        let node = NodeId::new("n1").expect("legal");
        let life = Life::new(&node, 7);
        let txn = life.transaction(9);
        assert_eq!((Life::of(txn), sequence_of(txn)), (life, 9));
        assert!(life.is_of(&node) && !life.is_of(&NodeId::new("n2").expect("legal")));
        assert_ne!(txn, Life::new(&node, 8).transaction(9));
    }

    #[test]
    fn the_sum_is_the_one_that_others_compute() {
        // FNV-1a, 64 bits, of "a" (Fowler, Noll, Vo: the reference's test vectors).
        assert_eq!(sum_of(&NodeId::new("a").expect("legal")), 0xaf63_dc4c_8601_ec8c);
    }
}
