//! The same over QUIC: the certificates, refusals and changes of TLS over TCP.

use std::time::Instant;

use crate::{changes, node, nodes, play};

#[test]
fn over_quic_every_handshake_ends_as_over_tcp() {
    node::over_quic();
    let begun = Instant::now();
    let (count, failed) = play(nodes::secured());
    println!("MEASURED handshakes over QUIC: {count} in {:.1?}, {} failed", begun.elapsed(), failed.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert!(count >= 38, "{count} rows");
}

#[test]
fn over_quic_a_revoked_peer_is_cut_within_five_seconds_and_nobody_else() {
    node::over_quic();
    changes::a_revoked_peer_is_cut_within_five_seconds_and_nobody_else();
}

#[test]
fn over_quic_a_certificate_that_ends_while_it_is_connected_ends_the_connection() {
    node::over_quic();
    changes::a_certificate_that_ends_while_it_is_connected_ends_the_connection();
}

#[test]
fn over_quic_a_ca_rotates_under_traffic_without_a_failed_request() {
    node::over_quic();
    changes::a_ca_rotates_under_traffic_without_a_failed_request();
}
