//! What a DNS source is configured with.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use rdb_discovery_driver::DriverConfig;

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(30);
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
const NAMES_MAX: usize = 64;

/// What a name is asked for. A port is that of all nodes of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// SRV records, which name hosts and ports.
    Srv,
    /// Addresses, as a headless service of Kubernetes has one for each pod.
    Addresses {
        /// Where the nodes listen.
        port: u16,
    },
    /// SRV records, or addresses where the name has none.
    SrvThenAddresses {
        /// Where the nodes listen that only addresses name.
        port: u16,
    },
}

/// Which addresses of a host are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Those of IPv4; where a host has none, those of IPv6. A node with both is listed once.
    #[default]
    Either,
    /// Those of IPv4.
    V4,
    /// Those of IPv6.
    V6,
}

/// A name and what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName {
    /// The name, from the root, with or without the dot at its end; no search list is applied to it.
    pub name: String,
    /// What it is asked for.
    pub records: Records,
}

/// What a DNS source is configured with. [`DnsDiscovery::new`](crate::DnsDiscovery::new) checks it.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// The names, whose nodes are listed together; 1 to 64.
    pub names: Vec<DnsName>,
    /// The name servers, by UDP and TCP. Default those of the system.
    pub servers: Vec<SocketAddr>,
    /// Which addresses of a host are used.
    pub family: Family,
    /// How long a name server may take for one answer. Default 2 s, range 50 ms to 30 s. All servers together may take a few
    /// times as long.
    pub timeout: Duration,
    /// The shortest time between two questions for one name, whatever its records say. Default 1 s, range 100 ms to 1 h.
    pub interval_min: Duration,
    /// The longest. Default 5 min, range 100 ms to 1 h.
    pub interval_max: Duration,
    /// The shortest time between two questions for a name that has no records. Default 5 s, range 100 ms to 1 h; name servers may
    /// ask for more, and many say nothing.
    pub negative_min: Duration,
    /// Questions that are under way at once. Default 32, at least 1.
    pub questions_max: usize,
    /// What is the same for every source.
    pub driver: DriverConfig,
}

impl DnsConfig {
    /// The defaults, for these names.
    pub fn new(names: Vec<DnsName>) -> Self {
        Self {
            names,
            servers: Vec::new(),
            family: Family::default(),
            timeout: Duration::from_secs(2),
            interval_min: Duration::from_secs(1),
            interval_max: Duration::from_secs(300),
            negative_min: Duration::from_secs(5),
            questions_max: 32,
            driver: DriverConfig::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<Vec<(Name, Records)>, ConfigError> {
        if !(1..=NAMES_MAX).contains(&self.names.len()) {
            return Err(ConfigError::Names { count: self.names.len() });
        }
        if let Some(server) = self.servers.iter().find(|server| server.port() == 0) {
            return Err(ConfigError::ServerPort { server: *server });
        }
        let times = [
            ("timeout", self.timeout, TIMEOUT),
            ("interval_min", self.interval_min, INTERVAL),
            ("interval_max", self.interval_max, INTERVAL),
            ("negative_min", self.negative_min, INTERVAL),
        ];
        if let Some((key, value, range)) = times.into_iter().find(|(_, value, range)| !range.contains(value)) {
            return Err(ConfigError::Time { key, value, range });
        }
        if self.interval_min > self.interval_max {
            return Err(ConfigError::Intervals);
        }
        if self.questions_max == 0 {
            return Err(ConfigError::NoQuestions);
        }
        self.names.iter().map(check_name).collect()
    }
}

fn check_name(wanted: &DnsName) -> Result<(Name, Records), ConfigError> {
    let wrong = |problem: String| ConfigError::Name { name: wanted.name.clone(), problem };
    let mut name = Name::from_utf8(&wanted.name).map_err(|error| wrong(error.to_string()))?;
    if name.is_root() || wanted.name.is_empty() {
        return Err(wrong(String::from("a name has at least one label")));
    }
    name.set_fqdn(true);
    match wanted.records {
        Records::Addresses { port: 0 } | Records::SrvThenAddresses { port: 0 } => {
            Err(wrong(String::from("its port is 0, which cannot be dialled")))
        }
        records => Ok((name, records)),
    }
}

/// A configuration that cannot work. Its author is at fault; nothing was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No name, or too many.
    #[error("names: there are {count}, and 1 to {NAMES_MAX} are taken")]
    Names {
        /// How many.
        count: usize,
    },
    /// A name that is none, or has no port.
    #[error("names: {name:?}: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Nobody can be asked at port 0.
    #[error("servers: {server} has port 0")]
    ServerPort {
        /// The server.
        server: SocketAddr,
    },
    /// A time is out of range.
    #[error("{key}: {value:?} is not between {:?} and {:?}", range.start(), range.end())]
    Time {
        /// Its key.
        key: &'static str,
        /// The refused time.
        value: Duration,
        /// What is taken.
        range: RangeInclusive<Duration>,
    },
    /// The shortest interval is longer than the longest.
    #[error("interval_min: it is longer than interval_max")]
    Intervals,
    /// No question may be asked.
    #[error("questions_max: it is 0")]
    NoQuestions,
    /// No servers are given, and the system does not say which it uses.
    #[error("servers: none are given, and those of the system cannot be read: {problem}")]
    System {
        /// What it says.
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, records: Records) -> DnsConfig {
        DnsConfig::new(vec![DnsName { name: name.to_owned(), records }])
    }

    #[track_caller]
    fn refused(config: &DnsConfig, text: &str) {
        assert_eq!(config.check().expect_err("refused").to_string(), text);
    }

    #[test]
    fn a_name_is_absolute_with_and_without_its_dot() {
        for text in ["_rdb._tcp.example.com", "_rdb._tcp.example.com."] {
            let names = config(text, Records::Srv).check().expect("legal");
            assert_eq!((names[0].0.to_ascii().as_str(), names[0].0.is_fqdn()), ("_rdb._tcp.example.com.", true));
        }
    }

    #[test]
    fn a_refusal_names_the_key() {
        refused(&DnsConfig::new(Vec::new()), "names: there are 0, and 1 to 64 are taken");
        refused(&config(".", Records::Srv), "names: \".\": a name has at least one label");
        let port = "names: \"a.test\": its port is 0, which cannot be dialled";
        refused(&config("a.test", Records::Addresses { port: 0 }), port);
        let good = config("a.test", Records::Srv);
        refused(&DnsConfig { timeout: Duration::ZERO, ..good.clone() }, "timeout: 0ns is not between 50ms and 30s");
        refused(
            &DnsConfig { interval_max: Duration::from_millis(500), ..good.clone() },
            "interval_min: it is longer than interval_max",
        );
        refused(&DnsConfig { questions_max: 0, ..good.clone() }, "questions_max: it is 0");
        let server = "127.0.0.1:0".parse().expect("legal");
        refused(&DnsConfig { servers: vec![server], ..good }, "servers: 127.0.0.1:0 has port 0");
    }
}
