//! Transactions over a node: coordinator and participant with the node's network, a log, and the database's own resource.
//!
//! One short lock guards both machines. Requests are tasks, the log has a thread of its own, and whatever waits for the log while it
//! syncs shares the next sync.

mod acting;
mod caught;
mod handlers;
mod log;
mod operating;
mod presumed;
mod resource;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_types::{NodeId, Payload, TransactionId};
use tokio::sync::oneshot;

pub use resource::{Prepared, Resource};

use super::{
    AbortCause, BeginError, CoordinatorConfig, CoordinatorStats, Decision, GiveUpError, GivenUp, InDoubt, Occurrence,
    ParticipantConfig, ParticipantStats, Record, RecordError, ResolveError, ResolvedByHand, Untold,
};
use crate::storage::{Log, LogError};
use log::LogThread;
use shared::Shared;

/// What is told of everything that happens, before its effect leaves the node. It is called under the machines' lock: it only takes
/// note.
pub type Witness = Arc<dyn Fn(Occurrence) + Send + Sync>;

/// How a node's transactions are run.
#[derive(Clone)]
pub struct TransactionOptions {
    /// The coordinator's limits and times.
    pub coordinator: CoordinatorConfig,
    /// The participant's limits and times.
    pub participant: ParticipantConfig,
    /// Beyond how many bytes the log is replaced by what is still needed of it, and again whenever it has doubled. Default 16 MiB.
    pub log_bytes_max: u64,
    /// Who is told what happens, for a history that can be checked. Default nobody.
    pub witness: Option<Witness>,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self {
            coordinator: CoordinatorConfig::default(),
            participant: ParticipantConfig::default(),
            log_bytes_max: 16 * 1024 * 1024,
            witness: None,
        }
    }
}

impl std::fmt::Debug for TransactionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut options = f.debug_struct("TransactionOptions");
        options.field("coordinator", &self.coordinator).field("participant", &self.participant);
        options.field("log_bytes_max", &self.log_bytes_max).finish_non_exhaustive()
    }
}

/// Why transactions were not opened. Nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The log holds what this version cannot read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The log cannot be written, or no thread can be started for it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The resource panicked while it took back what a former life had prepared: without its locks this node cannot keep its word. The
    /// resource is at fault; its panic is told above. The log is as it was.
    #[error("the resource panicked while it took transaction {:032x} back; transactions stay closed here until it is mended", txn.0)]
    Restore {
        /// The transaction.
        txn: TransactionId,
    },
}

/// Why nothing is known of what became of a transaction. It was begun or not: where its commit is durable it will be told to its
/// participants, and where not it is aborted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// It was not begun.
    #[error(transparent)]
    NotBegun(#[from] BeginError),
    /// This node's transactions ended before it was decided: the node shuts down, or its log has failed.
    #[error("this node ended its transactions before this one was decided")]
    Stopped,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub txn: TransactionId,
    /// What was decided. A commit is durable.
    pub decision: Decision,
    /// Why, of an abort.
    pub cause: Option<AbortCause>,
}

/// A transaction that was begun.
#[derive(Debug)]
#[must_use = "what becomes of it is told here alone"]
pub struct Begun {
    /// Which.
    pub txn: TransactionId,
    outcome: oneshot::Receiver<Outcome>,
}

impl Begun {
    /// Waits until it is decided. That everybody has heard of it is not waited for.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the transaction goes on.
    pub async fn decided(self) -> Result<Outcome, TransactionError> {
        self.outcome.await.map_err(|_| TransactionError::Stopped)
    }
}

/// The transactions of a node: those that it begins, and its part in those of others.
#[derive(Debug)]
pub struct TransactionManager {
    shared: Arc<Shared>,
    log: Option<LogThread>,
}

impl TransactionManager {
    /// Begins a life after what the log holds, and registers the handlers: before the network is started, so that no message
    /// comes too early. `node` is the network's own id. Runs inside a tokio runtime, which it needs until the shutdown.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(
        network: Arc<NetworkManager>,
        node: NodeId,
        log: Box<dyn Log>,
        records: &[Vec<u8>],
        resource: Arc<dyn Resource>,
        options: TransactionOptions,
    ) -> Result<Self, OpenError> {
        let records = records.iter().map(|bytes| Record::decode(bytes)).collect::<Result<Vec<_>, _>>()?;
        let log_bytes_max = options.log_bytes_max;
        let shared = Shared::new(Arc::clone(&network), node, records, resource, options)?;
        // The record of this life is durable when this returns; what was recovered goes on from there.
        let started = LogThread::start(Arc::clone(&shared), log, log_bytes_max);
        let log = started.inspect_err(|_| shared.cancel())?;
        handlers::register(&network, &shared);
        shared.spawn_timer();
        Ok(Self { shared, log: Some(log) })
    }

    /// Begins a transaction: each of these nodes, this one allowed, does its part or none does. Votes are waited for as long as
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// [`BeginError`]; nobody was asked. [`TransactionError::Stopped`] where the log has failed.
    pub fn begin(&self, participants: Vec<(NodeId, Payload)>, timeout: Duration) -> Result<Begun, TransactionError> {
        self.shared.begin(participants, timeout)
    }

    /// Begins a transaction and waits until it is decided.
    ///
    /// # Errors
    ///
    /// [`TransactionError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the transaction goes on.
    pub async fn run(
        &self,
        participants: Vec<(NodeId, Payload)>,
        timeout: Duration,
    ) -> Result<Outcome, TransactionError> {
        self.begin(participants, timeout)?.decided().await
    }

    /// Gives a transaction up, unless its commit is being written already.
    pub fn abort(&self, txn: TransactionId) {
        self.shared.with(|machines, _| machines.coordinator.abort(txn));
    }

    /// The transactions that are open here, as their coordinator or as a participant.
    pub fn open_transactions(&self) -> Vec<TransactionId> {
        self.shared.open_transactions()
    }

    /// Waits until a transaction of this node has ended: all who voted for a commit have acknowledged it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ended(&self, txn: TransactionId) {
        self.shared.ended(txn).await;
    }

    /// What was counted.
    pub fn stats(&self) -> (CoordinatorStats, ParticipantStats) {
        self.shared.stats()
    }

    /// How often the log was synced: fewer times than there were forced records where they came together.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs()
    }

    /// Ends the tasks and the log's thread. Transactions that are open stay so, and go on in the next life.
    pub async fn shutdown(mut self) {
        self.shared.stop().await;
        if let Some(log) = self.log.take() {
            // It ends by itself within one sync; waiting for it must not hold up the runtime's thread.
            let joined = tokio::task::spawn_blocking(move || log.join()).await;
            if joined.is_err() {
                tracing::error!("the thread of the transactions' log panicked");
            }
        }
    }
}

impl Drop for TransactionManager {
    fn drop(&mut self) {
        self.shared.cancel();
    }
}
