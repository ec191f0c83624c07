//! Queries over a node: the machine's requests are the node's streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_manager::{CallOptions, NetworkManager, Reply, ReplyStream, StreamOptions};
use rdb_net_types::{BoxFuture, Effect, NodeId, QueryRequest, QueryResponse, Reason, RequestError, Tuple};
use tokio::time::{Instant, Sleep};

use super::gather::{Action, Gather};
use super::plan::{NoPart, Options, Outcome, Part};

/// Something that has come of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryEvent {
    /// Rows of a part, in the order in which its node sent them.
    Rows {
        /// Which part, by its place in the plan.
        part: usize,
        /// Who sent them.
        node: NodeId,
        /// The rows.
        rows: Vec<Tuple>,
    },
    /// A part has its outcome: the last thing that comes of it.
    Ended {
        /// Which part, by its place in the plan.
        part: usize,
        /// What became of it.
        outcome: Outcome,
    },
}

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

    /// Asks all parts, and gives their rows as they come. Nobody sends more than was taken and a window's bytes; dropping it cancels
    /// what is under way.
    ///
    /// # Errors
    ///
    /// [`NoPart`] where the plan is at fault; nothing was sent.
    pub fn stream(&self, parts: Vec<Part>, options: Options) -> Result<QueryStream, NoPart> {
        let begun = Instant::now();
        let gather = Gather::new(Duration::ZERO, &parts, options)?;
        Ok(QueryStream {
            manager: Arc::clone(&self.manager),
            query_id: self.next_query.fetch_add(1, Ordering::Relaxed) + 1,
            parts,
            window_bytes: options.window_bytes,
            begun,
            gather,
            timer: Box::pin(tokio::time::sleep_until(begun + options.timeout.min(crate::TIMEOUT_MAX))),
            under_way: Vec::new(),
            next: 0,
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
                        stream.gather.handle_too_much();
                    }
                }
                QueryEvent::Ended { part, outcome } => outcomes[part] = outcome,
            }
        }
        Ok(Gathered { rows, outcomes })
    }
}

/// A part that a node is asked for.
struct UnderWay {
    part: usize,
    node: NodeId,
    answer: Answer,
    /// Whether the node has said that more rows follow.
    wants_more: bool,
}

enum Answer {
    Opening(BoxFuture<'static, Result<ReplyStream, RequestError>>),
    Rows(ReplyStream),
}

/// The rows of a query, as they come. Nothing happens while nobody waits for the next ones: then the nodes wait too.
#[must_use = "a query is cancelled when it is dropped"]
pub struct QueryStream {
    manager: Arc<NetworkManager>,
    query_id: u64,
    parts: Vec<Part>,
    window_bytes: u32,
    begun: Instant,
    gather: Gather,
    timer: Pin<Box<Sleep>>,
    under_way: Vec<UnderWay>,
    /// Who is looked at first, so that none is kept waiting by another.
    next: usize,
}

impl QueryStream {
    /// The next rows, or a part's outcome; `None` when every part has one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no row.
    pub async fn next(&mut self) -> Option<QueryEvent> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<QueryEvent>> {
        loop {
            match self.gather.poll_action() {
                Some(Action::Ask { part, node, budget }) => self.ask(part, node, budget),
                Some(Action::Cancel { part }) => self.under_way.retain(|asked| asked.part != part),
                Some(Action::Ended { part, outcome }) => return Poll::Ready(Some(QueryEvent::Ended { part, outcome })),
                None if self.gather.has_ended() => return Poll::Ready(None),
                None => {
                    let now = self.begun.elapsed();
                    if self.gather.poll_timeout().is_some_and(|deadline| deadline <= now) {
                        self.gather.handle_timeout(now);
                        continue;
                    }
                    if let Some(rows) = self.poll_rows(now, context) {
                        return Poll::Ready(Some(rows));
                    }
                    if self.gather.has_actions() {
                        continue;
                    }
                    let until = self.gather.poll_timeout().unwrap_or_default().min(crate::TIMEOUT_MAX);
                    if self.timer.deadline() != self.begun + until {
                        self.timer.as_mut().reset(self.begun + until);
                    }
                    std::task::ready!(self.timer.as_mut().poll(context));
                }
            }
        }
    }

    fn ask(&mut self, part: usize, node: NodeId, budget: Duration) {
        let Part { fragment, query, parameters, .. } = &self.parts[part];
        let (query_id, fragment) = (self.query_id, *fragment);
        let request = QueryRequest { query_id, fragment, query: query.clone(), parameters: parameters.clone() };
        let options = StreamOptions { call: CallOptions::timeout(budget), window_bytes: self.window_bytes };
        let (manager, to) = (Arc::clone(&self.manager), node.clone());
        let opening = Box::pin(async move { manager.stream(&to, &request, options).await });
        self.under_way.push(UnderWay { part, node, answer: Answer::Opening(opening), wants_more: true });
    }

    /// Looks at each node that is asked, until one has rows, or has come to its end.
    fn poll_rows(&mut self, now: Duration, context: &mut Context<'_>) -> Option<QueryEvent> {
        let count = self.under_way.len();
        for step in 0..count {
            let place = (self.next + step) % count;
            let asked = &mut self.under_way[place];
            let came = asked.poll(self.query_id, context);
            let part = asked.part;
            if matches!(asked.answer, Answer::Rows(_)) {
                self.gather.handle_sent(part);
            }
            let Poll::Ready(came) = came else { continue };
            self.next = place + 1;
            match came {
                Ok(Some(rows)) => {
                    self.gather.handle_rows(part);
                    return Some(QueryEvent::Rows { part, node: self.under_way[place].node.clone(), rows });
                }
                Ok(None) => self.gather.handle_end(now, part, Ok(())),
                Err(error) => self.gather.handle_end(now, part, Err(error)),
            }
            self.under_way.remove(place);
            return None;
        }
        None
    }
}

impl UnderWay {
    /// The next rows; `None` at the end of them.
    fn poll(&mut self, query_id: u64, context: &mut Context<'_>) -> Poll<Result<Option<Vec<Tuple>>, RequestError>> {
        loop {
            match &mut self.answer {
                Answer::Opening(opening) => {
                    self.answer = Answer::Rows(std::task::ready!(opening.as_mut().poll(context))?)
                }
                Answer::Rows(stream) => {
                    let response = match std::task::ready!(Pin::new(stream).poll_next(context)) {
                        Some(reply) => self.read(query_id, &reply?)?,
                        None if self.wants_more => return Poll::Ready(Err(self.malformed("more rows were to follow"))),
                        None => return Poll::Ready(Ok(None)),
                    };
                    self.wants_more = response.more;
                    if !response.result.is_empty() {
                        return Poll::Ready(Ok(Some(response.result)));
                    }
                }
            }
        }
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
        f.debug_struct("QueryStream").field("query_id", &self.query_id).finish_non_exhaustive()
    }
}
