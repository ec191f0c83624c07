//! What the format takes, and where it points at what it does not.

use proptest::prelude::*;

use super::*;

use rdb_net_types::{Capability, Resources, Weight};

fn parse(text: &str) -> Result<Vec<NodeInfo>, FileError> {
    parse_nodes(Path::new("nodes.toml"), text)
}

fn parse_json(text: &str) -> Result<Vec<NodeInfo>, FileError> {
    parse_nodes(Path::new("nodes.json"), text)
}

#[track_caller]
fn refused_json(text: &str, expected: &str) {
    let error = parse_json(text).expect_err(text).to_string();
    assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(text).expect_err(text).to_string();
    assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
}

#[test]
fn seeds_and_nodes_are_read_with_all_they_tell() {
    let text = r#"
        seeds = ["node1:7000", "[2001:db8::7]:7000"]
        [[nodes]]
        id = "n3"
        address = "node3:7000"
        gossip_address = "node3:7001"
        admin_address = "node3:7002"
        version = "1.4.2"
        region = "eu-west"
        zone = "eu-west-1a"
        rack = "r7"
        weight = 2
        capabilities = ["read", "write", "ours"]
        labels = { disk = "nvme" }
        resources = { cpu_millicores = 8000 }
        [[nodes]]
        id = "n4"
        address = "node4:7000"
    "#;
    let nodes = parse(text).expect("legal");
    assert_eq!(nodes[0], NodeInfo::seed("node1:7000".parse().expect("legal")));
    assert_eq!(nodes[1].address.host(), "2001:db8::7");
    let third = NodeInfo {
        gossip_address: Some("node3:7001".parse().expect("legal")),
        admin_address: Some("node3:7002".parse().expect("legal")),
        version: "1.4.2".to_owned(),
        locality: Locality { region: "eu-west".into(), zone: "eu-west-1a".into(), rack: "r7".into() },
        weight: Weight::new(2.0).expect("legal"),
        capabilities: [Capability::Read, Capability::Write, Capability::Custom("ours".into())].into(),
        labels: [("disk".to_owned(), "nvme".to_owned())].into(),
        resources: Resources { cpu_millicores: Some(8000), ..Resources::default() },
        ..NodeInfo::new(NodeId::new("n3").expect("legal"), "node3:7000".parse().expect("legal"))
    };
    assert_eq!(nodes[2], third);
    assert_eq!(nodes[3], NodeInfo::new(NodeId::new("n4").expect("legal"), "node4:7000".parse().expect("legal")));
}

#[test]
fn no_node_must_be_said() {
    assert_eq!(parse("seeds = []"), Ok(Vec::new()));
    for text in ["", "\n\n", "# to be written\n"] {
        refused(text, "nodes.toml:1:1: there is neither `seeds` nor `nodes`");
    }
    assert_eq!(parse_json("{\"seeds\": []}"), Ok(Vec::new()));
    refused_json("{}", "nodes.json:1:1: there is neither `seeds` nor `nodes`");
    refused_json("", "nodes.json:1:1: this is no JSON: EOF while parsing a value");
}

