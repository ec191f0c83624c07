//! A source in memory with promises that expire, as a backend and as a scene.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rdb_discovery::{
    Capabilities, Cause, Delta, DiscoverySource, NodeKey, Policy, RegistrationConfig, RemovalReason, gives_way,
};
use rdb_discovery_driver::conformance::{Kind, Scene, Traits};
use rdb_discovery_driver::{Backend, CompositeDiscovery, Discovery, DriverConfig, Registrar, RegistrationFault, Voice};
use rdb_net_types::{BoxFuture, NodeId, NodeInfo};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

const TTL: Duration = Duration::from_millis(900);
/// Shorter than a promise, so that who comes and goes is told.
const DEBOUNCE_MAX: Duration = Duration::from_millis(400);

/// The registry. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    shared: Arc<Mutex<Shared>>,
    changed: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    away: bool,
    nodes: BTreeMap<NodeId, NodeInfo>,
    /// When the promises to those nodes end that have registered themselves.
    ends: BTreeMap<NodeId, Instant>,
    /// Names that said farewell.
    farewells: Vec<NodeId>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { shared: Arc::default(), changed: Arc::new(watch::Sender::new(())) }
    }
}

pub(crate) fn config() -> DriverConfig {
    let registration =
        RegistrationConfig { conflict_retry: Duration::from_millis(500), ..RegistrationConfig::default() };
    let policy = Policy { debounce_max: DEBOUNCE_MAX, ..Policy::remote() };
    DriverConfig { registration, policy, ..DriverConfig::default() }
}

impl Memory {
    pub(crate) fn discovery(&self, config: DriverConfig) -> Discovery {
        Discovery::new(Arc::new(self.clone()), "memory", config)
    }

    pub(crate) fn write(&self, nodes: &[NodeInfo]) {
        self.change(|shared| {
            shared.nodes = nodes.iter().map(|node| (node.id.clone(), node.clone())).collect();
            shared.ends.retain(|id, _| shared.nodes.contains_key(id));
        });
    }

    pub(crate) fn cut(&self, away: bool) {
        self.change(|shared| shared.away = away);
    }

    /// Who was promised to be kept until now, and no longer, is gone.
    fn expire(&self) {
        let now = Instant::now();
        self.change(|shared| {
            let Shared { ends, nodes, .. } = shared;
            nodes.retain(|id, _| ends.get(id).is_none_or(|end| *end > now));
            ends.retain(|_, end| *end > now);
        });
    }

    /// When the next promise ends.
    fn next_end(&self) -> Option<Instant> {
        self.lock().ends.values().min().copied()
    }

    fn change(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic")
    }

    /// What the source says at this time.
    fn ask(&self) -> Result<BTreeMap<NodeId, NodeInfo>, Cause> {
        let shared = self.lock();
        if shared.away { Err(Cause::unavailable("memory is away")) } else { Ok(shared.nodes.clone()) }
    }
}

impl Backend for Memory {
    fn component(&self) -> &'static str {
        "MemoryDiscovery"
    }

    fn source_name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { registers: true, watches: true, names_nodes: true }
    }

    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut changes = self.changed.subscribe();
            let mut known: Option<BTreeMap<NodeId, NodeInfo>> = None;
            loop {
                match self.ask() {
                    Ok(nodes) => {
                        let list = || nodes.values().cloned().collect();
                        match known.replace(nodes.clone()) {
                            None if voice.has_answered() => voice.resync(list()),
                            None => voice.full(list()),
                            Some(old) => voice.delta(self.deltas(&old, &nodes)),
                        }
                    }
                    Err(cause) => {
                        known = None;
                        voice.failure(cause);
                    }
                }
                let end = self.next_end();
                tokio::select! {
                    changed = changes.changed() => changed.expect("the sender is ours"),
                    () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => self.expire(),
                    () = voice.refresh_wanted() => {
                        if let Ok(nodes) = self.ask() {
                            voice.full(nodes.into_values().collect());
                        }
                    }
                }
            }
        })
    }

    fn registrar(&self) -> Option<Box<dyn Registrar>> {
        Some(Box::new(Registering { memory: self.clone(), node: None }))
    }
}

impl Memory {
    fn deltas(&self, old: &BTreeMap<NodeId, NodeInfo>, new: &BTreeMap<NodeId, NodeInfo>) -> Vec<Delta> {
        let shared = self.lock();
        let gone = old.keys().filter(|id| !new.contains_key(id)).map(|id| {
            let farewell = shared.farewells.contains(id);
            let why = if farewell { RemovalReason::Deregistered } else { RemovalReason::Expired };
            Delta::Remove { key: NodeKey::Id(id.clone()), why }
        });
        let put = new.values().filter(|node| old.get(&node.id) != Some(node));
        gone.chain(put.map(|node| Delta::Put(Arc::new(node.clone())))).collect()
    }
}

