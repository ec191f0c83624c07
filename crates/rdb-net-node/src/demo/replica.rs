//! The demo node's replica: a log in memory, of which it tells what it was told to be committed, as it reads it back.

use std::sync::Arc;

use bytes::Bytes;
use rdb_net_patterns::replication::{Config, MemoryLog, Position, ReplicaHandle, Replication};
use rdb_net_types::NodeId;
use tokio::task::JoinSet;

use super::node::tell;
use super::protocol::Told;
use super::replication::{Acknowledged, Committed, LogOrder, LogTold, Place};

/// The demo's only log.
const LOG: u64 = 1;
/// How many entries are proposed together, and how many of those may be under way.
const TOGETHER: u64 = 100;
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

/// The replica of a node, once it was told to have one.
#[derive(Debug)]
pub(super) struct Replicas {
    replication: Replication,
    replica: Option<ReplicaHandle>,
}

impl Replicas {
    pub(super) fn new(replication: Replication) -> Self {
        Self { replication, replica: None }
    }

    /// Carries out an order; what comes of it is told.
    pub(super) fn obey(&mut self, order: LogOrder, under_way: &mut JoinSet<Told>) {
        match (order, self.replica.clone()) {
            (LogOrder::Open { members }, _) => match self.open(members, under_way) {
                Ok(()) => under_way.spawn(async { Told::Log(LogTold::Opened(true)) }),
                Err(text) => under_way.spawn(async { Told::Log(LogTold::Failed { text }) }),
            },
            (_, None) => {
                let text = "there is no replica here".to_owned();
                under_way.spawn(async { Told::Log(LogTold::Failed { text }) })
            }
            (LogOrder::Append { epoch, entries, bytes }, Some(replica)) => under_way.spawn(async move {
                let failed = append(&replica, epoch, entries, bytes).await.err();
                Told::Log(failed.map_or(LogTold::Appended { entries }, |text| LogTold::Failed { text }))
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
        let opened = self.replication.open(Config::new(LOG, members), MemoryLog::new());
        let replica = opened.map_err(|error| error.to_string())?;
        self.replica = Some(replica.clone());
        under_way.spawn(async move {
            let text =
                tell_committed(&replica).await.map_or_else(|text| text, |()| "the replica was closed".to_owned());
            Told::Log(LogTold::Failed { text })
        });
        Ok(())
    }
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

/// Leads, and appends so many entries; tells each that a quorum has, with the digest of all that was appended up to it.
async fn append(replica: &ReplicaHandle, epoch: u64, entries: u64, bytes: usize) -> Result<(), String> {
    let failed = |error: &dyn std::error::Error| error.to_string();
    let claimed = replica.lead(epoch).await.map_err(|error| failed(&error))?;
    tell(Told::Log(LogTold::Led { epoch, opened: claimed.opened.into() })).map_err(|error| error.to_string())?;
    let replica = Arc::new(replica.clone());
    let (mut last, mut under_way) = (claimed.opened, std::collections::VecDeque::new());
    let mut first = 1;
    while first <= entries || !under_way.is_empty() {
        while first <= entries && under_way.len() < UNDER_WAY {
            let values = first..(first + TOGETHER).min(entries + 1);
            first = values.end;
            let data: Vec<Bytes> = values.clone().map(|value| entry(value, bytes)).collect();
            let mut taken = Vec::with_capacity(data.len());
            for (value, data) in values.zip(&data) {
                last = last.next(epoch, data);
                taken.push(Acknowledged { at: last.into(), value });
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
