//! What callers hold: a handle to a peer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdb_net_peer::{Failure, State};
use rdb_net_session::{Reply, RequestOptions};
use rdb_net_types::{Effect, Lane, MessageType, NodeId, Reason, RequestError};
use rdb_net_wire::Encode;

use crate::exchange::{Call, Exchange, LinkError, LinkRef, not_sent};
use crate::link::Link;
use crate::registry::{LOOK_AGAIN, PeerShared};
use crate::stream::{ReplyStream, StreamOptions};
use crate::transport::Inner;

/// How a message travels. The defaults come from its type's row in the registry and from the transport's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallOptions {
    /// How long the caller waits, for everything: connection, credits and reply. On a connection that is up it counts from when
    /// the connection's task takes the request, which is as soon as the runtime lets it.
    pub timeout: Option<Duration>,
    /// The lane.
    pub lane: Option<Lane>,
    /// Whether carrying it out twice is the same as once.
    pub idempotent: Option<bool>,
}

impl CallOptions {
    /// The defaults, with this time-out.
    pub fn timeout(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..Self::default() }
    }
}

/// A handle to one peer. Cheap to clone.
pub struct PeerHandle {
    inner: Arc<Inner>,
    peer: Arc<PeerShared>,
    first_link: OnceLock<Arc<Link>>,
}

impl Clone for PeerHandle {
    /// The clone takes the connection that is there when it is first used.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.inner), Arc::clone(&self.peer))
    }
}

impl PeerHandle {
    pub(crate) fn new(inner: Arc<Inner>, peer: Arc<PeerShared>) -> Self {
        Self { inner, peer, first_link: OnceLock::new() }
    }

    /// The peer's id: the one it was asked for by, or the one its hello told.
    pub fn node(&self) -> Option<NodeId> {
        self.peer.target.clone().or_else(|| self.peer.link.load().as_ref().and_then(|link| link.node().cloned()))
    }

    /// Whether a connection is up.
    pub fn is_up(&self) -> bool {
        self.peer.link.load().as_ref().is_some_and(|link| link.is_up())
    }

    /// Where the dialing stands.
    pub fn state(&self) -> State {
        self.peer.with_machine(|machine| machine.state())
    }

    /// Keeps a connection whether it is used or not, or stops keeping it.
    pub fn keep(&self, kept: bool) {
        self.peer.with_machine(|machine| machine.keep(kept));
        self.inner.drive_peer(&self.peer);
    }

    /// Lets the next dial happen now.
    pub fn hurry(&self) {
        let now = self.inner.clock.now();
        self.peer.with_machine(|machine| machine.hurry(now));
        self.inner.drive_peer(&self.peer);
    }

    /// Sends a request and waits for the reply.
    ///
    /// Requests that are under way at once are in no order: they are written by thread. One-way messages of a lane keep
    /// theirs ([`send`](Self::send)).
    ///
    /// # Errors
    ///
    /// [`RequestError`]: its effect says whether the peer may have acted, its reason what happened.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the request up; the peer's handler is told. It may have acted.
    pub fn request<'a, M>(&'a self, message: &'a M, options: CallOptions) -> Call<'a, M>
    where
        M: Encode + Sync + ?Sized,
    {
        let spec = message.message_type().spec();
        let request = RequestOptions {
            lane: options.lane.unwrap_or(spec.lane),
            timeout: Some(options.timeout.unwrap_or(self.inner.config.request_timeout)),
            idempotent: options.idempotent.unwrap_or(spec.idempotent),
        };
        Call::new(self, request, message)
    }

