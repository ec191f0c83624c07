//! `cargo xtask test`: builds what the tests need, then runs all of them.
//!
//! The contract with the tests:
//!
//! * [`NODE_BINARY`] names the binary `rdbnet`, built beforehand with the features that its users get and those of discovery.
//! * [`PREVIOUS_BINARY`] names that of the previous release, where the history of the repository has it.
//! * Servers and tools that tests need are installed where this process may do that ([`servers`]). Where what Consul's client library
//!   is built with is still missing, its part is left out, and counted as skipped.
//! * A test that cannot run here (no root, no server) appends one line `SKIPPED: <reason>` to the file that
//!   [`SKIPPED_FILE`] names, in one write, prints the same line and passes. Output of passing tests is captured, so the
//!   file is what is read; without the variable (plain `cargo test`) only the print is left.
//!
//! Which tests ran, and which of them were skipped, is kept in a file of the target folder ([`record`]), so that `cargo xtask
//! claims` need not run them again.
//!
//! Plain `cargo test` rather than another runner: a fresh machine with a Rust toolchain can run it.

mod previous;
pub(crate) mod record;
pub(crate) mod servers;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use cargo_metadata::Message;

use crate::failure::Failure;
use crate::house::{House, ProductKind};
use crate::process;
use record::{Reader, Record, Verdict};

/// The environment variable with the path of `rdbnet`.
pub(crate) const NODE_BINARY: &str = "RDB_NET_NODE_BIN";
/// The environment variable with the path of the previous release's `rdbnet`.
const PREVIOUS_BINARY: &str = "RDB_NET_PREVIOUS_BIN";
/// The one reason that `--deny-skips` lets pass: no package has this program.
const EXCEPTED: &str = "neither RDB_CONSUL_BIN nor RDB_CONSUL_ADDR names a Consul agent";
/// The environment variable with the path of the file that collects skipped tests.
const SKIPPED_FILE: &str = "RDB_SKIPPED_FILE";

pub(crate) const NODE_PACKAGE: &str = "rdb-net-node";
const NODE_TARGET: &str = "rdbnet";
/// What the tests need of it beyond what its users get: the ways in which nodes find each other. One binary serves all tests, since
/// a feature changes nothing of what is there without it; and the tests are built with the same, so that the manager's own run too.
const FEATURES: &str = "rdb-net-node/dns,rdb-net-node/etcd";
/// What Consul's part adds to them where it can be built: in the daemon, and in the tests of clusters.
const CONSUL_FEATURE: &str = "rdb-net-node/consul";
const CONSUL_TESTS_FEATURE: &str = "rdb-net-tests/consul";
const CONSUL_PACKAGE: &str = "rdb-discovery-consul";
/// The package whose tests start whole clusters of processes.
pub(crate) const CLUSTER_PACKAGE: &str = "rdb-net-tests";

/// Runs all tests, then tells which of them could not run here.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let Options { deny_skips, passed_on } = Options::parse(arguments)?;
    servers::provide();
    let lack = servers::lack_of_consul();
    let extent = if lack.is_none() { Extent::Whole } else { Extent::WithoutConsul };
    let node = build_node(house, &["--features", &extent.node_features()])?;
    let previous = previous::build(house)?;
    let skipped_file = fresh_skipped_file(house)?;
    let (mut reader, mut failed) = (Reader::new(house), Vec::new());
    if let Some(reason) = lack {
        println!("SKIPPED: {CONSUL_PACKAGE}: {reason}");
        write(&skipped_file, &format!("SKIPPED: {reason}\n"))?;
        reader.record.tests.insert(CONSUL_PACKAGE.to_owned(), Verdict::Skipped(reason));
    }
    // What an interrupted run leaves behind is that nothing ran.
    Record::default().store(&Record::path(house))?;
    for stage in stages(house, extent, &passed_on) {
        let mut command = process::cargo(house, &stage.arguments);
        command.env(NODE_BINARY, &node).env(SKIPPED_FILE, &skipped_file);
        command.envs(previous.iter().map(|path| (PREVIOUS_BINARY, path)));
        let show = |line: &str| {
            if reader.read(line) {
                println!("{line}");
            }
        };
        if let Err(failure) = process::run_by_line(command, show) {
            eprintln!("error: {failure}");
            failed.push(stage.name);
        }
    }
    reader.record.store(&Record::path(house))?;
    let skipped = read_skipped(&skipped_file)?;
    println!("\n{}", skip_summary(&skipped));
    if !failed.is_empty() {
        return Err(Failure::Check(format!("failed: {}", failed.join(", "))));
    }
    if deny_skips && !may_be_skipped(&skipped) {
        return Err(Failure::Check(String::from("--deny-skips: some tests could not run here")));
    }
    Ok(())
}

/// The command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    deny_skips: bool,
    /// What stands behind `--`: arguments of the test programs, such as a filter.
    passed_on: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
        let passed_on = arguments.iter().skip(end + 1).cloned().collect();
        match &arguments[..end] {
            [] => Ok(Self { deny_skips: false, passed_on }),
            [flag] if flag == "--deny-skips" => Ok(Self { deny_skips: true, passed_on }),
            own => Err(Failure::Usage(format!(
                "`test` takes --deny-skips, and arguments of the test programs behind `--`; it was given `{}`",
                own.join(" ")
            ))),
        }
    }
}

/// What of the workspace is built and tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    WithoutConsul,
}

impl Extent {
    /// The features of the daemon. Those of another package cargo refuses where that is not built too.
    fn node_features(self) -> String {
        match self {
            Self::Whole => [FEATURES, CONSUL_FEATURE].join(","),
            Self::WithoutConsul => FEATURES.to_owned(),
        }
    }

