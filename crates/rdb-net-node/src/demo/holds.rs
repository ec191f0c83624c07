//! What a node of the demo holds back on order, so that a kill finds transactions in doubt every time and not by luck.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rdb_net_patterns::storage::{FileLog, Log, LogError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How long the log waits at most, should nobody let it go on: a node has to come to its end.
const DISK_HELD_MAX: Duration = Duration::from_secs(10);

const LOCKED: &str = "no code panics while it holds this lock";

/// What is held back from now on, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HoldOrder {
    /// The votes of this node's resource: whoever else has voted waits for the decision.
    Votes(bool),
    /// The syncs of this node's log: it acknowledges no commit.
    Disk(bool),
}

/// What is held back now.
#[derive(Debug, Default)]
pub(super) struct Holds {
    votes: watch::Sender<bool>,
    is_disk_held: Mutex<bool>,
    changed: Condvar,
}

impl Holds {
    pub(super) fn obey(&self, order: HoldOrder) {
        match order {
            HoldOrder::Votes(held) => {
                self.votes.send_replace(held);
            }
            HoldOrder::Disk(held) => {
                *self.is_disk_held.lock().expect(LOCKED) = held;
                self.changed.notify_all();
            }
        }
    }

    /// Waits until votes may be given.
    pub(super) async fn vote(&self) {
        let mut held = self.votes.subscribe();
        // It fails only where the sender is gone, and that is borrowed here.
        let _may = held.wait_for(|held| !held).await;
    }

    /// Waits until the log may be synced. The log has a thread of its own.
    fn sync(&self) {
        let held = self.is_disk_held.lock().expect(LOCKED);
        let _may = self.changed.wait_timeout_while(held, DISK_HELD_MAX, |held| *held).expect(LOCKED);
    }
}

/// A log whose syncs may be held back.
#[derive(Debug)]
pub(super) struct HeldLog {
    pub(super) log: FileLog,
    pub(super) holds: Arc<Holds>,
}

impl Log for HeldLog {
    fn append(&mut self, record: &[u8]) -> Result<(), LogError> {
        self.log.append(record)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.holds.sync();
        self.log.sync()
    }

    fn replace(&mut self, records: &mut dyn Iterator<Item = Bytes>) -> Result<(), LogError> {
        self.log.replace(records)
    }

    fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }
}
