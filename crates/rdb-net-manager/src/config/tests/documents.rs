//! The specification's example, the generated file and the generated reference.

use std::time::Duration;

use expect_test::{expect, expect_file};
use rdb_balance::Strategy;

use super::{SPEC_EXAMPLE, loaded};
use crate::config::{Config, DiscoveryKind, reference_markdown};

#[test]
fn the_example_of_the_specification_loads_verbatim() {
    let config = loaded(SPEC_EXAMPLE);
    assert_eq!(config.bind_address.to_string(), "0.0.0.0:7000");
    assert_eq!(config.advertised(7000).to_string(), "node1.example.com:7000");
    assert_eq!(config.max_connections, 1000);
    assert_eq!(config.connection_timeout, Duration::from_secs(5));
    assert!(config.compression.enabled);
    assert_eq!(config.compression.threshold_bytes, 1024);
    assert!(config.tls.enabled && config.tls.verify_client);
    assert_eq!(config.tls.cert_path.as_deref(), Some("/etc/rustydb/cert.pem".as_ref()));
    assert_eq!(config.tls.key_path.as_deref(), Some("/etc/rustydb/key.pem".as_ref()));
    assert_eq!(config.tls.ca_cert_path.as_deref(), Some("/etc/rustydb/ca.pem".as_ref()));
    assert_eq!(config.health().interval, Duration::from_secs(1));
    assert_eq!(config.health().timeout, Duration::from_millis(500));
    assert_eq!(config.health().failure_threshold, 3);
    assert_eq!(config.balancer().strategy, Strategy::LeastConnections);
    let weights: Vec<_> =
        config.load_balancing.weights.iter().map(|(node, weight)| (node.as_str(), weight.value())).collect();
    assert_eq!(weights, [("node1", 1.0), ("node2", 2.0)]);
    assert_eq!(config.service_discovery.kinds, [DiscoveryKind::Static]);
    let seeds: Vec<_> = config.service_discovery.seeds.iter().map(ToString::to_string).collect();
    assert_eq!(seeds, ["node1:7000", "node2:7000"]);
}

#[test]
fn the_generated_file_gives_the_defaults_with_and_without_its_comments() {
    let text = Config::default().to_toml();
    assert_eq!(loaded(&text), Config::default());
    let bare: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    assert_eq!(loaded(&bare), Config::default());
}

#[test]
fn every_line_of_the_generated_file_is_short() {
    let long: Vec<_> = Config::default().to_toml().lines().filter(|line| line.len() > 120).map(str::to_owned).collect();
    assert_eq!(long, [""; 0]);
}

#[test]
fn a_written_configuration_reads_back_equal() {
    let config = loaded(
        r#"
        [networking]
        node_id = "n.7"
        [networking.node]
        labels = { "a key" = 'quoted "text" and \', tab = "a\tb\u0007" }
        capabilities = ["write", "read", "geo"]
        [networking.load_balancing]
        weights = { "n.1" = 0, n2 = 2.5e3 }
        [networking.service_discovery]
        seeds = ["[::1]:7000"]
        file = "C:\\nodes.toml"
        type = ["etcd", "dns", "static"]
        [networking.service_discovery.dns]
        names = ["_rdb._tcp.example.com", "rdb.example.com."]
        records = "srv_then_addresses"
        port = 7000
        servers = ["10.0.0.2", "[::1]:5353"]
        "#,
    );
    assert_eq!(loaded(&config.to_toml()), config);
    let config = loaded(SPEC_EXAMPLE);
    assert_eq!(loaded(&config.to_toml()), config);
}

#[test]
fn the_generated_file_begins_like_this() {
    let text = Config::default().to_toml();
    let beginning: String = text.lines().take(22).map(|line| format!("{line}\n")).collect();
    expect![[r##"
        # Names, addresses and limits of the node.
        [networking]

        # Name of the cluster: 1 to 64 letters, digits, '.', '_' and '-'. Nodes of different clusters refuse
        # each other.
        # Takes id; a change needs a restart.
        cluster_id = "rustydb"

        # Name of this node: 1 to 64 letters, digits, '.', '_' and '-'. No other node of the cluster may
        # have it.
        # Takes id; a change needs a restart. Not set: the advertised `host-port`.
        # node_id = "node1"

        # Where the transport listens. Port 0 lets the system pick one.
        # Takes address host:port; a change needs a restart.
        bind_address = "127.0.0.1:7000"

        # Where other nodes reach the transport. Port 0 stands for the port on which it listens.
        # Takes address host:port; a change needs a restart. Not set: `bind_address`, whose host others must
        # then be able to reach: not 0.0.0.0 or [::].
        # advertise_address = "node1.example.com:7000"

    "##]]
    .assert_eq(&beginning);
}

#[test]
fn the_reference_in_the_documentation_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    // UPDATE_EXPECT=1 writes it.
    expect_file![path].assert_eq(&reference_markdown());
}
