//! The places of a peer's connections, and which message takes which.

use rdb_net_types::Lane;

/// The most main connections that a peer may have.
pub const CONNECTIONS_MAX: u8 = 16;

/// A place for one connection to a peer. While a connection is replaced there are two: the new one, and the old one that runs
/// out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// One of the main connections, from 0: they carry the System, Interactive and Replication lanes.
    Main(u8),
    /// The connection of the Bulk lane, dialled when something is first sent on that lane.
    Bulk,
}

impl Slot {
    /// The main connection that is kept, where one is kept, and that carries what names no key and must keep its order.
    pub const FIRST: Self = Self::Main(0);

    /// All slots of a peer with so many main connections.
    pub fn all(connections: u8) -> impl Iterator<Item = Self> {
        (0..connections).map(Self::Main).chain([Self::Bulk])
    }

    /// Where it stands in [`all`](Self::all).
    pub fn index(self, connections: u8) -> usize {
        match self {
            Self::Main(number) => usize::from(number),
            Self::Bulk => usize::from(connections),
        }
    }

    /// The slot of a message that must keep its order: messages of one lane and one key take the same one, and so do those of
    /// no key.
    ///
    /// The hash is a multiplication by 2⁶⁴ divided by the golden ratio (Knuth, "The Art of Computer Programming", volume 3,
    /// section 6.4), the upper bits scaled to the number of connections.
    #[inline]
    pub fn of(connections: u8, lane: Lane, key: Option<u64>) -> Self {
        match (lane, key) {
            (Lane::Bulk, _) => Self::Bulk,
            (_, None) => Self::FIRST,
            (_, Some(key)) => {
                let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                Self::Main(((mixed * u64::from(connections)) >> 32) as u8)
            }
        }
    }
}

/// The number of a slot's connection: it grows by one with each new connection in the slot.
///
/// The handlers of messages of one lane and one key start in the order in which the messages were sent, as long as the epoch
/// is the same. Between two epochs nothing is promised: the last messages of the former one may be missing where it was lost,
/// and where it was replaced they are handled beside the first of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);
