//! Connections to the members of an etcd cluster, one at a time.
//!
//! The client could balance over all endpoints, but then a request meets a dead member by chance again and again. Here each failure
//! leads to the next endpoint, and what is read comes from one member.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use rdb_discovery::Cause;
use rdb_discovery_driver::{TlsFileError, TlsFiles, with_sources};
use tokio::time::timeout;

use crate::config::EtcdConfig;

/// A list of twenty thousand nodes with long labels; the client's own limit is 4 MiB.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The codes of gRPC by which etcd says that it does not want to talk with us: invalid argument (no user given), permission denied,
/// unauthenticated.
const REFUSALS: [i32; 3] = [3, 7, 16];

/// Where to connect to next.
#[derive(Debug)]
pub(crate) struct Link {
    config: Arc<EtcdConfig>,
    at: AtomicUsize,
}

impl Link {
    pub(crate) fn new(config: Arc<EtcdConfig>, first: usize) -> Self {
        Self { config, at: AtomicUsize::new(first) }
    }

    /// The endpoint that is in use.
    pub(crate) fn endpoint(&self) -> &str {
        let endpoints = &self.config.endpoints;
        let at = self.at.load(Ordering::Relaxed).checked_rem(endpoints.len()).unwrap_or_default();
        endpoints.get(at).map_or("", String::as_str)
    }

    /// Another endpoint from here on.
    pub(crate) fn next(&self) {
        self.at.fetch_add(1, Ordering::Relaxed);
    }

    /// A client of this endpoint. With a user this is a round trip; without, the first request is what connects.
    pub(crate) async fn connect(&self) -> Result<Client, Cause> {
        let config = &self.config;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(config.connect_timeout)
            .with_timeout(config.request_timeout)
            // A dead server shows by its silence: the kernel of a stopped machine resets nothing.
            .with_keep_alive(config.probe_interval, config.probe_interval)
            .with_keep_alive_while_idle(true)
            // A member that is cut off from its cluster would go on with what it knew.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(user) = &config.user {
            options = options.with_user(&user.name, &user.password);
        }
        if let Some(tls) = &config.tls {
            let files = tls.clone();
            let read = tokio::task::spawn_blocking(move || read_tls(&files)).await;
            let read = read.map_err(|error| self.unavailable(&error))?;
            options = options.with_tls(read.map_err(|error| Cause::invalid(error.to_string()))?);
        }
        let connecting = Client::connect([self.endpoint()], Some(options));
        match timeout(config.connect_timeout + config.request_timeout, connecting).await {
            Ok(client) => client.map_err(|error| self.cause(&error)),
            Err(_) => Err(self.unavailable(&"no answer in time")),
        }
    }

    /// What a failure means.
    pub(crate) fn cause(&self, error: &Error) -> Cause {
        match error {
            Error::GRpcStatus(status) if REFUSALS.contains(&(status.code() as i32)) => {
                Cause::refused(format!("etcd at {}: {}", self.endpoint(), status.message()))
            }
            Error::GRpcStatus(status) => self.unavailable(&with_sources(status.message(), status)),
            // It does not tell by itself what led to it.
            Error::TransportError(error) => self.unavailable(&with_sources(error.to_string(), error)),
            other => self.unavailable(&with_sources(other.to_string(), other)),
        }
    }

    pub(crate) fn unavailable(&self, problem: &dyn std::fmt::Display) -> Cause {
        Cause::unavailable(format!("etcd at {}: {problem}", self.endpoint()))
    }
}

/// Reads what stands in the files. Blocks on the disk.
pub(crate) fn read_tls(tls: &TlsFiles) -> Result<TlsOptions, TlsFileError> {
    let texts = tls.read()?;
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(texts.ca));
    if let Some((certificate, key)) = texts.identity {
        options = options.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = &tls.server_name {
        options = options.domain_name(name);
    }
    Ok(options)
}
