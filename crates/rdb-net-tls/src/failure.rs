//! From what rustls and the socket say to a reason.

use std::io;

use rustls::{AlertDescription, Error as Rustls, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use crate::refusal::TlsRefusal;

/// What the two sides can do, as far as it is known; for sentences.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offers {
    pub(crate) our_suites: String,
    pub(crate) our_groups: String,
    pub(crate) their_suites: String,
    pub(crate) their_groups: String,
}

impl From<io::Error> for TlsRefusal {
    /// Of an error that a handshake, or a read or write on a stream of this crate, ended with. A peer that refuses this node's
    /// certificate says so after this node's handshake is complete (RFC 8446, section 4.4.2.4): its reason comes out of the
    /// first read.
    fn from(error: io::Error) -> Self {
        of_io(error, &Offers::default())
    }
}

pub(crate) fn of_io(error: io::Error, offers: &Offers) -> TlsRefusal {
    let kind = error.kind();
    let inner = error.get_ref();
    if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<TlsRefusal>()) {
        return refusal.clone();
    }
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<Rustls>()) {
        return of_rustls(error, offers);
    }
    match kind {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted => TlsRefusal::Closed,
        io::ErrorKind::TimedOut => TlsRefusal::Timeout,
        kind => TlsRefusal::Io { kind, problem: error.to_string() },
    }
}

fn of_rustls(error: &Rustls, offers: &Offers) -> TlsRefusal {
    let told = |text: &str| if text.is_empty() { "others".to_owned() } else { text.to_owned() };
    match error {
        Rustls::AlertReceived(AlertDescription::ProtocolVersion) => {
            TlsRefusal::ProtocolVersion { problem: "it refused the version".to_owned() }
        }
        Rustls::AlertReceived(alert) => TlsRefusal::ByPeer { alert: *alert },
        Rustls::NoCertificatesPresented => TlsRefusal::NoCertificate,
        Rustls::NoApplicationProtocol => TlsRefusal::NoAlpn { offered: String::new() },
        Rustls::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            TlsRefusal::NoAlpn { offered: " but another".to_owned() }
        }
        Rustls::PeerIncompatible(incompatible) => match incompatible {
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => {
                TlsRefusal::ProtocolVersion { problem: format!("{incompatible:?}") }
            }
            PeerIncompatible::NoCipherSuitesInCommon => {
                TlsRefusal::NoCommonSuite { ours: offers.our_suites.clone(), theirs: told(&offers.their_suites) }
            }
            PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::KeyShareExtensionRequired
            | PeerIncompatible::NamedGroupsExtensionRequired => {
                TlsRefusal::NoCommonGroup { ours: offers.our_groups.clone(), theirs: told(&offers.their_groups) }
            }
            other => TlsRefusal::Protocol { problem: format!("{other:?}") },
        },
        Rustls::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            TlsRefusal::ProtocolVersion { problem: "its records are of another version".to_owned() }
        }
        Rustls::General(_) | Rustls::FailedToGetCurrentTime | Rustls::FailedToGetRandomBytes => {
            TlsRefusal::Internal { problem: error.to_string() }
        }
        other => TlsRefusal::Protocol { problem: other.to_string() },
    }
}

/// Why this side ended a handshake with an alert, where only the alert and a text are left of the reason: under QUIC.
pub(crate) fn of_alert(alert: AlertDescription, problem: String, offers: &Offers) -> TlsRefusal {
    let theirs = || "others".to_owned();
    match alert {
        AlertDescription::CertificateRequired => TlsRefusal::NoCertificate,
        AlertDescription::NoApplicationProtocol => TlsRefusal::NoAlpn { offered: String::new() },
        AlertDescription::ProtocolVersion => TlsRefusal::ProtocolVersion { problem },
        AlertDescription::HandshakeFailure if problem.contains("KxGroup") => {
            TlsRefusal::NoCommonGroup { ours: offers.our_groups.clone(), theirs: theirs() }
        }
        AlertDescription::HandshakeFailure => {
            TlsRefusal::NoCommonSuite { ours: offers.our_suites.clone(), theirs: theirs() }
        }
        _ => TlsRefusal::Protocol { problem },
    }
}