    /// Sends a request on a connection that has to be made. The caller has waited already, where its deadline is known.
    pub(crate) async fn request_anew<M>(
        &self,
        deadline: Option<Duration>,
        mut request: RequestOptions,
        message: &M,
    ) -> Result<Reply, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let timeout = request.timeout.unwrap_or(self.inner.config.request_timeout);
        let deadline = deadline.unwrap_or_else(|| self.inner.clock.now().saturating_add(timeout));
        loop {
            let link = self.connect(deadline).await.map_err(|error| self.ended(error))?;
            request.timeout = Some(deadline.saturating_sub(self.inner.clock.now()));
            let mut exchange = Exchange::new(LinkRef::Own(link), request, message);
            match std::future::poll_fn(|context| exchange.poll_outcome(context)).await {
                Ok(outcome) => return outcome.map_err(|error| self.ended(error)),
                Err(_) => self.retire(exchange.link()),
            }
        }
    }

    /// The connection that messages take, if there is one. A handle remembers the first that it used, so that requests cost no
    /// count of references until the first reconnect; clones of the handle start anew.
    #[inline]
    pub(crate) fn link(&self) -> Option<LinkRef<'_>> {
        match self.first_link.get() {
            Some(link) if !link.is_retired() => Some(LinkRef::Kept(link)),
            Some(_) => self.peer.link.load_full().map(LinkRef::Own),
            None => {
                let link = self.peer.link.load_full()?;
                Some(LinkRef::Kept(self.first_link.get_or_init(|| link)))
            }
        }
    }

    pub(crate) fn retire(&self, link: &Arc<Link>) {
        self.peer.retire(link);
    }

    /// Queues a one-way message, waiting for a connection and credits. `Ok` means queued.
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the effect `NotSent`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing.
    pub async fn send<M>(&self, message: &M, options: CallOptions) -> Result<(), RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let lane = self.lane(message.message_type(), options);
        if let Some(link) = self.link()
            && link.try_post(lane, message).is_ok()
        {
            return Ok(());
        }
        let deadline = self.deadline(self.inner.clock.now(), options);
        let result = loop {
            let link = match self.connect(deadline).await {
                Ok(link) => link,
                Err(error) => break Err(error),
            };
            match link.post(lane, deadline, message).await {
                Ok(()) => return Ok(()),
                Err(LinkError::NotUp { .. }) => self.peer.retire(&link),
                Err(LinkError::Ended(error)) => break Err(error),
            }
        };
        result.map_err(|error| self.ended(error))
    }

    /// Sends a request that is answered by a stream of replies. Ready when it is queued.
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the effect `NotSent`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing. Dropping the stream gives the request up.
    pub async fn stream<M>(&self, message: &M, options: StreamOptions) -> Result<ReplyStream, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let spec = message.message_type().spec();
        let mut deadline = self.deadline(self.inner.clock.now(), options.call);
        let mut request = RequestOptions {
            lane: options.call.lane.unwrap_or(spec.lane),
            timeout: None,
            idempotent: options.call.idempotent.unwrap_or(spec.idempotent),
        };
        loop {
            let link = self.connect(deadline).await.map_err(|error| self.ended(error))?;
            request.timeout = Some(deadline.saturating_sub(self.inner.clock.now()));
            match link.open_stream(request, deadline, options.window_bytes, message).await {
                Ok(stream) => return Ok(stream),
                Err(LinkError::Ended(error)) => return Err(self.ended(error)),
                Err(LinkError::NotUp { deadline: until }) => {
                    deadline = until.unwrap_or(deadline);
                    self.retire(&link);
                }
            }
        }
    }

    /// Queues a one-way message if that is possible at once. `Ok` means queued.
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the effect `NotSent`: no connection is up, which is then dialled, or a limit is reached, whose
    /// scope it tells.
    pub fn try_send(&self, message: &(impl Encode + ?Sized), options: CallOptions) -> Result<(), RequestError> {
        let lane = self.lane(message.message_type(), options);
        let error = match self.link() {
            None => {
                self.want(self.inner.clock.now()).map_err(|error| self.ended(error))?;
                self.inner.drive_peer(&self.peer);
                RequestError::new(Effect::NotSent, Reason::Unreachable).because("no connection is up")
            }
            Some(link) => match link.try_post(lane, message) {
                Ok(()) => return Ok(()),
                Err(error) => not_sent(&error),
            },
        };
        Err(self.ended(error))
    }

    fn lane(&self, message_type: MessageType, options: CallOptions) -> Lane {
        options.lane.unwrap_or_else(|| message_type.spec().lane)
    }

    fn deadline(&self, now: Duration, options: CallOptions) -> Duration {
        now.saturating_add(options.timeout.unwrap_or(self.inner.config.request_timeout))
    }

    pub(crate) fn ended(&self, error: RequestError) -> RequestError {
        match self.node() {
            Some(node) => {
                self.inner.registry.count_outcome(&node, error.reason.name());
                error.of(&node)
            }
            None => error,
        }
    }

    fn want(&self, now: Duration) -> Result<(), RequestError> {
        let mut dialing = self.peer.lock_dialing();
        if dialing.forgotten {
            return Err(RequestError::new(Effect::NotSent, Reason::Unreachable).because("the peer was forgotten"));
        }
        dialing.machine.want(now).map_err(unreachable_because)
    }

    /// The connection that messages take; made, if there is none. A peer that was away a moment ago is not waited for.
    async fn connect(&self, deadline: Duration) -> Result<Arc<Link>, RequestError> {
        loop {
            if let Some(link) = self.peer.link.load_full() {
                return Ok(link);
            }
            if self.inner.is_stopping() {
                return Err(RequestError::new(Effect::NotSent, Reason::ShuttingDown));
            }
            let changed = self.peer.changed.notified();
            tokio::pin!(changed);
            // Listening begins before the look, so that a change between the two is not missed.
            changed.as_mut().enable();
            let now = self.inner.clock.now();
            self.want(now)?;
            self.inner.drive_peer(&self.peer);
            if self.peer.link.load().is_some() {
                continue;
            }
            if now >= deadline {
                return Err(RequestError::new(Effect::NotSent, Reason::Unreachable).because("no connection in time"));
            }
            let until = self.inner.clock.instant(deadline.min(now + LOOK_AGAIN));
            let _elapsed = tokio::time::timeout_at(until, changed).await;
        }
    }
}

fn unreachable_because(failure: Failure) -> RequestError {
    match failure {
        Failure::Dial(failure) => RequestError::new(Effect::NotSent, Reason::Unreachable).because(failure.name()),
        Failure::Hello(refusal) => RequestError::new(Effect::NotSent, Reason::Refused(refusal)),
        Failure::Ended(reason) => RequestError::new(Effect::NotSent, Reason::Unreachable).because(reason.name()),
    }
}

impl std::fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerHandle").field("node", &self.node()).field("state", &self.state()).finish()
    }
}
