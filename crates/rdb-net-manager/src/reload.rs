//! A configuration that is read again: what a running node takes of it, and what waits for the next start.

use crate::NetworkManager;
use crate::config::{Change, Config, Key, Loader, is_of_membership};
use crate::control::ControlError;
use crate::node::Node;

/// What became of the differences between the configuration that ran and the one that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// In force.
    pub taken: Vec<Change>,
    /// These need a restart of the process, or a version that takes them while it runs.
    pub waiting: Vec<Change>,
}

impl NetworkManager {
    /// Reads its configuration from these layers again when it is asked to. They should be those from which it was made.
    #[must_use]
    pub fn with_loader(mut self, loader: Loader) -> Self {
        self.loader = Some(loader);
        self
    }
}

impl Node {
    /// Reads the layers again, and takes what a running node can. One at a time: who asks later reads later.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it has read takes nothing.
    pub(crate) async fn reload(&self, loader: Option<Loader>) -> Result<Reloaded, ControlError> {
        let loader = loader.ok_or_else(|| {
            ControlError::Conflict("this node was not started from a file, which could be read again".to_owned())
        })?;
        // From the reading to the taking: otherwise what was read earlier might be taken later.
        let _turn = self.reloading.lock().await;
        let read = tokio::task::spawn_blocking(move || {
            let config = loader.load()?;
            config.check_runnable().map(|()| config)
        });
        let problem = |text: String| {
            tracing::error!(problem = text, "the configuration was not taken, and the former one stays in force");
            ControlError::Conflict(text)
        };
        let config =
            read.await.map_err(|error| problem(error.to_string()))?.map_err(|errors| problem(errors.to_string()))?;
        self.take(&config).map_err(problem)
    }

    pub(crate) fn take(&self, config: &Config) -> Result<Reloaded, String> {
        let mut running = self.running.lock().expect("no code panics while it holds this lock");
        let is_taken = |change: &Change| Key::find(change.key).is_some_and(is_of_membership);
        let (taken, waiting): (Vec<_>, Vec<_>) = Config::diff(&running, config).into_iter().partition(is_taken);
        if !taken.is_empty() {
            let mut next = running.clone();
            next.take_membership(config);
            self.gossip
                .with(|driven, now| driven.0.set_membership(now, next.swim(), next.split_brain()))
                .map_err(|error| error.to_string())?;
            *running = next;
        }
        for Change { key, old, new, .. } in &taken {
            let (old, new) = (old.as_deref().unwrap_or("unset"), new.as_deref().unwrap_or("unset"));
            tracing::info!(key, old, new, "this key has another value");
        }
        for Change { key, .. } in &waiting {
            tracing::warn!(key, "this key has another value, which needs a restart");
        }
        Ok(Reloaded { taken, waiting })
    }
}
