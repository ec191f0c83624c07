//! Handlers: who answers which message type.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_core::Stream;
use rdb_net_session::LatencyHistogram;
use rdb_net_types::{BoxFuture, ClusterMessage, Effect, Lane, MessageType, NodeId, Payload, Reason};
use rdb_net_wire::{Body, DecodeError, Message, decode_cluster_message};

use crate::link::Link;

/// A message for a handler.
#[derive(Debug)]
pub struct Request {
    /// Its type.
    pub message_type: MessageType,
    /// The lane it came on.
    pub lane: Lane,
    /// When its caller stops waiting, by the transport's clock.
    pub deadline: Option<Duration>,
    /// Whether somebody waits for an answer.
    pub wants_reply: bool,
    /// Whether it is answered by a stream of replies. One reply is a stream as well.
    pub wants_stream: bool,
    /// Its body: slices of the read buffer.
    pub body: Body,
}

impl Request {
    /// The body as opaque bytes.
    pub fn into_payload(self) -> Payload {
        self.body.into_payload()
    }

    /// The body as a message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the two sides disagree on the type's layout.
    pub fn decode<M: Message>(&self) -> Result<M, DecodeError> {
        M::decode(&self.body)
    }

    /// The body as the cluster message of its type.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], also for a type that is no cluster message.
    pub fn into_message(self) -> Result<ClusterMessage, DecodeError> {
        decode_cluster_message(self.message_type, self.body)
    }
}

/// What a handler answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Done; nothing to say. The caller gets an empty reply.
    Empty,
    /// Opaque bytes.
    Payload(Payload),
    /// A message.
    Message(Box<ClusterMessage>),
}

impl<M: Into<ClusterMessage>> From<M> for Answer {
    fn from(message: M) -> Self {
        Self::Message(Box::new(message.into()))
    }
}

/// A handler's error. The caller gets the text; whether it may try again follows from `started`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct HandlerError {
    /// Whether anything may have been done. `false` lets the caller try again safely.
    pub started: bool,
    /// What went wrong, for the caller.
    pub text: String,
    /// Whether the body could not be read: the two sides disagree on the type's layout.
    pub malformed: bool,
}

impl HandlerError {
    /// Something failed, and something may have been done.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { started: true, text: text.into(), malformed: false }
    }

    /// The handler answers with a stream, and its caller has asked for one reply.
    pub(crate) fn not_one_reply() -> Self {
        Self::failed("the answer is a stream of replies, and one reply was asked for")
    }

    /// What its caller is told.
    pub(crate) fn outcome(&self) -> (Effect, Reason) {
        let effect = if self.started { Effect::Unknown } else { Effect::NotStarted };
        (effect, if self.malformed { Reason::Malformed } else { Reason::HandlerFailed })
    }

    /// Nothing was done.
    pub fn not_started(text: impl Into<String>) -> Self {
        Self { started: false, text: text.into(), malformed: false }
    }
}

impl From<DecodeError> for HandlerError {
    fn from(error: DecodeError) -> Self {
        Self { malformed: true, ..Self::not_started(error.to_string()) }
    }
}

/// Answers one after the other, each written when the caller has room for it; an error ends the stream.
pub type AnswerStream = Pin<Box<dyn Stream<Item = Result<Answer, HandlerError>> + Send>>;

/// What a handler returns.
pub enum Handling {
    /// The answer, at once: costs no task and no allocation.
    Ready(Result<Answer, HandlerError>),
    /// The answer later. The future is polled once where it is; if it is not ready then, it gets a task.
    Later(BoxFuture<'static, Result<Answer, HandlerError>>),
    /// A stream of answers, for a request that wants one. It has a task of its own, which ends when its caller leaves.
    Stream(AnswerStream),
}

impl std::fmt::Debug for Handling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(answer) => f.debug_tuple("Ready").field(answer).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Answers messages of a type. Runs on the connection's task: whatever takes longer than some microseconds belongs into
/// [`Handling::Later`].
pub trait Handler: Send + Sync {
    /// Answers one message of this node, which is the authenticated peer. The answer to a one-way message is dropped.
    fn handle(&self, from: &NodeId, request: Request) -> Handling;
}

impl<F: Fn(&NodeId, Request) -> Handling + Send + Sync> Handler for F {
    fn handle(&self, from: &NodeId, request: Request) -> Handling {
        self(from, request)
    }
}

/// How a handler is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerOptions {
    /// How many messages of the type may be under way at once. Beyond it, requests are answered with an overload that says
    /// that they were not started; one-way messages wait, and with them what came behind them on their lane: its credits run
    /// out, and its senders wait. Default 1,024; at least 1.
    pub concurrency_max: usize,
}

