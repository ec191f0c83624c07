//! TLS for QUIC (RFC 9001): one configuration for one handshake, by the files in force when it begins.

use std::sync::Arc;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rdb_net_tls::{Expected, Handed, PeerIdentity, Tls, TlsRefusal};
use rdb_net_transport::{HandshakeError, Proof};
use rdb_net_types::Principal;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use rustls::quic::Suite;

/// What protects the first packets, whose keys are known to everybody (RFC 9001, section 5.2): always this one, whatever suites
/// are configured for what follows.
fn initial_suite() -> Result<Suite, TlsRefusal> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
    suite.ok_or_else(|| internal("the provider has no AES-128-GCM for QUIC"))
}

fn internal(problem: impl ToString) -> TlsRefusal {
    TlsRefusal::Internal { problem: problem.to_string() }
}

/// For one dial.
pub(crate) fn client(tls: &Tls) -> Result<(Arc<QuicClientConfig>, Handed), TlsRefusal> {
    // Whether it is the node that is meant, its hello tells, which has to fit its certificate.
    let (config, handed) = tls.dialing(Expected::Anybody)?;
    let config = QuicClientConfig::with_initial(config, initial_suite()?).map_err(internal)?;
    Ok((Arc::new(config), handed))
}

/// For one connection that somebody makes.
pub(crate) fn server(tls: &Tls) -> Result<(Arc<QuicServerConfig>, Handed), TlsRefusal> {
    let (config, handed) = tls.accepting()?;
    let config = QuicServerConfig::with_initial(config, initial_suite()?).map_err(internal)?;
    Ok((Arc::new(config), handed))
}

/// Who is at the other end, and what ties its hello to this connection: the exporter of its handshake (RFC 9266), which is that
/// of TLS over TCP.
pub(crate) fn proof(quic: &quinn_proto::Connection, handed: Handed) -> Result<Arc<Proof>, TlsRefusal> {
    let certificates = quic
        .crypto_session()
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let peer = handed.completed(certificates.is_some_and(|certificates| !certificates.is_empty()))?;
    let mut binding = [0; 32];
    quic.crypto_session()
        .export_keying_material(&mut binding, rdb_net_tls::ChannelBinding::LABEL, &[])
        .map_err(|_| internal("the handshake gave no channel binding"))?;
    let chain = peer.as_ref().map(|peer: &PeerIdentity| peer.chain().iter().map(|der| der.to_vec()).collect());
    Ok(Arc::new(Proof {
        principal: peer.map(|peer| Principal { node: peer.node.clone(), roles: vec![peer.role] }),
        certificates: chain.unwrap_or_default(),
        channel_binding: binding.to_vec(),
        protects_bytes: true,
    }))
}

/// A refusal, for whoever takes connections.
pub(crate) fn handshake_error(refusal: &TlsRefusal) -> HandshakeError {
    HandshakeError { reason: refusal.name(), detail: refusal.to_string() }
}
