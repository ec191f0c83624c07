//! Patterns, and which names fit them. S1, S18.

use rdb_net_types::Role;

use crate::IdentityPattern;
use crate::identity::NoIdentity;

/// What the pattern finds in a certificate with this one URI or host name.
#[track_caller]
fn check(pattern: &str, name: &str, expected: Option<(&str, Option<&str>, Role)>) {
    let parsed: IdentityPattern = pattern.parse().expect("a pattern");
    let names = [name];
    let (uris, dns): (&[&str], &[&str]) = if name.contains("://") { (&names, &[]) } else { (&[], &names) };
    let found = parsed.identify(uris, dns).ok();
    let found =
        found.as_ref().map(|found| (found.node.as_str(), found.cluster.as_ref().map(|c| c.as_str()), found.role));
    assert_eq!(found, expected, "{name} by {pattern}");
}

#[test]
fn the_default_finds_node_role_and_cluster() {
    let pattern = IdentityPattern::default().to_string();
    assert_eq!(pattern.parse(), Ok(IdentityPattern::default()));
    check(&pattern, "spiffe://prod/node/n1", Some(("n1", None, Role::Node)));
    check(&pattern, "spiffe://prod/eu/west/node/n1", Some(("n1", None, Role::Node)));
    check(&pattern, "spiffe://prod/cluster/orders/node/n1", Some(("n1", Some("orders"), Role::Node)));
    check(&pattern, "spiffe://prod/eu/cluster/orders/x/client/c1", Some(("c1", Some("orders"), Role::Client)));
    check(&pattern, "spiffe://prod/cluster/orders/admin/a1", Some(("a1", Some("orders"), Role::Admin)));
    for name in [
        "spiffe://prod/node",
        "spiffe://prod/n1",
        "spiffe://prod/node/n1/extra",
        "spiffe://prod/root/n1",
        "spiffe://prod//node/n1",
        "spiffe://prod/./node/n1",
        "spiffe://prod/node/",
        "spiffe:///node/n1",
        "spiffe://PROD/node/n1",
        "spiffe://user@prod/node/n1",
        "spiffe://prod:443/node/n1",
        "spiffe://prod/node/n1?x=1",
        "spiffe://prod/node/n1#x",
        "spiffe://prod/node/n%31",
        "SPIFFE://prod/node/n1",
        "https://prod/node/n1",
        "spiffe://prod/cluster/a/cluster/b/node/n1",
        "n1.prod",
    ] {
        check(&pattern, name, None);
    }
    check(&pattern, &format!("spiffe://prod/node/{}", "x".repeat(65)), None);
}

#[test]
fn a_pattern_takes_its_own_parts_only() {
    let pattern = "spiffe://prod/cluster/{cluster}/{role}/{node}";
    check(pattern, "spiffe://prod/cluster/orders/node/n1", Some(("n1", Some("orders"), Role::Node)));
    check(pattern, "spiffe://prod/node/n1", None);
    check(pattern, "spiffe://prod/x/cluster/orders/node/n1", None);
    let parsed: IdentityPattern = pattern.parse().expect("a pattern");
    let other = parsed.identify(&["spiffe://stage/cluster/orders/node/n1"], &[]);
    assert_eq!(other, Err(NoIdentity::TrustDomain("stage".to_owned())));
    check("spiffe://prod/ns/*/sa/{node}", "spiffe://prod/ns/db/sa/n1", Some(("n1", None, Role::Node)));
    check("spiffe://prod/{node}/...", "spiffe://prod/n1/a/b", Some(("n1", None, Role::Node)));
    check("spiffe://prod/a/.../z/{node}", "spiffe://prod/a/z/n1", Some(("n1", None, Role::Node)));
    check("spiffe://prod/a/.../a/{node}", "spiffe://prod/a/n1", None);
}

#[test]
fn host_names_are_compared_in_lower_case_and_label_by_label() {
    let pattern = "{node}.nodes.cluster.example";
    check(pattern, "N1.Nodes.cluster.example", Some(("n1", None, Role::Node)));
    check(pattern, "x.n1.nodes.cluster.example", None);
    check(pattern, "nodes.cluster.example", None);
    check(pattern, "*.nodes.cluster.example", None);
    check("{node}.{role}.{cluster}.db", "c1.client.orders.db", Some(("c1", Some("orders"), Role::Client)));
    check("{node}.{role}.{cluster}.db", "c1.root.orders.db", None);
    check("{node}", "n1.db.example", Some(("n1.db.example", None, Role::Node)));
}

#[test]
fn more_than_one_candidate_is_none() {
    let pattern = IdentityPattern::default();
    let uris = ["spiffe://prod/node/n1", "spiffe://prod/node/n1"];
    assert_eq!(pattern.identify(&uris, &[]), Err(NoIdentity::Several), "twice the same is two");
    assert_eq!(pattern.identify(&[], &["n1"]), Err(NoIdentity::None));
    let pattern: IdentityPattern = "{node}.db".parse().expect("a pattern");
    assert_eq!(pattern.identify(&[], &["n1.db", "n2.db"]), Err(NoIdentity::Several));
    assert!(pattern.identify(&["spiffe://prod/node/n9"], &["n1.db", "other"]).is_ok());
}

#[test]
fn patterns_that_cannot_be_followed_are_refused() {
    for (pattern, problem) in [
        ("spiffe://prod", "has no path"),
        ("spiffe://Prod/{node}", "has a trust domain"),
        ("spiffe://prod/{role}", "needs {node} exactly once"),
        ("spiffe://prod/{node}/{node}", "needs {node} exactly once"),
        ("spiffe://prod/{role}/{role}/{node}", "twice"),
        ("spiffe://prod/.../x/.../{node}", "has '...' twice"),
        ("spiffe://prod/a b/{node}", "has a part"),
        ("{node}..db", "has a label"),
        ("{node}.d b", "has a label"),
        ("", "has a label"),
    ] {
        let error = pattern.parse::<IdentityPattern>().expect_err(pattern);
        assert!(error.to_string().contains(problem), "{error}");
    }
}
