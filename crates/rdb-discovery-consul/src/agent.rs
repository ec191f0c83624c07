//! The one agent: which address of its name is used, and the connections to it.
//!
//! A node's check is a promise of the agent that took it; another one knows nothing of it. So a name with several addresses is
//! pinned: to the lowest, for as long as the name has it. A connection that failed is made anew, which reads the files for TLS
//! again.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consulrs::client::{ConsulClient, ConsulClientSettings};
use hyper::client::connect::dns::Name;
use rdb_discovery::Cause;
use rdb_discovery_driver::{ServerUrl, TlsFile, TlsFileError, TlsFiles};
use reqwest::dns::{Addrs, Resolve, Resolving};
use reqwest::header::{HOST, HeaderValue};
use reqwest::tls::Version;
use reqwest::{Certificate, ClientBuilder, Identity};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::by_consulrs::ConsulrsHttp;
use crate::config::{ConfigError, ConsulConfig, ConsulToken};
use crate::http::{ConsulHttp, Fault};

/// Connections that wait for the next request: one for probes and one for the registration.
const IDLE_MAX: usize = 2;
/// Probes keep one of them busy at the usual interval.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A way to the agent, which holds until it fails.
pub(crate) type Way = Arc<dyn ConsulHttp>;

/// The agent of a configuration.
pub(crate) struct Agent {
    config: Arc<ConsulConfig>,
    way: Mutex<Option<Way>>,
    /// The address in use, held by whoever makes the next way.
    pinned: tokio::sync::Mutex<Option<SocketAddr>>,
    /// Times that the name no longer had the pinned address.
    moves: AtomicU64,
}

impl Agent {
    pub(crate) fn new(config: Arc<ConsulConfig>) -> Self {
        Self { config, way: Mutex::default(), pinned: tokio::sync::Mutex::default(), moves: AtomicU64::new(0) }
    }

    pub(crate) fn config(&self) -> &ConsulConfig {
        &self.config
    }

    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// The way to the agent. Nothing is sent to make one.
    pub(crate) async fn way(&self) -> Result<Way, Cause> {
        let mut pinned = self.pinned.lock().await;
        if let Some(way) = &*self.made() {
            return Ok(Arc::clone(way));
        }
        let url = self.config.url().map_err(|error| Cause::invalid(error.to_string()))?;
        let found = self.look_up(&url).await;
        let address = match (pin(*pinned, found.as_deref().unwrap_or_default()), found) {
            (Some(address), _) => address,
            (None, Err(problem)) => return Err(self.unavailable(&problem)),
            (None, Ok(_)) => return Err(self.unavailable("its name has no address")),
        };
        if let Some(before) = pinned.replace(address).filter(|before| *before != address) {
            self.moves.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(agent = self.config.agent, %before, %address, "the agent's name has lost the address in use");
        }
        let config = Arc::clone(&self.config);
        let built = tokio::task::spawn_blocking(move || connect(&config, &url, address)).await;
        let client = built.map_err(|error| self.unavailable(&error.to_string()))?;
        let (asking, client, dialled) = client.map_err(|error| Cause::invalid(error.to_string()))?;
        let way: Way = Arc::new(ConsulrsHttp::new(asking, client, dialled, self.config.request_timeout));
        *self.made() = Some(Arc::clone(&way));
        Ok(way)
    }

    /// What a request by this way failed with. The next one is another.
    pub(crate) fn failed(&self, way: &Way, fault: &Fault) -> Cause {
        if matches!(fault, Fault::Unreachable(_)) {
            let mut made = self.made();
            if made.as_ref().is_some_and(|current| Arc::ptr_eq(current, way)) {
                *made = None;
            }
        }
        fault.cause(&self.config.agent)
    }

    /// Nobody asks any more. Connections that wait for the next request end by it.
    pub(crate) fn hang_up(&self) {
        *self.made() = None;
    }

    // A panic cannot leave it half changed.
    fn made(&self) -> MutexGuard<'_, Option<Way>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, url: &ServerUrl) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = url.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, url.port)]);
        }
        let limit = self.config.connect_timeout;
        let looked = timeout(limit, tokio::net::lookup_host((url.host.as_str(), url.port))).await;
        let found = looked.map_err(|_| format!("its name was not found within {limit:?}"))?;
        found.map(Iterator::collect).map_err(|error| format!("its name: {error}"))
    }

    fn unavailable(&self, problem: &str) -> Cause {
        Cause::unavailable(format!("consul at {}: {problem}", self.config.agent))
    }
}

