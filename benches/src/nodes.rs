//! Whole nodes as processes: a binary executes itself with a role, and speaks to it in lines.
//!
//! Nodes have a certificate each and speak mTLS. A child ends with its standard input, so none outlives its parent.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Loader;

use crate::certificates::CLUSTER;

/// Why a node or its process does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Its configuration; a bug of the bench.
    #[error("the node's configuration: {0}")]
    Config(#[from] rdb_net_manager::config::ConfigErrors),
    /// It does not start.
    #[error("the node does not start: {0}")]
    Start(#[from] rdb_net_manager::StartError),
    /// The operating system's.
    #[error("a process: {0}")]
    Io(#[from] io::Error),
    /// The child has ended, or says something else than was asked.
    #[error("the child says {0:?}")]
    Child(String),
}

/// A node of this name with the certificate that is in this folder. It is not started: handlers come first.
///
/// # Errors
///
/// [`NodeError`].
pub fn node(certificates: &Path, name: &str, seed: Option<&str>) -> Result<Arc<NetworkManager>, NodeError> {
    let own = certificates.join("issued").join(format!("node-{name}"));
    let file = |key: &str, file: &str| format!("networking.tls.{key}=\"{}\"", own.join(file).display());
    let config = Loader::new()
        .overrides([
            format!("networking.cluster_id={CLUSTER}"),
            format!("networking.node_id={name}"),
            "networking.bind_address=127.0.0.1:0".to_owned(),
            "networking.tls.enabled=true".to_owned(),
            file("cert_path", "cert.pem"),
            file("key_path", "key.pem"),
            file("ca_cert_path", "ca.pem"),
        ])
        .overrides(seed.map(|seed| format!("networking.service_discovery.seeds=[\"{seed}\"]")))
        .load()?;
    Ok(Arc::new(NetworkManager::new(config)?))
}

/// Waits until a node knows so many members.
pub async fn wait_members(manager: &NetworkManager, count: usize) {
    while manager.members().len() < count {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A child process of this program, ended when it is dropped.
#[derive(Debug)]
pub struct Child {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Executes this program with these arguments.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn start(arguments: &[&str]) -> Result<Self, NodeError> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().expect("invariant: standard input is piped");
        let output = process.stdout.take().expect("invariant: standard output is piped");
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// Its next line.
    ///
    /// # Errors
    ///
    /// [`NodeError::Child`] when it has ended.
    pub fn line(&mut self) -> Result<String, NodeError> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(NodeError::Child("nothing more".to_owned())),
            _ => Ok(line.trim().to_owned()),
        }
    }

    /// Says something to it.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn tell(&mut self, line: &str) -> Result<(), NodeError> {
        Ok(writeln!(self.input, "{line}")?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // What has ended already needs no end.
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// In a child: says a line.
#[expect(clippy::print_stdout, reason = "that is how a child speaks")]
pub fn say(line: &str) {
    println!("{line}");
}

/// In a child: waits until its parent has gone, on a thread of its own.
pub async fn parent_gone() {
    let _end = tokio::task::spawn_blocking(|| io::stdin().lock().lines().for_each(drop)).await;
}
