//! Tables of known views.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use rdb_net_admin::views::{HealthPartView, HealthView};
use rdb_net_types::{HealthStatus, NodeAddress, NodeState};

use super::*;

fn member(name: &str, state: NodeState, health: HealthStatus) -> MemberView {
    MemberView {
        node_id: name.parse().expect("legal"),
        provisional: false,
        state,
        health,
        in_state_seconds: Some(75.25),
        connected: state == NodeState::Alive,
        address: format!("{name}.example:7000").parse::<NodeAddress>().expect("legal"),
        gossip_address: None,
        admin_address: None,
        version: "1.0.0".to_owned(),
        incarnation: "1.0".to_owned(),
        boot: "0000000000000001".to_owned(),
        region: String::new(),
        zone: "a".to_owned(),
        rack: String::new(),
        weight: 1.0,
        capabilities: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn topology() -> TopologyView {
    let local = MemberView { in_state_seconds: None, ..member("n1", NodeState::Alive, HealthStatus::Healthy) };
    let hostile =
        MemberView { version: "\u{1b}[2J1.0".to_owned(), ..member("n2", NodeState::Alive, HealthStatus::Degraded) };
    let failed = MemberView { zone: String::new(), ..member("n3", NodeState::Failed, HealthStatus::Unhealthy) };
    TopologyView {
        node_id: "n1".parse().expect("legal"),
        cluster: "test".to_owned(),
        view_digest: "00".repeat(8),
        partition: None,
        split_brain: None,
        members: vec![local, hostile, failed],
        links: vec!["n2".parse().expect("legal")],
    }
}

fn status_view() -> StatusView {
    StatusView {
        node_id: "n1".parse().expect("legal"),
        cluster: "test".to_owned(),
        version: "1.0.0".to_owned(),
        address: "127.0.0.1:7000".parse().expect("legal"),
        gossip_address: None,
        uptime_seconds: 4_000.0,
        health: HealthView {
            status: HealthStatus::Degraded,
            joined: true,
            parts: vec![
                HealthPartView {
                    name: "membership".to_owned(),
                    status: HealthStatus::Degraded,
                    reason: "1 of 3 members failed".to_owned(),
                },
                HealthPartView { name: "transport".to_owned(), status: HealthStatus::Healthy, reason: String::new() },
            ],
        },
        members: [(NodeState::Alive, 2), (NodeState::Failed, 1)].into(),
        active_connections: 4,
        bytes_sent: 1_536,
        bytes_received: 12,
    }
}

#[track_caller]
fn check(rendered: &str, expected: &Expect) {
    expected.assert_eq(rendered);
}

#[test]
fn members_are_a_row_each_and_control_characters_are_shown() {
    check(
        &members(&topology()),
        &expect![[r#"
        NODE  ADDRESS          STATE   HEALTH     FOR     CONNECTED  VERSION  ZONE
        n1    n1.example:7000  alive   healthy    -       self       1.0.0    a
        n2    n2.example:7000  alive   degraded   1m 15s  yes        �[2J1.0  a
        n3    n3.example:7000  failed  unhealthy  1m 15s  no         1.0.0    -
    "#]],
    );
}

#[test]
fn a_status_fits_a_screen() {
    check(
        &status(&status_view()),
        &expect![[r#"
        node         n1
        cluster      test
        version      1.0.0
        address      127.0.0.1:7000
        gossip       -
        uptime       1h 6m
        joined       yes
        members      2 alive, 1 failed
        connections  4
        sent         1.5 KiB
        received     12 B
        health       degraded

        PART        STATUS    REASON
        membership  degraded  1 of 3 members failed
        transport   healthy   -
    "#]],
    );
}

#[test]
fn the_json_of_a_view_is_read_back_as_it_was() {
    let json = serde_json::to_string(&topology()).expect("serialises");
    assert_eq!(serde_json::from_str::<TopologyView>(&json).expect("reads"), topology());
    let json = serde_json::to_string(&status_view()).expect("serialises");
    assert!(json.contains(r#""members":{"alive":2,"failed":1}"#), "{json}");
    assert_eq!(serde_json::from_str::<StatusView>(&json).expect("reads"), status_view());
}

#[test]
fn durations_are_told_to_the_precision_that_matters() {
    for (seconds, expected) in [
        (0.0, "0.0s"),
        (9.96, "10.0s"),
        (59.9, "59s"),
        (60.0, "1m 0s"),
        (3_599.0, "59m 59s"),
        (7_260.0, "2h 1m"),
        (200_000.0, "2d 7h"),
    ] {
        assert_eq!(duration(seconds), expected);
    }
}

#[test]
fn bytes_have_binary_units() {
    for (count, expected) in
        [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "16.0 EiB")]
    {
        assert_eq!(bytes(count), expected);
    }
}
