//! The handle: which set of files is in force, and what has happened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::config::TlsConfig;
use crate::epoch::TlsEpoch;
use crate::files::{LoadError, Snapshot};
use crate::handshake::{Acceptor, Connector, HandshakeLimits};
use crate::identity::Policy;
use crate::refusal::TlsRefusal;
use crate::reload::Reloader;
use crate::time::Clock;

/// Less than this no handshake with a certificate fits.
const HANDSHAKE_BYTES_MIN: usize = 4096;

/// What a node's TLS is made with, beside its files.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Whom it believes.
    pub policy: Policy,
    /// Limits of handshakes.
    pub limits: HandshakeLimits,
    /// By which time certificates are judged.
    pub clock: Clock,
}

impl TlsOptions {
    /// The defaults, with this policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy, limits: HandshakeLimits::default(), clock: Clock::default() }
    }
}

/// A node's TLS. Clones are one.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
    reloader: Reloader,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("epoch", &self.current()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Reading blocks: files are small, and a node has nothing else to do before it has them.
    ///
    /// # Errors
    ///
    /// The key or file that is at fault.
    pub fn load(config: TlsConfig, options: TlsOptions) -> Result<Self, LoadError> {
        config.validate()?;
        let TlsOptions { policy, mut limits, clock } = options;
        limits.bytes_max = limits.bytes_max.max(HANDSHAKE_BYTES_MIN);
        let snapshot = Snapshot::take(&config);
        let digest = snapshot.digest();
        let epoch = TlsEpoch::build(1, &config, &policy, &clock, snapshot)?;
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(epoch),
            limits,
            counts: [Counts::default(), Counts::default()],
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
        });
        let reloader = Reloader::new(config, policy, clock, Arc::clone(&shared), digest);
        Ok(Self { shared, reloader })
    }

    /// The set of files that is in force.
    pub fn current(&self) -> Arc<TlsEpoch> {
        self.shared.current()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes connections.
    pub fn connector(&self) -> Connector {
        Connector { shared: Arc::clone(&self.shared) }
    }

    /// Takes connections.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor { shared: Arc::clone(&self.shared) }
    }

    /// Puts new files into force.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// What has happened since the start.
    pub fn statistics(&self) -> TlsStatistics {
        let [dialed, connected] = &self.shared.counts;
        TlsStatistics {
            epoch: self.current().number(),
            dialed: dialed.read(),
            connected: connected.read(),
            reloads: self.shared.reloads.load(Ordering::Relaxed),
            reloads_failed: self.shared.reloads_failed.load(Ordering::Relaxed),
        }
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsStatistics {
    /// The number of the set of files in force.
    pub epoch: u64,
    /// Of connections that this node made.
    pub dialed: HandshakeStatistics,
    /// Of connections that others made.
    pub connected: HandshakeStatistics,
    /// How often other files took the place of those before.
    pub reloads: u64,
    /// How often other files were there and were not taken.
    pub reloads_failed: u64,
}

/// Handshakes of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandshakeStatistics {
    /// How many were completed.
    pub completed: u64,
    /// How many came to nothing, by [`TlsRefusal::name`].
    pub refused: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Dialed = 0,
    Connected = 1,
}

/// What connectors, acceptors and the reloader share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) current: ArcSwap<TlsEpoch>,
    pub(crate) limits: HandshakeLimits,
    counts: [Counts; 2],
    pub(crate) reloads: AtomicU64,
    pub(crate) reloads_failed: AtomicU64,
}

impl Shared {
    pub(crate) fn current(&self) -> Arc<TlsEpoch> {
        self.current.load_full()
    }

    pub(crate) fn count(&self, side: Side, refusal: Option<&TlsRefusal>) {
        let counts = &self.counts[side as usize];
        match refusal {
            None => {
                counts.completed.fetch_add(1, Ordering::Relaxed);
            }
            Some(refusal) => {
                let mut refused = counts.refused.lock().unwrap_or_else(PoisonError::into_inner);
                *refused.entry(refusal.name()).or_default() += 1;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    completed: AtomicU64,
    /// As many entries as there are names.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counts {
    fn read(&self) -> HandshakeStatistics {
        HandshakeStatistics {
            completed: self.completed.load(Ordering::Relaxed),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
