//! The demo node's replica: a log in a file, of which it tells what it was told to be committed, as it reads it back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rdb_net_patterns::replication::{Config, LeadFailed, Position, RecordedLog, ReplicaHandle, Replication};
use rdb_net_patterns::storage::FileLog;
use rdb_net_types::NodeId;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::node::tell;
use super::protocol::Told;
use super::replication::{Acknowledged, Committed, LogOrder, LogTold, Place};

/// The demo's only log.
const LOG: u64 = 1;
/// How many entries are proposed together, and how many of those may be under way.
const TOGETHER: u64 = 20;
const UNDER_WAY: usize = 16;
/// How many bytes are read back at once.
const READ_BYTES: usize = 256 * 1024;

/// An entry of the demo: its number, and as many bytes as it shall have.
fn entry(value: u64, bytes: usize) -> Bytes {
    let mut data = value.to_be_bytes().to_vec();
    data.resize(bytes.max(8), value as u8);
    data.into()
}

/// The number of an entry; none for one that opens an epoch.
fn value(data: &[u8]) -> Option<u64> {
    data.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Where a leader's log ends, by what it has appended itself, and which entry comes next.
#[derive(Debug, Clone, Copy)]
struct Pen {
    last: Position,
    next: u64,
}

/// The replica of a node, once it was told to have one.
#[derive(Debug)]
pub(super) struct Replicas {
    replication: Replication,
    file: PathBuf,
    replica: Option<ReplicaHandle>,
    /// Where the node leads.
    pen: Arc<Mutex<Option<Pen>>>,
}

impl Replicas {
    /// A replica's log lies beside the node's configuration.
    pub(super) fn new(replication: Replication, config: &Path) -> Self {
        Self { replication, file: file(config), replica: None, pen: Arc::default() }
    }

    /// Carries out an order; what comes of it is told.
    pub(super) fn obey(&mut self, order: LogOrder, under_way: &mut JoinSet<Told>) {
        let pen = Arc::clone(&self.pen);
        match (order, self.replica.clone()) {
            (LogOrder::Open { members }, _) => match self.open(members, under_way) {
                Ok(()) => return,
                Err(text) => under_way.spawn(async { Told::Log(LogTold::Failed { text }) }),
            },
            (_, None) => {
                let text = "there is no replica here".to_owned();
                under_way.spawn(async { Told::Log(LogTold::Failed { text }) })
            }
            (LogOrder::Lead { epoch }, Some(replica)) => under_way.spawn(async move {
                let led = lead(&replica, epoch, &mut *pen.lock().await).await;
                Told::Log(led.unwrap_or_else(|text| LogTold::Failed { text }))
            }),
            (LogOrder::Append { until, bytes }, Some(replica)) => under_way.spawn(async move {
                let failed = append(&replica, until, bytes, pen.lock().await.as_mut()).await.err();
                Told::Log(failed.map_or(LogTold::Appended { until }, |text| LogTold::Failed { text }))
            }),
            (LogOrder::Status(_), Some(replica)) => under_way.spawn(async move {
                let status = replica.status().await.map(|status| (Place::from(status.last), status.committed));
                Told::Log(status.map_or_else(
                    || LogTold::Failed { text: "the replica is closed".to_owned() },
                    |(last, committed)| LogTold::Status { last, committed },
                ))
            }),
        };
    }

    fn open(&mut self, members: Vec<NodeId>, under_way: &mut JoinSet<Told>) -> Result<(), String> {
        let log = RecordedLog::open(|visit| FileLog::open(&self.file, visit)).map_err(|error| error.to_string())?;
        let replica = self.replication.open(Config::new(LOG, members), log).map_err(|error| error.to_string())?;
        // Before anything is told of its entries.
        tell(Told::Log(LogTold::Opened(true))).map_err(|error| error.to_string())?;
        self.replica = Some(replica.clone());
        under_way.spawn(async move {
            let text =
                tell_committed(&replica).await.map_or_else(|text| text, |()| "the replica was closed".to_owned());
            Told::Log(LogTold::Failed { text })
        });
        Ok(())
    }
}

/// Where the replica's log of a node lies.
pub(super) fn file(config: &Path) -> PathBuf {
    config.with_extension("replica")
}

/// Tells each entry that is committed, with the digest of all that was read up to it.
async fn tell_committed(replica: &ReplicaHandle) -> Result<(), String> {
    let (mut committed, mut last) = (replica.committed(), Position::START);
    while committed.wait_for(|index| *index > last.index).await.is_ok() {
        let index = *committed.borrow_and_update();
        while last.index < index {
            let read = replica.read(last.index + 1, READ_BYTES).await.ok_or("the replica was closed")?;
            let read = read.map_err(|error| error.to_string())?;
            let mut entries = Vec::with_capacity(read.len());
            for entry in read.into_iter().filter(|entry| entry.index <= index) {
                last = last.next(entry.epoch, &entry.data);
                entries.push(Committed { at: last.into(), value: value(&entry.data) });
            }
            tell(Told::Log(LogTold::Committed { entries })).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Leads, and looks into the log for which entry comes next: what a former leader has written there is not appended again.
async fn lead(replica: &ReplicaHandle, epoch: u64, pen: &mut Option<Pen>) -> Result<LogTold, String> {
    let claimed = match replica.lead(epoch).await {
        Ok(claimed) => claimed,
        Err(LeadFailed::NotLeading(_)) => return Ok(LogTold::NotLed { epoch }),
        Err(error) => return Err(error.to_string()),
    };
    let (opened, mut index, mut next) = (claimed.opened, claimed.opened.index, 1);
    while index > 1 {
        index -= 1;
        let read = replica.read(index, 1).await.ok_or("the replica was closed")?.map_err(|error| error.to_string())?;
        if let Some(value) = read.first().and_then(|entry| value(&entry.data)) {
            next = value + 1;
            break;
        }
    }
    *pen = Some(Pen { last: opened, next });
    Ok(LogTold::Led { epoch, opened: opened.into(), next })
}

/// Appends entries up to this number; tells each that a quorum has, with the digest of all that was appended up to it.
async fn append(replica: &ReplicaHandle, until: u64, bytes: usize, pen: Option<&mut Pen>) -> Result<(), String> {
    let failed = |error: &dyn std::error::Error| error.to_string();
    let Pen { last, next } = pen.ok_or("this node does not lead")?;
    let mut under_way = std::collections::VecDeque::new();
    while *next <= until || !under_way.is_empty() {
        while *next <= until && under_way.len() < UNDER_WAY {
            let values = *next..(*next + TOGETHER).min(until + 1);
            *next = values.end;
            let data: Vec<Bytes> = values.clone().map(|value| entry(value, bytes)).collect();
            let mut taken = Vec::with_capacity(data.len());
            for (value, data) in values.zip(&data) {
                *last = last.next(last.epoch, data);
                taken.push(Acknowledged { at: (*last).into(), value });
            }
            let proposal = replica.propose(data).await.map_err(|error| failed(&error))?;
            under_way.push_back((proposal, taken));
        }
        if let Some((proposal, entries)) = under_way.pop_front() {
            proposal.committed().await.map_err(|error| failed(&error))?;
            tell(Told::Log(LogTold::Acknowledged { entries })).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
