//! Streams of replies over a connection: as their caller takes them, and as their handler writes them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_session::{Reply, RequestId, RequestOptions, SendError, StreamId, StreamNews};
use rdb_net_types::{Effect, RequestError};
use rdb_net_wire::Encode;

use crate::CallOptions;
use crate::dispatch::Bytes;
use crate::exchange::{LinkError, Wait, beyond_any_frame};
use crate::handle::PeerHandle;
use crate::handler::{Answer, AnswerStream, HandlerError};
use crate::large::LARGE_BYTES;
use crate::link::Link;
use crate::local::LocalStream;

/// How a request for a stream travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamOptions {
    /// As of any request; the time-out is that of the whole stream.
    pub call: CallOptions,
    /// How many bytes of replies may come before they are taken. Default 256 KiB. More keep a distant peer busy, and are
    /// reserved as memory.
    pub window_bytes: u32,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { call: CallOptions::default(), window_bytes: 256 * 1024 }
    }
}

/// The replies to a request, one after the other. Dropping it gives the request up; the handler is told.
#[must_use = "a stream is given up when it is dropped"]
pub struct ReplyStream {
    source: Source,
}

/// Where the replies come from.
enum Source {
    Link(LinkStream),
    /// From this node's own handler.
    Local(LocalStream),
}

/// Replies that come over a connection.
struct LinkStream {
    link: Arc<Link>,
    /// None at its end.
    id: Option<RequestId>,
}

impl From<LocalStream> for ReplyStream {
    fn from(stream: LocalStream) -> Self {
        Self { source: Source::Local(stream) }
    }
}

impl ReplyStream {
    /// The next reply; `None` at the end. An error is the last thing that comes: its effect says whether the peer may have
    /// acted, and replies before it are what they are.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no reply.
    pub async fn next(&mut self) -> Option<Result<Reply, RequestError>> {
        poll_fn(|context| self.poll_reply(context)).await
    }

    /// Gives the request up, as dropping it does, and says whether the peer may have acted: what still waited for the socket is not
    /// sent any more. `Unknown` of a stream whose end was taken.
    pub fn give_up(mut self) -> Effect {
        match &mut self.source {
            Source::Link(stream) => stream.give_up(),
            Source::Local(_) => Effect::Unknown,
        }
    }

    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Reply, RequestError>>> {
        match &mut self.source {
            Source::Link(stream) => stream.poll_reply(context),
            Source::Local(stream) => stream.poll_reply(context),
        }
    }
}

impl LinkStream {
    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Reply, RequestError>>> {
        let Some(id) = self.id else { return Poll::Ready(None) };
        let mut core = self.link.lock();
        let Some(news) = core.session.take_stream(id) else {
            core.set_caller(id, context.waker());
            return Poll::Pending;
        };
        // Its end frees a slot, which others may wait for.
        let wakes = core.session.wants_write() || core.session.has_events();
        drop(core);
        if wakes {
            self.link.wake_task();
        }
        let end = match news {
            StreamNews::Reply(reply) => return Poll::Ready(Some(Ok(reply))),
            StreamNews::End(end) => end,
        };
        self.id = None;
        Poll::Ready(match end {
            // A handler that has one answer gives it with the end.
            Ok(reply) if reply.body.is_empty() => None,
            Ok(mut reply) => {
                reply.release();
                Some(Ok(reply))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

impl Stream for ReplyStream {
    type Item = Result<Reply, RequestError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_reply(context)
    }
}

impl LinkStream {
    fn give_up(&mut self) -> Effect {
        self.id.take().map_or(Effect::Unknown, |id| self.link.give_up_stream(id))
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl std::fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = if let Source::Link(stream) = &self.source { stream.id } else { None };
        f.debug_struct("ReplyStream").field("id", &id).finish_non_exhaustive()
    }
}

impl PeerHandle {
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
        let lane = options.call.lane.unwrap_or(spec.lane);
        let ordered = options.call.key.map(|_| self.ordered_slot(lane, options.call.key));
        let mut deadline = self.deadline(self.inner.clock.now(), options.call);
        let mut request =
            RequestOptions { lane, timeout: None, idempotent: options.call.idempotent.unwrap_or(spec.idempotent) };
        loop {
            let way = self.request_way(lane, ordered);
            let link = self.connect(deadline, way).await.map_err(|error| self.ended(error))?;
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
}

impl Link {
    /// Opens a stream, waiting for credits and a slot until the deadline.
    pub(crate) fn open_stream<'a, M: Encode + ?Sized>(
        self: &'a Arc<Self>,
        mut options: RequestOptions,
        deadline: Duration,
        window_bytes: u32,
        message: &'a M,
    ) -> impl Future<Output = Result<ReplyStream, LinkError>> + 'a {
        let mut wait = Wait::new(self, deadline);
        let mut prepared = self.prepare(options.lane, message);
        let is_too_large = prepared.is_none();
        poll_fn(move |context| {
            if is_too_large {
                return Poll::Ready(Err(LinkError::Ended(beyond_any_frame())));
            }
            let mut core = self.lock();
            self.collect_written(&mut core);
            options.timeout = Some(deadline.saturating_sub(self.clock.now()));
            match core.session.open_stream(options, window_bytes, &mut prepared) {
                Ok(id) => {
                    drop(core);
                    self.wake_task();
                    let source = Source::Link(LinkStream { link: Arc::clone(self), id: Some(id) });
                    Poll::Ready(Ok(ReplyStream { source }))
                }
                Err(error) => wait.blocked(error, core, context).map(Err),
            }
        })
    }

    /// Under one lock, so that the request cannot be sent between the answer and the end.
    fn give_up_stream(&self, id: RequestId) -> Effect {
        let now = self.clock.now();
        self.with(|core| {
            let effect = core.session.effect(id);
            core.session.cancel(now, id);
            core.clear_caller(id);
            effect
        })
    }

    /// Writes a handler's answers as its caller has room for them. Ready with the answer that ends the stream.
    pub(crate) async fn write_stream(
        self: Arc<Self>,
        stream: StreamId,
        mut answers: AnswerStream,
    ) -> Result<Answer, HandlerError> {
        while let Some(answer) = poll_fn(|context| answers.as_mut().poll_next(context)).await {
            self.write_item(stream, &answer?).await?;
        }
        Ok(Answer::Empty)
    }

    async fn write_item(&self, stream: StreamId, answer: &Answer) -> Result<(), HandlerError> {
        let is_large = answer.bytes_at_least() > LARGE_BYTES;
        let mut large = if is_large { answer.prepare(self, stream.lane()) } else { None };
        poll_fn(|context| {
            let mut core = self.lock();
            let written = match answer {
                _ if is_large => core.session.reply_item_prepared(stream, &mut large),
                Answer::Empty => core.session.reply_item(stream, &Bytes(&Default::default())),
                Answer::Payload(payload) => core.session.reply_item(stream, &Bytes(payload)),
                Answer::Message(message) => core.session.reply_item(stream, &**message),
            };
            match written {
                Ok(()) => {
                    drop(core);
                    self.wake_task();
                    Poll::Ready(Ok(()))
                }
                Err(SendError::NoCredit) => {
                    core.stream_writers.insert(stream.correlation(), context.waker().clone());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(HandlerError::failed(error.to_string()))),
            }
        })
        .await
    }
}
