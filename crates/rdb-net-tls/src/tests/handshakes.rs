//! Handshakes that must succeed or fail, and what each end is told. S1, S2, S4, S5.
//!
//! The good end is a node of this library with its own files; the other is another one, or an end made by hand that believes
//! everything and shows what it likes. `told X` is an end that the other has refused with the alert X.

use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose as Eku, GeneralSubtree, IsCa, KeyUsagePurpose as Usage, NameConstraints,
};
use rdb_net_types::Role;

use super::mint::{Ca, DAY, Leaf, dns, node_uri, uri, valid};
use super::raw::{Speaks, client, server};
use super::scene::{Dialer, Node, Taker, check, exactly, node, node_with, skewed};
use crate::Expected;

const OK: (&str, &str) = ("ok", "ok");

/// That a node refuses this certificate, whoever dials.
#[track_caller]
fn refuses(case: &str, node: &Node, leaf: &Leaf, name: &str, alert: &str) {
    refuses_client(case, node, leaf, name, alert);
    refuses_server(case, node, leaf, name, alert);
}

#[track_caller]
fn refuses_client(case: &str, node: &Node, leaf: &Leaf, name: &str, alert: &str) {
    let raw = client(Some(leaf), &Speaks::default());
    check(case, Dialer::Raw(raw), Taker::Node(node), (&format!("told {alert}"), name));
}

#[track_caller]
fn refuses_server(case: &str, node: &Node, leaf: &Leaf, name: &str, alert: &str) {
    let raw = server(leaf, &Speaks::default());
    check(case, Dialer::Node(node, Expected::Anybody), Taker::Raw(raw), (name, &format!("told {alert}")));
}

/// That a node takes this certificate, whoever dials.
#[track_caller]
fn takes(case: &str, node: &Node, leaf: &Leaf) {
    check(case, Dialer::Raw(client(Some(leaf), &Speaks::default())), Taker::Node(node), OK);
    check(case, Dialer::Node(node, Expected::Anybody), Taker::Raw(server(leaf, &Speaks::default())), OK);
}

#[test]
fn nodes_of_one_ca_take_each_other() {
    let ca = Ca::root("ca");
    let (one, two) = (node(&ca, "n1"), node(&ca, "n2"));
    check("the node that was dialed", Dialer::Node(&one, exactly("n2")), Taker::Node(&two), OK);
    check("a seed of unknown name", Dialer::Node(&one, Expected::Anybody), Taker::Node(&two), OK);
    check("the other way", Dialer::Node(&two, exactly("n1")), Taker::Node(&one), OK);
    takes("by hand", &one, &ca.node("n2"));
}

#[test]
fn another_node_than_the_dialed_one_is_refused() {
    let ca = Ca::root("ca");
    let (one, two) = (node(&ca, "n1"), node(&ca, "n2"));
    let seen = ("other_node", "told AccessDenied");
    check("dialed n3, found n2", Dialer::Node(&one, exactly("n3")), Taker::Node(&two), seen);
    check("ids differ by case", Dialer::Node(&one, exactly("N2")), Taker::Node(&two), seen);
}

#[test]
fn a_chain_that_leads_to_no_known_ca_is_refused() {
    let (ours, other) = (Ca::root("ours"), Ca::root("other"));
    let one = node(&ours, "n1");
    let unknown = ("unknown_issuer", "UnknownCA");
    refuses("another CA", &one, &other.node("n2"), unknown.0, unknown.1);
    refuses("signed by itself", &one, &Ca::self_signed("n2"), unknown.0, unknown.1);
    refuses("another CA of the same name", &one, &Ca::root("ours").node("n2"), "bad_signature", "UnknownCA");
    let both = ("unknown_issuer", "told UnknownCA");
    check("nodes of two CAs", Dialer::Node(&one, Expected::Anybody), Taker::Node(&node(&other, "n2")), both);
    let mut orphan = ours.sub("intermediate", |_| {}).node("n2");
    orphan.chain.truncate(1);
    refuses("without its intermediate", &one, &orphan, unknown.0, unknown.1);
    let mut foreign = other.sub("intermediate", |_| {}).node("n2");
    foreign.chain.push(other.certificate.der().clone());
    refuses("with the foreign root in the chain", &one, &foreign, unknown.0, unknown.1);
}

