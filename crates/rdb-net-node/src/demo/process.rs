//! A node's process, held by the demo: it ends with its holder, unless it is released.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::protocol::{Line, Order, Told};
use super::table::Partition;

/// Something from a node's process.
#[derive(Debug)]
pub(crate) struct FromNode {
    /// Which node, by its place in the cluster.
    pub(crate) place: usize,
    /// Which of its processes, counted from 1.
    pub(crate) life: u32,
    /// What it told; `None` when it ended.
    pub(crate) line: Option<Line>,
}

/// Passes on the lines of a node's process until it ends.
pub(crate) async fn listen(stdout: ChildStdout, place: usize, life: u32, told: mpsc::Sender<FromNode>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let line = serde_json::from_str(&text);
        let line = line.unwrap_or_else(|_| Line::now(Told::Other { text }));
        if told.send(FromNode { place, life, line: Some(line) }).await.is_err() {
            return;
        }
    }
    // Nobody has to know when nobody listens.
    let _ = told.send(FromNode { place, life, line: None }).await;
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    is_released: bool,
}

impl Process {
    /// Starts `demo-node` of this same program. Its log goes to the end of a file, its lines to whoever reads its stdout.
    pub(crate) fn start(config: &Path, log: &Path, partition: Partition) -> io::Result<(Self, ChildStdout)> {
        let log = File::options().append(true).create(true).open(log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo-node").arg("--config").arg(config).arg("--partition").arg(partition.to_string());
        // Its file is all of its configuration.
        let settings = std::env::vars_os().map(|(name, _)| name);
        let settings = settings.filter(|name| name.as_encoded_bytes().starts_with(b"RUSTYDB_"));
        settings.for_each(|name| {
            command.env_remove(name);
        });
        // In a group of its own, Ctrl-C reaches the demo alone, which then ends its nodes.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("stdout is a pipe"));
        Ok((Self { child, stdin, is_released: false }, stdout))
    }

    /// The process's id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) async fn order(&mut self, order: &Order) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        stdin.write_all(&line).await
    }

    /// Ends it without a farewell (SIGKILL), and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Asks it to leave (SIGTERM).
    pub(crate) fn terminate(&self) -> io::Result<()> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, Signal::TERM)?;
        Ok(())
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Lets it live on without the demo.
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        self.order(&Order::Detach(true)).await?;
        self.is_released = true;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_released {
            // Fails only where it has ended already. The id is not another process's: it is free only after the wait.
            let _ = self.child.start_kill();
        }
    }
}
