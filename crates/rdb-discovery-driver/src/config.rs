//! What is the same for every backend.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::{FeedConfig, LastGoodStore, Policy, RegistrationConfig};

/// The settings that every backend shares.
#[derive(Clone)]
pub struct DriverConfig {
    /// When an answer of the source is believed.
    pub policy: Policy,
    /// Bounds of the subscribers' queues.
    pub feed: FeedConfig,
    /// The times of a registration.
    pub registration: RegistrationConfig,
    /// How long a start waits for the first answer. Default 3 s; whether it comes or not, the source is then followed.
    pub start_wait: Duration,
    /// How long registering waits for the source to take the node. Default 5 s; whether it does or not, it is then tried on.
    pub register_wait: Duration,
    /// How long one command of a registration may take before it counts as failed. Default 3 s.
    pub command_timeout: Duration,
    /// How long a shutdown waits for tasks to end. Default 5 s.
    pub shutdown_timeout: Duration,
    /// Where the list is kept for a start at which the source is away. Default nowhere.
    pub last_good: Option<Arc<dyn LastGoodStore>>,
    /// The oldest saved list that is used. Default 24 h.
    pub last_good_age_max: Duration,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            policy: Policy::remote(),
            feed: FeedConfig::default(),
            registration: RegistrationConfig::default(),
            start_wait: Duration::from_secs(3),
            register_wait: Duration::from_secs(5),
            command_timeout: Duration::from_secs(3),
            shutdown_timeout: Duration::from_secs(5),
            last_good: None,
            last_good_age_max: Duration::from_secs(86_400),
        }
    }
}

impl fmt::Debug for DriverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverConfig")
            .field("policy", &self.policy)
            .field("feed", &self.feed)
            .field("registration", &self.registration)
            .field("start_wait", &self.start_wait)
            .field("register_wait", &self.register_wait)
            .field("command_timeout", &self.command_timeout)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("last_good", &self.last_good.is_some())
            .field("last_good_age_max", &self.last_good_age_max)
            .finish()
    }
}
