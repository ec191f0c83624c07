//! What a Consul source is configured with.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use rdb_discovery_driver::{DriverConfig, ServerUrl, TlsFileError, TlsFiles, UrlError, shown_url};
use rdb_net_types::{ClusterId, NodeId};

/// The port at which an agent listens for HTTP where nobody says otherwise.
const USUAL_PORT: u16 = 8500;
const SECOND: Duration = Duration::from_secs(1);
const TIME_TO_LIVE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3_600);
const DEREGISTER_AFTER: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 86_400);
const WAIT: RangeInclusive<Duration> = SECOND..=Duration::from_secs(600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// An ACL token. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsulToken(String);

impl ConsulToken {
    /// The token of this text, without the white space around it that files and editors leave.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Token`] where it is empty or cannot stand in a header of HTTP.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::Token);
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConsulToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsulToken(..)")
    }
}

/// What a Consul source is configured with. [`ConsulDiscovery::new`](crate::ConsulDiscovery::new) checks it.
#[derive(Debug, Clone)]
pub struct ConsulConfig {
    /// The agent: `http://127.0.0.1:8500` or `https://host:8501`. Everything goes to this one. A host name with several addresses
    /// is pinned to one of them for as long as the name has it: a check that is registered at one agent cannot be kept alive at
    /// another.
    pub agent: String,
    /// The name of the service. Default `rdb-CLUSTER`.
    pub service: String,
    /// The cluster whose nodes these are.
    pub cluster: ClusterId,
    /// The ACL token, where the agent asks for one. It needs `service:write` for the service, and `node:read` and `service:read`.
    pub token: Option<ConsulToken>,
    /// TLS, where the agent is `https`.
    pub tls: Option<TlsFiles>,
    /// How long a node's check passes without a word from it. Default 15 s, range 2 s to 1 h; it is told three times as often.
    /// Less finds a dead node sooner, and loses a living one in a shorter outage.
    pub check_time_to_live: Duration,
    /// When the agent throws away a node whose check has failed. Default 30 min, range 1 min to 7 days; the agent looks every 30 s.
    /// It has to be longer than an outage from which nodes come back.
    pub deregister_after: Duration,
    /// How long a blocking query waits for a change. Default 60 s, range 1 s to 10 min; the agent adds up to a sixteenth. Less costs
    /// questions and brings little: a change ends the wait, a dead agent is found by probes, and one that began anew between two
    /// questions by the connection that the next one makes. Only behind `https://` and an address is that found no sooner.
    pub wait: Duration,
    /// How long a connection may take. Default 2 s, range 100 ms to 60 s.
    pub connect_timeout: Duration,
    /// How long one request may take, the wait of a blocking query not counted. Default 3 s, range 100 ms to 60 s.
    pub request_timeout: Duration,
    /// How often the agent is asked whether it lives and knows a leader. Default 2 s, range 100 ms to 60 s.
    pub probe_interval: Duration,
    /// The first wait after a failure; each further one doubles, with jitter. Default 100 ms.
    pub retry_min: Duration,
    /// The longest wait after a failure. Default 5 s.
    pub retry_max: Duration,
    /// What is the same for every source.
    pub driver: DriverConfig,
}

impl ConsulConfig {
    /// The defaults, for this cluster at this agent.
    pub fn new(cluster: ClusterId, agent: impl Into<String>) -> Self {
        Self {
            agent: agent.into(),
            service: format!("rdb-{cluster}"),
            cluster,
            token: None,
            tls: None,
            check_time_to_live: Duration::from_secs(15),
            deregister_after: Duration::from_secs(1_800),
            wait: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(2),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            driver: DriverConfig::default(),
        }
    }

    /// The id of the service instance that stands for this node.
    pub fn service_id(&self, node: &NodeId) -> String {
        format!("{}-{node}", self.cluster)
    }

