//! A message's way onto a connection, and a request's way to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use rdb_net_session::{CloseReason, Outcome, Reply, RequestId, RequestOptions, SendError};
use rdb_net_types::{Effect, OverloadScope, Reason, RequestError};
use rdb_net_wire::Encode;
use tokio::time::Sleep;

use crate::blocked::BlockedPlace;
use crate::link::{Core, Link};

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
pub(crate) struct Wait<'a> {
    link: &'a Link,
    deadline: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    place: Option<BlockedPlace>,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(link: &'a Link, deadline: Duration) -> Self {
        Self { link, deadline, timer: None, place: None }
    }

    /// What a refused attempt means: wait for the next chance, or give up. The lock that saw the refusal is still held, so
    /// the chance cannot pass unnoticed.
    pub(crate) fn blocked(
        &mut self,
        error: SendError,
        mut core: MutexGuard<'_, Core>,
        context: &mut Context<'_>,
    ) -> Poll<LinkError> {
        let scope = match error {
            SendError::NoCredit => OverloadScope::Lane,
            SendError::NoSlot => OverloadScope::Requests,
            SendError::Encode(error) => {
                let outcome = RequestError::new(Effect::NotSent, Reason::TooLarge).because(&error.to_string());
                return Poll::Ready(LinkError::Ended(outcome));
            }
            SendError::ReservedType => {
                let outcome = RequestError::new(Effect::NotSent, Reason::UnknownType).because(&error.to_string());
                return Poll::Ready(LinkError::Ended(outcome));
            }
            _ => return Poll::Ready(LinkError::NotUp { deadline: Some(self.deadline) }),
        };
        self.place = Some(core.blocked.wait(self.place, context.waker()));
        drop(core);
        let until = self.link.clock.instant(self.deadline.min(self.link.clock.now() + FOREVER));
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        timer
            .as_mut()
            .poll(context)
            .map(|()| LinkError::Ended(RequestError::new(Effect::NotSent, Reason::Overloaded(scope))))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.link.lock().blocked.leave(place);
        }
    }
}

/// A request on its way.
pub(crate) struct Exchange<'a, M: ?Sized> {
    link: &'a Arc<Link>,
    options: RequestOptions,
    message: &'a M,
    id: Option<RequestId>,
    /// Only where it had to wait for credits or a slot.
    wait: Option<Box<Wait<'a>>>,
}

impl<'a, M: ?Sized> Exchange<'a, M> {
    pub(crate) fn new(link: &'a Arc<Link>, options: RequestOptions, message: &'a M) -> Self {
        Self { link, options, message, id: None, wait: None }
    }

    /// Not at once: waits, or gives up.
    #[cold]
    fn wait(
        &mut self,
        error: SendError,
        core: MutexGuard<'a, Core>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Reply, LinkError>> {
        if error == SendError::NotUp && self.wait.is_none() {
            return Poll::Ready(Err(LinkError::NotUp { deadline: None }));
        }
        let (link, timeout) = (self.link, self.options.timeout.unwrap_or(FOREVER));
        let wait = self.wait.get_or_insert_with(|| Box::new(Wait::new(link, link.clock.now() + timeout)));
        wait.blocked(error, core, context).map(Err)
    }
}

impl<M: Encode + ?Sized> Future for Exchange<'_, M> {
    type Output = Result<Reply, LinkError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let link = this.link;
        if let Some(id) = this.id {
            let mut core = link.lock();
            return match core.session.take_outcome(id) {
                Some(outcome) => {
                    let task = core.wake_task_for_events();
                    drop(core);
                    this.id = None;
                    if let Some(task) = task {
                        task.wake();
                    }
                    Poll::Ready(finished(outcome))
                }
                None => {
                    core.set_caller(id, context.waker());
                    Poll::Pending
                }
            };
        }
        if let Some(wait) = &this.wait {
            this.options.timeout = Some(wait.deadline.saturating_sub(link.clock.now()));
        }
        let mut core = link.lock();
        match core.session.request(this.options, this.message) {
            Ok(id) => {
                core.set_caller(id, context.waker());
                let task = core.wake_task();
                drop(core);
                this.id = Some(id);
                if let Some(task) = task {
                    task.wake();
                }
                Poll::Pending
            }
            Err(error) => this.wait(error, core, context),
        }
    }
}

fn finished(outcome: Outcome) -> Result<Reply, LinkError> {
    outcome.map_err(LinkError::Ended)
}

impl<M: ?Sized> Drop for Exchange<'_, M> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let now = self.link.clock.now();
            self.link.with(|core| {
                core.session.cancel(now, id);
                core.clear_caller(id);
            });
        } else if self.link.is_poisoned() {
            // The message's own code panicked: everybody on the connection is told now.
            self.link.close(CloseReason::Local);
        }
    }
}
