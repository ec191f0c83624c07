//! What a handler's task holds: a future whose panic is an outcome, and the duty to end its message.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rdb_net_session::InboundId;
use rdb_net_types::BoxFuture;
use rdb_net_wire::Prepared;

use crate::dispatch::Verdict;
use crate::handler::{Answer, HandlerError};
use crate::link::Link;

/// A handler's future whose panic is an outcome: `None`.
pub(crate) struct Guarded(pub(crate) BoxFuture<'static, Result<Answer, HandlerError>>);

impl Future for Guarded {
    type Output = Option<Result<Answer, HandlerError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

/// The duty to end an inbound message even when its handler's task is aborted.
pub(crate) struct Duty {
    link: Arc<Link>,
    id: Option<InboundId>,
}

impl Duty {
    pub(crate) fn new(link: Arc<Link>, id: InboundId) -> Self {
        Self { link, id: Some(id) }
    }

    /// Ends it with an answer that was encoded before.
    pub(crate) fn end_prepared(mut self, prepared: Prepared) {
        if let Some(id) = self.id.take() {
            self.link.answer_prepared(id, prepared);
        }
    }

    pub(crate) fn end(mut self, verdict: Verdict) {
        if let Some(id) = self.id.take() {
            self.link.answer(id, verdict);
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.link.abandon(id);
        }
    }
}
