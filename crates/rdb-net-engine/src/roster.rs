//! The members as they were told, and what each change of membership means to the application.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdb_net_types::{MembershipEvent, NodeAddress, NodeId, NodeInfo, NodeState};
use rdb_swim::{Event, MemberRecord};

use crate::metadata;

/// The event that tells of a node.
type Transition = fn(Arc<NodeInfo>) -> MembershipEvent;

/// All members by id, this node included: exactly what folding the told events gives.
#[derive(Debug)]
pub(crate) struct Roster {
    own: NodeId,
    members: BTreeMap<NodeId, Arc<NodeInfo>>,
    /// Routable members by the address of their transport.
    addresses: BTreeMap<NodeAddress, NodeId>,
    /// How many members are held in each state, in the order of the states.
    counts: [usize; 4],
    pub(crate) undecodable: u64,
}

/// How many members are held in each state, this node included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Alive and not suspected.
    pub alive: usize,
    /// Suspected, and routed to as before.
    pub suspect: usize,
    /// Failed.
    pub failed: usize,
    /// Left.
    pub left: usize,
}

impl Census {
    /// How many are routed to.
    pub const fn routable(&self) -> usize {
        self.alive + self.suspect
    }
}

impl Roster {
    pub(crate) fn new(own: Arc<NodeInfo>) -> Self {
        Self {
            own: own.id.clone(),
            members: BTreeMap::from([(own.id.clone(), own)]),
            addresses: BTreeMap::new(),
            counts: [1, 0, 0, 0],
            undecodable: 0,
        }
    }

    pub(crate) fn local(&self) -> &Arc<NodeInfo> {
        self.members.get(&self.own).expect("this node is always a member")
    }

    pub(crate) fn find(&self, node: &NodeId) -> Option<&Arc<NodeInfo>> {
        self.members.get(node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.members.values()
    }

    /// The other members that messages are sent to: routable, and their transport's address is known.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.members.values().filter(|node| node.id != self.own && is_reachable(node))
    }

    /// Where a member's transport listens, if it is one that messages are sent to.
    pub(crate) fn address_of(&self, node: &NodeId) -> Option<NodeAddress> {
        self.members.get(node).filter(|node| is_reachable(node)).map(|node| node.address.clone())
    }

    /// Whether a routable member listens at this address.
    pub(crate) fn is_live_address(&self, address: &NodeAddress) -> bool {
        self.addresses.contains_key(address)
    }

    pub(crate) fn census(&self) -> Census {
        let [alive, suspect, failed, left] = self.counts;
        Census { alive, suspect, failed, left }
    }

    /// Takes a change that membership tells; `None` where it is no change of a member.
    pub(crate) fn take(&mut self, event: &Event) -> Option<MembershipEvent> {
        use MembershipEvent as Told;
        let (record, state, told): (_, _, Transition) = match event {
            Event::Joined(record) => (record, NodeState::Alive, Told::NodeJoined),
            Event::Left(record) => (record, NodeState::Left, Told::NodeLeft),
            Event::Failed(record) => (record, NodeState::Failed, Told::NodeFailed),
            Event::Recovered(record) => (record, NodeState::Alive, Told::NodeRecovered),
            Event::Updated(record) => (record, record.state, Told::NodeUpdated),
            Event::Suspected(record) => (record, NodeState::Suspect, Told::NodeSuspected),
            Event::Trusted(record) => (record, NodeState::Alive, Told::NodeTrusted),
            Event::Forgotten(record) => {
                let former = self.members.get(&record.id).cloned();
                self.remove(&record.id);
                return Some(Told::NodeForgotten(former.unwrap_or_else(|| self.describe(record, record.state))));
            }
            _ => return None,
        };
        let node = self.describe(record, state);
        self.insert(Arc::clone(&node));
        Some(told(node))
    }

    /// Puts this node's own new description in.
    pub(crate) fn set_local(&mut self, node: NodeInfo) -> Arc<NodeInfo> {
        let node = Arc::new(node);
        self.insert(Arc::clone(&node));
        node
    }

    /// The state of the event, which may be older than what the record says.
    fn describe(&mut self, record: &MemberRecord, state: NodeState) -> Arc<NodeInfo> {
        let node = metadata::decode(record).unwrap_or_else(|_| {
            self.undecodable += 1;
            metadata::unknown(record)
        });
        Arc::new(NodeInfo { state, ..node })
    }

    fn insert(&mut self, node: Arc<NodeInfo>) {
        self.remove(&node.id);
        *self.counter(node.state) += 1;
        if node.id != self.own && is_reachable(&node) {
            self.addresses.insert(node.address.clone(), node.id.clone());
        }
        self.members.insert(node.id.clone(), node);
    }

    fn remove(&mut self, id: &NodeId) {
        let Some(node) = self.members.remove(id) else { return };
        *self.counter(node.state) -= 1;
        if self.addresses.get(&node.address) == Some(id) {
            self.addresses.remove(&node.address);
        }
    }

    fn counter(&mut self, state: NodeState) -> &mut usize {
        &mut self.counts[state as usize]
    }
}

/// Whether messages are sent to this node.
pub(crate) fn is_reachable(node: &NodeInfo) -> bool {
    node.state.is_routable() && node.address.port() != 0
}
