//! Documents there and back, and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn full() -> NodeInfo {
    let address = |text: &str| -> NodeAddress { text.parse().expect("legal") };
    NodeInfo {
        gossip_address: Some(address("host:7001")),
        admin_address: Some(address("host:7002")),
        incarnation: Incarnation::from_u64((7 << 32) | 3),
        boot: BootId(0xfeed),
        version: "1.4.2".to_owned(),
        protocol: ProtocolRange { min: 1, max: 4 },
        capabilities: [Capability::Read, Capability::Custom("gpu".to_owned())].into(),
        resources: Resources { cpu_millicores: Some(8_000), memory_bytes: Some(u64::MAX), disk_bytes: None },
        locality: Locality { region: "eu".to_owned(), zone: "a".to_owned(), rack: "r7".to_owned() },
        weight: Weight::new(2.5).expect("legal"),
        labels: [("disk".to_owned(), "nvme".to_owned())].into(),
        ..NodeInfo::new(NodeId::new("n1").expect("legal"), address("host:7000"))
    }
}

fn schema() -> jsonschema::Validator {
    let text = include_str!("../../../../docs/node-document.schema.json");
    let schema = serde_json::from_str(text).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
}

fn value(document: &NodeDocument) -> Value {
    serde_json::from_str(&document.to_json()).expect("a document is JSON")
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(NodeDocument::parse(text.as_bytes()).expect_err("refused").to_string(), expected);
}

#[test]
fn a_document_says_what_it_says() {
    let expected = json!({
        "schema": 1, "id": "n1", "address": "host:7000", "gossip_address": "host:7001", "admin_address": "host:7002",
        "incarnation": {"generation": 7, "counter": 3}, "boot": "000000000000feed", "version": "1.4.2",
        "protocol": {"min": 1, "max": 4}, "capabilities": ["read", "gpu"],
        "resources": {"cpu_millicores": 8000, "memory_bytes": u64::MAX},
        "locality": {"region": "eu", "zone": "a", "rack": "r7"}, "weight": 2.5, "labels": {"disk": "nvme"},
    });
    assert_eq!(value(&NodeDocument::new(&full())), expected);
}

#[test]
fn two_fields_are_enough() {
    let document = NodeDocument::parse(br#"{"id": "n1", "address": "host:7000"}"#).expect("legal");
    assert_eq!(*document.node(), NodeInfo::new(NodeId::new("n1").expect("legal"), "host:7000".parse().expect("legal")));
}

#[test]
fn what_is_refused_is_told_with_the_field() {
    refused("[]", "it is no JSON object: invalid type: sequence, expected a map at line 1 column 0");
    refused("{\"id\": ", "it is no JSON object: EOF while parsing a value at line 1 column 7");
    refused(r#"{"id": "n1"}"#, "a field is wrong: missing field `address`");
    refused(r#"{"id": "n1", "address": "h:0"}"#, "h:0 has port 0, which cannot be dialled");
    refused(r#"{"id": "n1", "address": "h:1", "gossip_address": "h:0"}"#, "h:0 has port 0, which cannot be dialled");
    refused(r#"{"schema": 2}"#, "its schema is 2, and 1 is the newest that is known here");
    refused(r#"{"id": "n1", "address": "h:1", "boot": "x"}"#, "a field is wrong: boot: up to 16 hexadecimal digits");
    refused(&" ".repeat(65_537), "it has 65537 bytes, more than 65536");
    let weight = NodeDocument::parse(br#"{"id": "n1", "address": "h:1", "weight": -1}"#).expect_err("refused");
    assert!(matches!(weight, DocumentError::Field { .. }), "{weight}");
}

#[test]
fn fields_of_others_survive_that_the_node_writes_anew() {
    let mut fields = value(&NodeDocument::new(&full()));
    fields["owner"] = json!({"team": "storage"});
    fields["locality"]["row"] = json!(12);
    fields["resources"]["gpus"] = json!(2);
    let found = NodeDocument::parse(fields.to_string().as_bytes()).expect("legal");
    assert_eq!(*found.node(), full());

    let changed = NodeInfo {
        gossip_address: None,
        labels: [("disk".to_owned(), "ssd".to_owned())].into(),
        resources: Resources { cpu_millicores: Some(4_000), ..Resources::default() },
        ..full()
    };
    let written = NodeDocument::parse(found.rewritten(&changed).to_json().as_bytes()).expect("legal");
    assert_eq!(*written.node(), changed);
    let mut expected = fields;
    expected["labels"] = json!({"disk": "ssd"});
    expected["resources"] = json!({"cpu_millicores": 4000, "gpus": 2});
    expected.as_object_mut().expect("an object").remove("gossip_address");
    assert_eq!(value(&written), expected);
}

#[test]
fn the_schema_takes_what_is_taken_here_and_refuses_what_is_refused() {
    let schema = schema();
    for document in [NodeDocument::new(&full()), NodeDocument::parse(br#"{"id":"n","address":"h:1"}"#).expect("legal")]
    {
        let errors: Vec<_> = schema.iter_errors(&value(&document)).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
    let good = value(&NodeDocument::new(&full()));
    let mut added = good.clone();
    added["owner"] = json!("somebody");
    assert!(schema.is_valid(&added), "fields of others are welcome");
    for (field, wrong) in [
        ("schema", json!(2)),
        ("id", json!("a b")),
        ("id", json!("")),
        ("address", json!("host")),
        ("address", json!("host:0")),
        ("weight", json!(-1)),
        ("weight", json!(65_537)),
        ("boot", json!("xyz")),
        ("capabilities", json!("read")),
        ("labels", json!({"a": 1})),
        ("protocol", json!({"min": 1})),
        ("incarnation", json!({"generation": -1})),
        ("locality", json!({"zone": 1})),
        ("resources", json!({"memory_bytes": "much"})),
    ] {
        let mut document = good.clone();
        document[field] = wrong.clone();
        assert!(!schema.is_valid(&document), "the schema takes {field} = {wrong}");
        let parsed = NodeDocument::parse(document.to_string().as_bytes());
        assert!(parsed.is_err(), "{field} = {wrong} is taken");
    }
}

proptest! {
    #[test]
    fn whatever_others_add_is_kept(names in proptest::collection::btree_map("[a-z]{1,8}_x", any::<i64>(), 0..8)) {
        let mut fields = value(&NodeDocument::new(&full()));
        for (name, number) in &names {
            fields[name] = json!(number);
            fields["protocol"][name] = json!(number);
        }
        let document = NodeDocument::parse(fields.to_string().as_bytes()).expect("legal");
        prop_assert_eq!(value(&document.rewritten(&full())), fields);
    }

    #[test]
    fn no_text_makes_a_panic(text in ".{0,200}") {
        let _ = NodeDocument::parse(text.as_bytes());
    }
}
