//! The member that has missed a key: when to ask another member for its keyring.
//!
//! A packet under a key that is not there is the sign of it. But anybody can send such a packet, so it only makes this member
//! ask, over mTLS, a member that it knows; it asks seldom, and the more seldom the less it learns.

use std::time::Duration;

/// How often is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// The shortest time between two questions. Default 1 s.
    pub ask_after_min: Duration,
    /// The longest time between two questions, reached by doubling while the answers hold nothing new. Default 60 s.
    pub ask_after_max: Duration,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self { ask_after_min: Duration::from_secs(1), ask_after_max: Duration::from_secs(60) }
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryAction {
    /// Nothing: no packet under an unknown key has come since the last question.
    None,
    /// Ask one connected member for its keyring, over mTLS: its answer is a [`KeyringOffer`](crate::KeyringOffer). Any member
    /// will do, another one each time.
    Ask,
    /// Poll again at this time.
    WaitUntil(Duration),
}

/// When to ask.
#[derive(Debug, Clone)]
pub struct Recovery {
    config: RecoveryConfig,
    /// A packet has come that could not be opened for want of its key.
    is_behind: bool,
    next_at: Duration,
    wait: Duration,
    questions: u64,
}

impl Recovery {
    /// Nothing is missing yet.
    pub fn new(config: RecoveryConfig) -> Self {
        Self { config, is_behind: false, next_at: Duration::ZERO, wait: config.ask_after_min, questions: 0 }
    }

    /// A packet was [refused](crate::Refused::UnknownKey) for want of its key.
    pub fn handle_unknown_key(&mut self) {
        self.is_behind = true;
    }

    /// What to do at this time.
    pub fn poll_action(&mut self, now: Duration) -> RecoveryAction {
        if !self.is_behind {
            return RecoveryAction::None;
        }
        if now < self.next_at {
            return RecoveryAction::WaitUntil(self.next_at);
        }
        // Should the answer not help, the next packet tells.
        self.is_behind = false;
        self.questions += 1;
        self.next_at = now.saturating_add(self.wait);
        self.wait = self.wait.saturating_mul(2).min(self.config.ask_after_max.max(self.config.ask_after_min));
        RecoveryAction::Ask
    }

    /// An offer was accepted; `is_news` tells whether it changed anything. An answer without news, or none at all, needs no
    /// call: the wait has grown already.
    pub fn handle_offer(&mut self, is_news: bool) {
        if is_news {
            self.wait = self.config.ask_after_min;
        }
    }

    /// How often was asked.
    pub fn questions(&self) -> u64 {
        self.questions
    }
}