    /// The agent's URL in its parts.
    pub(crate) fn url(&self) -> Result<ServerUrl, ConfigError> {
        ServerUrl::parse(&self.agent, self.tls.as_ref(), USUAL_PORT)
            .map_err(|problem| ConfigError::Agent { agent: shown_url(&self.agent), problem })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.url()?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.service.is_empty() || self.service.len() > 128 || !self.service.chars().all(legal) {
            return Err(ConfigError::Service { service: self.service.clone() });
        }
        if self.tls.as_ref().is_some_and(|tls| !tls.is_whole()) {
            return Err(ConfigError::HalfIdentity);
        }
        let times = [
            ("check_time_to_live", self.check_time_to_live, TIME_TO_LIVE),
            ("deregister_after", self.deregister_after, DEREGISTER_AFTER),
            ("wait", self.wait, WAIT),
            ("connect_timeout", self.connect_timeout, TIMEOUT),
            ("request_timeout", self.request_timeout, TIMEOUT),
            ("probe_interval", self.probe_interval, TIMEOUT),
        ];
        match times.into_iter().find(|(_, value, range)| !range.contains(value)) {
            Some((key, value, range)) => Err(ConfigError::Time { key, value, min: *range.start(), max: *range.end() }),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot work. Its author is at fault; nothing was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An agent that cannot be used.
    #[error("agent: {agent}: {problem}")]
    Agent {
        /// The agent.
        agent: String,
        /// What is wrong.
        problem: UrlError,
    },
    /// The client library refuses what it is told of the agent.
    #[error("agent: {agent}: no client can be made for it: {problem}")]
    Client {
        /// The agent.
        agent: String,
        /// What the library says.
        problem: String,
    },
    /// A name that no service can have here.
    #[error("service: {service:?} has to have 1 to 128 letters, digits, '-', '_' and '.'")]
    Service {
        /// The name.
        service: String,
    },
    /// A token that is none.
    #[error("token: it has to have at least one character, and no white space or control characters inside")]
    Token,
    /// A certificate without its key, or the other way round.
    #[error("tls: certificate and key belong together, and one of them is missing")]
    HalfIdentity,
    /// A time is out of range.
    #[error("{key}: {value:?} is not between {min:?} and {max:?}")]
    Time {
        /// Its key.
        key: &'static str,
        /// The refused time.
        value: Duration,
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A file cannot be used at the start. Later, that is a failure of the source that is tried again.
    #[error(transparent)]
    File(#[from] TlsFileError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(agent: &str) -> ConsulConfig {
        ConsulConfig::new(ClusterId::new("test").expect("legal"), agent)
    }

    #[track_caller]
    fn refused(config: ConsulConfig, text: &str) {
        assert_eq!(config.check().expect_err("refused").to_string(), text);
    }

    #[test]
    fn a_refusal_names_the_key_and_what_to_do() {
        assert_eq!(config("http://[::1]:8500").check(), Ok(()));
        refused(config("a:8500"), "agent: a:8500: it has to begin with http:// or https://");
        let rest = "a host and a port are wanted behind ://, and nothing else";
        let user = "a user or a token has settings of its own, and does not stand before an @";
        refused(config("http://u:geheim@a:1"), &format!("agent: http://…@a:1: {user}"));
        refused(config("http://a:1/prefix"), &format!("agent: http://a:1/prefix: {rest}"));
        refused(config("http://a"), "agent: http://a: it has no port, such as :8500");
        refused(config("http://a:0"), "agent: http://a:0: its port is no number from 1 to 65535");
        refused(config("http://:1"), "agent: http://:1: it has no host");
        refused(config("https://a:1"), "agent: https://a:1: https needs the table tls with at least ca");
        let tls = Some(TlsFiles::default());
        let plain = ConsulConfig { tls, ..config("http://a:1") };
        refused(plain, "agent: http://a:1: there is a table tls, so that it has to be https");
        let half = TlsFiles { key: Some("key.pem".into()), ..TlsFiles::default() };
        let half = ConsulConfig { tls: Some(half), ..config("https://a:1") };
        refused(half, "tls: certificate and key belong together, and one of them is missing");
        let service = ConsulConfig { service: "rdb test".to_owned(), ..config("http://a:1") };
        refused(service, "service: \"rdb test\" has to have 1 to 128 letters, digits, '-', '_' and '.'");
        let short = ConsulConfig { check_time_to_live: SECOND, ..config("http://a:1") };
        refused(short, "check_time_to_live: 1s is not between 2s and 3600s");
        let early = ConsulConfig { deregister_after: SECOND, ..config("http://a:1") };
        refused(early, "deregister_after: 1s is not between 60s and 604800s");
        let wait = ConsulConfig { wait: Duration::from_secs(601), ..config("http://a:1") };
        refused(wait, "wait: 601s is not between 1s and 600s");
    }

    #[test]
    fn a_token_is_trimmed_checked_and_never_shown() {
        let token = ConsulToken::new(" geheim\n").expect("legal");
        assert_eq!(token.secret(), "geheim");
        let shown = format!("{:?}", ConsulConfig { token: Some(token), ..config("http://a:1") });
        assert!(!shown.contains("geheim"), "{shown}");
        for text in ["", " \n", "a b", "a\u{7f}", "ä"] {
            assert_eq!(ConsulToken::new(text), Err(ConfigError::Token), "{text:?}");
        }
    }
}
