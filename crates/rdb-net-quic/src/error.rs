//! From what QUIC says to what the transport knows: the same kinds of failures as with TCP.

use std::io;

use quinn_proto::{ConnectionError, TransportErrorCode};
use rdb_net_tls::{Handed, HandedFailure, TlsRefusal};
use rdb_net_transport::DialError;
use rdb_net_types::NodeAddress;

use crate::crypto::handshake_error;

/// Errors of this and the 255 that follow are alerts of TLS (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// The alert of TLS that an error of QUIC stands for.
fn alert_of(code: TransportErrorCode) -> Option<u8> {
    u64::from(code).checked_sub(CRYPTO_ERROR).and_then(|alert| u8::try_from(alert).ok())
}

/// How a handshake that did not come to its end has failed; `None` where TLS was not the reason.
fn handshake_failure(error: &ConnectionError) -> Option<HandedFailure> {
    match error {
        ConnectionError::TransportError(error) => {
            let problem = || error.reason.clone();
            alert_of(error.code).map(|alert| HandedFailure::AlertSent { alert, problem: problem() })
        }
        ConnectionError::ConnectionClosed(frame) => alert_of(frame.error_code).map(HandedFailure::AlertReceived),
        ConnectionError::TimedOut => Some(HandedFailure::Timeout),
        _ => None,
    }
}

/// Why somebody that connected was not let in.
pub(crate) fn refusal_of(error: &ConnectionError, handed: Handed) -> TlsRefusal {
    match handshake_failure(error) {
        Some(failure) => handed.failed(failure),
        None => match handed.failed(HandedFailure::Closed) {
            TlsRefusal::Closed => TlsRefusal::Protocol { problem: error.to_string() },
            refusal => refusal,
        },
    }
}

/// Why a dial came to nothing. What the network did is told as it is with TCP; what the peer did, as a lack of trust.
pub(crate) fn dial_error(address: &NodeAddress, error: ConnectionError, handed: Handed) -> DialError {
    let failure = handshake_failure(&error);
    match handed.failed(failure.unwrap_or(HandedFailure::Closed)) {
        TlsRefusal::Closed | TlsRefusal::Timeout => DialError::new(address, io_error(error)),
        refusal => DialError::untrusted(address, handshake_error(&refusal)),
    }
}

/// How a connection has ended, in the words of sockets.
pub(crate) fn io_error(error: ConnectionError) -> io::Error {
    use io::ErrorKind;
    let kind = match &error {
        ConnectionError::TimedOut => ErrorKind::TimedOut,
        ConnectionError::Reset => ErrorKind::ConnectionReset,
        ConnectionError::ApplicationClosed(_) => ErrorKind::UnexpectedEof,
        ConnectionError::LocallyClosed => ErrorKind::NotConnected,
        ConnectionError::TransportError(_) => ErrorKind::InvalidData,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The same, of a connection on which nothing has come back yet: a dialer's handshake is complete before its certificate is
/// judged (RFC 8446, section 4.4.2.4), and an alert then is the verdict.
pub(crate) fn verdict(error: ConnectionError) -> io::Error {
    let ConnectionError::ConnectionClosed(frame) = &error else { return io_error(error) };
    match alert_of(frame.error_code) {
        Some(alert) => io::Error::new(io::ErrorKind::PermissionDenied, TlsRefusal::by_alert(alert)),
        None => io_error(error),
    }
}
