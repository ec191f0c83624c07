//! `cargo xtask claims`: what the documents claim is shown by a test or a command, and the tests ran.
//!
//! A claim that nothing shows is a wish. Evidence is named in the documents themselves ([`document`]); whether a test passed
//! is read from the record that the last `cargo xtask test` left, so nothing is run a second time. Of a command it is checked
//! that it exists.

mod document;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::COMMANDS;
use crate::failure::Failure;
use crate::house::{House, Member, ProductKind};
use crate::test::record::{Record, Verdict};
use document::{Definition, Document, Evidence};

/// The document in which somebody looks first; it has to have a section of claims.
const FRONT_PAGE: &str = "README.md";

/// Checks every document.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let deny_skips = crate::failure::only_deny_skips("claims", arguments)?;
    let Some(record) = Record::load(house)? else {
        return Err(Failure::Check(String::from(
            "no test ran: `cargo xtask test` leaves the record that is needed here",
        )));
    };
    let mut report = Report::default();
    for path in documents(house)? {
        let name = path.strip_prefix(&house.root).unwrap_or(&path).display().to_string();
        let text = read(&path)?;
        report.add(house, &record, &name, &document::parse(&text));
    }
    println!("{}", report.summary());
    let mut findings = report.findings;
    if deny_skips {
        findings.extend(report.skipped.iter().map(|skipped| format!("--deny-skips: {skipped}")));
    }
    Failure::unless_empty("claims", &findings)
}

/// The front page, what lies beside it, and what lies below `docs`.
fn documents(house: &House) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = markdown(&house.root)?;
    for folder in ["docs", "docs/adr"].map(|folder| house.root.join(folder)).iter().filter(|folder| folder.is_dir()) {
        paths.extend(markdown(folder)?);
    }
    Ok(paths)
}

/// The Markdown files of one folder, sorted.
fn markdown(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = |source| Failure::File { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(failure)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failure)?;
    let mut paths: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })
}

/// What the check has found so far.
#[derive(Debug, Default)]
struct Report {
    claims_count: usize,
    tests_count: usize,
    commands_count: usize,
    /// Claims whose tests could not run here.
    skipped: Vec<String>,
    findings: Vec<String>,
}

impl Report {
    fn add(&mut self, house: &House, record: &Record, name: &str, document: &Document) {
        self.claims_count += document.claims_count;
        let faults = document.faults.iter().map(|fault| format!("{name}:{}: {}", fault.line, fault.text));
        self.findings.extend(faults);
        if name == FRONT_PAGE && document.sections_count == 0 {
            self.findings.push(format!("{name}:1: there is no section of claims"));
        }
        for definition in &document.definitions {
            let outcome = check_file(house, name, definition).and_then(|()| match &definition.evidence {
                Evidence::Test { program, path } => {
                    self.tests_count += 1;
                    check_test(house, record, program, path)
                }
                Evidence::Command(words) => {
                    self.commands_count += 1;
                    check_command(house, words).map(|()| None)
                }
            });
            let at = format!("{name}:{}: [{}]", definition.line, definition.label);
            match outcome {
                Ok(None) => {}
                Ok(Some(reason)) => self.skipped.push(format!("{at} SKIPPED: {reason}")),
                Err(text) => self.findings.push(format!("{at} {text}")),
            }
        }
    }

    fn summary(&self) -> String {
        let Self { claims_count, tests_count, commands_count, skipped, .. } = self;
        let mut lines = skipped.clone();
        lines.push(format!(
            "{claims_count} claims, shown by {tests_count} tests and {commands_count} commands; {} could not run here",
            skipped.len()
        ));
        lines.join("\n")
    }
}

/// The link has to lead to what shows the claim: to the file with the test, or to a file at all.
fn check_file(house: &House, document: &str, definition: &Definition) -> Result<(), String> {
    let folder = house.root.join(document);
    let path = folder.parent().unwrap_or(&house.root).join(&definition.file);
    let text = read(&path).map_err(|failure| failure.to_string())?;
    let Evidence::Test { path: test, .. } = &definition.evidence else { return Ok(()) };
    let function = test.rsplit("::").next().unwrap_or(test);
    let found = text.contains(&format!("fn {function}("));
    if found { Ok(()) } else { Err(format!("{} has no test {function}", definition.file)) }
}

/// The reason, where the test could not run here.
fn check_test(house: &House, record: &Record, program: &str, path: &str) -> Result<Option<String>, String> {
    if !programs(house).any(|known| known == program) {
        return Err(format!("there is no test program {program}"));
    }
    // A package that could not be built here is skipped as a whole.
    let package = program.split("::").next().unwrap_or(program);
    match record.tests.get(&format!("{program} {path}")).or_else(|| record.tests.get(package)) {
        Some(Verdict::Passed) => Ok(None),
        Some(Verdict::Skipped(reason)) => Ok(Some(reason.clone())),
        Some(Verdict::Failed) => Err(format!("{path} of {program} failed")),
        Some(Verdict::Ignored) => Err(format!("{path} of {program} is ignored")),
        None => Err(format!("{path} of {program} did not run in the last `cargo xtask test`")),
    }
}

/// The names of everything of the workspace that has tests, as [`crate::test::record`] writes them.
fn programs(house: &House) -> impl Iterator<Item = String> {
    house.members.iter().flat_map(|member| {
        member.targets.iter().map(|target| match target.kind {
            ProductKind::Library => member.name.clone(),
            ProductKind::Test => format!("{}::{}", member.name, target.name),
            ProductKind::Binary => format!("{}::bin/{}", member.name, target.name),
            ProductKind::Bench => format!("{}::bench/{}", member.name, target.name),
            ProductKind::Other => format!("{}::example/{}", member.name, target.name),
        })
    })
}

/// `cargo xtask NAME ..`, or `cargo run|test|bench|build -p PACKAGE [--bin|--example|--test|--bench TARGET] ..`; without a
/// package it is that of the daemon.
fn check_command(house: &House, words: &[String]) -> Result<(), String> {
    let shown = words.join(" ");
    let words: Vec<&str> = words.iter().map(String::as_str).take_while(|word| *word != "--").collect();
    match words.as_slice() {
        ["cargo", "xtask", name, ..] if COMMANDS.iter().any(|command| command.name == *name) => Ok(()),
        ["cargo", "xtask", ..] => Err(format!("there is no command `{shown}`")),
        ["cargo", "run" | "test" | "bench" | "build", rest @ ..] => {
            let value_of = |flags: &[&str]| rest.windows(2).find(|pair| flags.contains(&pair[0])).map(|pair| pair[1]);
            let package = value_of(&["-p", "--package"]).unwrap_or(crate::test::NODE_PACKAGE);
            let Some(member) = house.member(package) else { return Err(format!("`{shown}`: no package {package}")) };
            match value_of(&["--bin", "--example", "--test", "--bench"]) {
                Some(target) if !has_target(member, target) => {
                    Err(format!("`{shown}`: {package} has no target {target}"))
                }
                _ => Ok(()),
            }
        }
        _ => Err(format!("`{shown}` is no command that can be checked")),
    }
}

fn has_target(member: &Member, name: &str) -> bool {
    member.targets.iter().any(|target| target.name == name)
}
