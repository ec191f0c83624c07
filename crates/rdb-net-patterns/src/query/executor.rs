//! Queries over a node: what nodes are asked by are the node's streams.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_manager::{CallOptions, NetworkManager, Reply, ReplyStream, StreamOptions};
use rdb_net_types::{BoxFuture, Effect, NodeId, QueryRequest, QueryResponse, Reason, RequestError, Tuple};
use tokio::time::{Instant, Sleep};

use super::plan::{NoPart, Options, Outcome, Part};
use super::taking::{GivenUp, QueryEvent, Requests, Step, Taken, Taking};

/// What has come of a query in the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gathered {
    /// The rows of each part, by its place in the plan.
    pub rows: Vec<Vec<Tuple>>,
    /// What became of each part, by its place in the plan.
    pub outcomes: Vec<Outcome>,
}

impl Gathered {
    /// Whether every part is complete.
    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(Outcome::is_complete)
    }
}

/// Carries out queries over the members of a node's cluster.
#[derive(Debug, Clone)]
pub struct QueryExecutor {
    manager: Arc<NetworkManager>,
    next_query: Arc<AtomicU64>,
}

impl QueryExecutor {
    /// Over this node, which may be asked itself.
    pub fn new(manager: Arc<NetworkManager>) -> Self {
        Self { manager, next_query: Arc::default() }
    }

    /// Asks all parts, and gives their rows as they come. Nobody sends more than was taken, a window's bytes and a message; dropping it cancels
    /// what is under way.
    ///
    /// # Errors
    ///
    /// [`NoPart`] where the plan is at fault; nothing was sent.
    pub fn stream(&self, parts: Vec<Part>, options: Options) -> Result<QueryStream, NoPart> {
        let begun = Instant::now();
        let options = Options { timeout: options.timeout.min(crate::TIMEOUT_MAX), ..options };
        let taking = Taking::new(Duration::ZERO, &parts, options)?;
        let query_id = self.next_query.fetch_add(1, Ordering::Relaxed) + 1;
        let (manager, window_bytes) = (Arc::clone(&self.manager), options.window_bytes);
        Ok(QueryStream {
            begun,
            taking,
            timer: Box::pin(tokio::time::sleep_until(begun + options.timeout)),
            streams: Streams { manager, query_id, parts, window_bytes, under_way: BTreeMap::new() },
        })
    }

    /// Asks all parts, and gathers their rows until each part has its outcome, the deadline at the latest.
    ///
    /// # Errors
    ///
    /// [`NoPart`] where the plan is at fault; nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels what is under way.
    pub async fn gather(&self, parts: Vec<Part>, options: Options) -> Result<Gathered, NoPart> {
        let count = parts.len();
        let mut stream = self.stream(parts, options)?;
        let (mut rows, mut bytes) = (vec![Vec::new(); count], 0usize);
        let mut outcomes = vec![Outcome::NotNeeded; count];
        while let Some(event) = stream.next().await {
            match event {
                QueryEvent::Rows { part, rows: more, .. } => {
                    bytes += more.iter().map(|row| row.0.len() + size_of::<Tuple>()).sum::<usize>();
                    rows[part].extend(more);
                    if bytes > options.gathered_bytes_max {
                        stream.taking.handle_too_much();
                    }
                }
                QueryEvent::Ended { part, outcome } => outcomes[part] = outcome,
            }
        }
        Ok(Gathered { rows, outcomes })
    }
}

/// The rows of a query, as they come. Nothing happens while nobody waits for the next ones: then the nodes wait too.
#[must_use = "a query is cancelled when it is dropped"]
pub struct QueryStream {
    begun: Instant,
    taking: Taking,
    timer: Pin<Box<Sleep>>,
    streams: Streams,
}

impl QueryStream {
    /// The next rows, or a part's outcome; `None` when every part has one. What has come by the deadline is given behind it too.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no row.
    pub async fn next(&mut self) -> Option<QueryEvent> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<QueryEvent>> {
        loop {
            let polled = &mut Polled { streams: &mut self.streams, context };
            let now = self.begun.elapsed();
            let until = match self.taking.step(now, polled) {
                Step::Event(event) => return Poll::Ready(Some(event)),
                Step::End => return Poll::Ready(None),
                Step::Wait(until) if until <= now => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Wait(until) => self.begun + until,
            };
            if self.timer.deadline() != until {
                self.timer.as_mut().reset(until);
            }
            std::task::ready!(self.timer.as_mut().poll(context));
        }
    }
}

/// The requests of a query, by their parts.
struct Streams {
    manager: Arc<NetworkManager>,
    query_id: u64,
    parts: Vec<Part>,
    window_bytes: u32,
    under_way: BTreeMap<usize, UnderWay>,
}

/// The requests, and who is woken when something comes of one.
struct Polled<'a, 'b> {
    streams: &'a mut Streams,
    context: &'a mut Context<'b>,
}

