//! What callers hold: a handle to a peer.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdb_net_peer::{Epoch, Failure, Slot, State};
use rdb_net_session::{CloseReason, Reply, RequestOptions};
use rdb_net_types::{Effect, Heartbeat, Lane, MessageType, NodeId, Reason, RequestError};
use rdb_net_wire::Encode;

use crate::exchange::{Call, Exchange, LinkError, LinkRef, beyond_any_frame, not_sent};
use crate::link::{Link, TryPostError};
use crate::options::CallOptions;
use crate::pool::PeerShared;
use crate::registry::LOOK_AGAIN;
use crate::transport::Inner;

/// Which connection a message takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// This slot's, even where others are up: its order counts.
    Only(Slot),
    /// Any main one: this one's if it is up.
    Any(u8),
}

impl Way {
    /// The slot to dial for.
    fn slot(self) -> Slot {
        match self {
            Self::Only(slot) => slot,
            Self::Any(number) => Slot::Main(number),
        }
    }
}

/// A handle to one peer. Cheap to clone.
pub struct PeerHandle {
    pub(crate) inner: Arc<Inner>,
    peer: Arc<PeerShared>,
    first_link: OnceLock<Arc<Link>>,
    /// How many main connections the peer may have.
    connections: u8,
}

impl Clone for PeerHandle {
    /// The clone takes the connection that is there when it is first used.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.inner), Arc::clone(&self.peer))
    }
}

impl PeerHandle {
    pub(crate) fn new(inner: Arc<Inner>, peer: Arc<PeerShared>) -> Self {
        let connections = peer.connections();
        Self { inner, peer, first_link: OnceLock::new(), connections }
    }

    /// The peer's id: the one it was asked for by, or the one its hello told.
    pub fn node(&self) -> Option<NodeId> {
        self.peer.target.clone().or_else(|| self.peer.any_link().and_then(|link| link.node().cloned()))
    }

    /// Whether a connection is up.
    pub fn is_up(&self) -> bool {
        Slot::all(self.connections).filter_map(|slot| self.peer.link(slot)).any(|link| link.is_up())
    }

    /// The epoch of the connection that messages of this lane and key take, where one is up. It grows by one with each new
    /// connection.
    ///
    /// Within an epoch, the handlers of one-way messages of a lane and key, and of requests that name a key, start in the order
    /// in which these were sent. Between two epochs nothing is promised: where a connection was lost there may be a gap, and
    /// where it was replaced, handlers of both run side by side. Whoever must know compares the epochs before and after what
    /// it sends. A peer that was forgotten and is named again counts from the beginning.
    pub fn epoch(&self, lane: Lane, key: Option<u64>) -> Option<Epoch> {
        self.peer.with_machine(|machine| machine.epoch(Slot::of(self.connections, lane, key)))
    }

    /// Where the dialing stands.
    pub fn state(&self) -> State {
        self.peer.with_machine(|machine| machine.state())
    }

    /// Keeps the first connection whether it is used or not, or stops keeping it.
    pub fn keep(&self, kept: bool) {
        self.peer.with_machine(|machine| machine.keep(kept));
        self.inner.drive_peer(&self.peer);
    }

    /// Lets the next dial happen now: something says that the peer is there. A dial that has been under way for a while begins anew.
    pub fn hurry(&self) {
        self.peer.hurry(self.inner.clock.now());
        self.inner.drive_peer(&self.peer);
    }

