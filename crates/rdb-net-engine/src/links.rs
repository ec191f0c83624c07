//! Which links a node keeps, and which it has.
//!
//! Ids stand on a ring by their hash, and each node keeps a link to its next few successors. So every process has as many
//! observers as links are kept, wherever it stands and however large the cluster is, and an observer whose link breaks asks
//! the address whether anybody listens there.

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_peer::LinkSide;
use rdb_net_types::{NodeAddress, NodeId};

use crate::command::Command;

/// Connections that are up, by the side that this node has in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Up {
    dialled: u32,
    accepted: u32,
}

/// The ring, the links that are kept, and the connections that are up.
#[derive(Debug)]
pub(crate) struct Links {
    own: (u64, NodeId),
    count: usize,
    ring: BTreeSet<(u64, NodeId)>,
    kept: BTreeMap<NodeId, NodeAddress>,
    up: BTreeMap<NodeId, Up>,
    is_dirty: bool,
}

impl Links {
    pub(crate) fn new(own: &NodeId, count: usize) -> Self {
        Self {
            own: (place(own), own.clone()),
            count,
            ring: BTreeSet::new(),
            kept: BTreeMap::new(),
            up: BTreeMap::new(),
            is_dirty: false,
        }
    }

    /// A member whose address is known is routable.
    pub(crate) fn enter(&mut self, node: &NodeId) {
        self.ring.insert((place(node), node.clone()));
        self.is_dirty = true;
    }

    /// A member is not routable any more.
    pub(crate) fn leave(&mut self, node: &NodeId) {
        self.is_dirty |= self.ring.remove(&(place(node), node.clone()));
    }

    /// What changes about the links that are kept.
    pub(crate) fn update(&mut self, address_of: impl Fn(&NodeId) -> Option<NodeAddress>) -> Vec<Command> {
        if !std::mem::take(&mut self.is_dirty) {
            return Vec::new();
        }
        let wanted: BTreeMap<NodeId, NodeAddress> =
            self.successors().filter_map(|node| address_of(node).map(|address| (node.clone(), address))).collect();
        self.keep(wanted)
    }

    /// Keeps no link any more.
    pub(crate) fn drop_all(&mut self) -> Vec<Command> {
        self.ring.clear();
        self.keep(BTreeMap::new())
    }

    fn keep(&mut self, wanted: BTreeMap<NodeId, NodeAddress>) -> Vec<Command> {
        let dropped = self.kept.keys().filter(|node| !wanted.contains_key(*node));
        let mut commands: Vec<Command> = dropped.map(|node| Command::DropLink { node: node.clone() }).collect();
        let new = wanted.iter().filter(|(node, address)| self.kept.get(*node) != Some(*address));
        commands.extend(new.map(|(node, address)| Command::KeepLink { node: node.clone(), address: address.clone() }));
        self.kept = wanted;
        commands
    }

    fn successors(&self) -> impl Iterator<Item = &NodeId> {
        let behind = self.ring.range(&self.own..);
        behind.chain(self.ring.range(..&self.own)).take(self.count).map(|(_, node)| node)
    }

    pub(crate) fn came_up(&mut self, node: &NodeId, side: LinkSide) {
        let up = self.up.entry(node.clone()).or_default();
        match side {
            LinkSide::Dialer => up.dialled += 1,
            LinkSide::Acceptor => up.accepted += 1,
        }
    }

    pub(crate) fn went_down(&mut self, node: &NodeId, side: LinkSide) {
        let Some(up) = self.up.get_mut(node) else { return };
        match side {
            LinkSide::Dialer => up.dialled = up.dialled.saturating_sub(1),
            LinkSide::Acceptor => up.accepted = up.accepted.saturating_sub(1),
        }
        if *up == Up::default() {
            self.up.remove(node);
        }
    }

    /// Whether this node can ask that one over a connection of its own.
    pub(crate) fn is_dialled(&self, node: &NodeId) -> bool {
        self.up.get(node).is_some_and(|up| up.dialled > 0)
    }

    pub(crate) fn kept(&self) -> impl Iterator<Item = &NodeId> {
        self.kept.keys()
    }

    /// How many of the kept links are up.
    pub(crate) fn kept_up(&self) -> usize {
        self.kept.keys().filter(|node| self.is_dialled(node)).count()
    }

    /// Those that have a connection with this one, whoever dialled it.
    pub(crate) fn connected_nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.up.keys()
    }

    /// How many nodes have a connection with this one.
    pub(crate) fn connected(&self) -> usize {
        self.up.len()
    }
}

/// A node's place on the ring, the same on every node: FNV-1a of the id (Fowler, Noll, Vo; draft-eastlake-fnv), mixed by the
/// finalizer of SplitMix64 so that ids which differ in their last digit do not stand side by side.
fn place(node: &NodeId) -> u64 {
    let hash = node
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> NodeId {
        NodeId::new(&format!("node-{n}")).expect("legal")
    }

    fn address(node: &NodeId) -> Option<NodeAddress> {
        NodeAddress::new(node.as_str(), 7000).ok()
    }

    fn links_of(own: usize, n: usize) -> BTreeSet<NodeId> {
        let mut links = Links::new(&id(own), 3);
        (0..n).filter(|other| *other != own).for_each(|other| links.enter(&id(other)));
        links.update(address);
        links.kept().cloned().collect()
    }

    #[test]
    fn every_node_has_three_observers() {
        for n in [4, 5, 50, 200] {
            let mut observers: BTreeMap<NodeId, usize> = BTreeMap::new();
            for own in 0..n {
                links_of(own, n).into_iter().for_each(|node| *observers.entry(node).or_default() += 1);
            }
            assert_eq!(observers.len(), n);
            assert!(observers.values().all(|count| *count == 3), "{n} nodes: {observers:?}");
        }
    }

    #[test]
    fn in_a_small_cluster_a_node_keeps_a_link_to_each_other_once() {
        assert_eq!(links_of(0, 3), BTreeSet::from([id(1), id(2)]));
        assert!(links_of(0, 1).is_empty());
    }

    #[test]
    fn a_member_that_goes_moves_one_link() {
        let mut links = Links::new(&id(0), 3);
        (1..20).for_each(|other| links.enter(&id(other)));
        assert_eq!(links.update(address).len(), 3);
        assert_eq!(links.update(address), [], "nothing has changed");
        let gone = links.kept().next().expect("three").clone();
        links.leave(&gone);
        let commands = links.update(address);
        assert_eq!(commands.len(), 2);
        assert_eq!(commands[0], Command::DropLink { node: gone });
        assert!(matches!(commands[1], Command::KeepLink { .. }));
    }

    #[test]
    fn a_kept_member_that_moves_is_kept_at_its_new_address() {
        let mut links = Links::new(&id(0), 3);
        links.enter(&id(1));
        links.update(address);
        links.enter(&id(1));
        let moved: NodeAddress = "10.0.0.9:1".parse().expect("legal");
        let commands = links.update(|_| Some(moved.clone()));
        assert_eq!(commands, [Command::KeepLink { node: id(1), address: moved.clone() }]);
    }
}
