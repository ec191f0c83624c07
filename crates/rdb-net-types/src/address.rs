//! Where a node listens: a host name or IP address, and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest host name, in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// A text that is not `host:port`. The caller's input is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no `:port` at the end.
    #[error("an address is host:port, and {text:?} has no port")]
    NoPort {
        /// The refused text.
        text: String,
    },
    /// What stands behind the last colon is no number from 0 to 65535.
    #[error("the port of {text:?} is not a number from 0 to 65535")]
    Port {
        /// The refused text.
        text: String,
    },
    /// The host is empty, too long, an IPv6 address without brackets, or holds a character that no host name has.
    #[error("the host of {text:?} is neither a host name nor an IP address ([..] around IPv6)")]
    Host {
        /// The refused text.
        text: String,
    },
}

/// A host and a port. The host is a DNS name or an IP address; it is resolved at each dial, never here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    host: Arc<str>,
    port: u16,
}

impl NodeAddress {
    /// Checks the host and makes an address of it. An IPv6 host stands here without brackets.
    ///
    /// # Errors
    ///
    /// [`AddressError::Host`] when the host is neither an IP address nor a legal host name.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        let legal = host.parse::<IpAddr>().is_ok() || is_host_name(host);
        if !legal {
            return Err(AddressError::Host { text: host.to_owned() });
        }
        Ok(Self { host: Arc::from(host), port })
    }

    /// The host: a DNS name or an IP address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: Arc::clone(&self.host), port }
    }

    /// The socket address, where the host is an IP address and needs no resolver.
    pub fn to_socket_addr(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.port))
    }
}

fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    !name.is_empty()
        && name.len() <= HOST_BYTES_MAX
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

impl From<SocketAddr> for NodeAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: Arc::from(address.ip().to_string()), port: address.port() }
    }
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |error: fn(String) -> AddressError| error(text.to_owned());
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(refuse(|text| AddressError::NoPort { text }));
        };
        let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let Some(port) = is_number.then(|| port.parse::<u16>().ok()).flatten() else {
            return Err(refuse(|text| AddressError::Port { text }));
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            None if !host.contains(':') => host,
            Some(_) | None => return Err(refuse(|text| AddressError::Host { text })),
        };
        Self::new(host, port).map_err(|_| refuse(|text| AddressError::Host { text }))
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NodeAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: fn(String) -> AddressError) {
        assert_eq!(text.parse::<NodeAddress>(), Err(expected(text.to_owned())));
    }

    #[test]
    fn names_and_addresses_round_trip() {
        for text in ["node1:7000", "node1.example.com:7000", "127.0.0.1:0", "[::1]:65535", "a_b.svc.cluster.local.:7"] {
            assert_eq!(text.parse::<NodeAddress>().expect(text).to_string(), text);
        }
        let v6 = "[::1]:7000".parse::<NodeAddress>().expect("legal");
        assert_eq!((v6.host(), v6.port()), ("::1", 7000));
        assert_eq!(v6.to_socket_addr(), Some("[::1]:7000".parse().expect("legal")));
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        refused("node1", |text| AddressError::NoPort { text });
        refused("node1:", |text| AddressError::Port { text });
        refused("node1:seven", |text| AddressError::Port { text });
        refused("node1:+7", |text| AddressError::Port { text });
        refused("node1:65536", |text| AddressError::Port { text });
        refused(":7000", |text| AddressError::Host { text });
        refused("::1:7000", |text| AddressError::Host { text });
        refused("[node1]:7000", |text| AddressError::Host { text });
        refused("no de:7000", |text| AddressError::Host { text });
        refused("-a:7000", |text| AddressError::Host { text });
        refused("a..b:7000", |text| AddressError::Host { text });
    }
}
