//! No datagram is longer than the settings allow.
//!
//! Source: the house's promise of bounded sizes; in the field a digest of some hundred members did not fit a datagram any more, and
//! nodes failed (quickwit-oss/chitchat #59).

use rdb_net_engine::Engine;

use super::Invariant;

#[derive(Debug)]
pub(crate) struct DatagramFits;

impl Invariant for DatagramFits {
    fn name(&self) -> &'static str {
        "datagram-fits"
    }

    fn sent(&mut self, engine: &Engine, bytes: usize) -> Result<(), String> {
        let limit = engine.membership().config().packet_bytes_max;
        if bytes <= limit { Ok(()) } else { Err(format!("a datagram of {bytes} bytes, above {limit}")) }
    }
}
