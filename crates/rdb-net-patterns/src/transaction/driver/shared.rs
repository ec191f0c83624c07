//! What tasks, handlers and the log's thread share: the machines behind a lock, and the doing of what they want.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_types::{NodeId, Payload, TransactionId};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caught::caught;
use super::log::LogQueue;
use super::presumed::PresumedWarnings;
use super::{Begun, OpenError, Outcome, Resource, TransactionError, TransactionOptions, Witness};
use crate::transaction::{
    CallId, Coordinator, CoordinatorStats, Occurrence, Participant, ParticipantAnswer, ParticipantStats, Record, Ticket,
};

const LOCKED: &str = "no code panics while it holds this lock";

/// The machines, and who waits for what of them. All tables are as bounded as the machines' own.
#[derive(Debug)]
pub(super) struct Machines {
    pub(super) coordinator: Coordinator,
    pub(super) participant: Participant,
    pub(super) outcomes: BTreeMap<TransactionId, oneshot::Sender<Outcome>>,
    pub(super) endings: BTreeMap<TransactionId, Vec<oneshot::Sender<()>>>,
    pub(super) prepares: BTreeMap<(TransactionId, NodeId), AbortHandle>,
    pub(super) calls: BTreeMap<CallId, oneshot::Sender<ParticipantAnswer>>,
    /// Who waits for what an operator has decided.
    pub(super) resolving: BTreeMap<TransactionId, oneshot::Sender<()>>,
    pub(super) giving_up: BTreeMap<Ticket, oneshot::Sender<Vec<TransactionId>>>,
    pub(super) presumed: PresumedWarnings,
    next_call: u64,
    /// What the resource panicked at while it was to take it back.
    pub(super) not_restored: Option<TransactionId>,
    /// For when the timer is set.
    timer: Option<Duration>,
    is_stopped: bool,
}

impl Machines {
    /// Whether nothing is promised any more.
    pub(super) const fn is_stopped(&self) -> bool {
        self.is_stopped
    }
}

pub(super) struct Shared {
    pub(super) network: Arc<NetworkManager>,
    pub(super) resource: Arc<dyn Resource>,
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
    ) -> Result<Arc<Self>, OpenError> {
        let coordinator = Coordinator::new(coordinator, node, unix_seconds(), records.iter().cloned(), Duration::ZERO);
        let participant = Participant::new(participant, records, Duration::ZERO);
        let machines = Machines {
            coordinator,
            participant,
            outcomes: BTreeMap::new(),
            endings: BTreeMap::new(),
            prepares: BTreeMap::new(),
            calls: BTreeMap::new(),
            resolving: BTreeMap::new(),
            giving_up: BTreeMap::new(),
            presumed: PresumedWarnings::default(),
            next_call: 0,
            not_restored: None,
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
        shared.saw(Occurrence::Started);
        shared.with(|_, _| ());
        let not_restored = shared.lock().not_restored;
        match not_restored {
            Some(txn) => {
                shared.cancel();
                Err(OpenError::Restore { txn })
            }
            None => Ok(shared),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machines> {
        self.machines.lock().expect(LOCKED)
    }

    pub(super) fn now(&self) -> Duration {
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
            let waiting = machines.endings.entry(txn).or_default();
            // Who has stopped waiting takes no place: a transaction may stay open for as long as a node is away.
            waiting.retain(|waiting| !waiting.is_closed());
            waiting.push(sender);
            ended
        };
        // A sender that is dropped says that nothing more will come.
        let _ended = ended.await;
    }

    #[cfg(test)]
    pub(super) fn waiting_for_end(&self, txn: TransactionId) -> usize {
        self.lock().endings.get(&txn).map_or(0, Vec::len)
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
        machines.resolving.clear();
        machines.giving_up.clear();
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
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let cancel = self.cancel.clone();
        let task = async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = task => {}
            }
        };
        self.tasks.spawn_on(task, &self.runtime).abort_handle()
    }

    pub(super) fn saw(&self, what: Occurrence) {
        if let Some(witness) = &self.witness
            && caught(|| witness(what)).is_err()
        {
            tracing::error!("the witness of the transactions panicked; what it was told is missing in its history");
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
}

/// The wall clock: a life is named by it, so that names grow where a log was lost.
fn unix_seconds() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX - 0xffff))
}
