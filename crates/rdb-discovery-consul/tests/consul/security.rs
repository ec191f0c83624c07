//! Tokens and TLS.

use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rdb_discovery::{DiscoverySource, Freshness};
use rdb_discovery_consul::test_agent::{Stream, TestAgent, Wrap};
use rdb_discovery_consul::{ConfigError, ConsulConfig, ConsulDiscovery, ConsulToken};
use rdb_discovery_driver::TlsFiles;
use rdb_discovery_driver::conformance::{Reader, node, soon, until};
use rdb_net_types::{Component, ServiceDiscovery};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::agents::{cluster, config, started};

struct Files {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).expect("signed").pem()).expect("written");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, name: &str, subject: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![subject.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        std::fs::write(self.path(&format!("{name}.pem")), certificate).expect("written");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    /// An agent that shows this certificate and wants one of the same authority.
    fn agent(&self, name: &str) -> TestAgent {
        let authority = CertificateDer::from_pem_file(self.path("ca.pem")).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(authority).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        let config = Arc::new(config);
        let wrap = move |socket: TcpStream| -> io::Result<Box<dyn Stream>> {
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            Ok(Box::new(StreamOwned::new(connection, socket)))
        };
        TestAgent::start_with("127.0.0.1:0", Box::new(wrap) as Box<Wrap>)
    }

    fn tls(&self, client: &str) -> TlsFiles {
        TlsFiles {
            ca: self.path("ca.pem"),
            certificate: Some(self.path(&format!("{client}.pem"))),
            key: Some(self.path(&format!("{client}.key"))),
            server_name: None,
        }
    }
}

fn secure(agent: &TestAgent, tls: TlsFiles) -> ConsulConfig {
    ConsulConfig { tls: Some(tls), ..config(&cluster(), &format!("https://{}", agent.address())) }
}

fn cause(source: &ConsulDiscovery) -> String {
    match source.snapshot().freshness {
        Freshness::Never { cause: Some(cause) } => cause.to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_on_both_sides() {
    let files = Files::new();
    files.sign("agent", "127.0.0.1");
    files.sign("node", "node1");
    let agent = files.agent("agent");
    let source = started(secure(&agent, files.tls("node"))).await;
    let mut reader = Reader::of(&source);
    reader.until("=0").await;
    soon("a registration", source.register_node(&node(1, "1"))).await.expect("registered");
    reader.until("+").await;
    soon("a shutdown", source.shutdown()).await.expect("everything ends");

    let bare = TlsFiles { certificate: None, key: None, ..files.tls("node") };
    let source = started(secure(&agent, bare)).await;
    until("it is refused", || matches!(source.snapshot().freshness, Freshness::Never { cause: Some(_) })).await;
    assert!(cause(&source).contains("cannot be reached"), "{}", cause(&source));

    let strangers = Files::new();
    let source = started(secure(&agent, TlsFiles { ca: strangers.path("ca.pem"), ..files.tls("node") })).await;
    until("it refuses", || matches!(source.snapshot().freshness, Freshness::Never { cause: Some(_) })).await;
    assert!(cause(&source).contains("invalid peer certificate"), "{}", cause(&source));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_that_a_certificate_carries_is_checked_and_can_be_given() {
    let files = Files::new();
    files.sign("agent", "server.dc1.consul");
    files.sign("node", "node1");
    let agent = files.agent("agent");
    let source = started(secure(&agent, files.tls("node"))).await;
    until("it refuses", || matches!(source.snapshot().freshness, Freshness::Never { cause: Some(_) })).await;
    assert!(cause(&source).contains("NotValidForName"), "{}", cause(&source));
    let named = TlsFiles { server_name: Some("server.dc1.consul".to_owned()), ..files.tls("node") };
    let source = started(secure(&agent, named)).await;
    Reader::of(&source).until("=0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (files, others) = (Files::new(), Files::new());
    files.sign("agent", "127.0.0.1");
    files.sign("node", "node1");
    others.sign("node", "node1");
    let agent = files.agent("agent");
    for name in ["node.pem", "node.key"] {
        std::fs::rename(files.path(name), files.path(&format!("{name}.good"))).expect("moved");
        std::fs::copy(others.path(name), files.path(name)).expect("copied");
    }
    let source = started(secure(&agent, files.tls("node"))).await;
    until("it is refused", || matches!(source.snapshot().freshness, Freshness::Never { cause: Some(_) })).await;
    for name in ["node.pem", "node.key"] {
        std::fs::rename(files.path(&format!("{name}.good")), files.path(name)).expect("moved");
    }
    Reader::of(&source).until("=0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_to_the_agent_and_its_lack_is_told() {
    let agent = TestAgent::start();
    agent.want_token("geheim");
    let cluster = cluster();
    let source = started(config(&cluster, &agent.url())).await;
    until("it is refused", || matches!(source.snapshot().freshness, Freshness::Never { cause: Some(_) })).await;
    assert!(cause(&source).contains("the source refuses us"), "{}", cause(&source));
    let refused = soon("an answer", source.register_node(&node(1, "1"))).await.expect_err("refused").to_string();
    assert!(refused.contains("service:write") && !refused.contains("geheim"), "{refused}");

    let token = Some(ConsulToken::new("geheim\n").expect("legal"));
    let source = started(ConsulConfig { token, ..config(&cluster, &agent.url()) }).await;
    let mut reader = Reader::of(&source);
    reader.until("=0").await;
    soon("a registration", source.register_node(&node(1, "1"))).await.expect("registered");
    reader.until("+").await;
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

#[test]
fn a_file_that_is_not_there_or_no_certificate_is_told_before_the_start() {
    let files = Files::new();
    let agent = TestAgent::start();
    let refused = |tls| ConsulDiscovery::new(secure(&agent, tls)).expect_err("refused");
    let missing = TlsFiles { ca: files.path("missing.pem"), ..TlsFiles::default() };
    assert!(matches!(refused(missing), ConfigError::File(error) if error.path == files.path("missing.pem")));
    std::fs::write(files.path("empty.pem"), "nothing").expect("written");
    let empty = TlsFiles { ca: files.path("empty.pem"), ..TlsFiles::default() };
    assert!(refused(empty).to_string().ends_with("there is no certificate in it, which is PEM"));
}
