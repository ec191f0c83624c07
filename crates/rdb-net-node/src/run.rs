//! `node`: a node as a process, from its configuration to its farewell.

use std::io;
use std::path::Path;

use rdb_net_admin::AdminServer;
use rdb_net_manager::config::{Config, Loader};
use rdb_net_manager::{NetworkManager, StartError};
use serde::Serialize;

use crate::cli::NodeOptions;
use crate::exit::Failure;
use crate::logging;
use crate::output::{Output, note};

/// What is told once the node runs, as JSON.
#[derive(Debug, Serialize)]
struct StartedView {
    event: &'static str,
    node_id: String,
    address: String,
    gossip: String,
    admin: Option<String>,
}

impl StartedView {
    fn table(&self) -> String {
        let admin = self.admin.as_deref().map(|admin| format!(", admin http://{admin}")).unwrap_or_default();
        format!("{} listens on {}, gossip {}{admin}", self.node_id, self.address, self.gossip)
    }
}

/// Runs a node until a signal or until it cannot go on.
pub(crate) async fn run(options: NodeOptions, output: Output) -> Result<(), Failure> {
    logging::start(options.log_level.as_deref());
    let loader = loader(options.config.as_deref(), &options.set);
    let config = load_from(&loader)?;
    let no_signals = |error| Failure::Other(format!("cannot wait for signals: {error}"));
    let (mut signals, mut hangups) = (Signals::new().map_err(no_signals)?, Hangups::new().map_err(no_signals)?);
    let admin_bind = config.admin_bind();
    let manager = NetworkManager::new(config).map_err(not_started)?.with_loader(loader);
    tokio::select! {
        started = manager.start() => started.map_err(not_started)?,
        () = signals.next() => return stop(&manager, None, &mut signals).await,
    }
    let admin = admin_bind.map(|bind| AdminServer::new(manager.control(), bind));
    if let Err(failure) = announce(&manager, admin.as_ref(), output).await {
        stop(&manager, admin.as_ref(), &mut signals).await?;
        return Err(failure);
    }
    let ended = tokio::select! {
        () = signals.next() => {
            note("leaving the cluster; a second signal ends this at once");
            Ok(())
        }
        fatal = manager.wait_fatal() => Err(Failure::other(fatal)),
        () = follow_hangups(&manager, &mut hangups) => Ok(()),
    };
    let stopped = stop(&manager, admin.as_ref(), &mut signals).await;
    ended.and(stopped)
}

/// Reads the configuration again at each SIGHUP. What became of it is in the log.
async fn follow_hangups(manager: &NetworkManager, hangups: &mut Hangups) {
    loop {
        hangups.next().await;
        if let Ok(reloaded) = manager.control().reload_configuration().await {
            let (taken, waiting) = (reloaded.taken.len(), reloaded.waiting.len());
            note(&format!(
                "the configuration was read again: {taken} changes are in force, {waiting} wait for the next start"
            ));
        }
    }
}

/// The layers of a node's configuration.
fn loader(file: Option<&Path>, set: &[String]) -> Loader {
    let loader = Loader::new().process_environment().overrides(set.iter().cloned());
    match file {
        Some(file) => loader.file(file),
        None => loader,
    }
}

/// The configuration that a node is to run with, from all its layers.
pub(crate) fn load(file: Option<&Path>, set: &[String]) -> Result<Config, Failure> {
    load_from(&loader(file, set))
}

fn load_from(loader: &Loader) -> Result<Config, Failure> {
    let config = loader.load().map_err(|errors| Failure::configuration(&errors))?;
    config.check_runnable().map_err(|errors| Failure::configuration(&errors))?;
    Ok(config)
}

/// What the configuration is to blame for has a code of its own.
pub(crate) fn not_started(error: StartError) -> Failure {
    match error {
        StartError::Config(errors) => Failure::configuration(&errors),
        other => Failure::other(other),
    }
}

/// Opens the admin listener and tells where the node can be reached.
async fn announce(manager: &NetworkManager, admin: Option<&AdminServer>, output: Output) -> Result<(), Failure> {
    let admin = match admin {
        Some(admin) => Some(admin.start().await.map_err(Failure::other)?.to_string()),
        None => None,
    };
    let addresses = manager.addresses();
    let view = StartedView {
        event: "started",
        node_id: manager.control().local().id.to_string(),
        address: addresses.transport.to_string(),
        gossip: addresses.gossip.to_string(),
        admin,
    };
    output.result(&view, StartedView::table)
}

/// Leaves the cluster and stops; a signal meanwhile cuts that short.
pub(crate) async fn stop(
    manager: &NetworkManager,
    admin: Option<&AdminServer>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let farewell = async {
        if !manager.shutdown().await {
            note("not everything ended in time; the rest was cut off");
        }
        if let Some(admin) = admin {
            admin.shutdown().await;
        }
    };
    tokio::select! {
        () = farewell => Ok(()),
        () = signals.next() => Err(Failure::other("a second signal: stopped without a farewell")),
    }
}

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP, which would otherwise end the process: to be waited for before the node starts. One that comes meanwhile is kept.
struct Hangups(tokio::signal::unix::Signal);

impl Hangups {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::hangup()).map(Self)
    }

    async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without somebody who waits for it, the signal ends this very process.
    #[tokio::test]
    async fn a_hangup_that_comes_before_the_node_runs_is_kept_until_it_does() {
        let mut hangups = Hangups::new().expect("a runtime");
        let sent = std::process::Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        let kept = tokio::time::timeout(std::time::Duration::from_secs(20), hangups.next()).await;
        assert!(kept.is_ok(), "it was lost");
    }
}
