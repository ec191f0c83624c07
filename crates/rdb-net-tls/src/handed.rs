//! Handshakes that somebody else carries out, as QUIC does: TLS without its records (RFC 9001, section 4).
//!
//! What they are given is made for one handshake, so that its verdict comes back to who began it, with the reason.

use std::fmt;
use std::sync::Arc;

use rustls::{AlertDescription, ClientConfig, ServerConfig};

use crate::failure::of_alert;
use crate::refusal::TlsRefusal;
use crate::tls::{Shared, Side, Tls};
use crate::trust::{Expected, PeerIdentity};
use crate::verifier::Slot;

/// A handshake that is carried out elsewhere. Tell it how it ended: it knows why, and counts it.
pub struct Handed {
    shared: Arc<Shared>,
    side: Side,
    slot: Slot,
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("side", &self.side).finish_non_exhaustive()
    }
}

/// How such a handshake failed, as far as who carried it out can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandedFailure {
    /// The peer sent this alert.
    AlertReceived(u8),
    /// This side found a reason to send an alert.
    AlertSent {
        /// The alert.
        alert: u8,
        /// What the library says of the reason.
        problem: String,
    },
    /// It took too long.
    Timeout,
    /// The peer went away.
    Closed,
}

impl Tls {
    /// For one dial of whom is expected, by the files in force. The server name is not sent and not looked at; any will do.
    ///
    /// # Errors
    ///
    /// [`TlsRefusal::Internal`] where the library takes no such configuration.
    pub fn dialing(&self, expected: Expected) -> Result<(Arc<ClientConfig>, Handed), TlsRefusal> {
        let (shared, slot) = (Arc::clone(self.shared()), Slot::default());
        let config = self.current().parts.client(expected, Some(slot.clone())).map_err(internal)?;
        Ok((Arc::new(config), Handed { shared, side: Side::Dialed, slot }))
    }

    /// For one connection that somebody makes, by the files in force. It refuses whoever this node refuses; deadlines and sizes
    /// are up to who carries the handshake out, and so is a client without ALPN, which QUIC refuses by itself (RFC 9001, section
    /// 8.1).
    ///
    /// # Errors
    ///
    /// As [`dialing`](Self::dialing).
    pub fn accepting(&self) -> Result<(Arc<ServerConfig>, Handed), TlsRefusal> {
        let (shared, slot) = (Arc::clone(self.shared()), Slot::default());
        let config = self.current().parts.server(Some(slot.clone())).map_err(internal)?;
        Ok((Arc::new(config), Handed { shared, side: Side::Connected, slot }))
    }
}

impl Handed {
    /// It was completed. Who is there; `None` only with `verify_client = false`, of somebody without a certificate.
    ///
    /// # Errors
    ///
    /// The peer was not judged, or not let in: whoever carried the handshake out must not go on.
    pub fn completed(self, has_certificate: bool) -> Result<Option<PeerIdentity>, TlsRefusal> {
        let judged = match self.slot.take() {
            Some(Ok(peer)) => Ok(Some(peer)),
            Some(Err(refusal)) => Err(refusal),
            None if !has_certificate && matches!(self.side, Side::Connected) => Ok(None),
            None => Err(internal("the handshake ended without a verdict on the peer")),
        };
        self.shared.count(self.side, judged.as_ref().err());
        judged
    }

    /// It came to nothing. Why: the verdict on the peer, if there was one.
    pub fn failed(self, failure: HandedFailure) -> TlsRefusal {
        let refusal = match (self.slot.take(), failure) {
            (Some(Err(refusal)), _) => refusal,
            (_, HandedFailure::AlertReceived(alert)) => TlsRefusal::by_alert(alert),
            (_, HandedFailure::AlertSent { alert, problem }) => {
                of_alert(AlertDescription::from(alert), problem, &self.shared.current().offers)
            }
            (_, HandedFailure::Timeout) => TlsRefusal::Timeout,
            (_, HandedFailure::Closed) => TlsRefusal::Closed,
        };
        self.shared.count(self.side, Some(&refusal));
        refusal
    }
}

impl TlsRefusal {
    /// What a peer's alert says, by its number (RFC 8446, section 6).
    pub fn by_alert(alert: u8) -> Self {
        match AlertDescription::from(alert) {
            AlertDescription::ProtocolVersion => Self::ProtocolVersion { problem: "it refused the version".to_owned() },
            alert => Self::ByPeer { alert },
        }
    }
}

fn internal(problem: impl ToString) -> TlsRefusal {
    TlsRefusal::Internal { problem: problem.to_string() }
}
