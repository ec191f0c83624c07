//! Three nodes in one process hold a log; one leads, a follower misses half of the entries and catches up.
//!
//! ```text
//! cargo run -p rdb-net-patterns --example log_replication
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::sync::Arc;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;
use rdb_net_patterns::replication::{Config, MemoryLog, ReplicaHandle, Replication};
use rdb_net_types::NodeId;

const LOG: u64 = 1;
const ENTRIES: u64 = 1000;

/// Starts a node, which joins the cluster of the others.
async fn start(name: &str, seed: Option<&str>) -> Result<(Arc<NetworkManager>, Replication), Box<dyn Error>> {
    let seeds = seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]"));
    let config = Loader::new()
        .overrides([format!("networking.node_id={name}"), "networking.bind_address=127.0.0.1:0".to_owned()])
        .overrides(seeds)
        .load()?;
    let manager = Arc::new(NetworkManager::new(config)?);
    let replication = Replication::new(&manager);
    manager.start().await?;
    Ok((manager, replication))
}

/// Waits until a replica knows so many entries to be committed.
async fn wait(replica: &ReplicaHandle, index: u64) -> Result<(), Box<dyn Error>> {
    replica.committed().wait_for(|committed| *committed >= index).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let names = ["alpha", "beta", "gamma"];
    let mut nodes = vec![start(names[0], None).await?];
    let seed = nodes[0].0.addresses().transport.to_string();
    for name in &names[1..] {
        nodes.push(start(name, Some(&seed)).await?);
    }
    for (manager, _) in &nodes {
        manager.wait_joined().await;
    }
    let members: Vec<NodeId> = names.iter().map(|name| NodeId::new(name)).collect::<Result<_, _>>()?;
    let open = |place: usize| nodes[place].1.open(Config::new(LOG, members.clone()), MemoryLog::new());

    // Two of three are a quorum: the third is not needed.
    let (leader, follower) = (open(0)?, open(1)?);
    let claimed = leader.lead(1).await?;
    println!("{} leads in epoch {}", names[0], claimed.epoch);
    for number in 0..ENTRIES {
        leader.append(vec![number.to_string().into()]).await?;
    }
    println!("{ENTRIES} entries are on two nodes for good");

    // It begins with an empty log, and is sent all of it.
    let late = open(2)?;
    let last = leader.append(vec!["the last one".into()]).await?;
    for replica in [&leader, &follower, &late] {
        wait(replica, *last.end()).await?;
    }
    let mut digests = Vec::new();
    for (name, replica) in names.iter().zip([&leader, &follower, &late]) {
        let status = replica.status().await.ok_or("the replica is open")?;
        println!("{name}: {} entries, digest {:016x}", status.last.index, status.last.digest);
        digests.push(status.last);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "three equal logs");

    for replica in [leader, follower, late] {
        replica.close().await;
    }
    for (manager, _) in nodes.iter().rev() {
        manager.shutdown().await;
    }
    Ok(())
}
