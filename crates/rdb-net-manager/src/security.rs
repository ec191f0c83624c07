//! How a node proves itself: by TLS, whose files are read at the start and again when they change, or by a secret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_seal::Refused;
use rdb_net_tls::secret::SharedSecret;
use rdb_net_tls::{ExpiringKind, Tls, TlsEvent, TlsOptions, UnixSeconds};
use rdb_net_transport::{Backend, FallbackBackend, FallbackConfig};

use crate::config::{Config, TransportProtocol};
use crate::control::{CertificateView, GossipKeyView, NetworkEvent, SecurityView};
use crate::error::StartError;
use crate::keys::Keys;
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

/// Connections over what the configuration names, by these certificates.
pub(crate) fn backend(config: &Config, tls: &Tls) -> Result<Arc<dyn Backend>, StartError> {
    match config.transport.protocol {
        TransportProtocol::Tcp => over_tcp(config, tls),
        TransportProtocol::Quic => over_quic(config, tls),
        TransportProtocol::Auto => {
            let (quic, tcp) = (over_quic(config, tls)?, over_tcp(config, tls)?);
            Ok(Arc::new(FallbackBackend::new(quic, tcp, FallbackConfig::default())))
        }
    }
}

#[cfg(feature = "tls")]
fn over_tcp(config: &Config, tls: &Tls) -> Result<Arc<dyn Backend>, StartError> {
    let tcp = rdb_net_tcp::TcpBackend::new(config.tcp());
    Ok(Arc::new(rdb_net_tcp::TlsBackend::new(tcp, tls.clone(), config.session().hello_timeout)))
}

#[cfg(not(feature = "tls"))]
fn over_tcp(_: &Config, _: &Tls) -> Result<Arc<dyn Backend>, StartError> {
    Err(StartError::NoTransport)
}

#[cfg(feature = "quic")]
fn over_quic(config: &Config, tls: &Tls) -> Result<Arc<dyn Backend>, StartError> {
    Ok(Arc::new(rdb_net_quic::QuicBackend::new(config.quic(), tls.clone())))
}

#[cfg(not(feature = "quic"))]
fn over_quic(_: &Config, _: &Tls) -> Result<Arc<dyn Backend>, StartError> {
    Err(StartError::NoTransport)
}

/// Reads the secret of nodes without certificates.
#[cfg(feature = "tls")]
pub(crate) fn load_secret(from: &crate::config::SharedSecret) -> Result<SharedSecret, StartError> {
    let failed = |key, problem: String| StartError::SharedSecret { key, problem };
    match (&from.path, &from.variable) {
        (Some(path), _) => {
            SharedSecret::from_file(path).map_err(|error| failed("networking.shared_secret.path", error.to_string()))
        }
        (None, variable) => SharedSecret::from_environment(variable.as_deref().unwrap_or_default())
            .map_err(|error| failed("networking.shared_secret.variable", error.to_string())),
    }
}

/// Connections over TCP among those who know it. The name is known already: the rules of the configuration see to that.
#[cfg(feature = "tls")]
pub(crate) fn secret_backend(config: &Config, secret: &SharedSecret) -> rdb_net_tcp::SecretBackend {
    let node = config.effective_node_id(&config.advertised(config.bind_address.port()));
    let (cluster, timeout) = (config.cluster_id.clone(), config.session().hello_timeout);
    rdb_net_tcp::SecretBackend::new(rdb_net_tcp::TcpBackend::new(config.tcp()), secret.clone(), cluster, node, timeout)
}

/// The keys that seal gossip: those that members hand each other inside TLS, or the one that follows from their secret.
pub(crate) fn gossip_keys(config: &Config, secret: Option<&SharedSecret>, now: Duration) -> Option<Keys> {
    let rotation = config.gossip.key_rotation;
    match secret {
        Some(secret) => Some(Keys::of_secret(secret, &config.cluster_id, now)),
        None => config.tls.enabled.then(|| Keys::new((!rotation.is_zero()).then_some(rotation))),
    }
}

