//! What the kernel was told of each socket, and what it tells of each path.

use std::time::Duration;

use rdb_net_transport::{CallOptions, Connection};
use rdb_net_types::{NodeAddress, NodeId};
use socket2::SockRef;

use super::{echo, message, node, skipped, to};
use crate::{KeepAlive, TcpBackend, TcpConfig};

/// A connection's two ends.
async fn ends(config: TcpConfig) -> [crate::backend::TcpConnection; 2] {
    let backend = TcpBackend::new(config);
    let bind: NodeAddress = "127.0.0.1:0".parse().expect("legal");
    let acceptor = backend.bind(&bind).await.expect("loopback has a free port");
    let port = rdb_net_transport::Listener::local_address(&acceptor).port();
    let address = bind.with_port(port);
    let (dialled, accepted) = tokio::join!(backend.connect(&address), acceptor.take());
    [dialled.expect("it listens"), accepted.expect("it was dialled")]
}

#[tokio::test]
async fn both_ends_of_a_connection_have_the_options() {
    let config = TcpConfig {
        user_timeout: Duration::from_millis(7654),
        unsent_bytes_max: Some(33_333),
        keep_alive: Some(KeepAlive { idle: Duration::from_secs(21), interval: Duration::from_secs(4), retries: 6 }),
        backlog: 16,
    };
    for end in ends(config).await {
        let socket = SockRef::from(&end.stream);
        assert!(socket.tcp_nodelay().expect("open"));
        assert_eq!(socket.tcp_user_timeout().expect("open"), Some(config.user_timeout));
        assert_eq!(socket.tcp_notsent_lowat().expect("open"), 33_333);
        assert!(socket.keepalive().expect("open"));
        assert_eq!(socket.tcp_keepalive_time().expect("open"), Duration::from_secs(21));
        assert_eq!(socket.tcp_keepalive_interval().expect("open"), Duration::from_secs(4));
        assert_eq!(socket.tcp_keepalive_retries().expect("open"), 6);
    }
}

#[tokio::test]
async fn what_is_off_is_left_to_the_kernel() {
    let config = TcpConfig { unsent_bytes_max: None, keep_alive: None, ..TcpConfig::default() };
    let plain = tokio::net::TcpSocket::new_v4().expect("there are sockets");
    let kernels = SockRef::from(&plain).tcp_notsent_lowat().expect("open");
    for end in ends(config).await {
        let socket = SockRef::from(&end.stream);
        assert_eq!((socket.tcp_notsent_lowat().expect("open"), socket.keepalive().expect("open")), (kernels, false));
    }
}

#[tokio::test]
async fn the_kernel_tells_of_the_path_at_both_ends() {
    let [dialled, accepted] = ends(TcpConfig::default()).await;
    let Some(path) = dialled.path() else {
        return skipped("the kernel has no socket diagnosis (sock_diag)");
    };
    assert!(path.smoothed_rtt > Duration::ZERO && path.smoothed_rtt < Duration::from_secs(1), "{path:?}");
    assert!(path.congestion_window_bytes > 1000 && path.unacknowledged == Some(0), "{path:?}");
    assert_eq!(accepted.path().map(|path| path.retransmits), Some(0));
}

#[tokio::test]
async fn the_path_shows_in_the_statistics_of_the_peer() {
    let (a, b) = (node("a").await, node("b").await);
    echo(&b);
    let sent = vec![7u8; 200_000];
    let reply = to(&a, "b", &b).request(&message(sent), CallOptions::default()).await;
    reply.expect("answered");
    let of = |transport: &crate::TcpTransport, node: &str| {
        transport.statistics().peers[&NodeId::new(node).expect("legal")].path
    };
    let Some(path) = of(&a, "b") else {
        return skipped("the kernel has no socket diagnosis (sock_diag)");
    };
    assert!(path.delivery_rate_bytes.is_some(), "200 kB were delivered: {path:?}");
    assert!(of(&b, "a").is_some(), "the acceptor sees it too");
    assert!(a.shutdown().await && b.shutdown().await);
}
