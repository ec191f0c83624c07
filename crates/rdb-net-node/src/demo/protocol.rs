//! What the demo and its nodes say to each other: JSON, a line each; orders on a node's stdin, what happens on its stdout.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdb_net_manager::NetworkEvent;
use rdb_net_patterns::transaction::{Decision, Occurrence};
use rdb_net_types::{Effect, HealthStatus, NodeAddress, NodeId, NodeState};
use serde::{Deserialize, Serialize};

use super::holds::HoldOrder;
use super::replication::{LogOrder, LogTold};
use super::table::Answer;

/// What a node is told to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Ask every member that is alive, this node included, and tell what became of it.
    Query(QueryOrder),
    /// Something about the replica of a log.
    Log(LogOrder),
    /// Begin a transaction, and tell what became of it.
    Transact(TransactOrder),
    /// Hold something of transactions back, or let it go on; and tell when that is so.
    Hold(HoldOrder),
    /// Tell which transactions are open.
    Open(bool),
    /// Tell the members.
    Members(bool),
    /// Say farewell to the cluster and stay up.
    Leave(bool),
    /// Go on when stdin ends.
    Detach(bool),
}

/// A query to carry out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueryOrder {
    /// By the orderer's count.
    pub(crate) id: u64,
    /// In the language of the table; with `streamed` before it, the rows come some at a time, with `slowly` with pauses between them.
    pub(crate) text: String,
    /// How many parts are enough; all are wanted where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<usize>,
}

/// A transaction to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransactOrder {
    /// By the orderer's count.
    pub(crate) number: u64,
    /// Over whom.
    pub(crate) participants: Vec<NodeId>,
}

/// Something that happened at a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// When, by the wall clock: milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub(crate) told: Told,
}

/// What happened at a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Told {
    /// It listens.
    Started { node: NodeId, address: NodeAddress, admin: Option<NodeAddress> },
    /// It knows the cluster.
    Joined { members: usize },
    /// The membership changed, as this node sees it.
    Membership { change: Change, node: NodeId, state: NodeState },
    /// A node is better or worse than it was, seen from this one.
    Health { node: NodeId, from: HealthStatus, to: HealthStatus },
    /// A connection came up or ended.
    Connection { node: NodeId, up: bool, reason: String },
    /// The members, as ordered.
    Members { members: BTreeMap<NodeId, NodeState> },
    /// Some rows of every part of a slow query have come, and more are to come.
    Streaming { id: u64 },
    /// What became of a query.
    Answered(Answered),
    /// Something about the replica of a log.
    Log(LogTold),
    /// Something happened to a transaction: microseconds since 1970, and what.
    Transaction { at_us: u64, what: Occurrence },
    /// What became of a transaction.
    Transacted(Transacted),
    /// From now on something is held back, or no more: microseconds since 1970.
    Held { at_us: u64, order: HoldOrder },
    /// What is open here.
    Open(Open),
    /// The farewell that was ordered is said.
    Left { acknowledged: bool },
    /// Anything else that the node tells.
    Other { text: String },
}

/// The kinds of changes of a membership, by the names of their events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "these are the specification's names of the events")]
pub(crate) enum Change {
    NodeJoined,
    NodeLeft,
    NodeFailed,
    NodeRecovered,
    NodeUpdated,
    NodeSuspected,
    NodeTrusted,
    NodeForgotten,
}

/// What became of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answered {
    /// Which query.
    pub(crate) id: u64,
    /// Who was asked, by ascending id.
    pub(crate) asked: Vec<NodeId>,
    /// What became of each one's part, by ascending id.
    pub(crate) outcomes: Vec<Outcome>,
    /// The answers as one; `null` where one of them could not be read.
    pub(crate) merged: Option<Answer>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transacted {
    /// Which, by the orderer's count.
    pub(crate) number: u64,
    /// What was decided; `null` where it was not begun, or the node ended before.
    pub(crate) decision: Option<Decision>,
    /// Why it was not committed, for people.
    pub(crate) cause: Option<String>,
}

/// What a node holds of transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// Those that are open, as their coordinator or as a participant: 32 digits each.
    pub(crate) transactions: Vec<String>,
    /// How many this life found in its log, in doubt or not told to all.
    pub(crate) recovered: u64,
    /// How many forced records shared how many syncs.
    pub(crate) syncs: u64,
}

/// What became of one node's part of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) node: NodeId,
    /// How it ended.
    pub(crate) ended: Ended,
    /// Why it is not complete; `null` where it is.
    pub(crate) failure: Option<FailureLine>,
    /// What has come of it, of a slow query; `null` of others.
    pub(crate) rows: Option<Answer>,
}

/// How a part ended, by the names of the query library's outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// All of its rows have come.
    Complete,
    /// None has.
    Failed,
    /// Some have, and then no more.
    Broken,
    /// The time was over first.
    Late,
    /// Others were enough.
    NotNeeded,
}

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureLine {
    /// Whether the node may have acted.
    pub(crate) effect: Effect,
    /// What happened, by the name of the reason.
    pub(crate) reason: String,
    /// For people.
    pub(crate) text: String,
}