#[test]
fn intermediates_are_followed_as_far_as_they_allow() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let sub = ca.sub("intermediate", |_| {});
    takes("one intermediate", &one, &sub.node("n2"));
    takes("two intermediates", &one, &sub.sub("deeper", |_| {}).node("n2"));
    let mut with_root = sub.node("n2");
    with_root.chain.push(ca.certificate.der().clone());
    takes("the root at the end", &one, &with_root);

    let short = ca.sub("short", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    takes("as long as allowed", &one, &short.node("n2"));
    let too_long = short.sub("deeper", |_| {}).node("n2");
    refuses("longer than the intermediate allows", &one, &too_long, "path_length", "BadCertificate");

    let flat = Ca::root_with("flat", &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = flat.sub("intermediate", |_| {}).node("n2");
    refuses("longer than the root allows", &node(&flat, "n1"), &below, "path_length", "BadCertificate");

    let no_ca = ca.sub("no CA", |params| params.is_ca = IsCa::ExplicitNoCa);
    refuses("signed by a leaf", &one, &no_ca.node("n2"), "issuer_not_ca", "BadCertificate");
    let mute = ca.sub("mute", |params| params.key_usages = vec![Usage::CrlSign]);
    refuses("signed by a CA that may not sign", &one, &mute.node("n2"), "issuer_not_ca", "BadCertificate");
    refuses("a CA as a leaf", &one, &Ca::as_leaf("n2", &ca), "ca_as_leaf", "BadCertificate");
}

#[test]
fn name_constraints_hold() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let constraints = |permitted: &[&str], excluded: &[&str]| {
        let subtrees = |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
        Some(NameConstraints { permitted_subtrees: subtrees(permitted), excluded_subtrees: subtrees(excluded) })
    };
    let narrow = ca.sub("narrow", |params| params.name_constraints = constraints(&["db.example"], &[]));
    let named = |host: &str| narrow.leaf("n2", |params| params.subject_alt_names.push(dns(host)));
    takes("a permitted host name", &one, &named("n2.db.example"));
    refuses("a host name outside", &one, &named("n2.evil.example"), "name_constraints", "BadCertificate");
    let excluding = ca.sub("excluding", |params| params.name_constraints = constraints(&[], &["evil.example"]));
    let leaf = excluding.leaf("n2", |params| params.subject_alt_names.push(dns("n2.evil.example")));
    refuses("an excluded host name", &one, &leaf, "name_constraints", "BadCertificate");
}

#[test]
fn certificates_have_their_time() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let expired = ca.leaf("n2", |params| valid(params, -2 * DAY, -60));
    refuses("expired a minute ago", &one, &expired, "expired", "CertificateExpired");
    let future = ca.leaf("n2", |params| valid(params, 60, DAY));
    refuses("valid from in a minute on", &one, &future, "not_yet_valid", "CertificateExpired");
    let sub = ca.sub("old", |params| valid(params, -2 * DAY, -60));
    refuses("below an expired intermediate", &one, &sub.node("n2"), "expired", "CertificateExpired");
    let ca = Ca::root_with("old", &rcgen::PKCS_ECDSA_P256_SHA256, |p| valid(p, -9 * DAY, DAY));
    let (past, present) = (ca.leaf("n2", |p| valid(p, -9 * DAY, -60)), ca.leaf("n3", |p| valid(p, -9 * DAY, DAY)));
    let early = node_with(&ca.pem(), &past, &[], |_, options| options.clock = skewed(-DAY));
    let late = node_with(&ca.pem(), &present, &[], |_, _| {});
    let seen = ("told CertificateExpired", "expired");
    check("a node whose clock is a day behind", Dialer::Node(&early, Expected::Anybody), Taker::Node(&late), seen);
}

#[test]
fn the_ca_has_its_time_too() {
    let ca = Ca::root_with("ca", &rcgen::PKCS_ECDSA_P256_SHA256, |params| valid(params, -2 * DAY, -60));
    let fresh = Ca::root("fresh");
    let cas = ca.pem() + &fresh.pem();
    let one = node_with(&cas, &fresh.node("n1"), &[], |_, _| {});
    refuses("below an expired CA", &one, &ca.node("n2"), "expired", "CertificateExpired");
    let cas = cas + &ca.renewed(|params| valid(params, -60, DAY)).pem();
    let one = node_with(&cas, &fresh.node("n1"), &[], |_, _| {});
    takes("below a CA that is there expired and renewed", &one, &ca.node("n2"));
}

