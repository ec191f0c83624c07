//! The members as they were last known, in a file: each with its incarnation and what it said of itself, as membership writes it.
//!
//! ```text
//! when it was known that somebody of them was there, in seconds of Unix time, u64 | a snapshot of the members
//! ```

use std::path::Path;
use std::time::{Duration, SystemTime};

use rdb_net_seal::{DiskFiles, FileKind, FileOwner, SaveError, SealedFile};
use rdb_net_types::{ClusterId, NodeId, NodeState};
use rdb_swim::Snapshot;

use crate::config::State;
use crate::error::StartError;

const FILE: &str = "view.state";

/// The file.
pub(super) struct View {
    file: SealedFile<DiskFiles>,
    cluster: ClusterId,
    /// When anybody else was last there, by this file.
    seen: Option<Duration>,
}

/// What was in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    seen: Duration,
    pub(super) snapshot: Snapshot,
}

impl Known {
    /// Whether anybody was there within this time, by a clock that need not be the one of today: what is from a later time than that is as
    /// doubtful as what is older.
    pub(super) fn is_fresh(&self, now: SystemTime, age_max: Duration) -> bool {
        let age = self.seen.abs_diff(unix_time(now));
        let is_fresh = age <= age_max;
        if !is_fresh {
            tracing::warn!(
                members = self.snapshot.members.len(),
                age_s = age.as_secs(),
                "the members that were remembered are too old and are passed over, and only their addresses are called on \
                 (networking.gossip.tombstone_age_ms)"
            );
        }
        is_fresh
    }
}

impl View {
    pub(super) fn open(state: &State, folder: &Path, cluster: &ClusterId, node: &NodeId) -> Result<Self, StartError> {
        let file = super::open(state, folder, FILE, FileKind::VIEW, FileOwner::of(cluster, node))?;
        Ok(Self { file, cluster: cluster.clone(), seen: None })
    }

    /// What is there. What is damaged is passed over and told.
    pub(super) fn load(&mut self) -> Option<Known> {
        let loaded = self.file.load();
        for problem in &loaded.problems {
            tracing::warn!(%problem, "the members that were remembered are passed over (networking.state.path)");
        }
        let payload = loaded.payload?;
        let (seen, snapshot) = payload.split_first_chunk::<8>()?;
        let seen = Duration::from_secs(u64::from_be_bytes(*seen));
        self.seen = Some(seen);
        let snapshot = Snapshot::decode(snapshot, &self.cluster).inspect_err(|problem| {
            let path = self.file.path().display();
            tracing::warn!(%path, %problem, "the members that were remembered cannot be read");
        });
        Some(Known { seen, snapshot: snapshot.ok()? })
    }

    /// A node that is alone writes what it knows, and that is as old as ever: whom the others drop meanwhile it cannot know.
    pub(super) fn save(&mut self, now: SystemTime, snapshot: &Snapshot) -> Result<(), SaveError> {
        let is_alone = snapshot.members.iter().all(|member| member.state == NodeState::Failed);
        let seen = self.seen.filter(|_| is_alone).unwrap_or_else(|| unix_time(now));
        self.seen = Some(seen);
        self.file.save(&[&seen.as_secs().to_be_bytes(), &snapshot.encode(&self.cluster)[..]].concat())
    }
}

fn unix_time(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
