//! Users and passwords, TLS and client certificates.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rdb_discovery::{Cause, DiscoverySource, Freshness};
use rdb_discovery_driver::TlsFiles;
use rdb_discovery_driver::conformance::{Reader, node, soon, until};
use rdb_discovery_etcd::{EtcdConfig, EtcdDiscovery, EtcdUser};
use rdb_net_types::{BootId, Component, NodeInfo, ServiceDiscovery};

use crate::server::{Server, key};

async fn cause_of(config: EtcdConfig) -> Cause {
    let source = EtcdDiscovery::new(config).expect("a legal configuration");
    soon("a start", source.initialize()).await.expect("it starts");
    let Freshness::Never { cause: Some(cause) } = source.snapshot().freshness else { panic!("{source:?}") };
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
    cause
}

fn user(name: &str, password: &str) -> Option<EtcdUser> {
    Some(EtcdUser { name: name.to_owned(), password: password.to_owned() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_a_password_is_let_in_for_longer_than_a_token_lives() {
    let Some(server) = Server::start(&["--auth-token-ttl", "1"]) else { return };
    for words in [
        "user add root:root",
        "user grant-role root root",
        "role add nodes",
        "role grant-permission --prefix=true nodes readwrite /rustydb/test/",
        "user add rdb:geheim",
        "user grant-role rdb nodes",
        "auth enable",
    ] {
        server.told(&words.split(' ').collect::<Vec<_>>());
    }
    for refused in [None, user("rdb", "wrong"), user("nobody", "geheim")] {
        let cause = cause_of(EtcdConfig { user: refused.clone(), ..server.config() }).await;
        assert!(matches!(cause, Cause::Refused { .. }), "{refused:?}: {cause}");
        assert!(!cause.to_string().contains("geheim"), "{cause}");
    }
    let elsewhere = EtcdConfig { user: user("rdb", "geheim"), prefix: "/other".to_owned(), ..server.config() };
    assert!(matches!(cause_of(elsewhere).await, Cause::Refused { .. }), "its role is for another prefix");

    let source = EtcdDiscovery::new(EtcdConfig { user: user("rdb", "geheim"), ..server.config() }).expect("legal");
    soon("a start", source.initialize()).await.expect("it starts");
    let registered = NodeInfo { boot: BootId(7), ..node(7, "1") };
    soon("a registration", source.register_node(&registered)).await.expect("registered");
    let mut reader = Reader::of(&source);
    reader.until_addresses(std::slice::from_ref(&registered)).await;
    // A third of a lease of two seconds apart, so that they are many tokens long: each needs a fresh one.
    let began = Instant::now();
    until("six renewals", || source.statistics().discovery.registration.renewals >= 6).await;
    assert!(began.elapsed() > Duration::from_secs(2), "two tokens and more: {:?}", began.elapsed());
    let changed = NodeInfo { version: "2".to_owned(), ..registered };
    soon("an update", source.register_node(&changed)).await.expect("written");
    reader.until("~").await;
    assert_eq!(source.statistics().discovery.registration.lost, 0);
    let root = ["--user", "root:root", "put", &key(&node(5, "")), r#"{"id":"n0005","address":"host:5"}"#];
    server.told(&root);
    reader.until("+host:5").await;
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

/// An authority and what it signs, as files.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("legal");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("signed");
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("made");
        std::fs::write(folder.join("ca.pem"), issuer.pem()).expect("written");
        Self { folder, issuer }
    }

    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut parameters = CertificateParams::new(vec!["etcd.test".to_owned()]).expect("legal");
        parameters.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("signed");
        let (there, at) = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        std::fs::write(&there, certificate.pem()).expect("written");
        std::fs::write(&at, key.serialize_pem()).expect("written");
        (there, at)
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_takes_the_right_authority_the_right_name_and_a_certificate_where_one_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (own, foreign) = (Authority::new(folder.path(), "own"), Authority::new(folder.path(), "foreign"));
    let (certificate, its_key) = own.issue("server");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let (certificate, its_key, ca) = (text(&certificate), text(&its_key), text(&own.ca()));
    let flags =
        ["--cert-file", &certificate, "--key-file", &its_key, "--trusted-ca-file", &ca, "--client-cert-auth=true"];
    let Some(server) = Server::start_secure(&flags) else { return };
    let (certificate, its_key) = own.issue("node");
    let good = TlsFiles {
        ca: own.ca(),
        certificate: Some(certificate),
        key: Some(its_key),
        server_name: Some("etcd.test".to_owned()),
    };
    let with = |tls: TlsFiles| EtcdConfig { tls: Some(tls), ..server.config() };
    let (certificate, its_key) = foreign.issue("node");
    let refused = [
        ("another authority", TlsFiles { ca: foreign.ca(), ..good.clone() }),
        ("another name", TlsFiles { server_name: Some("other.test".to_owned()), ..good.clone() }),
        ("no certificate", TlsFiles { certificate: None, key: None, ..good.clone() }),
        ("a foreign certificate", TlsFiles { certificate: Some(certificate), key: Some(its_key), ..good.clone() }),
    ];
    for (what, tls) in refused {
        let cause = cause_of(with(tls)).await;
        println!("{what}: {cause}");
        assert!(matches!(cause, Cause::Unavailable { .. }), "{what}: {cause}");
    }
    let missing = EtcdDiscovery::new(with(TlsFiles { ca: folder.path().join("none.pem"), ..good.clone() }));
    let error = missing.expect_err("told at once").to_string();
    assert!(error.starts_with("tls.ca: ") && error.contains("none.pem"), "{error}");

    // Files are read with every connection: a wrong one that is replaced needs no restart.
    let replaced = folder.path().join("replaced.pem");
    std::fs::copy(foreign.ca(), &replaced).expect("copied");
    let source = EtcdDiscovery::new(with(TlsFiles { ca: replaced.clone(), ..good })).expect("legal");
    soon("a start", source.initialize()).await.expect("it starts");
    assert!(matches!(source.snapshot().freshness, Freshness::Never { .. }));
    std::fs::copy(own.ca(), &replaced).expect("copied");
    Reader::of(&source).until("=").await;
    let registered = NodeInfo { boot: BootId(7), ..node(7, "1") };
    soon("a registration", source.register_node(&registered)).await.expect("registered");
    Reader::of(&source).until_addresses(&[registered]).await;
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}
