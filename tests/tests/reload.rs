//! A running process that reads its configuration again: on SIGHUP, and when its operator asks for it.

use std::io::Write;
use std::time::{Duration, Instant};

use rdb_net_admin::views::ReloadedView;
use rdb_net_tests::{Cluster, Rdbnet, ask};
use rustix::process::Signal;

/// How long is waited for what has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);
const RELOAD: &str = "/api/v1/network/configuration/reload";

/// Writes these lines behind what stands in a node's file.
fn add(cluster: &Cluster, lines: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(cluster.file(0)).expect("the node has a file");
    file.write_all(lines.as_bytes()).expect("it can be written");
}

fn probes(cluster: &Cluster) -> f64 {
    cluster.node(0).metric("networking_membership_total{counter=\"probes_started\"}")
}

/// Asks the node to read its layers again: the status and the body.
fn reload(cluster: &Cluster) -> (u16, String) {
    ask(cluster.node(0).started().admin, "POST", RELOAD, "").expect("it answers its operator")
}

#[test]
fn a_running_node_takes_new_intervals_of_membership_and_nothing_that_is_wrong() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let cluster = Cluster::start(&rdbnet, 3);
    let (marks, pid) = (cluster.marks(), cluster.node(0).pid());
    add(&cluster, "\n[networking.gossip]\nprobe_interval_ms = 100\nprobe_timeout_ms = 50\n");
    cluster.signal(0, Signal::HUP);
    let (began, before) = (Instant::now(), probes(&cluster));
    // Sixty at the former interval take a minute.
    while probes(&cluster) < before + 60.0 {
        assert!(began.elapsed() < PATIENCE, "it does not probe at 100 ms: {}", cluster.tell(&[0]));
        std::thread::park_timeout(Duration::from_millis(50));
    }

    add(&cluster, "fan_out = 4\n");
    let (status, body) = reload(&cluster);
    assert_eq!(status, 409, "{body}");
    assert!(
        body.contains("there is no key networking.gossip.fan_out; did you mean networking.gossip.fanout?"),
        "{body}"
    );

    let text = std::fs::read_to_string(cluster.file(0)).expect("it is there");
    let text = text.replace("fan_out = 4\n", "fanout = 4\n[networking.transport]\ndials_max = 9\n");
    std::fs::write(cluster.file(0), text).expect("it can be written");
    let (status, body) = reload(&cluster);
    assert_eq!(status, 200, "{body}");
    let reloaded: ReloadedView = serde_json::from_str(&body).expect("a view");
    let keys = |changes: &[rdb_net_admin::views::ChangeView]| {
        changes.iter().map(|change| change.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&reloaded.taken), ["networking.gossip.fanout"]);
    assert_eq!(keys(&reloaded.waiting), ["networking.transport.dials_max"]);

    let failed = (0..3).flat_map(|node| cluster.node(node).log.changes(marks[node]));
    assert_eq!(failed.filter(|change| change.event == "NodeFailed").count(), 0, "{}", cluster.tell(&[0, 1, 2]));
    assert_eq!(cluster.node(0).pid(), pid);
}