struct Registering {
    memory: Memory,
    node: Option<Arc<NodeInfo>>,
}

impl Registering {
    /// Whether what stands there is this process's.
    fn standing(&self) -> Result<(), RegistrationFault> {
        let nodes = self.memory.ask()?;
        let node = self.node.as_ref().expect("written before");
        match nodes.get(&node.id) {
            None => Err(RegistrationFault::Lapsed(Cause::missing("memory forgot"))),
            Some(other) if other.boot == node.boot => Ok(()),
            Some(other) => Err(RegistrationFault::Conflict { other: other.boot.to_string().into() }),
        }
    }
}

impl Registrar for Registering {
    fn write(&mut self, node: Arc<NodeInfo>, _anew: bool) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        self.node = Some(Arc::clone(&node));
        let standing = self.memory.ask().map(|nodes| nodes.get(&node.id).cloned());
        let outcome = match standing {
            Err(cause) => Err(cause.into()),
            Ok(Some(other)) if !gives_way(&other, &node) => {
                Err(RegistrationFault::Conflict { other: other.boot.to_string().into() })
            }
            Ok(_) => {
                self.memory.change(|shared| {
                    shared.farewells.retain(|id| *id != node.id);
                    shared.nodes.insert(node.id.clone(), NodeInfo::clone(&node));
                    shared.ends.insert(node.id.clone(), Instant::now() + TTL);
                });
                Ok(TTL)
            }
        };
        Box::pin(std::future::ready(outcome))
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        let renewed = self.standing().map(|()| {
            let id = self.node.as_ref().expect("written before").id.clone();
            self.memory.lock().ends.insert(id, Instant::now() + TTL);
            TTL
        });
        Box::pin(std::future::ready(renewed))
    }

    fn withdraw(&mut self) -> BoxFuture<'_, Result<(), RegistrationFault>> {
        let outcome = match self.standing() {
            Ok(()) => {
                let id = self.node.as_ref().expect("written before").id.clone();
                self.memory.change(|shared| {
                    shared.nodes.remove(&id);
                    shared.ends.remove(&id);
                    shared.farewells.push(id);
                });
                Ok(())
            }
            Err(RegistrationFault::Failed(cause)) => Err(RegistrationFault::Failed(cause)),
            Err(_) => Ok(()),
        };
        Box::pin(std::future::ready(outcome))
    }
}

/// One source in memory.
pub(crate) struct Memories;

impl Kind for Memories {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        Box::pin(std::future::ready(Some(Box::new(Memory::default()) as Box<dyn Scene>)))
    }
}

impl Scene for Memory {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        Arc::new(self.discovery(config()))
    }

    fn traits(&self) -> Traits {
        Traits::registry()
    }

    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()> {
        Memory::write(self, nodes);
        Box::pin(std::future::ready(()))
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        Memory::cut(self, true);
        Box::pin(std::future::ready(()))
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        Memory::cut(self, false);
        Box::pin(std::future::ready(()))
    }
}

/// Two sources: the first has every node, the second those with an even port.
pub(crate) struct Composites;

struct Pair {
    all: Memory,
    half: Memory,
}

impl Kind for Composites {
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>> {
        let pair = Pair { all: Memory::default(), half: Memory::default() };
        Box::pin(std::future::ready(Some(Box::new(pair) as Box<dyn Scene>)))
    }
}

impl Scene for Pair {
    fn source(&self) -> Arc<dyn DiscoverySource> {
        let sources =
            [&self.all, &self.half].map(|memory| Arc::new(memory.discovery(config())) as Arc<dyn DiscoverySource>);
        Arc::new(CompositeDiscovery::new(sources.to_vec(), config()))
    }

    fn traits(&self) -> Traits {
        Traits { whole: false, ..Traits::registry() }
    }

    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()> {
        let half: Vec<_> = nodes.iter().filter(|node| node.address.port() % 2 == 0).cloned().collect();
        self.half.write(&half);
        self.all.write(nodes);
        Box::pin(std::future::ready(()))
    }

    fn cut(&self) -> BoxFuture<'_, ()> {
        self.all.cut(true);
        self.half.cut(true);
        Box::pin(std::future::ready(()))
    }

    fn heal(&self) -> BoxFuture<'_, ()> {
        self.all.cut(false);
        self.half.cut(false);
        Box::pin(std::future::ready(()))
    }
}
