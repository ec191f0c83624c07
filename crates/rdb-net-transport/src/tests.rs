//! Whole transports over pipes in memory.

mod ending;
mod fallback;
mod hostile;
mod large;
mod limits;
mod peers;
mod pipe;
mod pool;
mod recycling;
mod storm;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use rdb_net_session::{Identity, Reply};
use rdb_net_types::{
    Application, BootId, ClusterId, Incarnation, MessageType, NodeId, Payload, ProtocolRange, RequestError,
};

use crate::tests::pipe::Network;
use crate::{Answer, CallOptions, Config, HandlerOptions, Handling, PeerHandle, Request, Transport};

const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const NEVER: MessageType = MessageType(0x8001);

/// A deadline of waits for what must happen; nothing here takes as long.
const SOON: Duration = Duration::from_secs(20);

fn id(node: &str) -> NodeId {
    NodeId::new(node).expect("legal")
}

fn config(node: &str) -> Config {
    let identity = Identity {
        cluster: ClusterId::new("test").expect("legal"),
        node: id(node),
        incarnation: Incarnation::first_of(1),
        boot: BootId(node.bytes().map(u64::from).sum()),
        address: format!("{node}:1").parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    };
    let mut config = Config::new(identity.clone());
    config.bind = Some(identity.address);
    // No timer rescues a wake-up that was lost.
    config.session.keep_alive_busy = Duration::from_secs(600);
    config.session.keep_alive_idle = Duration::from_secs(600);
    config
}

/// A node that listens, echoes, and never answers one type.
async fn start(network: &Network, config: Config) -> Transport {
    let transport = Transport::new(config, Arc::new(network.clone()));
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    let never = |_: &NodeId, _: Request| Handling::Later(Box::pin(std::future::pending()));
    transport.handle(NEVER, Arc::new(never), HandlerOptions::default());
    transport.start().await.expect("the name is free");
    transport
}

async fn pair() -> (Transport, Transport) {
    let network = Network::default();
    (start(&network, config("a")).await, start(&network, config("b")).await)
}

fn to(from: &Transport, node: &str) -> PeerHandle {
    from.peer(&id(node), &format!("{node}:1").parse().expect("legal"))
}

fn message(message_type: MessageType, payload: impl Into<Payload>) -> Application {
    Application { message_type, payload: payload.into() }
}

async fn echo(peer: &PeerHandle) -> Result<Reply, RequestError> {
    peer.request(&message(ECHO, "x"), CallOptions::timeout(SOON)).await
}

/// Lets other tasks run until it holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looked = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, looked).await.unwrap_or_else(|_| panic!("it never came that {what}"));
}