/// Which of the found addresses is used. Where none is found, the name server is at fault rather than the agent.
fn pin(pinned: Option<SocketAddr>, found: &[SocketAddr]) -> Option<SocketAddr> {
    match pinned {
        Some(pinned) if found.is_empty() || found.contains(&pinned) => Some(pinned),
        _ => found.iter().min().copied(),
    }
}

/// Whether the files for TLS are there and make sense, before the agent is ever asked. Blocks on the disk.
pub(crate) fn check_files(config: &ConsulConfig) -> Result<(), ConfigError> {
    match &config.tls {
        Some(tls) => Ok(with_tls(ClientBuilder::new(), tls).map(drop)?),
        None => Ok(()),
    }
}

/// Answers every name with the agent's address, and counts how often a connection asked for it.
struct Dial {
    address: SocketAddr,
    made: watch::Sender<u64>,
}

impl Resolve for Dial {
    fn resolve(&self, _: Name) -> Resolving {
        self.made.send_modify(|made| *made += 1);
        let addresses: Addrs = Box::new(std::iter::once(self.address));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// A client for the questions that follow each other, one for everything else, and how many connections the former has made. Of an
/// address behind TLS none are counted, because the certificate has to carry the address, and an address is not looked up.
fn connect(
    config: &ConsulConfig,
    url: &ServerUrl,
    address: SocketAddr,
) -> Result<(ConsulClient, ConsulClient, watch::Receiver<u64>), ConfigError> {
    let dial = |made| Arc::new(Dial { address, made });
    let (made, dialled) = watch::channel(0);
    Ok((client(config, url, dial(made))?, client(config, url, dial(watch::Sender::new(0)))?, dialled))
}

/// A client for this address. Reads the files for TLS, and so blocks on the disk.
fn client(config: &ConsulConfig, url: &ServerUrl, dial: Arc<Dial>) -> Result<ConsulClient, ConfigError> {
    let named = config.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or(&url.host);
    // Only a name is looked up, and by that counted. Without TLS nobody checks it, and the agent is told the right one.
    let name = if url.is_secure { named } else { "agent.invalid" };
    let mut builder = ClientBuilder::new()
        // Not the system's TLS, and neither proxies nor roots of which the configuration does not speak.
        .use_rustls_tls()
        .tls_built_in_root_certs(false)
        .min_tls_version(Version::TLS_1_2)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(config.connect_timeout)
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(dial);
    if let Some(tls) = &config.tls {
        builder = with_tls(builder, tls)?;
    }
    let bracketed = |name: &str| if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let host = bracketed(name);
    if !url.is_secure
        && let Ok(named) = HeaderValue::from_str(&format!("{}:{}", bracketed(&url.host), url.port))
    {
        builder = builder.default_headers([(HOST, named)].into_iter().collect());
    }
    let base = format!("{}://{host}:{}", if url.is_secure { "https" } else { "http" }, url.port);
    let client = builder
        .build()
        .map_err(|error| ConfigError::Client { agent: config.agent.clone(), problem: error.to_string() })?;
    // Every field, because those that are left out come from the environment.
    let settings = ConsulClientSettings {
        address: base.clone(),
        ca_certs: Vec::new(),
        client_cert: None,
        client_key: None,
        token: config.token.as_ref().map(ConsulToken::secret).map(str::to_owned),
        verify: true,
        version: 1,
    };
    Ok(ConsulClient { http: rustify::clients::reqwest::Client::new(&base, client), settings })
}

fn with_tls(mut builder: ClientBuilder, tls: &TlsFiles) -> Result<ClientBuilder, TlsFileError> {
    let texts = tls.read()?;
    let wrong = |error: reqwest::Error| TlsFile::Authority.wrong(&tls.ca, error);
    for root in Certificate::from_pem_bundle(&texts.ca).map_err(wrong)? {
        builder = builder.add_root_certificate(root);
    }
    if let Some((certificate, key)) = texts.identity {
        let wrong = |error| TlsFile::Certificate.wrong(tls.certificate.as_deref().unwrap_or(&tls.ca), error);
        let identity = Identity::from_pem(&[certificate, key].join(&b'\n'));
        builder = builder.identity(identity.map_err(|error| wrong(format!("with its key: {error}")))?);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_agent_is_pinned_while_its_name_has_the_address() {
        let (a, b, c) = (address("10.0.0.1:1"), address("10.0.0.2:1"), address("10.0.0.3:1"));
        assert_eq!(pin(None, &[c, a, b]), Some(a), "whatever their order");
        assert_eq!(pin(Some(b), &[a, b]), Some(b));
        assert_eq!(pin(Some(b), &[]), Some(b), "a name server that is away moves nobody");
        assert_eq!(pin(Some(b), &[c, a]), Some(a));
        assert_eq!(pin(None, &[]), None);
    }
}
