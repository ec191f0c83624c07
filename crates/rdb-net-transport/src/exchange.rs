//! A message's way onto a connection, and a request's way to its end.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use rdb_net_peer::Slot;
use rdb_net_session::{CloseReason, Outcome, Reply, RequestId, RequestOptions, SendError};
use rdb_net_types::{BoxFuture, Effect, OverloadScope, Reason, RequestError};
use rdb_net_wire::{Encode, Prepared};
use tokio::time::Sleep;

use crate::blocked::BlockedPlace;
use crate::guarded::Core;
use crate::handle::PeerHandle;
use crate::large::{LARGE_BYTES, Parcel};
use crate::link::Link;

/// Why a message did not get through this connection.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The connection takes no messages; another one may, until the deadline, where the caller has waited here already.
    NotUp { deadline: Option<Duration> },
    /// The message has its outcome.
    Ended(RequestError),
}

/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(86_400);

/// Waiting for credits or a slot, until a deadline.
pub(crate) struct Wait {
    link: Arc<Link>,
    deadline: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    place: Option<BlockedPlace>,
}

impl Wait {
    pub(crate) fn new(link: &Arc<Link>, deadline: Duration) -> Self {
        Self { link: Arc::clone(link), deadline, timer: None, place: None }
    }

    /// What a refused attempt means: wait for the next chance, or give up. The lock that saw the refusal is still held, so
    /// the chance cannot pass unnoticed.
    pub(crate) fn blocked(
        &mut self,
        error: SendError,
        mut core: MutexGuard<'_, Core>,
        context: &mut Context<'_>,
    ) -> Poll<LinkError> {
        let outcome = not_sent(&error);
        if !matches!(error, SendError::NoCredit | SendError::NoSlot) {
            let takes_none = matches!(error, SendError::NotUp);
            let deadline = Some(self.deadline);
            return Poll::Ready(if takes_none { LinkError::NotUp { deadline } } else { LinkError::Ended(outcome) });
        }
        self.place = Some(core.blocked.wait(self.place, context.waker()));
        // What the attempt took along may let others go on.
        let frees_others = core.session.has_events();
        drop(core);
        if frees_others {
            self.link.wake_task();
        }
        let until = self.link.clock.instant(self.deadline.min(self.link.clock.now().saturating_add(FOREVER)));
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        timer.as_mut().poll(context).map(|()| LinkError::Ended(outcome))
    }
}

/// What a message of 4 GiB or more ends with.
pub(crate) fn beyond_any_frame() -> RequestError {
    RequestError::new(Effect::NotSent, Reason::TooLarge).because("4 GiB or more")
}

/// What a refused attempt means to a caller who does not wait.
pub(crate) fn not_sent(error: &SendError) -> RequestError {
    let outcome = |reason| RequestError::new(Effect::NotSent, reason);
    match error {
        SendError::NoCredit => outcome(Reason::Overloaded(OverloadScope::Lane)),
        SendError::NoSlot => outcome(Reason::Overloaded(OverloadScope::Requests)),
        SendError::NoMemory(scope) => outcome(Reason::Overloaded(*scope)),
        SendError::NoStreams => outcome(Reason::UnknownType).because(&error.to_string()),
        SendError::Encode(error) => outcome(Reason::TooLarge).because(&error.to_string()),
        SendError::ReservedType => outcome(Reason::UnknownType).because(&error.to_string()),
        _ => outcome(Reason::Unreachable).because(&error.to_string()),
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.link.lock().blocked.leave(place);
        }
    }
}

/// A connection that outlives a request on it.
pub(crate) enum LinkRef<'a> {
    /// Somebody else holds it for as long.
    Kept(&'a Arc<Link>),
    /// The request itself holds it.
    Own(Arc<Link>),
}

impl Deref for LinkRef<'_> {
    type Target = Arc<Link>;

    #[inline]
    fn deref(&self) -> &Arc<Link> {
        match self {
            Self::Kept(link) => link,
            Self::Own(link) => link,
        }
    }
}

/// A request on its way over one connection.
pub(crate) struct Exchange<'a, M: ?Sized> {
    link: LinkRef<'a>,
    options: RequestOptions,
    /// Whether it keeps its place among the caller's others: it goes by the session itself, not by a thread's shard.
    is_ordered: bool,
    message: &'a M,
    id: Option<RequestId>,
    /// A large message, encoded before it is offered.
    large: Option<Box<Option<Prepared>>>,
    /// Only where it had to wait for credits or a slot.
    wait: Option<Box<Wait>>,
}

