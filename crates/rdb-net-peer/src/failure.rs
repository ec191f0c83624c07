//! Why there is no connection.

use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::RefusalReason;

/// Why a dial had no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialFailure {
    /// Connection refused: nothing listens at the address.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The name could not be resolved.
    Unresolved,
    /// The network says that there is no way.
    NoRoute,
    /// This process has as many connections as it may have, and each is in use. Says nothing of the peer.
    ConnectionLimit,
    /// The connection was made, and its TLS handshake failed: one side does not trust the other. Says nothing of whether the
    /// peer lives.
    Untrusted,
    /// Any other error of the socket.
    Io,
}

impl DialFailure {
    /// A short name, for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "dial_refused",
            Self::TimedOut => "dial_timed_out",
            Self::Unresolved => "dial_unresolved",
            Self::NoRoute => "dial_no_route",
            Self::ConnectionLimit => "dial_connection_limit",
            Self::Untrusted => "dial_untrusted",
            Self::Io => "dial_io",
        }
    }
}

/// The last thing that went wrong, as those who wait for the connection are told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection.
    Dial(DialFailure),
    /// There was one, and the peer did not accept our hello, or we not its.
    Hello(RefusalReason),
    /// It ended before or after it was up.
    Ended(CloseReason),
}

impl Failure {
    /// Of a connection that was dialled and ended before it was up.
    pub const fn of_end(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Refused(refusal) | CloseReason::Rejected(refusal) => Self::Hello(refusal),
            // The other side's part of the handshake comes after this one's is over.
            CloseReason::Lost(Loss::Untrusted) => Self::Dial(DialFailure::Untrusted),
            reason => Self::Ended(reason),
        }
    }
}
