//! This process's node at etcd: one lease, one key, and transactions that touch nothing that is another process's.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Error, KeyValue, PutOptions, Txn, TxnOp};
use rdb_discovery::{Cause, NodeDocument, gives_way};
use rdb_discovery_driver::{Registrar, RegistrationFault};
use rdb_net_types::{BoxFuture, NodeInfo};

use crate::config::EtcdConfig;
use crate::link::Link;

/// Attempts at a transaction that finds that somebody has just written the key.
const ATTEMPTS: usize = 3;

/// The code of gRPC for a lease that etcd does not know (any more).
const NOT_FOUND: i32 = 5;

/// Registers one node. See [`Registrar`] for the contract.
pub(crate) struct EtcdRegistrar {
    config: Arc<EtcdConfig>,
    link: Link,
    client: Option<Client>,
    node: Option<Arc<NodeInfo>>,
    lease: Option<Lease>,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    id: i64,
    /// As etcd has granted it, which may be more than was asked for.
    time_to_live: Duration,
}

/// What stands at a key.
struct Standing {
    /// `None` for a value without sense, which nobody can claim.
    document: Option<NodeDocument>,
    mod_revision: i64,
    lease: i64,
}

impl Standing {
    /// The process that holds the name, if it is another one.
    fn other<'a>(this: Option<&'a Self>, own: &NodeInfo) -> Option<&'a NodeInfo> {
        this?.document.as_ref().map(NodeDocument::node).filter(|node| !gives_way(node, own))
    }
}

impl EtcdRegistrar {
    pub(crate) fn new(config: Arc<EtcdConfig>) -> Self {
        Self { link: Link::new(Arc::clone(&config), 0), config, client: None, node: None, lease: None }
    }

    async fn put(&mut self, node: Arc<NodeInfo>, anew: bool) -> Result<Duration, RegistrationFault> {
        self.node = Some(Arc::clone(&node));
        let mut client = self.client().await?;
        for _ in 0..ATTEMPTS {
            let standing = self.standing(&mut client, &node).await?;
            if let Some(other) = Standing::other(standing.as_ref(), &node) {
                self.lease = None;
                return Err(conflict(other));
            }
            let lease = self.lease(&mut client, anew).await?;
            let (condition, document, former) = match standing {
                None => (Compare::create_revision(self.key(&node), CompareOp::Equal, 0), None, 0),
                Some(Standing { document, mod_revision, lease }) => {
                    (Compare::mod_revision(self.key(&node), CompareOp::Equal, mod_revision), document, lease)
                }
            };
            let document = document.map_or_else(|| NodeDocument::new(&node), |found| found.rewritten(&node));
            let put = TxnOp::put(self.key(&node), document.to_json(), Some(PutOptions::new().with_lease(lease.id)));
            let written = client.txn(Txn::new().when([condition]).and_then([put])).await;
            let written = written.map_err(|error| self.fault(&error))?;
            if written.succeeded() {
                if former != 0 && former != lease.id {
                    // An earlier life's, which holds nothing any more. It ends by itself where this is lost.
                    let _ = client.lease_revoke(former).await;
                }
                return Ok(lease.time_to_live);
            }
        }
        Err(self.link.unavailable(&format!("somebody else writes {} all the time", self.key(&node))).into())
    }

    async fn keep(&mut self) -> Result<Duration, RegistrationFault> {
        let Some((node, lease)) = self.node.clone().zip(self.lease) else {
            return Err(RegistrationFault::Lapsed(Cause::missing("there is no lease")));
        };
        let mut client = self.client().await?;
        if let Err(error) = client.lease_keep_alive(lease.id).await {
            return Err(self.lapsed_or(&mut client, lease, &error).await);
        }
        // The lease lives, and the key may be gone all the same, or be another's.
        let standing = self.standing(&mut client, &node).await?;
        if let Some(other) = Standing::other(standing.as_ref(), &node) {
            self.lease = None;
            return Err(conflict(other));
        }
        match standing {
            Some(standing) if standing.lease == lease.id => Ok(lease.time_to_live),
            Some(_) => Err(RegistrationFault::Lapsed(Cause::missing("its key was written over"))),
            None => Err(RegistrationFault::Lapsed(Cause::missing("its key was deleted"))),
        }
    }

