//! What a node remembers over a restart: who its members were and where, and which life of its own was the last. A cluster that
//! was down as a whole finds itself again by it, without seeds.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdb_net_seal::{DiskFiles, FileConfig, FileKind, FileOwner, SealedFile, StoreKey};
use rdb_net_types::{ClusterId, Incarnation, NodeAddress, NodeId, NodeState};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::State;
use crate::error::StartError;
use crate::node::Node;

const FILE: &str = "members.state";
/// Changes that come within this time are saved together.
const GATHER: Duration = Duration::from_secs(1);

const LOCKED: &str = "no code panics while it holds this lock";

/// What is saved.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    /// The generation of this node's incarnations.
    generation: u32,
    #[serde(default)]
    member: Vec<Remembered>,
}

/// A member, this node not among them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    node: NodeId,
    address: NodeAddress,
    state: NodeState,
}

/// The file, and what was in it at the start.
pub(crate) struct Memory {
    file: Arc<Mutex<SealedFile<DiskFiles>>>,
    /// The life after the last one that was saved.
    pub(crate) generation: u32,
    /// Where members were, those that were alive first.
    pub(crate) addresses: Vec<NodeAddress>,
    /// There is something to save.
    pub(crate) changed: Notify,
}

impl Memory {
    /// Loads what is there. What is damaged is passed over and told; a key that cannot be read stops the start, since what was
    /// sealed would be lost with the next save.
    pub(crate) fn load(state: &State, cluster: &ClusterId, node: &NodeId) -> Result<Option<Self>, StartError> {
        let Some(folder) = &state.path else { return Ok(None) };
        let mut file = open(state, folder, FILE, FileKind::MEMBERSHIP, FileOwner::of(cluster, node))?;
        let loaded = file.load();
        for problem in &loaded.problems {
            tracing::warn!(%problem, "what was remembered is passed over (networking.state.path)");
        }
        let snapshot = loaded.payload.and_then(|payload| read(file.path(), &payload)).unwrap_or_default();
        let is_gone = |member: &&Remembered| member.state == NodeState::Left || member.node == *node;
        let mut members: Vec<&Remembered> = snapshot.member.iter().filter(|member| !is_gone(member)).collect();
        members.sort_by_key(|member| member.state != NodeState::Alive);
        Ok(Some(Self {
            generation: snapshot.generation.saturating_add(1),
            addresses: members.into_iter().map(|member| member.address.clone()).collect(),
            file: Arc::new(Mutex::new(file)),
            changed: Notify::new(),
        }))
    }

    /// Saves whenever something has changed, until the node stops.
    pub(crate) async fn run(self: Arc<Self>, node: Arc<Node>) {
        loop {
            let (text, file) = (node.snapshot(), Arc::clone(&self.file));
            let saved = tokio::task::spawn_blocking(move || file.lock().expect(LOCKED).save(text.as_bytes())).await;
            match saved {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "what the node knows was not saved (networking.state.path)"),
                Err(error) => tracing::error!(%error, "what the node knows was not saved"),
            }
            self.changed.notified().await;
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// A file of the node's folder, which is made where it is missing, sealed where there is a key.
pub(crate) fn open(
    state: &State,
    folder: &Path,
    name: &str,
    kind: FileKind,
    owner: FileOwner,
) -> Result<SealedFile<DiskFiles>, StartError> {
    let failed = |problem: String| StartError::State { path: folder.to_owned(), problem };
    std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
    let key = match (&state.key_path, &state.key_variable) {
        (Some(path), _) => Some(StoreKey::from_file(path)),
        (None, Some(variable)) => Some(StoreKey::from_environment(variable)),
        (None, None) => None,
    };
    let key = key.transpose().map_err(|error| failed(error.to_string()))?;
    let keys = key.into_iter().collect();
    Ok(SealedFile::new(DiskFiles, folder.join(name), kind, owner, keys, FileConfig::default()))
}

fn read(path: &Path, payload: &[u8]) -> Option<Snapshot> {
    let text = std::str::from_utf8(payload).map_err(|error| error.to_string());
    let snapshot = text.and_then(|text| toml::from_str(text).map_err(|error| error.message().to_owned()));
    snapshot
        .inspect_err(|problem| tracing::warn!(path = %path.display(), problem, "what was remembered cannot be read"))
        .ok()
}

impl Node {
    fn snapshot(&self) -> String {
        let (members, own) =
            self.gossip.look(|driven, _| (driven.0.members(), driven.0.local().incarnation.generation()));
        let others = members.iter().filter(|member| member.id != self.id);
        let member = others.map(|member| Remembered {
            node: member.id.clone(),
            address: member.address.clone(),
            state: member.state,
        });
        let snapshot = Snapshot { generation: own, member: member.collect() };
        // Ids, addresses and names of states are texts that TOML can hold.
        toml::to_string(&snapshot).unwrap_or_default()
    }
}

/// The first incarnation of a life: after every one that is remembered, by whatever clock.
pub(crate) fn first_incarnation(unix_seconds: u32, memory: Option<&Memory>) -> Incarnation {
    Incarnation::first_of(memory.map_or(unix_seconds, |memory| memory.generation.max(unix_seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        let remembered = |name: &str, state| Remembered {
            node: NodeId::new(name).expect("legal"),
            address: NodeAddress::new(name, 7000).expect("legal"),
            state,
        };
        let snapshot = Snapshot {
            generation: u32::MAX,
            member: vec![remembered("b", NodeState::Alive), remembered("c", NodeState::Failed)],
        };
        let text = toml::to_string(&snapshot).expect("TOML can hold it");
        assert_eq!(read(Path::new("f"), text.as_bytes()), Some(snapshot));
        assert_eq!(read(Path::new("f"), b"generation = true"), None);
        assert_eq!(read(Path::new("f"), &[0xff]), None);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_an_older_life() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = State { path: Some(folder.path().join("new")), ..State::default() };
        let (cluster, node) = (ClusterId::new("c").expect("legal"), NodeId::new("a").expect("legal"));
        let memory = || Memory::load(&state, &cluster, &node).expect("the folder is there").expect("it remembers");
        assert_eq!(memory().generation, 1, "nothing was remembered");
        let text = toml::to_string(&Snapshot { generation: 5000, member: Vec::new() }).expect("TOML can hold it");
        memory().file.lock().expect(LOCKED).save(text.as_bytes()).expect("saved");
        assert_eq!(first_incarnation(4000, Some(&memory())).generation(), 5001);
        assert_eq!(first_incarnation(6000, Some(&memory())).generation(), 6000);
    }
}
