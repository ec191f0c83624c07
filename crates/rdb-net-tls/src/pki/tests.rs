//! The small CA, from its making to a handshake with what it issued.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rdb_net_types::{ClusterId, NodeId, Role};
use tempfile::TempDir;

use super::{EntryState, Issued, Pki, PkiError, PkiOptions};
use crate::{Clock, LoadError, PeerSide, Policy, Tls, TlsConfig, TlsEvent, TlsOptions, UnixSeconds};

const DAY: i64 = 86_400;

fn cluster() -> ClusterId {
    ClusterId::new("orders").expect("legal")
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

fn made() -> (TempDir, Pki) {
    let dir = TempDir::new().expect("a folder");
    let pki = Pki::init(&dir.path().join("pki"), &PkiOptions::new(cluster()), Clock::default()).expect("made");
    (dir, pki)
}

fn load(pki: &Pki, issued: &Issued) -> Tls {
    let config = TlsConfig {
        enabled: true,
        cert_path: issued.certificate.clone(),
        key_path: issued.key.clone(),
        ca_cert_path: Some(issued.ca.clone()),
        crl_paths: vec![pki.list_path()],
        ..TlsConfig::default()
    };
    Tls::load(config, TlsOptions::new(Policy::new(cluster()))).expect("good files")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

/// Everything in a folder, below it too.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn what_it_issues_is_what_nodes_take() {
    let (_dir, pki) = made();
    let one = pki.issue(&id("n1"), Role::Node, &["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("issued");
    let two = pki.issue(&id("n2"), Role::Node, &[]).expect("issued");
    let (one, two) = (load(&pki, &one), load(&pki, &two));
    let own = one.current().own().clone();
    assert_eq!((own.node.as_str(), own.role, own.cluster), ("n1", Role::Node, Some(cluster())));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
        let (connector, acceptor, expected) = (one.connector(), two.acceptor(), crate::Expected::Node(id("n2")));
        let (dialed, accepted) =
            tokio::join!(connector.connect(here, &expected, deadline), acceptor.accept(there, deadline));
        assert_eq!(dialed.expect("dialed").peer.node, id("n2"));
        assert_eq!(accepted.expect("accepted").peer.expect("a certificate").node, id("n1"));
    });
}

#[test]
fn a_revoked_node_is_refused_after_the_next_check() {
    let (_dir, pki) = made();
    let one = load(&pki, &pki.issue(&id("n1"), Role::Node, &[]).expect("issued"));
    let issued = pki.issue(&id("n2"), Role::Node, &[]).expect("issued");
    let two = load(&pki, &issued);
    let peer = two.current().own().clone();
    assert_eq!(one.current().is_still_trusted(&peer), Ok(()));
    let revoked = pki.revoke(&id("n2")).expect("revoked");
    assert_eq!(revoked.iter().map(|entry| &entry.serial).collect::<Vec<_>>(), [&issued.entry.serial]);
    let events = one.reloader().check();
    assert!(matches!(&events[..], [TlsEvent::Reloaded { .. }]), "{events:?}");
    assert_eq!(one.current().is_still_trusted(&peer).expect_err("revoked").name(), "revoked");
    assert!(matches!(pki.revoke(&id("n2")), Err(PkiError::NothingIssued { .. })), "twice");
    let again = pki.issue(&id("n2"), Role::Node, &[]).expect("a new one");
    load(&pki, &again);
}

#[test]
fn renewing_keeps_name_and_addresses_and_nothing_else() {
    let (_dir, pki) = made();
    let addresses = ["db.example".to_owned(), "::1".to_owned()];
    let first = pki.issue(&id("n1"), Role::Node, &addresses).expect("issued");
    let key = fs::read(&first.key).expect("read");
    let second = pki.renew(&id("n1"), Role::Node).expect("renewed");
    assert_eq!((&second.certificate, &second.entry.addresses[..]), (&first.certificate, &addresses[..]));
    assert_ne!(second.entry.serial, first.entry.serial);
    assert_ne!(fs::read(&second.key).expect("read"), key);
    load(&pki, &second);
    assert!(matches!(pki.issue(&id("n1"), Role::Node, &[]), Err(PkiError::AlreadyIssued { .. })));
    assert!(matches!(pki.renew(&id("n2"), Role::Node), Err(PkiError::NothingIssued { .. })));
    assert_eq!(pki.revoke_serial(&first.entry.serial).expect("revoked").len(), 1, "the old one alone");
    load(&pki, &second);
}

#[test]
fn a_file_with_another_ca_beside_this_one_stays_through_a_renewal() {
    let ((_dir, pki), (_other_dir, other)) = (made(), made());
    let issued = pki.issue(&id("n1"), Role::Node, &[]).expect("issued");
    let cas = [&pki, &other].map(|pki| fs::read_to_string(pki.ca_path()).expect("read"));
    fs::write(&issued.ca, cas.concat()).expect("written");
    load(&pki, &pki.renew(&id("n1"), Role::Node).expect("renewed"));
    assert_eq!(fs::read_to_string(&issued.ca).expect("read"), cas.concat());
    fs::write(&issued.ca, &cas[1]).expect("written");
    load(&pki, &pki.renew(&id("n1"), Role::Node).expect("renewed"));
    assert_eq!(fs::read_to_string(&issued.ca).expect("read"), cas[0], "without this CA it was of no use");
}

#[test]
fn roles_have_certificates_of_their_own() {
    let (_dir, pki) = made();
    let node = load(&pki, &pki.issue(&id("x"), Role::Node, &[]).expect("issued"));
    for role in [Role::Client, Role::Admin] {
        let issued = pki.issue(&id("x"), role, &[]).expect("issued");
        let own = load(&pki, &issued).current().own().clone();
        assert_eq!((own.role, own.side), (role, PeerSide::Connected));
        assert_eq!(node.current().is_still_trusted(&own).expect_err("no node").name(), "role_not_permitted");
    }
}

#[test]
fn keys_are_their_owners_alone_and_the_cas_stays_where_it_is() {
    let (_dir, pki) = made();
    let issued = pki.issue(&id("n1"), Role::Node, &[]).expect("issued");
    let ca_key = pki.path("ca-key.pem");
    assert_eq!((mode(&ca_key), mode(&issued.key)), (0o600, 0o600));
    assert_eq!((mode(&pki.dir), mode(issued.key.parent().expect("a folder"))), (0o700, 0o700));
    let secret = fs::read_to_string(&ca_key).expect("read");
    let line = secret.lines().nth(1).expect("a line");
    let others: Vec<_> = files(&pki.dir).into_iter().filter(|path| *path != ca_key).collect();
    assert!(others.iter().all(|path| !fs::read_to_string(path).expect("text").contains(line)));
    let names: Vec<_> = others.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert!(names.iter().all(|name| !name.starts_with('.')), "no temporary file is left: {names:?}");
    fs::set_permissions(&ca_key, fs::Permissions::from_mode(0o640)).expect("set");
    let error = pki.issue(&id("n2"), Role::Node, &[]).expect_err("the key may be known");
    assert!(matches!(error, PkiError::File(LoadError::Exposed { .. })), "{error}");
}

#[test]
fn a_ca_is_made_once_and_found_again() {
    let (dir, pki) = made();
    let again = Pki::init(&pki.dir, &PkiOptions::new(cluster()), Clock::default());
    assert!(matches!(again, Err(PkiError::Exists { .. })));
    let before = pki.issue(&id("n1"), Role::Node, &[]).expect("issued");
    let opened = Pki::open(&pki.dir, Clock::default()).expect("there");
    let shown = opened.show().expect("the index");
    assert_eq!(shown, [before.entry]);
    opened.issue(&id("n2"), Role::Node, &[]).expect("issued");
    assert_eq!(pki.show().expect("the index").len(), 2, "what another handle did shows");
    assert!(matches!(Pki::open(dir.path(), Clock::default()), Err(PkiError::NoCa { .. })));
    fs::write(pki.path("index"), "rustydb-pki 1\ncluster orders\n").expect("written");
    assert!(matches!(pki.show(), Err(PkiError::Index { .. })));
}

#[test]
fn the_index_says_what_each_certificate_is_worth() {
    let (_dir, pki) = made();
    for name in ["n1", "n2", "n3"] {
        pki.issue(&id(name), Role::Node, &["10.0.0.1".to_owned()]).expect("issued");
    }
    pki.revoke(&id("n2")).expect("revoked");
    let entries = pki.show().expect("the index");
    let serials: std::collections::BTreeSet<_> = entries.iter().map(|entry| &entry.serial).collect();
    assert!(serials.len() == 3 && serials.iter().all(|serial| serial.len() == 32), "128 bits: {serials:?}");
    let now = pki.now();
    let states = |at: UnixSeconds| entries.iter().map(|entry| entry.state(at)).collect::<Vec<_>>();
    assert_eq!(states(now), [EntryState::Valid, EntryState::Revoked, EntryState::Valid]);
    let later = UnixSeconds(now.0 + 366 * DAY);
    assert_eq!(states(later), [EntryState::Expired, EntryState::Revoked, EntryState::Expired]);
}

#[test]
fn values_out_of_their_range_are_refused() {
    let dir = TempDir::new().expect("a folder");
    let refused = |change: &dyn Fn(&mut PkiOptions)| {
        let mut options = PkiOptions::new(cluster());
        change(&mut options);
        let error = Pki::init(&dir.path().join("pki"), &options, Clock::default()).expect_err("refused");
        assert!(matches!(error, PkiError::Illegal { .. }), "{error}");
    };
    refused(&|options| options.ca_days = 0);
    refused(&|options| options.certificate_days = 36_501);
    refused(&|options| options.trust_domain = "Prod".to_owned());
    refused(&|options| options.cluster = ClusterId::new("..").expect("legal"));
    let (_dir, pki) = made();
    for (name, address) in [("..", "ok.example"), ("n1", "host:7000"), ("n1", "a b"), ("n1", "a,b")] {
        let error = pki.issue(&id(name), Role::Node, &[address.to_owned()]).expect_err("refused");
        assert!(matches!(error, PkiError::Illegal { .. }), "{error}");
    }
    assert_eq!(pki.show().expect("the index"), []);
}

#[test]
fn processes_that_issue_at_once_lose_nothing() {
    let (_dir, pki) = made();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pki = pki.clone();
            scope.spawn(move || {
                for number in 0..5 {
                    pki.issue(&id(&format!("n{thread}-{number}")), Role::Node, &[]).expect("issued");
                }
            });
        }
    });
    assert_eq!(pki.show().expect("the index").len(), 20);
}
