//! One message to many nodes, and what became of each.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rdb_net_session::Reply;
use rdb_net_types::{NodeId, RequestError};
use tokio::task::JoinSet;

/// The name of a gathering: replies to messages that were sent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(pub u64);

/// What became of a message to one node.
#[derive(Debug)]
pub struct NodeOutcome {
    /// The node.
    pub node: NodeId,
    /// Its reply, or why there is none and whether it may have acted.
    pub result: Result<Reply, RequestError>,
}

/// How many gatherings may be open that nobody has collected.
const OPEN_MAX: usize = 1024;

pub(crate) type Requests = JoinSet<NodeOutcome>;

#[derive(Debug, Default)]
struct Open {
    next: u64,
    gatherings: BTreeMap<CorrelationId, Requests>,
}

/// The gatherings that are open.
#[derive(Debug, Default)]
pub(crate) struct Gatherings {
    open: Mutex<Open>,
}

const LOCKED: &str = "no code panics while it holds this lock";

impl Gatherings {
    /// Keeps the requests until they are collected. Beyond the limit the oldest gathering is given up, and its requests with
    /// it.
    pub(crate) fn open(&self, requests: Requests) -> CorrelationId {
        let mut open = self.open.lock().expect(LOCKED);
        open.next += 1;
        let id = CorrelationId(open.next);
        if open.gatherings.len() >= OPEN_MAX {
            open.gatherings.pop_first();
        }
        open.gatherings.insert(id, requests);
        id
    }

    pub(crate) fn take(&self, id: CorrelationId) -> Option<Requests> {
        self.open.lock().expect(LOCKED).gatherings.remove(&id)
    }

    pub(crate) fn clear(&self) {
        self.open.lock().expect(LOCKED).gatherings.clear();
    }
}

/// Waits for all of them. Each request ends by itself at its deadline, so nothing is waited for longer.
pub(crate) async fn collect(mut requests: Requests) -> Vec<NodeOutcome> {
    let mut outcomes = Vec::with_capacity(requests.len());
    while let Some(ended) = requests.join_next().await {
        // A request's task neither panics nor is aborted while its set lives.
        outcomes.extend(ended.ok());
    }
    outcomes.sort_by(|a, b| a.node.cmp(&b.node));
    outcomes
}
