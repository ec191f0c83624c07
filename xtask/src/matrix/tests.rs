//! The workflow of CI as a program reads it: it runs what is here, and with the names that are here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

use super::*;
use crate::COMMANDS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn workflow() -> String {
    std::fs::read_to_string(root().join(".github/workflows/ci.yml")).unwrap()
}

/// Calls `look` with the workflow.
fn with_workflow(look: impl FnOnce(&Yaml<'_>)) {
    let text = workflow();
    let documents = Yaml::load_from_str(&text).expect("the workflow is YAML");
    let [workflow] = documents.as_slice() else { panic!("{} documents", documents.len()) };
    look(workflow);
}

fn jobs<'a>(workflow: &'a Yaml<'a>) -> Vec<(&'a str, &'a Yaml<'a>)> {
    let jobs = workflow["jobs"].as_mapping().expect("jobs");
    jobs.iter().map(|(name, job)| (name.as_str().expect("a name"), job)).collect()
}

fn steps<'a>(job: &'a Yaml<'a>) -> impl Iterator<Item = &'a Yaml<'a>> {
    job["steps"].as_sequence().expect("steps").iter()
}

/// Everything that a job runs, line by line.
fn lines<'a>(job: &'a Yaml<'a>) -> Vec<&'a str> {
    steps(job).filter_map(|step| step.as_mapping_get("run")?.as_str()).flat_map(str::lines).map(str::trim).collect()
}

fn matrix() -> Value {
    serde_json::from_str(&json(&House::load().unwrap())).unwrap()
}

fn names<'a>(matrix: &'a Value, list: &str) -> BTreeSet<&'a str> {
    matrix[list].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn every_crate_of_the_workspace_is_in_the_matrix() {
    let folder = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap());
    let folders = folder.filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut expected: BTreeSet<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let others = [
        "rdb-net-benches",
        "rdb-net-fuzz",
        "rdb-net-membership-benches",
        "rdb-net-session-previous",
        "rdb-net-tests",
        "rdb-net-wire-previous",
        "rdb-swim-previous",
        "xtask",
    ];
    expected.extend(others.map(String::from));
    let matrix = matrix();
    let listed = names(&matrix, "crate");
    assert_eq!(listed, expected.iter().map(String::as_str).collect());
}

#[test]
fn every_profile_of_the_manager_is_in_the_matrix() {
    let matrix = matrix();
    assert_eq!(names(&matrix, "profile"), PROFILES.iter().map(|profile| profile.name).collect());
    assert!(!PROFILES.is_empty());
}

#[test]
fn it_is_one_line_as_an_output_of_a_step_has_to_be() {
    assert_eq!(json(&House::load().unwrap()).lines().count(), 1);
}

#[test]
fn the_workflow_reads_the_matrix_and_uses_each_of_its_lists() {
    let matrix = matrix();
    with_workflow(|workflow| {
        let jobs = jobs(workflow);
        let (_, source) = jobs.iter().find(|(name, _)| *name == "matrix").expect("a job `matrix`");
        let output = "echo \"json=$(cargo xtask ci-matrix)\" >> \"$GITHUB_OUTPUT\"";
        assert!(lines(source).contains(&output), "{:?}", lines(source));
        assert_eq!(source["outputs"]["json"].as_str(), Some("${{ steps.print.outputs.json }}"));
        assert!(steps(source).any(|step| step.as_mapping_get("id").and_then(Yaml::as_str) == Some("print")));

        let mut used = BTreeSet::new();
        for (name, job) in jobs.iter().filter(|(_, job)| job.as_mapping_get("strategy").is_some()) {
            assert_eq!(job["needs"].as_str(), Some("matrix"), "{name}");
            let lists = job["strategy"]["matrix"].as_mapping().expect("a matrix");
            for (list, value) in lists {
                let list = list.as_str().expect("a name");
                let expected = format!("${{{{ fromJson(needs.matrix.outputs.json).{list} }}}}");
                assert_eq!(value.as_str(), Some(expected.as_str()), "{name}");
                assert!(!names(&matrix, list).is_empty(), "{list}");
                let placed = format!("${{{{ matrix.{list} }}}}");
                assert!(lines(job).iter().any(|line| line.contains(&placed)), "{name} does not use {list}");
                used.insert(list.to_owned());
            }
        }
        let all: BTreeSet<String> = matrix.as_object().expect("lists").keys().cloned().collect();
        assert_eq!(used, all);
    });
}

#[test]
fn every_command_that_the_workflow_runs_is_one() {
    with_workflow(|workflow| {
        let mut run = BTreeSet::new();
        for (_, job) in jobs(workflow) {
            for line in lines(job) {
                for behind in line.split("cargo xtask ").skip(1) {
                    let name = behind.split([' ', ')']).next().unwrap_or(behind).to_owned();
                    assert!(COMMANDS.iter().any(|command| command.name == name), "{line}");
                    run.insert(name);
                }
            }
        }
        for name in ["test", "claims", "sim", "lint", "layers", "features", "deny", "ci-matrix"] {
            assert!(run.contains(name), "nothing runs {name}");
        }
    });
}

#[test]
fn the_local_run_has_the_stages_of_ci_and_claims_follow_the_tests() {
    let script = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let stages: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("stage cargo xtask ")).collect();
    let own: Vec<&str> = crate::ci::STAGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(stages, own);
    let place = |name| stages.iter().position(|stage| *stage == name);
    assert!(place("test") < place("claims") && place("test").is_some(), "{stages:?}");
}

#[test]
fn actions_have_a_version_and_nothing_needs_a_secret() {
    with_workflow(|workflow| {
        for (name, job) in jobs(workflow) {
            assert!(job["timeout-minutes"].as_integer().is_some(), "{name} may run for ever");
            for action in steps(job).filter_map(|step| step.as_mapping_get("uses")?.as_str()) {
                let version = action.split_once("@v").map(|(_, version)| version);
                let is_tag = version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()));
                assert!(is_tag, "{name}: {action}");
            }
        }
        assert_eq!(workflow["permissions"]["contents"].as_str(), Some("read"));
    });
    assert!(!workflow().contains("secrets."));
}

#[test]
fn the_toolchain_is_not_older_than_the_manifests_say() {
    // A pinned toolchain would need a file that says so; without one CI takes the stable one.
    assert!(!root().join("rust-toolchain.toml").exists());
    with_workflow(|workflow| {
        for (name, job) in jobs(workflow) {
            assert!(lines(job).iter().any(|line| line.starts_with("rustup toolchain install stable")), "{name}");
        }
    });
}
