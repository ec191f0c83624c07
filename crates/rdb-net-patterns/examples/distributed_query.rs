//! Four nodes in one process hold a table together; one asks them all, and takes rows as they come.
//!
//! ```text
//! cargo run -p rdb-net-patterns --example distributed_query
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_manager::config::Loader;
use rdb_net_manager::{HandlerError, HandlerOptions, NetworkManager};
use rdb_net_patterns::query::{Options, Part, QueryEvent, QueryExecutor, RowStream, Wanted, serve};
use rdb_net_types::{NodeId, QueryRequest, Tuple};

const ROWS_OF_A_NODE: u64 = 10_000;

/// A node's rows, a hundred at a time, as its reader has room for them.
struct Scan(Range<u64>);

impl Stream for Scan {
    type Item = Result<Vec<Tuple>, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let rows: Vec<Tuple> = self.0.by_ref().take(100).map(|row| Tuple(row.to_string().into())).collect();
        Poll::Ready(if rows.is_empty() { None } else { Some(Ok(rows)) })
    }
}

/// Starts a node with a part of the table.
async fn start(number: u64, seed: Option<&str>) -> Result<Arc<NetworkManager>, Box<dyn Error>> {
    let seeds = seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]"));
    let config = Loader::new()
        .overrides([format!("networking.node_id=n{number}"), "networking.bind_address=127.0.0.1:0".to_owned()])
        .overrides(seeds)
        .load()?;
    let manager = Arc::new(NetworkManager::new(config)?);
    let scan = move |_: &NodeId, query: QueryRequest, _: Option<Duration>| -> Result<RowStream, HandlerError> {
        if query.query != "scan" {
            return Err(HandlerError::not_started("only scans are known here"));
        }
        Ok(Box::pin(Scan(number * ROWS_OF_A_NODE..(number + 1) * ROWS_OF_A_NODE)))
    };
    serve(&manager, scan, HandlerOptions::default());
    manager.start().await?;
    manager.wait_joined().await;
    Ok(manager)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut managers = vec![start(0, None).await?];
    let seed = managers[0].addresses().transport.to_string();
    for number in 1..4 {
        managers.push(start(number, Some(&seed)).await?);
    }
    let asker = Arc::clone(&managers[3]);
    let nodes: Vec<NodeId> = asker.members().iter().map(|member| member.id.clone()).collect();
    let executor = QueryExecutor::new(asker);

    // Rows as they come, from all of them.
    let parts = Part::for_each(nodes.clone(), "scan");
    let mut stream = executor.stream(parts.clone(), Options::timeout(Duration::from_secs(10)))?;
    let (mut rows, mut sum) = (0, 0);
    while let Some(event) = stream.next().await {
        match event {
            QueryEvent::Rows { rows: more, .. } => {
                rows += more.len() as u64;
                for row in more {
                    sum += std::str::from_utf8(&row.0)?.parse::<u64>()?;
                }
            }
            QueryEvent::Ended { part, outcome } => println!("part {part}: {outcome:?}"),
        }
    }
    println!("{rows} rows, their sum is {sum}");
    let all = nodes.len() as u64 * ROWS_OF_A_NODE;
    assert_eq!((rows, sum), (all, all * (all - 1) / 2));

    // The first two that are complete.
    let options = Options { wanted: Wanted::First(2), ..Options::timeout(Duration::from_secs(10)) };
    let gathered = executor.gather(parts, options).await?;
    let complete = gathered.outcomes.iter().filter(|outcome| outcome.is_complete()).count();
    println!("{complete} parts are enough: {:?}", gathered.outcomes);
    assert_eq!(complete, 2);

    for manager in managers.iter().rev() {
        manager.shutdown().await;
    }
    Ok(())
}
