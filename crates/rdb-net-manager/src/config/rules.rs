//! Which values go together, and whether this build can run them.

mod discovery;

use rdb_net_types::NodeAddress;

use super::connections::TransportProtocol;
use super::error::{ConfigError, ConfigErrors, Origin};
use super::settings::{Admin, Config, GossipTransport, SplitBrainStrategy};

/// Values that do not go together.
#[derive(Debug)]
pub(super) struct Finding {
    /// The keys that it is about; the one to change first.
    pub(super) keys: Vec<&'static str>,
    pub(super) error: ConfigError,
}

const BIND: &str = "networking.bind_address";
const ADVERTISE: &str = "networking.advertise_address";
const GOSSIP: &str = "networking.gossip_address";
const ADMIN: &str = "networking.admin.bind_address";
const CODECS: &str = "networking.compression_codecs";
const TLS: &str = "networking.tls.enabled";
const SECRET: &str = "networking.shared_secret.path";
const SECRET_VARIABLE: &str = "networking.shared_secret.variable";
const NODE_ID: &str = "networking.node_id";
const STATE: &str = "networking.state.path";
const STATE_KEY: &str = "networking.state.key_path";
const GOSSIP_TRANSPORT: &str = "networking.gossip.transport";
const PROTOCOL: &str = "networking.transport.protocol";
const QUORUM: &str = "networking.split_brain.members";
const STATE_VARIABLE: &str = "networking.state.key_variable";

impl Config {
    /// Whether this build can run with it: every value is in its range, they go together, and nothing is asked for that is
    /// not built. Of files that are named nothing is read.
    ///
    /// # Errors
    ///
    /// Everything that stands in the way. [`ConfigError::NotBuilt`] for `tls.enabled` in a build without TLS: a node that was
    /// told to encrypt must not run without.
    pub fn check_runnable(&self) -> Result<(), ConfigErrors> {
        let mut errors = self.recheck();
        errors.extend(findings(self).into_iter().map(|finding| finding.error));
        errors.extend(self.not_built());
        errors.extend(self.plaintext());
        errors.extend(self.no_quorum());
        errors.extend(self.idle_sources());
        ConfigErrors::unless_empty(errors)
    }

    /// What is asked for and not in this build.
    fn not_built(&self) -> impl Iterator<Item = ConfigError> {
        let error = move |keys: &[&str], problem: &str| ConfigError::NotBuilt {
            at: self.first_origin(keys),
            key: keys[0].to_owned(),
            problem: problem.to_owned(),
        };
        let tls = (self.tls.enabled && !cfg!(feature = "secure")).then(|| {
            error(
                &[TLS],
                "TLS is not in this build, and the node would talk in plain text; enable the cargo feature \"tls\"",
            )
        });
        let protocol = self.protocol_not_built().map(|problem| error(&[PROTOCOL, TLS], problem));
        let secret = (self.shared_secret.is_set() && !cfg!(feature = "tls")).then(|| {
            error(
                &[SECRET, SECRET_VARIABLE],
                "shared secrets are not in this build, and anybody could say that it is a node; enable the cargo feature \"tls\"",
            )
        });
        let state = (self.state.path.is_some() && !cfg!(feature = "secure")).then(|| {
            error(&[STATE], "remembering is not in this build; enable the cargo feature \"tls\", which brings the seal")
        });
        let discovery = self.discovery_not_built();
        let codecs = self.compression.codecs.iter().filter(|codec| self.compression.enabled && !codec.is_built_in());
        let codecs = codecs.map(move |codec| {
            let name = codec.name();
            let problem = format!("\"{name}\" is not in this build; enable the cargo feature \"{name}\"");
            error(&[CODECS, "networking.enable_compression"], &problem)
        });
        tls.into_iter().chain(protocol).chain(secret).chain(state).chain(discovery).chain(codecs)
    }

