//! Handshakes between two nodes of this library: certificates and hellos that fit, and those that do not.

use rdb_net_tls::IdentityPattern;
use rdb_net_types::{ProtocolRange, Role};
use tokio::runtime::Runtime;

use crate::mint::{Ca, Files, Leaf, Moved, uri, years};
use crate::node::{Settings, cluster, start, start_as, start_with};
use crate::table::{Row, Seen, UP, meet, meet_as};

/// What a dialer sees that does not take the other side's certificate, or whose own is not taken.
const UNTRUSTED: &str = "dial_untrusted";
/// What a listener counts whose certificate the dialer does not take.
const BY_PEER: &str = "by_peer";

pub(crate) fn rows() -> Vec<Row> {
    secured().into_iter().chain(plaintext()).collect()
}

/// Those in which both nodes have TLS.
pub(crate) fn secured() -> Vec<Row> {
    [trust(), times(), roles(), names(), offers(), hellos()].into_iter().flatten().collect()
}

/// `n2` dials `n1`: both have ordinary certificates, and these settings.
fn settings(name: &'static str, expected: (&str, &str), dialer: fn(&mut Settings), taker: fn(&mut Settings)) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        meet(runtime, expected, start(runtime, "n2", &ca, dialer), start(runtime, "n1", &ca, taker))
    })
}

/// A node that calls itself `n2` dials one that calls itself `n1`, with these certificates of one CA.
fn leaves(name: &'static str, expected: (&str, &str), dialer: fn(&Ca) -> Leaf, taker: fn(&Ca) -> Leaf) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        let dialer = start_as(runtime, "n2", &ca, &dialer(&ca), |_| {});
        meet(runtime, expected, dialer, start_as(runtime, "n1", &ca, &taker(&ca), |_| {}))
    })
}

fn n1(ca: &Ca) -> Leaf {
    ca.node("n1")
}

fn n2(ca: &Ca) -> Leaf {
    ca.node("n2")
}

fn as_it_is(_: &mut Settings) {}

/// Two nodes of two CAs, each of which believes these.
fn of_two_cas(runtime: &Runtime, expected: &Seen, believes: fn(&Ca, &Ca) -> (String, String)) -> Seen {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    let (dialer, taker) = believes(&ours, &theirs);
    let dialer = start_with(runtime, "n2", Files::write(&dialer, &ours.node("n2")), |_| {});
    let taker = start_with(runtime, "n1", Files::write(&taker, &theirs.node("n1")), |_| {});
    meet(runtime, expected, dialer, taker)
}

fn trust() -> Vec<Row> {
    vec![
        settings("nodes of one CA", UP, as_it_is, as_it_is),
        Row::new("a seed whose name nobody knows", UP, |runtime, expected| {
            let ca = Ca::new("ca");
            meet_as(runtime, expected, start(runtime, "n2", &ca, |_| {}), start(runtime, "n1", &ca, |_| {}), None)
        }),
        Row::new("two CAs, and both believe both", UP, move |runtime, expected| {
            of_two_cas(runtime, expected, |ours, theirs| (ours.pem() + &theirs.pem(), ours.pem() + &theirs.pem()))
        }),
        Row::new("two CAs, and nobody believes the other's", (UNTRUSTED, BY_PEER), |runtime, expected| {
            of_two_cas(runtime, expected, |ours, theirs| (ours.pem(), theirs.pem()))
        }),
        Row::new("a dialer whose CA the listener does not know", (UNTRUSTED, "unknown_issuer"), |runtime, expected| {
            of_two_cas(runtime, expected, |ours, theirs| (ours.pem() + &theirs.pem(), theirs.pem()))
        }),
        Row::new("a listener whose CA the dialer does not know", (UNTRUSTED, BY_PEER), |runtime, expected| {
            of_two_cas(runtime, expected, |ours, theirs| (ours.pem(), ours.pem() + &theirs.pem()))
        }),
        Row::new("a dialer that the listener's list revokes", (UNTRUSTED, "revoked"), |runtime, expected| {
            revoked(runtime, expected, true)
        }),
        Row::new("a listener that the dialer's list revokes", (UNTRUSTED, BY_PEER), |runtime, expected| {
            revoked(runtime, expected, false)
        }),
        Row::new("a CA of the same name and another key", (UNTRUSTED, "bad_signature"), |runtime, expected| {
            let (ours, theirs) = (Ca::new("ca"), Ca::new("ca"));
            let files = Files::write(&(ours.pem() + &theirs.pem()), &ours.node("n2"));
            let dialer = start_with(runtime, "n2", files, |_| {});
            meet(runtime, expected, dialer, start(runtime, "n1", &theirs, |_| {}))
        }),
    ]
}

