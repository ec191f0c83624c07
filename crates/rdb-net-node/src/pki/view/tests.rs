//! Documents and texts of known certificates.

use expect_test::expect;

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn entry(name: &str, role: Role, days: i64, revoked_at: Option<UnixSeconds>) -> Entry {
    let not_after = UnixSeconds(NOW.0 + days * DAY_SECONDS + 5);
    let (serial, name) = ("4f".repeat(16), name.parse().expect("legal"));
    Entry { serial, name, role, not_after, revoked_at, addresses: Vec::new() }
}

fn issued(role: Role, former: &[Entry]) -> IssuedView {
    let files = ["cert.pem", "key.pem", "ca.pem", "crl.pem"].map(|file| Path::new("/pki").join(file));
    let [cert_path, key_path, ca_cert_path, crl_path] = files;
    IssuedView {
        entry: EntryView::new(&entry("n1", role, 365, None), NOW),
        cluster: "orders".parse().expect("legal"),
        cert_path,
        key_path,
        ca_cert_path,
        crl_path,
        former: former.iter().map(|entry| EntryView::new(entry, NOW)).collect(),
        configuration: (role == Role::Node).then(|| "[networking.tls]\nenabled = true\n".to_owned()),
    }
}

#[test]
fn what_was_issued_is_toml_with_everything_else_in_comments() {
    let view = IssuesView { issued: vec![issued(Role::Node, &[entry("n1", Role::Node, 20, None)])] };
    expect![[r#"
        # node n1: a certificate until 2028-01-15 08:00:05 UTC, serial 4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f
        #   wrote /pki/cert.pem
        #   wrote /pki/key.pem (mode 0600)
        #   wrote /pki/ca.pem
        # serial 4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f stays valid until 2027-02-04 08:00:05 UTC, or until it is revoked
        # for the configuration with node_id = "n1" and cluster_id = "orders":
        [networking.tls]
        enabled = true
    "#]]
    .assert_eq(&view.table());
}

#[test]
fn who_is_no_node_gets_no_lines_for_one() {
    let view = issued(Role::Admin, &[]);
    assert!(view.table().lines().all(|line| line.starts_with('#')), "{}", view.table());
    assert!(view.table().contains("the role admin only where its program says so"), "{}", view.table());
}

#[test]
fn a_path_cannot_end_its_comment() {
    assert_eq!(comment(Path::new("/a\nnode_id = 'x'\r")), "/a\u{fffd}node_id = 'x'\u{fffd}");
}

#[test]
fn certificates_are_shown_with_what_they_are_worth() {
    let entries = [
        entry("n1", Role::Node, 20, None),
        entry("backup", Role::Client, -1, None),
        entry("n2", Role::Node, 20, Some(NOW)),
    ];
    let view = ShowView {
        cluster: "orders".parse().expect("legal"),
        trust_domain: "rustydb".to_owned(),
        not_after: NOW.to_string(),
        days_left: 0,
        ca_cert_path: "/pki/ca.pem".into(),
        crl_path: "/pki/crl.pem".into(),
        certificates: entries.iter().map(|entry| EntryView::new(entry, NOW)).collect(),
    };
    expect![[r#"
        NAME    ROLE    SERIAL                            STATE    NOT AFTER                DAYS LEFT
        n1      node    4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f  valid    2027-02-04 08:00:05 UTC  20
        backup  client  4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f  expired  2027-01-14 08:00:05 UTC  -
        n2      node    4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f  revoked  2027-02-04 08:00:05 UTC  -
    "#]]
    .assert_eq(&view.table());
    expect![[r#"{"name":"n2","role":"node","serial":"4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f","state":"revoked","not_after":"2027-02-04 08:00:05 UTC","days_left":20,"revoked_at":"2027-01-15 08:00:00 UTC","addresses":[]}"#]]
    .assert_eq(&serde_json::to_string(&view.certificates[2]).expect("serialises"));
}