    /// What of the wanted kind of connection is not in this build.
    fn protocol_not_built(&self) -> Option<&'static str> {
        const TCP: [bool; 2] = [cfg!(feature = "tcp"), cfg!(feature = "tls")];
        let has_tcp = TCP[usize::from(self.tls.enabled)];
        match self.transport.protocol {
            TransportProtocol::Quic | TransportProtocol::Auto if !cfg!(feature = "quic") => {
                Some("QUIC is not in this build; enable the cargo feature \"quic\", or set \"tcp\"")
            }
            TransportProtocol::Auto if !cfg!(feature = "tls") => {
                Some("TCP is not in this build; enable the cargo feature \"tls\", or set \"quic\"")
            }
            // A build without any transport is told so at the start.
            TransportProtocol::Tcp if !has_tcp && cfg!(feature = "quic") => {
                Some("TCP is not in this build; set \"quic\", and tls.enabled = true")
            }
            _ => None,
        }
    }

    /// A quorum of which nobody has said how many it takes.
    fn no_quorum(&self) -> Option<ConfigError> {
        let split = &self.split_brain;
        let is_missing = split.strategy == SplitBrainStrategy::StaticQuorum && split.members == 0;
        is_missing.then(|| ConfigError::Conflict {
            at: self.first_origin(&[QUORUM, "networking.split_brain.strategy"]),
            key: QUORUM.to_owned(),
            problem: String::from(
                "it is not set, and strategy = \"static_quorum\" needs it: more than half of all members that there will ever be",
            ),
        })
    }

    /// Whether it would talk in plain text to others than this host, without having been allowed to.
    fn plaintext(&self) -> Option<ConfigError> {
        if self.tls.enabled || self.allow_plaintext || self.is_on_loopback() {
            return None;
        }
        let keys = [BIND, GOSSIP];
        let problem = match self.shared_secret.is_set() {
            false => format!(
                "the node would listen at {} without TLS, where everybody on the way reads and writes what nodes say; set \
                 networking.tls.enabled = true, or networking.allow_plaintext = true where the network is trusted",
                self.bind_address
            ),
            true => format!(
                "the node would listen at {} without TLS; networking.shared_secret keeps strangers out, and what nodes say is \
                 still in plain text, which everybody on the way reads and writes; take networking.tls.enabled = true in its \
                 place, or set networking.allow_plaintext = true where the network is trusted",
                self.bind_address
            ),
        };
        Some(ConfigError::Conflict { at: self.first_origin(&keys), key: keys[0].to_owned(), problem })
    }

    /// Whether nobody but this host reaches the node.
    pub fn is_on_loopback(&self) -> bool {
        [Some(&self.bind_address), self.gossip_address.as_ref()].into_iter().flatten().all(is_loopback)
    }

    /// The origin of the first of these keys that somebody set.
    fn first_origin(&self, keys: &[&str]) -> Origin {
        keys.iter().find_map(|key| self.origins.0.get(key)).cloned().unwrap_or_default()
    }
}

/// Everything that does not go together.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut rules = Rules { config, findings: Vec::new() };
    rules.addresses();
    rules.tls();
    rules.shared_secret();
    rules.times_and_sizes();
    rules.membership();
    rules.discovery();
    rules.findings
}

struct Rules<'a> {
    config: &'a Config,
    findings: Vec<Finding>,
}

