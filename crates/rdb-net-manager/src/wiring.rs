//! The tasks and handlers of a running node.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::LastGoodStore;
use rdb_net_transport::{HandlerOptions, Request};
use rdb_net_types::{MessageType, NodeId};
use rdb_net_wire::control_type;
use tokio::net::UdpSocket;

use crate::config::{Config, DiscoveryKind};
use crate::error::StartError;
use crate::manager::NetworkManager;
use crate::node::Node;
use crate::pump::Driven;
use crate::way::Way;

impl NetworkManager {
    pub(crate) fn run(&self, node: &Arc<Node>, socket: UdpSocket) -> Result<(), StartError> {
        let way = Way {
            streams: Arc::clone(&node.streams),
            #[cfg(feature = "secure")]
            seal: match &node.keys {
                Some(keys) => {
                    let seal = crate::seal::Seal::new(keys, &self.config.cluster_id, &node.id);
                    Some(seal.map_err(|error| StartError::Tls(error.to_string()))?)
                }
                None => None,
            },
        };
        let weak = Arc::downgrade(node);
        let sync = move |from: &NodeId, request: Request| match weak.upgrade() {
            Some(node) => node.handle_sync(from, request),
            None => rdb_net_transport::Handling::Ready(Err(rdb_net_transport::HandlerError::not_started("stopped"))),
        };
        self.transport.handle(control_type::MEMBERSHIP_SYNC, Arc::new(sync), HandlerOptions::default());
        let outbox = Arc::clone(&node.outbox);
        let after = move |driven: &mut Driven, _: Duration| outbox.fill(&mut driven.0);
        node.tasks.spawn(node.gossip.clone().drive(socket, way, node.cancel.clone(), after));
        let until_cancelled = |node: &Arc<Node>| node.cancel.clone();
        let (pumped, cancel) = (Arc::clone(node), until_cancelled(node));
        node.tasks.spawn(async move { cancel.run_until_cancelled(pumped.pump()).await });
        let (watching, cancel) = (Arc::clone(node), until_cancelled(node));
        node.tasks.spawn(async move { cancel.run_until_cancelled(watching.watch_peers()).await });
        if node.streams.is_wanted() {
            let weak = Arc::downgrade(node);
            let packet = move |from: &NodeId, request: Request| {
                if let Some(node) = weak.upgrade() {
                    node.take_gossip(from, request);
                }
                rdb_net_transport::Handling::Ready(Ok(rdb_net_transport::Answer::Payload(Vec::new().into())))
            };
            self.transport.handle(MessageType::GOSSIP_PACKET, Arc::new(packet), HandlerOptions::default());
            let weak = Arc::downgrade(node);
            self.transport.receive_datagrams(Arc::new(move |from, message_type, packet| {
                if let (MessageType::GOSSIP_PACKET, Some(node)) = (message_type, weak.upgrade()) {
                    node.take_gossip_datagram(from, packet);
                }
            }));
        }
        #[cfg(feature = "secure")]
        self.run_security(node);
        #[cfg(feature = "secure")]
        if let Some(memory) = &self.memory {
            let addresses: Vec<_> = memory.addresses().collect();
            if !addresses.is_empty() {
                tracing::info!(members = addresses.len(), "remembers its members");
                node.gossip.with(|driven, now| driven.0.join(now, addresses));
            }
            let (run, cancel) = (Arc::clone(memory).run(Arc::clone(node)), until_cancelled(node));
            node.tasks.spawn(async move { cancel.run_until_cancelled(run).await });
        }
        let is_plain = !self.config.tls.enabled && !self.config.is_on_loopback();
        if is_plain {
            let cancel = until_cancelled(node);
            let has_secret = self.config.shared_secret.is_set();
            node.tasks.spawn(async move { cancel.run_until_cancelled(warn_of_plaintext(has_secret)).await });
        }
        Ok(())
    }

    #[cfg(feature = "secure")]
    fn run_security(&self, node: &Arc<Node>) {
        let (Some(keys), Some(tls)) = (&node.keys, &node.tls) else { return };
        // A client that shows no certificate may say that it is any node: it gets no keys.
        if self.config.tls.verify_client {
            let (handled, clock) = (Arc::clone(keys), self.transport.clock());
            let handler = move |_: &NodeId, request: Request| handled.handle(clock.now(), request);
            self.transport.handle(MessageType::GOSSIP_KEYS, Arc::new(handler), HandlerOptions::default());
        }
        let (run, cancel) = (Arc::clone(keys).run(Arc::clone(node)), node.cancel.clone());
        node.tasks.spawn(async move { cancel.run_until_cancelled(run).await });
        let watch = Arc::clone(node).watch_files(tls.clone(), self.config.tls.reload_interval);
        let cancel = node.cancel.clone();
        node.tasks.spawn(async move { cancel.run_until_cancelled(watch).await });
    }
}

/// Reminds whoever reads the log, every minute.
async fn warn_of_plaintext(has_secret: bool) {
    loop {
        match has_secret {
            false => tracing::warn!(
                "this node talks in plain text: everybody on the way reads and writes what nodes say (networking.allow_plaintext)"
            ),
            true => tracing::warn!(
                "this node talks in plain text: the shared secret keeps strangers out and seals UDP gossip, and everybody on the \
                 way reads and writes what nodes say over connections (networking.shared_secret, networking.allow_plaintext)"
            ),
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// Where the last good list of a source is kept for the next life; nowhere without a folder for what is remembered. A file is
/// there as it is and needs none.
#[cfg(feature = "secure")]
pub(crate) fn last_good(config: &Config, kind: DiscoveryKind) -> Result<Option<Arc<dyn LastGoodStore>>, StartError> {
    let is_wanted = kind != DiscoveryKind::Static && !config.service_discovery.last_good_age_max.is_zero();
    let Some(folder) = config.state.path.as_deref().filter(|_| is_wanted) else { return Ok(None) };
    let node = config.effective_node_id(&config.advertised(config.bind_address.port()));
    Ok(Some(Arc::new(crate::last_good::SavedList::open(&config.state, folder, kind, &config.cluster_id, &node)?)))
}

/// Nowhere: remembering is not in this build.
#[cfg(not(feature = "secure"))]
pub(crate) fn last_good(_: &Config, _: DiscoveryKind) -> Result<Option<Arc<dyn LastGoodStore>>, StartError> {
    Ok(None)
}
