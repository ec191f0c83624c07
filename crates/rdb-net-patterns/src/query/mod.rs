//! A query over many nodes: its parts are asked at once, and each has an outcome.
//!
//! A part is a fragment of the query and the nodes that can answer it: one node, or the replicas of a partition, of which the next is
//! asked where the one before it has not begun. Rows come as streams. Nobody sends more than the reader has room for, so a slow
//! reader stops the senders, and dropping the stream cancels every handler that is still at it.
//!
//! ```text
//!  reader            QueryStream             part 0: n1      part 1: n2, n3
//!    |  parts, deadline  |  QueryRequest, budget  |                 |
//!    |------------------>|----------------------->|                 |
//!    |                   |----------------------------------------->|
//!    |   Rows of part 0  |<-- QueryResponse, more |                 |
//!    |<------------------|<-- not started (n2) ---------------------|
//!    |                   |--- the budget that is left ------------->|  n3
//!    |   Rows, Ended     |<-- QueryResponse ------------------------|
//!    |<------------------|                        |                 |
//! ```
//!
//! [`Gather`] decides whom to ask and what became of each part, [`Taking`] in which order what has come is given: both without a
//! network and a clock. `QueryExecutor` runs them over a node.
//!
//! There are no hedged requests: no node is asked twice for the same part, and no two at once. Outcomes are what the layer below
//! says of each request; `docs/patterns-query.md` has them in a table.

#[cfg(feature = "manager")]
mod executor;
mod gather;
mod mutation;
mod plan;
#[cfg(feature = "manager")]
mod serve;
mod taking;

#[cfg(feature = "manager")]
pub use executor::{Gathered, QueryExecutor, QueryStream};
pub use gather::{Action, Gather};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use plan::{NoPart, Options, Outcome, Part, Repeat, Tried, Wanted};
#[cfg(feature = "manager")]
pub use serve::{RowStream, Rows, handler, serve};
pub use taking::{GivenUp, QueryEvent, Requests, Step, Taken, Taking};

#[cfg(test)]
mod taking_tests;
#[cfg(test)]
mod tests;
