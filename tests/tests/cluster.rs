//! Clusters of real processes with default settings over plain TCP: how fast they find each other, notice a death, and come
//! back; and that a pause is no death.
//!
//! `RDB_RUNS` sets how often each scenario is run. Bounds are held against the time stamps of the nodes' own logs.

#[path = "cluster/discovery.rs"]
mod discovery;

use std::time::{Duration, Instant, SystemTime};

use rdb_net_tests::{Change, Cluster, Node, Rdbnet, Samples, get, runs, skip, text};
use rustix::process::Signal;

const NODES: usize = 5;

/// From an act to what was seen of it.
fn since(act: SystemTime, seen: SystemTime) -> Duration {
    seen.duration_since(act).expect("nothing is seen before it happens")
}

#[test]
fn five_nodes_know_each_other_two_seconds_after_the_last_start() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let mut samples = Samples::new("five nodes agree", Duration::from_secs(2));
    for run in 0..runs(1) {
        let mut cluster = Cluster::new(&rdbnet, NODES);
        (0..NODES).for_each(|index| cluster.spawn(index));
        let agreed = cluster.wait_agreed();
        samples.add(since(cluster.node(NODES - 1).began, agreed), format!("run {run}"));
    }
    samples.judge();
}

#[test]
fn twenty_nodes_that_start_at_once_agree_within_three_seconds() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let mut samples = Samples::new("twenty nodes agree", Duration::from_secs(3));
    for run in 0..runs(1) {
        let mut cluster = Cluster::new(&rdbnet, 20);
        (0..20).for_each(|index| cluster.spawn(index));
        let agreed = cluster.wait_agreed();
        samples.add(since(cluster.node(19).began, agreed), format!("run {run}"));
    }
    samples.judge();
}

#[test]
fn a_killed_node_is_failed_everywhere_within_one_and_a_half_seconds() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let mut cluster = Cluster::start(&rdbnet, NODES);
    let mut samples = Samples::new("killed seen as failed", Duration::from_millis(1500));
    for run in 0..runs(3) {
        let victim = run % NODES;
        let marks = cluster.marks();
        let act = cluster.signal(victim, Signal::KILL);
        for observer in cluster.others(victim) {
            let seen = cluster.wait_change(observer, marks[observer], "NodeFailed", victim);
            samples.add(since(act, seen), format!("run {run}: {} of {}", cluster.id(observer), cluster.id(victim)));
        }
        let victim_id = cluster.id(victim).to_owned();
        for observer in cluster.others(victim) {
            let failed = cluster.node(observer).log.changes(marks[observer]);
            let failed: Vec<Change> = failed.into_iter().filter(|change| change.event == "NodeFailed").collect();
            assert!(failed.len() == 1 && failed[0].node == victim_id, "{}: {failed:?}", cluster.id(observer));
        }
        come_back(&mut cluster, victim, &marks, "NodeRecovered");
        cluster.wait_settled();
    }
    samples.judge();
}

#[test]
fn a_pause_of_three_seconds_is_no_failure() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    const PAUSE: Duration = Duration::from_secs(3);
    // A suspicion that began in the last moment of the pause has run out by then.
    const AFTERMATH: Duration = Duration::from_secs(2);
    let cluster = Cluster::start(&rdbnet, NODES);
    let (runs, mut suspected) = (runs(3), 0);
    for run in 0..runs {
        let victim = run % NODES;
        let marks = cluster.marks();
        cluster.signal(victim, Signal::STOP);
        cluster.watch_never(PAUSE, "NodeFailed", &marks);
        cluster.signal(victim, Signal::CONT);
        cluster.watch_never(AFTERMATH, "NodeFailed", &marks);
        cluster.wait_settled();
        cluster.never("NodeFailed", &marks);
        let victim_id = cluster.id(victim);
        let observers = cluster.others(victim).into_iter();
        let suspicions = observers.map(|observer| cluster.node(observer).log.changes(marks[observer]));
        suspected += suspicions.flatten().filter(|change| change.is("NodeSuspected", victim_id)).count();
    }
    println!("MEASURED pause of {PAUSE:?}: {runs} runs, 0 failures, suspected {suspected} times by another node");
    assert!(suspected > 0, "the pause was not even noticed: nothing was tested");
}

