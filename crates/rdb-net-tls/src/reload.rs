//! New files in place of old ones, without a restart and without losing a connection.
//!
//! Somebody outside drives this: a control plane that says *now*, or [`Reloader::watch`] at an interval. What has changed is
//! decided by content; files that nothing has happened to since they were read are not read again. A set that is not taken changes nothing, and is
//! told once.
//!
//! Rotating a CA takes three steps, each on all nodes before the next: the new CA beside the old one in `ca_cert_path`; new
//! certificates by the new CA; the old CA out. A step out of order is refused here, on the node that it would cut off: its own
//! certificate would not be believed by nodes with the same files.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::config::TlsConfig;
use crate::epoch::TlsEpoch;
use crate::expiry::{ExpiryWarning, ExpiryWatch};
use crate::files::{LoadError, Snapshot};
use crate::identity::Policy;
use crate::look::Look;
use crate::time::{Clock, UnixSeconds};
use crate::tls::Shared;

/// How often files are looked at where nobody says otherwise: a revocation is in force within this time, which leaves three
/// seconds of the five in which a revoked peer is cut.
pub const CHECK_INTERVAL_DEFAULT: Duration = Duration::from_secs(2);

/// Something that whoever runs the node should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsEvent {
    /// Other files are in force. New handshakes use them; those who own connections judge them again
    /// ([`TlsEpoch::is_still_trusted`]).
    Reloaded {
        /// The number of the set.
        epoch: u64,
        /// When the node's own certificate ends.
        not_after: UnixSeconds,
    },
    /// Other files are there and are not taken. The last good set stays in force.
    Kept {
        /// The number of the set that stays.
        epoch: u64,
        /// The file that is at fault, where it is one.
        path: Option<PathBuf>,
        /// Why.
        error: LoadError,
    },
    /// Something ends soon, or has ended.
    Expiry(ExpiryWarning),
}

/// Puts new files into force. Clones are one.
#[derive(Debug, Clone)]
pub struct Reloader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: TlsConfig,
    policy: Policy,
    clock: Clock,
    shared: Arc<Shared>,
    /// Held over a whole reload: two at a time would race for the next number.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of the files that were tried last, taken or not.
    tried: [u8; 32],
    /// How these looked, where that tells them from later ones.
    look: Option<Look>,
    /// Checks in a row that have read nothing.
    unread: u32,
    expiry: ExpiryWatch,
}

/// Checks in a row that read nothing at most: who may reach a secret depends on folders too, which are not looked at.
const UNREAD_MAX: u32 = 29;

impl Reloader {
    pub(crate) fn new(config: TlsConfig, policy: Policy, clock: Clock, shared: Arc<Shared>, tried: [u8; 32]) -> Self {
        let state = Mutex::new(State { tried, look: None, unread: 0, expiry: ExpiryWatch::default() });
        Self { inner: Arc::new(Inner { config, policy, clock, shared, state }) }
    }

    /// Reads the files, changed or not, and puts them into force. Reading blocks.
    ///
    /// # Errors
    ///
    /// The file that is at fault; the last good set stays in force.
    pub fn reload(&self) -> Result<Arc<TlsEpoch>, LoadError> {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = Snapshot::take(&self.inner.config);
        state.tried = snapshot.digest();
        self.inner.put_into_force(snapshot)
    }

    /// Looks whether the files have changed, puts them into force if so, and tells what is to be told. Reading blocks.
    pub fn check(&self) -> Vec<TlsEvent> {
        let inner = &*self.inner;
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events = Vec::new();
        if state.may_have_changed(&inner.config) {
            let snapshot = Snapshot::take(&inner.config);
            let digest = snapshot.digest();
            if digest != state.tried {
                state.tried = digest;
                events.push(match inner.put_into_force(snapshot) {
                    Ok(epoch) => TlsEvent::Reloaded { epoch: epoch.number(), not_after: epoch.own().not_after },
                    Err(error) => {
                        let path = error.path().map(PathBuf::from);
                        TlsEvent::Kept { epoch: inner.shared.current().number(), path, error }
                    }
                });
            }
        }
        let warnings = state.expiry.check(inner.shared.current().expiring(), inner.clock.now().into());
        events.extend(warnings.into_iter().map(TlsEvent::Expiry));
        events
    }

    /// Checks at this interval until it is cancelled, first at once, and hands on every event. It is to be spawned by whoever
    /// owns it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends it; a check that is under way runs to its end beside it.
    pub async fn watch(self, interval: Duration, cancelled: CancellationToken, mut tell: impl FnMut(TlsEvent) + Send) {
        loop {
            let reloader = self.clone();
            // A disk that hangs must not hold up a worker of the runtime.
            let looking = tokio::task::spawn_blocking(move || reloader.check());
            let events = tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                events = looking => events,
            };
            match events {
                Ok(events) => events.into_iter().for_each(&mut tell),
                Err(error) => {
                    let error = LoadError::Provider { problem: format!("the check of its files failed: {error}") };
                    tell(TlsEvent::Kept { epoch: self.inner.shared.current().number(), path: None, error });
                }
            }
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }
}

impl State {
    /// Whether the files may be others than those that were tried last. Looked at before they are read, so that a change between the
    /// two is seen the next time.
    fn may_have_changed(&mut self, config: &TlsConfig) -> bool {
        let look = Look::take(config);
        if self.look.as_ref() == Some(&look) && self.unread < UNREAD_MAX {
            self.unread += 1;
            return false;
        }
        self.unread = 0;
        self.look = Some(look).filter(|look| look.is_settled(SystemTime::now()));
        true
    }
}

impl Inner {
    fn put_into_force(&self, snapshot: Snapshot) -> Result<Arc<TlsEpoch>, LoadError> {
        let number = self.shared.current().number() + 1;
        match TlsEpoch::build(number, &self.config, &self.policy, &self.clock, snapshot) {
            Ok(epoch) => {
                let epoch = Arc::new(epoch);
                self.shared.current.store(Arc::clone(&epoch));
                self.shared.reloads.fetch_add(1, Ordering::Relaxed);
                Ok(epoch)
            }
            Err(error) => {
                self.shared.reloads_failed.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}
