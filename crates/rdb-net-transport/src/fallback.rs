//! Two kinds of connections to the same addresses: one that is preferred, and another for where it does not pass.
//!
//! Whether a peer offers the preferred kind, and whether the network carries it, is found out by a dial: the other kind begins when
//! the first one fails, or has not answered for a moment, and the first that is made is taken ("happy eyeballs", RFC 8305). Where
//! the preferred one did not come about it is left alone for a while, and then tried again.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdb_net_peer::{DialFailure, LinkSide};
use rdb_net_types::{BoxFuture, NodeAddress};
use tokio::time::Instant;

use crate::backend::{Arrival, Backend, Connection, DialError, Distrust, ListenError, Listener, Proof};

/// How many addresses are remembered on which the preferred kind does not pass.
const REMEMBERED_MAX: usize = 4096;
/// For how many head starts the preferred kind is waited for after the other one has failed.
const PATIENCE: u32 = 4;
/// How often a port is looked for that is free for both kinds, where any will do.
const PORT_TRIES: usize = 16;

/// When the other kind is tried, and the preferred one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FallbackConfig {
    /// How long the preferred kind alone may take to answer. Default 250 ms (RFC 8305, section 5).
    pub head_start: Duration,
    /// How long an address is dialled by the other kind alone, after only that one was made. Default 10 minutes.
    pub retry_after: Duration,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self { head_start: Duration::from_millis(250), retry_after: Duration::from_secs(600) }
    }
}

/// Dials by a preferred kind of connection and by another where that one does not pass; listens for both, at one port number.
///
/// Both must prove identities by the same certificates.
pub struct FallbackBackend {
    preferred: Arc<dyn Backend>,
    other: Arc<dyn Backend>,
    config: FallbackConfig,
    /// Where the preferred kind does not pass, and until when that is believed.
    away: Mutex<HashMap<NodeAddress, Instant>>,
}

impl FallbackBackend {
    /// Of these two kinds.
    pub fn new(preferred: Arc<dyn Backend>, other: Arc<dyn Backend>, config: FallbackConfig) -> Self {
        Self { preferred, other, config, away: Mutex::default() }
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn is_away(&self, address: &NodeAddress) -> bool {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let until = away.get(address).copied();
        let is_away = until.is_some_and(|until| Instant::now() < until);
        if until.is_some() && !is_away {
            away.remove(address);
        }
        is_away
    }

    fn remember(&self, address: &NodeAddress) {
        tracing::info!(
            %address, preferred = self.preferred.name(), other = self.other.name(),
            "the preferred kind of connection does not pass"
        );
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.len() >= REMEMBERED_MAX {
            away.retain(|_, until| now < *until);
        }
        if away.len() >= REMEMBERED_MAX {
            away.clear();
        }
        away.insert(address.clone(), now + self.config.retry_after);
    }

    async fn dial_other(&self, address: &NodeAddress) -> Result<Box<dyn Connection>, DialError> {
        let dialled = self.other.dial(address).await;
        if dialled.is_ok() {
            self.remember(address);
        }
        dialled
    }

    async fn dial_either(&self, address: &NodeAddress) -> Result<Box<dyn Connection>, DialError> {
        if self.is_away(address) {
            return self.other.dial(address).await;
        }
        let mut first = self.preferred.dial(address);
        match tokio::time::timeout(self.config.head_start, &mut first).await {
            Ok(dialled) => return self.or_other(address, dialled).await,
            Err(_unanswered) => {}
        }
        let mut second = self.dial_other_boxed(address);
        tokio::select! {
            biased;
            dialled = &mut first => match settled(dialled) {
                Ok(settled) => settled,
                Err(_failed) => second.await,
            },
            dialled = &mut second => match dialled {
                Ok(connection) => Ok(connection),
                // What stands in the way of one need not stand in that of the other; but where nothing comes of it for a while
                // more, what the other has found out is worth more than that time is over.
                Err(error) => match tokio::time::timeout(self.config.head_start * PATIENCE, first).await {
                    Ok(dialled) => dialled.or(Err(error)),
                    Err(_unanswered) => Err(error),
                },
            },
        }
    }

    fn dial_other_boxed<'a>(
        &'a self,
        address: &'a NodeAddress,
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(self.dial_other(address))
    }

    async fn or_other(
        &self,
        address: &NodeAddress,
        dialled: Result<Box<dyn Connection>, DialError>,
    ) -> Result<Box<dyn Connection>, DialError> {
        match settled(dialled) {
            Ok(settled) => settled,
            Err(_failed) => self.dial_other(address).await,
        }
    }

    async fn listen_both(&self, address: &NodeAddress) -> Result<Box<dyn Listener>, ListenError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            let other = self.other.listen(address).await?;
            // The same number, which the system may have chosen.
            let preferred = self.preferred.listen(&address.with_port(other.local_address().port())).await;
            tries -= 1;
            match preferred {
                Ok(preferred) => return Ok(Box::new(BothListeners { preferred, other })),
                Err(error) if error.source.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A dial with which the matter is settled: one that was made, or a peer that will not do whatever it is dialled by.
fn settled(
    dialled: Result<Box<dyn Connection>, DialError>,
) -> Result<Result<Box<dyn Connection>, DialError>, DialError> {
    match dialled {
        Err(error) if !matches!(error.failure, DialFailure::Untrusted | DialFailure::Unresolved) => Err(error),
        dialled => Ok(dialled),
    }
}

impl Backend for FallbackBackend {
    fn name(&self) -> &'static str {
        "auto"
    }

    fn dial<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Connection>, DialError>> {
        Box::pin(self.dial_either(address))
    }

    fn listen<'a>(&'a self, address: &'a NodeAddress) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(self.listen_both(address))
    }

    fn recheck(&self, proof: &Proof, side: LinkSide) -> Result<(), Distrust> {
        self.preferred.recheck(proof, side)
    }
}

impl std::fmt::Debug for FallbackBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = (self.preferred.name(), self.other.name());
        f.debug_struct("FallbackBackend").field("kinds", &names).field("config", &self.config).finish_non_exhaustive()
    }
}

/// Takes connections of both kinds.
struct BothListeners {
    preferred: Box<dyn Listener>,
    other: Box<dyn Listener>,
}

impl Listener for BothListeners {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            // Neither loses a connection when the other has one.
            tokio::select! {
                arrival = self.preferred.accept() => arrival,
                arrival = self.other.accept() => arrival,
            }
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.other.local_address()
    }
}
