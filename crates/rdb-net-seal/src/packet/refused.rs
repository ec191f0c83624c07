//! Why packets were refused, and how many.

use crate::cipher::CipherError;

/// Why a packet was refused. Nothing is ever answered to it, and nothing but counters has changed.
///
/// Up to [`Forged`](Self::Forged) anybody may have sent it, and it may tell anything; the others are of somebody who holds the
/// key, or copies of their packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It has no room for a header and a tag.
    #[error("shorter than a sealed packet")]
    TooShort,
    /// It does not begin as a packet of this version does: another version, a packet in the clear, or noise.
    #[error("not a sealed packet of this version")]
    UnknownVersion,
    /// It names a key that is not in the keyring. See [`Recovery`](crate::Recovery) for what to do.
    #[error("sealed with a key that is not in the keyring")]
    UnknownKey,
    /// It was not sealed by a holder of the key for this cluster, or was changed on the way. Packets of another cluster that
    /// shares the key look the same.
    #[error("forged, damaged, or of another cluster")]
    Forged,
    /// This process has sealed it itself: it came back.
    #[error("sealed by this process itself")]
    FromMyself,
    /// It was sealed too long ago, before what is forgotten of senders, or more than a window before the newest of its sender.
    #[error("sealed too long ago")]
    TooOld,
    /// It was sealed in the future by this machine's clock.
    #[error("sealed in the future, the clocks are too far apart")]
    TooNew,
    /// It was opened before.
    #[error("opened before")]
    Replayed,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::TooShort,
        Self::UnknownVersion,
        Self::UnknownKey,
        Self::Forged,
        Self::FromMyself,
        Self::TooOld,
        Self::TooNew,
        Self::Replayed,
    ];

    /// A short name that does not change, for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::UnknownVersion => "unknown_version",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::FromMyself => "from_myself",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Replayed => "replayed",
        }
    }
}

impl From<CipherError> for Refused {
    /// A packet that could not be looked into is treated like one that does not bear looking into.
    fn from(_: CipherError) -> Self {
        Self::Forged
    }
}

/// What was sealed, opened and refused since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SealStatistics {
    /// Packets sealed.
    pub packets_sealed: u64,
    /// Bytes of packets sealed, with what sealing adds.
    pub bytes_sealed: u64,
    /// Packets opened.
    pub packets_opened: u64,
    /// Bytes of packets opened, with what sealing adds.
    pub bytes_opened: u64,
    /// Lives of senders whose counters are remembered.
    pub senders: u64,
    /// Lives of senders that were forgotten to make room for others. Above 0 is a sign that `senders_max` is too low.
    pub senders_evicted: u64,
    /// Keys that were derived to look into packets: one a sender and key, and one for each forged packet of a sender unknown.
    pub keys_derived: u64,
    pub(crate) refused: [u64; Refused::ALL.len()],
}

impl SealStatistics {
    /// Packets refused for this reason.
    pub const fn refused(&self, reason: Refused) -> u64 {
        self.refused[reason as usize]
    }

    /// Packets refused.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }
}