#[test]
fn a_farewell_is_seen_as_left_by_all_within_two_seconds_and_never_as_a_failure() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    const AFTERMATH: Duration = Duration::from_secs(2);
    let mut cluster = Cluster::start(&rdbnet, NODES);
    let mut samples = Samples::new("farewell seen as left", Duration::from_secs(2));
    for run in 0..runs(1) {
        let leaver = run % NODES;
        let marks = cluster.marks();
        let act = cluster.signal(leaver, Signal::TERM);
        for observer in cluster.others(leaver) {
            let seen = cluster.wait_change(observer, marks[observer], "NodeLeft", leaver);
            samples.add(since(act, seen), format!("run {run}: {} of {}", cluster.id(observer), cluster.id(leaver)));
        }
        let status = cluster.node_mut(leaver).wait_exit();
        assert_eq!(status.code(), Some(0), "{}", cluster.tell(&[leaver]));
        cluster.watch_never(AFTERMATH, "NodeFailed", &marks);
        come_back(&mut cluster, leaver, &marks, "NodeJoined");
        cluster.wait_settled();
    }
    samples.judge();
}

#[test]
fn a_node_that_restarts_at_once_is_seen_as_failed_and_recovered_within_three_seconds() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let mut cluster = Cluster::start(&rdbnet, NODES);
    let mut samples = Samples::new("restart at once seen as recovered", Duration::from_secs(3));
    for run in 0..runs(1) {
        let victim = run % NODES;
        let marks = cluster.marks();
        cluster.signal(victim, Signal::KILL);
        restart(&mut cluster, victim, &marks, run, &mut samples);
        let victim_id = cluster.id(victim);
        for observer in cluster.others(victim) {
            let changes = cluster.node(observer).log.changes(marks[observer]);
            let told: Vec<&str> = changes.iter().map(|change| change.event.as_str()).collect();
            let of_victim = changes.iter().filter(|change| change.event == "NodeFailed" && change.node == victim_id);
            assert_eq!(of_victim.count(), 1, "{}: {told:?}", cluster.id(observer));
        }
    }
    samples.judge();
}

#[test]
fn a_failed_node_that_restarts_is_seen_as_recovered_within_three_seconds() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let mut cluster = Cluster::start(&rdbnet, NODES);
    let mut samples = Samples::new("restart seen as recovered", Duration::from_secs(3));
    for run in 0..runs(1) {
        let victim = run % NODES;
        let marks = cluster.marks();
        cluster.signal(victim, Signal::KILL);
        for observer in cluster.others(victim) {
            cluster.wait_change(observer, marks[observer], "NodeFailed", victim);
        }
        restart(&mut cluster, victim, &marks, run, &mut samples);
    }
    samples.judge();
}

/// Starts a killed node again and measures until the others see it.
fn restart(cluster: &mut Cluster, victim: usize, marks: &[usize], run: usize, samples: &mut Samples) {
    let seen = come_back(cluster, victim, marks, "NodeRecovered");
    let act = cluster.node(victim).began;
    for (observer, seen) in seen {
        samples.add(since(act, seen), format!("run {run}: {} of {}", cluster.id(observer), cluster.id(victim)));
    }
    cluster.wait_settled();
}

/// Starts a node again and waits until every other one tells this event of it: who, and when.
fn come_back(cluster: &mut Cluster, node: usize, marks: &[usize], event: &str) -> Vec<(usize, SystemTime)> {
    cluster.spawn(node);
    cluster.node_mut(node).wait_started();
    let others = cluster.others(node).into_iter();
    others.map(|observer| (observer, cluster.wait_change(observer, marks[observer], event, node))).collect()
}

#[test]
fn a_node_without_a_seed_says_so_and_joins_within_five_seconds_of_its_first() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    const DARK: Duration = Duration::from_secs(8);
    let mut samples = Samples::new("joined after the first seed", Duration::from_secs(5));
    for run in 0..runs(1) {
        // The last of four is no seed itself.
        let mut cluster = Cluster::new(&rdbnet, 4);
        let (seed, lonely) = (run % 3, 3);
        cluster.spawn(lonely);
        cluster.node_mut(lonely).wait_started();
        wait_for_line(cluster.node(lonely), "no seed answers");
        let (status, _) = get(cluster.node(lonely).started().admin, "/readyz").expect("it answers operators");
        assert_eq!(status, 503, "it is not ready");
        // Until the waits between its calls are as long as they get.
        cluster.watch_never(DARK, "NodeJoined", &cluster.marks());

        cluster.spawn(seed);
        cluster.node_mut(seed).wait_started();
        let act = cluster.node(seed).began;
        for (observer, of) in [(lonely, seed), (seed, lonely)] {
            let seen = cluster.wait_change(observer, 0, "NodeJoined", of);
            samples.add(since(act, seen), format!("run {run}: {} of {}", cluster.id(observer), cluster.id(of)));
        }
        let (status, _) = get(cluster.node(lonely).started().admin, "/readyz").expect("it answers operators");
        assert_eq!(status, 200, "it is ready");
    }
    samples.judge();
}

