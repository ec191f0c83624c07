//! What a name server's answer means: pure.
//!
//! The answers that DNS has for "nothing" mean different things. That a name does not exist, or has no such records, is an answer:
//! there are no nodes, and the guards of the driver decide when that is believed. A server that fails, refuses or says nothing has
//! not answered at all: what was known stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use rdb_discovery::Cause;
use rdb_net_types::{NodeAddress, NodeInfo};

/// The label by which a node says by which host name DNS knows it.
pub(crate) const HOST_LABEL: &str = "dns_host";

/// Why a question has no records for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// The name does not exist.
    NoName {
        /// For how long, where the server says.
        ttl: Option<Duration>,
    },
    /// The name has no records of this kind.
    NoRecords {
        /// For how long, where the server says.
        ttl: Option<Duration>,
    },
    /// The server refuses to answer for this name.
    Refused,
    /// The server has failed.
    Failed(ResponseCode),
    /// Nobody answered in time.
    Silence,
    /// What came was no answer.
    Senseless(String),
}

impl Nothing {
    pub(crate) fn of(error: &NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(found)) => {
                let ttl = found.negative_ttl.map(|seconds| Duration::from_secs(seconds.into()));
                match found.response_code {
                    ResponseCode::NXDomain => Self::NoName { ttl },
                    ResponseCode::NoError => Self::NoRecords { ttl },
                    ResponseCode::Refused => Self::Refused,
                    other => Self::Failed(other),
                }
            }
            NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => Self::Refused,
            NetError::Dns(DnsError::ResponseCode(code)) => Self::Failed(*code),
            NetError::Timeout | NetError::NoConnections | NetError::Io(_) | NetError::Busy => Self::Silence,
            other => Self::Senseless(other.to_string()),
        }
    }

    /// Whether the server has said that there is nothing.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::NoName { .. } | Self::NoRecords { .. })
    }

    /// How long that holds, where the server says.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        match self {
            Self::NoName { ttl } | Self::NoRecords { ttl } => *ttl,
            _ => None,
        }
    }

    /// As the reason why a list is not to be trusted, for a name of which these servers were asked.
    pub(crate) fn cause(&self, name: &str, servers: &str) -> Cause {
        match self {
            Self::NoName { .. } => Cause::missing(format!("DNS: the name {name} does not exist")),
            Self::NoRecords { .. } => Cause::missing(format!("DNS: the name {name} has no such records")),
            Self::Refused => Cause::refused(format!("DNS: the name server refuses to answer for {name}: {servers}")),
            Self::Failed(code) => {
                Cause::unavailable(format!("DNS: the name server fails for {name}: {code}: {servers}"))
            }
            Self::Silence => Cause::unavailable(format!("DNS: no name server answers for {name}: {servers}")),
            Self::Senseless(problem) => {
                Cause::invalid(format!("DNS: the answer for {name} makes no sense: {problem}: {servers}"))
            }
        }
    }
}

/// What became of the questions for one name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The nodes, or why there are none.
    pub(crate) nodes: Result<Vec<NodeInfo>, Nothing>,
    /// Hosts that are named and whose address could not be had, with the reason; their nodes are not among those above.
    pub(crate) troubled: Vec<(String, Nothing)>,
    /// How long the records hold.
    pub(crate) ttl: Option<Duration>,
}

impl Answer {
    pub(crate) fn nothing(reason: Nothing) -> Self {
        Self { ttl: reason.ttl(), nodes: Err(reason), troubled: Vec::new() }
    }
}

/// What is known of each name, whatever became of the last question.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Who is asked, as an operator is told.
    servers: String,
    names: BTreeMap<String, Vec<NodeInfo>>,
    /// Hosts that were named and had no address.
    pub(crate) troubled: u64,
}

/// What a round of questions has shown.
#[derive(Debug, PartialEq)]
pub(crate) struct Round {
    /// All nodes, where at least one name server has answered.
    pub(crate) nodes: Option<Vec<NodeInfo>>,
    /// The first thing that was wrong.
    pub(crate) failure: Option<Cause>,
}

