//! The rules for source files and manifests: pure functions from text to findings.

use std::fmt;

use super::mask::{is_word, test_regions, without_literals, without_tests};
use crate::house::{House, Place};

/// A longer file has more than one purpose.
const FILE_LINES_MAX: usize = 800;
/// A longer driver file holds logic that belongs to a pure core.
const DRIVER_LINES_MAX: usize = 400;

/// Files that may start a task without a scope, and why. A path that no longer needs it is reported.
const DETACHED_TASKS: &[(&str, &str)] = &[];

/// Tests of pure crates that may look at a clock, and why. A path that no longer does is reported.
const STOP_WATCHES: &[(&str, &str)] =
    &[("crates/rdb-net-engine/src/tests/scale.rs", "what a walk costs that allocates nothing shows only in time")];

/// What a piece of text is told to be replaced by, and why.
struct Ban {
    text: &'static str,
    advice: &'static str,
}

const UNBOUNDED: &[Ban] = &[
    Ban { text: "unbounded_channel", advice: "every queue has a limit" },
    Ban { text: "UnboundedSender", advice: "every queue has a limit" },
    Ban { text: "UnboundedReceiver", advice: "every queue has a limit" },
    Ban { text: "mpsc::unbounded", advice: "every queue has a limit" },
    Ban { text: "channel::unbounded", advice: "every queue has a limit" },
    Ban { text: "mpsc::channel()", advice: "every queue has a limit: `sync_channel`" },
];

const DETACHED: &[Ban] = &[
    Ban { text: "tokio::spawn", advice: "a task belongs to a scope: `TaskTracker::spawn`" },
    Ban { text: "task::spawn", advice: "a task belongs to a scope: `TaskTracker::spawn`" },
    Ban { text: "task::spawn_local", advice: "a task belongs to a scope: `TaskTracker::spawn_local`" },
];

/// Holds for the tests of a pure crate too: they run in virtual time.
const CLOCKS: &[Ban] = &[
    Ban { text: "Instant::now", advice: "time is a parameter of a pure crate" },
    Ban { text: "SystemTime::now", advice: "time is a parameter of a pure crate" },
];

/// Holds for the tests of a pure crate too.
const ENTROPY: &[Ban] = &[
    Ban { text: "thread_rng", advice: "randomness of a pure crate comes from its seed" },
    Ban { text: "rand::rng", advice: "randomness of a pure crate comes from its seed" },
    Ban { text: "rand::random", advice: "randomness of a pure crate comes from its seed" },
    Ban { text: "thread::sleep", advice: "nothing sleeps in a pure crate" },
];

/// Holds for the code only: a test may read a golden file.
const INPUT_AND_OUTPUT: &[Ban] = &[
    Ban { text: "std::fs", advice: "a pure crate has no files" },
    Ban { text: "std::env", advice: "a pure crate has no environment" },
    Ban { text: "thread::spawn", advice: "a pure crate has no threads" },
    Ban { text: "TcpStream", advice: "a pure crate has no sockets" },
    Ban { text: "TcpListener", advice: "a pure crate has no sockets" },
    Ban { text: "UdpSocket", advice: "a pure crate has no sockets" },
];

/// Which rules apply to the files of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Below the floor of the drivers: no clock, no entropy, no input or output.
    Pure,
    /// On the floor of the drivers or above: short files.
    Driver,
    /// Outside of the house, or without a floor.
    Free,
}

/// Where a source file comes from.
#[derive(Debug)]
pub(super) struct Origin {
    /// From the root of the workspace.
    pub path: String,
    pub place: Place,
    pub kind: Kind,
}