/// What is to be seen of it.
pub(crate) fn view(node: &Node) -> SecurityView {
    let Some(keys) = &node.keys else { return SecurityView::default() };
    let view = gossip_view(node, keys);
    match &node.tls {
        Some(tls) => SecurityView { tls: true, ..certificates(tls, view) },
        None => SecurityView { shared_secret: keys.is_derived(), ..view },
    }
}

fn certificates(tls: &Tls, view: SecurityView) -> SecurityView {
    let (current, statistics) = (tls.current(), tls.statistics());
    let now = UnixSeconds::from(rdb_net_tls::Clock::default().now());
    let certificates = current.expiring().iter().map(|one| CertificateView {
        kind: one.kind.name(),
        name: one.name.clone(),
        fingerprint: one.fingerprint.to_string(),
        not_after: one.not_after.to_string(),
        seconds_left: one.seconds_left(now),
    });
    let mut handshakes = BTreeMap::new();
    for (direction, counted) in [("dialled", &statistics.dialed), ("accepted", &statistics.connected)] {
        handshakes.insert(direction.to_owned(), counted.completed);
        let refused = counted.refused.iter();
        handshakes.extend(refused.map(|(reason, count)| (format!("{direction}_{reason}"), *count)));
    }
    SecurityView {
        epoch: statistics.epoch,
        certificates: certificates.collect(),
        handshakes,
        reloads: (statistics.reloads, statistics.reloads_failed),
        ..view
    }
}

fn gossip_view(node: &Node, keys: &Keys) -> SecurityView {
    let sealed = keys.statistics();
    let refused = Refused::ALL.into_iter().map(|reason| (reason.name(), sealed.refused(reason)));
    let gossip_keys = keys.list(node.transport.clock().now()).into_iter().map(|key| GossipKeyView {
        id: key.id.to_string(),
        state: key.state.name(),
        age: key.age,
        packets_sealed: key.packets_sealed,
        packets_opened: key.packets_opened,
    });
    SecurityView {
        gossip_keys: gossip_keys.collect(),
        sealed: [("sealed", sealed.packets_sealed), ("opened", sealed.packets_opened)]
            .into_iter()
            .chain(refused)
            .collect(),
        ..SecurityView::default()
    }
}

/// Reads the files now.
pub(crate) async fn reload(node: &Arc<Node>) -> Result<(), String> {
    let Some(tls) = node.tls.clone() else { return Ok(()) };
    let reloader = tls.reloader().clone();
    let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
    let event = match reloaded.map_err(|error| error.to_string())? {
        Ok(epoch) => TlsEvent::Reloaded { epoch: epoch.number(), not_after: epoch.own().not_after },
        Err(error) => {
            let event = TlsEvent::Kept { epoch: tls.current().number(), path: error.path().map(Into::into), error };
            node.tell_tls(&event);
            let TlsEvent::Kept { error, .. } = event else { return Ok(()) };
            return Err(error.to_string());
        }
    };
    node.tell_tls(&event);
    Ok(())
}

impl Node {
    /// Looks at the files until the node stops.
    pub(crate) async fn watch_files(self: Arc<Self>, tls: Tls, interval: Duration) {
        self.see_lists();
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

    /// Whoever is on a new list still holds the key that seals gossip: another one takes its place.
    fn see_lists(&self) {
        let (Some(tls), Some(keys)) = (&self.tls, &self.keys) else { return };
        let current = tls.current();
        let lists = current.expiring().iter().filter(|one| one.kind == ExpiringKind::RevocationList);
        if keys.saw_lists(lists.map(|list| list.fingerprint.to_string()).collect()) {
            keys.revoked();
        }
    }

    pub(crate) fn tell_tls(&self, event: &TlsEvent) {
        match event {
            TlsEvent::Reloaded { epoch, not_after } => {
                self.see_lists();
                let connections = self.transport.recheck_trust();
                tracing::info!(epoch, %not_after, ?connections, "certificates were reloaded");
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
