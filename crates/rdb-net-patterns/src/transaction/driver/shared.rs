//! What tasks, handlers and the log's thread share: the machines behind a lock, and the doing of what they want.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rdb_net_manager::{CallOptions, NetworkManager, Reply};
use rdb_net_types::{
    AbortTransaction, CommitTransaction, Effect, MessageType, NodeId, Payload, PrepareTransaction, Reason,
    RequestError, TransactionId, TransactionVote,
};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::log::{Entry, LogQueue};
use super::{Begun, Outcome, Resource, TransactionError, TransactionOptions, Witness};
use crate::transaction::{
    CallId, Coordinator, CoordinatorAction, CoordinatorStats, Decision, Occurrence, Participant, ParticipantAction,
    ParticipantAnswer, ParticipantStats, Record, Verdict,
};

const LOCKED: &str = "no code panics while it holds this lock";

/// The machines, and who waits for what of them. All tables are as bounded as the machines' own.
#[derive(Debug)]
pub(super) struct Machines {
    pub(super) coordinator: Coordinator,
    pub(super) participant: Participant,
    outcomes: BTreeMap<TransactionId, oneshot::Sender<Outcome>>,
    endings: BTreeMap<TransactionId, Vec<oneshot::Sender<()>>>,
    prepares: BTreeMap<(TransactionId, NodeId), AbortHandle>,
    calls: BTreeMap<CallId, oneshot::Sender<ParticipantAnswer>>,
    next_call: u64,
    /// For when the timer is set.
    timer: Option<Duration>,
    is_stopped: bool,
}

