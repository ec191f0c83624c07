//! What a machine has for tests, and how a test tells that it cannot run there.

use std::io::Write;
use std::process::{Command, Stdio};

/// Whether this machine has these programs, each with the package of Debian that has it; else the test is told as skipped.
pub fn found(programs: &[(&str, &str)]) -> bool {
    let missing = programs.iter().find(|(program, _)| {
        let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
        !there.is_ok_and(|status| status.success())
    });
    if let Some((program, package)) = missing {
        skip(&format!("there is no {program}: Debian has it in {package}"));
    }
    missing.is_none()
}

/// Tells that a test cannot run here: in its output, and in the file that `RDB_SKIPPED_FILE` names.
///
/// # Panics
///
/// When that file cannot be written: a test that nobody knows to be skipped would count as passed.
#[expect(clippy::print_stdout, reason = "whoever reads the output of a test has to see what was not tested")]
pub fn skip(reason: &str) {
    let line = format!("SKIPPED: {reason}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("RDB_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skipped tests can be written");
    }
}
