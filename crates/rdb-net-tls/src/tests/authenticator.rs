//! What a hello claims against what a certificate says. S1.

use rdb_net_types::{Authenticator, ClusterId, Credentials, RefusalReason, Role};

use super::mint::{Ca, uri};
use super::scene::{cluster, id};
use crate::{CertificateAuthenticator, Policy};

fn check(name: &str, claimed: &str, hello: &str, expected: Result<&str, RefusalReason>) {
    let leaf = Ca::root("ca").leaf("n", |params| params.subject_alt_names = vec![uri(name)]);
    let (claimed_id, hello_cluster) = (id(claimed), ClusterId::new(hello).expect("legal"));
    let credentials =
        Credentials { certificate: Some(&leaf.chain[0]), cluster: &hello_cluster, claimed: &claimed_id, token: &[] };
    let result = CertificateAuthenticator::new(Policy::new(cluster())).authenticate(&credentials);
    let found = result.as_ref().map(|principal| principal.node.as_str()).map_err(|refusal| refusal.reason);
    assert_eq!(found, expected, "{claimed} with {name}: {result:?}");
}

#[test]
fn who_claims_its_own_name_is_let_in() {
    check("spiffe://prod/cluster/orders/node/n1", "n1", "orders", Ok("n1"));
    check("spiffe://prod/node/n1", "n1", "orders", Ok("n1"));
}

#[test]
fn who_claims_another_name_is_not() {
    check("spiffe://prod/cluster/orders/node/n1", "n2", "orders", Err(RefusalReason::Identity));
    check("spiffe://prod/cluster/orders/node/n1", "N1", "orders", Err(RefusalReason::Identity));
    check("spiffe://prod/cluster/billing/node/n1", "n1", "orders", Err(RefusalReason::Cluster));
    check("spiffe://prod/cluster/orders/node/n1", "n1", "billing", Err(RefusalReason::Cluster));
    check("spiffe://prod/cluster/orders/client/n1", "n1", "orders", Err(RefusalReason::Identity));
    check("https://n1/", "n1", "orders", Err(RefusalReason::Identity));
}

#[test]
fn without_a_certificate_nobody_is() {
    let authenticator = CertificateAuthenticator::new(Policy::new(cluster()));
    for certificate in [None, Some(&b"\x30\x03nonsense"[..])] {
        let credentials = Credentials { certificate, cluster: &cluster(), claimed: &id("n1"), token: b"n1" };
        let refusal = authenticator.authenticate(&credentials).expect_err("nobody");
        assert_eq!(refusal.reason, RefusalReason::Identity);
    }
}

#[test]
fn the_role_goes_with_the_name() {
    let leaf = Ca::root("ca").node("n1");
    let (claimed, cluster) = (id("n1"), cluster());
    let credentials =
        Credentials { certificate: Some(&leaf.chain[0]), cluster: &cluster, claimed: &claimed, token: &[] };
    let principal = CertificateAuthenticator::new(Policy::new(cluster.clone())).authenticate(&credentials);
    assert_eq!(principal.expect("let in").roles, [Role::Node]);
}