/// A broken rule, printed as `path:line: text`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub path: String,
    /// 1 where the whole file is meant.
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// What is wrong with a source file.
pub(super) fn of_source(origin: &Origin, source: &str) -> Vec<Finding> {
    let masked = without_literals(source);
    let mut findings = shape(origin, source, &masked);
    if origin.place == Place::Outside {
        return findings;
    }
    let code = if is_test_file(&origin.path) { String::new() } else { without_tests(&masked) };
    let mut search = |text: &str, bans: &[Ban]| findings.extend(banned(&origin.path, text, bans));
    search(&code, UNBOUNDED);
    if !DETACHED_TASKS.iter().any(|(path, _)| *path == origin.path) {
        search(&code, DETACHED);
    }
    if origin.kind == Kind::Pure {
        let has_stop_watch = STOP_WATCHES.iter().any(|(path, _)| *path == origin.path);
        search(&masked, ENTROPY);
        search(&masked, if has_stop_watch { &[] } else { CLOCKS });
        search(&code, INPUT_AND_OUTPUT);
    }
    findings.extend(standard_channels(&origin.path, &code));
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// What is wrong with a manifest.
pub(super) fn of_manifest(path: &str, manifest: &str) -> Option<Finding> {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    let inherits = lines.by_ref().take_while(|line| !line.starts_with('[')).any(|line| line == "workspace = true");
    let text = String::from("the lints of the workspace are not in force: `[lints] workspace = true`");
    (!inherits).then(|| Finding { path: path.to_owned(), line: 1, text })
}

/// Exceptions that nothing needs any more.
pub(super) fn unused_exceptions(house: &House) -> Vec<Finding> {
    let breaks = |path: &str, bans: &[Ban]| {
        let source = std::fs::read_to_string(house.root.join(path)).unwrap_or_default();
        let masked = without_literals(&source);
        let code = if is_test_file(path) { masked } else { without_tests(&masked) };
        !banned(path, &code, bans).is_empty()
    };
    let exceptions = DETACHED_TASKS.iter().map(|exception| (exception, DETACHED, "starts no detached task"));
    let exceptions = exceptions.chain(STOP_WATCHES.iter().map(|exception| (exception, CLOCKS, "looks at no clock")));
    let unused = exceptions.filter(|((path, _), bans, _)| !breaks(path, bans));
    let finding = |((path, reason), _, what): (&(&str, &str), &[Ban], &str)| Finding {
        path: (*path).to_owned(),
        line: 1,
        text: format!("{what} any more; its exception (\"{reason}\") can go"),
    };
    unused.map(finding).collect()
}

/// The first line and the length.
fn shape(origin: &Origin, source: &str, masked: &str) -> Vec<Finding> {
    let finding = |text: String| Finding { path: origin.path.clone(), line: 1, text };
    let mut findings = Vec::new();
    if !source.starts_with("//!") {
        findings.push(finding(String::from("the file does not open with `//!` and a sentence of what it is")));
    }
    let lines_count = source.lines().count();
    if lines_count > FILE_LINES_MAX {
        findings.push(finding(format!("{lines_count} lines, more than {FILE_LINES_MAX}: split it by purpose")));
    }
    let is_driver = origin.kind == Kind::Driver && origin.path.contains("/src/") && !is_test_file(&origin.path);
    let code_lines_count = lines_count.saturating_sub(test_lines_count(masked));
    if is_driver && code_lines_count > DRIVER_LINES_MAX {
        findings.push(finding(format!(
            "{code_lines_count} lines, more than {DRIVER_LINES_MAX}: logic is leaking out of a core"
        )));
    }
    findings
}

/// The lines that items under `#[cfg(test)]` take.
fn test_lines_count(masked: &str) -> usize {
    let regions = test_regions(masked).into_iter();
    regions.map(|region| masked[region].bytes().filter(|byte| *byte == b'\n').count() + 1).sum()
}

/// Whether all of a file belongs to tests: `tests.rs`, or a file below a folder `tests` or `benches`.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
}

/// Every place where one of the banned texts stands as whole words.
fn banned(path: &str, text: &str, bans: &[Ban]) -> Vec<Finding> {
    let found = bans.iter().flat_map(|ban| {
        occurrences(text, ban.text).map(|offset| Finding {
            path: path.to_owned(),
            line: line_of(text, offset),
            text: format!("`{}`: {}", ban.text, ban.advice),
        })
    });
    found.collect()
}

/// The standard library's unbounded channel, imported or called with its type: `use std::sync::mpsc::{channel, ..}` and
/// `mpsc::channel::<T>()`. Tokio's channel of the same name takes a capacity.
fn standard_channels(path: &str, code: &str) -> Vec<Finding> {
    let numbered = code.lines().enumerate();
    let is_unbounded = |line: &str| {
        let imported =
            line.contains("sync::mpsc") && line.contains("use ") && occurrences(line, "channel").next().is_some();
        let called = line.contains("mpsc::channel::<") && line.contains(">()");
        imported && line.contains("std::") || called
    };
    let found = numbered.filter(|(_, line)| is_unbounded(line)).map(|(index, _)| Finding {
        path: path.to_owned(),
        line: index + 1,
        text: String::from("`std::sync::mpsc::channel`: every queue has a limit: `sync_channel`"),
    });
    found.collect()
}

/// Offsets at which `pattern` stands with no identifier running on at either end.
fn occurrences<'a>(text: &'a str, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(pattern).map(|(offset, _)| offset).filter(move |offset| {
        let end = offset + pattern.len();
        let runs_on = pattern.bytes().last().is_some_and(is_word) && bytes.get(end).is_some_and(|byte| is_word(*byte));
        let began_before = *offset > 0 && is_word(bytes[offset - 1]);
        !runs_on && !began_before
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].bytes().filter(|byte| *byte == b'\n').count() + 1
}
