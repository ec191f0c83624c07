//! TLS between nodes, seen from outside: whole connections over real sockets, from the handshake to the first request, with
//! nodes of this library, ends made by hand, and foreign clients.
//!
//! What a handshake alone can show is a table in `rdb-net-tls`; here are the rows that need a hello, a session or a socket, and
//! what an operator does while nodes run.

#![expect(clippy::print_stdout, reason = "what was measured is told")]

#[path = "security/changes.rs"]
mod changes;
#[path = "security/child.rs"]
mod child;
#[path = "security/flood.rs"]
mod flood;
#[path = "security/foreign.rs"]
mod foreign;
#[path = "security/impostors.rs"]
mod impostors;
#[path = "security/markers.rs"]
mod markers;
#[path = "security/mint.rs"]
mod mint;
#[path = "security/node.rs"]
mod node;
#[path = "security/nodes.rs"]
mod nodes;
#[path = "security/quic.rs"]
mod quic;
#[path = "security/raw.rs"]
mod raw;
#[path = "security/relay.rs"]
mod relay;
#[path = "security/starved.rs"]
mod starved;
#[path = "security/strangers.rs"]
mod strangers;
#[path = "security/table.rs"]
mod table;
#[path = "security/tokens.rs"]
mod tokens;

use std::collections::BTreeSet;
use std::time::Instant;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// S1, S2, S4, S5.
#[test]
fn every_handshake_ends_as_the_table_says() {
    let begun = Instant::now();
    let rows = [nodes::rows(), strangers::rows(), impostors::rows(), tokens::rows(), relay::rows()];
    let (count, failed) = play(rows.into_iter().flatten().collect());
    println!("MEASURED handshakes over sockets: {count} in {:.1?}, {} failed", begun.elapsed(), failed.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert!(count >= 60, "{count} rows");
}

/// Plays a table. Returns how many rows it has, and the names of those that failed.
fn play(rows: Vec<table::Row>) -> (usize, Vec<&'static str>) {
    let runtime = node::runtime();
    let (count, names) = (rows.len(), rows.iter().map(|row| row.name).collect::<BTreeSet<_>>());
    assert_eq!(names.len(), count, "every row has a name of its own");
    let mut failed = Vec::new();
    for row in rows {
        let name = row.name;
        let (line, is_good) = row.play(&runtime);
        println!("{line}");
        failed.extend((!is_good).then_some(name));
    }
    (count, failed)
}
