//! This process's node at the agent: one instance of the service, with a check that lives as long as it is told to.
//!
//! Consul has no condition on a registration: who comes last has the id. So it is looked before each write who stands there, and
//! after each word to the check whether this process still does. Two processes that write at the very same time are found then:
//! at one agent the later one has the id, at two agents the one that the servers have known for longer.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::{Cause, NodeDocument, gives_way};
use rdb_discovery_driver::{Registrar, RegistrationFault};
use rdb_net_types::{BoxFuture, NodeInfo};

use crate::agent::{Agent, Way};
use crate::http::{Entry, Fault, Instance, Question, Service};
use crate::instances::Health;
use crate::meta;
use crate::watch::Seen;

/// Registers one node. See [`Registrar`] for the contract.
pub(crate) struct ConsulRegistrar {
    agent: Arc<Agent>,
    seen: Arc<Seen>,
    node: Option<Arc<NodeInfo>>,
}

impl ConsulRegistrar {
    pub(crate) fn new(agent: Arc<Agent>, seen: Arc<Seen>) -> Self {
        Self { agent, seen, node: None }
    }

    async fn put(&self, way: &Way, node: &NodeInfo) -> Result<Duration, Trouble> {
        let config = self.agent.config();
        let id = config.service_id(&node.id);
        let question = Question { service: config.service.clone(), only: Some(id.clone()), ..Question::default() };
        let standing = way.instances(question).await?.instances;
        // Whoever's check has failed holds nothing any more.
        let living = standing.iter().filter(|instance| Health::of(instance) == Health::Passing);
        let documents: Vec<_> = living.filter_map(|instance| document(&instance.service)).collect();
        if let Some(other) = documents.iter().map(NodeDocument::node).find(|other| !gives_way(other, node)) {
            return Err(conflict(other));
        }
        let former = documents.first().cloned().or_else(|| standing.first().and_then(|found| document(&found.service)));
        let document = former.map_or_else(|| NodeDocument::new(node), |former| former.rewritten(node));
        let meta =
            meta::write(&document).map_err(|error| RegistrationFault::Failed(Cause::invalid(error.to_string())))?;
        let entry = Entry {
            service: config.service.clone(),
            id,
            address: node.address.host().to_owned(),
            port: node.address.port(),
            meta,
            time_to_live: config.check_time_to_live,
            deregister_after: config.deregister_after,
        };
        way.register(entry).await?;
        Ok(config.check_time_to_live)
    }

    async fn keep(&self, way: &Way, node: &NodeInfo) -> Result<Duration, Trouble> {
        let config = self.agent.config();
        let id = config.service_id(&node.id);
        match way.pass(id.clone()).await {
            Err(fault) if fault.is_unknown_check() => {
                return Err(lapsed(
                    "the agent does not know its check: it was restarted without its data, or somebody took it out",
                ));
            }
            passed => passed?,
        }
        let Some(standing) = way.registered(id.clone()).await? else {
            return Err(lapsed("the agent does not know it"));
        };
        match document(&standing) {
            Some(found) if found.node().boot == node.boot => {}
            Some(found) if !gives_way(found.node(), node) => return Err(conflict(found.node())),
            _ => return Err(lapsed("it was written over")),
        }
        if let Some(other) = elder(&self.seen.instances(), &id, node) {
            way.deregister(id).await?;
            return Err(conflict(&other));
        }
        Ok(config.check_time_to_live)
    }

    async fn take_out(&self, way: &Way, node: &NodeInfo) -> Result<(), Trouble> {
        let id = self.agent.config().service_id(&node.id);
        let standing = way.registered(id.clone()).await?.as_ref().and_then(document);
        if standing.is_some_and(|found| found.node().boot == node.boot) {
            way.deregister(id).await?;
        }
        Ok(())
    }

    fn fault(&self, way: &Way, trouble: Trouble) -> RegistrationFault {
        match trouble {
            Trouble::Told(fault) => fault,
            Trouble::Asking(fault) => RegistrationFault::Failed(self.agent.failed(way, &fault)),
        }
    }
}

/// Why a command had no success, before it is clear what that means for the connection.
enum Trouble {
    Asking(Fault),
    Told(RegistrationFault),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Asking(fault)
    }
}

impl From<RegistrationFault> for Trouble {
    fn from(fault: RegistrationFault) -> Self {
        Self::Told(fault)
    }
}

