//! From the instances of a service to nodes, and why a node is no longer among them: pure.

use std::collections::{BTreeMap, BTreeSet};

use rdb_discovery::{Delta, MassRemoval, NodeKey, RemovalReason};
use rdb_net_types::{NodeAddress, NodeInfo};

use crate::config::ConsulConfig;
use crate::http::Instance;
use crate::meta;

/// Instances that make no sense, of which one is remembered each so that it is told once.
const GARBAGE_MAX: usize = 1_024;

/// The check by which an operator takes an instance or a machine out.
const MAINTENANCE: [&str; 2] = ["_service_maintenance", "_node_maintenance"];

/// How an instance stands by its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    /// All pass, or warn.
    Passing,
    /// An operator took it out.
    Maintenance,
    /// Its time ran out, or its machine is gone.
    Critical,
}

impl Health {
    pub(crate) fn of(instance: &Instance) -> Self {
        let maintained = |id: &str| MAINTENANCE.iter().any(|name| id.starts_with(name));
        let critical = instance.checks.iter().filter(|check| check.status == "critical");
        let states = critical.map(|check| if maintained(&check.id) { Self::Maintenance } else { Self::Critical });
        states.max().unwrap_or(Self::Passing)
    }

    fn reason(self) -> Option<RemovalReason> {
        match self {
            Self::Passing => None,
            Self::Maintenance => Some(RemovalReason::Deregistered),
            Self::Critical => Some(RemovalReason::Expired),
        }
    }
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Listing {
    /// The nodes whose checks pass.
    pub(crate) nodes: Vec<NodeInfo>,
    /// Those of before that are gone, and why.
    pub(crate) gone: Vec<Delta>,
}

/// What the instances of one service stand for, from list to list.
#[derive(Debug)]
pub(crate) struct Instances {
    /// What the ids of instances begin with.
    cluster: String,
    mass_removal: Option<MassRemoval>,
    present: BTreeSet<NodeKey>,
    /// Instances without sense, with the index at which that was told.
    garbage: BTreeMap<String, u64>,
    garbage_count: u64,
}

impl Instances {
    pub(crate) fn new(config: &ConsulConfig) -> Self {
        Self {
            cluster: format!("{}-", config.cluster),
            mass_removal: config.driver.policy.mass_removal,
            present: BTreeSet::new(),
            garbage: BTreeMap::new(),
            garbage_count: 0,
        }
    }

    /// Instances that made no sense, since the start.
    pub(crate) fn garbage_count(&self) -> u64 {
        self.garbage_count
    }

    /// Takes a list. `onward` where it follows the one before without a break.
    pub(crate) fn list(&mut self, instances: &[Instance], onward: bool) -> Listing {
        let mut found: BTreeMap<NodeKey, (Health, u64, NodeInfo)> = BTreeMap::new();
        for instance in instances {
            let Some(node) = self.node(instance) else { continue };
            let entry = (Health::of(instance), instance.service.modify_index, node);
            // One node at two agents: the one that lives, then the one of the later life, then the one written last.
            let rank = |(health, index, node): &(Health, u64, NodeInfo)| {
                (*health == Health::Passing, node.incarnation, *index)
            };
            let key = NodeKey::of(&entry.2);
            match found.get(&key) {
                Some(other) if rank(other) >= rank(&entry) => {}
                _ => {
                    found.insert(key, entry);
                }
            }
        }
        let mut gone = Vec::new();
        let mut vanished = Vec::new();
        for key in &self.present {
            match found.get(key).map(|(health, ..)| health.reason()) {
                Some(Some(why)) => gone.push(Delta::Remove { key: key.clone(), why }),
                Some(None) => {}
                None => vanished.push(key.clone()),
            }
        }
        if onward && !self.is_mass(vanished.len()) {
            let why = RemovalReason::Deregistered;
            gone.extend(vanished.into_iter().map(|key| Delta::Remove { key, why }));
        }
        let passing = found.into_iter().filter(|(_, (health, ..))| *health == Health::Passing);
        let (present, nodes) = passing.map(|(key, (_, _, node))| (key, node)).unzip();
        self.present = present;
        Listing { nodes, gone }
    }

    /// Whoever vanishes while its check passes has been deregistered, for a dead node stays as a critical one. But an agent that
    /// was restarted without its data forgets all its services as well: so many at once are not believed to have said farewell.
    fn is_mass(&self, vanished: usize) -> bool {
        self.mass_removal.is_some_and(|guard| {
            vanished >= guard.nodes_min && vanished * 100 > self.present.len() * usize::from(guard.share_percent)
        })
    }

    fn node(&mut self, instance: &Instance) -> Option<NodeInfo> {
        let service = &instance.service;
        let problem = match service.meta.as_ref().and_then(meta::read) {
            Some(Ok(document)) if format!("{}{}", self.cluster, document.node().id) != service.id => {
                format!("its document is of {}", document.node().id)
            }
            Some(Ok(document)) => {
                self.garbage.remove(&service.id);
                return Some(document.into_node());
            }
            Some(Err(error)) => error.to_string(),
            None => match seed(instance) {
                Some(seed) => return Some(seed),
                None => String::from("it has neither a document nor an address that can be dialled"),
            },
        };
        if self.garbage.get(&service.id) != Some(&service.modify_index) {
            self.garbage_count += 1;
            tracing::warn!(instance = service.id, problem, "an instance in Consul is passed over");
            if self.garbage.len() >= GARBAGE_MAX {
                self.garbage.pop_first();
            }
            self.garbage.insert(service.id.clone(), service.modify_index);
        }
        None
    }
}

/// What an operator has registered by hand, with an address and no more.
fn seed(instance: &Instance) -> Option<NodeInfo> {
    let Instance { node, service, .. } = instance;
    let host = if service.address.is_empty() { &node.address } else { &service.address };
    let address = NodeAddress::new(host, service.port).ok().filter(|address| address.port() > 0)?;
    Some(NodeInfo::seed(address))
}

#[cfg(test)]
mod tests;
