//! The manager: from a configuration to a running node, and back to nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use rdb_discovery::DiscoverySource;
use rdb_net_engine::{Engine, EngineConfig};
use rdb_net_membership::Gossip;
use rdb_net_transport::{Backend, Handler, HandlerOptions, Transport};
use rdb_net_types::{BootId, Incarnation, MessageType, NodeAddress, NodeInfo};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Loader};
use crate::error::{FatalError, StartError};
use crate::events::{EventBus, EventSubscription};
use crate::following::Gate;
use crate::gather::Gatherings;
#[cfg(feature = "secure")]
use crate::memory::Memory;
use crate::node::{Node, Routes};
use crate::pump::{Driven, Outbox};
use crate::sources::Sources;
use crate::way::Streams;

/// Where a running node can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Its transport.
    pub transport: NodeAddress,
    /// Its gossip socket.
    pub gossip: SocketAddr,
}

/// Central coordinator of a node: starts and stops the parts, carries messages, and tells what happens.
///
/// Handlers are registered before [`start`](Self::start); messages are sent after it.
pub struct NetworkManager {
    pub(crate) config: Config,
    pub(crate) loader: Option<Loader>,
    boot: BootId,
    pub(crate) transport: Transport,
    pub(crate) bus: Arc<EventBus>,
    pub(crate) node: Arc<OnceLock<Arc<Node>>>,
    gossip_address: OnceLock<SocketAddr>,
    starting: tokio::sync::Mutex<bool>,
    /// The first one of this life.
    incarnation: Incarnation,
    /// The node's certificates, where TLS is on.
    #[cfg(feature = "secure")]
    tls: Option<rdb_net_tls::Tls>,
    /// What nodes prove to each other, where it is a secret.
    #[cfg(feature = "secure")]
    secret: Option<rdb_net_tls::secret::SharedSecret>,
    /// What the node remembers of its former life.
    #[cfg(feature = "secure")]
    pub(crate) memory: Option<Arc<Memory>>,
    sources: Sources,
}

impl NetworkManager {
    /// A manager over the transport that the configuration names. Nothing listens yet.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] names every key at fault; [`StartError::NoTransport`] where this build has none.
    pub fn new(config: Config) -> Result<Self, StartError> {
        config.check_runnable()?;
        #[cfg(feature = "secure")]
        if config.tls.enabled {
            let mut config = config;
            let tls = crate::security::load(&mut config)?;
            let backend = crate::security::backend(&config, &tls)?;
            return Ok(Self { tls: Some(tls), ..Self::assembled(config, backend)? });
        }
        #[cfg(feature = "tls")]
        if config.shared_secret.is_set() {
            let secret = crate::security::load_secret(&config.shared_secret)?;
            let backend = Arc::new(crate::security::secret_backend(&config, &secret));
            return Ok(Self { secret: Some(secret), ..Self::assembled(config, backend)? });
        }
        #[cfg(feature = "tcp")]
        {
            let backend = rdb_net_tcp::TcpBackend::new(config.tcp());
            Self::assembled(config, Arc::new(backend))
        }
        #[cfg(not(feature = "tcp"))]
        Err(StartError::NoTransport)
    }

    /// A manager over a transport of one's own.
    ///
    /// # Errors
    ///
    /// [`StartError::Config`] names every key at fault.
    pub fn with_backend(config: Config, backend: Arc<dyn Backend>) -> Result<Self, StartError> {
        config.check_runnable()?;
        if config.tls.enabled || config.shared_secret.is_set() {
            return Err(StartError::OwnTransport);
        }
        Self::assembled(config, backend)
    }

    fn assembled(config: Config, backend: Arc<dyn Backend>) -> Result<Self, StartError> {
        let boot = BootId(entropy());
        let advertised = config.advertised(config.bind_address.port());
        #[cfg(feature = "secure")]
        let memory = {
            let (node, tombstone_age) = (config.effective_node_id(&advertised), config.gossip.swim.tombstone_age);
            Memory::load(&config.state, &config.cluster_id, &node, tombstone_age)?
        };
        #[cfg(feature = "secure")]
        let incarnation = crate::memory::first_incarnation(unix_seconds(), memory.as_ref());
        #[cfg(not(feature = "secure"))]
        let incarnation = Incarnation::first_of(unix_seconds());
        let identity = config.identity(&advertised, incarnation, boot);
        let transport = Transport::new(config.transport(identity, entropy()), backend);
        let sources = Sources::new(crate::sources::make(&config, |kind| crate::wiring::last_good(&config, kind))?);
        let node = Arc::new(OnceLock::<Arc<Node>>::new());
        let members = {
            let node = Arc::clone(&node);
            move || node.get().map(|node| node.gossip.look(|driven, _| driven.0.members())).unwrap_or_default()
        };
        Ok(Self {
            config,
            loader: None,
            boot,
            transport,
            bus: Arc::new(EventBus::new(Arc::new(members))),
            node,
            gossip_address: OnceLock::new(),
            starting: tokio::sync::Mutex::new(false),
            incarnation,
            #[cfg(feature = "secure")]
            tls: None,
            #[cfg(feature = "secure")]
            secret: None,
            #[cfg(feature = "secure")]
            memory: memory.map(Arc::new),
            sources,
        })
    }

