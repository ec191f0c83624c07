//! The two configurations of rustls, made of a set of files.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, Error, ServerConfig};

use crate::epoch::ALPN;
use crate::trust::{Expected, Trust};
use crate::verifier::{ConnectedVerifier, DialedVerifier, Slot};

/// What configurations are made of: TLS 1.3 alone, no tickets, no session that outlives its connection, no early data, no server
/// name. What a verifier has judged once is judged anew for every connection.
pub(crate) struct Parts {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) time: Arc<dyn TimeProvider>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) resolver: Arc<SingleCertAndKey>,
    pub(crate) is_certificate_mandatory: bool,
}

impl Parts {
    /// For dials. The verdict goes to the slot, where there is one.
    pub(crate) fn client(&self, expected: Expected, slot: Option<Slot>) -> Result<ClientConfig, Error> {
        let verifier = DialedVerifier { trust: Arc::clone(&self.trust), expected, slot };
        let mut client = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.time))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.resolver));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;
        client.enable_sni = false;
        Ok(client)
    }

    /// For those who connect. The verdict goes to the slot, where there is one.
    pub(crate) fn server(&self, slot: Option<Slot>) -> Result<ServerConfig, Error> {
        let is_mandatory = self.is_certificate_mandatory;
        let verifier = ConnectedVerifier { trust: Arc::clone(&self.trust), is_mandatory, slot };
        let mut server = ServerConfig::builder_with_details(Arc::clone(&self.provider), Arc::clone(&self.time))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.resolver));
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        Ok(server)
    }
}
