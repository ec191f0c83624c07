//! Every suite, group and kind of key, and ends that have none in common. S4.

use rcgen::{KeyPair, SubjectPublicKeyInfo};
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::duplex;

use super::mint::{Ca, pem};
use super::raw::{Speaks, client, server};
use super::scene::{BUFFER, Dialer, Taker, check, exactly, node, node_with, soon};
use crate::{ALPN, Expected};

const SUITES: [&str; 3] = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
const GROUPS: [&str; 5] = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1", "SecP256r1MLKEM768"];

/// An RSA key of 1024 bits (SubjectPublicKeyInfo).
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCc/sbZsLaILSe7ZpDMgfAf0N30
2gGSL9a45uCo/lj4LRZoae7iq5adUA/X5EhD8+HVn7SFO2IVM9JEy1Lgnklo0O3e
GqS6jmIuH/m4dh6TI0j2mtPxrIQHzK6pZM//rrsIlIkYMbZEc0PXHsdKXTuQ/CKc
oq1733c+ns8xdKHydQIDAQAB
-----END PUBLIC KEY-----
";

/// What two nodes agree on, one of which speaks only this.
fn agreed(ca: &Ca, suite: Option<&str>, group: Option<&str>) -> (String, String) {
    let one = node_with(&ca.pem(), &ca.node("n1"), &[], |config, _| {
        config.cipher_suites = suite.into_iter().map(str::to_owned).collect();
        config.key_exchange_groups = group.into_iter().map(str::to_owned).collect();
    });
    let two = node_with(&ca.pem(), &ca.node("n2"), &[], |config, _| {
        config.key_exchange_groups = GROUPS.iter().map(|name| (*name).to_owned()).collect();
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let (here, there) = duplex(BUFFER);
        let (connector, acceptor, expected) = (one.tls.connector(), two.tls.acceptor(), exactly("n2"));
        let (dialed, accepted) =
            tokio::join!(connector.connect(here, &expected, soon()), acceptor.accept(there, soon()));
        let (dialed, accepted) = (dialed.expect("dialed"), accepted.expect("accepted"));
        assert!(dialed.binding == accepted.binding, "both ends have one binding");
        let (_, state) = accepted.stream.get_ref();
        assert_eq!(state.alpn_protocol(), Some(ALPN));
        assert_eq!(state.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(state.handshake_kind(), Some(rustls::HandshakeKind::Full));
        let suite = state.negotiated_cipher_suite().expect("a suite").suite();
        let group = state.negotiated_key_exchange_group().expect("a group").name();
        (crate::provider::suite_name(suite), crate::provider::group_name(group))
    })
}

#[test]
fn every_suite_and_group_is_spoken() {
    let ca = Ca::root("ca");
    for suite in SUITES {
        assert_eq!(agreed(&ca, Some(suite), None).0, suite);
    }
    for group in GROUPS {
        assert_eq!(agreed(&ca, None, Some(group)).1, group);
    }
    assert_eq!(agreed(&ca, None, None).1, "X25519MLKEM768", "the default outlives quantum computers");
}

#[test]
fn ends_with_nothing_in_common_say_what_each_has() {
    let ca = Ca::root("ca");
    let (leaf, one) = (ca.node("n2"), node(&ca, "n1"));
    let aes = node_with(&ca.pem(), &ca.node("n1"), &[], |config, _| {
        config.cipher_suites = vec!["TLS_AES_128_GCM_SHA256".to_owned()];
        config.key_exchange_groups = vec!["x25519".to_owned()];
    });
    let chacha = Speaks { suites: vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256], ..Speaks::default() };
    let p384 = Speaks { groups: vec![kx_group::SECP384R1], ..Speaks::default() };
    let from = |speaks: &Speaks| Dialer::Raw(client(Some(&leaf), speaks));
    let to = |speaks: &Speaks| Taker::Raw(server(&leaf, speaks));
    let told = "told HandshakeFailure";
    check("no suite", from(&chacha), Taker::Node(&aes), (told, "no_common_suite"));
    check("no suite of a server", Dialer::Node(&aes, Expected::Anybody), to(&chacha), (told, "no_common_suite"));
    check("no group", from(&p384), Taker::Node(&aes), (told, "no_common_group"));
    check("no group of a server", Dialer::Node(&aes, Expected::Anybody), to(&p384), (told, "no_common_group"));
    check("one group of four", from(&p384), Taker::Node(&one), ("ok", "ok"));

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let refusal = runtime.block_on(async {
        let (here, there) = duplex(BUFFER);
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::from(client(Some(&leaf), &p384)));
        let acceptor = aes.tls.acceptor();
        let dialed = connector.connect("localhost".try_into().expect("a name"), here);
        tokio::join!(dialed, acceptor.accept(there, soon())).1.expect_err("refused")
    });
    let words = "no key exchange group in common: the peer has secp384r1, this node X25519; compare key_exchange_groups of both";
    assert_eq!(refusal.to_string(), words);
}

#[test]
fn every_kind_of_key_is_taken() {
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let keys = [
        ("ECDSA P-256", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")),
        ("ECDSA P-384", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key")),
        ("Ed25519", KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key")),
        ("RSA-2048", rsa),
    ];
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    for (kind, key) in &keys {
        let two = node_with(&ca.pem(), &ca.leaf_of("n2", key, |_| {}), &[], |_, _| {});
        check(kind, Dialer::Node(&one, exactly("n2")), Taker::Node(&two), ("ok", "ok"));
        check(kind, Dialer::Node(&two, exactly("n1")), Taker::Node(&one), ("ok", "ok"));
    }
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
        let ca = Ca::root_with("ca", algorithm, |_| {});
        check("a CA", Dialer::Node(&node(&ca, "n1"), exactly("n2")), Taker::Node(&node(&ca, "n2")), ("ok", "ok"));
    }
}

#[test]
fn a_short_rsa_key_is_refused() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let public = SubjectPublicKeyInfoDer::from_pem_slice(RSA_1024.as_bytes()).expect("a key");
    assert_eq!(pem("PUBLIC KEY", &public), RSA_1024, "the test's own Base64");
    let public = SubjectPublicKeyInfo::from_der(&public).expect("a key");
    let mut leaf = ca.leaf_for("n2", &public, |_| {});
    // It is refused before anybody asks for its signature.
    leaf.key_pem = ca.node("n2").key_pem;
    let told = "told BadCertificate";
    let from = Dialer::Raw(client(Some(&leaf), &Speaks::default()));
    check("of a client", from, Taker::Node(&one), (told, "weak_key"));
    let to = Taker::Raw(server(&leaf, &Speaks::default()));
    check("of a server", Dialer::Node(&one, Expected::Anybody), to, ("weak_key", told));
}

#[test]
fn a_certificate_without_its_key_proves_nothing() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let mut stolen = ca.node("n2");
    stolen.key_pem = ca.node("n3").key_pem;
    let from = Dialer::Raw(client(Some(&stolen), &Speaks::default()));
    check("of a client", from, Taker::Node(&one), ("told DecryptError", "protocol"));
    let to = Taker::Raw(server(&stolen, &Speaks::default()));
    check("of a server", Dialer::Node(&one, Expected::Anybody), to, ("protocol", "told DecryptError"));
}