    /// Finds nodes through this source, and registers this node there where nodes register themselves. The sources of the
    /// configuration are listed beside it, and count less. It is started and stopped with the node; one that is away holds up
    /// neither.
    #[must_use]
    pub fn with_discovery(mut self, source: Arc<dyn DiscoverySource>) -> Self {
        let configured = Some(self.sources).filter(|_| self.config.service_discovery.has_source());
        self.sources = configured.unwrap_or_default().with_first(source);
        self
    }

    /// Registers who answers a message type. A former handler of the type is replaced and ends what it has begun.
    pub fn handle(&self, message_type: MessageType, handler: Arc<dyn Handler>, options: HandlerOptions) {
        self.transport.handle(message_type, handler, options);
    }

    /// Listens, joins the cluster in the background, and runs until [`shutdown`](Self::shutdown). Starting what runs changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`StartError`] names the thing and the key at fault; nothing is left running.
    pub async fn start(&self) -> Result<(), StartError> {
        let mut stopped = self.starting.lock().await;
        if *stopped {
            return Err(StartError::ShutDown);
        }
        if self.node.get().is_some() {
            return Ok(());
        }
        self.transport.start().await?;
        let begun = self.begin().await;
        if begun.is_err() {
            *stopped = true;
            self.transport.shutdown().await;
        }
        begun
    }

    async fn begin(&self) -> Result<(), StartError> {
        for key in self.config.without_effect() {
            tracing::warn!(key = key.path, "this key has no effect in this version");
        }
        let socket = rdb_net_membership::bind(&self.gossip_bind()).await?;
        let advertised = self.transport.advertised_address();
        let gossip_address = self.advertised_gossip(&socket, &advertised).await?;
        self.gossip_address.get_or_init(|| gossip_address);
        let node = self.assemble(&advertised, gossip_address)?;
        self.run(&node, socket)?;
        if let Some(discovery) = self.sources.whole() {
            let started = discovery.initialize().await;
            if let Err(error) = started {
                node.cancel.cancel();
                return Err(StartError::Discovery(error.to_string()));
            }
            let settings = &self.config.service_discovery;
            node.tasks.spawn(crate::following::follow(Arc::clone(&node), Arc::clone(discovery), Gate::of(settings)));
            if settings.register && discovery.capabilities().registers {
                node.tasks.spawn(crate::following::register(Arc::clone(&node), Arc::clone(discovery)));
            }
        }
        node.refresh_routes();
        let _first = self.node.set(node);
        Ok(())
    }

    /// Gossip stands one port above the transport's, which the kernel may have chosen.
    fn gossip_bind(&self) -> NodeAddress {
        let bind = self.config.gossip_bind();
        match (self.config.gossip_address.is_some(), self.transport.local_address()) {
            (false, Some(local)) if bind.port() != 0 => bind.with_port(local.port().saturating_add(1)),
            _ => bind,
        }
    }

    /// Where others reach the gossip socket: at the advertised host, unless the socket is bound to one address.
    async fn advertised_gossip(&self, socket: &UdpSocket, advertised: &NodeAddress) -> Result<SocketAddr, StartError> {
        let failed = |problem: String| StartError::Advertise { host: advertised.host().to_owned(), problem };
        let local = socket.local_addr().map_err(|error| failed(error.to_string()))?;
        if !local.ip().is_unspecified() {
            return Ok(local);
        }
        let resolved = tokio::net::lookup_host((advertised.host(), local.port())).await;
        let mut candidates = resolved.map_err(|error| failed(error.to_string()))?;
        candidates
            .find(|candidate| candidate.is_ipv4() == local.is_ipv4())
            .ok_or_else(|| failed("it has no address of the gossip socket's kind".to_owned()))
    }

