//! What goes together where nodes are found.

use super::{Rules, is_unspecified};
use crate::config::discovery::{ClientTls, DiscoveryKind, DnsRecords};
use crate::config::error::{ConfigError, Origin};
use crate::config::settings::Config;

const TYPE: &str = "networking.service_discovery.type";
const SEEDS: &str = "networking.service_discovery.seeds";
const FILE: &str = "networking.service_discovery.file";
const NAMES: &str = "networking.service_discovery.dns.names";
const ENDPOINTS: &str = "networking.service_discovery.etcd.endpoints";

const AGENT: &str = "networking.service_discovery.consul.agent";
const CONSUL_TLS: [&str; 4] = [
    "networking.service_discovery.consul.ca_cert_path",
    "networking.service_discovery.consul.cert_path",
    "networking.service_discovery.consul.key_path",
    "networking.service_discovery.consul.server_name",
];
const ETCD_TLS: [&str; 4] = [
    "networking.service_discovery.etcd.ca_cert_path",
    "networking.service_discovery.etcd.cert_path",
    "networking.service_discovery.etcd.key_path",
    "networking.service_discovery.etcd.server_name",
];

/// A DNS name, in bytes, and each of its labels.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl Config {
    /// The kinds that are wanted and not in this build.
    pub(super) fn discovery_not_built(&self) -> impl Iterator<Item = ConfigError> {
        let discovery = &self.service_discovery;
        // A node that was told nothing has the static kind by default, and needs it for nothing.
        let is_wanted = move |kind: &DiscoveryKind| {
            *kind != DiscoveryKind::Static || self.origins.0.contains_key(TYPE) || discovery.has_list()
        };
        let missing = discovery.kinds.iter().filter(move |kind| is_wanted(kind) && !kind.feature().1);
        missing.map(move |kind| {
            let (feature, _) = kind.feature();
            let what = match kind {
                DiscoveryKind::Static => String::from("seeds and files are"),
                kind => format!("the kind {:?} is", kind.name()),
            };
            let problem = format!("{what} not in this build; enable the cargo feature \"{feature}\"");
            ConfigError::NotBuilt { at: self.first_origin(&[TYPE, SEEDS, FILE]), key: TYPE.to_owned(), problem }
        })
    }

    /// Sources that somebody described and that are not used: the node would look for others elsewhere, or nowhere.
    pub(super) fn idle_sources(&self) -> impl Iterator<Item = ConfigError> {
        let described = [(NAMES, DiscoveryKind::Dns), (ENDPOINTS, DiscoveryKind::Etcd), (AGENT, DiscoveryKind::Consul)];
        described.into_iter().filter_map(move |(key, kind)| {
            let at: Origin = self.origins.0.get(key)?.clone();
            if self.value(key) == Self::default().value(key) {
                return None;
            }
            let name = kind.name();
            let problem = format!("it is set, and {TYPE} does not name {name:?}; add that, or take this out");
            (!self.service_discovery.uses(kind)).then(|| ConfigError::Conflict { at, key: key.to_owned(), problem })
        })
    }
}

