//! The command line as scripts use it: exit codes, and JSON that parses, from files and from a running node.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Output;
use std::time::{Duration, Instant};

use rdb_net_admin::views::{StatusView, TopologyView};
use rdb_net_tests::{Cluster, Node, Rdbnet, Spec, closed_port, text};
use rdb_net_types::{HealthStatus, NodeState};
use rustix::process::Signal;
use serde_json::Value;

#[track_caller]
fn check(output: &Output, code: i32) {
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(!all.contains("panicked"), "{all}");
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

#[test]
fn the_default_configuration_is_toml_that_the_check_accepts() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let default = rdbnet.run(&["config", "default"]);
    check(&default, 0);
    let parsed: toml::Table = toml::from_str(text(&default.stdout)).expect("TOML");
    assert!(parsed["networking"].as_table().is_some_and(|networking| networking.contains_key("bind_address")));

    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let file = folder.path().join("default.toml");
    std::fs::write(&file, &default.stdout).expect("writable");
    let checked = rdbnet.run(&["config", "check", file.to_str().expect("text"), "--output", "json"]);
    check(&checked, 0);
    assert_eq!((&json(&checked)["valid"], &json(&checked)["errors"]), (&Value::Bool(true), &Value::Array(Vec::new())));
}

#[test]
fn a_wrong_configuration_is_told_whole_with_places_and_keys() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let file = folder.path().join("wrong.toml");
    let wrong = "[networking]\nmax_conections = 5\nbind_address = 'nowhere'\n\n[networking.tls]\nenabled = 'maybe'\n";
    std::fs::write(&file, wrong).expect("writable");
    let file = file.to_str().expect("text");
    let checked = rdbnet.run(&["config", "check", file, "--output", "json"]);
    check(&checked, 6);
    let answer = json(&checked);
    let errors = answer["errors"].as_array().expect("a list");
    for (key, line) in [("networking.max_conections", 2), ("networking.bind_address", 3), ("networking.tls.enabled", 6)]
    {
        let of_key = errors.iter().filter(|error| error["key"] == key).collect::<Vec<_>>();
        let [error] = of_key.as_slice() else { panic!("{key} is told once: {errors:?}") };
        let at = error["at"].as_str().expect("a place");
        assert!(at.starts_with(&format!("{file}:{line}:")), "{key}: {at}");
    }
    assert_eq!((errors.len(), &answer["valid"]), (3, &Value::Bool(false)));
    let table = rdbnet.run(&["config", "check", file]);
    check(&table, 6);
    assert_eq!(text(&table.stderr).lines().count(), 3, "{}", text(&table.stderr));
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    for arguments in [&[][..], &["nod"], &["status", "--output", "yaml"], &["members", "--admin", "nowhere"]] {
        check(&rdbnet.run(arguments), 2);
    }
    for arguments in [["--help"], ["--version"]] {
        check(&rdbnet.run(&arguments), 0);
    }
}

#[test]
fn a_dead_admin_listener_is_3_and_a_stranger_is_1() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let dead = closed_port().to_string();
    for command in ["members", "status"] {
        let output = rdbnet.run(&[command, "--admin", &dead, "--output", "json"]);
        check(&output, 3);
        let stderr = text(&output.stderr);
        assert!(stderr.lines().count() == 1 && stderr.contains(&dead), "{stderr}");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    }
    // A node's transport listens, and is no admin listener.
    let cluster = Cluster::start(&rdbnet, 1);
    let transport = cluster.node(0).started().address.to_string();
    check(&rdbnet.run(&["status", "--admin", &transport]), 1);
}

#[test]
fn a_listener_that_says_nothing_is_3() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = silent.local_addr().expect("bound").to_string();
    check(&rdbnet.run(&["status", "--admin", &address]), 3);
}