    fn covers(self, package: &str) -> bool {
        self == Self::Whole || package != CONSUL_PACKAGE
    }

    /// The packages and features, as arguments of cargo.
    fn arguments(self) -> Vec<String> {
        let (features, more) = match self {
            Self::Whole => (format!("{},{CONSUL_TESTS_FEATURE}", self.node_features()), None),
            Self::WithoutConsul => (self.node_features(), Some(["--exclude", CONSUL_PACKAGE].map(String::from))),
        };
        let mut arguments = vec![String::from("--workspace"), String::from("--features"), features];
        arguments.extend(more.into_iter().flatten());
        arguments
    }
}

/// One run of `cargo test`.
#[derive(Debug, PartialEq, Eq)]
struct Stage {
    name: &'static str,
    arguments: Vec<String>,
}

/// The runs: unit tests and each crate's own tests; the clusters; the documentation.
///
/// Each selects targets by name over the whole workspace, never packages, so that all of them share one resolution of
/// features and dependencies are compiled once.
fn stages(house: &House, extent: Extent, passed_on: &[String]) -> Vec<Stage> {
    let (cluster, own): (Vec<_>, Vec<_>) = house
        .members
        .iter()
        .filter(|member| extent.covers(&member.name))
        .flat_map(|member| member.targets.iter().map(move |target| (member.name == CLUSTER_PACKAGE, target)))
        .filter(|(_, target)| target.kind == ProductKind::Test)
        .partition(|(of_clusters, _)| *of_clusters);
    let select = |targets: &[(bool, &crate::house::Target)]| -> Vec<String> {
        targets.iter().flat_map(|(_, target)| [String::from("--test"), target.name.clone()]).collect()
    };
    let everything = ["--lib", "--bins", "--examples", "--benches"].map(String::from);
    let mut stages = vec![stage("unit tests", extent, &[&everything, select(&own).as_slice()].concat(), passed_on)];
    if !cluster.is_empty() {
        stages.push(stage("cluster tests", extent, &select(&cluster), &with_few_threads(passed_on)));
    }
    stages.push(stage("documentation tests", extent, &[String::from("--doc")], passed_on));
    stages
}

fn stage(name: &'static str, extent: Extent, selection: &[String], passed_on: &[String]) -> Stage {
    let mut arguments = [&[String::from("test")], extent.arguments().as_slice()].concat();
    arguments.extend(["--no-fail-fast", record::MESSAGE_FORMAT].map(String::from));
    arguments.extend_from_slice(selection);
    arguments.extend(["--", record::SHOW_OUTPUT].map(String::from));
    arguments.extend_from_slice(passed_on);
    Stage { name, arguments }
}

/// Adds `--test-threads` unless the caller did: one cluster for every two cores. A cluster is several processes with real
/// timers; more of them at once would test the scheduler of this machine.
fn with_few_threads(passed_on: &[String]) -> Vec<String> {
    let mut arguments = passed_on.to_vec();
    if !passed_on.iter().any(|argument| argument.starts_with("--test-threads")) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        arguments.push(format!("--test-threads={}", (cores / 2).max(1)));
    }
    arguments
}

/// Builds the daemon with these options of cargo, and returns where cargo put it.
pub(crate) fn build_node(house: &House, options: &[&str]) -> Result<PathBuf, Failure> {
    let arguments = ["build", "-p", NODE_PACKAGE, "--message-format=json-render-diagnostics"];
    let messages = process::capture(process::cargo(house, &arguments).args(options))?;
    executable(&messages, NODE_TARGET)
        .ok_or_else(|| Failure::Check(format!("{NODE_PACKAGE} has no binary `{NODE_TARGET}`")))
}

/// Builds an example in release mode, and returns where cargo put it.
pub(crate) fn build_example(house: &House, package: &str, name: &str) -> Result<PathBuf, Failure> {
    let arguments =
        ["build", "--release", "-p", package, "--example", name, "--message-format=json-render-diagnostics"];
    let messages = process::capture(&mut process::cargo(house, &arguments))?;
    executable(&messages, name).ok_or_else(|| Failure::Check(format!("{package} has no example `{name}`")))
}

/// The executable of the target `name` among the messages of a build. Lines that are no message are passed over.
fn executable(messages: &[u8], name: &str) -> Option<PathBuf> {
    Message::parse_stream(Cursor::new(messages)).filter_map(Result::ok).find_map(|message| match message {
        Message::CompilerArtifact(artifact) if artifact.target.name == name => {
            artifact.executable.map(|path| path.into_std_path_buf())
        }
        _ => None,
    })
}

/// An empty file for the lines of this run.
fn fresh_skipped_file(house: &House) -> Result<PathBuf, Failure> {
    let path = house.target.join("skipped-tests.txt");
    write(&path, "")?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| Failure::File { path: path.to_owned(), source })
}

/// The reasons and how often each was given.
fn read_skipped(path: &Path) -> Result<BTreeMap<String, usize>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    Ok(count_reasons(&text))
}

fn count_reasons(text: &str) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let reason = line.strip_prefix("SKIPPED:").unwrap_or(line).trim();
        *reasons.entry(reason.to_owned()).or_insert(0) += 1;
    }
    reasons
}

/// Whether `--deny-skips` lets all of these pass.
fn may_be_skipped(reasons: &BTreeMap<String, usize>) -> bool {
    reasons.keys().all(|reason| reason == EXCEPTED)
}

fn skip_summary(reasons: &BTreeMap<String, usize>) -> String {
    let total: usize = reasons.values().sum();
    let lines = reasons.iter().map(|(reason, count)| format!("  {count} x {reason}\n"));
    format!("{}{total} skipped", lines.collect::<String>())
}

#[cfg(test)]
mod tests;