impl Table {
    /// Nothing is known yet. Of these servers it is asked; of those of the system where there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let named: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
        let servers = match named.as_slice() {
            [] => String::from("those of the system were asked"),
            named => format!("{} was asked", named.join(", ")),
        };
        Self { servers, ..Self::default() }
    }

    /// Takes the answers of a round, one for each name.
    pub(crate) fn take(&mut self, answers: Vec<(String, Answer)>) -> Round {
        let (mut answered, mut failure) = (false, None);
        for (name, answer) in answers {
            match answer.nodes {
                Ok(mut nodes) => {
                    answered = true;
                    for (host, reason) in answer.troubled {
                        self.troubled += 1;
                        if !reason.is_answer() {
                            nodes.extend(self.known(&name, &host));
                            failure = failure.or(Some(reason.cause(&host, &self.servers)));
                        }
                    }
                    self.names.insert(name, nodes);
                }
                Err(reason) if reason.is_answer() => {
                    answered = true;
                    self.names.insert(name, Vec::new());
                }
                Err(reason) => failure = failure.or(Some(reason.cause(&name, &self.servers))),
            }
        }
        let all = || {
            let mut nodes: Vec<NodeInfo> = self.names.values().flatten().cloned().collect();
            // Two names may lead to one node.
            nodes.sort_by(|a, b| a.address.cmp(&b.address));
            nodes.dedup_by(|a, b| a.address == b.address);
            nodes
        };
        Round { nodes: answered.then(all), failure }
    }

    /// The nodes by which this name knew this host.
    fn known(&self, name: &str, host: &str) -> Vec<NodeInfo> {
        let of_host = |node: &&NodeInfo| node.labels.get(HOST_LABEL).is_some_and(|label| label == host);
        self.names.get(name).into_iter().flatten().filter(of_host).cloned().collect()
    }
}

/// A node at this address, known to DNS by this host name.
pub(crate) fn node(ip: IpAddr, port: u16, host: Option<&str>) -> Option<NodeInfo> {
    if port == 0 {
        return None;
    }
    let address = NodeAddress::new(&ip.to_string(), port).ok()?;
    let labels = host.map(|host| (HOST_LABEL.to_owned(), host.to_owned())).into_iter().collect();
    Some(NodeInfo { labels, ..NodeInfo::seed(address) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(numbers: &[u8]) -> Vec<NodeInfo> {
        let one = |number: &u8| node([127, 0, 0, *number].into(), 7_000, Some(&format!("h{number}."))).expect("legal");
        numbers.iter().map(one).collect()
    }

    fn good(numbers: &[u8]) -> Answer {
        Answer { nodes: Ok(nodes(numbers)), troubled: Vec::new(), ttl: None }
    }

    fn take(table: &mut Table, answers: &[(&str, Answer)]) -> (Option<Vec<String>>, Option<String>) {
        let round = table.take(answers.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone())).collect());
        let hosts = |nodes: Vec<NodeInfo>| nodes.iter().map(|node| node.address.host().to_owned()).collect();
        (round.nodes.map(hosts), round.failure.map(|cause| cause.to_string()))
    }

    fn hosts(numbers: &[u8]) -> Option<Vec<String>> {
        Some(numbers.iter().map(|number| format!("127.0.0.{number}")).collect())
    }

    #[test]
    fn a_name_that_fails_keeps_its_nodes_beside_those_that_answer() {
        let mut table = Table::default();
        assert_eq!(take(&mut table, &[("a.", good(&[1, 2])), ("b.", good(&[2, 3]))]), (hosts(&[1, 2, 3]), None));
        let failed = Answer::nothing(Nothing::Failed(ResponseCode::ServFail));
        let (list, failure) = take(&mut table, &[("a.", failed.clone()), ("b.", good(&[4]))]);
        assert_eq!(list, hosts(&[1, 2, 4]));
        assert!(failure.expect("told").contains("the name server fails for a."));
        assert_eq!(take(&mut table, &[("a.", failed.clone()), ("b.", failed)]).0, None, "nobody has answered");
    }

    #[test]
    fn nothing_is_an_answer_and_silence_is_none() {
        let mut table = Table::default();
        take(&mut table, &[("a.", good(&[1]))]);
        let silence = Answer::nothing(Nothing::Silence);
        assert_eq!(take(&mut table, &[("a.", silence)]).0, None);
        let none = Answer::nothing(Nothing::NoRecords { ttl: None });
        assert_eq!(take(&mut table, &[("a.", none)]), (hosts(&[]), None));
        take(&mut table, &[("a.", good(&[1]))]);
        let gone = Answer::nothing(Nothing::NoName { ttl: None });
        assert_eq!(take(&mut table, &[("a.", gone)]), (hosts(&[]), None));
    }

    #[test]
    fn a_host_without_an_address_costs_itself_and_one_whose_server_fails_nothing() {
        let mut table = Table::new(&["127.0.0.1:53".parse().expect("legal")]);
        take(&mut table, &[("a.", good(&[1, 2, 3]))]);
        let troubled = vec![
            ("h2.".to_owned(), Nothing::NoName { ttl: None }),
            ("h3.".to_owned(), Nothing::Silence),
            ("h4.".to_owned(), Nothing::Silence),
        ];
        let partly = Answer { nodes: Ok(nodes(&[1])), troubled, ttl: None };
        let (list, failure) = take(&mut table, &[("a.", partly)]);
        assert_eq!(list, hosts(&[1, 3]), "h4 was never known");
        assert!(failure.expect("told").contains("no name server answers for h3.: 127.0.0.1:53 was asked"));
        assert_eq!(table.troubled, 3);
    }
}
