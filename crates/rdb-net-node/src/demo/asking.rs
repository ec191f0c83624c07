//! A node's part in queries: it answers them, with streams of rows where that is wanted, and asks all members that are alive for theirs.
//!
//! A query without a word before it is asked and answered whole, as nodes of releases before the streams know it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_manager::{CallOptions, HandlerError, HandlerOptions, Handling, NetworkManager, NodeOutcome, Request};
use rdb_net_patterns::query::{
    Options, Outcome as PartOutcome, Part, QueryEvent, QueryExecutor, RowStream, Wanted, handler,
};
use rdb_net_types::{Effect, MessageType, NodeId, QueryRequest, QueryResponse, RequestError, Tuple};
use tokio::time::{Sleep, sleep};

use super::node::tell;
use super::protocol::{Answered, Ended, FailureLine, Outcome, QueryOrder, Told};
use super::table::{Answer, AnswerError, Partition, Query, QueryError};
use crate::exit::Failure;

/// How long a query waits for its parts, and one whose rows come slowly.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);
const SLOW_QUERY_TIMEOUT: Duration = Duration::from_secs(8);
/// How many rows come together.
const ROWS_TOGETHER: usize = 64;
/// The rows of a slow answer come in so many pieces, with this pause between them.
const SLOW_PIECES: usize = 10;
const SLOW_PAUSE: Duration = Duration::from_millis(100);

/// How the rows of a query come, by the word before its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// All at once: no word.
    Whole,
    /// `streamed`: some at a time.
    Streamed,
    /// `slowly`: some at a time, with pauses.
    Slowly,
}

impl Manner {
    /// That of a text, and the query behind the word.
    pub(super) fn of(text: &str) -> (Self, &str) {
        match text.split_once(' ') {
            Some(("streamed", query)) => (Self::Streamed, query),
            Some(("slowly", query)) => (Self::Slowly, query),
            _ => (Self::Whole, text),
        }
    }
}

/// Lets a node answer queries over its partition.
pub(super) fn answer(manager: &Arc<NetworkManager>, partition: Partition) {
    let rows = partition.rows();
    let pieces = move |_: &NodeId, request: QueryRequest, _: Option<Duration>| -> Result<RowStream, HandlerError> {
        let (manner, query) = Manner::of(&request.query);
        let tuples = query.parse::<Query>().map_err(unreadable)?.run(&rows).tuples();
        let is_slow = manner == Manner::Slowly;
        let together = if is_slow { tuples.len().div_ceil(SLOW_PIECES).max(1) } else { ROWS_TOGETHER };
        let pieces = tuples.chunks(together).map(<[Tuple]>::to_vec).collect();
        Ok(Box::pin(Pieces { pieces, is_slow, pause: None }))
    };
    let (streamed, rows) = (handler(manager, pieces), partition.rows());
    let by_manner = move |from: &NodeId, request: Request| {
        let query = match request.decode::<QueryRequest>() {
            Ok(query) => query,
            Err(error) => return Handling::Ready(Err(error.into())),
        };
        if Manner::of(&query.query).0 != Manner::Whole {
            return streamed(from, request);
        }
        let answer = || {
            let result = query.query.parse::<Query>().map_err(unreadable)?.run(&rows).tuples();
            let fragment = partition.fragment();
            Ok(QueryResponse { query_id: query.query_id, fragment, result, more: false }.into())
        };
        Handling::Ready(answer())
    };
    manager.handle(MessageType::QUERY_REQUEST, Arc::new(by_manner), HandlerOptions::default());
}

fn unreadable(error: QueryError) -> HandlerError {
    HandlerError::not_started(error.to_string())
}

/// Rows, some at a time.
struct Pieces {
    pieces: VecDeque<Vec<Tuple>>,
    is_slow: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Stream for Pieces {
    type Item = Result<Vec<Tuple>, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
        }
        self.pause = self.is_slow.then(|| Box::pin(sleep(SLOW_PAUSE)));
        Poll::Ready(self.pieces.pop_front().map(Ok))
    }
}

/// A part as it comes.
#[derive(Debug, Default)]
struct Came {
    rows: Vec<Tuple>,
    outcome: Option<PartOutcome>,
}

/// Asks every member that is alive for its part and puts the parts together.
pub(super) async fn ask(manager: Arc<NetworkManager>, order: QueryOrder) -> Result<Answered, Failure> {
    let members = manager.members();
    let alive = members.iter().filter(|member| member.state.is_routable());
    let asked: Vec<_> = alive.map(|member| member.id.clone()).collect();
    match Manner::of(&order.text) {
        (Manner::Whole, _) => Ok(ask_whole(&manager, asked, &order).await),
        (manner, text) => ask_streamed(manager, asked, &order, (manner, text)).await,
    }
}