    /// Sends a request and waits for the reply.
    ///
    /// Requests that are under way at once are in no order, unless they name a [`key`](CallOptions::key): they are written by
    /// thread, and spread over the peer's connections. One-way messages of a lane keep theirs ([`send`](Self::send)).
    ///
    /// # Errors
    ///
    /// [`RequestError`]: its effect says whether the peer may have acted, its reason what happened.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the request up; the peer's handler is told. It may have acted.
    // Always inlined: a call that is returned through memory is copied into the future that awaits it, once a request.
    #[inline(always)]
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
        let ordered = if options.key.is_some() { Some(self.ordered_slot(request.lane, options.key)) } else { None };
        Call::new(self, request, ordered, message)
    }

    /// Asks the peer whether it is there, on the System lane, and measures how long the answer takes. The peer's transport
    /// answers by itself, where nobody handles heartbeats there. A connection is made where there is none.
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the ping up.
    pub async fn ping(&self, timeout: Duration) -> Result<Duration, RequestError> {
        let heartbeat = Heartbeat { node_id: self.inner.identity().node, timestamp_us: 0 };
        let options = CallOptions { lane: Some(Lane::System), idempotent: Some(true), ..CallOptions::timeout(timeout) };
        Ok(self.request(&heartbeat, options).await?.round_trip)
    }

    /// Sends a request on a connection that has to be made. The caller has waited already, where its deadline is known.
    pub(crate) async fn request_anew<M>(
        &self,
        deadline: Option<Duration>,
        mut request: RequestOptions,
        ordered: Option<Slot>,
        message: &M,
    ) -> Result<Reply, RequestError>
    where
        M: Encode + Sync + ?Sized,
    {
        let timeout = request.timeout.unwrap_or(self.inner.config.request_timeout);
        let deadline = deadline.unwrap_or_else(|| self.inner.clock.now().saturating_add(timeout));
        loop {
            let way = self.request_way(request.lane, ordered);
            let link = self.connect(deadline, way).await.map_err(|error| self.ended(error))?;
            request.timeout = Some(deadline.saturating_sub(self.inner.clock.now()));
            let mut exchange = Exchange::new(LinkRef::Own(link), request, ordered.is_some(), message);
            match std::future::poll_fn(|context| exchange.poll_outcome(context)).await {
                Ok(Err(error)) if exchange.was_turned_away(&error) => {}
                Ok(Ok(mut reply)) => {
                    reply.release();
                    return Ok(reply);
                }
                Ok(Err(error)) => return Err(self.ended(error)),
                Err(_) => self.retire(exchange.link()),
            }
        }
    }

    /// The connection that a request takes, if there is one.
    #[inline]
    pub(crate) fn request_link(&self, lane: Lane, ordered: Option<Slot>) -> Option<LinkRef<'_>> {
        if self.has_one_for(lane) { self.first_link() } else { self.link_of(self.request_way(lane, ordered)) }
    }

    /// The slot of messages that must keep their order.
    #[inline(never)]
    pub(crate) fn ordered_slot(&self, lane: Lane, key: Option<u64>) -> Slot {
        Slot::of(self.connections, lane, key)
    }

    /// Whether all messages of a lane take the first connection.
    #[inline]
    fn has_one_for(&self, lane: Lane) -> bool {
        self.connections == 1 && lane != Lane::Bulk
    }

    /// The connection that one-way messages take which name no key, if there is one. A handle remembers the first that it
    /// used, so that requests cost no count of references until that is replaced; clones of the handle start anew.
    #[inline]
    fn first_link(&self) -> Option<LinkRef<'_>> {
        match self.first_link.get() {
            Some(link) if !link.is_retired() => Some(LinkRef::Kept(link)),
            Some(_) => self.peer.link(Slot::FIRST).map(LinkRef::Own),
            None => {
                let link = self.peer.link(Slot::FIRST)?;
                Some(LinkRef::Kept(self.first_link.get_or_init(|| link)))
            }
        }
    }

    pub(crate) fn request_way(&self, lane: Lane, ordered: Option<Slot>) -> Way {
        match ordered {
            Some(slot) => Way::Only(slot),
            None if self.connections > 1 && lane != Lane::Bulk => Way::Any(next_number(self.connections)),
            None => Way::Only(Slot::of(self.connections, lane, None)),
        }
    }

    /// The connection that is up and may be taken. Where one is missing that others stand in for, it is dialled meanwhile.
    #[inline(never)]
    fn link_of(&self, way: Way) -> Option<LinkRef<'_>> {
        if way.slot() == Slot::FIRST
            && let Some(link) = self.first_link()
        {
            return Some(link);
        }
        let Way::Any(number) = way else { return self.peer.link(way.slot()).map(LinkRef::Own) };
        if let Some(link) = self.peer.link(way.slot()) {
            return Some(LinkRef::Own(link));
        }
        let another = self.peer.main_link_from(number)?;
        if self.want(self.inner.clock.now(), way.slot()).is_ok() {
            self.inner.drive_peer(&self.peer);
        }
        Some(LinkRef::Own(another))
    }

    /// This connection takes no more messages.
    pub(crate) fn retire(&self, link: &Arc<Link>) {
        if link.lock().session.is_closed() {
            // Its task tells why it has ended.
            self.peer.retire(link);
        } else {
            self.peer.ended(link, CloseReason::Local);
            self.inner.drive_peer(&self.peer);
        }
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
        let way = || Way::Only(self.ordered_slot(lane, options.key));
        let link = if self.has_one_for(lane) { self.first_link() } else { self.link_of(way()) };
        if let Some(link) = link {
            link.let_task_run().await;
            if link.try_post(lane, message).is_ok() {
                return Ok(());
            }
        }
        let (way, deadline) = (way(), self.deadline(self.inner.clock.now(), options));
        let result = loop {
            let link = match self.connect(deadline, way).await {
                Ok(link) => link,
                Err(error) => break Err(error),
            };
            match link.post(lane, deadline, message).await {
                Ok(()) => return Ok(()),
                Err(LinkError::NotUp { .. }) => self.retire(&link),
                Err(LinkError::Ended(error)) => break Err(error),
            }
        };
        result.map_err(|error| self.ended(error))
    }

    /// Queues a one-way message if that is possible at once. `Ok` means queued.
    ///
    /// # Errors
    ///
    /// [`RequestError`] with the effect `NotSent`: no connection is up, which is then dialled, or a limit is reached, whose
    /// scope it tells.
    pub fn try_send(&self, message: &(impl Encode + ?Sized), options: CallOptions) -> Result<(), RequestError> {
        let lane = self.lane(message.message_type(), options);
        let slot = self.ordered_slot(lane, options.key);
        let error = match self.link_of(Way::Only(slot)) {
            None => {
                self.want(self.inner.clock.now(), slot).map_err(|error| self.ended(error))?;
                self.inner.drive_peer(&self.peer);
                RequestError::new(Effect::NotSent, Reason::Unreachable).because("no connection is up")
            }
            Some(link) => match link.try_post(lane, message) {
                Ok(()) => return Ok(()),
                Err(TryPostError::Refused(error)) => not_sent(&error),
                Err(TryPostError::TooLarge) => beyond_any_frame(),
            },
        };
        Err(self.ended(error))
    }

    fn lane(&self, message_type: MessageType, options: CallOptions) -> Lane {
        options.lane.unwrap_or_else(|| message_type.spec().lane)
    }

    pub(crate) fn deadline(&self, now: Duration, options: CallOptions) -> Duration {
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

    fn want(&self, now: Duration, slot: Slot) -> Result<(), RequestError> {
        let mut pool = self.peer.lock_pool();
        if pool.forgotten {
            return Err(RequestError::new(Effect::NotSent, Reason::Unreachable).because("the peer was forgotten"));
        }
        pool.machine.want(now, slot).map_err(unreachable_because)
    }

    fn up_link(&self, way: Way) -> Option<Arc<Link>> {
        match way {
            Way::Only(slot) => self.peer.link(slot),
            Way::Any(number) => self.peer.main_link_from(number),
        }
    }

    /// A connection that the message may take; made, if there is none. A peer that was away a moment ago is not waited for.
    pub(crate) async fn connect(&self, deadline: Duration, way: Way) -> Result<Arc<Link>, RequestError> {
        loop {
            if let Some(link) = self.up_link(way) {
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
            self.want(now, way.slot())?;
            self.inner.drive_peer(&self.peer);
            if let Some(link) = self.up_link(way) {
                return Ok(link);
            }
            if now >= deadline {
                return Err(RequestError::new(Effect::NotSent, Reason::Unreachable).because("no connection in time"));
            }
            let until = self.inner.clock.instant(deadline.min(now + LOOK_AGAIN));
            let _elapsed = tokio::time::timeout_at(until, changed).await;
        }
    }
}

/// The number of the connection that this thread's next request takes: each thread goes round by itself.
fn next_number(connections: u8) -> u8 {
    thread_local! {
        static NEXT: Cell<u8> = const { Cell::new(0) };
    }
    NEXT.with(|next| {
        let number = next.get() % connections;
        next.set(number + 1);
        number
    })
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