impl Line {
    /// Something that happens now.
    pub(crate) fn now(told: Told) -> Self {
        Self { at_ms: unix_ms(), told }
    }
}

impl From<NetworkEvent> for Told {
    fn from(event: NetworkEvent) -> Self {
        let other = |text: String| Self::Other { text };
        match event {
            NetworkEvent::Membership(event) => {
                let (node, state) = (event.node_id().clone(), event.node().state);
                let name = serde_json::Value::from(event.name());
                match serde_json::from_value(name) {
                    Ok(change) => Self::Membership { change, node, state },
                    Err(_) => other(format!("{} of {node}", event.name())),
                }
            }
            NetworkEvent::Health { node, from, to } => Self::Health { node, from, to },
            NetworkEvent::Connection { node, up, reason } => Self::Connection { node, up, reason },
            NetworkEvent::Joined { members } => Self::Joined { members },
            NetworkEvent::SeedsUnreachable { attempts } => {
                other(format!("no seed answered, each was tried {attempts} times"))
            }
            NetworkEvent::DuplicateNode { address } => other(format!("{address} uses the same node id")),
            NetworkEvent::Lagged { missed, .. } => other(format!("{missed} events were missed")),
            event => other(format!("{event:?}")),
        }
    }
}

/// The wall clock: milliseconds since 1970. It is the one clock that all processes of a machine share.
pub(crate) fn unix_ms() -> u64 {
    unix_us() / 1000
}

/// The same clock in microseconds.
pub(crate) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdb_net_types::{MembershipEvent, NodeInfo};

    use super::super::replication::Place;
    use super::*;

    #[test]
    fn orders_are_written_as_people_would_type_them() {
        let query = Order::Query(QueryOrder { id: 7, text: "sum".to_owned(), first: None });
        let participants = vec!["n1".parse().expect("legal")];
        let transact = Order::Transact(TransactOrder { number: 8, participants });
        for (line, order) in [
            (r#"{"query":{"id":7,"text":"sum"}}"#, query),
            (r#"{"log":{"append":{"until":9,"bytes":64}}}"#, Order::Log(LogOrder::Append { until: 9, bytes: 64 })),
            (r#"{"transact":{"number":8,"participants":["n1"]}}"#, transact),
            (r#"{"hold":{"votes":true}}"#, Order::Hold(HoldOrder::Votes(true))),
            (r#"{"open":true}"#, Order::Open(true)),
            (r#"{"members":true}"#, Order::Members(true)),
            (r#"{"leave":true}"#, Order::Leave(true)),
            (r#"{"detach":true}"#, Order::Detach(true)),
        ] {
            assert_eq!(serde_json::from_str::<Order>(line).expect(line), order);
            assert_eq!(serde_json::to_string(&order).expect("serialises"), line);
        }
        assert!(serde_json::from_str::<Order>(r#"{"stop":true}"#).is_err());
    }

    #[test]
    fn every_change_of_the_membership_is_told_by_its_name() {
        let node = Arc::new(NodeInfo::seed("127.0.0.1:7000".parse().expect("legal")));
        let told = |event: fn(Arc<NodeInfo>) -> MembershipEvent| {
            Told::from(NetworkEvent::Membership(event(Arc::clone(&node))))
        };
        for (event, expected) in [
            (MembershipEvent::NodeJoined as fn(_) -> _, Change::NodeJoined),
            (MembershipEvent::NodeLeft, Change::NodeLeft),
            (MembershipEvent::NodeFailed, Change::NodeFailed),
            (MembershipEvent::NodeRecovered, Change::NodeRecovered),
            (MembershipEvent::NodeUpdated, Change::NodeUpdated),
            (MembershipEvent::NodeSuspected, Change::NodeSuspected),
            (MembershipEvent::NodeTrusted, Change::NodeTrusted),
            (MembershipEvent::NodeForgotten, Change::NodeForgotten),
        ] {
            assert!(matches!(told(event), Told::Membership { change, .. } if change == expected), "{expected:?}");
        }
    }

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        let node: NodeId = "n1".parse().expect("legal");
        let failure = FailureLine { effect: Effect::Unknown, reason: "expired".to_owned(), text: "late".to_owned() };
        let answered = Answered {
            id: 3,
            asked: vec![node.clone()],
            outcomes: vec![Outcome { node: node.clone(), ended: Ended::Late, failure: Some(failure), rows: None }],
            merged: Some(Answer::Number(9)),
        };
        let last = Place { index: 1, epoch: 2, digest: u64::MAX };
        let log = Told::Log(LogTold::Status { last, committed: 1 });
        let members = BTreeMap::from([(node, NodeState::Alive)]);
        let txn = rdb_net_types::TransactionId(u128::MAX - 5);
        let what = Occurrence::Voted { txn, vote: rdb_net_types::Vote::ReadOnly };
        let transaction = Told::Transaction { at_us: 5, what };
        for told in [Told::Answered(answered), Told::Members { members }, Told::Joined { members: 3 }, log, transaction]
        {
            let line = Line { at_ms: 1_800_000_000_123, told };
            let json = serde_json::to_string(&line).expect("serialises");
            assert_eq!(serde_json::from_str::<Line>(&json).expect("reads"), line, "{json}");
        }
    }
}