fn revoked(runtime: &Runtime, expected: &Seen, is_dialer: bool) -> Seen {
    let ca = Ca::new("ca");
    let (dialer, taker) = (ca.node("n2"), ca.node("n1"));
    let (of_dialer, of_taker) = (Files::write(&ca.pem(), &dialer), Files::write(&ca.pem(), &taker));
    match is_dialer {
        true => of_taker.put("crl.pem", &ca.list(&[&dialer])),
        false => of_dialer.put("crl.pem", &ca.list(&[&taker])),
    }
    let dialer = start_with(runtime, "n2", of_dialer, |_| {});
    meet(runtime, expected, dialer, start_with(runtime, "n1", of_taker, |_| {}))
}

/// Two nodes whose clocks are so many years ahead, with certificates of these years.
fn at(
    name: &'static str,
    expected: (&str, &str),
    (dialer_ahead, dialer_years): (i64, (i32, i32)),
    (taker_ahead, taker_years): (i64, (i32, i32)),
) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        let leaf = |name: &str, (from, until)| ca.leaf(name, |params| years(params, from, until));
        let (dialer, taker) = (leaf("n2", dialer_years), leaf("n1", taker_years));
        let ahead = |years: i64| move |settings: &mut Settings| settings.options.clock = Moved::years(years).clock();
        let dialer = start_as(runtime, "n2", &ca, &dialer, ahead(dialer_ahead));
        meet(runtime, expected, dialer, start_as(runtime, "n1", &ca, &taker, ahead(taker_ahead)))
    })
}

fn times() -> Vec<Row> {
    let (always, ends, begins) = ((2020, 2090), (2020, 2045), (2045, 2090));
    vec![
        at("clocks that differ by twenty years, within the times", UP, (0, always), (20, always)),
        at("a listener that has expired by the dialer's clock", (UNTRUSTED, BY_PEER), (30, always), (0, ends)),
        at("a dialer that has expired by the listener's clock", (UNTRUSTED, "expired"), (0, ends), (30, always)),
        at("a listener that is not valid yet", (UNTRUSTED, BY_PEER), (0, always), (30, begins)),
        at("a dialer that is not valid yet", (UNTRUSTED, "not_yet_valid"), (30, begins), (0, always)),
    ]
}

fn lets_in(role: Role) -> impl FnOnce(&mut Settings) {
    move |settings| settings.options.policy.accepted.push(role)
}

/// One of this role dials a node that lets in others than nodes too, where it is told to.
fn role(name: &'static str, expected: (&str, &str), role: &'static str, also: Option<Role>) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        let dialer = start_as(runtime, "n2", &ca, &ca.of_role(role, "n2"), |_| {});
        let taker = start(runtime, "n1", &ca, |settings| {
            if let Some(also) = also {
                lets_in(also)(settings);
            }
        });
        meet(runtime, expected, dialer, taker)
    })
}

fn roles() -> Vec<Row> {
    let not_permitted = (UNTRUSTED, "role_not_permitted");
    vec![
        role("a client where only nodes are let in", not_permitted, "client", None),
        role("an admin where only nodes are let in", not_permitted, "admin", None),
        role("a client where clients are let in", UP, "client", Some(Role::Client)),
        role("an admin where clients are let in", not_permitted, "admin", Some(Role::Client)),
        role("an admin where admins are let in", UP, "admin", Some(Role::Admin)),
        leaves("a client that listens", (UNTRUSTED, BY_PEER), n2, |ca| ca.of_role("client", "n1")),
    ]
}

fn names() -> Vec<Row> {
    let identity_refused = ("refused: identity", "identity");
    vec![
        leaves("a dialer that calls itself by another name", identity_refused, |ca| ca.node("n3"), n1),
        leaves("a listener that calls itself by another name", identity_refused, n2, |ca| ca.node("n3")),
        leaves("a dialer with the listener's own certificate", identity_refused, n1, n1),
        Row::new("another node than the one that was dialled", ("refused: target_node", "target_node"), called("n3")),
        Row::new("a name that differs by case", ("refused: target_node", "target_node"), called("N1")),
        leaves("a certificate without a cluster", UP, |ca| of_uri(ca, "n2", "spiffe://tests/eu/node/n2"), n1),
        Row::new("a certificate of another cluster", (UNTRUSTED, "other_cluster"), |runtime, expected| {
            let ca = Ca::new("ca");
            let leaf = of_uri(&ca, "n2", "spiffe://tests/cluster/billing/node/n2");
            // It would take a node of the listener's cluster; the listener does not take it.
            let dialer = start_as(runtime, "n2", &ca, &leaf, |settings| {
                settings.config.identity.cluster = cluster("billing");
                settings.options.policy.cluster = cluster("billing");
            });
            let taker = of_uri(&ca, "n1", "spiffe://tests/node/n1");
            meet(runtime, expected, dialer, start_as(runtime, "n1", &ca, &taker, |_| {}))
        }),
        Row::new(
            "a trust domain that is not the wanted one",
            (UNTRUSTED, "other_trust_domain"),
            |runtime, expected| {
                let ca = Ca::new("ca");
                let leaf = of_uri(&ca, "n2", "spiffe://stage/cluster/rustydb/node/n2");
                let strict = |settings: &mut Settings| {
                    settings.options.policy.identity =
                        "spiffe://tests/cluster/{cluster}/{role}/{node}".parse::<IdentityPattern>().expect("a pattern");
                };
                let dialer = start_as(runtime, "n2", &ca, &leaf, |_| {});
                meet(runtime, expected, dialer, start(runtime, "n1", &ca, strict))
            },
        ),
    ]
}

