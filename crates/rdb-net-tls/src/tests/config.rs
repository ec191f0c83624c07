//! Which settings are taken, and what is said of the others. S4.

use crate::{ConfigError, TlsConfig, TlsVersion};

fn good() -> TlsConfig {
    TlsConfig {
        enabled: true,
        cert_path: "cert.pem".into(),
        key_path: "key.pem".into(),
        ca_cert_path: Some("ca.pem".into()),
        ..TlsConfig::default()
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut TlsConfig), expected: Result<(), (&str, &str)>) {
    let mut config = good();
    change(&mut config);
    let result = config.validate();
    let told = result.as_ref().map_err(|error| (error.key(), error.to_string()));
    match (told, expected) {
        (Ok(()), Ok(())) => {}
        (Err((key, text)), Err((expected_key, words))) => {
            assert!(key == expected_key && text.contains(words), "{key}: {text}");
        }
        (told, expected) => panic!("{told:?} where {expected:?} was expected"),
    }
}

#[test]
fn a_key_that_is_at_fault_is_named() {
    check(|_| {}, Ok(()));
    check(|config| config.cert_path = "".into(), Err(("networking.tls.cert_path", "is not set")));
    check(|config| config.key_path = "".into(), Err(("networking.tls.key_path", "is not set")));
    check(|config| config.ca_cert_path = None, Err(("networking.tls.ca_cert_path", "is not set")));
    check(|config| config.crl_paths = vec!["".into()], Err(("networking.tls.crl_paths", "is not set")));
    let off = TlsConfig { enabled: false, cert_path: "".into(), ..good() };
    assert_eq!(off.validate(), Ok(()), "what is off is not judged");
}

/// S4.
#[test]
fn versions_below_1_3_are_refused_with_the_reason() {
    for version in ["1.0", "TLSv1.1", "1.2"] {
        let version: TlsVersion = version.parse().expect("a version");
        let key = "networking.tls.min_protocol_version";
        check(|config| config.min_protocol_version = version, Err((key, "certificates travel in the clear")));
    }
    for text in ["1.3", "TLSv1.3", "tls1.3", "Tls13", "TLS 1.3"] {
        assert_eq!(text.parse(), Ok(TlsVersion::Tls13), "{text}");
    }
    assert!("1.4".parse::<TlsVersion>().is_err());
    assert!("SSLv3".parse::<TlsVersion>().is_err());
}

#[test]
fn suites_and_groups_have_names() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    check(|config| config.cipher_suites = set(&["TLS_AES_128_GCM_SHA256", "TLS13_CHACHA20_POLY1305_SHA256"]), Ok(()));
    check(|config| config.key_exchange_groups = set(&["x25519mlkem768", "secp256r1"]), Ok(()));
    let key = "networking.tls.cipher_suites";
    let old = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    check(
        |config| config.cipher_suites = set(&[old]),
        Err((key, "known are TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256")),
    );
    let twice = set(&["TLS_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256"]);
    check(|config| config.cipher_suites = twice, Err((key, "stands twice")));
    let key = "networking.tls.key_exchange_groups";
    check(
        |config| config.key_exchange_groups = set(&["ffdhe2048"]),
        Err((key, "known are X25519MLKEM768, X25519, secp256r1")),
    );
    check(|config| config.key_exchange_groups = set(&["ä"]), Err((key, "is not known")));
    check(|config| config.cipher_suites = set(&["TLS13ä"]), Err(("networking.tls.cipher_suites", "is not known")));
}

#[test]
fn the_defaults_are_the_safe_ones() {
    let config = TlsConfig::default();
    assert!(config.verify_client && !config.enabled);
    assert_eq!(config.min_protocol_version, TlsVersion::Tls13);
    let error = ConfigError::Version { version: TlsVersion::Tls12 };
    assert!(error.to_string().contains("set \"1.3\""), "it says what to do: {error}");
}
