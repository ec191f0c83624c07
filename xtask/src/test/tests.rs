//! The command line, the runs that follow from a workspace, and the account of what was skipped.

use super::*;
use crate::house::{Member, Target};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn house() -> House {
    let mut swim = Member::library("rdb-swim", 1, &[]);
    swim.targets.push(Target { name: "properties".into(), kind: ProductKind::Test });
    let mut clusters = Member::library(CLUSTER_PACKAGE, 0, &[]);
    clusters.targets.push(Target { name: "partition".into(), kind: ProductKind::Test });
    House { members: vec![clusters, swim], ..House::default() }
}

#[test]
fn arguments_behind_the_dashes_go_to_the_test_programs() {
    let parsed = Options::parse(&words("--deny-skips -- rejoin --exact")).unwrap();
    assert_eq!(parsed, Options { deny_skips: true, passed_on: words("rejoin --exact") });
    assert_eq!(Options::parse(&[]).unwrap(), Options { deny_skips: false, passed_on: Vec::new() });
}

#[test]
fn an_unknown_argument_is_refused() {
    assert_eq!(Options::parse(&words("rejoin")).unwrap_err().exit_code(), 2);
    assert_eq!(Options::parse(&words("--deny-skips --release")).unwrap_err().exit_code(), 2);
}

#[test]
fn clusters_run_apart_from_the_unit_tests_and_with_few_threads() {
    let stages = stages(&house(), Extent::Whole, &words("--test-threads=3"));
    let lines: Vec<String> = stages.iter().map(|stage| stage.arguments.join(" ")).collect();
    assert_eq!(
        lines,
        [
            "test --workspace --features rdb-net-node/dns,rdb-net-node/etcd,rdb-net-node/consul,rdb-net-tests/consul --no-fail-fast --message-format=json-render-diagnostics --lib --bins --examples --benches --test properties -- --show-output --test-threads=3",
            "test --workspace --features rdb-net-node/dns,rdb-net-node/etcd,rdb-net-node/consul,rdb-net-tests/consul --no-fail-fast --message-format=json-render-diagnostics --test partition -- --show-output --test-threads=3",
            "test --workspace --features rdb-net-node/dns,rdb-net-node/etcd,rdb-net-node/consul,rdb-net-tests/consul --no-fail-fast --message-format=json-render-diagnostics --doc -- --show-output --test-threads=3",
        ]
    );
    let own_choice = with_few_threads(&words("rejoin"));
    assert!(own_choice[1].starts_with("--test-threads="), "{own_choice:?}");
}

#[test]
fn the_daemon_is_built_with_features_of_its_own_alone() {
    for extent in [Extent::Whole, Extent::WithoutConsul] {
        assert!(extent.node_features().split(',').all(|feature| feature.starts_with("rdb-net-node/")), "{extent:?}");
    }
}

#[test]
fn where_consul_cannot_be_built_all_else_is_tested() {
    let mut consul = Member::library(CONSUL_PACKAGE, 6, &[]);
    consul.targets.push(Target { name: "consul".into(), kind: ProductKind::Test });
    let mut house = house();
    house.members.push(consul);
    let stages = stages(&house, Extent::WithoutConsul, &[]);
    for stage in &stages {
        let line = stage.arguments.join(" ");
        let begin =
            "test --workspace --features rdb-net-node/dns,rdb-net-node/etcd --exclude rdb-discovery-consul --no-fail";
        assert!(line.starts_with(begin) && !line.contains("--test consul"), "{line}");
    }
    assert!(stages[0].arguments.contains(&String::from("properties")));
}

#[test]
fn a_workspace_without_cluster_tests_has_no_run_for_them() {
    let house = House { members: vec![Member::library("rdb-phi", 1, &[])], ..House::default() };
    let names: Vec<&str> = stages(&house, Extent::Whole, &[]).iter().map(|stage| stage.name).collect();
    assert_eq!(names, ["unit tests", "documentation tests"]);
}

#[test]
fn the_path_of_the_daemon_is_read_from_the_messages_of_the_build() {
    let artifact = |name: &str, executable: &str| {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"p","manifest_path":"/m/Cargo.toml","target":{{"kind":["bin"],"crate_types":["bin"],"name":"{name}","src_path":"/m/main.rs","edition":"2024","doc":true,"doctest":false,"test":true}},"profile":{{"opt_level":"0","debuginfo":0,"debug_assertions":true,"overflow_checks":true,"test":false}},"features":[],"filenames":[],"executable":{executable},"fresh":true}}"#
        )
    };
    let messages = format!("no json\n{}\n{}\n", artifact("other", "\"/t/other\""), artifact("rdbnet", "\"/t/rdbnet\""));
    assert_eq!(executable(messages.as_bytes(), "rdbnet"), Some(PathBuf::from("/t/rdbnet")));
    assert_eq!(executable(messages.as_bytes(), "absent"), None);
    assert_eq!(executable(artifact("rdbnet", "null").as_bytes(), "rdbnet"), None);
}

#[test]
fn reasons_are_counted_and_told() {
    let reasons = count_reasons("SKIPPED: no root\n\nSKIPPED: no etcd\nSKIPPED: no root\n");
    assert_eq!(skip_summary(&reasons), "  1 x no etcd\n  2 x no root\n3 skipped", "the last line counts");
    assert_eq!(skip_summary(&count_reasons("")), "0 skipped");
}

#[test]
fn only_a_real_agent_of_consul_may_be_missing() {
    assert!(may_be_skipped(&count_reasons("")));
    assert!(may_be_skipped(&count_reasons(&format!("SKIPPED: {EXCEPTED}\n"))));
    assert!(!may_be_skipped(&count_reasons(&format!("SKIPPED: {EXCEPTED}\nSKIPPED: no root\n"))));
}
