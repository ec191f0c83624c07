//! Each kind of error, with the very text that is shown.

use expect_test::{Expect, expect};

use super::{from_text, refused};
use crate::config::{ConfigError, Loader};

#[track_caller]
fn check(texts: &[&str], expected: Expect) {
    let told: Vec<_> = texts.iter().map(|text| refused(from_text(text)).to_string() + "\n").collect();
    expected.assert_eq(&told.concat());
}

#[test]
fn an_unknown_table_is_told_the_nearest() {
    check(
        &[
            "[networking.healthcheck]\ninterval_ms = 5\n",
            "[networkin]\nmax_connections = 5\n",
            "[storage]\npath = '/var'\n",
            "[tls]\nenabled = true\n",
        ],
        expect![[r#"
            node.toml:1:13: there is no key networking.healthcheck; did you mean networking.health_check?
            node.toml:1:2: there is no key networkin; did you mean networking?
            node.toml:1:2: there is no key storage; everything stands below [networking]
            node.toml:1:2: there is no key tls; did you mean networking.tls?
        "#]],
    );
}

#[test]
fn an_unknown_key_is_told_the_nearest() {
    check(
        &[
            "[networking]\nmax_conections = 5\n",
            "[networking]\ncert_path = '/etc/cert.pem'\n",
            "max_connections = 5\n",
            "[networking.tls]\ncolour = 'red'\n",
            "networking.tls = { enabeld = true }\n",
            "'networking.max_connections' = 5\n",
        ],
        expect![[r#"
            node.toml:2:1: there is no key networking.max_conections; did you mean networking.max_connections?
            node.toml:2:1: there is no key networking.cert_path; did you mean networking.tls.cert_path?
            node.toml:1:1: there is no key max_connections; did you mean networking.max_connections?
            node.toml:2:1: there is no key networking.tls.colour; [networking.tls] has ca_cert_path, cert_path, cipher_suites, crl_paths, enabled, identity, key_exchange_groups, key_path, min_protocol_version, reload_interval_ms, verify_client
            node.toml:1:20: there is no key networking.tls.enabeld; did you mean networking.tls.enabled?
            node.toml:1:1: there is no key "networking.max_connections"; did you mean networking.max_connections without quotes?
        "#]],
    );
}

#[test]
fn a_name_that_is_not_known_is_told_the_nearest() {
    check(
        &[
            "[networking.load_balancing]\nstrategy = \"leastconn\"\n",
            "[networking.gossip]\nprofile = \"moon\"\n",
            "[networking.service_discovery]\ntype = \"statik\"\n",
        ],
        expect![[r#"
            node.toml:2:12: networking.load_balancing.strategy: "leastconn" is not known; did you mean "least_connections"? known are round_robin, least_connections
            node.toml:2:11: networking.gossip.profile: "moon" is not known; known are lan, wan, local
            node.toml:2:8: networking.service_discovery.type: "statik" is not known; did you mean "static"? known are static, dns, etcd, consul, none
        "#]],
    );
}

#[test]
fn what_is_not_built_says_what_there_is() {
    for strategy in ["consistent_hashing", "weighted", "locality"] {
        let errors = refused(from_text(&format!("[networking.load_balancing]\nstrategy = '{strategy}'\n")));
        assert!(matches!(errors.iter().next(), Some(ConfigError::NotBuilt { .. })), "{errors}");
    }
    check(
        &["[networking.load_balancing]\nstrategy = 'locality'\n"],
        expect![[r#"
        node.toml:2:12: networking.load_balancing.strategy: the balancing strategy "locality" is not built yet; this build has round_robin, least_connections
    "#]],
    );
}

#[test]
fn a_wrong_type_shows_how_it_could_look() {
    check(
        &[
            "[networking]\nmax_connections = \"1000\"\n",
            "[networking]\nmax_connections = 1.5\n",
            "[networking]\nenable_compression = 1\n",
            "[networking]\nnode_id = 7\n",
            "[networking]\nnode_id = 2026-11-22\n",
            "[networking]\ntls = true\n",
            "networking = 5\n",
            "[networking.service_discovery]\nseeds = \"a:1\"\n",
            "[networking.service_discovery]\nseeds = [\"a:1\", 7]\n",
            "[networking.load_balancing]\nweights = { node1 = \"much\" }\n",
            "[[networking.tls]]\nenabled = true\n",
        ],
        expect![[r#"
            node.toml:2:19: networking.max_connections: expected a whole number, found the text "1000"; for example max_connections = 2000
            node.toml:2:19: networking.max_connections: expected a whole number, found the number 1.5; for example max_connections = 2000
            node.toml:2:22: networking.enable_compression: expected true or false, found the whole number 1; for example enable_compression = true
            node.toml:2:11: networking.node_id: expected an id, found the whole number 7; for example node_id = "node1"
            node.toml:2:11: networking.node_id: expected an id, found a date; for example node_id = "node1"
            node.toml:2:7: networking.tls: expected a table, found true; for example [networking.tls]
            node.toml:1:14: networking: expected a table, found the whole number 5; for example [networking]
            node.toml:2:9: networking.service_discovery.seeds: expected a list of addresses host:port, found the text "a:1"; for example seeds = ["node1:7000", "node2:7000"]
            node.toml:2:17: networking.service_discovery.seeds[1]: expected an address host:port, found the whole number 7; for example seeds = ["node1:7000", "node2:7000"]
            node.toml:2:21: networking.load_balancing.weights.node1: expected a number, found the text "much"; for example weights = { node1 = 1.0, node2 = 2.0 }
            node.toml:1:1: networking.tls: expected a table, found a list; for example [networking.tls]
        "#]],
    );
}

#[test]
fn a_value_out_of_range_is_told_the_range() {
    check(
        &[
            "[networking]\nmax_connections = 0\n",
            "[networking]\nconnection_timeout_ms = -1\n",
            "[networking]\nmax_connections = 99999999999999999999\n",
            "[networking.transport]\nframe_bytes_max = 0x7fff_ffff_ffff_ffff\n",
            "[networking.load_balancing]\nweights = { node1 = 1, node2 = -0.5, node3 = nan }\n",
            &format!("[networking.node]\nzone = '{}'\n", "z".repeat(65)),
        ],
        expect![[r#"
            node.toml:2:19: networking.max_connections: 0 is out of range; it may be 1 to 1000000
            node.toml:2:25: networking.connection_timeout_ms: -1 is out of range; it may be 1 to 3600000 ms
            node.toml:2:19: networking.max_connections: 99999999999999999999 is out of range; it may be 1 to 1000000
            node.toml:2:19: networking.transport.frame_bytes_max: 9223372036854775807 is out of range; it may be 4096 to 16777216 bytes
            node.toml:2:32: networking.load_balancing.weights.node2: -0.5 is out of range; it may be 0 to 65536
            node.toml:2:46: networking.load_balancing.weights.node3: NaN is out of range; it may be 0 to 65536
            node.toml:2:8: networking.node.zone: "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz…" is out of range; it may be at most 64 bytes
        "#]],
    );
    let many: Vec<_> = (0..33).map(|index| format!("'c{index}'")).collect();
    check(
        &[&format!("[networking.node]\ncapabilities = [{}]\n", many.join(","))],
        expect![[r#"
        node.toml:2:16: networking.node.capabilities: the number of entries, 33, is out of range; it may be at most 32 entries
    "#]],
    );
}

#[test]
fn a_bad_address_or_id_says_why() {
    check(
        &[
            "[networking]\nbind_address = \"127.0.0.1:70000\"\n",
            "[networking]\nbind_address = \"127.0.0.1\"\n",
            "[networking]\nadvertise_address = \"two words:7000\"\n",
            "[networking]\ncluster_id = \"käse\"\n",
            "[networking.load_balancing]\nweights = { \"a b\" = 1 }\n",
            "[networking.service_discovery]\nseeds = [\"a:1\", \"b\", \"c:0\", \"a:1\"]\n",
            "[networking.tls]\ncert_path = \"\"\n",
        ],
        expect![[r#"
            node.toml:2:16: networking.bind_address: the port of "127.0.0.1:70000" is not a number from 0 to 65535
            node.toml:2:16: networking.bind_address: an address is host:port, and "127.0.0.1" has no port
            node.toml:2:21: networking.advertise_address: the host of "two words:7000" is neither a host name nor an IP address ([..] around IPv6)
            node.toml:2:14: networking.cluster_id: an id is made of letters, digits, '.', '_' and '-', not 'ä'
            node.toml:2:13: networking.load_balancing.weights.a b: an id is made of letters, digits, '.', '_' and '-', not ' '
            node.toml:2:17: networking.service_discovery.seeds[1]: an address is host:port, and "b" has no port
            node.toml:2:22: networking.service_discovery.seeds[2]: c:0 has port 0, which cannot be dialled
            node.toml:2:29: networking.service_discovery.seeds[3]: a:1 stands twice
            node.toml:2:13: networking.tls.cert_path: a path may not be empty
        "#]],
    );
}

#[test]
fn a_key_that_stands_twice_is_told_where() {
    check(
        &[
            "[networking]\nmax_connections = 5\n\nmax_connections = 6\n",
            "[networking.tls]\nenabled = true\n[networking.tls]\n",
            "[networking.load_balancing]\nweights = { a = 1, a = 2 }\n",
            "networking.tls.enabled = true\nnetworking.tls.enabled = false\n",
        ],
        expect![[r#"
            node.toml:4:1: networking.max_connections stands twice, first on line 2; keep one of them
            node.toml:3:13: networking.tls stands twice; keep one of them
            node.toml:2:20: networking.load_balancing.weights.a stands twice, first on line 2; keep one of them
            node.toml:2:16: networking.tls.enabled stands twice, first on line 1; keep one of them
        "#]],
    );
}

#[test]
fn a_syntax_error_is_told_once_a_line() {
    check(
        &[
            "[networking]\nmax_connections = = 5\nnode_id = \"open\ncluster_id = \"c\"\n",
            "[networking\n",
            "[networking]\nnode_id = node1\n",
            "[networking.tls]\ncert_path = /etc/cert.pem\n",
        ],
        expect![[r#"
            node.toml:2:19: extra `=`
            node.toml:3:16: invalid basic string, expected `"`
            node.toml:1:12: unclosed table, expected `]`
            node.toml:2:11: a text stands in quotes
            node.toml:2:13: a text stands in quotes
        "#]],
    );
}

#[test]
fn columns_count_characters() {
    check(
        &["[networking]\nlabel = \"ä\"\n", "networking = { cluster_id = \"käse\", colour = 1 }\n"],
        expect![[r#"
            node.toml:2:1: there is no key networking.label; [networking] has admin, advertise_address, allow_plaintext, bind_address, cluster_id, compression_codecs, compression_threshold_bytes, connection_timeout_ms, connections_per_peer, enable_compression, failure_detector, gossip, gossip_address, health_check, load_balancing, max_connections, node, node_id, request_timeout_ms, service_discovery, shared_secret, shutdown_timeout_ms, split_brain, state, tls, transport
            node.toml:1:29: networking.cluster_id: an id is made of letters, digits, '.', '_' and '-', not 'ä'
            node.toml:1:37: there is no key networking.colour; [networking] has admin, advertise_address, allow_plaintext, bind_address, cluster_id, compression_codecs, compression_threshold_bytes, connection_timeout_ms, connections_per_peer, enable_compression, failure_detector, gossip, gossip_address, health_check, load_balancing, max_connections, node, node_id, request_timeout_ms, service_discovery, shared_secret, shutdown_timeout_ms, split_brain, state, tls, transport
        "#]],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    expect!["/nowhere/node.toml: the file cannot be read: No such file or directory (os error 2)"]
        .assert_eq(&refused(Loader::new().file("/nowhere/node.toml")).to_string());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.toml");
    let told = |content: &[u8]| {
        std::fs::write(&path, content).expect("written");
        refused(Loader::new().file(&path)).to_string().replace(folder.path().to_str().expect("UTF-8"), "FOLDER")
    };
    expect!["FOLDER/node.toml: line 2 is not UTF-8"].assert_eq(&told(b"[networking]\nnode_id = \"\xff\"\n"));
    expect!["FOLDER/node.toml: the file has more than 1048576 bytes"].assert_eq(&told(&vec![b'\n'; 1024 * 1024 + 1]));
}

#[test]
fn values_that_do_not_go_together_are_told_where_they_stand() {
    check(
        &[
            "[networking]\nbind_address = \"0.0.0.0:7000\"\n",
            "[networking]\nbind_address = \"[::]:7000\"\n",
            "[networking]\nadvertise_address = \"0.0.0.0:7000\"\n",
            "[networking]\nbind_address = \"127.0.0.1:65535\"\n",
            "[networking.admin]\nbind_address = \"0.0.0.0:7000\"\n",
            "[networking.tls]\nenabled = true\n",
            "[networking.health_check]\nbackoff_first_ms = 20000\n",
            "[networking.gossip]\nprobe_timeout_ms = 1000\n",
            "[networking.transport]\nlane_credit_bytes = 4096\n",
            "[networking.transport]\nreconnect_max_ms = 10\n",
            "[networking.service_discovery]\ntype = \"none\"\nseeds = [\"a:1\"]\n",
        ],
        expect![[r#"
            node.toml:2:16: networking.advertise_address: it is not set, and others cannot reach the bind_address 0.0.0.0:7000; set it to the name or address under which they reach this node
            node.toml:2:16: networking.advertise_address: it is not set, and others cannot reach the bind_address [::]:7000; set it to the name or address under which they reach this node
            node.toml:2:21: networking.advertise_address: 0.0.0.0:7000 cannot be reached by others; name an address of this node
            node.toml:2:16: networking.gossip_address: it is not set, and there is no port above 65535; set it
            node.toml:2:16: networking.admin.bind_address: it is not set, and there is no port 65535 + 2; set it
            node.toml:2:16: networking.admin.bind_address: 0.0.0.0:7000 is taken by the transport at 127.0.0.1:7000; choose another port
            node.toml:2:11: networking.tls.cert_path: it is not set, and tls.enabled = true needs it
            node.toml:2:11: networking.tls.key_path: it is not set, and tls.enabled = true needs it
            node.toml:2:11: networking.tls.ca_cert_path: it is not set, and tls.enabled = true needs it
            node.toml:2:20: networking.health_check.backoff_max_ms: 10000 is below backoff_first_ms = 20000
            node.toml:2:20: networking.gossip.probe_timeout_ms: 1000 is not below probe_interval_ms = 1000
            node.toml:2:21: networking.transport.lane_credit_bytes: 4096 is below frame_bytes_max = 262144: no frame of that size could ever be sent
            node.toml:2:20: networking.transport.reconnect_max_ms: 10 is below reconnect_first_ms = 50
            node.toml:2:8: networking.service_discovery.type: it is "none", and there are seeds or a file; set it to "static" or take those out
        "#]],
    );
}

#[test]
fn everything_is_told_at_once_in_the_order_of_the_layers() {
    let loader = from_text(
        r#"
[networking]
bind_address = "0.0.0.0:7000"
advertise_adress = "node1:7000"
max_connections = 0

[networking.load_balancing]
strategy = "leastconn"

[networking.health_check]
backoff_max_ms = 1
"#,
    );
    let loader = loader.environment([("RUSTYDB_NETWORKING__MAX_CONECTIONS", "5")]);
    let errors = refused(loader.overrides(["networking.tls.enabled=maybe", "nonsense"]));
    expect![[r#"
        node.toml:4:1: there is no key networking.advertise_adress; did you mean networking.advertise_address?
        node.toml:5:19: networking.max_connections: 0 is out of range; it may be 1 to 1000000
        node.toml:8:12: networking.load_balancing.strategy: "leastconn" is not known; did you mean "least_connections"? known are round_robin, least_connections
        node.toml:11:18: networking.health_check.backoff_max_ms: 1 is below backoff_first_ms = 200
        RUSTYDB_NETWORKING__MAX_CONECTIONS: there is no key networking.max_conections; did you mean RUSTYDB_NETWORKING__MAX_CONNECTIONS?
        override "networking.tls.enabled=maybe": networking.tls.enabled: expected true or false, found the text "maybe"; for example enabled = true
        override "nonsense": an override is key=value, such as networking.max_connections=50"#]].assert_eq(&errors.to_string());
    let keys: Vec<_> = errors.iter().map(|error| error.key().unwrap_or("none")).collect();
    assert_eq!(keys.len(), 7, "a missing advertise_address follows from its misspelt name and is not told: {keys:?}");
}

#[test]
fn a_value_that_a_later_layer_replaces_must_be_right_too() {
    let loader = from_text("[networking]\nmax_connections = 0\n").overrides(["networking.max_connections=5"]);
    expect!["node.toml:2:19: networking.max_connections: 0 is out of range; it may be 1 to 1000000"]
        .assert_eq(&refused(loader).to_string());
}