#[test]
fn what_is_revoked_is_refused() {
    let ca = Ca::root("ca");
    let sub = ca.sub("intermediate", |_| {});
    let (direct, below) = (ca.node("n2"), sub.node("n22"));
    let with = |lists: &[String]| node_with(&ca.pem(), &ca.node("n1"), lists, |_, _| {});

    let leaf_revoked = with(&[ca.list(&[&direct.serial], -60, DAY)]);
    refuses("a revoked leaf", &leaf_revoked, &direct, "revoked", "CertificateRevoked");
    takes("another leaf of that CA", &leaf_revoked, &ca.node("n333"));
    takes("below an intermediate without a list of its own", &leaf_revoked, &below);

    let sub_serial = 7777u64.to_be_bytes();
    let sub_revoked = with(&[ca.list(&[&sub_serial], -60, DAY)]);
    refuses("below a revoked intermediate", &sub_revoked, &below, "revoked", "CertificateRevoked");
    takes("beside it", &sub_revoked, &direct);

    let own_list = with(&[ca.list(&[], -60, DAY), sub.list(&[&below.serial], -60, DAY)]);
    refuses("revoked by its intermediate's list", &own_list, &below, "revoked", "CertificateRevoked");
    let newer = with(&[ca.list(&[], -600, DAY), ca.list(&[&direct.serial], -60, DAY)]);
    refuses("of two lists the newer one counts", &newer, &direct, "revoked", "CertificateRevoked");

    let stranger = Ca::root("stranger");
    takes("a list of somebody else says nothing", &with(&[stranger.list(&[&direct.serial], -60, DAY)]), &direct);
    let forged =
        node_with(&(ca.pem() + &stranger.pem()), &stranger.node("n1"), &[ca.forged_list(&stranger)], |_, _| {});
    refuses("a forged list is not no list", &forged, &direct, "crl_unusable", "UnknownCA");
}

/// S1: exactly one identity.
#[test]
fn exactly_one_identity_is_wanted() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let leaf = |names: &[rcgen::SanType]| ca.leaf("n2", |params| params.subject_alt_names = names.to_vec());
    let no_identity = |case: &str, names: &[rcgen::SanType]| {
        refuses(case, &one, &leaf(names), "no_identity", "BadCertificate");
    };
    no_identity("a host name alone", &[dns("n2.db.example")]);
    no_identity("a URI of something else", &[uri("https://n2.db.example/")]);
    no_identity("a path without a role", &[uri("spiffe://prod/n2")]);
    no_identity("a role that nobody knows", &[uri("spiffe://prod/cluster/orders/root/n2")]);
    no_identity("a name that no node can have", &[uri("spiffe://prod/cluster/orders/node/n%32")]);
    no_identity("a path that climbs", &[uri("spiffe://prod/cluster/orders/../node/n2")]);
    no_identity("no name at all", &[]);
    no_identity("two clusters", &[uri("spiffe://prod/cluster/orders/cluster/orders/node/n2")]);
    let two = leaf(&[node_uri("n2"), node_uri("n3")]);
    refuses("two nodes", &one, &two, "several_identities", "BadCertificate");
    let mixed = leaf(&[node_uri("n2"), uri("https://n2.db.example/")]);
    refuses("a node and another URI", &one, &mixed, "several_identities", "BadCertificate");
    takes("a node and a host name", &one, &leaf(&[node_uri("n2"), dns("n2.db.example")]));
    takes("a node of no cluster", &one, &leaf(&[uri("spiffe://prod/eu/node/n2")]));
}

