//! Messages to members: one, any, all.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_transport::{CallOptions, Reply, ReplyStream, StreamOptions};
use rdb_net_types::{ClusterMessage, Effect, NodeId, Reason, RequestError, SelectionCriteria};
use rdb_net_wire::Encode;

use crate::gather::{self, CorrelationId, NodeOutcome};
use crate::manager::NetworkManager;
use crate::node::Node;

impl NetworkManager {
    /// The time by the clock of [`Request::deadline`](crate::Request::deadline): how much of it is left is what a handler may take.
    pub fn now(&self) -> Duration {
        self.transport.clock().now()
    }

    pub(crate) fn running(&self) -> Result<&Arc<Node>, RequestError> {
        self.node.get().ok_or_else(|| {
            RequestError::new(Effect::NotSent, Reason::ShuttingDown).because("the manager is not started")
        })
    }

    /// Queues a one-way message to a member. `Ok` means queued; a request with an empty reply is the acknowledged send.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: its effect says whether the peer may have acted.
    pub async fn send(&self, node: &NodeId, message: &ClusterMessage) -> Result<(), RequestError> {
        self.running()?.send(node, message, CallOptions::default()).await
    }

    /// Sends a request to a member and waits for the reply.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: its effect says whether the peer may have acted, its reason what happened.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the request up; the peer's handler is told. It may have acted.
    pub async fn request<M>(&self, node: &NodeId, message: &M, options: CallOptions) -> Result<Reply, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        self.running()?.request(node, message, options).await
    }

    /// Sends a request to a member, this node allowed, that is answered by a stream of replies. Ready when it is queued.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; from another node with the effect `NotSent`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing. Dropping the stream gives the request up; the peer's handler is told.
    pub async fn stream<M>(
        &self,
        node: &NodeId,
        message: &M,
        options: StreamOptions,
    ) -> Result<ReplyStream, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        self.running()?.stream(node, message, options).await
    }

    /// Sends a request to a member that fits, chosen by the balancer, and tells the balancer how it went.
    ///
    /// # Errors
    ///
    /// [`RequestError`], `NoneEligible` where no member fits.
    pub async fn request_any<M>(
        &self,
        criteria: &SelectionCriteria,
        message: &M,
        options: CallOptions,
    ) -> Result<(NodeId, Reply), RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        self.running()?.request_any(criteria, message, options).await
    }

    /// Sends one message to each of these members, this node allowed, and waits until each has its outcome: by ascending id,
    /// one for each.
    pub async fn request_all<M>(&self, nodes: &[NodeId], message: M, options: CallOptions) -> Vec<NodeOutcome>
    where
        M: Encode + Clone + Send + Sync + 'static,
    {
        let messages = nodes.iter().map(|node| (node.clone(), message.clone())).collect();
        match self.running() {
            Ok(node) => gather::collect(node.scatter(messages, options)).await,
            Err(error) => {
                let outcome = |node: &NodeId| NodeOutcome { node: node.clone(), result: Err(error.clone()) };
                nodes.iter().map(outcome).collect()
            }
        }
    }

    /// Sends each member its message and does not wait: the replies are collected by [`receive_all`](Self::receive_all).
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the manager does not run.
    pub fn scatter<M>(&self, messages: Vec<(NodeId, M)>, options: CallOptions) -> Result<CorrelationId, RequestError>
    where
        M: Encode + Send + Sync + 'static,
    {
        let node = self.running()?;
        Ok(node.gatherings.open(node.scatter(messages, options)))
    }

    /// Collects the outcomes of what was sent together, by ascending node id, until its deadline. Each gathering is collected
    /// once; `None` for one that is not known.
    pub async fn receive_all(&self, correlation: CorrelationId) -> Option<Vec<NodeOutcome>> {
        let requests = self.node.get()?.gatherings.take(correlation)?;
        Some(gather::collect(requests).await)
    }
}
