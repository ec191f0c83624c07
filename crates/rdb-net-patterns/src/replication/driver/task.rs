//! The task of a replica: it feeds the state machine, and does what it wants to have done.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Incoming;
use super::handle::{AppendError, Claimed, LeadFailed, Order, Proposal, Proposing, ReplicaHandle};
use super::requests::{Ended, Requests};
use crate::replication::proposed::Proposed;
use crate::replication::{Action, Config, Event, LogStorage, ProposeError, Replica, Reply};

/// How many orders, and how many proposals, wait for the task.
const ORDERS_MAX: usize = 64;
/// How many events a subscriber may be behind.
const EVENTS_MAX: usize = 1024;
/// How many things are taken in before anything is done about them.
const TAKEN_MAX: usize = 64;

/// Entries of one proposal, which wait for a quorum.
struct Waiter {
    last: u64,
    epoch: u64,
    committed: oneshot::Sender<Result<(), AppendError>>,
}

const HERE: &str = "the replica is away during a sync alone";

struct Task<S> {
    /// Away during a sync.
    replica: Option<Box<Replica<S>>>,
    config: Config,
    begun: Instant,
    requests: Requests,
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
    next_reply: u64,
    /// A sync that is to be done.
    sync: Option<u64>,
    claim: Option<oneshot::Sender<Result<Claimed, LeadFailed>>>,
    waiters: VecDeque<Waiter>,
    /// Proposals that the replica has had no room for. While there are some, no more are taken.
    backlog: VecDeque<Proposing>,
    committed: watch::Sender<u64>,
    events: Arc<broadcast::Sender<Arc<Event>>>,
}

/// Begins the task of a replica. It ends with the last of its handles.
pub(super) fn begin<S: LogStorage + 'static>(
    replica: Replica<S>,
    config: Config,
    manager: Arc<NetworkManager>,
    incoming: mpsc::Receiver<Incoming>,
    strangers: Arc<AtomicU64>,
) -> ReplicaHandle {
    let (orders, ordered) = mpsc::channel(ORDERS_MAX);
    let (proposals, proposed) = mpsc::channel(ORDERS_MAX);
    let (committed, sees_committed) = watch::channel(replica.committed());
    let events = Arc::new(broadcast::Sender::new(EVENTS_MAX));
    let log_id = config.log_id;
    let task = Task {
        replica: Some(Box::new(replica)),
        config,
        begun: Instant::now(),
        requests: Requests::new(manager, log_id),
        replies: BTreeMap::new(),
        next_reply: 0,
        sync: None,
        claim: None,
        waiters: VecDeque::new(),
        backlog: VecDeque::new(),
        committed,
        events: Arc::clone(&events),
    };
    let tasks = TaskTracker::new();
    tasks.spawn(task.run(incoming, ordered, proposed));
    tasks.close();
    ReplicaHandle { orders, proposals, committed: sees_committed, events, strangers, tasks }
}