    fn assemble(&self, advertised: &NodeAddress, gossip: SocketAddr) -> Result<Arc<Node>, StartError> {
        let config = &self.config;
        let info = NodeInfo {
            boot: self.boot,
            incarnation: self.incarnation,
            admin_address: config.admin_bind().filter(|admin| admin.port() != 0),
            ..config.node_info(advertised)
        };
        let engine_config = EngineConfig {
            health: config.health(),
            phi: config.failure_detector,
            strategy: config.balancer().strategy,
            seed_retry_max: config.service_discovery.retry_max,
            split_brain: config.split_brain(),
            ..EngineConfig::with_swim(config.swim())
        };
        let clock = self.transport.clock();
        let id = info.id.clone();
        self.transport.set_identity(|identity| identity.node = id.clone());
        let engine = Engine::new(engine_config, config.cluster_id.clone(), info, gossip, entropy(), clock.now())?;
        #[cfg(feature = "secure")]
        let engine = {
            let mut engine = engine;
            self.memory.iter().for_each(|memory| memory.remind(&mut engine, clock.now()));
            engine
        };
        let balancer = Arc::clone(engine.balancer());
        let weights = &config.load_balancing.weights;
        balancer.update_weights(weights.iter().map(|(node, weight)| (node.clone(), weight.value())).collect());
        Ok(Arc::new(Node {
            id,
            cluster: config.cluster_id.to_string(),
            started: std::time::Instant::now(),
            transport: self.transport.clone(),
            gossip: Gossip::new(Driven(engine), clock.origin()),
            balancer,
            outbox: Arc::new(Outbox::default()),
            bus: Arc::clone(&self.bus),
            routes: ArcSwap::from_pointee(Routes::new()),
            since: Mutex::default(),
            sync_waiters: Mutex::default(),
            gatherings: Gatherings::default(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            joined: watch::Sender::new(false),
            left: watch::Sender::new(None),
            fatal: watch::Sender::new(None),
            is_withdrawn: false.into(),
            request_timeout: config.request_timeout,
            running: Mutex::new(config.clone()),
            reloading: tokio::sync::Mutex::default(),
            sources: self.sources.each().to_vec(),
            streams: Arc::new(Streams::new(config.gossip.transport, self.transport.clone())),
            #[cfg(feature = "secure")]
            keys: crate::security::gossip_keys(config, self.secret.as_ref(), clock.now()).map(Arc::new),
            #[cfg(feature = "secure")]
            tls: self.tls.clone(),
            #[cfg(feature = "secure")]
            memory: self.memory.clone(),
        }))
    }

    /// Says farewell, lets everything under way end, and stops. Stopping again changes nothing. Returns whether everything
    /// ended in time; if not, it was cut off.
    pub async fn shutdown(&self) -> bool {
        let mut stopped = self.starting.lock().await;
        if std::mem::replace(&mut *stopped, true) {
            return true;
        }
        let node = self.node.get();
        if let Some(node) = node {
            node.leave(LEAVE_TIMEOUT).await;
        }
        if let Some(discovery) = self.sources.whole()
            && let Err(error) = discovery.shutdown().await
        {
            tracing::warn!(%error, "discovery did not stop in order");
        }
        let in_time = self.transport.shutdown().await;
        if let Some(node) = node {
            node.gatherings.clear();
            node.cancel.cancel();
            node.tasks.close();
            node.tasks.wait().await;
        }
        self.bus.close();
        in_time
    }

    /// This node before its start, as far as the configuration tells.
    pub(crate) fn unstarted(&self) -> Arc<NodeInfo> {
        Arc::new(self.config.node_info(&self.transport.advertised_address()))
    }

    /// Where the node can be reached; the kernel's ports, where port 0 was configured.
    pub fn addresses(&self) -> Addresses {
        let transport = self.transport.advertised_address();
        let gossip = self.gossip_address.get().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        Addresses { transport, gossip }
    }

    /// The members, by ascending id, this node included, failed and left ones too.
    pub fn members(&self) -> Vec<Arc<NodeInfo>> {
        self.node.get().map(|node| node.gossip.look(|driven, _| driven.0.members())).unwrap_or_default()
    }

    /// Everything that happens, from here on.
    pub fn events(&self) -> EventSubscription {
        self.bus.subscribe()
    }

    /// Waits until this node has joined its cluster.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_joined(&self) {
        if let Some(node) = self.node.get() {
            let mut joined = node.joined.subscribe();
            // The sender lives as long as the node, which this borrows.
            let _joined = joined.wait_for(|joined| *joined).await;
        }
    }

    /// Waits until the node has to stop for a reason that no retry helps.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_fatal(&self) -> FatalError {
        let Some(node) = self.node.get() else { return std::future::pending().await };
        let mut fatal = node.fatal.subscribe();
        let told = fatal.wait_for(Option::is_some).await.ok().and_then(|fatal| fatal.clone());
        match told {
            Some(fatal) => fatal,
            None => std::future::pending().await,
        }
    }

    /// The configuration that it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// How long a shutdown waits for the farewell to be acknowledged, beyond the farewell's own time.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A number that differs from process to process: the seed of all jitter, and the name of this life.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The wall clock: the generation of a node's process.
fn unix_seconds() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX - 0xffff))
}

impl std::fmt::Debug for NetworkManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkManager").field("running", &self.node.get().is_some()).finish_non_exhaustive()
    }
}