impl Rules<'_> {
    pub(super) fn discovery(&mut self) {
        let discovery = &self.config.service_discovery;
        if discovery.has_list() && !discovery.uses(DiscoveryKind::Static) {
            let named = discovery.kinds.iter().map(|kind| format!("{:?}", kind.name())).collect::<Vec<_>>().join(", ");
            let instead = match discovery.uses(DiscoveryKind::Nowhere) {
                true => String::from("\"static\""),
                false => format!("[{named}, \"static\"]"),
            };
            let problem =
                format!("it is {named}, and there are seeds or a file; set it to {instead} or take those out");
            self.refuse(&[TYPE, SEEDS, FILE], problem);
        }
        if discovery.uses(DiscoveryKind::Dns) {
            self.dns();
        }
        if discovery.uses(DiscoveryKind::Etcd) {
            self.etcd();
        }
        if discovery.uses(DiscoveryKind::Consul) {
            self.consul();
        }
    }

    fn dns(&mut self) {
        let dns = &self.config.service_discovery.dns;
        self.require(!dns.names.is_empty(), &[NAMES, TYPE], || {
            String::from(
                "it is empty, and \"dns\" has nothing to ask for; name at least one, such as \"_rdb._tcp.example.com\"",
            )
        });
        for name in &dns.names {
            let labels = || name.strip_suffix('.').unwrap_or(name).split('.');
            let is_legal = name.len() <= NAME_BYTES_MAX + 1
                && labels().all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()))
                && !name.contains(|c: char| c.is_whitespace() || c == '/' || c == ':');
            self.require(is_legal, &[NAMES, TYPE], || {
                format!(
                    "{name:?} is no name: labels of 1 to {LABEL_BYTES_MAX} bytes with dots between them, {NAME_BYTES_MAX} in all, \
                     without a port"
                )
            });
        }
        let port = "networking.service_discovery.dns.port";
        self.require(dns.records == DnsRecords::Srv || dns.port.is_some(), &[port, TYPE], || {
            String::from("it is not set, and addresses say no port; set it to where nodes listen, or records = \"srv\"")
        });
        for server in &dns.servers {
            self.require(!server.ip().is_unspecified(), &["networking.service_discovery.dns.servers"], || {
                format!("{server} cannot be asked; name the address of a server")
            });
        }
        let keys =
            ["networking.service_discovery.dns.interval_max_ms", "networking.service_discovery.dns.interval_min_ms"];
        self.require(dns.interval_min <= dns.interval_max, &keys, || {
            let (max, min) = (dns.interval_max.as_millis(), dns.interval_min.as_millis());
            format!("{max} is below interval_min_ms = {min}")
        });
    }

    fn etcd(&mut self) {
        let etcd = &self.config.service_discovery.etcd;
        self.urls(ENDPOINTS, "http://etcd1:2379", &etcd.endpoints);
        let is_secure =
            !etcd.endpoints.is_empty() && etcd.endpoints.iter().all(|endpoint| endpoint.starts_with("https://"));
        self.client_tls(ETCD_TLS, ENDPOINTS, is_secure, &etcd.tls);
        let is_mixed = !is_secure && etcd.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        self.require(!is_mixed, &[ENDPOINTS], || String::from("some are http and some https; use one of them for all"));
        self.require(
            etcd.prefix.starts_with('/') && !etcd.prefix.ends_with('/'),
            &["networking.service_discovery.etcd.prefix"],
            || format!("{:?} has to begin with / and not to end with it", etcd.prefix),
        );
        let whole = etcd.lease_ttl.subsec_nanos() == 0;
        self.require(whole, &["networking.service_discovery.etcd.lease_ttl_ms"], || {
            format!("{} is no number of whole seconds, in which etcd counts", etcd.lease_ttl.as_millis())
        });
        const USER: &str = "networking.service_discovery.etcd.username";
        const PATH: &str = "networking.service_discovery.etcd.password_path";
        const VARIABLE: &str = "networking.service_discovery.etcd.password_variable";
        let passwords = usize::from(etcd.password_path.is_some()) + usize::from(etcd.password_variable.is_some());
        self.require(passwords <= 1, &[PATH, VARIABLE], || {
            String::from("the password is named twice; keep password_path or password_variable")
        });
        self.require(etcd.username.is_none() || passwords > 0, &[PATH, USER], || {
            String::from("it is not set, and neither is password_variable; a username needs one of them")
        });
        self.require(etcd.username.is_some() || passwords == 0, &[USER, PATH, VARIABLE], || {
            String::from("it is not set, and there is a password; name its user, or take the password out")
        });
    }

    fn consul(&mut self) {
        let consul = &self.config.service_discovery.consul;
        self.urls(AGENT, "http://127.0.0.1:8500", std::slice::from_ref(&consul.agent));
        self.client_tls(CONSUL_TLS, AGENT, consul.agent.starts_with("https://"), &consul.tls);
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_legal = consul.service.as_ref().is_none_or(|service| !service.is_empty() && service.chars().all(legal));
        self.require(is_legal, &["networking.service_discovery.consul.service"], || {
            String::from("a service's name is made of letters, digits, '.', '_' and '-'")
        });
        const PATH: &str = "networking.service_discovery.consul.token_path";
        const VARIABLE: &str = "networking.service_discovery.consul.token_variable";
        self.require(consul.token_path.is_none() || consul.token_variable.is_none(), &[PATH, VARIABLE], || {
            String::from("the token is named twice; keep token_path or token_variable")
        });
    }

    /// Addresses of servers with the scheme before them, and nothing behind them.
    fn urls(&mut self, key: &'static str, example: &str, urls: &[String]) {
        self.require(!urls.is_empty(), &[key, TYPE], || format!("it is empty; name at least one, such as {example:?}"));
        for url in urls {
            let place = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            self.require(place.is_some(), &[key], || {
                format!("{url:?} has to begin with http:// or https://, as in {example:?}")
            });
            let Some(place) = place else { continue };
            let address = place.parse::<rdb_net_types::NodeAddress>();
            let is_legal = address.as_ref().is_ok_and(|address| address.port() != 0 && !is_unspecified(address));
            // What stands before an @ may be a password.
            let shown = place.rsplit('@').next().unwrap_or_default();
            self.require(is_legal && !place.contains(['/', '@']), &[key], || {
                format!("{shown:?} is no host and port that can be dialled; nothing else stands behind ://, as in {example:?}")
            });
        }
    }

    /// The keys are those of authority, certificate, key and name.
    fn client_tls(&mut self, keys: [&'static str; 4], servers: &'static str, is_secure: bool, tls: &ClientTls) {
        let [ca, certificate, key, name] = keys;
        self.require(!is_secure || tls.ca_cert_path.is_some(), &[ca, servers], || {
            String::from("it is not set, and https needs to know who signs the servers' certificates; set it")
        });
        let is_idle = tls.ca_cert_path.is_some()
            || tls.cert_path.is_some()
            || tls.key_path.is_some()
            || tls.server_name.is_some();
        self.require(is_secure || !is_idle, &[servers, ca, certificate, key, name], || {
            String::from("they are http, and there are files or a name for TLS; make them https, or take those out")
        });
        self.require(tls.cert_path.is_some() == tls.key_path.is_some(), &[certificate, key], || {
            String::from("cert_path and key_path belong together, and one of them is missing")
        });
    }
}
