//! The seam to whatever client library speaks HTTP: the few requests that this crate makes, and every type that it reads.
//!
//! What is read has types of its own, of which no field but the needed ones exists and none is more than optional: a newer agent
//! adds fields, and an older one leaves some out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdb_discovery::Cause;
use rdb_net_types::BoxFuture;
use serde::Deserialize;
use tokio::sync::watch;

/// One instance of a service with its checks, as the health endpoint lists it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Instance {
    pub(crate) node: AgentNode,
    pub(crate) service: Service,
    pub(crate) checks: Vec<Check>,
}

/// The machine at whose agent an instance is registered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct AgentNode {
    pub(crate) node: String,
    pub(crate) address: String,
}

/// What is registered. The catalog and the agent name the same fields, except that an agent has no indexes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Service {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    /// `null` where there is none.
    pub(crate) meta: Option<BTreeMap<String, String>>,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
}

/// The state of one check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Check {
    #[serde(rename = "CheckID")]
    pub(crate) id: String,
    pub(crate) status: String,
}

/// What the health endpoint is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Question {
    pub(crate) service: String,
    /// Answer not before something after this index, or the end of the wait; at once where there is none.
    pub(crate) after: Option<(u64, Duration)>,
    /// Only this instance.
    pub(crate) only: Option<String>,
    /// One of those that follow each other over a connection of their own, never two at once.
    pub(crate) in_line: bool,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) instances: Vec<Instance>,
    pub(crate) index: u64,
    /// `false` where the servers have no leader and the answer is of nobody knows when.
    pub(crate) known_leader: bool,
}

/// What an instance is registered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) service: String,
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) time_to_live: Duration,
    pub(crate) deregister_after: Duration,
}

/// Why a request had no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The agent has answered, and not with success.
    Status { code: u16, text: String },
    /// The agent could not be asked, or did not answer in time.
    Unreachable(String),
    /// The answer is none.
    Nonsense(String),
}

impl Fault {
    /// The agent answers, and does not know the check that was to be kept alive. Which status says it has changed between
    /// versions: 404 names an unknown check, 500 did.
    pub(crate) fn is_unknown_check(&self) -> bool {
        let named = |text: &str| text.contains("nknown check") || text.contains("does not have associated TTL");
        matches!(self, Self::Status { code: 404 | 500, text } if named(text))
    }

    /// The agent answers, and has no such thing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Status { code: 404, .. })
    }

    /// The agent answers, whatever it says: it lives.
    pub(crate) fn is_of_a_living_agent(&self) -> bool {
        matches!(self, Self::Status { code: 400..=499, .. })
    }

    pub(crate) fn cause(&self, agent: &str) -> Cause {
        match self {
            Self::Status { code: 401 | 403, .. } => Cause::refused(format!("consul at {agent}: {self}")),
            Self::Nonsense(_) => Cause::invalid(format!("consul at {agent}: {self}")),
            _ => Cause::unavailable(format!("consul at {agent}: {self}")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code: 403, text } => {
                write!(f, "it answers 403 {text}; the token has to have service:write, service:read and node:read")
            }
            Self::Status { code: 429, text } => {
                write!(f, "it answers 429 {text}; it is asked more often than it allows")
            }
            Self::Status { code, text } => write!(f, "it answers {code} {text}"),
            Self::Unreachable(problem) | Self::Nonsense(problem) => f.write_str(problem),
        }
    }
}

/// A request under way.
pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, Fault>>;

/// One agent, by whatever client library. Dropping a request ends it.
pub(crate) trait ConsulHttp: Send + Sync {
    /// Lists the instances of a service with their checks: `health/service/NAME`.
    fn instances(&self, question: Question) -> Asked<'_, Answer>;

    /// Registers an instance with a check that passes for its time: `agent/service/register`.
    fn register(&self, entry: Entry) -> Asked<'_, ()>;

    /// Keeps the check of an instance passing: `agent/check/update/service:ID`.
    fn pass(&self, id: String) -> Asked<'_, ()>;

    /// What the agent itself has of an instance, none where it has none: `agent/service/ID`.
    fn registered(&self, id: String) -> Asked<'_, Option<Service>>;

    /// Takes an instance out: `agent/service/deregister/ID`.
    fn deregister(&self, id: String) -> Asked<'_, ()>;

    /// The leader of the servers, empty where there is none: `status/leader`.
    fn leader(&self) -> Asked<'_, String>;

    /// How many connections were made for questions in line. Where they cannot be counted, none.
    fn dialled(&self) -> watch::Receiver<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, text: &str) -> Fault {
        Fault::Status { code, text: text.to_owned() }
    }

    #[test]
    fn a_check_that_is_gone_is_known_by_what_versions_say_of_it() {
        assert!(status(404, "Unknown check ID \"service:a\". Ensure that the check ID is passed").is_unknown_check());
        assert!(status(500, "CheckID \"service:a\" does not have associated TTL").is_unknown_check());
        assert!(!status(500, "No cluster leader").is_unknown_check());
        assert!(!status(404, "").is_unknown_check());
    }

    #[test]
    fn a_cause_says_whose_fault_it_is() {
        let told = |fault: Fault| (fault.cause("http://a:1").name(), fault.cause("http://a:1").to_string());
        let (name, text) = told(status(403, "Permission denied"));
        assert_eq!(name, "refused");
        assert!(text.ends_with("the token has to have service:write, service:read and node:read"), "{text}");
        assert_eq!(told(status(500, "No cluster leader")).0, "unavailable");
        assert_eq!(told(status(429, "")).0, "unavailable");
        assert_eq!(told(Fault::Nonsense("it is no JSON".to_owned())).0, "invalid");
    }

    #[test]
    fn what_an_agent_lists_is_read_whatever_else_it_says() {
        let text = r#"[{"Node":{"ID":"x","Node":"m1","Address":"10.0.0.1","TaggedAddresses":{"lan":"10.0.0.1"}},
            "Service":{"ID":"c-n1","Service":"rdb-c","Address":"","Port":7000,"Meta":null,
            "TaggedAddresses":{"lan_ipv4":{"Address":"10.0.0.1","Port":7000}},"CreateIndex":7,"ModifyIndex":9},
            "Checks":[{"Node":"m1","CheckID":"serfHealth","Status":"passing","Definition":{}}]}]"#;
        let instances: Vec<Instance> = serde_json::from_str(text).expect("read");
        assert_eq!(instances[0].node.address, "10.0.0.1");
        assert_eq!((instances[0].service.port, instances[0].service.create_index), (7000, 7));
        assert_eq!(instances[0].checks[0].status, "passing");
    }
}
