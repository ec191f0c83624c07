//! What lists mean.

use rdb_discovery::NodeDocument;
use rdb_net_types::{ClusterId, Incarnation, NodeId};

use super::*;
use crate::http::{AgentNode, Check, Service};

fn instances() -> Instances {
    Instances::new(&ConsulConfig::new(ClusterId::new("c").expect("legal"), "http://a:1"))
}

fn node(name: &str, generation: u32) -> NodeInfo {
    let address = format!("{name}:7000").parse().expect("legal");
    NodeInfo {
        incarnation: Incarnation::first_of(generation),
        ..NodeInfo::new(NodeId::new(name).expect("legal"), address)
    }
}

fn instance(node: &NodeInfo, checks: &[(&str, &str)]) -> Instance {
    let check = |(id, status): &(&str, &str)| Check { id: (*id).to_owned(), status: (*status).to_owned() };
    let service = Service {
        id: format!("c-{}", node.id),
        meta: Some(meta::write(&NodeDocument::new(node)).expect("it fits")),
        ..Service::default()
    };
    Instance { service, checks: checks.iter().map(check).collect(), ..Instance::default() }
}

fn passing(name: &str) -> Instance {
    instance(&node(name, 1), &[("serfHealth", "passing"), ("service:c", "passing")])
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.nodes.iter().map(|node| node.id.as_str()).collect()
}

fn gone(listing: &Listing) -> Vec<String> {
    let shown = |delta: &Delta| match delta {
        Delta::Remove { key, why } => format!("{key} {}", why.name()),
        Delta::Put(_) => unreachable!("only removals"),
    };
    listing.gone.iter().map(shown).collect()
}

#[test]
fn nodes_are_those_whose_checks_do_not_fail() {
    let list = [
        passing("a"),
        instance(&node("b", 1), &[("service:c-b", "critical")]),
        instance(&node("c", 1), &[("service:c-c", "warning")]),
        instance(&node("d", 1), &[("serfHealth", "critical"), ("service:c-d", "passing")]),
        instance(&node("e", 1), &[]),
    ];
    assert_eq!(names(&instances().list(&list, false)), ["a", "c", "e"]);
}

#[test]
fn why_a_node_is_gone_is_known_where_the_list_goes_on() {
    let mut read = instances();
    read.list(&[passing("a"), passing("b"), passing("c"), passing("d")], false);
    let list = [
        passing("a"),
        instance(&node("b", 1), &[("service:c-b", "critical")]),
        instance(&node("c", 1), &[("_service_maintenance:c-c", "critical")]),
    ];
    let listing = read.list(&list, true);
    assert_eq!(gone(&listing), ["b expired", "c deregistered", "d deregistered"]);
    let mut read = instances();
    read.list(&[passing("a"), passing("d")], false);
    assert_eq!(gone(&read.list(&[passing("a")], false)), [""; 0], "nobody knows after a break");
}

#[test]
fn an_agent_that_forgets_everything_is_not_taken_for_a_farewell_of_all() {
    let mut read = instances();
    let all = ["a", "b", "c", "d"].map(passing);
    read.list(&all, false);
    assert_eq!(gone(&read.list(&all[..1], true)), [""; 0]);
    read.list(&all, true);
    assert_eq!(gone(&read.list(&all[..2], true)), ["c deregistered", "d deregistered"]);
}

#[test]
fn of_a_node_at_two_agents_the_living_and_later_one_is_taken() {
    let old = instance(&node("a", 1), &[]);
    let new = instance(&node("a", 2), &[]);
    let dead = instance(&node("a", 3), &[("service:c-a", "critical")]);
    for list in [[old.clone(), new.clone(), dead.clone()], [dead, new, old]] {
        let listing = instances().list(&list, false);
        assert_eq!(listing.nodes.len(), 1);
        assert_eq!(listing.nodes[0].incarnation.generation(), 2);
    }
}

#[test]
fn what_an_operator_registers_by_hand_is_a_seed() {
    let by_hand = |address: &str, port| Instance {
        node: AgentNode { node: "m1".to_owned(), address: "10.0.0.1".to_owned() },
        service: Service { id: "anything".to_owned(), address: address.to_owned(), port, ..Service::default() },
        checks: Vec::new(),
    };
    let listing = instances().list(&[by_hand("", 7000), by_hand("10.0.0.2", 7000)], false);
    let addresses: Vec<_> = listing.nodes.iter().map(|node| node.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1:7000", "10.0.0.2:7000"]);
    assert!(listing.nodes.iter().all(|node| node.provisional));
    let mut read = instances();
    assert_eq!(read.list(&[by_hand("10.0.0.2", 0)], false).nodes, []);
    assert_eq!(read.garbage_count(), 1);
}

#[test]
fn what_makes_no_sense_is_passed_over_and_counted_once() {
    let mut read = instances();
    let mut garbage = passing("a");
    garbage.service.meta = Some([("rdb_json_0".to_owned(), "garbage".to_owned())].into());
    let mut stranger = passing("b");
    stranger.service.id = "c-other".to_owned();
    let list = [garbage.clone(), stranger, passing("d")];
    assert_eq!(names(&read.list(&list, false)), ["d"]);
    assert_eq!(names(&read.list(&list, true)), ["d"]);
    assert_eq!(read.garbage_count(), 2);
    garbage.service.modify_index = 5;
    read.list(&[garbage], true);
    assert_eq!(read.garbage_count(), 3, "it was written again");
}

#[test]
fn what_is_remembered_of_garbage_is_bounded() {
    let mut read = instances();
    let strange = |number: u32| Instance {
        service: Service { id: format!("x{number}"), ..Service::default() },
        ..Instance::default()
    };
    read.list(&(0..3_000).map(strange).collect::<Vec<_>>(), false);
    assert!(read.garbage.len() <= GARBAGE_MAX);
    assert_eq!(read.garbage_count(), 3_000);
}
