//! A node of the world that coordinates transactions and takes part in them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdb_net_patterns::transaction::{
    CallId, Coordinator, CoordinatorAction, CoordinatorConfig, Decision, GivenUp, Mutation, Occurrence, Participant,
    ParticipantAction, ParticipantAnswer, ParticipantConfig, Record, Refusal, Ticket, Verdict,
};
use rdb_net_types::{
    AbortTransaction, CommitTransaction, Effect, NodeId, Payload, PrepareTransaction, RequestError, SeededRandom,
    TransactionAck, TransactionId, TransactionVote, Vote,
};

use crate::world::{Birth, Host, Input, LIES, Output};

thread_local! {
    /// The bug that is planted in all machines of this thread's runs.
    pub(crate) static PLANTED: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
    /// How many commits were acknowledged on this thread that were over by presumption alone.
    pub(crate) static PRESUMED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Whether there is any bug.
fn is_planted() -> bool {
    PLANTED.get().is_some() || LIES.get()
}

#[derive(Debug, Clone)]
pub(crate) enum Message {
    Prepare(PrepareTransaction),
    Commit(CommitTransaction),
    Abort(AbortTransaction),
    /// A vote, sent again by who is in doubt.
    Question(TransactionVote),
    /// The sender's operator wants to know what was given up with it.
    GivenUp,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Vote(TransactionVote),
    Ack(TransactionAck),
    Verdict(Verdict),
    GivenUp(Option<GivenUp>),
}

/// What an outcome belongs to.
#[derive(Debug, Clone)]
pub(crate) enum Tag {
    Prepare(TransactionId, NodeId),
    Commit(TransactionId, NodeId),
    Abort,
    Question(TransactionId),
    GivenUp(NodeId),
}

/// What the resource is busy with.
#[derive(Debug, Clone, Copy)]
enum Busy {
    Working(TransactionId, Vote),
    Applying(TransactionId, Decision),
}

/// How often somebody gives up who is waited for, where he could begin a transaction.
const GIVES_UP: f64 = 0.3;
/// The log is replaced when it has this many records more than it needs.
const RECORDS_MAX: usize = 40;

pub(crate) struct TransactionNode {
    nodes: Vec<NodeId>,
    pub(crate) random: SeededRandom,
    pub(crate) now: Duration,
    pub(crate) coordinator: Coordinator,
    pub(crate) participant: Participant,
    /// When its operator looks at it.
    pub(crate) looks_at: Duration,
    tags: BTreeMap<u64, Tag>,
    next_tag: u64,
    /// Tickets of the log, and which machine's they are.
    tickets: BTreeMap<u64, (bool, Ticket)>,
    next_ticket: u64,
    records: usize,
    busy: BTreeMap<(Duration, u64), Busy>,
    outputs: VecDeque<Output<Self>>,
}

impl Host for TransactionNode {
    type Request = Message;
    type Reply = Answer;
    type Note = Occurrence;

    fn boot(Birth { node, nodes, records, now, mut random, .. }: Birth<'_>) -> Self {
        let records: Vec<Record> =
            records.iter().map(|bytes| Record::decode(bytes).expect("only records were appended")).collect();
        let count = records.len();
        let mut coordinator =
            Coordinator::new(CoordinatorConfig::default(), node.clone(), 1, records.iter().cloned(), now);
        let mut config = ParticipantConfig::default();
        if random.chance(0.5) {
            // Mostly fewer windows than there are coordinators.
            config.coordinators_max = 1 + random.index(8);
        }
        let mut participant = Participant::new(config, records, now);
        if let Some(mutation) = PLANTED.get() {
            coordinator.plant(mutation);
            participant.plant(mutation);
        }
        let mut host = Self {
            nodes: nodes.to_vec(),
            random,
            now,
            coordinator,
            participant,
            looks_at: now,
            tags: BTreeMap::new(),
            next_tag: 0,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            records: count,
            busy: BTreeMap::new(),
            outputs: VecDeque::from([Output::Note(Occurrence::Started)]),
        };
        host.look_later();
        host.settle();
        host
    }

    fn handle(&mut self, now: Duration, input: Input<Self>) {
        self.now = now;
        match input {
            Input::Request { call, from, request } => self.request(call, &from, request),
            Input::Outcome { tag, result } => self.outcome(tag, result),
            Input::Synced { ticket } => self.synced(ticket),
            Input::Timeout => {
                self.coordinator.handle_timeout(now);
                self.participant.handle_timeout(now);
                self.finish_work();
                if self.looks_at <= now {
                    self.look();
                }
            }
            Input::Command => {
                if !(self.random.chance(GIVES_UP) && self.give_up()) {
                    self.begin();
                }
            }
        }
        self.settle();
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let busy = self.busy.keys().next().map(|(at, _)| *at);
        [self.coordinator.poll_timeout(), self.participant.poll_timeout(), busy, Some(self.looks_at)]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll(&mut self) -> Option<Output<Self>> {
        self.outputs.pop_front()
    }

    fn step(output: &Output<Self>) -> String {
        let name = match output {
            Output::Send { request, .. } => match request {
                Message::Prepare(_) => "sending a prepare",
                Message::Commit(_) => "sending a commit",
                Message::Abort(_) => "sending an abort",
                Message::Question(_) => "sending a question",
                Message::GivenUp => "asking for a list",
            },
            Output::GiveUp { .. } => "giving a request up",
            Output::Answer { result, .. } => match result {
                Ok(Answer::Vote(TransactionVote { vote: Vote::Commit, .. })) => "answering a vote to commit",
                Ok(Answer::Vote(_)) => "answering another vote",
                Ok(Answer::Ack(_)) => "answering an acknowledgement",
                Ok(Answer::Verdict(Verdict::Decided(Decision::Commit))) => "answering that it is committed",
                Ok(Answer::Verdict(Verdict::Decided(Decision::Abort))) => "answering that it is aborted",
                Ok(Answer::Verdict(Verdict::Undecided)) => "answering that it is not decided",
                Ok(Answer::GivenUp(_)) => "answering with a list",
                Err(_) => "refusing",
            },
            Output::Append { record, .. } => return format!("appending {}", Self::record(record)),
            Output::Replace { .. } => "replacing the log",
            Output::Note(Occurrence::Decided { .. }) => "telling the application",
            Output::Note(Occurrence::Applying { .. }) => "letting the resource apply",
            Output::Note(Occurrence::Applied { .. }) => "the resource has applied",
            Output::Note(_) => "taking note",
        };
        name.to_owned()
    }

    fn weight(output: &Output<Self>) -> f64 {
        match output {
            _ if is_planted() => 1.0,
            Output::Append { record, .. } => Self::weight_of_record(record),
            Output::Replace { .. }
            | Output::Answer { result: Ok(Answer::Verdict(Verdict::Decided(Decision::Commit))), .. } => 10.0,
            Output::Send { request: Message::GivenUp, .. } | Output::Answer { result: Ok(Answer::GivenUp(_)), .. } => {
                30.0
            }
            _ => 1.0,
        }
    }

    fn weight_of_record(record: &[u8]) -> f64 {
        match Record::decode(record) {
            // What finds a bug is what comes of it later.
            _ if is_planted() => 1.0,
            Ok(Record::Resolved { .. } | Record::ResolvedForgotten { .. } | Record::GivenUp { .. }) => 20.0,
            _ => 1.0,
        }
    }

    fn record(record: &[u8]) -> String {
        let record = Record::decode(record).expect("only records are appended");
        let kind = format!("{record:?}");
        kind.split([' ', '{']).next().expect("a record has a kind").to_owned()
    }

    fn last_notes(&self) -> Vec<Occurrence> {
        let open = self.coordinator.open().chain(self.participant.held());
        open.map(|txn| Occurrence::LeftOpen { txn }).collect()
    }
}

impl TransactionNode {
    /// The application begins a transaction over some of the nodes, itself perhaps among them.
    fn begin(&mut self) {
        let mut others = self.nodes.clone();
        self.random.shuffle(&mut others);
        others.truncate(2 + self.random.index(others.len() - 1));
        let timeout = self.random.duration(Duration::from_millis(100), Duration::from_secs(3));
        let work = |node: &NodeId| (node.clone(), Payload::from(node.to_string()));
        let participants: Vec<_> = others.iter().map(work).collect();
        // A coordinator whose log is not ready refuses, and nothing has happened.
        if let Ok(txn) = self.coordinator.begin(self.now, participants, timeout) {
            self.note(Occurrence::Begun { txn, participants: others });
            if self.random.chance(0.03) {
                self.coordinator.abort(txn);
            }
        }
    }

    fn request(&mut self, call: u64, from: &NodeId, request: Message) {
        let id = CallId(call);
        match request {
            Message::Prepare(message) => self.participant.handle_prepare(id, from, message),
            Message::Commit(message) => self.participant.handle_commit(self.now, id, from, &message),
            Message::Abort(message) => self.participant.handle_abort(id, from, &message),
            Message::Question(vote) => {
                let verdict = self.coordinator.handle_question(self.now, from, vote);
                self.outputs.push_back(Output::Answer { call, result: Ok(Answer::Verdict(verdict)) });
            }
            Message::GivenUp => {
                let list = self.coordinator.given_up().find(|given_up| given_up.node == *from).cloned();
                self.outputs.push_back(Output::Answer { call, result: Ok(Answer::GivenUp(list)) });
            }
        }
    }

    fn outcome(&mut self, tag: u64, result: Result<Answer, RequestError>) {
        let now = self.now;
        match self.tags.remove(&tag).expect("each request has one outcome") {
            Tag::Prepare(txn, node) => {
                let vote = result.map(|answer| match answer {
                    Answer::Vote(vote) => vote,
                    other => panic!("a prepare is answered with a vote, not {other:?}"),
                });
                self.coordinator.handle_prepared(now, txn, &node, vote);
            }
            Tag::Commit(txn, node) => {
                let ack = result.map(|answer| match answer {
                    Answer::Ack(ack) => ack,
                    other => panic!("a commit is acknowledged, not {other:?}"),
                });
                self.coordinator.handle_told(txn, &node, ack);
            }
            Tag::Abort => {}
            Tag::Question(txn) => {
                let verdict = result.map(|answer| match answer {
                    Answer::Verdict(verdict) => verdict,
                    other => panic!("a question is answered with a verdict, not {other:?}"),
                });
                self.participant.handle_verdict(now, txn, verdict);
            }
            Tag::GivenUp(coordinator) => match result {
                Ok(Answer::GivenUp(Some(list))) => self.resolve(&coordinator, &list),
                Ok(Answer::GivenUp(None)) | Err(_) => {}
                Ok(other) => panic!("an operator is given a list, not {other:?}"),
            },
        }
    }

    fn synced(&mut self, ticket: u64) {
        while let Some(entry) = self.tickets.first_entry().filter(|entry| *entry.key() <= ticket) {
            match entry.remove() {
                (true, ticket) => self.coordinator.handle_synced(self.now, ticket),
                (false, ticket) => self.participant.handle_synced(self.now, ticket),
            }
        }
    }

    fn finish_work(&mut self) {
        while let Some(entry) = self.busy.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Busy::Working(txn, vote) => self.participant.handle_worked(self.now, txn, vote, ""),
                Busy::Applying(txn, _) if self.random.chance(0.05) => {
                    self.participant.handle_apply_failed(self.now, txn)
                }
                Busy::Applying(txn, decision) => {
                    self.note(Occurrence::Applied { txn, decision });
                    self.participant.handle_applied(txn);
                }
            }
        }
    }

    fn note(&mut self, note: Occurrence) {
        self.outputs.push_back(Output::Note(note));
    }

    pub(crate) fn send(&mut self, tag: Tag, to: NodeId, request: Message, timeout: Duration) {
        self.next_tag += 1;
        self.tags.insert(self.next_tag, tag);
        self.outputs.push_back(Output::Send { tag: self.next_tag, to, request, timeout });
    }

    fn append(&mut self, record: &Record, forced: Option<Ticket>, is_coordinator: bool) {
        let ticket = forced.map(|ticket| {
            self.next_ticket += 1;
            self.tickets.insert(self.next_ticket, (is_coordinator, ticket));
            self.next_ticket
        });
        self.records += 1;
        self.outputs.push_back(Output::Append { record: record.encode(), ticket });
    }

    fn be_busy(&mut self, with: Busy) {
        let ms = Duration::from_millis;
        let delay = match self.random.index(40) {
            0 => self.random.duration(ms(500), ms(4000)),
            1..=10 => self.random.duration(ms(0), ms(50)),
            _ => Duration::ZERO,
        };
        self.next_tag += 1;
        self.busy.insert((self.now + delay, self.next_tag), with);
    }

    /// Turns what the machines want into the world's outputs.
    fn settle(&mut self) {
        loop {
            if let Some(action) = self.coordinator.poll_action() {
                self.coordinate(action);
            } else if let Some(action) = self.participant.poll_action() {
                self.participate(action);
            } else {
                break;
            }
        }
        let live = || self.coordinator.live_records().into_iter().chain(self.participant.live_records());
        if self.records > RECORDS_MAX && live().count() + RECORDS_MAX / 2 < self.records {
            let records: Vec<Vec<u8>> = live().map(|record| record.encode()).collect();
            self.records = records.len();
            self.outputs.push_back(Output::Replace { records });
        }
    }

    fn coordinate(&mut self, action: CoordinatorAction) {
        match action {
            CoordinatorAction::Prepare { node, message, timeout } => {
                self.send(Tag::Prepare(message.txn_id, node.clone()), node, Message::Prepare(message), timeout);
            }
            CoordinatorAction::GiveUp { txn, node } => {
                let is_it = |tag: &Tag| matches!(tag, Tag::Prepare(t, n) if (*t, n) == (txn, &node));
                let given_up: Vec<u64> =
                    self.tags.iter().filter(|(_, tag)| is_it(tag)).map(|(number, _)| *number).collect();
                for tag in given_up {
                    self.tags.remove(&tag);
                    self.outputs.push_back(Output::GiveUp { tag });
                }
            }
            CoordinatorAction::Append { record, forced } => self.append(&record, forced, true),
            CoordinatorAction::Commit { node, message, timeout } => {
                self.send(Tag::Commit(message.txn_id, node.clone()), node, Message::Commit(message), timeout);
            }
            CoordinatorAction::Abort { node, message, timeout } => {
                self.send(Tag::Abort, node, Message::Abort(message), timeout);
            }
            CoordinatorAction::Decided { txn, decision, .. } => self.note(Occurrence::Decided { txn, decision }),
            CoordinatorAction::Ended { .. } | CoordinatorAction::StillGivenUp { .. } => {}
            CoordinatorAction::GivenUp { node, transactions, .. } => {
                let list = self.coordinator.given_up().find(|given_up| given_up.node == node).expect("it is given up");
                assert!(transactions.iter().all(|txn| list.transactions.contains(txn)), "{transactions:?}, {list:?}");
            }
        }
    }

    fn participate(&mut self, action: ParticipantAction) {
        match action {
            ParticipantAction::Answer { call, answer } => {
                if let ParticipantAnswer::Vote(TransactionVote { txn_id: txn, vote, .. }) = answer {
                    self.note(Occurrence::Voted { txn, vote });
                }
                let result = match answer {
                    ParticipantAnswer::Vote(vote) => Ok(Answer::Vote(vote)),
                    ParticipantAnswer::Ack(ack) => Ok(Answer::Ack(ack)),
                    ParticipantAnswer::Refused(refusal) => {
                        let honest = matches!(refusal, Refusal::Full | Refusal::Busy) || is_planted();
                        assert!(honest, "no machine does what is refused as {refusal}");
                        Err(if refusal == Refusal::Busy { Effect::Unknown } else { Effect::NotStarted })
                    }
                };
                self.outputs.push_back(Output::Answer { call: call.0, result });
            }
            ParticipantAction::Work { txn, .. } => {
                let vote = match self.random.index(20) {
                    0 => Vote::Abort,
                    1 | 2 => Vote::ReadOnly,
                    _ => Vote::Commit,
                };
                self.be_busy(Busy::Working(txn, vote));
            }
            ParticipantAction::Restore { .. } => {}
            ParticipantAction::AckPresumed { .. } => PRESUMED.set(PRESUMED.get() + 1),
            ParticipantAction::Resolved { txn, decision } => self.note(Occurrence::Resolved { txn, decision }),
            ParticipantAction::Contradicted { txn, .. } => {
                assert!(is_planted(), "the operator did as documented, and {txn:?} is mixed");
            }
            ParticipantAction::Append { record, forced } => self.append(&record, forced, false),
            ParticipantAction::Apply { txn, decision } => {
                self.note(Occurrence::Applying { txn, decision });
                self.be_busy(Busy::Applying(txn, decision));
            }
            ParticipantAction::Ask { coordinator, message, timeout } => {
                let TransactionVote { txn_id: txn, vote, .. } = message;
                self.note(Occurrence::Voted { txn, vote });
                self.send(Tag::Question(txn), coordinator, Message::Question(message), timeout);
            }
        }
    }
}
