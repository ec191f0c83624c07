//! Peers that reset their connections before they are taken.

use std::net::SocketAddr;
use std::time::Duration;

use rdb_net_transport::{Backend, Connection};
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;

use crate::{TcpBackend, TcpConfig};

/// A connection that the kernel has made, and that its peer has reset.
fn reset(address: SocketAddr) {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.connect(&address.into()).expect("the kernel takes it");
    socket.set_linger(Some(Duration::ZERO)).expect("an option of every socket");
}

#[tokio::test]
async fn a_connection_that_was_reset_before_it_was_taken_is_no_error_of_the_listener() {
    let backend = TcpBackend::new(TcpConfig::default());
    let address = "127.0.0.1:0".parse().expect("legal");
    let mut listener = backend.listen(&address).await.expect("loopback has a free port");
    reset(listener.local_address());
    let good = std::net::TcpStream::connect(listener.local_address()).expect("the kernel takes it");
    let arrival = listener.accept().await.expect("taken as any other");
    assert!(arrival.remote().ip().is_loopback());
    let mut gone: Box<dyn Connection> = arrival.establish().await.expect("no handshake");
    gone.read_u8().await.expect_err("its first read tells");
    let arrival = listener.accept().await.expect("the next one");
    assert_eq!(arrival.remote(), good.local_addr().expect("connected"));
}