#[test]
fn members_and_status_of_a_running_cluster_are_read_back() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let cluster = Cluster::start(&rdbnet, 3);
    let node = cluster.node(0).started();
    let admin = node.admin.to_string();
    let members = rdbnet.run(&["members", "--admin", &admin, "--output", "json"]);
    check(&members, 0);
    let view: TopologyView = serde_json::from_slice(&members.stdout).expect("a topology");
    assert_eq!((view.node_id.as_str(), view.cluster.as_str()), ("n1", "rustydb"));
    for (index, member) in view.members.iter().enumerate() {
        let started = cluster.node(index).started();
        let address: SocketAddr = member.address.to_string().parse().expect("an address");
        assert_eq!((member.node_id.as_str(), address), (started.node_id.as_str(), started.address));
        assert_eq!(member.state, NodeState::Alive);
    }
    assert_eq!(view.members.len(), 3);

    let status = rdbnet.run(&["status", "--admin", &admin, "--output", "json"]);
    check(&status, 0);
    let view: StatusView = serde_json::from_slice(&status.stdout).expect("a status");
    assert!(view.health.joined && view.health.status != HealthStatus::Unhealthy, "{view:?}");
    assert_eq!(view.members[&NodeState::Alive], 3);

    let table = rdbnet.run(&["members", "--admin", &admin]);
    check(&table, 0);
    for id in ["n1", "n2", "n3"] {
        assert!(text(&table.stdout).lines().any(|line| line.starts_with(id)), "{}", text(&table.stdout));
    }
}

#[test]
fn a_signal_ends_a_node_in_order_and_a_second_one_at_once() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let spec = Spec { id: "n1".to_owned(), ..Spec::default() };
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Node::spawn(&rdbnet, &spec, folder.path());
        node.wait_started();
        assert_eq!(node.output().len(), 1, "one document on stdout");
        node.signal(signal);
        assert_eq!(node.wait_exit().code(), Some(0), "{signal:?}");
    }
    // A farewell to members that are stopped takes its whole time.
    let cluster = Cluster::start(&rdbnet, 3);
    cluster.signal(1, Signal::STOP);
    cluster.signal(2, Signal::STOP);
    cluster.signal(0, Signal::TERM);
    let leaving = |lines: &[String]| lines.iter().any(|line| line.contains("a second signal")).then_some(());
    cluster.node(0).log.wait(Instant::now() + Duration::from_secs(20), leaving).expect("it tells what to do");
    let second = Instant::now();
    let mut cluster = cluster;
    cluster.signal(0, Signal::TERM);
    assert_eq!(cluster.node_mut(0).wait_exit().code(), Some(1));
    assert!(second.elapsed() < Duration::from_secs(1), "{:?}", second.elapsed());
}

#[test]
fn the_doctor_asks_the_sources_and_the_node_and_ends_by_what_it_finds() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let (nodes, config) = (folder.path().join("nodes.toml"), folder.path().join("node.toml"));
    let admin = closed_port();
    let text_of = |lines: &str| {
        format!("[networking.admin]\nbind_address = '{admin}'\n[networking.service_discovery]\n{lines}\n")
    };
    std::fs::write(&nodes, "seeds = ['127.0.0.1:7000']\n").expect("writable");
    std::fs::write(&config, text_of("file = 'nodes.toml'")).expect("writable");
    let config_path = config.to_str().expect("text");
    let doctor =
        |more: &[&str]| rdbnet.run(&[&["discovery", "doctor", "--wait", "1", "--config", config_path], more].concat());

    let offline = doctor(&["--offline", "--output", "json"]);
    check(&offline, 0);
    let report = json(&offline);
    assert_eq!((&report["sources"][0]["state"], &report["node"]), (&Value::from("live"), &Value::Null));
    assert_eq!(report["sources"][0]["nodes"][0]["address"], "127.0.0.1:7000");
    // No node answers: what the sources say is told all the same.
    let nobody = doctor(&[]);
    check(&nobody, 3);
    assert!(text(&nobody.stdout).contains("127.0.0.1:7000"), "{}", text(&nobody.stdout));

    std::fs::remove_file(&nodes).expect("it was there");
    let missing = doctor(&["--offline"]);
    check(&missing, 8);
    assert!(text(&missing.stdout).contains("problem: static is away"), "{}", text(&missing.stdout));

    std::fs::write(&config, text_of("type = 'statik'\nseds = []")).expect("writable");
    let wrong = doctor(&["--offline"]);
    check(&wrong, 6);
    for told in ["did you mean \"static\"", "did you mean networking.service_discovery.seeds"] {
        assert!(text(&wrong.stderr).contains(told), "{}", text(&wrong.stderr));
    }
}
