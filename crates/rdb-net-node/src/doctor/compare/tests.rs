//! Tables of lists and what is told of them.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use rdb_net_admin::views::RegistrationView;
use rdb_net_types::HealthStatus;

use super::*;

fn address(text: &str) -> NodeAddress {
    text.parse().expect("a legal address")
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).expect("a legal id")
}

/// A node as `id@host:port`, or `host:port` where its id is not known.
fn listed(text: &str) -> ListedView {
    let (name, place) = text.split_once('@').map_or((None, text), |(name, place)| (Some(name), place));
    ListedView { node_id: name.map(id), address: address(place) }
}

fn source(name: &str, nodes: &[&str]) -> SourceView {
    SourceView {
        name: name.to_owned(),
        state: "live".to_owned(),
        cause: String::new(),
        age_seconds: Some(0.5),
        registers: name == "etcd",
        registration: None,
        nodes: nodes.iter().map(|text| listed(text)).collect(),
    }
}

fn away(name: &str, nodes: &[&str]) -> SourceView {
    SourceView { state: "stale".to_owned(), cause: "it cannot be reached".to_owned(), ..source(name, nodes) }
}

fn member(text: &str, state: NodeState) -> MemberView {
    let ListedView { node_id, address } = listed(text);
    MemberView {
        node_id: node_id.expect("a member has a name"),
        provisional: false,
        state,
        health: HealthStatus::Healthy,
        in_state_seconds: None,
        connected: true,
        address,
        gossip_address: None,
        admin_address: None,
        version: String::new(),
        incarnation: String::new(),
        boot: String::new(),
        region: String::new(),
        zone: String::new(),
        rack: String::new(),
        weight: 1.0,
        capabilities: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn alive(texts: &[&str]) -> Vec<MemberView> {
    texts.iter().map(|text| member(text, NodeState::Alive)).collect()
}

/// `name` resolves to 10.0.0.1.
fn same(one: &NodeAddress, other: &NodeAddress) -> bool {
    let canonical = |address: &NodeAddress| address.to_string().replace("name:", "10.0.0.1:");
    canonical(one) == canonical(other)
}

#[track_caller]
fn check(sources: &[SourceView], members: Option<&[MemberView]>, expected: Expect) {
    let answering = id("n1");
    let gossip = members.map(|members| Gossip { answering: &answering, members });
    let mut found = compare(sources, gossip, same);
    found.sort();
    let line = |finding: &Finding| format!("{:?} {}: {}\n", finding.severity, finding.kind, finding.text);
    expected.assert_eq(&found.iter().map(line).collect::<String>());
}

#[test]
fn who_agrees_gives_nothing_to_tell() {
    let all = ["n1@10.0.0.1:7", "n2@10.0.0.2:7"];
    check(&[source("etcd", &all)], Some(&alive(&all)), expect![[r#""#]]);
    check(&[source("etcd", &all)], None, expect![[r#""#]]);
    // A seed is the node at its address, under whichever of its names.
    check(&[source("etcd", &all), source("dns", &["name:7", "10.0.0.2:7"])], Some(&alive(&all)), expect![[r#""#]]);
}

#[test]
fn a_source_that_is_away_is_a_problem_and_what_it_does_not_name_is_none() {
    let all = ["n1@10.0.0.1:7", "n2@10.0.0.2:7"];
    check(
        &[away("etcd", &all[..1])],
        Some(&alive(&all)),
        expect![[r#"
        Problem source_away: etcd is away: it cannot be reached
    "#]],
    );
}

#[test]
fn a_member_that_a_source_lacks_is_a_problem_where_nodes_register_themselves_and_else_a_remark() {
    let all = ["n1@10.0.0.1:7", "n2@10.0.0.2:7"];
    check(
        &[source("etcd", &all[..1]), source("static", &["10.0.0.1:7"])],
        Some(&alive(&all)),
        expect![[r#"
        Problem missing_in_source: n2 is a member in the view of n1, and etcd does not name it
        Remark missing_in_source: n2 is a member in the view of n1, and static does not name it
    "#]],
    );
    check(
        &[source("etcd", &all[..1]), source("static", &["10.0.0.3:7"])],
        None,
        expect![[r#"
        Remark missing_in_source: static names 10.0.0.3:7, and etcd does not name it
        Remark missing_in_source: etcd names n1, and static does not name it
    "#]],
    );
}

#[test]
fn who_is_named_and_no_member_or_not_alive_is_a_problem() {
    let members = [member("n1@10.0.0.1:7", NodeState::Alive), member("n2@10.0.0.2:7", NodeState::Failed)];
    let etcd = source("etcd", &["n1@10.0.0.1:7", "n2@10.0.0.2:7", "n3@10.0.0.3:7"]);
    check(
        &[etcd, source("dns", &["10.0.0.1:7", "10.0.0.9:7"])],
        Some(&members),
        expect![[r#"
        Problem not_a_member: dns names 10.0.0.9:7, and n1 has no such member
        Problem not_a_member: etcd names n3, and n1 has no such member
        Problem not_alive: etcd names n2, which is failed in the view of n1
        Remark missing_in_source: etcd names n3, and dns does not name it
        Remark missing_in_source: dns names 10.0.0.9:7, and etcd does not name it
    "#]],
    );
}

#[test]
fn a_node_at_two_places_and_two_nodes_at_one_are_problems() {
    let etcd = source("etcd", &["n1@10.0.0.1:7", "n2@10.0.0.5:7", "n3@10.0.0.1:7"]);
    check(
        &[etcd],
        Some(&alive(&["n1@10.0.0.1:7", "n2@10.0.0.2:7", "n3@10.0.0.1:7"])),
        expect![[r#"
        Problem address_differs: n2 is at 10.0.0.5:7 in etcd, and at 10.0.0.2:7 in the view of n1
        Problem two_names: etcd names n1 and n3 at one address, 10.0.0.1:7
    "#]],
    );
}

#[test]
fn nobody_to_ask_and_nobody_named_are_told_and_no_problem() {
    check(
        &[],
        None,
        expect![[r#"
        Remark no_source: no source is configured: the node waits for others (networking.service_discovery.type)
    "#]],
    );
    check(
        &[source("etcd", &[])],
        None,
        expect![[r#"
        Remark empty_source: etcd names no node
    "#]],
    );
}

#[test]
fn a_node_that_does_not_hear_or_stand_where_it_should_is_told() {
    let standing =
        |state: &str, detail: &str| Some(RegistrationView { state: state.to_owned(), detail: detail.to_owned() });
    let told = |asked: &[SourceView], heard: &[SourceView]| {
        let found = super::heard(asked, Some((&id("n1"), heard)));
        found.iter().map(|finding| format!("{:?} {}\n", finding.severity, finding.text)).collect::<String>()
    };
    let active = SourceView { registration: standing("active", ""), ..source("etcd", &[]) };
    assert_eq!(told(&[source("etcd", &[])], std::slice::from_ref(&active)), "");
    assert_eq!(told(&[away("etcd", &[])], &[away("etcd", &[])]), "", "told of the source itself");
    let conflict = SourceView { registration: standing("conflict", "boot 7"), ..away("etcd", &[]) };
    expect![[r#"
        Problem n1 does not hear etcd, which answers this command: it cannot be reached
        Problem n1 is not registered in etcd but conflict: boot 7
        Problem n1 runs without the source dns, which this configuration names
    "#]]
    .assert_eq(&told(&[source("etcd", &[]), source("dns", &[])], &[conflict]));
}
