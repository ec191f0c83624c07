//! What a node remembers over a restart: who its members were and where, and which life of its own was the last. A cluster that
//! was down as a whole finds itself again by it, without seeds.
//!
//! That is two files. The first has the addresses, as every release has written it. The second has the members with all that they have
//! said of themselves, so that who restarts within a partition still knows of the other side.

mod view;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rdb_net_engine::Engine;
use rdb_net_seal::{DiskFiles, FileConfig, FileKind, FileOwner, SealedFile, StoreKey};
use rdb_net_types::{ClusterId, Incarnation, NodeAddress, NodeId, NodeState};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::State;
use crate::error::StartError;
use crate::memory::view::View;
use crate::node::Node;

const FILE: &str = "members.state";
/// Changes that come within this time are saved together.
const GATHER: Duration = Duration::from_secs(1);
/// How often what has not changed is saved within the time that a tombstone stands.
const REFRESHES: u32 = 24;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    node: NodeId,
    address: NodeAddress,
    state: NodeState,
}

impl Snapshot {
    /// The members as they are, and beside them those of the former life of whom this one knows nothing, until one of its own has been
    /// there: who restarts once more before anybody has answered would otherwise have nobody left to call. From then on the cluster's word
    /// counts, also of whom it has dropped, and there are no former ones any more.
    fn of(generation: u32, mut member: Vec<Remembered>, former: &mut Vec<Remembered>) -> Self {
        if member.iter().any(|member| member.state.is_routable()) {
            former.clear();
        }
        let known: HashSet<NodeId> = member.iter().map(|member| member.node.clone()).collect();
        member.extend(former.iter().filter(|former| !known.contains(&former.node)).cloned());
        Self { generation, member }
    }
}

/// The files, and what was in them at the start.
pub(crate) struct Memory {
    file: Arc<Mutex<SealedFile<DiskFiles>>>,
    view: Arc<Mutex<View>>,
    /// The members of the former life, until the engine has them.
    members: Mutex<Option<rdb_swim::Snapshot>>,
    /// Saved this often although nothing has changed: a file says by its age for how long its node was away.
    refresh: Duration,
    /// The life after the last one that was saved.
    pub(crate) generation: u32,
    /// The members of the file of addresses, those that were alive first.
    former: Vec<Remembered>,
    /// There is something to save.
    pub(crate) changed: Notify,
}

impl Memory {
    /// Loads what is there. What is damaged is passed over and told; a key that cannot be read stops the start, since what was
    /// sealed would be lost with the next save.
    ///
    /// Who was away for longer than a dropped member's tombstone stands may remember one that nobody else does, and would bring it
    /// back: it has addresses alone.
    pub(crate) fn load(
        state: &State,
        cluster: &ClusterId,
        node: &NodeId,
        tombstone_age: Duration,
    ) -> Result<Option<Self>, StartError> {
        let Some(folder) = &state.path else { return Ok(None) };
        let mut file = open(state, folder, FILE, FileKind::MEMBERSHIP, FileOwner::of(cluster, node))?;
        let loaded = file.load();
        for problem in &loaded.problems {
            tracing::warn!(%problem, "what was remembered is passed over (networking.state.path)");
        }
        let snapshot = loaded.payload.and_then(|payload| read(file.path(), &payload)).unwrap_or_default();
        let mut former = snapshot.member;
        former.retain(|member| member.state != NodeState::Left && member.node != *node);
        former.sort_by_key(|member| member.state != NodeState::Alive);
        let mut view = View::open(state, folder, cluster, node)?;
        let known = view.load();
        let generation = known.as_ref().map_or(0, |known| known.snapshot.incarnation.generation());
        let is_fresh = |known: &view::Known| known.is_fresh(SystemTime::now(), tombstone_age);
        Ok(Some(Self {
            generation: snapshot.generation.max(generation).saturating_add(1),
            former,
            file: Arc::new(Mutex::new(file)),
            view: Arc::new(Mutex::new(view)),
            members: Mutex::new(known.filter(is_fresh).map(|known| known.snapshot)),
            refresh: (tombstone_age / REFRESHES).max(GATHER),
            changed: Notify::new(),
        }))
    }

    /// Where members were, those that were alive first.
    pub(crate) fn addresses(&self) -> impl ExactSizeIterator<Item = NodeAddress> {
        self.former.iter().map(|member| member.address.clone())
    }

    /// Gives the engine the members of the former life, before it begins.
    pub(crate) fn remind(&self, engine: &mut Engine, now: Duration) {
        if let Some(members) = self.members.lock().expect(LOCKED).take() {
            engine.recall(now, members);
        }
    }

    /// Saves whenever something has changed, until the node stops.
    pub(crate) async fn run(self: Arc<Self>, node: Arc<Node>) {
        let mut former = self.former.clone();
        loop {
            let (text, members) = node.snapshot(&mut former);
            let (file, view) = (Arc::clone(&self.file), Arc::clone(&self.view));
            let saved = tokio::task::spawn_blocking(move || {
                let addresses = file.lock().expect(LOCKED).save(text.as_bytes());
                // The one is of use without the other.
                addresses.and(view.lock().expect(LOCKED).save(SystemTime::now(), &members))
            });
            match saved.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "what the node knows was not saved (networking.state.path)"),
                Err(error) => tracing::error!(%error, "what the node knows was not saved"),
            }
            // Either way it is time to save.
            let _changed_or_old = tokio::time::timeout(self.refresh, self.changed.notified()).await;
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
    /// What the two files are to hold, where the former life knew these members.
    fn snapshot(&self, former: &mut Vec<Remembered>) -> (String, rdb_swim::Snapshot) {
        let (members, view) = self.gossip.look(|driven, _| (driven.0.members(), driven.0.membership().snapshot()));
        let others = members.iter().filter(|member| member.id != self.id);
        let member = others.map(|member| Remembered {
            node: member.id.clone(),
            address: member.address.clone(),
            state: member.state,
        });
        let snapshot = Snapshot::of(view.incarnation.generation(), member.collect(), former);
        // Ids, addresses and names of states are texts that TOML can hold.
        (toml::to_string(&snapshot).unwrap_or_default(), view)
    }
}

/// The first incarnation of a life: after every one that is remembered, by whatever clock.
pub(crate) fn first_incarnation(unix_seconds: u32, memory: Option<&Memory>) -> Incarnation {
    let generation = memory.map_or(unix_seconds, |memory| memory.generation.max(unix_seconds));
    // Beyond it nobody takes what this node says. Where a former life had the last one, others tell, and this one goes above it.
    Incarnation::first_of(generation.min(rdb_swim::GENERATION_MAX))
}

#[cfg(test)]
mod tests;
