//! Files that change, well or badly. S5, S6, S23.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdb_net_types::ExposedSecret;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::mint::{Ca, DAY, Leaf, valid};
use super::scene::{BUFFER, Node, exactly, load_error, node, node_with, secret_file, set_mode, skewed, soon};
use crate::{LoadError, TlsEvent};

/// Puts a certificate and its key into a node's files.
fn replace(node: &Node, leaf: &Leaf) {
    secret_file(&node.config.key_path, &leaf.key_pem);
    fs::write(&node.config.cert_path, leaf.chain_pem()).expect("written");
}

fn ca_path(node: &Node) -> PathBuf {
    node.config.ca_cert_path.clone().expect("set")
}

/// That the node keeps its set, names this file, and says this of it, once.
#[track_caller]
fn keeps(case: &str, node: &Node, path: &Path, words: &str) {
    let before = node.tls.current();
    let events = node.tls.reloader().check();
    let [TlsEvent::Kept { epoch, path: at_fault, error }] = &events[..] else { panic!("{case}: {events:?}") };
    assert_eq!((*epoch, at_fault.as_deref()), (before.number(), Some(path)), "{case}");
    assert!(error.to_string().contains(words), "{case}: {error}");
    assert!(std::sync::Arc::ptr_eq(&before, &node.tls.current()), "{case}: the last good set is in force");
    assert_eq!(node.tls.reloader().check(), [], "{case}: told once");
}

#[track_caller]
fn takes(case: &str, node: &Node) {
    let before = node.tls.current().number();
    let events = node.tls.reloader().check();
    assert!(matches!(events[..], [TlsEvent::Reloaded { epoch, .. }] if epoch == before + 1), "{case}: {events:?}");
}

#[test]
fn a_new_certificate_is_in_force_at_the_next_check() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    assert_eq!(one.tls.reloader().check(), [], "nothing has changed");
    let renewed = ca.leaf("n1", |params| valid(params, -60, 700 * DAY));
    replace(&one, &renewed);
    takes("renewed", &one);
    assert_eq!(one.tls.current().own().certificate(), renewed.chain[0].as_ref());
    fs::write(&one.config.cert_path, renewed.chain_pem()).expect("written");
    assert_eq!(one.tls.reloader().check(), [], "written anew with the same content");
    let statistics = one.tls.statistics();
    assert_eq!((statistics.epoch, statistics.reloads, statistics.reloads_failed), (2, 1, 0));
}

