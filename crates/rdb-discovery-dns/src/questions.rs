//! The questions of one round, by the resolver.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use rdb_net_types::NodeInfo;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::answer::{Answer, Nothing, node};
use crate::config::{ConfigError, DnsConfig, Family, Records};

/// Asks. Clones share the resolver and the limit of questions under way.
#[derive(Clone)]
pub(crate) struct Questions {
    resolver: TokioResolver,
    permits: Arc<Semaphore>,
    family: Family,
}

/// Addresses, and how long they hold.
struct Found {
    ips: Vec<IpAddr>,
    ttl: Duration,
}

/// A service record, as far as it matters.
struct Service {
    host: Name,
    port: u16,
}

impl Questions {
    pub(crate) fn new(config: &DnsConfig) -> Result<Self, ConfigError> {
        let system = |problem: String| ConfigError::System { problem };
        let mut builder: ResolverBuilder<TokioRuntimeProvider> = if config.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| system(error.to_string()))?
        } else {
            let servers = config.servers.iter().map(|server| {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                udp.port = server.port();
                tcp.port = server.port();
                NameServerConfig::new(server.ip(), true, vec![udp, tcp])
            });
            let servers = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        };
        set(builder.options_mut(), config.timeout);
        let resolver = builder.build().map_err(|error| system(error.to_string()))?;
        Ok(Self { resolver, permits: Arc::new(Semaphore::new(config.questions_max)), family: config.family })
    }

    /// Asks for all names at once.
    pub(crate) async fn ask(&self, names: &[(Name, Records)]) -> Vec<(String, Answer)> {
        let mut asking = JoinSet::new();
        for (name, records) in names {
            let (this, name, records) = (self.clone(), name.clone(), *records);
            asking.spawn(async move { (name.to_ascii(), this.name(name, records).await) });
        }
        asking.join_all().await
    }

    async fn name(&self, name: Name, records: Records) -> Answer {
        match records {
            Records::Srv => self.services(name).await,
            Records::Addresses { port } => self.addresses(name, port).await,
            Records::SrvThenAddresses { port } => match self.services(name.clone()).await {
                Answer { nodes: Err(reason), .. } if reason.is_answer() => self.addresses(name, port).await,
                answer => answer,
            },
        }
    }

    async fn addresses(&self, name: Name, port: u16) -> Answer {
        match self.hosts(name).await {
            Ok(found) => {
                let nodes = found.ips.iter().filter_map(|ip| node(*ip, port, None)).collect();
                Answer { nodes: Ok(nodes), troubled: Vec::new(), ttl: Some(found.ttl) }
            }
            Err(reason) => Answer::nothing(reason),
        }
    }

    async fn services(&self, name: Name) -> Answer {
        let lookup = match self.lookup(name, RecordType::SRV).await {
            Ok(lookup) => lookup,
            Err(reason) => return Answer::nothing(reason),
        };
        let mut ttl = Duration::MAX;
        let mut services = Vec::new();
        for record in lookup.answers() {
            if let RData::SRV(service) = &record.data {
                ttl = ttl.min(Duration::from_secs(record.ttl.into()));
                // The root for a host means that the service is decidedly not there (RFC 2782).
                if !service.target.is_root() {
                    services.push(Service { host: service.target.clone(), port: service.port });
                }
            }
        }
        let mut known = self.additional(&lookup);
        let mut asking = JoinSet::new();
        let hosts: std::collections::BTreeSet<&Name> = services.iter().map(|service| &service.host).collect();
        for host in hosts {
            if !known.contains_key(host) {
                let (this, host) = (self.clone(), host.clone());
                asking.spawn(async move { (host.clone(), this.hosts(host).await) });
            }
        }
        let mut troubled = Vec::new();
        for (host, answer) in asking.join_all().await {
            match answer {
                Ok(found) => {
                    known.insert(host, found);
                }
                Err(reason) => troubled.push((host.to_ascii(), reason)),
            }
        }
        let mut nodes: Vec<NodeInfo> = Vec::new();
        for service in &services {
            if let Some(found) = known.get(&service.host) {
                ttl = ttl.min(found.ttl);
                // One node a record: the lowest address, so that the order of an answer does not matter.
                let ip = found.ips.iter().min();
                nodes.extend(ip.and_then(|ip| node(*ip, service.port, Some(&service.host.to_ascii()))));
            }
        }
        Answer { nodes: Ok(nodes), troubled, ttl: Some(ttl) }
    }

    /// The addresses that came along with the services.
    fn additional(&self, lookup: &Lookup) -> BTreeMap<Name, Found> {
        let mut known: BTreeMap<Name, Found> = BTreeMap::new();
        for record in lookup.additionals() {
            let ip = match (&record.data, self.family) {
                (RData::A(a), Family::Either | Family::V4) => IpAddr::V4(a.0),
                (RData::AAAA(aaaa), Family::V6) => IpAddr::V6(aaaa.0),
                // Of IPv6 addresses alone it cannot be told whether those of IPv4 had no room.
                _ => continue,
            };
            let ttl = Duration::from_secs(record.ttl.into());
            let found = known.entry(record.name.clone()).or_insert(Found { ips: Vec::new(), ttl });
            found.ips.push(ip);
            found.ttl = found.ttl.min(ttl);
        }
        known
    }

    /// The addresses of a host, of the family that is wanted.
    async fn hosts(&self, host: Name) -> Result<Found, Nothing> {
        let v4 = match self.family {
            Family::V6 => Err(Nothing::NoRecords { ttl: None }),
            _ => self.of_kind(host.clone(), RecordType::A).await,
        };
        match (v4, self.family) {
            (Err(reason), Family::Either | Family::V6) if reason.is_answer() => {
                self.of_kind(host, RecordType::AAAA).await
            }
            (v4, _) => v4,
        }
    }

    async fn of_kind(&self, host: Name, kind: RecordType) -> Result<Found, Nothing> {
        let lookup = self.lookup(host, kind).await?;
        let mut found = Found { ips: Vec::new(), ttl: Duration::MAX };
        for record in lookup.answers() {
            // A chain of aliases holds no longer than its shortest link.
            found.ttl = found.ttl.min(Duration::from_secs(record.ttl.into()));
            match &record.data {
                RData::A(a) => found.ips.push(IpAddr::V4(a.0)),
                RData::AAAA(aaaa) => found.ips.push(IpAddr::V6(aaaa.0)),
                _ => {}
            }
        }
        if found.ips.is_empty() { Err(Nothing::NoRecords { ttl: None }) } else { Ok(found) }
    }

    async fn lookup(&self, name: Name, kind: RecordType) -> Result<Lookup, Nothing> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        self.resolver.lookup(name, kind).await.map_err(|error| Nothing::of(&error))
    }
}

/// Ours is the only schedule: nothing is cached, no file is read beside the servers, and an attempt more is made by the next round.
fn set(options: &mut ResolverOpts, timeout: Duration) {
    options.timeout = timeout;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
}
