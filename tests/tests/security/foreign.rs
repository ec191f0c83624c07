//! Clients that share no code with this library: OpenSSL's, and Python's.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rdb_net_tests::{Openssl, Python, Ran};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::mint::{Ca, Files, Leaf, self_signed};
use crate::node::{Node, PATIENCE, runtime, start, wait};

/// How long the node waits for a hello.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);

struct Scene {
    runtime: Runtime,
    ca: Ca,
    node: Node,
}

impl Scene {
    fn start() -> Self {
        let (runtime, ca) = (runtime(), Ca::new("ca"));
        let node = start(&runtime, "n1", &ca, |settings| settings.config.session.hello_timeout = HELLO_TIMEOUT);
        Self { runtime, ca, node }
    }

    fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// The files of a client with this certificate.
    fn files(&self, leaf: &Leaf) -> Files {
        Files::write(&self.ca.pem(), leaf)
    }

    /// That exactly this was counted since the last time.
    #[track_caller]
    fn counts(&self, expected: &[(&'static str, u64)]) {
        let expected = expected.iter().copied().collect();
        wait("what it has counted", PATIENCE, || self.node.errors() == expected || self.told(&expected));
    }

    fn told(&self, expected: &std::collections::BTreeMap<&'static str, u64>) -> bool {
        let errors = self.node.errors();
        assert!(
            errors.iter().all(|(name, count)| expected.get(name).is_some_and(|most| count <= most)),
            "{errors:?} instead of {expected:?}"
        );
        false
    }
}

/// `openssl s_client` with these files, and what else it is told.
fn s_client(openssl: Openssl, address: SocketAddr, files: Option<&Files>, others: &[&str]) -> Ran {
    let path = |name: &str| files.map(|files| files.path(name).display().to_string()).unwrap_or_default();
    let (certificate, key, ca) = (path("cert.pem"), path("key.pem"), path("ca.pem"));
    let own = ["-cert", &certificate, "-key", &key, "-CAfile", &ca, "-verify_return_error"];
    let own = if files.is_some() { &own[..] } else { &[] };
    openssl.s_client(address, &[own, others].concat())
}

#[track_caller]
fn check(ran: &Ran, code: i32, said: &[&str]) {
    let told = format!("{}\n{}", ran.output.join("\n"), ran.errors);
    assert_eq!(ran.code, Some(code), "{told}");
    for words in said {
        assert!(told.contains(words), "{words:?} is not said: {told}");
    }
}

const ALPN: [&str; 2] = ["-alpn", "rustydb/1"];

#[test]
fn openssl_is_let_in_up_to_the_hello_and_refused_with_the_right_alert() {
    let Some(openssl) = Openssl::find() else { return };
    let scene = Scene::start();
    let (good, address) = (scene.files(&scene.ca.node("n2")), scene.address());

    let begun = Instant::now();
    let ran = s_client(openssl, address, Some(&good), &ALPN);
    let told = ["New, TLSv1.3", "ALPN protocol: rustydb/1", "Verify return code: 0 (ok)", "CN = n1"];
    check(&ran, 0, &told);
    assert!(begun.elapsed() >= HELLO_TIMEOUT, "it was let in, and waited for");
    scene.counts(&[("hello_timeout", 1)]);

    let ran = s_client(openssl, address, Some(&good), &[&ALPN[..], &["-tls1_2"]].concat());
    check(&ran, 1, &["alert protocol version", "no peer certificate available"]);
    scene.counts(&[("hello_timeout", 1), ("protocol_version", 1)]);

    let ran = s_client(openssl, address, None, &ALPN);
    check(&ran, 1, &["alert certificate required"]);
    let ran = s_client(openssl, address, Some(&scene.files(&Ca::new("other").node("n2"))), &ALPN);
    check(&ran, 1, &["alert unknown ca"]);
    let ran = s_client(openssl, address, Some(&scene.files(&self_signed("n2"))), &ALPN);
    check(&ran, 1, &["alert unknown ca"]);
    let ran = s_client(openssl, address, Some(&scene.files(&scene.ca.of_role("client", "c1"))), &ALPN);
    check(&ran, 1, &["alert access denied"]);
    let ran = s_client(openssl, address, Some(&good), &[]);
    check(&ran, 1, &["alert no application protocol"]);
    let ran = s_client(openssl, address, Some(&good), &["-alpn", "h2,http/1.1"]);
    check(&ran, 1, &["alert no application protocol"]);
    let ran =
        s_client(openssl, address, Some(&good), &[&ALPN[..], &["-ciphersuites", "TLS_AES_128_CCM_SHA256"]].concat());
    check(&ran, 1, &["alert handshake failure"]);
    // It does not take the node: its CA is another.
    let ran = s_client(openssl, address, Some(&Files::write(&Ca::new("other").pem(), &scene.ca.node("n2"))), &ALPN);
    check(&ran, 1, &["certificate verify failed"]);
    let errors = [("by_peer", 1), ("hello_timeout", 1), ("no_alpn", 2), ("no_certificate", 1), ("no_common_suite", 1)];
    let others = [("protocol_version", 1), ("role_not_permitted", 1), ("unknown_issuer", 2)];
    scene.counts(&[&errors[..], &others].concat());
    scene.node.stop(&scene.runtime);
}

#[test]
fn openssl_gets_no_ticket_and_resumes_nothing() {
    let Some(openssl) = Openssl::find() else { return };
    let scene = Scene::start();
    let (good, folder) = (scene.files(&scene.ca.node("n2")), TempDir::new().expect("a folder"));
    let session = folder.path().join("session").display().to_string();
    let ran = s_client(openssl, scene.address(), Some(&good), &[&ALPN[..], &["-sess_out", &session]].concat());
    check(&ran, 0, &["New, TLSv1.3", "Early data was not sent"]);
    assert!(!ran.output.join("\n").contains("TLS session ticket"), "{ran:?}");
    assert!(!Path::new(&session).exists(), "there is nothing to resume");
    scene.node.stop(&scene.runtime);
}

fn query(python: &Python, scene: &Scene, leaf: &Leaf, others: &[&str]) -> Ran {
    let files = scene.files(leaf);
    let path = |name: &str| files.path(name).display().to_string();
    let (address, certificate, key, ca) =
        (scene.address().to_string(), path("cert.pem"), path("key.pem"), path("ca.pem"));
    let tls = [address.as_str(), "--tls", &certificate, &key, &ca];
    python.run("query.py", &[&tls[..], others].concat())
}

/// Python's `ssl` has no exporter of its own; `tests/python/tls.py` derives the binding by RFC 8446 from the library's key log.
#[test]
fn python_joins_over_tls_and_is_refused_without_its_channel_binding() {
    let Some(python) = Python::find() else { return };
    let scene = Scene::start();
    let leaf = scene.ca.node("python");
    let ran = query(&python, &scene, &leaf, &["--target", "n1", "--ping", "2", "--send", "8000:cafe"]);
    assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""), "{ran:?}");
    let secured = ran.event("secured");
    assert_eq!((&secured["version"], &secured["node"]), (&json!("TLSv1.3"), &json!("n1")));
    assert_eq!((ran.events("pong").len(), &ran.event("reply")["body"]), (2, &json!("cafe")));
    assert_eq!(scene.node.handled(), 1);

    for binding in ["", "00", &"00".repeat(32)] {
        let ran = query(&python, &scene, &leaf, &["--binding", binding]);
        assert_eq!((ran.code, &ran.event("refused")["code"]), (Some(3), &json!(5)), "{binding:?}: {ran:?}");
    }
    let ran = query(&python, &scene, &leaf, &["--node", "n2"]);
    assert_eq!((ran.code, &ran.event("refused")["code"]), (Some(3), &json!(5)), "with another's name: {ran:?}");
    let ran = query(&python, &scene, &Ca::new("other").node("python"), &[]);
    assert_eq!((ran.code, &ran.event("untrusted")["reason"]), (Some(4), &json!("TLSV1_ALERT_UNKNOWN_CA")), "{ran:?}");
    scene.counts(&[("identity", 4), ("unknown_issuer", 1)]);
    assert_eq!(scene.node.handled(), 1, "no other request has reached a handler");
    scene.node.stop(&scene.runtime);
}
