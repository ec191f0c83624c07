//! What an etcd source is configured with.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use rdb_discovery_driver::{DriverConfig, ServerUrl, TlsFileError, TlsFiles, UrlError, shown_url};
use rdb_net_types::ClusterId;

/// The port at which etcd listens for clients where nobody says otherwise.
const USUAL_PORT: u16 = 2379;
const TIME_TO_LIVE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3_600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// A name and a password. The password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an etcd source is configured with. [`EtcdDiscovery::new`](crate::EtcdDiscovery::new) checks it.
#[derive(Debug, Clone)]
pub struct EtcdConfig {
    /// Where the members of the etcd cluster listen: `http://host:2379` or `https://host:2379`. One is used at a time, the next
    /// one after a failure.
    pub endpoints: Vec<String>,
    /// What all keys begin with. Default `/rustydb`. Nodes stand at `PREFIX/CLUSTER/nodes/ID`.
    pub prefix: String,
    /// The cluster whose nodes these are.
    pub cluster: ClusterId,
    /// A name and a password, where etcd asks for them.
    pub user: Option<EtcdUser>,
    /// TLS, where the endpoints are `https`.
    pub tls: Option<TlsFiles>,
    /// How long a node stays registered without a word from it. Default 15 s, range 2 s to 1 h; it is renewed three times as often.
    /// Less finds a dead node sooner, and loses a living one in a shorter outage.
    pub lease_time_to_live: Duration,
    /// How long a connection may take. Default 2 s, range 100 ms to 60 s.
    pub connect_timeout: Duration,
    /// How long one request may take. Default 3 s, range 100 ms to 60 s.
    pub request_timeout: Duration,
    /// How often the connection and the watch are probed; a probe without an answer for as long again ends the connection.
    /// Default 2 s, range 100 ms to 60 s.
    pub probe_interval: Duration,
    /// The first wait after a failure; each further one doubles, with jitter. Default 100 ms.
    pub retry_min: Duration,
    /// The longest wait after a failure. Default 5 s.
    pub retry_max: Duration,
    /// What is the same for every source.
    pub driver: DriverConfig,
}

impl EtcdConfig {
    /// The defaults, for this cluster at these endpoints.
    pub fn new(cluster: ClusterId, endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            prefix: String::from("/rustydb"),
            cluster,
            user: None,
            tls: None,
            lease_time_to_live: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(2),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            driver: DriverConfig::default(),
        }
    }

    /// What the keys of all nodes begin with.
    pub fn nodes_prefix(&self) -> String {
        format!("{}/{}/nodes/", self.prefix, self.cluster)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        for endpoint in &self.endpoints {
            ServerUrl::parse(endpoint, self.tls.as_ref(), USUAL_PORT)
                .map_err(|problem| ConfigError::Endpoint { endpoint: shown_url(endpoint), problem })?;
        }
        if !self.prefix.starts_with('/') || self.prefix.ends_with('/') || self.prefix.len() > 256 {
            return Err(ConfigError::Prefix { prefix: self.prefix.clone() });
        }
        if self.tls.as_ref().is_some_and(|tls| !tls.is_whole()) {
            return Err(ConfigError::HalfIdentity);
        }
        if !TIME_TO_LIVE.contains(&self.lease_time_to_live) {
            return Err(ConfigError::TimeToLive { value: self.lease_time_to_live });
        }
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("probe_interval", self.probe_interval),
        ];
        match times.into_iter().find(|(_, value)| !TIMEOUT.contains(value)) {
            Some((key, value)) => Err(ConfigError::Time { key, value }),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot work. Its author is at fault; nothing was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no endpoint.
    #[error("endpoints: at least one is needed, such as http://etcd1:2379")]
    NoEndpoint,
    /// An endpoint that cannot be used.
    #[error("endpoints: {endpoint}: {problem}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        problem: UrlError,
    },
    /// A prefix that makes no keys.
    #[error("prefix: {prefix:?} has to begin with /, not to end with it, and to have at most 256 characters")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("tls: certificate and key belong together, and one of them is missing")]
    HalfIdentity,
    /// The life of a lease is out of range.
    #[error("lease_time_to_live: {value:?} is not between 2 s and 1 h")]
    TimeToLive {
        /// The refused time.
        value: Duration,
    },
    /// A time is out of range.
    #[error("{key}: {value:?} is not between 100 ms and 60 s")]
    Time {
        /// Its key.
        key: &'static str,
        /// The refused time.
        value: Duration,
    },
    /// A file cannot be used at the start. Later, that is a failure of the source that is tried again.
    #[error(transparent)]
    File(#[from] TlsFileError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoints: &[&str]) -> EtcdConfig {
        let cluster = ClusterId::new("test").expect("legal");
        EtcdConfig::new(cluster, endpoints.iter().map(|text| (*text).to_owned()).collect())
    }

    #[track_caller]
    fn refused(config: EtcdConfig, text: &str) {
        assert_eq!(config.check().expect_err("refused").to_string(), text);
    }

    #[test]
    fn a_refusal_names_the_key_and_what_to_do() {
        assert_eq!(config(&["http://a:2379", "http://[::1]:2379"]).check(), Ok(()));
        refused(config(&[]), "endpoints: at least one is needed, such as http://etcd1:2379");
        refused(config(&["http://a"]), "endpoints: http://a: it has no port, such as :2379");
        refused(config(&["a:2379"]), "endpoints: a:2379: it has to begin with http:// or https://");
        let rest = "a host and a port are wanted behind ://, and nothing else";
        refused(config(&["http://a:2379/path"]), &format!("endpoints: http://a:2379/path: {rest}"));
        let user = "a user or a token has settings of its own, and does not stand before an @";
        refused(config(&["http://u:geheim@a:2379"]), &format!("endpoints: http://…@a:2379: {user}"));
        refused(config(&["https://a:1"]), "endpoints: https://a:1: https needs the table tls with at least ca");
        let tls = Some(TlsFiles::default());
        let plain = EtcdConfig { tls: tls.clone(), ..config(&["http://a:1"]) };
        refused(plain, "endpoints: http://a:1: there is a table tls, so that it has to be https");
        let half = TlsFiles { key: Some("key.pem".into()), ..TlsFiles::default() };
        let half = EtcdConfig { tls: Some(half), ..config(&["https://a:1"]) };
        refused(half, "tls: certificate and key belong together, and one of them is missing");
        let prefix = EtcdConfig { prefix: "rustydb/".to_owned(), ..config(&["http://a:1"]) };
        let text = "prefix: \"rustydb/\" has to begin with /, not to end with it, and to have at most 256 characters";
        refused(prefix, text);
        let short = EtcdConfig { lease_time_to_live: Duration::from_secs(1), ..config(&["http://a:1"]) };
        refused(short, "lease_time_to_live: 1s is not between 2 s and 1 h");
        let probe = EtcdConfig { probe_interval: Duration::ZERO, ..config(&["http://a:1"]) };
        refused(probe, "probe_interval: 0ns is not between 100 ms and 60 s");
    }

    #[test]
    fn a_password_is_never_shown() {
        let user = EtcdUser { name: "rdb".to_owned(), password: "geheim".to_owned() };
        let shown = format!("{:?}", EtcdConfig { user: Some(user), ..config(&["http://a:1"]) });
        assert!(shown.contains("rdb") && !shown.contains("geheim"), "{shown}");
    }
}
