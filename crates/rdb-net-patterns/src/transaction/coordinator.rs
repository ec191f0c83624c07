//! The coordinator: asks for votes, decides, and tells the decision until all have heard it.
//!
//! The outcome of each prepare drives the decision. `NotSent` and `NotStarted` say that the participant holds nothing, so the
//! transaction is aborted at once. `Unknown` says that it may be prepared: its vote may still come, with another prepare or by its
//! own question, until the deadline.

mod config;
mod giving_up;
mod recovering;
mod telling;
mod voting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rdb_net_types::{AbortTransaction, CommitTransaction, NodeId, Payload, PrepareTransaction, TransactionId, Vote};

pub use config::{AbortCause, BeginError, CoordinatorConfig, CoordinatorStats};
pub use giving_up::{GiveUpError, GivenUp, Untold};
use recovering::Found;

use super::mutation::Mutation;
use super::schedule::Schedule;
use super::{Decision, Life, Record, Ticket};
use crate::planted::Planted;

/// What the owner of a coordinator has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum CoordinatorAction {
    /// Ask a participant for its vote, and give the outcome to [`Coordinator::handle_prepared`].
    Prepare {
        /// Whom.
        node: NodeId,
        /// With what.
        message: PrepareTransaction,
        /// How long to wait.
        timeout: Duration,
    },
    /// Give up asking: the outcome is of no use.
    GiveUp {
        /// About which transaction.
        txn: TransactionId,
        /// Whom.
        node: NodeId,
    },
    /// Put a record into the log, and where there is a ticket give it to [`Coordinator::handle_synced`] when it is durable.
    Append {
        /// What.
        record: Record,
        /// Whether something waits for it.
        forced: Option<Ticket>,
    },
    /// Tell a participant of a commit, and give the outcome to [`Coordinator::handle_told`].
    Commit {
        /// Whom.
        node: NodeId,
        /// What.
        message: CommitTransaction,
        /// How long to wait.
        timeout: Duration,
    },
    /// Tell a participant of an abort. Whether it hears does not matter: it would ask.
    Abort {
        /// Whom.
        node: NodeId,
        /// What.
        message: AbortTransaction,
        /// How long to try.
        timeout: Duration,
    },
    /// Tell the application what was decided. A commit is durable.
    Decided {
        /// Which transaction.
        txn: TransactionId,
        /// What.
        decision: Decision,
        /// Why, of an abort.
        cause: Option<AbortCause>,
    },
    /// Everybody has heard, and nothing is left of the transaction.
    Ended {
        /// Which transaction.
        txn: TransactionId,
    },
    /// Tell the application that a participant is given up, durably.
    GivenUp {
        /// Whose record is durable.
        ticket: Ticket,
        /// Who.
        node: NodeId,
        /// The commits that no longer wait for it.
        transactions: Vec<TransactionId>,
    },
    /// Tell the operator of a new life which commits of former ones do not wait for a participant, because it is given up.
    StillGivenUp {
        /// Who.
        node: NodeId,
        /// The commits.
        transactions: Vec<TransactionId>,
    },
}

/// What a participant in doubt is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is decided.
    Decided(Decision),
    /// It is not; ask again.
    Undecided,
}

/// What is known of a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It is being asked.
    Asked,
    /// It may have been reached, and has not voted.
    Silent,
    /// It has voted.
    Voted(Vote),
    /// It is being told of the commit.
    Told,
    /// It may not have heard of the commit.
    Untold,
    /// It has acknowledged the commit, or needs none, or is given up.
    Done,
}

#[derive(Debug)]
struct Member {
    node: NodeId,
    work: Payload,
    progress: Progress,
    /// Whether an earlier prepare may have reached it.
    may_hold: bool,
}

