//! A CA that is rotated step by step, and connections that are judged again. S5, S6.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::io::duplex;

use super::mint::{Ca, DAY, Leaf, now};
use super::raw::{Speaks, client};
use super::scene::{BUFFER, Dialer, Node, Taker, check, exactly, node_with, secret_file, soon};
use crate::{Clock, PeerIdentity, TlsEvent};

const OK: (&str, &str) = ("ok", "ok");

/// Who a peer has proved to be to this node.
fn connected(node: &Node, peer: &Leaf) -> PeerIdentity {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let (here, there) = duplex(BUFFER);
        let connector = tokio_rustls::TlsConnector::from(Arc::from(client(Some(peer), &Speaks::default())));
        let dialed = connector.connect("localhost".try_into().expect("a name"), here);
        let acceptor = node.tls.acceptor();
        let (_dialed, accepted) = tokio::join!(dialed, acceptor.accept(there, soon()));
        accepted.expect("let in").peer.expect("a certificate")
    })
}

#[test]
fn every_right_step_of_a_rotation_keeps_all_nodes_together() {
    let (old, new) = (Ca::root("old"), Ca::root("new"));
    let both = old.pem() + &new.pem();
    // What a node believes, and who signed its certificate, at each step.
    let at = |name: &str, step: usize| match step {
        0 => node_with(&old.pem(), &old.node(name), &[], |_, _| {}),
        1 => node_with(&both, &old.node(name), &[], |_, _| {}),
        2 => node_with(&both, &new.node(name), &[], |_, _| {}),
        _ => node_with(&new.pem(), &new.node(name), &[], |_, _| {}),
    };
    for (mine, theirs) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3)] {
        let (one, two) = (at("n1", mine), at("n2", theirs));
        check(&format!("step {mine} dials step {theirs}"), Dialer::Node(&one, exactly("n2")), Taker::Node(&two), OK);
    }
    // Two nodes that are more than one step apart do not know each other's CA; each is refused by who is behind.
    let refused = ("unknown_issuer", "told UnknownCA");
    for (mine, theirs) in [(0, 2), (0, 3), (3, 0), (3, 1)] {
        let (one, two) = (at("n1", mine), at("n2", theirs));
        check(
            &format!("step {mine} dials step {theirs}"),
            Dialer::Node(&one, exactly("n2")),
            Taker::Node(&two),
            refused,
        );
    }
    let seen = ("told UnknownCA", "unknown_issuer");
    check("step 2 dials step 0", Dialer::Node(&at("n1", 2), exactly("n2")), Taker::Node(&at("n2", 0)), seen);
    check("step 1 dials step 3", Dialer::Node(&at("n1", 1), exactly("n2")), Taker::Node(&at("n2", 3)), seen);
}

#[test]
fn a_step_out_of_order_is_refused_where_it_is_made() {
    let (old, new) = (Ca::root("old"), Ca::root("new"));
    let one = node_with(&old.pem(), &old.node("n1"), &[], |_, _| {});
    let cas = one.config.ca_cert_path.clone().expect("set");
    let kept = |case: &str| {
        let events = one.tls.reloader().check();
        assert!(matches!(&events[..], [TlsEvent::Kept { epoch: 1, .. }]), "{case}: {events:?}");
    };
    fs::write(&cas, new.pem()).expect("written");
    kept("the old CA goes before the old certificate");
    fs::write(&cas, old.pem()).expect("written");
    let renewed = new.node("n1");
    secret_file(&one.config.key_path, &renewed.key_pem);
    fs::write(&one.config.cert_path, renewed.chain_pem()).expect("written");
    kept("the new certificate comes before the new CA");
    fs::write(&cas, old.pem() + &new.pem()).expect("written");
    let events = one.tls.reloader().check();
    assert!(
        matches!(&events[..], [TlsEvent::Reloaded { epoch: 2, .. }]),
        "both CAs and the new certificate: {events:?}"
    );
}

#[test]
fn a_peer_that_is_revoked_is_found_at_the_first_check() {
    let ca = Ca::root("ca");
    let (two, three) = (ca.node("n2"), ca.node("n33"));
    let one = node_with(&ca.pem(), &ca.node("n1"), &[ca.list(&[], -120, DAY)], |_, _| {});
    let (two_peer, three_peer) = (connected(&one, &two), connected(&one, &three));
    assert_eq!(one.tls.current().is_still_trusted(&two_peer), Ok(()));
    fs::write(&one.config.crl_paths[0], ca.list(&[&two.serial], -60, DAY)).expect("written");
    one.tls.reloader().check();
    let epoch = one.tls.current();
    assert_eq!(epoch.is_still_trusted(&two_peer).expect_err("revoked").name(), "revoked");
    assert_eq!(epoch.is_still_trusted(&three_peer), Ok(()), "others stay");
}

#[test]
fn a_peer_whose_ca_is_removed_is_found_at_the_first_check() {
    let (old, new) = (Ca::root("old"), Ca::root("new"));
    let one = node_with(&(old.pem() + &new.pem()), &new.node("n1"), &[], |_, _| {});
    let (of_old, of_new) = (connected(&one, &old.node("n2")), connected(&one, &new.sub("below", |_| {}).node("n3")));
    fs::write(one.config.ca_cert_path.as_ref().expect("set"), new.pem()).expect("written");
    one.tls.reloader().check();
    let epoch = one.tls.current();
    assert_eq!(epoch.is_still_trusted(&of_old).expect_err("its CA is gone").name(), "unknown_issuer");
    assert_eq!(epoch.is_still_trusted(&of_new), Ok(()), "with its intermediate, which came with it");
}

/// A clock that is moved.
#[derive(Debug, Default)]
struct Moved(AtomicI64);

impl TimeProvider for Moved {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(now() + self.0.load(Ordering::Relaxed)).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

#[test]
fn time_alone_ends_trust() {
    let ca = Ca::root("ca");
    let clock = Arc::new(Moved::default());
    let one = node_with(&ca.pem(), &ca.node("n1"), &[ca.list(&[], -60, 10 * DAY)], |_, options| {
        options.clock = Clock::new(Arc::<Moved>::clone(&clock));
    });
    let peer = connected(&one, &ca.node("n2"));
    let verdict = || one.tls.current().is_still_trusted(&peer).map_err(|refusal| refusal.name());
    assert_eq!(verdict(), Ok(()));
    clock.0.store(11 * DAY, Ordering::Relaxed);
    assert_eq!(verdict(), Err("crl_expired"), "nobody knows what was revoked since");
    clock.0.store(366 * DAY, Ordering::Relaxed);
    assert_eq!(verdict(), Err("expired"));
}