/// S2.
#[test]
fn clusters_and_trust_domains_keep_to_themselves() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let leaf = |name: &str| ca.leaf("n2", |params| params.subject_alt_names = vec![uri(name)]);
    let billing = leaf("spiffe://prod/cluster/billing/node/n2");
    refuses("another cluster", &one, &billing, "other_cluster", "AccessDenied");
    let theirs = node_with(&ca.pem(), &billing, &[], |_, options| {
        options.policy.cluster = rdb_net_types::ClusterId::new("billing").expect("legal");
    });
    let seen = ("other_cluster", "told AccessDenied");
    check("nodes of two clusters", Dialer::Node(&one, Expected::Anybody), Taker::Node(&theirs), seen);

    let strict = node_with(&ca.pem(), &ca.node("n1"), &[], |_, options| {
        options.policy.identity = "spiffe://prod/cluster/{cluster}/{role}/{node}".parse().expect("a pattern");
    });
    takes("the same trust domain", &strict, &ca.node("n2"));
    let stage = leaf("spiffe://stage/cluster/orders/node/n2");
    refuses("another trust domain", &strict, &stage, "other_trust_domain", "AccessDenied");
    let flat = leaf("spiffe://prod/node/n2");
    refuses("a cluster that is wanted and missing", &strict, &flat, "no_identity", "BadCertificate");
}

#[test]
fn names_of_the_domain_name_system_serve_as_identities() {
    let ca = Ca::root("ca");
    let leaf =
        |names: &[&str]| ca.leaf("n", |params| params.subject_alt_names = names.iter().map(|name| dns(name)).collect());
    let one = node_with(&ca.pem(), &leaf(&["n1.orders.db.example"]), &[], |_, options| {
        options.policy.identity = "{node}.{cluster}.db.example".parse().expect("a pattern");
    });
    let two = server(&leaf(&["n2.orders.db.example", "db.example"]), &Speaks::default());
    check("the node in the name", Dialer::Node(&one, exactly("n2")), Taker::Raw(two), OK);
    refuses(
        "two of them",
        &one,
        &leaf(&["n2.orders.db.example", "n3.orders.db.example"]),
        "several_identities",
        "BadCertificate",
    );
    refuses("another cluster", &one, &leaf(&["n2.billing.db.example"]), "other_cluster", "AccessDenied");
    refuses("for everybody", &one, &leaf(&["*.orders.db.example"]), "no_identity", "BadCertificate");
    refuses("one label too many", &one, &leaf(&["x.n2.orders.db.example"]), "no_identity", "BadCertificate");
}

#[test]
fn roles_open_the_doors_that_are_theirs() {
    let ca = Ca::root("ca");
    let of_role = |role: &str| {
        ca.leaf("c1", |params| {
            params.subject_alt_names = vec![uri(&format!("spiffe://prod/cluster/orders/{role}/c1"))];
        })
    };
    let one = node(&ca, "n1");
    refuses("a client is no node", &one, &of_role("client"), "role_not_permitted", "AccessDenied");
    refuses("an admin is no node", &one, &of_role("admin"), "role_not_permitted", "AccessDenied");
    let open = node_with(&ca.pem(), &ca.node("n1"), &[], |_, options| {
        options.policy.accepted = vec![Role::Node, Role::Client];
    });
    let raw = |role| client(Some(&of_role(role)), &Speaks::default());
    check("a client where clients are let in", Dialer::Raw(raw("client")), Taker::Node(&open), OK);
    let seen = ("told AccessDenied", "role_not_permitted");
    check("an admin where clients are let in", Dialer::Raw(raw("admin")), Taker::Node(&open), seen);
    refuses_server("a client that answers", &open, &of_role("client"), "role_not_permitted", "AccessDenied");
    let dialing = ca.leaf("c1", |params| {
        params.subject_alt_names = vec![uri("spiffe://prod/cluster/orders/client/c1")];
        params.extended_key_usages = vec![Eku::ClientAuth];
    });
    let dialing = node_with(&ca.pem(), &dialing, &[], |_, _| {});
    check("a client of this library", Dialer::Node(&dialing, exactly("n1")), Taker::Node(&open), OK);
}

