//! `cargo xtask fuzz`: looks for inputs that break a promise of a fuzz target, guided by coverage, on the stable toolchain.
//!
//! The compiler's coverage pass is switched on by its flags, and the engine (libFuzzer) is a C++ library that cargo builds
//! for this program only: nothing has to be installed but a C++ compiler. What was found grows in the target folder from run
//! to run; `--keep` puts the few inputs that reach everything reached so far into the committed corpus.

mod cover;
mod outcome;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::house::House;
use crate::process;
use outcome::Outcome;

const PACKAGE: &str = "rdb-net-fuzz";
const PROGRAM: &str = "fuzz";
/// Counters for every edge and the operands of comparisons, as libFuzzer reads them.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// One input that takes longer is a finding.
const INPUT_SECONDS_MAX: u32 = 5;
const MEMORY_MEGABYTES_MAX: u32 = 1024;

/// Runs one target or all of them, one behind the other, and fails when one found something.
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let targets = chosen(&targets(house)?, options.target.as_deref())?;
    if !has_compiler() {
        println!("SKIPPED: no C++ compiler builds the fuzzing engine here");
        return Ok(());
    }
    let program = build(house)?;
    let mut outcomes = Vec::new();
    for name in targets {
        let place = Place::of(house, name)?;
        println!("fuzzing {} for {} s", place.name, options.seconds);
        let outcome = fuzz(&program, &place, options.seconds)?;
        println!("{}", outcome.row());
        if options.keeps && outcome.findings.is_empty() {
            let kept = cover::keep(&program, &place)?;
            println!("{kept} inputs are kept in {}", shown(house, &place.corpus));
        }
        outcomes.push(outcome);
    }
    println!("\n{}", outcome::table(&outcomes));
    let findings: Vec<String> = outcomes.iter().flat_map(|outcome| told(house, outcome)).collect();
    Failure::unless_empty("fuzz", &findings)
}

/// The command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seconds: u32,
    target: Option<String>,
    keeps: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self { seconds: 60, target: None, keeps: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match (argument.as_str(), argument == "--keep") {
                (_, true) => options.keeps = true,
                ("--target", _) => options.target = Some(value(argument, rest.next())?.clone()),
                ("--seconds", _) => {
                    let text = value(argument, rest.next())?;
                    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
                    options.seconds =
                        seconds.ok_or_else(|| Failure::Usage(format!("`{text}` is no number of seconds")))?;
                }
                _ => return Err(Failure::Usage(format!("`fuzz` does not take `{argument}`"))),
            }
        }
        Ok(options)
    }
}

fn value<'a>(flag: &str, value: Option<&'a String>) -> Result<&'a String, Failure> {
    value.ok_or_else(|| Failure::Usage(format!("`{flag}` is given without a value")))
}

/// The folders of one target.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    /// Committed.
    corpus: PathBuf,
    /// What was found so far on this machine.
    found: PathBuf,
    /// Inputs that broke a promise.
    artifacts: PathBuf,
    log: PathBuf,
}

impl Place {
    fn of(house: &House, name: String) -> Result<Self, Failure> {
        let (fuzz, work) = (house.root.join("fuzz"), house.target.join("fuzz"));
        let place = Self {
            corpus: fuzz.join("corpus").join(&name),
            found: work.join("found").join(&name),
            artifacts: fuzz.join("artifacts").join(&name),
            log: work.join(format!("{name}.log")),
            name,
        };
        for folder in [&place.found, &place.artifacts] {
            std::fs::create_dir_all(folder).map_err(|source| Failure::File { path: folder.clone(), source })?;
        }
        Ok(place)
    }

    /// The program, told which target this is.
    fn program(&self, program: &Path) -> Result<Command, Failure> {
        let log =
            std::fs::File::create(&self.log).map_err(|source| Failure::File { path: self.log.clone(), source })?;
        let mut command = Command::new(program);
        command.env("RDB_FUZZ_TARGET", &self.name).stdout(Stdio::null()).stderr(log);
        Ok(command)
    }
}

