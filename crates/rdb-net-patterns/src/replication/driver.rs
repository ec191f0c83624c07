//! Replicas over a node: messages come from its handlers, and go out as its requests.
//!
//! A replica is a task of its own, which owns the state machine and its log. Whatever comes in waits in a bounded queue: what finds
//! it full is answered with an overload, which its sender takes for a follower that has to be asked again.

mod handle;
mod requests;
mod task;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rdb_net_manager::{Answer, HandlerError, HandlerOptions, Handling, NetworkManager, Request};
use rdb_net_types::{MessageType, NodeId};
use rdb_net_wire::{EntryHead, PackedReplicationLog};
use tokio::sync::{mpsc, oneshot};

pub use handle::{AppendError, Claimed, LeadFailed, Proposal, ReplicaHandle};

use super::{
    AppendEntries, Config, ConfigError, EPOCH_MAX, Entries, LogStorage, Message, RESUME_TYPE, Replica, Reply, Resume,
};

/// How many messages of other members wait for a replica.
const MESSAGES_MAX: usize = 256;

/// After how long a request counts as failed that is not answered. A follower's disk may be busy for a while.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A message of another member.
struct Incoming {
    from: NodeId,
    message: Message,
    reply: oneshot::Sender<Reply>,
}

/// The way to a log's replica.
struct Door {
    members: BTreeSet<NodeId>,
    incoming: mpsc::Sender<Incoming>,
    /// Messages of nodes that are none of the members.
    strangers: Arc<AtomicU64>,
}

type Logs = Mutex<BTreeMap<u64, Door>>;

/// The replicas of a node, one for each log.
#[derive(Clone)]
pub struct Replication {
    manager: Weak<NetworkManager>,
    logs: Arc<Logs>,
}

/// A log was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node has a replica of it already.
    #[error("this node has a replica of log {log_id} already")]
    Open {
        /// Which log.
        log_id: u64,
    },
    /// The node is gone.
    #[error("the node is shut down")]
    ShutDown,
}

const LOCKED: &str = "no code panics while it holds this lock";

impl Replication {
    /// Lets the node answer what leaders send: before its start, so that nothing is missed.
    pub fn new(manager: &Arc<NetworkManager>) -> Self {
        let logs = Arc::new(Logs::default());
        for message_type in [MessageType::REPLICATION_LOG, RESUME_TYPE] {
            let logs = Arc::clone(&logs);
            let handler = move |from: &NodeId, request: Request| match accept(&logs, from, request) {
                Ok(reply) => Handling::Later(Box::pin(async {
                    let gone = |_| HandlerError::failed("the replica was closed");
                    reply.await.map(answer).map_err(gone)
                })),
                Err(error) => Handling::Ready(Err(error)),
            };
            manager.handle(message_type, Arc::new(handler), HandlerOptions::default());
        }
        Self { manager: Arc::downgrade(manager), logs }
    }

    /// Begins a replica of a log, as a follower. It ends with the last handle.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing has begun.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open<S: LogStorage + 'static>(&self, config: Config, log: S) -> Result<ReplicaHandle, OpenError> {
        let manager = self.manager.upgrade().ok_or(OpenError::ShutDown)?;
        let (id, log_id) = (manager.control().local().id.clone(), config.log_id);
        let replica = Replica::new(id, config.clone(), log)?;
        let epoch = replica.promise().epoch;
        if epoch > EPOCH_MAX {
            tracing::warn!(
                log_id,
                epoch,
                highest = EPOCH_MAX,
                "this replica has promised an epoch above the highest one: it follows nobody but the \
                leader of that, and cannot lead; the others do without it. The way out is a log of another number, with a copy of the data"
            );
        }
        let (sender, incoming) = mpsc::channel(MESSAGES_MAX);
        let mut logs = self.logs.lock().expect(LOCKED);
        if logs.get(&log_id).is_some_and(|former| !former.incoming.is_closed()) {
            return Err(OpenError::Open { log_id });
        }
        let (members, strangers) = (config.members.iter().cloned().collect(), Arc::default());
        logs.insert(log_id, Door { members, incoming: sender, strangers: Arc::clone(&strangers) });
        drop(logs);
        Ok(task::begin(replica, config, manager, incoming, strangers))
    }
}

/// Puts a message into the queue of its log's replica.
fn accept(logs: &Logs, from: &NodeId, request: Request) -> Result<oneshot::Receiver<Reply>, HandlerError> {
    let (incoming, message);
    if request.message_type == RESUME_TYPE {
        let resume = Resume::from_bytes(&request.into_payload().into_bytes());
        let resume =
            resume.map_err(|error| HandlerError { malformed: true, ..HandlerError::not_started(error.to_string()) })?;
        incoming = way_in(logs, from, resume.log_id)?;
        message = Message::Resume(resume);
    } else {
        let log: PackedReplicationLog<Vec<EntryHead>> = request.decode()?;
        incoming = way_in(logs, from, log.log_id)?;
        // Reads all of the data, here where they have just been decrypted: later they would come from memory again.
        message = Message::Append(received(log));
    };
    let (reply, replied) = oneshot::channel();
    let queued = incoming.try_send(Incoming { from: from.clone(), message, reply });
    queued.map_err(|_| HandlerError::not_started("the replica of the log is busy, or closed"))?;
    Ok(replied)
}

/// The queue of a log's replica, for its members.
fn way_in(logs: &Logs, from: &NodeId, log_id: u64) -> Result<mpsc::Sender<Incoming>, HandlerError> {
    let logs = logs.lock().expect(LOCKED);
    let Some(door) = logs.get(&log_id) else {
        return Err(HandlerError::not_started(format!("there is no replica of log {log_id} here")));
    };
    if !door.members.contains(from) {
        // The queue is for members: nobody else can keep it full.
        door.strangers.fetch_add(1, Ordering::Relaxed);
        return Err(HandlerError::not_started(format!("{from} is none of the members of log {log_id} here")));
    }
    if door.incoming.capacity() == 0 || door.incoming.is_closed() {
        return Err(HandlerError::not_started(format!("the replica of log {log_id} is busy, or closed")));
    }
    Ok(door.incoming.clone())
}

fn received(log: PackedReplicationLog<Vec<EntryHead>>) -> AppendEntries {
    let PackedReplicationLog { log_id, epoch, previous_index, previous_epoch, committed_index, heads, data } = log;
    let heads = heads.iter().map(|head| (head.index, head.epoch, head.length as usize));
    let entries = Entries::of(heads, data);
    AppendEntries { log_id, epoch, previous_index, previous_epoch, committed_index, entries }
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Resumed(resumed) => Answer::Payload(resumed.to_bytes().into()),
        Reply::Ack(ack) => ack.into(),
    }
}

impl std::fmt::Debug for Replication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replication").finish_non_exhaustive()
    }
}