impl Rules<'_> {
    fn refuse(&mut self, keys: &[&'static str], problem: String) {
        let at = self.config.first_origin(keys);
        let error = ConfigError::Conflict { at, key: keys[0].to_owned(), problem };
        self.findings.push(Finding { keys: keys.to_vec(), error });
    }

    fn require(&mut self, holds: bool, keys: &[&'static str], problem: impl FnOnce() -> String) {
        if !holds {
            self.refuse(keys, problem());
        }
    }

    fn addresses(&mut self) {
        let config = self.config;
        let bind = &config.bind_address;
        match &config.advertise_address {
            Some(advertised) => self.require(!is_unspecified(advertised), &[ADVERTISE], || {
                format!("{advertised} cannot be reached by others; name an address of this node")
            }),
            None => self.require(!is_unspecified(bind), &[ADVERTISE, BIND], || {
                format!(
                    "it is not set, and others cannot reach the bind_address {bind}; set it to the name or address under \
                     which they reach this node"
                )
            }),
        }
        let derived = |offset: u16| bind.port() == 0 || bind.port().checked_add(offset).is_some();
        self.require(config.gossip_address.is_some() || derived(1), &[GOSSIP, BIND], || {
            format!("it is not set, and there is no port above {}; set it", bind.port())
        });
        let Admin { enabled, bind_address } = &config.admin;
        self.require(!enabled || bind_address.is_some() || derived(2), &[ADMIN, BIND], || {
            format!("it is not set, and there is no port {} + 2; set it", bind.port())
        });
        if let Some(admin) = config.admin_bind() {
            let is_taken = admin.port() != 0 && admin.port() == bind.port();
            let overlaps = admin.host() == bind.host() || is_unspecified(&admin) || is_unspecified(bind);
            self.require(!(is_taken && overlaps), &[ADMIN, BIND], || {
                format!("{admin} is taken by the transport at {bind}; choose another port")
            });
        }
    }

    fn tls(&mut self) {
        let tls = &self.config.tls;
        let needed = [
            ("networking.tls.cert_path", &tls.cert_path),
            ("networking.tls.key_path", &tls.key_path),
            ("networking.tls.ca_cert_path", &tls.ca_cert_path),
        ];
        for (key, path) in needed {
            self.require(!tls.enabled || path.is_some(), &[key, TLS], || {
                String::from("it is not set, and tls.enabled = true needs it")
            });
        }
        let protocol = self.config.transport.protocol;
        self.require(tls.enabled || protocol == TransportProtocol::Tcp, &[PROTOCOL, TLS], || {
            String::from("QUIC is always inside TLS; set tls.enabled = true, or protocol = \"tcp\"")
        });
        let over_quic = self.config.gossip.transport == GossipTransport::Quic;
        self.require(!over_quic || protocol != TransportProtocol::Tcp, &[GOSSIP_TRANSPORT, PROTOCOL], || {
            String::from("connections over TCP carry no datagrams; set transport.protocol = \"quic\" or \"auto\", or gossip.transport = \"stream\"")
        });
        #[cfg(feature = "secure")]
        if let Err((key, problem)) = self.config.tls.names() {
            self.refuse(&[key], problem);
        }
        let state = &self.config.state;
        self.require(state.key_path.is_none() || state.key_variable.is_none(), &[STATE_KEY, STATE_VARIABLE], || {
            String::from("the key is named twice; keep key_path or key_variable")
        });
    }

    fn shared_secret(&mut self) {
        let config = self.config;
        let secret = &config.shared_secret;
        self.require(secret.path.is_none() || secret.variable.is_none(), &[SECRET, SECRET_VARIABLE], || {
            String::from("the secret is named twice; keep path or variable")
        });
        // The one that was set; either may have been.
        let key = if secret.path.is_some() { SECRET } else { SECRET_VARIABLE };
        self.require(!(secret.is_set() && config.tls.enabled), &[key, TLS], || {
            String::from(
                "it is set, and networking.tls.enabled = true: certificates say who a node is, and a secret that all nodes know \
                 says less; keep one of the two",
            )
        });
        let has_name = config.node_id.is_some() || config.advertised(config.bind_address.port()).port() != 0;
        self.require(!secret.is_set() || has_name, &[NODE_ID, BIND, key], || {
            String::from(
                "it is not set, and neither is the port that it would be made from; with networking.shared_secret a node proves \
                 who it is from its first connection on: set it",
            )
        });
    }

    fn times_and_sizes(&mut self) {
        let config = self.config;
        let health = &config.health_check;
        let keys = ["networking.health_check.backoff_max_ms", "networking.health_check.backoff_first_ms"];
        self.require(health.backoff_first <= health.backoff_max, &keys, || {
            format!(
                "{} is below backoff_first_ms = {}",
                health.backoff_max.as_millis(),
                health.backoff_first.as_millis()
            )
        });
        let backoff = &config.transport.peer.backoff;
        let keys = ["networking.transport.reconnect_max_ms", "networking.transport.reconnect_first_ms"];
        self.require(backoff.shortest <= backoff.longest, &keys, || {
            format!("{} is below reconnect_first_ms = {}", backoff.longest.as_millis(), backoff.shortest.as_millis())
        });
        let (frame, [_, credit, ..]) =
            (config.transport.session.frame_bytes_max, config.transport.session.lane_credit_bytes);
        let keys = ["networking.transport.lane_credit_bytes", "networking.transport.frame_bytes_max"];
        self.require(credit >= u64::from(frame), &keys, || {
            format!("{credit} is below frame_bytes_max = {frame}: no frame of that size could ever be sent")
        });
    }

    fn membership(&mut self) {
        let swim = &self.config.gossip.swim;
        let keys =
            ["networking.gossip.probe_timeout_ms", "networking.gossip.probe_interval_ms", "networking.gossip.profile"];
        let (timeout, interval) = (swim.probe_timeout, swim.probe_interval);
        if timeout >= interval {
            let (timeout, interval) = (timeout.as_millis(), interval.as_millis());
            self.refuse(&keys, format!("{timeout} is not below probe_interval_ms = {interval}"));
        } else if let Err(error) = swim.validate() {
            self.refuse(&["networking.gossip.profile"], error.to_string());
        }
    }
}

/// 0.0.0.0 and [::]: good to listen on, and nowhere to be reached.
fn is_loopback(address: &NodeAddress) -> bool {
    let is_name = address.host().eq_ignore_ascii_case("localhost");
    is_name || address.to_socket_addr().is_some_and(|address| address.ip().to_canonical().is_loopback())
}

fn is_unspecified(address: &NodeAddress) -> bool {
    address.to_socket_addr().is_some_and(|address| address.ip().is_unspecified())
}