async fn ask_whole(manager: &NetworkManager, asked: Vec<NodeId>, order: &QueryOrder) -> Answered {
    let message = QueryRequest { query_id: order.id, query: order.text.clone(), ..QueryRequest::default() };
    let outcomes = manager.request_all(&asked, message, CallOptions::timeout(QUERY_TIMEOUT)).await;
    let merge = || {
        let query: Query = order.text.parse().ok()?;
        let replies = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok());
        let answers = replies.map(|reply| {
            let response: QueryResponse = reply.decode().map_err(|_| AnswerError)?;
            if response.query_id == order.id { query.read(&response.result) } else { Err(AnswerError) }
        });
        query.merge(answers.collect::<Result<Vec<_>, _>>().ok()?).ok()
    };
    let merged = merge();
    let outcome = |outcome: &NodeOutcome| {
        let failure = outcome.result.as_ref().err().map(of_error);
        let ended = if failure.is_none() { Ended::Complete } else { Ended::Failed };
        Outcome { node: outcome.node.clone(), ended, failure, rows: None }
    };
    Answered { id: order.id, outcomes: outcomes.iter().map(outcome).collect(), asked, merged }
}

async fn ask_streamed(
    manager: Arc<NetworkManager>,
    asked: Vec<NodeId>,
    order: &QueryOrder,
    (manner, text): (Manner, &str),
) -> Result<Answered, Failure> {
    let is_slow = manner == Manner::Slowly;
    let wanted = order.first.map_or(Wanted::All, Wanted::First);
    let timeout = if is_slow { SLOW_QUERY_TIMEOUT } else { QUERY_TIMEOUT };
    let options = Options { wanted, ..Options::timeout(timeout) };
    let parts = Part::for_each(asked.iter().cloned(), &order.text);
    let mut stream = QueryExecutor::new(manager).stream(parts, options).map_err(Failure::other)?;
    let mut came: Vec<Came> = asked.iter().map(|_| Came::default()).collect();
    let mut silent = asked.len();
    while let Some(event) = stream.next().await {
        match event {
            QueryEvent::Rows { part, rows, .. } => {
                let is_first = came[part].rows.is_empty();
                came[part].rows.extend(rows);
                silent -= usize::from(is_first);
                if is_slow && is_first && silent == 0 {
                    tell(Told::Streaming { id: order.id })?;
                }
            }
            QueryEvent::Ended { part, outcome } => came[part].outcome = Some(outcome),
        }
    }
    let query = text.parse::<Query>().ok();
    let merged = query.and_then(|query| merge(query, &came));
    let outcomes = asked.iter().zip(&came).filter_map(|(node, came)| outcome(node, came, query.filter(|_| is_slow)));
    Ok(Answered { id: order.id, outcomes: outcomes.collect(), asked, merged })
}

/// What became of a part; with what has come of it, where it is read.
fn outcome(node: &NodeId, came: &Came, read: Option<Query>) -> Option<Outcome> {
    let unknown = |reason: &str, text: String| FailureLine { effect: Effect::Unknown, reason: reason.to_owned(), text };
    let (ended, failure) = match came.outcome.as_ref()? {
        PartOutcome::Complete { .. } => (Ended::Complete, None),
        PartOutcome::Failed { tried } => (Ended::Failed, tried.last().map(|tried| of_error(&tried.error))),
        PartOutcome::Broken { error, .. } => (Ended::Broken, Some(of_error(error))),
        PartOutcome::NotNeeded => (Ended::NotNeeded, Some(unknown("not_needed", format!("{node} was not needed")))),
        late => (Ended::Late, Some(unknown("late", format!("{node}: {late:?}")))),
    };
    let rows = read.and_then(|query| query.read(&came.rows).ok());
    Some(Outcome { node: node.clone(), ended, failure, rows })
}

fn of_error(error: &RequestError) -> FailureLine {
    FailureLine { effect: error.effect, reason: error.reason.name().to_owned(), text: error.to_string() }
}

/// The answers of the complete parts as one; `None` where one of them is no answer to the query.
fn merge(query: Query, came: &[Came]) -> Option<Answer> {
    let complete = came.iter().filter(|came| came.outcome.as_ref().is_some_and(PartOutcome::is_complete));
    let answers: Result<Vec<Answer>, AnswerError> = complete.map(|came| query.read(&came.rows)).collect();
    query.merge(answers.ok()?).ok()
}
