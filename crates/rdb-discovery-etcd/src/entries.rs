//! From keys and values to nodes, and back: pure.

use std::collections::BTreeMap;

use rdb_discovery::{Delta, NodeDocument, NodeKey, RemovalReason};
use rdb_net_types::{NodeId, NodeInfo};

/// Values that make no sense, of which one is remembered each so that it is told once.
const GARBAGE_MAX: usize = 1_024;

/// One key with its value, as etcd has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) mod_revision: i64,
}

/// What the entries below one prefix stand for.
#[derive(Debug)]
pub(crate) struct Entries {
    prefix: String,
    /// Keys whose values make no sense, with the revision at which that was told.
    garbage: BTreeMap<Vec<u8>, i64>,
    /// Values that made no sense, since the start.
    garbage_count: u64,
}

impl Entries {
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix, garbage: BTreeMap::new(), garbage_count: 0 }
    }

    /// Values that made no sense, since the start.
    pub(crate) fn garbage_count(&self) -> u64 {
        self.garbage_count
    }

    /// The nodes of a whole list.
    pub(crate) fn list<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) -> Vec<NodeInfo> {
        entries.filter_map(|entry| self.node(entry)).collect()
    }

    /// What a written key means. A value without sense stands for no node.
    pub(crate) fn put(&mut self, entry: Entry<'_>) -> Option<Delta> {
        match self.node(entry) {
            Some(node) => Some(Delta::Put(node.into())),
            None => self.remove(entry.key, RemovalReason::Absent),
        }
    }

    /// What a deleted key means.
    pub(crate) fn remove(&mut self, key: &[u8], why: RemovalReason) -> Option<Delta> {
        self.id(key).map(|id| Delta::Remove { key: NodeKey::Id(id), why })
    }

    fn id(&self, key: &[u8]) -> Option<NodeId> {
        let name = key.strip_prefix(self.prefix.as_bytes())?;
        NodeId::new(std::str::from_utf8(name).ok()?).ok()
    }

    fn node(&mut self, entry: Entry<'_>) -> Option<NodeInfo> {
        let problem = match (self.id(entry.key), NodeDocument::parse(entry.value)) {
            (None, _) => String::from("the key does not end in a node id"),
            (_, Err(error)) => error.to_string(),
            (Some(id), Ok(document)) if document.node().id != id => {
                format!("the document is of {}, not of {id}", document.node().id)
            }
            (_, Ok(document)) => {
                self.garbage.remove(entry.key);
                return Some(document.into_node());
            }
        };
        if self.garbage.get(entry.key) != Some(&entry.mod_revision) {
            self.garbage_count += 1;
            let key = String::from_utf8_lossy(entry.key);
            tracing::warn!(%key, problem, "a value in etcd is passed over");
            if self.garbage.len() >= GARBAGE_MAX {
                self.garbage.pop_first();
            }
            self.garbage.insert(entry.key.to_vec(), entry.mod_revision);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(key: &'a str, value: &'a str, mod_revision: i64) -> Entry<'a> {
        Entry { key: key.as_bytes(), value: value.as_bytes(), mod_revision }
    }

    fn names(nodes: &[NodeInfo]) -> Vec<&str> {
        nodes.iter().map(|node| node.id.as_str()).collect()
    }

    #[test]
    fn what_makes_no_sense_is_passed_over_and_counted_once() {
        let mut entries = Entries::new("/r/c/nodes/".to_owned());
        let list = [
            entry("/r/c/nodes/a", r#"{"id":"a","address":"h:1"}"#, 1),
            entry("/r/c/nodes/b", "garbage", 2),
            entry("/r/c/nodes/c", r#"{"id":"other","address":"h:1"}"#, 3),
            entry("/r/c/nodes/d/e", r#"{"id":"d","address":"h:1"}"#, 4),
            entry("/r/c/nodes/f", "\u{0}", 5),
        ];
        assert_eq!(names(&entries.list(list.into_iter())), ["a"]);
        assert_eq!(names(&entries.list(list.into_iter())), ["a"]);
        assert_eq!(entries.garbage_count(), 4, "not again for the same revision");
        entries.put(entry("/r/c/nodes/b", "other garbage", 6));
        assert_eq!(entries.garbage_count(), 5);
        let put = entries.put(entry("/r/c/nodes/b", r#"{"id":"b","address":"h:2"}"#, 7));
        assert!(matches!(put, Some(Delta::Put(node)) if node.id.as_str() == "b"));
    }

    #[test]
    fn a_node_whose_value_becomes_garbage_is_absent() {
        let mut entries = Entries::new("/r/c/nodes/".to_owned());
        let key = NodeKey::Id(NodeId::new("a").expect("legal"));
        let expected = Delta::Remove { key, why: RemovalReason::Absent };
        assert_eq!(entries.put(entry("/r/c/nodes/a", "garbage", 1)), Some(expected));
        assert_eq!(entries.put(entry("/elsewhere/a", "garbage", 1)), None);
        assert_eq!(entries.remove(b"/r/c/nodes/", RemovalReason::Expired), None);
    }

    #[test]
    fn what_is_remembered_of_garbage_is_bounded() {
        let mut entries = Entries::new("/".to_owned());
        for number in 0..3_000 {
            entries.put(entry(&format!("/n{number}"), "", number));
        }
        assert!(entries.garbage.len() <= GARBAGE_MAX);
        assert_eq!(entries.garbage_count(), 3_000);
    }
}
