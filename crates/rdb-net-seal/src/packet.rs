//! Gossip packets: their layout, who may open them, and how often.

mod config;
mod header;
mod refused;
mod seal;
mod senders;
mod time;
mod window;

pub use config::SealConfig;
pub use header::{PACKET_OVERHEAD_BYTES, PLAINTEXT_BYTES_MAX, PacketKind, SenderId, plaintext_bytes_max};
pub use refused::{Refused, SealStatistics};
pub use seal::{Opened, PacketSeal, SealError};
pub use time::UnixTime;
pub use window::WINDOW_COUNTERS;

#[cfg(test)]
pub(crate) use header::{Epoch, HEADER_BYTES};
#[cfg(test)]
pub(crate) use window::{Seen, Window};