#[track_caller]
fn wait_for_line(node: &Node, part: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let found = node.log.wait(deadline, |lines| lines.iter().any(|line| line.contains(part)).then_some(()));
    assert!(found.is_some(), "{} did not say {part:?}:\n{}", node.id, node.log.lines().join("\n"));
}

#[test]
fn the_demo_passes() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    demo(&rdbnet, &[], "mtls");
}

#[test]
fn the_demo_passes_in_plain_text_too() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    demo(&rdbnet, &["--plaintext", "--nodes", "3"], "plaintext");
}

#[test]
fn the_demo_passes_over_quic() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    demo(&rdbnet, &["--transport", "quic", "--nodes", "3"], "mtls");
}

#[track_caller]
fn demo(rdbnet: &Rdbnet, options: &[&str], security: &str) {
    let arguments = [&["demo", "--output", "json"], options].concat();
    let output = rdbnet.run_within(&arguments, Duration::from_secs(150));
    assert_eq!(output.status.code(), Some(0), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(report["security"], security, "{report}");
}

/// A network of its own, in which packets get lost.
struct Lossy(String);

impl Lossy {
    /// Drops the packets that this matches.
    fn new(name: &str, matching: &str) -> Result<Self, String> {
        let name = format!("rdbnet-{name}-{}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let network = Self(name);
        // Packets that leave as one for the system to cut are cut before they are judged, as on a wire.
        network.run(&["ip", "link", "set", "lo", "up", "gso_max_segs", "1"])?;
        let rules = format!(
            "add table ip lossy; add chain ip lossy in {{ type filter hook input priority 0; }}; \
             add rule ip lossy in {matching} drop"
        );
        network.run(&["nft", &rules])?;
        Ok(network)
    }

    /// Plays the demo in it.
    #[track_caller]
    fn demo(self, rdbnet: &Rdbnet, options: &[&str]) {
        let program = rdbnet.path().to_str().expect("a path in UTF-8");
        let passed = self.run(&[&[program, "demo"], options].concat());
        passed.unwrap_or_else(|told| panic!("{told}"));
    }

    fn run(&self, command: &[&str]) -> Result<std::process::Output, String> {
        run("ip", &[&["netns", "exec", &self.0], command].concat())
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        // What is left of it would only be a name.
        let _removed = run("ip", &["netns", "delete", &self.0]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<std::process::Output, String> {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{program} {}: {}{}", arguments.join(" "), text(&output.stdout), text(&output.stderr))),
    }
}

#[test]
fn where_no_udp_passes_gossip_travels_inside_connections_and_the_demo_passes() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    match Lossy::new("no-udp", NO_UDP) {
        Ok(network) => network.demo(&rdbnet, &[]),
        Err(reason) => skip(&format!("no network of its own without UDP: {reason}")),
    }
}

const NO_UDP: &str = "meta l4proto udp";

#[test]
fn where_no_udp_passes_nodes_that_prefer_quic_meet_over_tcp() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    match Lossy::new("auto", NO_UDP) {
        Ok(network) => network.demo(&rdbnet, &["--transport", "auto", "--nodes", "3"]),
        Err(reason) => skip(&format!("no network of its own without UDP: {reason}")),
    }
}

#[test]
fn where_one_packet_in_a_hundred_in_twenty_or_in_five_gets_lost_the_demo_passes_over_quic() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    for percent in [1, 5, 20] {
        match Lossy::new("loss", &format!("meta l4proto udp numgen random mod 100 < {percent}")) {
            Ok(network) => network.demo(&rdbnet, &["--transport", "quic", "--nodes", "3"]),
            Err(reason) => return skip(&format!("no network of its own that loses packets: {reason}")),
        }
    }
}

#[test]
fn where_large_packets_vanish_without_a_word_the_demo_passes_over_quic() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    match Lossy::new("mtu", "meta l4proto udp meta length > 1300") {
        Ok(network) => network.demo(&rdbnet, &["--transport", "quic", "--nodes", "3"]),
        Err(reason) => skip(&format!("no network of its own that carries no large packets: {reason}")),
    }
}
