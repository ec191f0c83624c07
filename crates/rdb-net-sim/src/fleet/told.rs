//! What members tell of each other, and what they have sent.

use std::time::Duration;

/// A change that one member tells of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has new metadata or a new address.
    Updated,
    /// It could not be reached.
    Suspected,
    /// It has failed.
    Failed,
    /// It is there after all, after a suspicion or a failure.
    Back,
    /// It was not known, or had left, and is a member.
    Joined,
    /// It has said farewell.
    Left,
}

/// What one member has told of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Duration,
    /// Who tells.
    pub by: usize,
    /// Of whom.
    pub of: usize,
    /// What.
    pub change: Change,
    /// Whether it has come to that by itself, when a time was up; otherwise it has heard so.
    pub is_own: bool,
}

/// What a fleet has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Datagrams that ask or answer whether somebody is there.
    pub probe_packets: u64,
    /// Exchanges of views.
    pub syncs: u64,
    /// Bytes of them.
    pub sync_bytes: u64,
}