/// S5, S6.
#[test]
fn a_bad_file_keeps_the_last_good_set() {
    let (ca, other) = (Ca::root("ca"), Ca::root("other"));
    let leaf = ca.node("n1");
    let one = node_with(&ca.pem(), &leaf, &[ca.list(&[], -60, 10 * DAY)], |_, _| {});
    let (certificate, key, cas) = (one.config.cert_path.clone(), one.config.key_path.clone(), ca_path(&one));
    let list = one.config.crl_paths[0].clone();
    let restore = || {
        replace(&one, &leaf);
        fs::write(&cas, ca.pem()).expect("written");
        takes("restored", &one);
    };

    fs::remove_file(&certificate).expect("removed");
    keeps("no certificate", &one, &certificate, "does not exist");
    let text = leaf.chain_pem();
    fs::write(&certificate, &text[..text.len() / 2]).expect("written");
    keeps("half a certificate", &one, &certificate, "in the middle of a PEM section");
    fs::write(&certificate, "").expect("written");
    keeps("an empty file", &one, &certificate, "no certificate");
    fs::write(&certificate, ca.node("n1").chain_pem()).expect("written");
    keeps("a certificate of another key", &one, &key, "is not that of the certificate in");
    replace(&one, &ca.leaf("n1", |params| valid(params, -DAY, -60)));
    keeps("an expired certificate", &one, &certificate, "expired at");
    replace(&one, &ca.leaf("n1", |params| valid(params, 60, DAY)));
    keeps("a certificate of tomorrow", &one, &certificate, "is not valid before");
    replace(&one, &other.node("n1"));
    keeps("a certificate of another CA", &one, &certificate, "no CA in ca_cert_path has signed");
    replace(&one, &ca.leaf("n1", |params| params.subject_alt_names.clear()));
    keeps("a certificate of nobody", &one, &certificate, "names no node");
    replace(&one, &ca.leaf("n1", |params| drop(params.extended_key_usages.remove(0))));
    keeps("a node that could not be dialed", &one, &certificate, "lacks serverAuth");
    restore();

    secret_file(&key, "");
    keeps("no key", &one, &key, "no private key");
    secret_file(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    keeps("an encrypted key", &one, &key, "encrypted");
    secret_file(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    keeps("a key that is none", &one, &key, "of a kind or size that is not taken");
    replace(&one, &leaf);
    set_mode(&key, 0o640);
    keeps("a key that the group may read", &one, &key, "mode is 0640");
    set_mode(&key, 0o604);
    keeps("a key that everybody may read", &one, &key, "chmod 0600");
    restore();

    fs::write(&cas, "").expect("written");
    keeps("no CA", &one, &cas, "no certificate");
    fs::write(&cas, ca.pem() + &leaf.chain_pem()).expect("written");
    keeps("a node among the CAs", &one, &cas, "is no CA");
    fs::write(&cas, other.pem()).expect("written");
    keeps("other CAs", &one, &certificate, "no CA in ca_cert_path has signed");
    fs::write(&cas, ca.renewed(|params| valid(params, -DAY, -60)).pem()).expect("written");
    keeps("expired CAs", &one, &cas, "every CA in it is expired");
    restore();

    fs::write(&list, "what is this").expect("written");
    keeps("no list", &one, &list, "no revocation list");
    fs::write(&list, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").expect("written");
    keeps("a list that cannot be read", &one, &list, "cannot be read");
    fs::write(&list, ca.list(&[], -DAY, -60)).expect("written");
    keeps("an old list", &one, &list, "was to be replaced by");
    fs::write(&list, ca.list(&[&leaf.serial], -60, 10 * DAY)).expect("written");
    keeps("its own certificate is revoked", &one, &certificate, "is revoked");
    fs::write(&list, vec![b'x'; 16 * 1024 * 1024 + 1]).expect("written");
    keeps("a list without end", &one, &list, "more than 16777216 bytes");
}

#[test]
fn a_list_may_be_in_der() {
    use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};

    let ca = Ca::root("ca");
    let two = ca.node("n2");
    let one = node_with(&ca.pem(), &ca.node("n1"), &[ca.list(&[], -120, 10 * DAY)], |_, _| {});
    let list = ca.list(&[&two.serial], -60, 10 * DAY);
    let der = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).expect("a list");
    fs::write(&one.config.crl_paths[0], &der).expect("written");
    takes("a list in DER", &one);
    let refusal = one.tls.current().judge(&two.chain, crate::PeerSide::Connected).expect_err("revoked");
    assert_eq!(refusal.name(), "revoked");
}

#[test]
fn a_node_does_not_start_with_bad_files() {
    let ca = Ca::root("ca");
    let good = ca.node("n1");
    assert!(matches!(load_error("", &good, &[]), LoadError::Malformed { .. }));
    assert!(matches!(load_error(&Ca::root("other").pem(), &good, &[]), LoadError::OwnCertificate { .. }));
    assert!(matches!(load_error(&ca.pem(), &good, &["x".to_owned()]), LoadError::Malformed { .. }));
    let (dir, config) = super::scene::files(&ca.pem(), &good, &[]);
    set_mode(&config.key_path, 0o644);
    let error = crate::Tls::load(config.clone(), super::scene::options()).expect_err("loose");
    let path = config.key_path.display();
    let words =
        "its mode is 0644, so others than its owner may use the secret in it: chmod 0600 it, and take a new secret";
    assert!(error.to_string().starts_with(&format!("{path}: {words}")), "{error}");
    fs::remove_file(&config.key_path).expect("removed");
    fs::create_dir(&config.key_path).expect("made");
    let error = crate::Tls::load(config, super::scene::options()).expect_err("a folder");
    assert!(error.to_string().contains("it is no file"), "{error}");
    drop(dir);
}

/// S6: a key that is a link within its folder is taken, as Kubernetes mounts one; one that leads out of it is not.
#[test]
fn a_key_that_is_a_link_lies_in_its_own_folder() {
    use std::os::unix::fs::symlink;
    let ca = Ca::root("ca");
    let (dir, config) = super::scene::files(&ca.pem(), &ca.node("n1"), &[]);
    let load = || crate::Tls::load(config.clone(), super::scene::options());
    let (key, inner) = (&config.key_path, dir.path().join("..2026/key.pem"));
    fs::create_dir(dir.path().join("..2026")).expect("made");
    fs::rename(key, &inner).expect("moved");
    symlink("..2026", dir.path().join("..data")).expect("a link");
    symlink("..data/key.pem", key).expect("a link");
    load().expect("it stays in its folder");
    let elsewhere = TempDir::new().expect("a folder");
    let outer = elsewhere.path().join("key.pem");
    fs::copy(&inner, &outer).expect("copied");
    fs::remove_file(key).expect("removed");
    symlink(&outer, key).expect("a link");
    let error = load().expect_err("it leads out");
    assert!(matches!(&error, LoadError::Exposed { problem: ExposedSecret::Elsewhere { .. }, .. }), "{error}");
    let (path, outer) = (key.display().to_string(), outer.display().to_string());
    assert!(error.to_string().contains(&path) && error.to_string().contains(&outer), "{error}");
}

/// S6: a key that belongs to another user is not taken, whatever its mode.
#[test]
fn a_key_is_this_users_or_roots() {
    let ca = Ca::root("ca");
    let (_dir, config) = super::scene::files(&ca.pem(), &ca.node("n1"), &[]);
    if std::os::unix::fs::chown(&config.key_path, Some(4321), None).is_err() {
        return super::scene::skipped("a file can be given to another user by root alone");
    }
    let error = crate::Tls::load(config, super::scene::options()).expect_err("it is another's");
    assert!(matches!(&error, LoadError::Exposed { problem: ExposedSecret::Owner { owner: 4321, .. }, .. }), "{error}");
}

#[test]
fn a_reload_on_demand_says_what_is_wrong_and_takes_what_is_good() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let epoch = one.tls.reloader().reload().expect("the same files are good files");
    assert_eq!(epoch.number(), 2);
    fs::write(&one.config.cert_path, "").expect("written");
    let error = one.tls.reloader().reload().expect_err("no certificate");
    assert_eq!(error.path(), Some(&*one.config.cert_path));
    assert_eq!(one.tls.reloader().check(), [], "whoever asked has been told");
    assert_eq!(one.tls.current().number(), 2);
    let statistics = one.tls.statistics();
    assert_eq!((statistics.reloads, statistics.reloads_failed), (1, 1));
}

