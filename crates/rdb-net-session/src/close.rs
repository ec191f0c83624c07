//! Why a connection ended.

use rdb_net_types::RefusalReason;
use rdb_net_wire::{CloseCode, FrameError};

/// What became of the socket under a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// The other side's kernel answered that there is no such connection: its process is gone, or somebody cut it.
    Reset,
    /// The other side ended its stream without a farewell.
    Eof,
    /// Sent bytes were not acknowledged in time.
    TimedOut,
    /// The other side does not take this node's certificate, which TLS 1.3 tells a dialer after its own part of the handshake.
    Untrusted,
    /// Any other error of the socket.
    Io,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The other side does not accept our hello.
    #[error("the peer refused our hello: {0}")]
    Refused(RefusalReason),
    /// We do not accept the other side's hello.
    #[error("the peer's hello was refused: {0}")]
    Rejected(RefusalReason),
    /// The other side said why it ends the connection.
    #[error("the peer closed the connection: {}", .0.name())]
    Peer(CloseCode),
    /// The other side sent bytes that are no frame.
    #[error("the peer sent something else than frames: {0}")]
    Frame(FrameError),
    /// The other side sent a frame that it may not send at this point, or could not be read as what it must be.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// The other side sent more than it had credits for.
    #[error("the peer sent more than its credits")]
    CreditExceeded,
    /// The hello did not come in time.
    #[error("no hello came in time")]
    HelloTimeout,
    /// Nothing came for longer than the liveness time.
    #[error("nothing came from the peer for too long")]
    Silent,
    /// The other side's certificate was revoked, or who signed it is not trusted any more.
    #[error("the peer's certificate is not trusted any more")]
    Untrusted,
    /// We drained, or were asked to close, and everything under way is done.
    #[error("the connection was closed here")]
    Local,
    /// The socket is gone.
    #[error("the connection was lost")]
    Lost(Loss),
}

impl CloseReason {
    /// A short name, for counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refused(reason) | Self::Rejected(reason) => reason.name(),
            Self::Peer(CloseCode::Normal | CloseCode::Shutdown) | Self::Local => "closed",
            Self::Peer(code) => code.name(),
            Self::Frame(error) => error.name(),
            Self::Protocol(_) => "protocol",
            Self::CreditExceeded => "credit",
            Self::HelloTimeout => "hello_timeout",
            Self::Silent => "silent",
            Self::Untrusted | Self::Lost(Loss::Untrusted) => "untrusted",
            Self::Lost(Loss::Reset) => "reset",
            Self::Lost(Loss::Eof) => "eof",
            Self::Lost(Loss::TimedOut) => "timed_out",
            Self::Lost(Loss::Io) => "io",
        }
    }

    /// Whether the connection ended as both sides meant it to.
    pub const fn is_orderly(&self) -> bool {
        matches!(self, Self::Local | Self::Peer(CloseCode::Normal | CloseCode::Shutdown | CloseCode::Evicted))
    }

    /// What the other side is told, where it is told anything.
    pub const fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Frame(_) => Some(CloseCode::Protocol),
            Self::Protocol(_) => Some(CloseCode::State),
            Self::CreditExceeded => Some(CloseCode::Credit),
            Self::Silent => Some(CloseCode::Silent),
            Self::Untrusted => Some(CloseCode::Untrusted),
            Self::Local => Some(CloseCode::Normal),
            Self::Refused(_) | Self::Rejected(_) | Self::Peer(_) | Self::HelloTimeout | Self::Lost(_) => None,
        }
    }
}
