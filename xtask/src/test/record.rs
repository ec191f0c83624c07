//! Which tests ran and how they ended: read from what `cargo test` prints, kept in a file for `cargo xtask claims`.
//!
//! A test has the name that cargo-nextest gives it: the test program, then the path in it. `rdb-phi detector::tests::x` is a
//! unit test of a library, `rdb-net-tests::cluster x` one of `tests/cluster.rs`, `rdb-net-node::bin/rdbnet x` one of a
//! binary. Documentation tests have no such name and are not kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use cargo_metadata::{Artifact, Message, TargetKind};

use crate::failure::Failure;
use crate::house::House;

/// Makes cargo tell which file is which test program.
pub(crate) const MESSAGE_FORMAT: &str = "--message-format=json-render-diagnostics";
/// Makes a test program tell what passing tests printed, each under its name.
pub(crate) const SHOW_OUTPUT: &str = "--show-output";

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Ignored,
    /// It could not run here, for this reason, and passed.
    Skipped(String),
}

/// The tests of a run by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) tests: BTreeMap<String, Verdict>,
}

impl Record {
    /// The file of the last run.
    pub(crate) fn path(house: &House) -> PathBuf {
        house.target.join("tests-run.txt")
    }

    /// Reads the file of the last run; `None` when there was none.
    pub(crate) fn load(house: &House) -> Result<Option<Self>, Failure> {
        let path = Self::path(house);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Failure::File { path, source }),
        }
    }

    /// Writes the file.
    pub(crate) fn store(&self, path: &Path) -> Result<(), Failure> {
        std::fs::write(path, self.to_string()).map_err(|source| Failure::File { path: path.to_owned(), source })
    }

    /// Reads what `Display` writes; lines that it did not write are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let tests = text.lines().filter_map(|line| {
            let (verdict, name) = line.split_once('\t')?;
            let (name, reason) = name.split_once('\t').unwrap_or((name, ""));
            let verdict = match verdict {
                "passed" => Verdict::Passed,
                "failed" => Verdict::Failed,
                "ignored" => Verdict::Ignored,
                "skipped" => Verdict::Skipped(reason.to_owned()),
                _ => return None,
            };
            Some((name.to_owned(), verdict))
        });
        Self { tests: tests.collect() }
    }
}

/// One line a test: verdict, name and, of a skipped one, the reason, with tabs between them.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, verdict) in &self.tests {
            match verdict {
                Verdict::Passed => writeln!(f, "passed\t{name}")?,
                Verdict::Failed => writeln!(f, "failed\t{name}")?,
                Verdict::Ignored => writeln!(f, "ignored\t{name}")?,
                Verdict::Skipped(reason) => writeln!(f, "skipped\t{name}\t{reason}")?,
            }
        }
        Ok(())
    }
}

/// Where in the output of a test program a line stands.
#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    /// The list of tests with their verdicts.
    #[default]
    Verdicts,
    /// What passing tests printed, of the test named last.
    Passing(Option<String>),
    /// What failing tests printed, and the summary.
    Failing,
}