#[test]
fn the_end_of_certificates_is_warned_of() {
    let ca = Ca::root("ca");
    let leaf = ca.leaf("n1", |params| valid(params, -DAY / 24, 20 * DAY));
    let one = node_with(&ca.pem(), &leaf, &[], |_, _| {});
    let events = one.tls.reloader().check();
    let [TlsEvent::Expiry(warning)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((warning.days, warning.expiring.name.as_str()), (30, "spiffe://prod/cluster/orders/node/n1"));
    assert_eq!(one.tls.reloader().check(), [], "once");
    let leaf = ca.leaf("n1", |params| valid(params, -DAY / 24, 20 * DAY));
    let late = node_with(&ca.pem(), &leaf, &[], |_, options| options.clock = skewed(19 * DAY + DAY / 2));
    let events = late.tls.reloader().check();
    assert!(matches!(&events[..], [TlsEvent::Expiry(warning)] if warning.days == 1), "{events:?}");
}

#[tokio::test]
async fn the_watch_tells_and_ends_when_it_is_cancelled() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let (tell, mut told) = mpsc::channel(8);
    let cancelled = CancellationToken::new();
    let watch = one.tls.reloader().clone().watch(Duration::from_millis(1), cancelled.clone(), move |event| {
        tell.try_send(event).expect("room");
    });
    let watch = tokio::spawn(watch);
    // First the certificate, then the key: between the two they do not fit, which keeps the old set.
    let renewed = ca.node("n1");
    fs::write(&one.config.cert_path, renewed.chain_pem()).expect("written");
    let deadline = Duration::from_secs(20);
    let event = tokio::time::timeout(deadline, told.recv()).await.expect("in time").expect("an event");
    assert!(matches!(event, TlsEvent::Kept { epoch: 1, error: LoadError::KeyMismatch { .. }, .. }), "{event:?}");
    secret_file(&one.config.key_path, &renewed.key_pem);
    loop {
        // A key that is half written may be told first.
        let event = tokio::time::timeout(deadline, told.recv()).await.expect("in time").expect("an event");
        if let TlsEvent::Reloaded { epoch, .. } = event {
            assert_eq!(epoch, 2);
            break;
        }
    }
    cancelled.cancel();
    tokio::time::timeout(deadline, watch).await.expect("in time").expect("ended");
    assert_eq!(told.recv().await, None, "nothing holds the sink");
}

#[tokio::test(start_paused = true)]
async fn open_connections_live_on_through_reloads() {
    let ca = Ca::root("ca");
    let (one, two) = (node(&ca, "n1"), node(&ca, "n2"));
    let (here, there) = duplex(BUFFER);
    let (connector, acceptor, expected) = (one.tls.connector(), two.tls.acceptor(), exactly("n2"));
    let (dialed, accepted) = tokio::join!(connector.connect(here, &expected, soon()), acceptor.accept(there, soon()));
    let (mut dialed, mut accepted) = (dialed.expect("dialed"), accepted.expect("accepted"));
    replace(&one, &ca.node("n1"));
    replace(&two, &ca.node("n2"));
    takes("one", &one);
    takes("two", &two);
    dialed.stream.write_all(b"still here").await.expect("written");
    dialed.stream.flush().await.expect("flushed");
    let mut heard = [0; 10];
    accepted.stream.read_exact(&mut heard).await.expect("read");
    assert_eq!(&heard, b"still here");
    let (here, there) = duplex(BUFFER);
    let (new, taken) = tokio::join!(connector.connect(here, &expected, soon()), acceptor.accept(there, soon()));
    assert_eq!((dialed.epoch, new.expect("dialed").epoch, taken.expect("accepted").epoch), (1, 2, 2));
}