fn conflict(other: &NodeInfo) -> Trouble {
    RegistrationFault::Conflict { other: format!("at {}, boot {}", other.address, other.boot).into() }.into()
}

fn lapsed(why: &str) -> Trouble {
    RegistrationFault::Lapsed(Cause::missing(why)).into()
}

/// What stands there, where it makes sense: what makes none, nobody can claim.
fn document(service: &Service) -> Option<NodeDocument> {
    meta::read(service.meta.as_ref()?)?.ok()
}

/// Another living process by this name at another agent that the servers have known for longer; none while the list does not have
/// this process yet.
fn elder(instances: &[Instance], id: &str, own: &NodeInfo) -> Option<NodeInfo> {
    let known = instances.iter().filter(|instance| instance.service.id == id);
    let known: Vec<_> = known.filter_map(|found| document(&found.service).map(|document| (found, document))).collect();
    let (ours, _) = known.iter().find(|(_, document)| document.node().boot == own.boot)?;
    let age = |instance: &Instance| (instance.service.create_index, instance.node.node.clone());
    let elder = known.iter().find(|(found, document)| {
        Health::of(found) == Health::Passing && !gives_way(document.node(), own) && age(found) < age(ours)
    })?;
    Some(elder.1.node().clone())
}

impl Registrar for ConsulRegistrar {
    fn write(&mut self, node: Arc<NodeInfo>, _anew: bool) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        Box::pin(async move {
            self.node = Some(Arc::clone(&node));
            let way = self.agent.way().await?;
            match self.put(&way, &node).await {
                Ok(time_to_live) => Ok(time_to_live),
                Err(trouble) => Err(self.fault(&way, trouble)),
            }
        })
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        Box::pin(async move {
            let Some(node) = self.node.clone() else {
                return Err(RegistrationFault::Lapsed(Cause::missing("nothing is registered")));
            };
            let way = self.agent.way().await?;
            match self.keep(&way, &node).await {
                Ok(time_to_live) => Ok(time_to_live),
                Err(trouble) => Err(self.fault(&way, trouble)),
            }
        })
    }

    fn withdraw(&mut self) -> BoxFuture<'_, Result<(), RegistrationFault>> {
        Box::pin(async move {
            let Some(node) = self.node.clone() else { return Ok(()) };
            let way = self.agent.way().await?;
            match self.take_out(&way, &node).await {
                Ok(()) => Ok(()),
                Err(trouble) => Err(self.fault(&way, trouble)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use rdb_net_types::{BootId, NodeId};

    use super::*;
    use crate::http::{AgentNode, Check};

    fn node(host: &str, boot: u64) -> NodeInfo {
        let address = format!("{host}:7000").parse().expect("legal");
        NodeInfo { boot: BootId(boot), ..NodeInfo::new(NodeId::new("n1").expect("legal"), address) }
    }

    fn at(agent: &str, node: &NodeInfo, create_index: u64, status: &str) -> Instance {
        let meta = Some(meta::write(&NodeDocument::new(node)).expect("it fits"));
        Instance {
            node: AgentNode { node: agent.to_owned(), ..AgentNode::default() },
            service: Service { id: "c-n1".to_owned(), meta, create_index, ..Service::default() },
            checks: vec![Check { id: "service:c-n1".to_owned(), status: status.to_owned() }],
        }
    }

    #[test]
    fn of_two_processes_at_two_agents_the_later_one_gives_way() {
        let (a, b) = (node("a", 1), node("b", 2));
        let list = [at("m1", &a, 5, "passing"), at("m2", &b, 9, "passing")];
        assert_eq!(elder(&list, "c-n1", &a), None);
        assert_eq!(elder(&list, "c-n1", &b), Some(a.clone()));
        let same = [at("m1", &a, 5, "passing"), at("m2", &b, 5, "passing")];
        let both = [elder(&same, "c-n1", &a), elder(&same, "c-n1", &b)];
        assert_eq!(both, [None, Some(a.clone())], "exactly one of them, whatever the servers say");
        assert_eq!(elder(&list[..1], "c-n1", &b), None, "the list does not have it yet");
        let dead = [at("m1", &a, 5, "critical"), at("m2", &b, 9, "passing")];
        assert_eq!(elder(&dead, "c-n1", &b), None);
    }
}