#[test]
fn a_refusal_names_file_line_and_column() {
    refused("seeds = [\"a:1\",\n  \"b\"]", "nodes.toml:2:3: seeds[1]: an address is host:port");
    refused("seeds = [\"a:70000\"]", "nodes.toml:1:10: seeds[0]: the port of \"a:70000\"");
    refused("seeds = [\"a:0\"]", "nodes.toml:1:10: a:0 has port 0");
    refused("seeds = [\"a:1\", \"b:1\",\n\"a:1\"]", "nodes.toml:2:1: the address a:1 stands at 1:10 already");
    refused("seeds = [\"a:1\"", "nodes.toml:1:15: this is no TOML: ");
    refused("seeds:\n  - a:1\n", "nodes.toml:1:7: this is no TOML: ");
    refused("seed = [\"a:1\"]", "nodes.toml:1:1: seed: there is no such key; did you mean seeds?");
    refused("seeds = 7", "nodes.toml:1:9: seeds: invalid type");
    let nodes = |second: &str| format!("[[nodes]]\nid = \"a\"\naddress = \"a:1\"\n\n[[nodes]]\n{second}");
    refused(&nodes("id = \"a\"\naddress = \"b:1\""), "nodes.toml:6:6: the id a stands at 2:6 already");
    refused(&nodes("id = \"b\"\naddress = \"a:1\""), "nodes.toml:7:11: the address a:1 stands at 3:11 already");
    refused(&nodes("id = \"b c\"\naddress = \"b:1\""), "nodes.toml:6:6: nodes[1].id: an id is made of letters");
    refused(
        &nodes("id = \"b\"\naddress = \"b:1\"\nzone = \"z\"\nzome = \"z\""),
        "nodes.toml:9:1: nodes[1].zome: there is no such key; did you mean zone?",
    );
    refused(
        &nodes("id = \"b\"\naddress = \"b:1\"\nweight = -1"),
        "nodes.toml:8:10: nodes[1].weight: a weight is a finite number",
    );
    refused(&nodes("id = \"b\"\naddress = \"b:1\"\ngossip_address = \"b:0\""), "nodes.toml:8:18: b:0 has port 0");
    refused(&nodes("id = \"b\""), "nodes.toml:5:1: nodes[1]: missing field `address`");
    refused(&nodes("address = \"b:1\""), "nodes.toml:5:1: nodes[1]: missing field `id`");
}

#[test]
fn a_key_that_is_unknown_is_told_the_nearest_or_all_that_there_are() {
    refused("[[node]]\nid = 'a'", "nodes.toml:1:3: node: there is no such key; did you mean nodes?");
    refused("peers = ['a:1']", "nodes.toml:1:1: peers: there is no such key; a file has seeds, nodes");
    let node = |line: &str| format!("[[nodes]]\nid = \"a\"\naddress = \"a:1\"\n{line}\n");
    refused(&node("adress = 'a:2'"), "nodes.toml:4:1: nodes[0].adress: there is no such key; did you mean address?");
    refused(
        &node("gossip = 'a:2'"),
        "nodes.toml:4:1: nodes[0].gossip: there is no such key; did you mean gossip_address?",
    );
    refused(
        &node("port = 1"),
        "nodes.toml:4:1: nodes[0].port: there is no such key; a node has id, address, gossip_address,",
    );
    refused(
        &node("resources = { cpu_milicores = 1 }"),
        "nodes.toml:4:15: nodes[0].resources.cpu_milicores: there is no such key; did you mean cpu_millicores?",
    );
    let json = r#"{"nodes": [{"id": "a", "address": "a:1", "resources": {"cores": 1}}]}"#;
    let told =
        "nodes[0].resources.cores: there is no such key; resources have cpu_millicores, memory_bytes, disk_bytes";
    assert!(parse_json(json).expect_err("refused").to_string().ends_with(told));
    assert!(parse(&node("labels = { adress = 'x', any = 'y' }")).is_ok(), "a label may have any name");
    refused(&node("labels = { adress = 1 }"), "nodes.toml:4:21: nodes[0].labels.adress: invalid type");
}

