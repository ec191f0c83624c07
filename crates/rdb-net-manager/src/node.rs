//! The running node: what its parts share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rdb_net_membership::Gossip;
use rdb_net_transport::{CallOptions, PeerHandle, Reply, ReplyStream, StreamOptions, Transport};
use rdb_net_types::{CallOutcome, Effect, Heartbeat, NodeId, NodeInfo, Reason, RequestError, SelectionCriteria};
use rdb_net_wire::Encode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::FatalError;
use crate::events::EventBus;
use crate::gather::{Gatherings, NodeOutcome, Requests};
use crate::pump::{Driven, Outbox, SyncWaiters};
use crate::way::Streams;

/// Where a message to a node goes.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// To this node itself.
    Local,
    /// Over a connection.
    Peer(PeerHandle),
    /// Nowhere, while membership holds the node in this state.
    Unroutable(Arc<NodeInfo>),
}

pub(crate) type Routes = BTreeMap<NodeId, Route>;

/// What the parts of a running node share.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) cluster: String,
    pub(crate) started: std::time::Instant,
    pub(crate) transport: Transport,
    pub(crate) gossip: Gossip<Driven>,
    pub(crate) balancer: Arc<rdb_balance::Balancer>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) bus: Arc<EventBus>,
    pub(crate) routes: ArcSwap<Routes>,
    /// Since when membership has held each member in its state, by the engine's clock.
    pub(crate) since: Mutex<BTreeMap<NodeId, Duration>>,
    pub(crate) sync_waiters: SyncWaiters,
    pub(crate) gatherings: Gatherings,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
    pub(crate) joined: watch::Sender<bool>,
    pub(crate) left: watch::Sender<Option<usize>>,
    pub(crate) fatal: watch::Sender<Option<FatalError>>,
    /// A split-brain strategy has decided that this node's side does not go on.
    pub(crate) is_withdrawn: AtomicBool,
    pub(crate) request_timeout: Duration,
    /// The configuration as it is in force.
    pub(crate) running: Mutex<crate::config::Config>,
    /// Whose turn it is to read the configuration again.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// Where it finds others, the source that counts most first.
    pub(crate) sources: Vec<Arc<dyn rdb_discovery::DiscoverySource>>,
    /// Gossip inside connections.
    pub(crate) streams: Arc<Streams>,
    /// The keys that seal gossip, where TLS is on or nodes share a secret.
    #[cfg(feature = "secure")]
    pub(crate) keys: Option<Arc<crate::keys::Keys>>,
    /// The certificates, where TLS is on.
    #[cfg(feature = "secure")]
    pub(crate) tls: Option<rdb_net_tls::Tls>,
    /// What the node remembers over a restart, where it does.
    #[cfg(feature = "secure")]
    pub(crate) memory: Option<Arc<crate::memory::Memory>>,
}

impl Node {
    /// Makes the routes follow the membership.
    pub(crate) fn refresh_routes(&self) {
        let members = self.gossip.look(|driven, _| driven.0.members());
        self.streams.learn(&members);
        let routes = members.into_iter().map(|member| (member.id.clone(), self.route_to(member)));
        self.routes.store(Arc::new(routes.collect()));
    }

    fn route_to(&self, member: Arc<NodeInfo>) -> Route {
        if member.id == self.id {
            Route::Local
        } else if member.state.is_routable() {
            Route::Peer(self.transport.peer(&member.id, &member.address))
        } else {
            Route::Unroutable(member)
        }
    }

    /// A handle to a member that can be reached.
    #[cfg(feature = "secure")]
    pub(crate) fn peer_of(&self, node: &NodeId) -> Option<PeerHandle> {
        match self.routes.load().get(node) {
            Some(Route::Peer(peer)) => Some(peer.clone()),
            _ => None,
        }
    }

    /// For how long membership has held a member in its state.
    pub(crate) fn in_state_for(&self, node: &NodeId) -> Duration {
        let since = self.since.lock().expect("no code panics while it holds this lock").get(node).copied();
        since.map_or_else(|| self.started.elapsed(), |since| self.transport.clock().now().saturating_sub(since))
    }

    /// Says farewell, and waits until enough members have acknowledged it. `false` when too few did in time.
    pub(crate) async fn leave(&self, timeout: Duration) -> bool {
        let mut left = self.left.subscribe();
        self.gossip.with(|driven, now| driven.0.leave(now));
        tokio::time::timeout(timeout, left.wait_for(Option::is_some)).await.is_ok()
    }

    fn withdrawn(&self) -> RequestError {
        let verdict = self.gossip.look(|driven, _| driven.0.split_verdict());
        let error = RequestError::new(Effect::NotSent, Reason::Withdrawn);
        verdict.map_or(error.clone(), |verdict| error.because(&verdict.to_string()))
    }