/// Reads the output of `cargo test` with [`MESSAGE_FORMAT`] and [`SHOW_OUTPUT`], line by line.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    house: &'a House,
    /// The test programs that were built: file name to name.
    programs: BTreeMap<String, String>,
    program: Option<String>,
    /// A test whose verdict stands on a later line, because it printed something past the capture.
    begun: Option<String>,
    part: Part,
    pub(crate) record: Record,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(house: &'a House) -> Self {
        let (programs, record) = (BTreeMap::new(), Record::default());
        Self { house, programs, program: None, begun: None, part: Part::default(), record }
    }

    /// Takes a line in. Returns whether it is worth showing: messages for programs are not, nor what passing tests printed,
    /// except that they were skipped or what they measured.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        if line.starts_with('{')
            && let Some(Ok(message)) = Message::parse_stream(line.as_bytes()).next()
            && !matches!(message, Message::TextLine(_))
        {
            if let Message::CompilerArtifact(artifact) = message {
                self.built(&artifact);
            }
            return false;
        }
        if self.starts_program(line) {
            return true;
        }
        match line {
            "successes:" => self.part = Part::Passing(None),
            "failures:" => self.part = Part::Failing,
            _ if line.starts_with("test result: ") => self.part = Part::Verdicts,
            _ => return self.read_within(line),
        }
        line != "successes:"
    }

    fn built(&mut self, artifact: &Artifact) {
        let folder = artifact.manifest_path.parent().map(|folder| folder.as_std_path());
        let member = self.house.members.iter().find(|member| Some(member.folder.as_path()) == folder);
        let (Some(member), Some(executable)) = (member, &artifact.executable) else { return };
        if let Some(file) = executable.file_name() {
            let name = program_name(&member.name, &artifact.target.name, artifact.target.kind.first());
            self.programs.insert(file.to_owned(), name);
        }
    }

    /// `Running tests/life.rs (target/debug/deps/life-0123)`, or the beginning of documentation tests.
    fn starts_program(&mut self, line: &str) -> bool {
        let line = line.trim_start();
        if line.starts_with("Doc-tests ") {
            (self.program, self.part) = (None, Part::Verdicts);
            return true;
        }
        let path = line.strip_prefix("Running ").and_then(|rest| rest.strip_suffix(')')?.rsplit_once('('));
        let Some((_, path)) = path else { return false };
        let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
        (self.program, self.part) = (self.programs.get(file).cloned(), Part::Verdicts);
        true
    }

    fn read_within(&mut self, line: &str) -> bool {
        match &mut self.part {
            Part::Failing => true,
            Part::Verdicts => {
                self.read_verdict(line);
                true
            }
            Part::Passing(test) => {
                if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
                    *test = Some(plain_name(name).to_owned());
                    return false;
                }
                let Some(reason) = line.strip_prefix("SKIPPED:") else { return line.starts_with("MEASURED") };
                if let (Some(program), Some(test)) = (&self.program, test) {
                    let verdict = Verdict::Skipped(reason.trim().to_owned());
                    self.record.tests.insert(format!("{program} {test}"), verdict);
                }
                true
            }
        }
    }

    /// `test NAME ... ok`, or the verdict alone of a test that has begun before.
    fn read_verdict(&mut self, line: &str) {
        let Some(program) = &self.program else { return };
        let (name, told) = match line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            Some((name, told)) => (plain_name(name).to_owned(), told),
            None => match self.begun.take() {
                Some(name) => (name, line),
                None => return,
            },
        };
        let verdict = match told {
            "ok" => Verdict::Passed,
            "FAILED" => Verdict::Failed,
            _ if told == "ignored" || told.starts_with("ignored, ") => Verdict::Ignored,
            _ => {
                self.begun = Some(name);
                return;
            }
        };
        self.begun = None;
        let ended = self.record.tests.entry(format!("{program} {name}")).or_insert_with(|| verdict.clone());
        // A program may be selected twice; that a test failed once is what counts.
        if *ended != Verdict::Failed {
            *ended = verdict;
        }
    }
}

/// A test's path without what libtest says about it.
fn plain_name(name: &str) -> &str {
    name.strip_suffix(" - should panic").unwrap_or(name)
}

/// The name of a test program, as cargo-nextest writes it.
pub(crate) fn program_name(package: &str, target: &str, kind: Option<&TargetKind>) -> String {
    match kind {
        Some(TargetKind::Test) => format!("{package}::{target}"),
        Some(TargetKind::Bin) => format!("{package}::bin/{target}"),
        Some(TargetKind::Example) => format!("{package}::example/{target}"),
        Some(TargetKind::Bench) => format!("{package}::bench/{target}"),
        _ => package.to_owned(),
    }
}

#[cfg(test)]
mod tests;