impl<S: LogStorage + 'static> Task<S> {
    async fn run(
        self,
        mut incoming: mpsc::Receiver<Incoming>,
        mut orders: mpsc::Receiver<Order>,
        mut proposals: mpsc::Receiver<Proposing>,
    ) {
        self.serve(&mut incoming, &mut orders, &mut proposals).await;
    }

    async fn serve(
        mut self,
        incoming: &mut mpsc::Receiver<Incoming>,
        orders: &mut mpsc::Receiver<Order>,
        proposals: &mut mpsc::Receiver<Proposing>,
    ) {
        loop {
            self.carry_out();
            if let Some(mark) = self.sync.take() {
                let Some(synced) = self.synced(mark).await else { return };
                self = synced;
                // In a log of one member a sync is all that makes room.
                self.propose();
                continue;
            }
            let timeout = self.replica().poll_timeout().map(|at| self.begun + at);
            let (requests, is_blocked) = (&mut self.requests, !self.backlog.is_empty());
            tokio::select! {
                message = incoming.recv() => {
                    let Some(message) = message else { return };
                    self.take_message(message);
                    for _ in 1..TAKEN_MAX {
                        let Ok(message) = incoming.try_recv() else { break };
                        self.take_message(message);
                    }
                }
                ended = poll_fn(|context| requests.poll_ended(context)) => self.take_ended(ended),
                order = orders.recv() => match order {
                    // Nobody holds it any more.
                    None | Some(Order::Close) => return,
                    Some(order) => self.obey(order),
                },
                proposal = proposals.recv(), if !is_blocked => {
                    self.backlog.extend(proposal);
                    while self.backlog.len() < TAKEN_MAX && let Ok(proposal) = proposals.try_recv() {
                        self.backlog.push_back(proposal);
                    }
                }
                () = sleep_until(timeout) => {
                    let now = self.now();
                    self.replica().handle_timeout(now);
                }
            }
            self.propose();
        }
    }

    /// Makes the log durable, on a thread that may wait where it has to. Requests go on meanwhile. `None` where it panicked.
    async fn synced(mut self, mark: u64) -> Option<Self> {
        let mut replica = self.replica.take().expect(HERE);
        let (mut ended, synced);
        if replica.log().syncs_at_once() {
            synced = replica.log_mut().sync();
            ended = Vec::new();
            self.replica = Some(replica);
        } else {
            let mut syncing = tokio::task::spawn_blocking(move || {
                let synced = replica.log_mut().sync();
                (replica, synced)
            });
            ended = Vec::new();
            let requests = &mut self.requests;
            let (replica, result) = loop {
                tokio::select! {
                    // What the log's followers can do meanwhile goes out first.
                    biased;
                    request = poll_fn(|context| requests.poll_ended(context)) => ended.push(request),
                    joined = &mut syncing => break joined.ok()?,
                }
            };
            synced = result;
            self.replica = Some(replica);
        }
        match synced {
            Ok(()) => self.replica().handle_synced(mark),
            Err(error) => self.replica().handle_storage_failure(error),
        }
        ended.into_iter().for_each(|ended| self.take_ended(ended));
        Some(self)
    }

    fn replica(&mut self) -> &mut Replica<S> {
        self.replica.as_deref_mut().expect(HERE)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn take_message(&mut self, Incoming { from, message, reply }: Incoming) {
        self.next_reply += 1;
        let ticket = self.next_reply;
        self.replies.insert(ticket, reply);
        self.replica().handle_message(&from, ticket, message);
    }

    fn take_ended(&mut self, Ended { to, ticket, reply }: Ended) {
        let now = self.now();
        match reply {
            Some(reply) => self.replica().handle_reply(now, &to, ticket, reply),
            None => self.replica().handle_failure(now, &to, ticket),
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Lead { epoch, done } => {
                let now = self.now();
                match self.replica().lead(now, epoch) {
                    Ok(()) => {
                        // What a former claim came to is told first.
                        self.carry_out();
                        self.claim = Some(done);
                    }
                    Err(error) => drop(done.send(Err(error.into()))),
                }
            }
            Order::Resign => self.replica().resign(),
            Order::Status(status) => drop(status.send(self.replica().status())),
            Order::Compact { up_to, compacted } => drop(compacted.send(self.replica().compact(up_to))),
            Order::Restore { base, restored } => drop(restored.send(self.replica().restore(base))),
            Order::Read { from, bytes_max, entries } => {
                let entries_max = self.config.batch_entries_max;
                let read = self.replica().log().read(from, bytes_max, entries_max);
                drop(entries.send(read.map(|entries| entries.iter().collect())));
            }
            Order::Close => {}
        }
    }

    /// Gives the replica what it has room for, some at a time, so that they travel together.
    fn propose(&mut self) {
        while !self.backlog.is_empty() {
            let (mut bytes, mut entries, mut counts) = (0, 0, Vec::new());
            for proposing in &self.backlog {
                let more = proposing.entries.bytes();
                let is_alone = proposing.entries.is_alone() || self.backlog[0].entries.is_alone();
                if !counts.is_empty() && (is_alone || bytes + more > self.config.batch_bytes_max) {
                    break;
                }
                (bytes, entries) = (bytes + more, entries + proposing.entries.len());
                counts.push(proposing.entries.len());
            }
            if !self.replica().has_room_for(entries, bytes) {
                // There is room again when something is committed.
                return;
            }
            let count = counts.len();
            let parts = self.backlog.iter_mut().take(count).map(|proposing| std::mem::take(&mut proposing.entries));
            let together = parts.reduce(Proposed::and).unwrap_or_default();
            let taken = self.replica().propose_all(&together);
            let epoch = self.replica().promise().epoch;
            match taken {
                Ok(indexes) => {
                    let mut first = *indexes.start();
                    for (Proposing { taken, .. }, count) in self.backlog.drain(..count).zip(counts) {
                        let end = first + count as u64;
                        let (committed, is_committed) = oneshot::channel();
                        if count == 0 {
                            // There is nothing to wait for, and no commit would come that says so.
                            let _gone = committed.send(Ok(()));
                        } else {
                            self.waiters.push_back(Waiter { last: end - 1, epoch, committed });
                        }
                        let proposal = Proposal { indexes: first..=end - 1, epoch, committed: is_committed };
                        // Who does not wait for it has its entries in the log all the same.
                        let _gone = taken.send(Ok(proposal));
                        first = end;
                    }
                }
                Err(error) => {
                    let refused = self.backlog.drain(..count);
                    refused.for_each(|proposing| drop(proposing.taken.send(Err(error.clone().into()))));
                }
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.replica().poll_action() {
            match action {
                Action::Send { to, ticket, message } => {
                    self.requests.push(to, ticket, message);
                }
                Action::GiveUp { to } => self.requests.give_up(&to),
                Action::Reply { ticket, reply } => {
                    if let Some(waiting) = self.replies.remove(&ticket) {
                        // Who asked may have given up.
                        let _gone = waiting.send(reply);
                    }
                }
                Action::Sync { mark } => self.sync = Some(mark),
                Action::Event(event) => self.tell(event),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::Committed { index } => {
                self.committed.send_replace(*index);
                while let Some(waiter) = self.waiters.pop_front() {
                    if waiter.last > *index {
                        self.waiters.push_front(waiter);
                        break;
                    }
                    let _gone = waiter.committed.send(Ok(()));
                }
            }
            Event::Leading { epoch, opened } => {
                if let Some(claim) = self.claim.take() {
                    let _gone = claim.send(Ok(Claimed { epoch: *epoch, opened: *opened }));
                }
            }
            Event::NotLeading { reason, .. } => {
                if let Some(claim) = self.claim.take() {
                    let _gone = claim.send(Err(LeadFailed::NotLeading(reason.clone())));
                }
                for Waiter { epoch, committed, .. } in self.waiters.drain(..) {
                    let _gone = committed.send(Err(AppendError::Undecided { epoch, reason: reason.clone() }));
                }
            }
            _ => {}
        }
        // Nobody has to listen.
        let _unheard = self.events.send(Arc::new(event));
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl From<ProposeError> for AppendError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => Self::NotLeader { leader },
            ProposeError::TooLarge { bytes } => Self::TooLarge { bytes },
            // The task waits where there is no room.
            ProposeError::Full { .. } => Self::NotLeader { leader: None },
        }
    }
}