    /// The key goes and the lease stays: by that, readers tell a farewell from an end. The lease ends by itself.
    async fn take_out(&mut self) -> Result<(), RegistrationFault> {
        let Some(node) = self.node.clone() else { return Ok(()) };
        let mut client = self.client().await?;
        for _ in 0..ATTEMPTS {
            let mod_revision = match self.standing(&mut client, &node).await? {
                Some(Standing { document: Some(document), mod_revision, .. }) if document.node().boot == node.boot => {
                    mod_revision
                }
                _ => return Ok(()),
            };
            let condition = Compare::mod_revision(self.key(&node), CompareOp::Equal, mod_revision);
            let delete = TxnOp::delete(self.key(&node), None);
            let deleted = client.txn(Txn::new().when([condition]).and_then([delete])).await;
            if deleted.map_err(|error| self.fault(&error))?.succeeded() {
                return Ok(());
            }
        }
        Err(self.link.unavailable(&"somebody else writes the key all the time").into())
    }

    async fn client(&mut self) -> Result<Client, RegistrationFault> {
        match &self.client {
            Some(client) => Ok(client.clone()),
            None => {
                let client = self.link.connect().await.inspect_err(|_| self.link.next())?;
                self.client = Some(client.clone());
                Ok(client)
            }
        }
    }

    /// The lease of this registration, or a new one.
    async fn lease(&mut self, client: &mut Client, anew: bool) -> Result<Lease, RegistrationFault> {
        if let Some(lease) = self.lease.filter(|_| !anew) {
            return Ok(lease);
        }
        let seconds = i64::try_from(self.config.lease_time_to_live.as_secs()).unwrap_or(i64::MAX);
        let granted = client.lease_grant(seconds, None).await.map_err(|error| self.fault(&error))?;
        let time_to_live = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default());
        let lease = Lease { id: granted.id(), time_to_live };
        self.lease = Some(lease);
        Ok(lease)
    }

    async fn standing(&mut self, client: &mut Client, node: &NodeInfo) -> Result<Option<Standing>, RegistrationFault> {
        let answer = client.get(self.key(node), None).await.map_err(|error| self.fault(&error))?;
        Ok(answer.kvs().first().map(|kv: &KeyValue| Standing {
            document: NodeDocument::parse(kv.value()).ok(),
            mod_revision: kv.mod_revision(),
            lease: kv.lease(),
        }))
    }

    /// The client tells a lease that is gone by a text only; etcd itself says it with a number.
    async fn lapsed_or(&mut self, client: &mut Client, lease: Lease, error: &Error) -> RegistrationFault {
        if matches!(error, Error::LeaseKeepAliveError(_))
            && let Ok(left) = client.lease_time_to_live(lease.id, None).await
            && left.ttl() <= 0
        {
            self.lease = None;
            return RegistrationFault::Lapsed(Cause::missing("its lease has ended"));
        }
        self.fault(error)
    }

    fn fault(&mut self, error: &Error) -> RegistrationFault {
        if matches!(error, Error::GRpcStatus(status) if status.code() as i32 == NOT_FOUND) {
            self.lease = None;
            return RegistrationFault::Lapsed(Cause::missing("its lease has ended"));
        }
        let cause = self.link.cause(error);
        // The next attempt is a new connection, elsewhere if there is another endpoint.
        self.client = None;
        self.link.next();
        RegistrationFault::Failed(cause)
    }

    fn key(&self, node: &NodeInfo) -> String {
        format!("{}{}", self.config.nodes_prefix(), node.id)
    }
}

fn conflict(other: &NodeInfo) -> RegistrationFault {
    RegistrationFault::Conflict { other: format!("at {}, boot {}", other.address, other.boot).into() }
}

impl Registrar for EtcdRegistrar {
    fn write(&mut self, node: Arc<NodeInfo>, anew: bool) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        Box::pin(self.put(node, anew))
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<Duration, RegistrationFault>> {
        Box::pin(self.keep())
    }

    fn withdraw(&mut self) -> BoxFuture<'_, Result<(), RegistrationFault>> {
        Box::pin(self.take_out())
    }
}
