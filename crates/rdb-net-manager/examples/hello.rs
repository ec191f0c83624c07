//! Two nodes in one process: each answers queries, and one asks both.
//!
//! ```text
//! cargo run -p rdb-net-manager --example hello
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_manager::config::Loader;
use rdb_net_manager::{Answer, CallOptions, HandlerError, HandlerOptions, Handling, NetworkManager, Request};
use rdb_net_types::{MessageType, NodeId, QueryRequest, QueryResponse, Tuple};

/// Starts a node that answers every query with one row: its own name.
async fn start(name: &str, seed: Option<&str>) -> Result<NetworkManager, Box<dyn Error>> {
    let seeds = seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]"));
    let config = Loader::new()
        .overrides([format!("networking.node_id={name}"), "networking.bind_address=127.0.0.1:0".to_owned()])
        .overrides(seeds)
        .load()?;
    let manager = NetworkManager::new(config)?;

    let row = Tuple(name.to_owned().into());
    let answer = move |_: &NodeId, request: Request| {
        let response = request.decode::<QueryRequest>().map(|query| QueryResponse {
            query_id: query.query_id,
            result: vec![row.clone()],
            ..QueryResponse::default()
        });
        Handling::Ready(response.map(Answer::from).map_err(HandlerError::from))
    };
    manager.handle(MessageType::QUERY_REQUEST, Arc::new(answer), HandlerOptions::default());
    manager.start().await?;
    Ok(manager)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let first = start("alpha", None).await?;
    let second = start("beta", Some(&first.addresses().transport.to_string())).await?;
    second.wait_joined().await;

    let nodes: Vec<NodeId> = second.members().iter().map(|member| member.id.clone()).collect();
    let query = QueryRequest { query_id: 1, query: "who are you?".to_owned(), ..QueryRequest::default() };
    let options = CallOptions::timeout(Duration::from_secs(1));
    for outcome in second.request_all(&nodes, query, options).await {
        let rows = match outcome.result {
            Ok(reply) => reply.decode::<QueryResponse>()?.result,
            Err(error) => return Err(error.into()),
        };
        assert_eq!(rows, [Tuple(outcome.node.to_string().into())], "each node answers with its own name");
    }
    assert_eq!(nodes.len(), 2, "both nodes are members");

    second.shutdown().await;
    first.shutdown().await;
    Ok(())
}
