//! A configuration as the settings of discovery's backends.

#[cfg(any(feature = "dns", feature = "etcd", feature = "consul"))]
use rdb_discovery_driver::DriverConfig;

#[cfg(feature = "discovery-static")]
use super::DiscoveryKind;
#[cfg(any(feature = "dns", feature = "etcd", feature = "consul"))]
use super::error::{ConfigError, ConfigErrors, Origin};
use super::settings::Config;

impl Config {
    /// Discovery from seeds and a file; `None` where nodes are found in another way or not at all.
    #[cfg(feature = "discovery-static")]
    pub fn static_discovery(&self) -> Option<rdb_discovery_static::StaticConfig> {
        let discovery = &self.service_discovery;
        discovery.uses(DiscoveryKind::Static).then(|| rdb_discovery_static::StaticConfig {
            seeds: discovery.seeds.clone(),
            file: discovery.file.clone(),
            poll_interval: discovery.poll_interval,
            ..rdb_discovery_static::StaticConfig::default()
        })
    }

    /// Discovery from DNS, whether the kind is used or not.
    #[cfg(feature = "dns")]
    pub fn dns_discovery(&self, driver: DriverConfig) -> rdb_discovery_dns::DnsConfig {
        use super::discovery::{AddressFamily, DnsRecords};
        use rdb_discovery_dns::{DnsConfig, DnsName, Family, Records};
        let dns = &self.service_discovery.dns;
        // One that is missing was told by the rules, and 0 is refused by the backend.
        let port = dns.port.unwrap_or(0);
        let records = match dns.records {
            DnsRecords::Srv => Records::Srv,
            DnsRecords::Addresses => Records::Addresses { port },
            DnsRecords::SrvThenAddresses => Records::SrvThenAddresses { port },
        };
        let names = dns.names.iter().map(|name| DnsName { name: name.clone(), records }).collect();
        DnsConfig {
            servers: dns.servers.clone(),
            family: match dns.family {
                AddressFamily::Either => Family::Either,
                AddressFamily::V4 => Family::V4,
                AddressFamily::V6 => Family::V6,
            },
            timeout: dns.timeout,
            interval_min: dns.interval_min,
            interval_max: dns.interval_max,
            negative_min: dns.negative_min,
            driver,
            ..DnsConfig::new(names)
        }
    }

    /// Discovery from etcd, whether the kind is used or not. Reads the password.
    ///
    /// # Errors
    ///
    /// The password cannot be read.
    #[cfg(feature = "etcd")]
    pub fn etcd_discovery(&self, driver: DriverConfig) -> Result<rdb_discovery_etcd::EtcdConfig, ConfigErrors> {
        use rdb_discovery_etcd::{EtcdConfig, EtcdUser};
        let etcd = &self.service_discovery.etcd;
        let password = self.secret(
            ("networking.service_discovery.etcd.password_path", etcd.password_path.as_deref()),
            ("networking.service_discovery.etcd.password_variable", etcd.password_variable.as_deref()),
        )?;
        let user = etcd.username.clone().zip(password).map(|(name, password)| EtcdUser { name, password });
        Ok(EtcdConfig {
            prefix: etcd.prefix.clone(),
            user,
            tls: etcd.tls.files(),
            lease_time_to_live: etcd.lease_ttl,
            connect_timeout: etcd.connect_timeout,
            request_timeout: etcd.request_timeout,
            probe_interval: etcd.probe_interval,
            retry_max: etcd.retry_max,
            driver,
            ..EtcdConfig::new(self.cluster_id.clone(), etcd.endpoints.clone())
        })
    }

    /// Discovery from Consul, whether the kind is used or not. Reads the token.
    ///
    /// # Errors
    ///
    /// The token cannot be read, or is none.
    #[cfg(feature = "consul")]
    pub fn consul_discovery(&self, driver: DriverConfig) -> Result<rdb_discovery_consul::ConsulConfig, ConfigErrors> {
        use rdb_discovery_consul::{ConsulConfig, ConsulToken};
        let consul = &self.service_discovery.consul;
        let (path, variable) =
            ("networking.service_discovery.consul.token_path", "networking.service_discovery.consul.token_variable");
        let token = self.secret((path, consul.token_path.as_deref()), (variable, consul.token_variable.as_deref()))?;
        let key = if consul.token_path.is_some() { path } else { variable };
        let token =
            token.map(|token| ConsulToken::new(&token).map_err(|error| self.refused(key, error))).transpose()?;
        let default = ConsulConfig::new(self.cluster_id.clone(), consul.agent.clone());
        Ok(ConsulConfig {
            service: consul.service.clone().unwrap_or_else(|| default.service.clone()),
            token,
            tls: consul.tls.files(),
            check_time_to_live: consul.check_ttl,
            deregister_after: consul.deregister_after,
            wait: consul.wait,
            connect_timeout: consul.connect_timeout,
            request_timeout: consul.request_timeout,
            probe_interval: consul.probe_interval,
            retry_max: consul.retry_max,
            driver,
            ..default
        })
    }

    /// A password or token, from the file or the variable that the keys name.
    #[cfg(any(feature = "etcd", feature = "consul"))]
    fn secret(
        &self,
        (path_key, path): (&str, Option<&std::path::Path>),
        (variable_key, variable): (&str, Option<&str>),
    ) -> Result<Option<String>, ConfigErrors> {
        let (key, read) = match (path, variable) {
            (Some(path), _) => (path_key, super::secret::from_file(path)),
            (None, Some(variable)) => (variable_key, super::secret::from_environment(variable)),
            (None, None) => return Ok(None),
        };
        read.map(Some).map_err(|problem| self.refused(key, problem))
    }

    /// What a backend with this table says of one of its files for TLS.
    #[cfg(any(feature = "etcd", feature = "consul"))]
    pub(crate) fn refused_file(&self, table: &str, error: &rdb_discovery_driver::TlsFileError) -> ConfigErrors {
        use rdb_discovery_driver::TlsFile;
        let name = match error.file {
            TlsFile::Authority => "ca_cert_path",
            TlsFile::Certificate => "cert_path",
            TlsFile::Key => "key_path",
        };
        self.refused(&format!("{table}.{name}"), format!("{}: {}", error.path.display(), error.problem))
    }

    /// What a backend says of its table: a value that only it can judge.
    #[cfg(any(feature = "dns", feature = "etcd", feature = "consul"))]
    pub(crate) fn refused(&self, key: &str, problem: impl ToString) -> ConfigErrors {
        let below = |path: &&&'static str| path.starts_with(key);
        let at: Option<&Origin> = self.origins.0.keys().find(below).and_then(|path| self.origins.0.get(path));
        let at = at.cloned().unwrap_or_default();
        ConfigErrors::one(ConfigError::Illegal { at, key: key.to_owned(), problem: problem.to_string() })
    }
}
