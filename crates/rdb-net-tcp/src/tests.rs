//! Transports over loopback sockets.

mod half_open;
mod options;
mod reset;
mod whole;

use std::io::Write;
use std::sync::Arc;

use rdb_net_session::Identity;
use rdb_net_transport::{Answer, Config, HandlerOptions, Handling, PeerHandle, Request};
use rdb_net_types::{Application, BootId, ClusterId, Incarnation, MessageType, NodeId, Payload, ProtocolRange};

use crate::{TcpConfig, TcpTransport};

const ECHO: MessageType = MessageType::FIRST_APPLICATION;

fn identity(node: &str, cluster: &str) -> Identity {
    Identity {
        cluster: ClusterId::new(cluster).expect("legal"),
        node: NodeId::new(node).expect("legal"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(node.bytes().map(u64::from).sum()),
        address: "127.0.0.1:0".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: String::new(),
        token: Vec::new(),
    }
}

async fn node_of(node: &str, cluster: &str, change: impl FnOnce(&mut Config)) -> TcpTransport {
    let mut config = Config::new(identity(node, cluster));
    config.bind = Some("127.0.0.1:0".parse().expect("legal"));
    change(&mut config);
    let transport = TcpTransport::new(config, TcpConfig::default());
    transport.start().await.expect("loopback has a free port");
    transport
}

#[cfg(feature = "tls")]
pub(crate) async fn node_over(
    node: &str,
    backend: Arc<dyn rdb_net_transport::Backend>,
) -> rdb_net_transport::Transport {
    let mut config = Config::new(identity(node, "test"));
    config.bind = Some("127.0.0.1:0".parse().expect("legal"));
    let transport = rdb_net_transport::Transport::new(config, backend);
    transport.start().await.expect("loopback has a free port");
    transport
}

async fn node(name: &str) -> TcpTransport {
    node_of(name, "test", |_| {}).await
}

fn echo(transport: &TcpTransport) {
    echo_on(transport);
}

pub(crate) fn echo_on(transport: &rdb_net_transport::Transport) {
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
}

fn to(from: &TcpTransport, name: &str, transport: &TcpTransport) -> PeerHandle {
    to_peer(from, name, transport)
}

pub(crate) fn to_peer(
    from: &rdb_net_transport::Transport,
    name: &str,
    transport: &rdb_net_transport::Transport,
) -> PeerHandle {
    from.peer(&NodeId::new(name).expect("legal"), &transport.advertised_address())
}

pub(crate) fn message(payload: impl Into<Payload>) -> Application {
    Application { message_type: ECHO, payload: payload.into() }
}

/// Says that a test cannot run here, to people and to whoever runs the tests.
fn skipped(reason: &str) {
    let line = format!("SKIPPED: {reason}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("RDB_SKIPPED_FILE") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file can be written to");
    }
}
