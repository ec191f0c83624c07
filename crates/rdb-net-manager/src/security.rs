//! TLS of a node: its files at the start, and what follows from their changes.

use std::sync::Arc;
use std::time::Duration;

use rdb_net_tcp::{TcpBackend, TlsBackend};
use rdb_net_tls::{Tls, TlsEvent, TlsOptions};

use crate::config::Config;
use crate::control::NetworkEvent;
use crate::error::StartError;
use crate::node::Node;

/// How often open connections are judged anew although no file has changed: certificates end.
const RECHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Reads the files, and gives the node the name that its certificate proves.
pub(crate) fn load(config: &mut Config) -> Result<Tls, StartError> {
    // The names were checked with the configuration.
    let files = config.tls.files().map_err(|error| StartError::Tls(error.to_string()))?;
    let policy = config.tls_policy().map_err(|error| StartError::Tls(error.to_string()))?;
    let tls = Tls::load(files, TlsOptions::new(policy)).map_err(|error| StartError::Tls(error.to_string()))?;
    let certified = tls.current().own().node.clone();
    match &config.node_id {
        Some(configured) if *configured != certified => {
            return Err(StartError::Identity { configured: configured.clone(), certified });
        }
        _ => config.node_id = Some(certified),
    }
    Ok(tls)
}

/// Connections over TCP inside TLS.
pub(crate) fn backend(config: &Config, tls: &Tls) -> TlsBackend {
    TlsBackend::new(TcpBackend::new(config.tcp()), tls.clone(), config.session().hello_timeout)
}

impl Node {
    /// Looks at the files until the node stops.
    pub(crate) async fn watch_files(self: Arc<Self>, tls: Tls, interval: Duration) {
        let node = Arc::clone(&self);
        let watch = tls.reloader().clone().watch(interval, self.cancel.clone(), move |event| node.tell_tls(&event));
        let recheck = async {
            loop {
                tokio::time::sleep(RECHECK_INTERVAL).await;
                self.transport.recheck_trust();
            }
        };
        tokio::select! {
            () = watch => {}
            () = recheck => {}
        }
    }

    pub(crate) fn tell_tls(&self, event: &TlsEvent) {
        match event {
            TlsEvent::Reloaded { epoch, not_after } => {
                let ended = self.transport.recheck_trust();
                tracing::info!(epoch, %not_after, ended, "certificates were reloaded");
                self.bus.publish(&NetworkEvent::CertificatesReloaded { not_after: not_after.to_string() });
            }
            TlsEvent::Kept { error, .. } => {
                tracing::error!(%error, "certificates are not taken, the former ones stay in force (networking.tls)");
                self.bus.publish(&NetworkEvent::CertificatesKept { problem: error.to_string() });
            }
            TlsEvent::Expiry(warning) => {
                tracing::warn!(%warning, "something ends soon (networking.tls)");
                self.bus.publish(&NetworkEvent::CertificateExpires { warning: warning.to_string() });
            }
            event => tracing::debug!(?event, "an event of TLS that the manager does not know"),
        }
    }
}
