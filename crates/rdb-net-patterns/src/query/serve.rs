//! The other side: a node answers queries with streams of rows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_manager::{Answer, HandlerError, HandlerOptions, Handling, NetworkManager, Request};
use rdb_net_types::{MessageType, NodeId, QueryRequest, QueryResponse, Tuple};

/// Rows of a result, some at a time. It is asked for more when the reader has room, and dropped when nobody wants more.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<Vec<Tuple>, HandlerError>> + Send>>;

/// Answers queries.
pub trait Rows: Send + Sync {
    /// The rows of a query, for this node, which is the authenticated peer. Whoever asked waits for this long; the stream is dropped when
    /// the time is over or the reader has gone.
    ///
    /// # Errors
    ///
    /// [`HandlerError::not_started`] lets the next replica be asked.
    fn rows(&self, from: &NodeId, query: QueryRequest, budget: Option<Duration>) -> Result<RowStream, HandlerError>;
}

impl<F> Rows for F
where
    F: Fn(&NodeId, QueryRequest, Option<Duration>) -> Result<RowStream, HandlerError> + Send + Sync,
{
    fn rows(&self, from: &NodeId, query: QueryRequest, budget: Option<Duration>) -> Result<RowStream, HandlerError> {
        self(from, query, budget)
    }
}

/// Lets a node answer queries, so many at once. Before its start, so that nothing is missed.
pub fn serve(manager: &Arc<NetworkManager>, rows: impl Rows + 'static, options: HandlerOptions) {
    manager.handle(MessageType::QUERY_REQUEST, Arc::new(handler(manager, rows)), options);
}

/// What [`serve`] has a node answer queries by: for an application that answers some of them in another way.
pub fn handler(
    manager: &Arc<NetworkManager>,
    rows: impl Rows + 'static,
) -> impl Fn(&NodeId, Request) -> Handling + Send + Sync + 'static {
    let node = Arc::downgrade(manager);
    move |from: &NodeId, request: Request| {
        let begin = || {
            let now = node.upgrade().ok_or_else(|| HandlerError::not_started("the node is shut down"))?.now();
            let query: QueryRequest = request.decode()?;
            let budget = request.deadline.map(|deadline| deadline.saturating_sub(now));
            let response =
                QueryResponse { query_id: query.query_id, fragment: query.fragment, ..QueryResponse::default() };
            Ok(Answers { rows: rows.rows(from, query, budget)?, response, has_ended: false })
        };
        match begin() {
            Ok(answers) => Handling::Stream(Box::pin(answers)),
            Err(error) => Handling::Ready(Err(error)),
        }
    }
}

/// Rows as responses. The last one has no rows and says that there are no more.
struct Answers {
    rows: RowStream,
    response: QueryResponse,
    has_ended: bool,
}

impl Stream for Answers {
    type Item = Result<Answer, HandlerError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        let rows = std::task::ready!(this.rows.as_mut().poll_next(context)).transpose();
        Poll::Ready(Some(rows.map(|rows| {
            this.has_ended = rows.is_none();
            let more = rows.is_some();
            QueryResponse { result: rows.unwrap_or_default(), more, ..this.response.clone() }.into()
        })))
    }
}