    fn route(&self, node: &NodeId) -> Result<Route, RequestError> {
        match self.way_to(node)? {
            Route::Peer(_) if self.is_withdrawn.load(Ordering::Relaxed) => Err(self.withdrawn().of(node)),
            route => Ok(route),
        }
    }

    /// The way to a member, whatever a split-brain strategy says of messages.
    fn way_to(&self, node: &NodeId) -> Result<Route, RequestError> {
        let route = self.routes.load().get(node).cloned();
        // A member that membership has just taken in is one, although the routes come a moment later.
        let is_it = |member: &Arc<NodeInfo>| member.id == *node;
        let newcomer = || self.gossip.look(|driven, _| driven.0.members()).into_iter().find(is_it);
        match route.or_else(|| newcomer().map(|member| self.route_to(member))) {
            Some(Route::Unroutable(member)) => {
                let detail = format!("the member has {}", member.state);
                Err(RequestError::new(Effect::NotSent, Reason::Unreachable).of(node).because(&detail))
            }
            Some(route) => Ok(route),
            None => Err(RequestError::new(Effect::NotSent, Reason::UnknownNode).of(node)),
        }
    }

    pub(crate) async fn request<M>(
        &self,
        node: &NodeId,
        message: &M,
        options: CallOptions,
    ) -> Result<Reply, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let options = CallOptions { timeout: options.timeout.or(Some(self.request_timeout)), ..options };
        match self.route(node)? {
            Route::Peer(peer) => peer.request(message, options).await,
            Route::Local | Route::Unroutable(_) => self.transport.request_local(message, options).await,
        }
    }

    /// Asks a member whether it is there, also while this side withdraws: then membership goes on asking as well.
    pub(crate) async fn ask(&self, node: &NodeId, timeout: Duration) -> Result<Reply, RequestError> {
        let (heartbeat, options) =
            (Heartbeat { node_id: self.id.clone(), timestamp_us: 0 }, CallOptions::timeout(timeout));
        match self.way_to(node)? {
            Route::Peer(peer) => peer.request(&heartbeat, options).await,
            Route::Local | Route::Unroutable(_) => self.transport.request_local(&heartbeat, options).await,
        }
    }

    pub(crate) async fn stream<M>(
        &self,
        node: &NodeId,
        message: &M,
        mut options: StreamOptions,
    ) -> Result<ReplyStream, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        options.call.timeout = options.call.timeout.or(Some(self.request_timeout));
        match self.route(node)? {
            Route::Peer(peer) => peer.stream(message, options).await,
            Route::Local | Route::Unroutable(_) => self.transport.stream_local(message, options.call),
        }
    }

    pub(crate) async fn send<M>(&self, node: &NodeId, message: &M, options: CallOptions) -> Result<(), RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        match self.route(node)? {
            Route::Peer(peer) => peer.send(message, options).await,
            // A one-way message to oneself has nobody to wait for its answer either.
            Route::Local | Route::Unroutable(_) => self.transport.request_local(message, options).await.map(drop),
        }
    }

    /// Sends a request to a node that fits, and tells the balancer how it went.
    pub(crate) async fn request_any<M>(
        &self,
        criteria: &SelectionCriteria,
        message: &M,
        options: CallOptions,
    ) -> Result<(NodeId, Reply), RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let picked = self.balancer.pick(criteria);
        let pick = picked
            .map_err(|error| RequestError::new(Effect::NotSent, Reason::NoneEligible).because(&error.to_string()))?;
        let node = pick.node().clone();
        let result = self.request(&node, message, options).await;
        pick.finish(result.as_ref().map_or_else(outcome_of, |_| CallOutcome::Success));
        result.map(|reply| (node, reply))
    }

    /// Starts one request to each of these nodes.
    pub(crate) fn scatter<M>(self: &Arc<Self>, messages: Vec<(NodeId, M)>, options: CallOptions) -> Requests
    where
        M: Encode + Send + Sync + 'static,
    {
        let mut requests = Requests::new();
        for (node, message) in messages {
            let this = Arc::clone(self);
            requests.spawn(async move {
                let result = this.request(&node, &message, options).await;
                NodeOutcome { node, result }
            });
        }
        requests
    }
}

/// What an outcome says of the node, for the balancer.
fn outcome_of(error: &RequestError) -> CallOutcome {
    match error.reason {
        Reason::HandlerFailed | Reason::UnknownType | Reason::Malformed | Reason::TooLarge => {
            CallOutcome::ApplicationError
        }
        Reason::Overloaded(_) | Reason::Draining => CallOutcome::Overloaded,
        Reason::Expired => CallOutcome::TimedOut,
        Reason::Cancelled | Reason::ShuttingDown | Reason::Withdrawn | Reason::NoneEligible => CallOutcome::Cancelled,
        _ => CallOutcome::TransportError,
    }
}
