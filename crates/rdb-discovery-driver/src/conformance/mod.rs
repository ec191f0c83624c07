//! What every backend must do, whatever its source is.
//!
//! A [`Kind`] makes scenes; a [`Scene`] is a source of its own, with the means to change what it says and to cut it off. Each case
//! is a statement, checked in a runtime of its own. [`discovery_conformance!`](crate::discovery_conformance) makes a test of every
//! case for every kind. A case that does not apply to a kind, such as registration at a file, passes without a word.

mod changes;
mod cuts;
mod leaks;
mod life;
mod machine;
mod proxy;
mod registration;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use rdb_discovery::{DiscoveryEvent, DiscoverySource, EventStream, Freshness, NodeKey, RemovalReason};
use rdb_net_types::{BoxFuture, NodeId, NodeInfo};

pub use changes::*;
pub use cuts::*;
pub use leaks::*;
pub use life::*;
pub use machine::{found, skip};
pub use proxy::Proxy;
pub use registration::*;

/// What a kind of source is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// It can be cut off and come back.
    pub cuts: bool,
    /// It starts although its source is away.
    pub starts_alone: bool,
    /// Its first answer has every node; that of several sources has those of the first one to answer.
    pub whole: bool,
    /// It holds the loss of most of its nodes until that is confirmed.
    pub guards: bool,
    /// Why a node is gone that the source no longer names.
    pub absence: RemovalReason,
    /// A registration ends within seconds when nobody renews it.
    pub expires: bool,
    /// How long a change may take from the source to the event.
    pub promise: Duration,
}

impl Traits {
    /// A server that tells of changes by itself, and at which registrations expire.
    pub const fn registry() -> Self {
        Self {
            cuts: true,
            starts_alone: true,
            whole: true,
            guards: true,
            absence: RemovalReason::Expired,
            expires: true,
            promise: Duration::from_millis(500),
        }
    }

    /// A server that is asked again and again, at which nobody registers.
    pub const fn polled(promise: Duration) -> Self {
        Self { absence: RemovalReason::Absent, expires: false, promise, ..Self::registry() }
    }
}

/// A source of its own, and what an operator or a network does to it.
pub trait Scene: Send + Sync {
    /// Another reader of the same source, not started.
    fn source(&self) -> Arc<dyn DiscoverySource>;

    /// What the source is like.
    fn traits(&self) -> Traits;

    /// Makes the source name these nodes and no others, by whatever means nodes get there.
    fn write<'a>(&'a self, nodes: &'a [NodeInfo]) -> BoxFuture<'a, ()>;

    /// The way to the source, where it is what is cut and where its connections are counted.
    fn way(&self) -> Option<&Proxy> {
        None
    }

    /// Makes the source unreachable.
    fn cut(&self) -> BoxFuture<'_, ()> {
        self.way().into_iter().for_each(Proxy::cut);
        Box::pin(std::future::ready(()))
    }

    /// Makes it reachable again.
    fn heal(&self) -> BoxFuture<'_, ()> {
        self.way().into_iter().for_each(Proxy::heal);
        Box::pin(std::future::ready(()))
    }

    /// Connections to the source that are open at this time; `None` where nobody counts them.
    fn connections(&self) -> Option<usize> {
        self.way().map(Proxy::open)
    }
}

/// Makes scenes.
pub trait Kind: Send + Sync {
    /// A new scene; `None` where this machine has not what it takes, which the kind has told.
    fn scene(&self) -> BoxFuture<'_, Option<Box<dyn Scene>>>;
}

/// The longest wait for what must happen; nothing takes as long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a case to its end, in a runtime of its own.
///
/// # Panics
///
/// When the case does, or takes longer than two minutes.
pub fn run<F: Future<Output = ()>>(kind: &dyn Kind, case: impl FnOnce(Arc<dyn Scene>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let ended = runtime.block_on(async {
        let Some(scene) = kind.scene().await else { return Ok(()) };
        tokio::time::timeout(Duration::from_secs(120), case(Arc::from(scene))).await
    });
    runtime.shutdown_background();
    ended.expect("the case hangs");
}

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
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, looked).await;
}

/// A node with a name and an address that differ by this number, and facts of this version.
///
/// # Panics
///
/// Never: names and addresses are legal.
pub fn node(number: u16, version: &str) -> NodeInfo {
    let address = format!("127.0.3.{}:{}", 1 + number % 200, 7_000 + number).parse().expect("legal");
    let id = NodeId::new(&format!("n{number:04}")).expect("legal");
    NodeInfo { version: version.to_owned(), ..NodeInfo::new(id, address) }
}

/// A reader of a source that folds what it is told, and checks each event against what it was told before.
#[derive(Debug)]
pub struct Reader {
    events: EventStream,
    nodes: BTreeMap<NodeKey, Arc<NodeInfo>>,
    /// The events so far, in short.
    pub log: Vec<String>,
    began: bool,
}

impl Reader {
    /// Begins to read.
    ///
    /// # Panics
    ///
    /// When the source does not run.
    pub fn of(source: &dyn DiscoverySource) -> Self {
        let events = source.watch_events().expect("it runs");
        Self { events, nodes: BTreeMap::new(), log: Vec::new(), began: false }
    }

    /// Reads the next event.
    ///
    /// # Panics
    ///
    /// When none comes, or it contradicts what was told before.
    pub async fn next(&mut self) -> Option<DiscoveryEvent> {
        let event = soon("an event", poll_fn(|context| pin!(&mut self.events).poll_next(context))).await;
        if let Some(event) = &event {
            self.fold(event);
        }
        event
    }

