//! Instructions per operation, counted by callgrind over two executions of this binary.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Why there is no count. Nothing is wrong with the operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Skipped {
    /// valgrind is not installed, or may not be executed.
    #[error("SKIPPED: valgrind cannot be started: {0}")]
    NoValgrind(#[source] std::io::Error),
    /// valgrind ended without a count; the text is its last line.
    #[error("SKIPPED: valgrind gave no count: {0}")]
    NoCount(String),
    /// valgrind took longer than its deadline and was ended.
    #[error("SKIPPED: valgrind did not end within its deadline")]
    TimedOut,
}

const DEADLINE: Duration = Duration::from_secs(120);

/// Counts the user-space instructions of one operation over `count` of them.
///
/// `program` is executed with the arguments `run --operation NAME --count N`.
///
/// # Errors
///
/// [`Skipped`] says why there is no count.
pub fn instructions_per_operation(program: &Path, operation: &str, count: u64) -> Result<f64, Skipped> {
    let once = instructions_of(program, operation, count)?;
    let twice = instructions_of(program, operation, 2 * count)?;
    Ok((twice as f64 - once as f64) / count as f64)
}

fn instructions_of(program: &Path, operation: &str, count: u64) -> Result<u64, Skipped> {
    let child = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", "--operation", operation, "--count", &count.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Skipped::NoValgrind)?;
    let text = standard_error(child)?;
    collected(&text).ok_or_else(|| Skipped::NoCount(text.lines().last().unwrap_or_default().to_owned()))
}

/// Waits for the end; the few lines that callgrind writes fit the pipe.
fn standard_error(mut child: Child) -> Result<String, Skipped> {
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().map_err(Skipped::NoValgrind)?.is_none() {
        if Instant::now() >= deadline {
            // Either may fail only because the child has ended by itself.
            let _killed = child.kill();
            let _reaped = child.wait();
            return Err(Skipped::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().map_err(Skipped::NoValgrind)?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_first_number_of_its_line() {
        let text = "==7== Events    : Ir\n==7== Collected : 2034567\n==7==\n==7== I   refs:      2,034,567\n";
        assert_eq!(collected(text), Some(2_034_567));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
