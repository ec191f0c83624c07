//! What every transport must do, whatever its connections are made of.
//!
//! A [`Kind`] brings a backend; each case is a statement, checked with a few nodes of that kind in this process. A node has a
//! runtime of its own, so that it can be killed with everything that it has under way, as a process is.
//! [`transport_conformance!`](crate::transport_conformance) makes a test of every case for every kind.

mod endings;
mod limits;
mod losses;
mod messages;
mod node;
mod outcomes;
mod refusals;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_transport::Backend;
use rdb_net_types::{NodeAddress, NodeId};

pub use endings::*;
pub use limits::*;
pub use losses::*;
pub use messages::*;
pub use node::{ECHO, GATED, NARROW, NEVER, NOTE, Node, PANICS, Started};
pub use outcomes::*;
pub use refusals::*;

/// A kind of transport under test. Nodes of one value reach each other.
pub trait Kind: Send + Sync {
    /// Where a node of this name will listen. Nobody else takes the address, so that a killed node can come back there.
    fn address(&self, node: &str) -> NodeAddress;

    /// What this node dials and listens with.
    fn backend(&self, node: &NodeId, address: &NodeAddress) -> Arc<dyn Backend>;
}

/// The longest wait for what must happen; nothing takes as long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a whole case may take.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for an event.
///
/// # Panics
///
/// When it does not come.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits for what nobody tells: lets others run until it holds.
///
/// # Panics
///
/// When it does not come to hold.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looked = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, looked).await;
}

/// Runs a case to its end.
///
/// # Panics
///
/// When the case does, or takes longer than a minute.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let ended = runtime.block_on(async { tokio::time::timeout(CASE_TIMEOUT, case).await });
    runtime.shutdown_background();
    ended.expect("the case hangs");
}

/// Two nodes: the first asks, the second answers.
async fn pair(kind: &Arc<dyn Kind>) -> (Node, Node) {
    (Node::start(kind, "a").await, Node::start(kind, "b").await)
}

/// Shuts nodes down, which must end in time: nothing is under way any more.
async fn finish(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        assert!(soon("a shutdown", node.transport.shutdown()).await, "everything ended in time");
    }
}

/// Makes a test of every case for each of these kinds of transport: `name: a [Kind](crate::conformance::Kind);`.
#[macro_export]
macro_rules! transport_conformance {
    ($($name:ident: $kind:expr;)*) => {$(
        mod $name {
            use super::*;

            $crate::transport_conformance! { cases of $kind =>
                // Messages.
                a_request_is_answered_whatever_its_size
                a_one_way_message_arrives
                messages_of_one_lane_from_one_task_keep_their_order
                an_attachment_of_64_kib_arrives_unchanged_and_comes_back
                a_thousand_requests_at_once_all_end
                many_tasks_share_one_connection
                statistics_count_what_was_sent
                // Outcomes.
                a_type_without_handler_is_unknown_and_not_started
                a_deadline_ends_the_request_and_its_handler_and_not_the_connection
                a_dropped_request_cancels_its_handler
                a_handler_that_panics_is_an_outcome_and_harms_nobody
                // Limits.
                a_message_that_is_too_large_is_not_sent_and_the_connection_unharmed
                a_message_of_many_frames_goes_there_and_back
                a_handler_at_its_limit_answers_overloaded_and_not_started
                a_slow_handler_holds_up_no_other_type_and_no_other_lane
                // Refusals.
                a_dial_where_nobody_listens_is_refused_at_once
                another_cluster_is_refused_with_that_reason
                another_node_than_the_one_meant_is_refused_with_that_reason
                // Losses.
                a_killed_peer_gives_each_request_one_outcome_that_is_true
                a_peer_that_closes_its_connections_is_dialled_again
                a_peer_that_was_killed_and_came_back_is_reached_again
                // Endings.
                a_node_that_drains_answers_every_request_that_it_has_begun
                a_node_that_drains_delivers_every_message_that_it_has_taken
                a_shutdown_ends_what_goes_on_for_ever_and_leaves_no_task
            }
        }
    )*};
    (cases of $kind:expr => $($case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::conformance::run($crate::conformance::$case(::std::sync::Arc::new($kind)));
        }
    )*};
}
