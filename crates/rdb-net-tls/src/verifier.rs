//! The verifiers that rustls calls, around [`Trust`].
//!
//! rustls takes one of its own errors, makes an alert of it and loses the rest. So a verdict is also put into the slot of the
//! handshake that is being polled, and the handshake takes it from there.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::refusal::TlsRefusal;
use crate::trust::{Expected, PeerIdentity, PeerSide, Trust, check_expected};

type Verdict = Result<PeerIdentity, TlsRefusal>;

/// Where the verdict of one handshake goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Verdict>>>);

tokio::task_local! {
    static SLOT: Slot;
}

impl Slot {
    /// Runs a handshake whose verdict goes here.
    pub(crate) async fn during<F: Future>(&self, handshake: F) -> F::Output {
        SLOT.scope(self.clone(), handshake).await
    }

    /// The verdict, if one was given.
    pub(crate) fn take(&self) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells this slot; without one, that of the handshake that is being polled.
    fn tell(own: Option<&Self>, verdict: Verdict) -> Result<(), Error> {
        let error = verdict.as_ref().err().map(TlsRefusal::to_rustls);
        match own {
            Some(slot) => slot.put(verdict),
            // Outside of such a handshake nobody listens.
            None => drop(SLOT.try_with(|slot| slot.put(verdict))),
        }
        error.map_or(Ok(()), Err)
    }

    fn put(&self, verdict: Verdict) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }
}

/// Verifies those who are dialed.
#[derive(Debug)]
pub(crate) struct DialedVerifier {
    pub(crate) trust: Arc<Trust>,
    pub(crate) expected: Expected,
    /// Where the verdict goes, of a handshake that is carried out elsewhere.
    pub(crate) slot: Option<Slot>,
}

/// Verifies those who connect.
#[derive(Debug)]
pub(crate) struct ConnectedVerifier {
    pub(crate) trust: Arc<Trust>,
    pub(crate) is_mandatory: bool,
    /// As for those who are dialed.
    pub(crate) slot: Option<Slot>,
}

fn chain<'a>(leaf: &CertificateDer<'a>, intermediates: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    std::iter::once(leaf).chain(intermediates).cloned().collect()
}

/// Both traits ask for the same of a signature: TLS 1.3, by the algorithms that are trusted.
macro_rules! judged_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(no_tls12())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.trust.algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for DialedVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.trust.judge(&chain(leaf, intermediates), PeerSide::Dialed, now);
        let verdict = verdict.and_then(|peer| check_expected(&peer, &self.expected).map(|()| peer));
        Slot::tell(self.slot.as_ref(), verdict).map(|()| ServerCertVerified::assertion())
    }

    judged_signatures!();
}

impl ClientCertVerifier for ConnectedVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    /// None: a stranger need not learn the names of the CAs.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.trust.judge(&chain(leaf, intermediates), PeerSide::Connected, now);
        Slot::tell(self.slot.as_ref(), verdict).map(|()| ClientCertVerified::assertion())
    }

    judged_signatures!();
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}