#[test]
fn keys_are_used_for_what_they_are_meant() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let meant_for = |usages: &[Eku]| ca.leaf("n2", |params| params.extended_key_usages = usages.to_vec());
    let (name, alert) = ("wrong_key_usage", "UnsupportedCertificate");
    refuses_client("a server's certificate of a client", &one, &meant_for(&[Eku::ServerAuth]), name, alert);
    refuses_server("a client's certificate of a server", &one, &meant_for(&[Eku::ClientAuth]), name, alert);
    refuses("for something else", &one, &meant_for(&[Eku::CodeSigning]), name, alert);
    refuses("for nothing in particular", &one, &meant_for(&[]), name, alert);
    refuses("for anything", &one, &meant_for(&[Eku::Any]), name, alert);
    let cannot_sign = ca.leaf("n2", |params| params.key_usages = vec![Usage::KeyEncipherment]);
    refuses("a key that may not sign", &one, &cannot_sign, name, alert);
    takes("no key usage at all", &one, &ca.leaf("n2", |params| params.key_usages = vec![]));
}

#[test]
fn who_shows_no_certificate_is_let_in_only_where_none_is_wanted() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let nobody = || Dialer::Raw(client(None, &Speaks::default()));
    check("no certificate", nobody(), Taker::Node(&one), ("told CertificateRequired", "no_certificate"));
    let open = node_with(&ca.pem(), &ca.node("n1"), &[], |config, _| config.verify_client = false);
    check("no certificate, none wanted", nobody(), Taker::Node(&open), OK);
    check("a certificate, none wanted", Dialer::Node(&one, exactly("n1")), Taker::Node(&open), OK);
    let stranger = Ca::root("other").node("n2");
    refuses("a bad certificate, none wanted", &open, &stranger, "unknown_issuer", "UnknownCA");
}

#[test]
fn older_versions_and_other_protocols_are_refused() {
    let ca = Ca::root("ca");
    let (one, leaf) = (node(&ca, "n1"), ca.node("n2"));
    let tls12 = Speaks { tls12_only: true, ..Speaks::default() };
    let version = ("protocol_version", "protocol_version");
    check("a client of TLS 1.2", Dialer::Raw(client(Some(&leaf), &tls12)), Taker::Node(&one), version);
    let to = |speaks: &Speaks| Taker::Raw(server(&leaf, speaks));
    check("a server of TLS 1.2", Dialer::Node(&one, Expected::Anybody), to(&tls12), version);

    let speaks = |alpn: &[&str]| Speaks {
        alpn: alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
        ..Speaks::default()
    };
    let from = |alpn: &[&str]| Dialer::Raw(client(Some(&leaf), &speaks(alpn)));
    let told = ("told NoApplicationProtocol", "no_alpn");
    check("a client without ALPN", from(&[]), Taker::Node(&one), told);
    check("a client of HTTP", from(&["h2", "http/1.1"]), Taker::Node(&one), told);
    check("a client of a later version", from(&["rustydb/2"]), Taker::Node(&one), told);
    check("a client of several", from(&["rustydb/2", "rustydb/1"]), Taker::Node(&one), OK);
    check("a server without ALPN", Dialer::Node(&one, Expected::Anybody), to(&speaks(&[])), ("no_alpn", "closed"));
    check("a server of HTTP", Dialer::Node(&one, Expected::Anybody), to(&speaks(&["h2"])), told);
}

#[test]
fn what_is_no_tls_is_called_so() {
    let one = node(&Ca::root("ca"), "n1");
    let plaintext = ("alert 10", "plaintext_peer");
    check("a node's plaintext", Dialer::Bytes(b"RDBN\0\x01\0\x01\0\0\0\0"), Taker::Node(&one), plaintext);
    check("HTTP", Dialer::Bytes(b"GET / HTTP/1.1\r\n\r\n"), Taker::Node(&one), plaintext);
    check("one byte", Dialer::Bytes(b"R"), Taker::Node(&one), plaintext);
    check("an alert first", Dialer::Bytes(&[0x15, 3, 3, 0, 2, 2, 0]), Taker::Node(&one), plaintext);
    let to = |bytes| (Dialer::Node(&one, Expected::Anybody), Taker::Bytes(bytes));
    for (case, bytes) in [
        ("a node's plaintext port", &b"RDBN\0\x01\0\x02\0\0\0\0"[..]),
        ("an HTTP port", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("an SSH port", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ] {
        let (dialer, taker) = to(bytes);
        check(case, dialer, taker, ("not_tls", "done"));
    }
    check("a port that hangs up", Dialer::Node(&one, Expected::Anybody), Taker::HangsUp, ("closed", "hung up"));
}
