//! A node as the meta data of a service instance, and back: pure.
//!
//! Consul keeps at most 64 pairs, whose values have at most 512 bytes. The document of a node is therefore cut into as many values
//! as it needs, `rdb_json_0` and on. Beside them stand a few facts by themselves, for people and for the filters of other tools;
//! nobody here reads those where there is a document.

use std::collections::BTreeMap;

use rdb_discovery::{DocumentError, NodeDocument};
use rdb_net_types::NodeInfo;

/// Pairs that Consul keeps of one instance.
const PAIRS_MAX: usize = 64;
/// Bytes of one value.
const VALUE_BYTES_MAX: usize = 512;

const CHUNK: &str = "rdb_json_";

/// A node that does not fit. Whoever configured its labels must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node's document has {bytes} bytes, and Consul keeps {limit} at most: it has too many or too long labels")]
pub(crate) struct TooLong {
    bytes: usize,
    limit: usize,
}

/// The pairs of this document.
pub(crate) fn write(document: &NodeDocument) -> Result<BTreeMap<String, String>, TooLong> {
    let mut pairs = facts(document.node());
    let text = document.to_json();
    let room = PAIRS_MAX - pairs.len();
    let chunks = cut(&text);
    if chunks.len() > room {
        return Err(TooLong { bytes: text.len(), limit: room * VALUE_BYTES_MAX });
    }
    for (place, chunk) in chunks.into_iter().enumerate() {
        pairs.insert(format!("{CHUNK}{place}"), chunk.to_owned());
    }
    Ok(pairs)
}

/// The document in these pairs; none where there is not even a beginning of one.
pub(crate) fn read(pairs: &BTreeMap<String, String>) -> Option<Result<NodeDocument, DocumentError>> {
    let chunks = (0..PAIRS_MAX).map_while(|place| pairs.get(&format!("{CHUNK}{place}")));
    let text: String = chunks.map(String::as_str).collect();
    (!text.is_empty()).then(|| NodeDocument::parse(text.as_bytes()))
}

/// What is of use without the document. Texts that are too long for a value are left out.
fn facts(node: &NodeInfo) -> BTreeMap<String, String> {
    let all = [
        ("rdb_id", node.id.to_string()),
        ("rdb_boot", node.boot.to_string()),
        ("rdb_version", node.version.clone()),
        ("rdb_region", node.locality.region.clone()),
        ("rdb_zone", node.locality.zone.clone()),
        ("rdb_rack", node.locality.rack.clone()),
        ("rdb_weight", node.weight.value().to_string()),
    ];
    let fits = |text: &str| !text.is_empty() && text.len() <= VALUE_BYTES_MAX;
    all.into_iter().filter(|(_, text)| fits(text)).map(|(name, text)| (name.to_owned(), text)).collect()
}

/// The text in pieces of which each fits, none of which ends inside a character.
fn cut(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let end = (0..=VALUE_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let (piece, rest) = text.split_at(end.unwrap_or(text.len()));
        pieces.push(piece);
        text = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use rdb_net_types::NodeId;

    use super::*;

    fn node(label_bytes: usize) -> NodeInfo {
        let labels = [("name".to_owned(), "ä".repeat(label_bytes / 2))].into();
        let address = "h:1".parse().expect("legal");
        NodeInfo { labels, ..NodeInfo::new(NodeId::new("n1").expect("legal"), address) }
    }

    #[test]
    fn what_is_written_is_read_again_whatever_its_length() {
        for bytes in (0..5_000).step_by(37) {
            let document = NodeDocument::new(&node(bytes));
            let pairs = write(&document).expect("it fits");
            assert!(pairs.len() <= PAIRS_MAX);
            assert!(pairs.values().all(|value| value.len() <= VALUE_BYTES_MAX));
            assert!(
                pairs.keys().all(|key| key
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit()))
            );
            assert_eq!(read(&pairs), Some(Ok(document)));
        }
    }

    #[test]
    fn fields_that_others_have_added_are_kept() {
        let text = br#"{"id":"n1","address":"h:1","owner":"team a"}"#;
        let document = NodeDocument::parse(text).expect("a document").rewritten(&node(10));
        let pairs = write(&document).expect("it fits");
        assert!(read(&pairs).expect("there").expect("read").to_json().contains("team a"));
    }

    #[test]
    fn a_node_that_does_not_fit_says_by_how_much() {
        let error = write(&NodeDocument::new(&node(40_000))).expect_err("too long").to_string();
        assert!(error.ends_with("it has too many or too long labels"), "{error}");
    }

    #[test]
    fn a_beginning_without_its_end_is_no_document() {
        let mut pairs = write(&NodeDocument::new(&node(2_000))).expect("it fits");
        pairs.remove("rdb_json_1");
        assert!(matches!(read(&pairs), Some(Err(_))));
        assert_eq!(read(&BTreeMap::new()), None);
    }
}