fn of_uri(ca: &Ca, name: &str, text: &str) -> Leaf {
    ca.leaf(name, |params| params.subject_alt_names = vec![uri(text)])
}

/// `n2` dials `n1` by another name.
fn called(name: &'static str) -> impl FnOnce(&Runtime, &Seen) -> Seen {
    move |runtime, expected| {
        let ca = Ca::new("ca");
        let (dialer, taker) = (start(runtime, "n2", &ca, |_| {}), start(runtime, "n1", &ca, |_| {}));
        meet_as(runtime, expected, dialer, taker, Some(name))
    }
}

fn offers() -> Vec<Row> {
    vec![
        settings(
            "no group in common",
            (UNTRUSTED, "no_common_group"),
            |settings| settings.tls.key_exchange_groups = vec!["X25519".to_owned()],
            |settings| settings.tls.key_exchange_groups = vec!["secp256r1".to_owned()],
        ),
        settings(
            "no cipher suite in common",
            (UNTRUSTED, "no_common_suite"),
            |settings| settings.tls.cipher_suites = vec!["TLS13_AES_128_GCM_SHA256".to_owned()],
            |settings| settings.tls.cipher_suites = vec!["TLS13_AES_256_GCM_SHA384".to_owned()],
        ),
        settings(
            "one group in common, which the dialer likes least",
            UP,
            |settings| settings.tls.key_exchange_groups = vec!["X25519MLKEM768".to_owned(), "secp256r1".to_owned()],
            |settings| settings.tls.key_exchange_groups = vec!["secp256r1".to_owned()],
        ),
        settings("a node where no certificate is wanted", UP, as_it_is, |settings| settings.tls.verify_client = false),
    ]
}

fn plaintext() -> Vec<Row> {
    vec![
        settings(
            "a plaintext node to a TLS node",
            ("ended: bad_magic", "plaintext_peer"),
            |settings| settings.is_secured = false,
            as_it_is,
        ),
        settings("a TLS node to a plaintext node", (UNTRUSTED, "bad_magic"), as_it_is, |settings| {
            settings.is_secured = false;
        }),
    ]
}

fn hellos() -> Vec<Row> {
    vec![
        settings(
            "another cluster in the hello",
            ("refused: cluster", "cluster"),
            |settings| settings.config.identity.cluster = cluster("billing"),
            as_it_is,
        ),
        settings("another cluster in the listener's hello", ("refused: cluster", "cluster"), as_it_is, |settings| {
            settings.config.identity.cluster = cluster("billing")
        }),
        settings(
            "no version of the wire in common",
            ("refused: version", "version"),
            |settings| settings.config.identity.protocol = ProtocolRange { min: 77, max: 78 },
            as_it_is,
        ),
        Row::new("a node that dials itself", ("refused: self_connection", "self_connection"), |runtime, expected| {
            let ca = Ca::new("ca");
            let taker = start(runtime, "n1", &ca, |_| {});
            let boot = taker.boot;
            let dialer = start(runtime, "n1", &ca, |settings| settings.config.identity.boot = boot);
            meet_as(runtime, expected, dialer, taker, None)
        }),
        Row::new("two nodes of one name", ("refused: duplicate_node", "duplicate_node"), |runtime, expected| {
            let ca = Ca::new("ca");
            let (dialer, taker) = (start(runtime, "n1", &ca, |_| {}), start(runtime, "n1", &ca, |_| {}));
            meet_as(runtime, expected, dialer, taker, None)
        }),
        settings(
            "no place for another connection",
            ("refused: connection_limit", "connection_limit"),
            as_it_is,
            |settings| settings.config.connections_max = 0,
        ),
    ]
}
