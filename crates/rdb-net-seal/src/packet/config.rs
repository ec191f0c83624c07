//! Limits of what is sealed and opened.

use std::time::Duration;

/// Limits of a [`PacketSeal`](crate::PacketSeal). All members should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealConfig {
    /// How long a packet may be under way. Default 30 s. Shorter leaves less to replay to a member that has just started;
    /// longer lets packets through that queued for long.
    pub age_max: Duration,
    /// How far two members' clocks may be apart. Default 30 s. It is added to [`age_max`](Self::age_max) on one side and is
    /// the limit on the other. Members whose clocks are farther apart do not hear each other's packets: they have to gossip
    /// inside their connections.
    pub skew_max: Duration,
    /// How long before this process started a packet may have been sealed. Default 5 s. What this process's former life has
    /// opened is not remembered: so far it could be replayed. 0 makes a member whose clock is behind be heard that much later
    /// after this one's start.
    pub before_start_max: Duration,
    /// Lives of senders whose counters are remembered. Default 4,096, at least 1; about 1 KiB each, half as much more
    /// while keys are exchanged. It should be some times the number of members: a restarted member counts twice for a while.
    pub senders_max: usize,
    /// Packets that this member seals with one key before it asks for another. Default 2²⁸: at 20 packets a second five months.
    /// With packets of 1,400 bytes an attacker's advantage over AES-256-GCM then is below 2⁻⁶⁰ (Günther, Thomson, Wood: "Usage
    /// limits on AEAD algorithms", section 5.1).
    pub packets_per_key_max: u64,
    /// Bytes that this member seals with one key before it asks for another. Default 2³⁸ (256 GiB), which is the same limit for
    /// packets of 1 KiB.
    pub bytes_per_key_max: u64,
}

impl Default for SealConfig {
    fn default() -> Self {
        Self {
            age_max: Duration::from_secs(30),
            skew_max: Duration::from_secs(30),
            before_start_max: Duration::from_secs(5),
            senders_max: 4096,
            packets_per_key_max: 1 << 28,
            bytes_per_key_max: 1 << 38,
        }
    }
}