impl Default for HandlerOptions {
    fn default() -> Self {
        Self { concurrency_max: 1024 }
    }
}

/// A registered handler with its count.
pub(crate) struct Entry {
    handler: Arc<dyn Handler>,
    concurrency_max: usize,
    running: AtomicUsize,
    overloaded: AtomicU64,
    panicked: AtomicU64,
    times: Mutex<LatencyHistogram>,
    /// Connections that have a message for it and wait for a place.
    waiting: Mutex<Vec<Weak<Link>>>,
    has_waiting: AtomicBool,
}

/// What a handler has done so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerSnapshot {
    /// What it answers.
    pub message_type: MessageType,
    /// Messages under way.
    pub running: usize,
    /// Requests that it was too busy for.
    pub overloaded: u64,
    /// How often it panicked.
    pub panicked: u64,
    /// How long it took, from its start to its answer: without the network, and without the time that messages waited for
    /// it. Answers that are ready at once are timed by bursts.
    pub times: LatencyHistogram,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("concurrency_max", &self.concurrency_max).finish_non_exhaustive()
    }
}

/// A place among the messages under way, for as long as a handler's task has it.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Arc<Entry>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Entry {
    /// Takes a place for one more message; `false` at the limit. Each place is given back with [`leave`](Self::leave).
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        if self.running.fetch_add(1, Ordering::SeqCst) < self.concurrency_max {
            return true;
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        false
    }

    /// Takes a place for one more message, or lets this connection know when there is one.
    #[cold]
    pub(crate) fn enter_or_wait(&self, link: &Arc<Link>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(link))) {
            waiting.push(Arc::downgrade(link));
        }
        drop(waiting);
        // Whoever leaves from now on sees that somebody waits, or is seen here to have left.
        self.has_waiting.store(true, Ordering::SeqCst);
        self.enter()
    }

    /// A request was refused for want of a place.
    pub(crate) fn count_overload(&self) {
        self.overloaded.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a place back.
    #[inline]
    pub(crate) fn leave(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        if self.has_waiting.load(Ordering::SeqCst) {
            self.wake_waiting();
        }
    }

    #[cold]
    fn wake_waiting(&self) {
        self.has_waiting.store(false, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.iter().filter_map(Weak::upgrade).for_each(|link| link.wake_task_always());
    }

    /// So many messages took so long together.
    pub(crate) fn count_time(&self, together: Duration, count: u32) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).record_many(together, count);
    }

    fn snapshot(&self, message_type: MessageType) -> HandlerSnapshot {
        HandlerSnapshot {
            message_type,
            running: self.running.load(Ordering::Relaxed),
            overloaded: self.overloaded.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
            times: self.times.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Runs the handler; `Err` when it panicked. The request is made where the handler takes it.
    #[inline]
    pub(crate) fn run(&self, from: &NodeId, request: impl FnOnce() -> Request) -> Result<Handling, Panicked> {
        catch_unwind(AssertUnwindSafe(|| self.handler.handle(from, request()))).inspect_err(|_| {
            self.panicked.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// What a handler panicked with.
pub(crate) type Panicked = Box<dyn Any + Send>;

/// All handlers of a transport.
#[derive(Debug, Default)]
pub(crate) struct HandlerTable {
    entries: ArcSwap<BTreeMap<MessageType, Arc<Entry>>>,
}

impl HandlerTable {
    pub(crate) fn register(&self, message_type: MessageType, handler: Arc<dyn Handler>, options: HandlerOptions) {
        let entry = Arc::new(Entry {
            handler,
            concurrency_max: options.concurrency_max.max(1),
            running: AtomicUsize::new(0),
            overloaded: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            times: Mutex::default(),
            waiting: Mutex::default(),
            has_waiting: AtomicBool::new(false),
        });
        self.entries.rcu(|entries| {
            let mut entries = BTreeMap::clone(entries);
            entries.insert(message_type, Arc::clone(&entry));
            entries
        });
    }

    pub(crate) fn snapshots(&self) -> Vec<HandlerSnapshot> {
        self.entries.load().iter().map(|(message_type, entry)| entry.snapshot(*message_type)).collect()
    }

    pub(crate) fn find(&self, message_type: MessageType) -> Option<Arc<Entry>> {
        self.entries.load().get(&message_type).cloned()
    }
}
