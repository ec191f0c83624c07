//! The sources that a configuration names, one by one and as one.

use std::sync::Arc;

use rdb_discovery::{DiscoverySource, LastGoodStore};
use rdb_discovery_driver::{CompositeDiscovery, DriverConfig};

use crate::config::{Config, DiscoveryKind};
use crate::error::StartError;

#[cfg(feature = "etcd")]
const ETCD: &str = "networking.service_discovery.etcd";
#[cfg(feature = "consul")]
const CONSUL: &str = "networking.service_discovery.consul";

/// The sources of a node.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// Each of them, the one that counts most first.
    each: Vec<Arc<dyn DiscoverySource>>,
    /// All of them as one; where there is one alone, that one.
    whole: Option<Arc<dyn DiscoverySource>>,
}

impl Sources {
    pub(crate) fn new(each: Vec<Arc<dyn DiscoverySource>>) -> Self {
        let whole: Option<Arc<dyn DiscoverySource>> = match each.as_slice() {
            [] => None,
            [one] => Some(Arc::clone(one)),
            several => Some(Arc::new(CompositeDiscovery::new(several.to_vec(), DriverConfig::default()))),
        };
        Self { each, whole }
    }

    /// With this source before all others.
    pub(crate) fn with_first(self, source: Arc<dyn DiscoverySource>) -> Self {
        Self::new(std::iter::once(source).chain(self.each).collect())
    }

    pub(crate) fn each(&self) -> &[Arc<dyn DiscoverySource>] {
        &self.each
    }

    pub(crate) fn whole(&self) -> Option<&Arc<dyn DiscoverySource>> {
        self.whole.as_ref()
    }
}

/// The sources that the configuration names, the one that counts most first. None is started, and nothing of them is kept on
/// disk: for whoever wants to look what they say.
///
/// # Errors
///
/// [`StartError::Config`] with the key at fault.
pub fn configured_sources(config: &Config) -> Result<Vec<Arc<dyn DiscoverySource>>, StartError> {
    config.check_runnable()?;
    make(config, |_| Ok(None))
}

/// The same, each with a place for its last good list.
pub(crate) fn make(
    config: &Config,
    keep: impl Fn(DiscoveryKind) -> Result<Option<Arc<dyn LastGoodStore>>, StartError>,
) -> Result<Vec<Arc<dyn DiscoverySource>>, StartError> {
    let driver = |kind| -> Result<DriverConfig, StartError> {
        let last_good_age_max = config.service_discovery.last_good_age_max;
        Ok(DriverConfig { last_good: keep(kind)?, last_good_age_max, ..DriverConfig::default() })
    };
    let made = config.service_discovery.kinds.iter().map(|kind| one(config, *kind, &driver));
    Ok(made.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The source of one kind; `None` where it finds nobody.
fn one(
    config: &Config,
    kind: DiscoveryKind,
    driver: &dyn Fn(DiscoveryKind) -> Result<DriverConfig, StartError>,
) -> Result<Option<Arc<dyn DiscoverySource>>, StartError> {
    match kind {
        #[cfg(feature = "discovery-static")]
        DiscoveryKind::Static => {
            let Some(settings) = config.static_discovery() else { return Ok(None) };
            let made = rdb_discovery_static::StaticDiscovery::new(settings);
            Ok(Some(Arc::new(made.map_err(|error| StartError::Discovery(error.to_string()))?)))
        }
        #[cfg(feature = "dns")]
        DiscoveryKind::Dns => {
            let made = rdb_discovery_dns::DnsDiscovery::new(config.dns_discovery(driver(kind)?));
            Ok(Some(Arc::new(made.map_err(|error| config.refused("networking.service_discovery.dns", error))?)))
        }
        #[cfg(feature = "etcd")]
        DiscoveryKind::Etcd => {
            let made = rdb_discovery_etcd::EtcdDiscovery::new(config.etcd_discovery(driver(kind)?)?);
            Ok(Some(Arc::new(made.map_err(|error| match error {
                rdb_discovery_etcd::ConfigError::File(error) => config.refused_file(ETCD, &error),
                error => config.refused(ETCD, error),
            })?)))
        }
        #[cfg(feature = "consul")]
        DiscoveryKind::Consul => {
            let made = rdb_discovery_consul::ConsulDiscovery::new(config.consul_discovery(driver(kind)?)?);
            Ok(Some(Arc::new(made.map_err(|error| match error {
                rdb_discovery_consul::ConfigError::File(error) => config.refused_file(CONSUL, &error),
                error => config.refused(CONSUL, error),
            })?)))
        }
        // What is not built was refused by `check_runnable`, but for a static kind that nobody asked for.
        _ => {
            let _ = (config, driver);
            Ok(None)
        }
    }
}