/// The same nodes, the same refusals, the same places.
#[test]
fn json_is_another_syntax_of_the_same_format() {
    let json = r#"{
        "seeds": ["node1:7000"],
        "nodes": [{
            "id": "n3", "address": "node3:7000", "gossip_address": "node3:7001", "version": "1.4.2", "region": "eu-west",
            "weight": 2, "capabilities": ["read", "ours"], "labels": {"disk": "nvme"}, "resources": {"cpu_millicores": 8000}
        }]
    }"#;
    let toml = r#"
        seeds = ["node1:7000"]
        nodes = [{ id = "n3", address = "node3:7000", gossip_address = "node3:7001", version = "1.4.2", region = "eu-west",
            weight = 2, capabilities = ["read", "ours"], labels = { disk = "nvme" }, resources = { cpu_millicores = 8000 } }]
    "#;
    assert_eq!(parse_json(json), parse(toml));
    assert_eq!(parse_json(json).expect("legal").len(), 2);

    refused_json("{\"seeds\": [\"a:1\",\n  \"b\"]}", "nodes.json:2:3: seeds[1]: an address is host:port");
    refused_json("{\"seeds\": [\"a:0\"]}", "nodes.json:1:12: a:0 has port 0");
    refused_json("{\"seeds\": [\"a:1\",\n\"a:1\"]}", "nodes.json:2:1: the address a:1 stands at 1:12 already");
    refused_json("{\"seeds\": [7]}", "nodes.json:1:12: seeds[0]: invalid type: integer `7`, expected a string");
    refused_json("{\"seed\": []}", "nodes.json:1:7: seed: there is no such key; did you mean seeds?");
    refused_json("{\"seeds\": [\"a:1\"", "nodes.json:1:");
    refused_json("{\"seeds\": []} {}", "nodes.json:1:15: this is no JSON: trailing characters");
    let nodes = |second: &str| format!("{{\"nodes\": [\n{{\"id\": \"a\", \"address\": \"a:1\"}},\n{second}]}}");
    refused_json(&nodes(r#"{"id": "a", "address": "b:1"}"#), "nodes.json:3:8: the id a stands at 2:8 already");
    refused_json(&nodes(r#"{"id": "b", "address": "a:1"}"#), "nodes.json:3:24: the address a:1 stands at 2:24 already");
    refused_json(&nodes(r#"{"id": "b c", "address": "b:1"}"#), "nodes.json:3:8: nodes[1].id: an id is made of letters");
    let zome = nodes("{\"id\": \"b\", \"address\": \"b:1\",\n \"zome\": \"z\"}");
    refused_json(&zome, "nodes.json:4:7: nodes[1].zome: there is no such key; did you mean zone?");
    let weight = nodes("{\"id\": \"b\", \"address\": \"b:1\",\n \"weight\": -1}");
    refused_json(&weight, "nodes.json:4:14: nodes[1].weight: a weight is a finite number");
    let port = nodes(r#"{"id": "b", "address": "b:1", "gossip_address": "b:0"}"#);
    refused_json(&port, "nodes.json:3:49: b:0 has port 0");
    refused_json(&nodes(r#"{"id": "b"}"#), "nodes.json:3:11: nodes[1]: missing field `address`");
    refused_json(&nodes(r#"{"id": "b", "id": "c"}"#), "nodes.json:3:16: nodes[1]: duplicate field `id`");
}

#[test]
fn a_seed_and_a_node_at_one_address_are_a_contradiction() {
    let text = "seeds = [\"a:1\"]\n[[nodes]]\nid = \"a\"\naddress = \"a:1\"";
    refused(text, "nodes.toml:4:11: the address a:1 stands at 1:10 already");
}

#[test]
fn columns_count_characters() {
    refused(
        "nodes = [{ labels = { k = 'äöü' }, id = 'n', address = 'x' }]",
        "nodes.toml:1:56: nodes[0].address: an address is host:port",
    );
    assert_eq!(position("ä", 1), Position { line: 1, column: 1 });
    assert_eq!(position("ä\n", 99), Position { line: 2, column: 1 });
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = (parse(&text), parse_json(&text));
    }

    #[test]
    fn a_cut_file_is_refused_or_names_fewer_nodes(cut in 0usize..200) {
        let text = "seeds = [\"a:1\"]\n[[nodes]]\nid = \"n\"\naddress = \"b:12\"\n[[nodes]]\nid = \"m\"\naddress = \"c:1\"\n";
        let cut = cut.min(text.len());
        if let Ok(nodes) = parse(&text[..cut]) {
            prop_assert!(nodes.len() <= parse(text).expect("legal").len());
        }
    }
}
