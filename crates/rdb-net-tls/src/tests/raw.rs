//! Ends that are made by hand and believe everything: what a peer may do that is not this library.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, SupportedCipherSuite,
};

use super::mint::Leaf;
use crate::ALPN;

/// Believes everything.
#[derive(Debug)]
struct Blind;

/// What a hand-made end speaks.
pub(super) struct Speaks {
    pub(super) tls12_only: bool,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) suites: Vec<SupportedCipherSuite>,
    pub(super) groups: Vec<&'static dyn SupportedKxGroup>,
}

impl Default for Speaks {
    fn default() -> Self {
        let provider = aws_lc_rs::default_provider();
        Self {
            tls12_only: false,
            alpn: vec![ALPN.to_vec()],
            suites: provider.cipher_suites,
            groups: provider.kx_groups,
        }
    }
}

impl Speaks {
    fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider {
            cipher_suites: self.suites.clone(),
            kx_groups: self.groups.clone(),
            ..aws_lc_rs::default_provider()
        })
    }

    fn versions(&self) -> [&'static rustls::SupportedProtocolVersion; 1] {
        [if self.tls12_only { &TLS12 } else { &TLS13 }]
    }
}

/// The chain and the key as they are, whether or not they belong together.
fn resolver(leaf: &Leaf) -> Arc<SingleCertAndKey> {
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).expect("a key");
    let key = aws_lc_rs::sign::any_supported_type(&key).expect("a key");
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(leaf.chain.clone(), key)))
}

pub(super) fn client(leaf: Option<&Leaf>, speaks: &Speaks) -> Box<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(speaks.provider())
        .with_protocol_versions(&speaks.versions())
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind));
    let mut config = match leaf {
        Some(leaf) => builder.with_client_cert_resolver(resolver(leaf)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = speaks.alpn.clone();
    Box::new(config)
}

pub(super) fn server(leaf: &Leaf, speaks: &Speaks) -> Box<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(speaks.provider())
        .with_protocol_versions(&speaks.versions())
        .expect("versions")
        .with_client_cert_verifier(Arc::new(Blind))
        .with_cert_resolver(resolver(leaf));
    config.alpn_protocols = speaks.alpn.clone();
    Box::new(config)
}

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Blind {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