impl<'a, M: Encode + ?Sized> Exchange<'a, M> {
    pub(crate) fn new(link: LinkRef<'a>, options: RequestOptions, is_ordered: bool, message: &'a M) -> Self {
        Self { link, options, is_ordered, message, id: None, large: None, wait: None }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whether the request was not sent because its connection was taken out of use while it was on its way there: another
    /// one may take it.
    #[cold]
    pub(crate) fn was_turned_away(&self, error: &RequestError) -> bool {
        error.effect == Effect::NotSent
            && matches!(error.reason, Reason::Draining | Reason::ConnectionLost)
            && self.link.is_retired()
    }

    /// The request's outcome; `Err` with the caller's deadline, where it is known, when another connection may take it.
    #[inline(always)]
    pub(crate) fn poll_outcome(&mut self, context: &mut Context<'_>) -> Poll<Result<Outcome, Option<Duration>>> {
        if let Some(id) = self.id {
            let outcome = std::task::ready!(self.link.poll_ended(id, context));
            self.id = None;
            return Poll::Ready(Ok(outcome));
        }
        let Self { link, options, is_ordered, message, id, wait, .. } = self;
        if let Some(wait) = wait {
            options.timeout = Some(wait.deadline.saturating_sub(link.clock.now()));
        }
        if message.bytes_at_least() > LARGE_BYTES {
            return self.offer_large(context);
        }
        if !*is_ordered && let Ok(written) = link.write(*options, *message, context.waker()) {
            *id = Some(written);
            return Poll::Pending;
        }
        self.offer(context)
    }

    /// A large message is for the session itself, and encoded before its lock is taken.
    #[cold]
    fn offer_large(&mut self, context: &mut Context<'_>) -> Poll<Result<Outcome, Option<Duration>>> {
        let Self { link, options, message, large, .. } = self;
        let prepared = large.get_or_insert_with(|| Box::new(link.prepare(options.lane, *message)));
        if prepared.is_none() {
            return Poll::Ready(Ok(Err(beyond_any_frame())));
        }
        self.offer(context)
    }

    /// What is too large for a shard, or comes when it has no room, is for the session itself, which also tells what to wait
    /// for. It leaves behind what this caller has written before.
    fn offer(&mut self, context: &mut Context<'_>) -> Poll<Result<Outcome, Option<Duration>>> {
        let Self { link, options, message, id, large, wait, .. } = self;
        let mut parcel = match large {
            Some(prepared) => Parcel::Large(prepared),
            None => Parcel::Small(*message),
        };
        let mut core = link.lock();
        link.collect_written(&mut core);
        let mut offered = parcel.request(&mut core, *options);
        if matches!(offered, Err(SendError::NoCredit)) && link.collect_all(&mut core) {
            offered = parcel.request(&mut core, *options);
        }
        match offered {
            Ok(accepted) => {
                core.set_caller(accepted, context.waker());
                drop(core);
                *id = Some(accepted);
                link.wake_task();
                Poll::Pending
            }
            Err(SendError::NotUp) if wait.is_none() => Poll::Ready(Err(None)),
            Err(error) => {
                let deadline = || link.clock.now().saturating_add(options.timeout.unwrap_or(FOREVER));
                let wait = wait.get_or_insert_with(|| Box::new(Wait::new(link, deadline())));
                wait.blocked(error, core, context).map(|end| match end {
                    LinkError::Ended(error) => Ok(Err(error)),
                    LinkError::NotUp { deadline } => Err(deadline),
                })
            }
        }
    }
}

impl<M: ?Sized> Drop for Exchange<'_, M> {
    #[inline]
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.link.give_up(id);
        } else if std::thread::panicking() && self.link.is_poisoned() {
            // The message's own code panicked: everybody on the connection is told now.
            self.link.close(CloseReason::Local);
        }
    }
}

/// A request to a peer: what [`PeerHandle::request`] returns. Ready with the reply, or with an error that says what happened.
///
/// Dropping it gives the request up; the peer's handler is told. It may have acted.
#[must_use = "a request is sent when it is awaited"]
pub struct Call<'a, M: ?Sized> {
    handle: &'a PeerHandle,
    options: RequestOptions,
    /// The slot that it must take, where its order counts.
    ordered: Option<Slot>,
    message: &'a M,
    way: Way<'a, M>,
}

/// How far a request has come.
enum Way<'a, M: ?Sized> {
    /// On the connection that is there: the common case, without anything that waiting for a connection needs.
    Connected(Exchange<'a, M>),
    /// A connection has to be made.
    Anew(BoxFuture<'a, Result<Reply, RequestError>>),
    /// Nothing was begun.
    Unconnected,
}

impl<'a, M: Encode + Sync + ?Sized> Call<'a, M> {
    #[inline]
    pub(crate) fn new(handle: &'a PeerHandle, options: RequestOptions, ordered: Option<Slot>, message: &'a M) -> Self {
        let way = match handle.request_link(options.lane, ordered) {
            Some(link) => Way::Connected(Exchange::new(link, options, ordered.is_some(), message)),
            None => Way::Unconnected,
        };
        Self { handle, options, ordered, message, way }
    }

    /// Goes on over a connection that has to be made.
    #[cold]
    fn begin_anew(&mut self, deadline: Option<Duration>) {
        let (handle, options, ordered, message) = (self.handle, self.options, self.ordered, self.message);
        self.way = Way::Anew(Box::pin(handle.request_anew(deadline, options, ordered, message)));
    }
}

impl<M: Encode + Sync + ?Sized> Future for Call<'_, M> {
    type Output = Result<Reply, RequestError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Way::Connected(exchange) = &mut this.way {
            match std::task::ready!(exchange.poll_outcome(context)) {
                Ok(Ok(mut reply)) => {
                    reply.release();
                    return Poll::Ready(Ok(reply));
                }
                Ok(Err(error)) => {
                    if !exchange.was_turned_away(&error) {
                        return Poll::Ready(Err(this.handle.ended(error)));
                    }
                    this.begin_anew(None);
                }
                Err(deadline) => {
                    this.handle.retire(exchange.link());
                    this.begin_anew(deadline);
                }
            }
        }
        if matches!(this.way, Way::Unconnected) {
            this.begin_anew(None);
        }
        match &mut this.way {
            Way::Anew(anew) => anew.as_mut().poll(context),
            Way::Connected(_) | Way::Unconnected => Poll::Pending,
        }
    }
}

impl<M: ?Sized> std::fmt::Debug for Call<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("to", self.handle).finish_non_exhaustive()
    }
}
