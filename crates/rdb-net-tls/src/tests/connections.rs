//! What a connection is once it stands: bound to itself, judged by itself, counted. S1, S4.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConnection, HandshakeKind, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::mint::{Ca, uri};
use super::raw::{Speaks, client};
use super::scene::{BUFFER, Node, exactly, id, node, node_with, soon};
use crate::{Accepted, Dialed, Expected, PeerSide, TlsRefusal};

type Pair = (Dialed<tokio::io::DuplexStream>, Accepted<tokio::io::DuplexStream>);

async fn pair(one: &Node, two: &Node) -> Pair {
    let (here, there) = duplex(BUFFER);
    let (connector, acceptor) = (one.tls.connector(), two.tls.acceptor());
    let dialed = connector.connect(here, &Expected::Anybody, soon());
    let (dialed, accepted) = tokio::join!(dialed, acceptor.accept(there, soon()));
    (dialed.expect("dialed"), accepted.expect("accepted"))
}

#[tokio::test(start_paused = true)]
async fn both_ends_know_each_other_and_share_one_binding() {
    let ca = Ca::root("ca");
    let (one, two) = (node(&ca, "n1"), node(&ca, "n2"));
    let (dialed, accepted) = pair(&one, &two).await;
    assert_eq!((&dialed.peer.node, dialed.peer.side), (&id("n2"), PeerSide::Dialed));
    let peer = accepted.peer.expect("a certificate");
    assert_eq!((&peer.node, peer.side), (&id("n1"), PeerSide::Connected));
    let own = one.tls.current().own().clone();
    assert_eq!((peer.fingerprint, peer.certificate()), (own.fingerprint, own.certificate()));
    assert_eq!(dialed.binding, accepted.binding);
    let (again, _) = pair(&one, &two).await;
    assert_ne!(again.binding, dialed.binding, "another connection has another");
}

/// S4: no tickets, no resumption, no early data.
#[tokio::test(start_paused = true)]
async fn no_session_outlives_its_connection() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let mut eager = client(Some(&ca.node("n2")), &Speaks::default());
    eager.enable_early_data = true;
    let connector = TlsConnector::from(Arc::from(eager));
    for round in 0..3 {
        let (here, there) = duplex(BUFFER);
        let acceptor = one.tls.acceptor();
        let dialed = connector.connect("localhost".try_into().expect("a name"), here);
        let (dialed, accepted) = tokio::join!(dialed, acceptor.accept(there, soon()));
        let (mut dialed, mut accepted) = (dialed.expect("dialed"), accepted.expect("accepted").stream);
        accepted.write_all(b"x").await.expect("written");
        accepted.flush().await.expect("flushed");
        assert_eq!(dialed.read_u8().await.expect("read"), b'x');
        let state = dialed.get_ref().1;
        assert_eq!(
            (state.handshake_kind(), state.tls13_tickets_received()),
            (Some(HandshakeKind::Full), 0),
            "round {round}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_process_has_no_default_provider_through_this() {
    let ca = Ca::root("ca");
    pair(&node(&ca, "n1"), &node(&ca, "n2")).await;
    assert!(CryptoProvider::get_default().is_none());
}

#[tokio::test(start_paused = true)]
async fn handshakes_are_counted_by_outcome() {
    let ca = Ca::root("ca");
    let (one, two) = (node(&ca, "n1"), node(&ca, "n2"));
    pair(&one, &two).await;
    for _ in 0..2 {
        let (here, there) = duplex(BUFFER);
        let (connector, acceptor, expected) = (one.tls.connector(), two.tls.acceptor(), exactly("n3"));
        let (dialed, accepted) =
            tokio::join!(connector.connect(here, &expected, soon()), acceptor.accept(there, soon()));
        assert_eq!(dialed.expect_err("another"), TlsRefusal::OtherNode { expected: id("n3"), found: id("n2") });
        accepted.expect_err("refused by the dialer");
    }
    let (dialed, connected) = (one.tls.statistics().dialed, two.tls.statistics().connected);
    assert_eq!((dialed.completed, dialed.refused), (1, BTreeMap::from([("other_node", 2)])));
    assert_eq!((connected.completed, connected.refused), (1, BTreeMap::from([("by_peer", 2)])));
}

/// One handshake with configurations that were handed out, as QUIC would use them.
async fn by_configuration(one: &Node, expected: Expected, two: &Node) -> (bool, bool) {
    let (here, there) = duplex(BUFFER);
    let connector = TlsConnector::from(one.tls.current().client_config(expected));
    let acceptor = TlsAcceptor::from(two.tls.current().server_config());
    let dialed = connector.connect("anything".try_into().expect("a name"), here);
    let (dialed, accepted) = tokio::join!(dialed, acceptor.accept(there));
    (dialed.is_ok(), accepted.is_ok())
}

#[tokio::test(start_paused = true)]
async fn configurations_that_are_handed_out_refuse_the_same() {
    let ca = Ca::root("ca");
    let (one, two) = (node(&ca, "n1"), node(&ca, "n2"));
    assert_eq!(by_configuration(&one, exactly("n2"), &two).await, (true, true));
    assert_eq!(by_configuration(&one, exactly("n3"), &two).await, (false, false));
    let stranger = node(&Ca::root("other"), "n2");
    assert_eq!(by_configuration(&one, Expected::Anybody, &stranger).await, (false, false));
    let guest = ca.leaf("c1", |params| params.subject_alt_names = vec![uri("spiffe://prod/client/c1")]);
    let guest = node_with(&ca.pem(), &guest, &[], |_, _| {});
    assert!(!by_configuration(&guest, exactly("n2"), &two).await.1, "a client is no node");
    let chain = guest.tls.current().own().chain.clone();
    let refusal = two.tls.current().judge(&chain, PeerSide::Connected).expect_err("a client");
    assert_eq!(refusal.name(), "role_not_permitted");
}

#[test]
fn connections_may_go_to_other_threads() {
    fn is_send<T: Send + Unpin>() {}
    is_send::<crate::TlsStream<tokio::io::DuplexStream>>();
    is_send::<ClientConnection>();
    is_send::<ServerConnection>();
}
