//! Starting cargo and reading what it says.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::house::House;

/// By which builds of the etcd client find the compiler of protobuf files.
const PROTOC: &str = "PROTOC";

/// A cargo command in the root of the workspace, not started yet. Uses the cargo that runs us, hence the same toolchain, and the
/// `protoc` that was built for us where the environment names none.
pub(crate) fn cargo<S: AsRef<str>>(house: &House, arguments: &[S]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(&house.root).args(arguments.iter().map(AsRef::as_ref));
    if std::env::var_os(PROTOC).is_none()
        && let Ok(path) = protoc_bin_vendored::protoc_bin_path()
    {
        // On a system for which none is brought along, one of the path is found by the build.
        command.env(PROTOC, path);
    }
    command
}

/// Runs a command with our own output; an exit code other than 0 is a failure.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    println!("$ {}", shown(command));
    let status = command.status().map_err(|source| Failure::Start { command: shown(command), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Program { command: shown(command), status }) }
}

/// Runs a command and gives away each line of its output, error output included, in the order in which they were written.
pub(crate) fn run_by_line(mut command: Command, mut line: impl FnMut(&str)) -> Result<(), Failure> {
    let shown = shown(&command);
    println!("$ {shown}");
    let failure = |source| Failure::Start { command: shown.clone(), source };
    let (reader, writer) = std::io::pipe().map_err(failure)?;
    command.stdout(writer.try_clone().map_err(failure)?).stderr(writer);
    let mut child = command.spawn().map_err(failure)?;
    // It holds the writing ends, and the stream ends when nobody does.
    drop(command);
    for bytes in BufReader::new(reader).split(b'\n') {
        line(String::from_utf8_lossy(&bytes.map_err(failure)?).trim_end_matches('\r'));
    }
    let status = child.wait().map_err(failure)?;
    if status.success() { Ok(()) } else { Err(Failure::Program { command: shown, status }) }
}

/// Runs a command and returns its standard output; its error output is ours.
pub(crate) fn capture(command: &mut Command) -> Result<Vec<u8>, Failure> {
    println!("$ {}", shown(command));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Failure::Start { command: shown(command), source })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Failure::Program { command: shown(command), status: output.status })
    }
}

/// Whether a command runs and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The command as one would type it: the program by its bare name, arguments separated by blanks.
fn shown(command: &Command) -> String {
    let words = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy();
    let words: Vec<String> = std::iter::once(program.into_owned()).chain(words).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_of_a_protoc_that_runs() {
        let command = cargo(&House::default(), &["check"]);
        let named = command.get_envs().find(|(name, _)| *name == PROTOC).and_then(|(_, value)| value);
        let named = named.map(OsString::from).or_else(|| std::env::var_os(PROTOC));
        let path = named.expect("one for this system is brought along");
        assert!(succeeds(Command::new(path).arg("--version")));
    }
}
