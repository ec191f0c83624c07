//! Servers that nodes find each other through: processes of this test, each with an address and a folder of its own, killed when
//! its owner is dropped.

mod etcd;
mod knot;

use std::process::{Child, Command, Stdio};

use crate::binary::skip;

pub use etcd::Etcd;
pub use knot::Knot;

/// Whether this machine has these programs, each with the package of Debian that has it; else the test is told as skipped.
fn found(programs: &[(&str, &str)]) -> bool {
    let missing = programs.iter().find(|(program, _)| {
        let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
        !there.is_ok_and(|status| status.success())
    });
    if let Some((program, package)) = missing {
        skip(&format!("there is no {program}: Debian has it in {package}"));
    }
    missing.is_none()
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(started.expect("the program is there"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
