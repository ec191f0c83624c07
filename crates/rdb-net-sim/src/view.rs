//! What can be asked of a simulation.

use std::time::Duration;

use rdb_net_engine::Engine;
use rdb_net_types::{BootId, NodeState};

use crate::host::Life;
use crate::invariant::Violation;
use crate::invariant::scene::Scene;
use crate::simulation::Simulation;

impl Simulation {
    /// The simulated time since the origin.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many hosts there are.
    pub fn nodes(&self) -> usize {
        self.hosts.len()
    }

    /// What a host does.
    pub fn life(&self, node: usize) -> Life {
        self.hosts[node].life
    }

    /// The engine of the process on this host.
    pub fn engine(&self, node: usize) -> Option<&Engine> {
        self.hosts[node].process.as_ref().map(|process| &process.engine)
    }

    /// The boot id of the process on this host.
    pub fn boot(&self, node: usize) -> Option<BootId> {
        self.hosts[node].process.as_ref().map(|process| process.boot)
    }

    /// Hosts whose process runs.
    pub fn running(&self) -> impl Iterator<Item = (usize, &Engine)> {
        let running = self.hosts.iter().enumerate().filter(|(_, host)| host.life == Life::Running);
        running.filter_map(|(node, host)| host.process.as_ref().map(|process| (node, &process.engine)))
    }

    /// Whether every running process but the subject's own holds it in this state.
    pub fn all_hold(&self, subject: usize, state: NodeState) -> bool {
        let id = &self.hosts[subject].id;
        self.running()
            .filter(|(node, _)| *node != subject)
            .all(|(_, engine)| engine.member(id).is_some_and(|member| member.state == state))
    }

    /// Whether all running processes have the same view, with so many routable members.
    pub fn agrees(&self, members: usize) -> bool {
        let mut digest = None;
        self.running().all(|(_, engine)| {
            let seen = engine.view_digest();
            *digest.get_or_insert(seen) == seen && engine.census().alive == members
        })
    }

    /// How many events of this name were told of this node, by all others together.
    pub fn count(&self, event: &str, subject: usize) -> u64 {
        self.watch.count(event, &self.hosts[subject].id)
    }

    /// How many events of this name were told of all nodes.
    pub fn count_all(&self, event: &str) -> u64 {
        self.watch.count_all(event)
    }

    /// What has gone against an invariant.
    pub fn violations(&self) -> &[Violation] {
        self.watch.violations()
    }

    /// Nothing is done to the cluster from here on, and nothing is on its way: what it does until [`Self::check_at_rest`] is what
    /// it does at rest.
    pub fn begin_rest(&mut self) {
        let mut rules = self.watch.lend();
        rules.iter_mut().for_each(|rule| rule.rests(self));
        self.watch.take_back(self.now, rules, Vec::new());
    }

    /// Checks what holds whenever the cluster has come to rest.
    pub fn check_at_rest(&mut self) {
        let mut rules = self.watch.lend();
        let check = |rule: &mut Box<dyn crate::invariant::Invariant>| {
            let found = rule.at_rest(self).err()?;
            Some((rule.name(), found))
        };
        let found = rules.iter_mut().filter_map(check).collect();
        self.watch.take_back(self.now, rules, found);
    }

    pub(crate) fn scene(&self) -> &Scene {
        &self.watch.scene
    }

    /// The hash of everything that was delivered and told so far.
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// Datagrams delivered, their bytes, pieces of streams delivered, and dials.
    pub fn traffic(&self) -> (u64, u64, u64, u64) {
        (self.packets, self.packet_bytes, self.segments, self.dials)
    }
}