    /// Reads until an event in short begins like this.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn until(&mut self, begin: &str) -> String {
        let start = self.log.len();
        loop {
            if let Some(found) = self.log[start..].iter().find(|event| event.starts_with(begin)) {
                return found.clone();
            }
            let waited = tokio::time::timeout(PATIENCE, self.next()).await;
            assert!(matches!(waited, Ok(Some(_))), "no event {begin:?} among {:?}", &self.log[start..]);
        }
    }

    /// Reads until the nodes have these addresses.
    ///
    /// # Panics
    ///
    /// When they never do.
    pub async fn until_addresses(&mut self, nodes: &[NodeInfo]) {
        let mut expected: Vec<_> = nodes.iter().map(|node| node.address.to_string()).collect();
        expected.sort_unstable();
        while !self.began || self.addresses() != expected {
            let told = tokio::time::timeout(PATIENCE, self.next()).await;
            assert!(matches!(told, Ok(Some(_))), "{expected:?} never came, but {:?}: {:?}", self.addresses(), self.log);
        }
    }

    /// The addresses of the nodes, in order.
    pub fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<_> = self.nodes.values().map(|node| node.address.to_string()).collect();
        addresses.sort_unstable();
        addresses
    }

    /// The node at this address.
    pub fn at(&self, node: &NodeInfo) -> Option<&Arc<NodeInfo>> {
        self.nodes.values().find(|known| known.address == node.address)
    }

    fn fold(&mut self, event: &DiscoveryEvent) {
        assert!(self.began || matches!(event, DiscoveryEvent::Snapshot(_)), "first came {event:?}");
        self.began = true;
        self.log.push(match event {
            DiscoveryEvent::Snapshot(snapshot) => {
                self.nodes = snapshot.nodes.iter().map(|node| (NodeKey::of(node), Arc::clone(node))).collect();
                let stale = if snapshot.freshness == Freshness::Live { "" } else { " stale" };
                format!("={}{stale}", snapshot.nodes.len())
            }
            DiscoveryEvent::Added(node) => {
                let known = self.nodes.insert(NodeKey::of(node), Arc::clone(node));
                assert!(known.is_none(), "added twice: {node:?}");
                format!("+{}", node.address)
            }
            DiscoveryEvent::Updated { old, new } => {
                let known = self.nodes.insert(NodeKey::of(new), Arc::clone(new));
                assert_eq!(known.as_ref(), Some(old), "updated from something else");
                assert_ne!(old, new, "updated without a change");
                format!("~{}", new.address)
            }
            DiscoveryEvent::Removed { node, why } => {
                assert!(self.nodes.remove(&NodeKey::of(node)).is_some(), "removed and not there: {node:?}");
                format!("-{} {}", node.address, why.name())
            }
            DiscoveryEvent::Degraded { cause } => format!("degraded {}", cause.name()),
            DiscoveryEvent::Restored => "restored".to_owned(),
            DiscoveryEvent::Resynced { .. } => "resynced".to_owned(),
            other => format!("{other:?}"),
        });
    }
}

/// A started reader of the scene's source.
async fn started(scene: &Arc<dyn Scene>) -> (Arc<dyn DiscoverySource>, Reader) {
    let source = scene.source();
    soon("a start", source.initialize()).await.expect("it starts");
    let reader = Reader::of(&*source);
    (source, reader)
}

async fn finish(source: &Arc<dyn DiscoverySource>) {
    soon("a shutdown", source.shutdown()).await.expect("everything ends");
}

fn numbered(numbers: std::ops::Range<u16>) -> Vec<NodeInfo> {
    numbers.map(|number| node(number, "1")).collect()
}

/// Makes a test of every case for each of these kinds of source: `name: a [Kind](crate::conformance::Kind);`.
#[macro_export]
macro_rules! discovery_conformance {
    ($($name:ident: $kind:expr;)*) => {$(
        mod $name {
            use super::*;

            $crate::discovery_conformance! { cases of $kind =>
                // Changes.
                the_first_event_is_the_list_even_an_empty_one
                additions_updates_and_removals_are_told_once_each
                two_subscribers_are_told_the_same
                the_specifications_events_follow_the_same_changes
                a_change_is_told_within_the_promised_time
                a_thousand_nodes_are_listed
                // Cuts.
                a_cut_keeps_the_list_and_is_told
                what_changed_during_a_cut_is_told_after_it
                a_start_without_the_source_succeeds_and_heals
                the_loss_of_most_nodes_is_held_until_it_is_confirmed
                // Life.
                a_shutdown_ends_every_stream_and_leaves_no_task
                a_drop_leaves_no_task
                many_lives_leave_no_task_and_no_connection
                waiting_for_nodes_ends_when_they_are_there
                // Registration.
                a_registered_node_is_listed_for_others_until_it_is_withdrawn
                other_facts_of_a_registered_node_are_told_to_others
                two_processes_with_one_name_are_found_and_told
                a_restarted_process_takes_its_place_at_once
                a_shutdown_withdraws_the_node
                a_registration_outlives_a_cut
                many_registrations_leave_no_task_and_no_connection
            }

            // Leaks: in a process of its own.
            #[test]
            fn lives_that_expire_leave_no_task_and_no_file() {
                let name = concat!(module_path!(), "::lives_that_expire_leave_no_task_and_no_file");
                $crate::conformance::alone(name, &$kind, $crate::conformance::lives_that_expire_leave_no_task_and_no_file);
            }
        }
    )*};
    (cases of $kind:expr => $($case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::conformance::run(&$kind, $crate::conformance::$case);
        }
    )*};
}