impl Member {
    const fn new(node: NodeId, work: Payload, progress: Progress) -> Self {
        Self { node, work, progress, may_hold: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Votes are collected.
    Voting,
    /// The decision to commit is being written.
    Deciding,
    /// It is durable, and told.
    Telling,
}

#[derive(Debug)]
struct Transaction {
    phase: Phase,
    members: Vec<Member>,
    /// Until when votes are waited for.
    deadline: Duration,
    /// How long the next telling is waited for.
    wait: Duration,
}

impl Transaction {
    fn member(&mut self, node: &NodeId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.node == *node)
    }

    /// Who hears of a commit.
    fn committed(&self) -> impl Iterator<Item = &NodeId> {
        self.members.iter().filter(|member| member.progress != Progress::Voted(Vote::ReadOnly)).map(|m| &m.node)
    }
}

/// The transactions that this node has begun.
#[derive(Debug)]
pub struct Coordinator {
    config: CoordinatorConfig,
    node: NodeId,
    life: Life,
    sequence: u32,
    open: BTreeMap<TransactionId, Transaction>,
    schedule: Schedule,
    actions: VecDeque<CoordinatorAction>,
    tickets: u64,
    /// Whose decision is durable when a ticket is.
    deciding: BTreeMap<Ticket, TransactionId>,
    /// Participants that are given up, and those of which the record is being written.
    given_up: BTreeMap<NodeId, GivenUp>,
    giving_up: BTreeMap<Ticket, GivenUp>,
    /// The ticket of this life's own record, until it is durable.
    starting: Option<Ticket>,
    stats: CoordinatorStats,
    planted: Planted<Mutation>,
}

impl Coordinator {
    /// A new life of a coordinator, after what the log holds of its former ones. Commits that not everybody has heard of are
    /// told again. `epoch_min` is the wall clock's seconds since 1970.
    pub fn new(
        config: CoordinatorConfig,
        node: NodeId,
        epoch_min: u32,
        records: impl IntoIterator<Item = Record>,
        now: Duration,
    ) -> Self {
        let Found { epoch, decided, given_up } = Found::read(records);
        let life = Life::new(&node, epoch.saturating_add(1).max(epoch_min));
        let mut coordinator = Self {
            config,
            node,
            life,
            sequence: 0,
            open: BTreeMap::new(),
            schedule: Schedule::default(),
            actions: VecDeque::new(),
            tickets: 0,
            deciding: BTreeMap::new(),
            given_up,
            giving_up: BTreeMap::new(),
            starting: None,
            stats: CoordinatorStats::default(),
            planted: Planted::default(),
        };
        let ticket = coordinator.append_forced(Record::Started { epoch: life.epoch });
        coordinator.starting = Some(ticket);
        coordinator.recover(now, decided);
        coordinator
    }

    /// Plants a bug.
    #[cfg(feature = "mutations")]
    pub fn plant(&mut self, mutation: Mutation) {
        self.planted.mutation = Some(mutation);
        match mutation {
            Mutation::EpochForgotten => self.life.epoch = 1,
            Mutation::GivenUpIsNoMember => {
                let members = self.open.values_mut().map(|open| &mut open.members);
                members.for_each(|members| members.retain(|member| member.progress != Progress::Done));
            }
            Mutation::GivenUpCommitsForgotten => {
                self.given_up.values_mut().for_each(|given_up| given_up.transactions.clear());
            }
            _ => {}
        }
    }

    /// This life.
    pub const fn life(&self) -> Life {
        self.life
    }

    /// What was counted.
    pub fn stats(&self) -> CoordinatorStats {
        let parts_given_up = self.given_up.values().map(|given_up| given_up.transactions.len()).sum();
        CoordinatorStats { open: self.open.len(), given_up: self.given_up.len(), parts_given_up, ..self.stats }
    }

    /// The transactions that are open.
    pub fn open(&self) -> impl Iterator<Item = TransactionId> {
        self.open.keys().copied()
    }

    /// Whether a transaction is open.
    pub fn is_open(&self, txn: TransactionId) -> bool {
        self.open.contains_key(&txn)
    }