pub(super) struct Shared {
    network: Arc<NetworkManager>,
    resource: Arc<dyn Resource>,
    witness: Option<Witness>,
    machines: Mutex<Machines>,
    pub(super) queue: LogQueue,
    pub(super) sync_count: AtomicU64,
    origin: Instant,
    timer_changed: Notify,
    tasks: TaskTracker,
    cancel: CancellationToken,
    runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("machines", &self.machines).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        network: Arc<NetworkManager>,
        node: NodeId,
        records: Vec<Record>,
        resource: Arc<dyn Resource>,
        TransactionOptions { coordinator, participant, witness, .. }: TransactionOptions,
    ) -> Arc<Self> {
        let coordinator = Coordinator::new(coordinator, node, unix_seconds(), records.iter().cloned(), Duration::ZERO);
        let participant = Participant::new(participant, records, Duration::ZERO);
        if let Some(witness) = &witness {
            witness(Occurrence::Started);
        }
        let machines = Machines {
            coordinator,
            participant,
            outcomes: BTreeMap::new(),
            endings: BTreeMap::new(),
            prepares: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            timer: None,
            is_stopped: false,
        };
        let shared = Arc::new(Self {
            network,
            resource,
            witness,
            machines: Mutex::new(machines),
            queue: LogQueue::default(),
            sync_count: AtomicU64::new(0),
            origin: Instant::now(),
            timer_changed: Notify::new(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            runtime: tokio::runtime::Handle::current(),
        });
        shared.with(|_, _| ());
        shared
    }

    fn lock(&self) -> MutexGuard<'_, Machines> {
        self.machines.lock().expect(LOCKED)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Gives the machines an input and does what they want done, in their order.
    pub(super) fn with<T>(self: &Arc<Self>, input: impl FnOnce(&mut Machines, Duration) -> T) -> T {
        let mut machines = self.lock();
        let result = input(&mut machines, self.now());
        self.settle(&mut machines);
        result
    }

    /// Whether anything is promised any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    pub(super) fn begin(
        self: &Arc<Self>,
        participants: Vec<(NodeId, Payload)>,
        timeout: Duration,
    ) -> Result<Begun, TransactionError> {
        let nodes: Vec<NodeId> = participants.iter().map(|(node, _)| node.clone()).collect();
        self.with(|machines, now| {
            if machines.is_stopped {
                return Err(TransactionError::Stopped);
            }
            let txn = machines.coordinator.begin(now, participants, timeout)?;
            self.saw(Occurrence::Begun { txn, participants: nodes });
            let (sender, outcome) = oneshot::channel();
            machines.outcomes.insert(txn, sender);
            Ok(Begun { txn, outcome })
        })
    }

    /// A message for the participant, and its answer to come. `None` when nothing is promised any more.
    pub(super) fn call(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Participant, Duration, CallId),
    ) -> Option<oneshot::Receiver<ParticipantAnswer>> {
        self.with(|machines, now| {
            if machines.is_stopped {
                return None;
            }
            machines.next_call += 1;
            let call = CallId(machines.next_call);
            let (sender, answer) = oneshot::channel();
            machines.calls.insert(call, sender);
            input(&mut machines.participant, now, call);
            Some(answer)
        })
    }

    pub(super) fn open_transactions(&self) -> Vec<TransactionId> {
        let machines = self.lock();
        let mut open: Vec<TransactionId> = machines.coordinator.open().chain(machines.participant.held()).collect();
        open.sort_unstable();
        open.dedup();
        open
    }

    pub(super) async fn ended(&self, txn: TransactionId) {
        let ended = {
            let mut machines = self.lock();
            if machines.is_stopped || !machines.coordinator.is_open(txn) {
                return;
            }
            let (sender, ended) = oneshot::channel();
            machines.endings.entry(txn).or_default().push(sender);
            ended
        };
        // A sender that is dropped says that nothing more will come.
        let _ended = ended.await;
    }

    pub(super) fn stats(&self) -> (CoordinatorStats, ParticipantStats) {
        let machines = self.lock();
        (machines.coordinator.stats(), machines.participant.stats())
    }

    pub(super) fn syncs(&self) -> u64 {
        self.sync_count.load(Ordering::Relaxed)
    }

    /// Promises nothing from here on; who waits is told so.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
        let mut machines = self.lock();
        machines.is_stopped = true;
        machines.outcomes.clear();
        machines.endings.clear();
        machines.calls.clear();
        self.queue.close();
    }

    pub(super) async fn stop(&self) {
        self.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Wakes the machines when their time comes.
    pub(super) fn spawn_timer(self: &Arc<Self>) {
        let this = Arc::clone(self);
        self.spawn(async move {
            loop {
                let at = this.lock().timer;
                let far = Duration::from_secs(3600);
                let until = this.origin + at.unwrap_or_else(|| this.now() + far);
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = this.timer_changed.notified() => continue,
                }
                this.with(|machines, now| {
                    machines.timer = None;
                    machines.coordinator.handle_timeout(now);
                    machines.participant.handle_timeout(now);
                });
            }
        });
    }

    /// A task that ends with the transactions.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let cancel = self.cancel.clone();
        let task = async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = task => {}
            }
        };
        self.tasks.spawn_on(task, &self.runtime).abort_handle()
    }

    fn saw(&self, what: Occurrence) {
        if let Some(witness) = &self.witness {
            witness(what);
        }
    }

    fn settle(self: &Arc<Self>, machines: &mut Machines) {
        if machines.is_stopped {
            return;
        }
        loop {
            if let Some(action) = machines.coordinator.poll_action() {
                self.coordinate(machines, action);
            } else if let Some(action) = machines.participant.poll_action() {
                self.participate(machines, action);
            } else {
                break;
            }
        }
        let (first, second) = (machines.coordinator.poll_timeout(), machines.participant.poll_timeout());
        let next = first.into_iter().chain(second).min();
        if next != machines.timer {
            // A later time is found when the earlier one has come.
            let is_earlier = next.is_some_and(|next| machines.timer.is_none_or(|set| next < set));
            if is_earlier {
                machines.timer = next;
                self.timer_changed.notify_one();
            }
        }
    }

    fn coordinate(self: &Arc<Self>, machines: &mut Machines, action: CoordinatorAction) {
        match action {
            CoordinatorAction::Prepare { node, message, timeout } => {
                let (this, txn) = (Arc::clone(self), message.txn_id);
                let key = (txn, node.clone());
                let task = self.spawn(async move { this.prepare(txn, node, message, timeout).await });
                machines.prepares.insert(key, task);
            }
            CoordinatorAction::GiveUp { txn, node } => {
                if let Some(task) = machines.prepares.remove(&(txn, node)) {
                    task.abort();
                }
            }
            CoordinatorAction::Append { record, forced } => {
                self.queue.push(Entry { record, coordinator: forced, participant: None });
            }
            CoordinatorAction::Commit { node, message, timeout } => {
                let this = Arc::clone(self);
                self.spawn(async move { this.commit(node, message, timeout).await });
            }
            CoordinatorAction::Abort { node, message, timeout } => {
                let this = Arc::clone(self);
                self.spawn(async move {
                    // Whether it was heard does not matter: who was not told asks.
                    let _heard = this.network.request(&node, &message, CallOptions::timeout(timeout)).await;
                });
            }
            CoordinatorAction::Decided { txn, decision, cause } => {
                self.saw(Occurrence::Decided { txn, decision });
                if let Some(outcome) = machines.outcomes.remove(&txn) {
                    // Who has stopped waiting needs no answer.
                    let _sent = outcome.send(Outcome { txn, decision, cause });
                }
            }
            CoordinatorAction::Ended { txn } => {
                machines.endings.remove(&txn);
            }
        }
    }

    async fn prepare(
        self: Arc<Self>,
        txn: TransactionId,
        node: NodeId,
        message: PrepareTransaction,
        timeout: Duration,
    ) {
        let reply = self.network.request(&node, &message, CallOptions::timeout(timeout)).await;
        let vote = reply.and_then(|reply| reply.decode::<TransactionVote>().map_err(|_| malformed()));
        self.with(|machines, now| {
            machines.prepares.remove(&(txn, node.clone()));
            machines.coordinator.handle_prepared(now, txn, &node, vote);
        });
    }

    async fn commit(self: Arc<Self>, node: NodeId, message: CommitTransaction, timeout: Duration) {
        let reply = self.network.request(&node, &message, CallOptions::timeout(timeout)).await;
        let ack = reply.and_then(|reply| reply.decode().map_err(|_| malformed()));
        self.with(|machines, _| machines.coordinator.handle_told(message.txn_id, &node, ack));
    }

    fn participate(self: &Arc<Self>, machines: &mut Machines, action: ParticipantAction) {
        match action {
            ParticipantAction::Answer { call, answer } => {
                if let ParticipantAnswer::Vote(TransactionVote { txn_id: txn, vote, .. }) = answer {
                    self.saw(Occurrence::Voted { txn, vote });
                }
                if let Some(sender) = machines.calls.remove(&call) {
                    // A caller that has left needs no answer.
                    let _sent = sender.send(answer);
                }
            }
            ParticipantAction::Work { txn, work } => {
                let (this, prepared) = (Arc::clone(self), self.resource.prepare(txn, work));
                self.spawn(async move {
                    let prepared = prepared.await;
                    this.with(|machines, now| {
                        machines.participant.handle_worked(now, txn, prepared.vote, &prepared.reason);
                    });
                });
            }
            ParticipantAction::Restore { txn, work } => self.resource.restore(txn, work),
            ParticipantAction::Append { record, forced } => {
                self.queue.push(Entry { record, coordinator: None, participant: forced });
            }
            ParticipantAction::Apply { txn, decision } => self.apply(txn, decision),
            ParticipantAction::Ask { coordinator, message, timeout } => {
                self.saw(Occurrence::Voted { txn: message.txn_id, vote: message.vote });
                let this = Arc::clone(self);
                self.spawn(async move { this.ask(coordinator, message, timeout).await });
            }
        }
    }

    fn apply(self: &Arc<Self>, txn: TransactionId, decision: Decision) {
        self.saw(Occurrence::Applied { txn, decision });
        let (this, applied) = (Arc::clone(self), self.resource.apply(txn, decision));
        self.spawn(async move {
            applied.await;
            this.with(|machines, _| machines.participant.handle_applied(txn));
        });
    }

    async fn ask(self: Arc<Self>, coordinator: NodeId, message: TransactionVote, timeout: Duration) {
        let reply = self.network.request(&coordinator, &message, CallOptions::timeout(timeout)).await;
        let verdict = reply.and_then(|reply| verdict(message.txn_id, &reply));
        self.with(|machines, now| machines.participant.handle_verdict(now, message.txn_id, verdict));
    }
}

/// The answer to a question: the decision's own message, or nothing yet.
fn verdict(txn: TransactionId, reply: &Reply) -> Result<Verdict, RequestError> {
    let (about, decision) = match reply.message_type {
        MessageType::COMMIT_TRANSACTION => {
            let message: CommitTransaction = reply.decode().map_err(|_| malformed())?;
            (message.txn_id, Decision::Commit)
        }
        MessageType::ABORT_TRANSACTION => {
            let message: AbortTransaction = reply.decode().map_err(|_| malformed())?;
            (message.txn_id, Decision::Abort)
        }
        _ => return Ok(Verdict::Undecided),
    };
    if about == txn { Ok(Verdict::Decided(decision)) } else { Err(malformed()) }
}

const fn malformed() -> RequestError {
    RequestError::new(Effect::Unknown, Reason::Malformed)
}

/// The wall clock: a life is named by it, so that names grow where a log was lost.
fn unix_seconds() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX - 0xffff))
}
