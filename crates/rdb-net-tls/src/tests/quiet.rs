//! Secrets that are in no text, and text of strangers that is harmless. S18, S23.

use std::fs;

use super::mint::Ca;
use super::scene::{node, secret_file};
use crate::secret::SharedSecret;
use crate::{Beginning, CertificateName, ChannelBinding, TlsRefusal};

const MARKER: &str = "MARKERMARKERMARKERMARKERMARKERMA";

#[test]
fn secrets_are_in_no_text() {
    let secret = SharedSecret::new(MARKER.as_bytes()).expect("long enough");
    assert_eq!(format!("{secret:?}"), "SharedSecret(…)");
    assert_eq!(format!("{:?}", ChannelBinding::from_bytes([0x4d; 32])), "ChannelBinding(…)");

    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let key = fs::read_to_string(&one.config.key_path).expect("read");
    let lines: Vec<&str> = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let texts = format!("{:?} {:?} {:?}", one.tls, one.tls.current(), one.tls.reloader());
    assert!(!lines.is_empty() && lines.iter().all(|line| !texts.contains(line)));

    for bad in [
        format!("-----BEGIN PRIVATE KEY-----\n{MARKER}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{MARKER}\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n!{MARKER}\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN PRIVATE KEY {MARKER}\n"),
        format!("-----BEGIN {MARKER}\n{MARKER}\n"),
        MARKER.to_owned(),
    ] {
        secret_file(&one.config.key_path, &bad);
        let error = one.tls.reloader().reload().expect_err("no key");
        assert!(!format!("{error} {error:?}").contains("MARKER"), "{error:?}");
    }
}

/// S18.
#[test]
fn names_of_strangers_are_cut_and_visible() {
    let hostile = format!("spiffe://x/\u{1b}[31m\n{}", "y".repeat(500));
    // rcgen writes what it is given as long as it is ASCII.
    let leaf = Ca::root("ca").leaf("n1", |params| params.subject_alt_names = vec![super::mint::uri(&hostile)]);
    let shown = CertificateName::of(&leaf.chain[0]);
    assert!(shown.name.starts_with("spiffe://x/?[31m?yyy") && shown.name.len() == 128, "{}", shown.name);
    let shown = CertificateName::of(&b"nonsense"[..].into());
    assert!(shown.to_string().starts_with("somebody without a name"));
    for (bytes, text) in [
        (&b"RDBN\0\x01"[..], "a node's plaintext"),
        (b"HTTP/1.1 400", "HTTP"),
        (b"hello", "\"hello\""),
        (b"a\nb\x1b", "bytes 61 0a 62 1b"),
    ] {
        assert_eq!(Beginning(bytes.to_vec()).to_string(), text);
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let refusal = TlsRefusal::NotTls { began: Beginning(b"RDBN\0\x01\0\x02".to_vec()) };
    let words = "a node's plaintext came from the dialed port instead of TLS: set networking.tls.enabled = true there, or correct \
                 the address";
    assert_eq!(refusal.to_string(), words);
    assert!(!refusal.is_transient());
    assert!(TlsRefusal::Timeout.is_transient());
}