    /// What the log must hold for a next life to go on from here: everything else may be dropped from it.
    pub fn live_records(&self) -> Vec<Record> {
        let decided = self.open.iter().filter(|(_, transaction)| transaction.phase != Phase::Voting);
        let decided = decided.map(|(txn, transaction)| Record::Decided {
            txn: *txn,
            participants: transaction.committed().cloned().collect(),
        });
        // What is being written is in the new log as well: it is durable with it.
        let given_up = self.given_up.values().chain(self.giving_up.values()).map(GivenUp::record);
        std::iter::once(Record::Started { epoch: self.life.epoch }).chain(decided).chain(given_up).collect()
    }

    /// Begins a transaction: each of these nodes does its part or none does. Votes are waited for as long as `timeout`.
    ///
    /// # Errors
    ///
    /// [`BeginError`]; nobody was asked.
    pub fn begin(
        &mut self,
        now: Duration,
        participants: Vec<(NodeId, Payload)>,
        timeout: Duration,
    ) -> Result<TransactionId, BeginError> {
        self.check(&participants)?;
        self.sequence += 1;
        let txn = self.life.transaction(self.sequence);
        let member = |(node, work)| Member::new(node, work, Progress::Silent);
        let transaction = Transaction {
            phase: Phase::Voting,
            members: participants.into_iter().map(member).collect(),
            deadline: now + timeout.min(crate::TIMEOUT_MAX),
            wait: self.config.tell_again,
        };
        self.open.insert(txn, transaction);
        self.stats.begun += 1;
        self.ask(now, txn);
        Ok(txn)
    }

    fn check(&mut self, participants: &[(NodeId, Payload)]) -> Result<(), BeginError> {
        let CoordinatorConfig { open_max, participants_max, .. } = self.config;
        if self.starting.is_some() {
            return Err(BeginError::Starting);
        }
        if participants.is_empty() {
            return Err(BeginError::NoParticipant);
        }
        if participants.len() > participants_max {
            return Err(BeginError::TooManyParticipants { participants: participants.len(), participants_max });
        }
        let mut named = BTreeSet::new();
        if let Some((node, _)) = participants.iter().find(|(node, _)| !named.insert(node)) {
            return Err(BeginError::NamedTwice { node: node.clone() });
        }
        if self.open.len() >= open_max {
            self.stats.refused_too_many += 1;
            return Err(BeginError::TooManyOpen { open_max });
        }
        if self.sequence == u32::MAX { Err(BeginError::NamesUsedUp) } else { Ok(()) }
    }

    /// The application gives a transaction up. Once the decision to commit is being written it is too late, and nothing changes.
    pub fn abort(&mut self, txn: TransactionId) {
        self.decide_abort(txn, AbortCause::Requested);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(txn) = self.schedule.take_due(now) {
            let Some(transaction) = self.open.get(&txn) else { continue };
            match transaction.phase {
                Phase::Voting if now >= transaction.deadline => {
                    let silent = |member: &&Member| !matches!(member.progress, Progress::Voted(_));
                    let silent = transaction.members.iter().filter(silent).map(|member| member.node.clone()).collect();
                    self.decide_abort(txn, AbortCause::Deadline { silent });
                }
                Phase::Voting => {
                    let silent = transaction.members.iter().filter(|member| member.progress == Progress::Silent);
                    self.stats.asked_again += silent.count() as u64;
                    self.ask(now, txn);
                }
                Phase::Deciding => {}
                Phase::Telling => {
                    let untold = transaction.members.iter().filter(|member| member.progress == Progress::Untold);
                    self.stats.told_again += untold.count() as u64;
                    self.tell(now, txn);
                }
            }
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<CoordinatorAction> {
        self.actions.pop_front()
    }

    fn append_forced(&mut self, record: Record) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.actions.push_back(CoordinatorAction::Append { record, forced: Some(ticket) });
        ticket
    }
}