/// Every target has a folder in the corpus; a test of the package sees to it.
fn targets(house: &House) -> Result<Vec<String>, Failure> {
    let folder = house.root.join("fuzz/corpus");
    Ok(files(&folder)?.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
}

fn chosen(targets: &[String], wanted: Option<&str>) -> Result<Vec<String>, Failure> {
    let Some(wanted) = wanted else { return Ok(targets.to_vec()) };
    if targets.iter().any(|target| target == wanted) {
        return Ok(vec![wanted.to_owned()]);
    }
    Err(Failure::Usage(format!("there is no target `{wanted}`; there are: {}", targets.join(", "))))
}

fn has_compiler() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| OsString::from("c++"));
    process::succeeds(Command::new(compiler).arg("--version"))
}

/// Builds the program and returns where it is. It has a target folder of its own, because its flags are other ones.
fn build(house: &House) -> Result<PathBuf, Failure> {
    let host = host()?;
    let folder = house.target.join("fuzz");
    let mut command = process::cargo(house, &["build", "-p", PACKAGE, "--profile", "fuzz", "--target", &host]);
    process::run(command.arg("--target-dir").arg(&folder).env("RUSTFLAGS", FLAGS))?;
    Ok(folder.join(host).join("fuzz").join(PROGRAM))
}

/// The compiler's own platform. Named explicitly, so that build scripts are built without the flags.
fn host() -> Result<String, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .map_err(|source| Failure::Start { command: String::from("rustc -vV"), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::Check(String::from("rustc does not tell its platform")))
}

fn fuzz(program: &Path, place: &Place, seconds: u32) -> Result<Outcome, Failure> {
    let before: BTreeSet<PathBuf> = files(&place.artifacts)?.into_iter().collect();
    let mut prefix = place.artifacts.clone().into_os_string();
    prefix.push("/");
    let mut artifacts = OsString::from("-artifact_prefix=");
    artifacts.push(prefix);
    let mut command = place.program(program)?;
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MEGABYTES_MAX}"))
        .arg("-print_final_stats=1")
        .arg(artifacts)
        .args([&place.found, &place.corpus]);
    let status =
        command.status().map_err(|source| Failure::Start { command: program.display().to_string(), source })?;
    let text = std::fs::read(&place.log).map_err(|source| Failure::File { path: place.log.clone(), source })?;
    let new: Vec<PathBuf> = files(&place.artifacts)?.into_iter().filter(|path| !before.contains(path)).collect();
    let outcome = Outcome::read(&place.name, &String::from_utf8_lossy(&text), new);
    if !status.success() && outcome.findings.is_empty() {
        return Err(Failure::Check(format!("{} ended with {status}: see {}", place.name, place.log.display())));
    }
    Ok(outcome)
}

/// What was found, and how to see it again.
fn told(house: &House, outcome: &Outcome) -> Vec<String> {
    let tell = |path: &PathBuf| {
        let file = shown(house, path);
        format!(
            "{}: {}\n    input:  {file}\n    repeat: cargo run -p {PACKAGE} -- {} {file}",
            outcome.name, outcome.message, outcome.name
        )
    };
    outcome.findings.iter().map(tell).collect()
}

fn shown(house: &House, path: &Path) -> String {
    path.strip_prefix(&house.root).unwrap_or(path).display().to_string()
}

/// What is in a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = |source| Failure::File { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(failure)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failure)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_is_read() {
        let all = Options { seconds: 60, target: None, keeps: false };
        assert_eq!(Options::parse(&[]).unwrap(), all);
        let one = Options { seconds: 7, target: Some(String::from("hello")), keeps: true };
        assert_eq!(Options::parse(&words("--keep --target hello --seconds 7")).unwrap(), one);
        for wrong in ["--seconds", "--seconds 0", "--seconds x", "--target", "hello"] {
            assert_eq!(Options::parse(&words(wrong)).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn an_unknown_target_is_refused_with_the_names_there_are() {
        let targets = words("header hello");
        assert_eq!(chosen(&targets, None).unwrap(), targets);
        assert_eq!(chosen(&targets, Some("hello")).unwrap(), ["hello"]);
        let refusal = chosen(&targets, Some("helo")).unwrap_err();
        assert_eq!(refusal.to_string(), "there is no target `helo`; there are: header, hello");
    }
}
