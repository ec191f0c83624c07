//! The component of the specification's name, and the rounds of questions behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_resolver::proto::rr::Name;
use rdb_discovery::{Capabilities, Cause};
use rdb_discovery_driver::{Backend, Discovery, DiscoveryStatistics, Voice, delegate_discovery, seed};
use rdb_net_types::BoxFuture;
use tokio::time::sleep;

use crate::answer::{Answer, Table};
use crate::config::{ConfigError, DnsConfig, Records};
use crate::questions::Questions;
use crate::schedule::{Hold, Schedule};

/// What a DNS source has seen and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DnsStatistics {
    /// What every source counts.
    pub discovery: DiscoveryStatistics,
    /// Rounds of questions, in each of which every name is asked for.
    pub rounds: u64,
    /// Hosts that a service named and whose address could not be had.
    pub troubled_hosts: u64,
}

/// Discovery from DNS. See the [crate](crate) for what each answer means.
#[derive(Debug)]
pub struct DnsDiscovery {
    discovery: Discovery,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    rounds: AtomicU64,
    troubled_hosts: AtomicU64,
}

impl DnsDiscovery {
    /// A source that has not started.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the key at fault. No name server is asked.
    pub fn new(config: DnsConfig) -> Result<Self, ConfigError> {
        let names = config.check()?;
        // What follows the source makes its own, so that no connection outlives it.
        Questions::new(&config)?;
        let texts: Vec<_> = names.iter().map(|(name, _)| name.to_ascii()).collect();
        let identity = format!("dns {}", texts.join(" "));
        let (driver, counters) = (config.driver.clone(), Arc::new(Counters::default()));
        let backend = Dns { config, names, counters: Arc::clone(&counters) };
        Ok(Self { discovery: Discovery::new(Arc::new(backend), identity, driver), counters })
    }

    /// What was seen and done so far.
    pub fn statistics(&self) -> DnsStatistics {
        DnsStatistics {
            discovery: self.discovery.statistics(),
            rounds: self.counters.rounds.load(Ordering::Relaxed),
            troubled_hosts: self.counters.troubled_hosts.load(Ordering::Relaxed),
        }
    }
}

delegate_discovery!(DnsDiscovery, discovery);

struct Dns {
    config: DnsConfig,
    names: Vec<(Name, Records)>,
    counters: Arc<Counters>,
}

impl Backend for Dns {
    fn component(&self) -> &'static str {
        "DnsDiscovery"
    }

    fn source_name(&self) -> &str {
        "dns"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { registers: false, watches: false, names_nodes: false }
    }

    fn follow<'a>(&'a self, voice: &'a Voice) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut table = Table::new(&self.config.servers);
            let mut schedule = Schedule::new(&self.config, seed());
            let mut questions = None;
            loop {
                let Some(asked) = self.questions(questions.take(), voice) else {
                    sleep(schedule.next([Hold::Failure])).await;
                    continue;
                };
                let answers = asked.ask(&self.names).await;
                // Servers that fail may have changed: those of the system are read again.
                questions = answers.iter().any(|(_, answer)| hold(answer) != Hold::Failure).then_some(asked);
                let wait = schedule.next(answers.iter().map(|(_, answer)| hold(answer)));
                let round = table.take(answers);
                self.counters.rounds.fetch_add(1, Ordering::Relaxed);
                self.counters.troubled_hosts.store(table.troubled, Ordering::Relaxed);
                if let Some(nodes) = round.nodes {
                    voice.full(nodes);
                }
                if let Some(cause) = round.failure {
                    voice.failure(cause);
                }
                tokio::select! {
                    () = sleep(wait) => {}
                    // Comes at most every few seconds.
                    () = voice.refresh_wanted() => {}
                }
            }
        })
    }
}

impl Dns {
    /// The resolver of the last round, or a new one.
    fn questions(&self, kept: Option<Questions>, voice: &Voice) -> Option<Questions> {
        match kept.map_or_else(|| Questions::new(&self.config), Ok) {
            Ok(questions) => Some(questions),
            Err(error) => {
                voice.failure(Cause::invalid(format!("DNS: {error}")));
                None
            }
        }
    }
}

fn hold(answer: &Answer) -> Hold {
    match &answer.nodes {
        Ok(_) if answer.troubled.iter().any(|(_, reason)| !reason.is_answer()) => Hold::Failure,
        Ok(_) => Hold::Records(answer.ttl.unwrap_or_default()),
        Err(reason) if reason.is_answer() => Hold::None(reason.ttl()),
        Err(_) => Hold::Failure,
    }
}