impl Requests for Polled<'_, '_> {
    fn ask(&mut self, part: usize, node: &NodeId, budget: Duration) {
        let Streams { manager, query_id, parts, window_bytes, under_way } = &mut *self.streams;
        let Part { fragment, query, parameters, .. } = &parts[part];
        let request = QueryRequest {
            query_id: *query_id,
            fragment: *fragment,
            query: query.clone(),
            parameters: parameters.clone(),
        };
        let options = StreamOptions { call: CallOptions::timeout(budget), window_bytes: *window_bytes };
        let (manager, to) = (Arc::clone(manager), node.clone());
        let opening = Box::pin(async move { manager.stream(&to, &request, options).await });
        let mut asked = UnderWay { node: node.clone(), answer: Answer::Opening(opening), wants_more: true };
        // At once, and not when the reader looks at this one: where a connection is up, all are asked before the first row is read.
        let _is_open = asked.poll_open(self.context);
        under_way.insert(part, asked);
    }

    fn take(&mut self, part: usize) -> Taken {
        let Some(asked) = self.streams.under_way.get_mut(&part) else { return Taken::Nothing };
        let taken = match asked.poll(self.streams.query_id, self.context) {
            Poll::Pending => Taken::Nothing,
            Poll::Ready(taken) => taken.unwrap_or_else(|error| Taken::End(Err(error))),
        };
        if matches!(taken, Taken::End(_)) {
            self.streams.under_way.remove(&part);
        }
        taken
    }

    fn is_sent(&self, part: usize) -> bool {
        self.streams.under_way.get(&part).is_some_and(|asked| !matches!(asked.answer, Answer::Opening(_)))
    }

    fn give_up(&mut self, part: usize) -> GivenUp {
        let Some(mut asked) = self.streams.under_way.remove(&part) else { return GivenUp::UnderWay(Effect::NotSent) };
        while !matches!(asked.answer, Answer::Opening(_)) {
            // What is next may be its end, behind a last message without rows. Rows are dropped, as those behind them are.
            let wanted_more = asked.wants_more;
            match asked.poll(self.streams.query_id, self.context) {
                Poll::Ready(Ok(Taken::End(result))) => return GivenUp::Ended(result),
                Poll::Ready(Err(error)) => return GivenUp::Ended(Err(error)),
                Poll::Ready(Ok(Taken::Rows { rows, .. })) if rows.is_empty() && wanted_more && !asked.wants_more => {}
                Poll::Ready(Ok(_)) | Poll::Pending => break,
            }
        }
        GivenUp::UnderWay(match asked.answer {
            Answer::Rows(stream) => stream.give_up(),
            Answer::Failed(error) => error.effect,
            Answer::Opening(_) => Effect::NotSent,
        })
    }
}

/// A part that a node is asked for.
struct UnderWay {
    node: NodeId,
    answer: Answer,
    /// Whether the node has said that more rows follow.
    wants_more: bool,
}

enum Answer {
    Opening(BoxFuture<'static, Result<ReplyStream, RequestError>>),
    Rows(ReplyStream),
    /// There is no stream.
    Failed(RequestError),
}

impl UnderWay {
    /// Sends the request, where a connection is there for it.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Answer::Opening(opening) = &mut self.answer {
            let opened = std::task::ready!(opening.as_mut().poll(context));
            self.answer = opened.map_or_else(Answer::Failed, Answer::Rows);
        }
        Poll::Ready(())
    }

    /// The next message, or the end. One at a time, so that a node that has nothing to say without a pause keeps nobody from the clock.
    fn poll(&mut self, query_id: u64, context: &mut Context<'_>) -> Poll<Result<Taken, RequestError>> {
        std::task::ready!(self.poll_open(context));
        let stream = match &mut self.answer {
            Answer::Rows(stream) => stream,
            Answer::Failed(error) => return Poll::Ready(Err(error.clone())),
            Answer::Opening(_) => return Poll::Pending,
        };
        let reply = match std::task::ready!(Pin::new(stream).poll_next(context)) {
            Some(reply) => reply?,
            None if self.wants_more => return Poll::Ready(Err(self.malformed("more rows were to follow"))),
            None => return Poll::Ready(Ok(Taken::End(Ok(())))),
        };
        let response = self.read(query_id, &reply)?;
        self.wants_more = response.more;
        Poll::Ready(Ok(Taken::Rows { rows: response.result, bytes: reply.body.len() }))
    }

    fn read(&self, query_id: u64, reply: &Reply) -> Result<QueryResponse, RequestError> {
        let response: QueryResponse = reply.decode().map_err(|error| self.malformed(&error.to_string()))?;
        if response.query_id == query_id { Ok(response) } else { Err(self.malformed("it answers another query")) }
    }

    fn malformed(&self, detail: &str) -> RequestError {
        RequestError::new(Effect::Unknown, Reason::Malformed).of(&self.node).because(detail)
    }
}

impl std::fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryStream").field("query_id", &self.streams.query_id).finish_non_exhaustive()
    }
}
