//! What this build can run, and the addresses that follow from others.

use expect_test::expect;

use super::{SPEC_EXAMPLE, from_text, loaded};
use crate::config::Config;
#[cfg(not(feature = "secure"))]
use crate::config::ConfigError;

#[test]
fn the_defaults_run() {
    assert_eq!(Config::default().check_runnable(), Ok(()));
}

#[cfg(all(feature = "secure", feature = "discovery-static"))]
#[test]
fn the_example_of_the_specification_runs() {
    assert_eq!(loaded(SPEC_EXAMPLE).check_runnable(), Ok(()));
}

#[cfg(not(feature = "secure"))]
#[test]
fn tls_that_is_not_in_the_build_is_refused_at_the_start_and_not_at_the_load() {
    let errors = loaded(SPEC_EXAMPLE).check_runnable().expect_err("there is no TLS");
    let first = errors.iter().next().expect("an error");
    assert!(matches!(first, ConfigError::NotBuilt { key, .. } if key == "networking.tls.enabled"));
    expect![[r#"node.toml:10:11: networking.tls.enabled: TLS is not in this build, and the node would talk in plain text; enable the cargo feature "tls""#]].assert_eq(&first.to_string());
}

/// S3: no plain text beyond this host without a second word.
#[test]
fn plain_text_beyond_this_host_has_to_be_allowed() {
    let problem = |text: &str| loaded(text).check_runnable().err().map(|errors| errors.to_string());
    let (everywhere, allowed) =
        ("[networking]\nbind_address = '0.0.0.0:7000'\nadvertise_address = 'n1:7000'\n", "allow_plaintext = true\n");
    expect!["node.toml:2:16: networking.bind_address: the node would listen at 0.0.0.0:7000 without TLS, where everybody on the way reads and writes what nodes say; set networking.tls.enabled = true, or networking.allow_plaintext = true where the network is trusted"].assert_eq(&problem(everywhere).expect("refused"));
    assert_eq!(problem(&format!("{everywhere}{allowed}")), None);
    assert_eq!(problem("[networking]\nbind_address = '127.0.0.1:7000'\n"), None);
    assert_eq!(problem("[networking]\nbind_address = 'localhost:7000'\n"), None);
    assert!(problem("[networking]\ngossip_address = '10.0.0.1:7001'\n").is_some(), "gossip alone is enough");
}

#[cfg(feature = "secure")]
#[test]
fn what_tls_does_not_know_is_refused_by_its_key() {
    let tls = "[networking.tls]\nenabled = true\ncert_path = '/c'\nkey_path = '/k'\nca_cert_path = '/a'\n";
    let refused = |line: &str| from_text(&format!("{tls}{line}\n")).load().expect_err(line).to_string();
    assert!(
        refused("min_protocol_version = '1.2'").starts_with("node.toml:6:24: networking.tls.min_protocol_version: ")
    );
    assert!(refused("cipher_suites = ['RC4']").contains("networking.tls.cipher_suites: "));
    assert!(refused("key_exchange_groups = ['secp112r1']").contains("networking.tls.key_exchange_groups: "));
    assert!(refused("identity = 'spiffe://example/nodes'").contains("networking.tls.identity: "));
}

#[test]
fn a_shared_secret_excludes_tls_and_is_named_once() {
    let refused = |text: &str| from_text(text).load().expect_err(text).to_string();
    let tls = "[networking.tls]\nenabled = true\ncert_path = '/c'\nkey_path = '/k'\nca_cert_path = '/a'\n";
    for name in ["path", "variable"] {
        let error = refused(&format!("[networking.shared_secret]\n{name} = 's'\n{tls}"));
        let keys = format!("networking.shared_secret.{name}: it is set, and networking.tls.enabled = true: ");
        assert!(error.contains(&keys), "{error}");
    }
    expect!["node.toml:2:8: networking.shared_secret.path: the secret is named twice; keep path or variable"]
        .assert_eq(&refused("[networking.shared_secret]\npath = 's'\nvariable = 'S'\n"));
    expect!["node.toml:2:16: networking.node_id: it is not set, and neither is the port that it would be made from; with networking.shared_secret a node proves who it is from its first connection on: set it"]
        .assert_eq(&refused("[networking]\nbind_address = '127.0.0.1:0'\n[networking.shared_secret]\npath = 's'\n"));
    loaded("[networking]\nnode_id = 'n1'\nbind_address = '127.0.0.1:0'\n[networking.shared_secret]\npath = 's'\n");
}

#[cfg(feature = "tls")]
#[test]
fn a_shared_secret_is_no_encryption() {
    let problem = |text: &str| loaded(text).check_runnable().err().map(|errors| errors.to_string());
    let secret = "[networking.shared_secret]\npath = 's'\n";
    let (everywhere, allowed) =
        ("[networking]\nbind_address = '0.0.0.0:7000'\nadvertise_address = 'n1:7000'\n", "allow_plaintext = true\n");
    expect!["node.toml:2:16: networking.bind_address: the node would listen at 0.0.0.0:7000 without TLS; networking.shared_secret keeps strangers out, and what nodes say is still in plain text, which everybody on the way reads and writes; take networking.tls.enabled = true in its place, or set networking.allow_plaintext = true where the network is trusted"].assert_eq(&problem(&format!("{everywhere}{secret}")).expect("refused"));
    assert_eq!(problem(&format!("{everywhere}{allowed}{secret}")), None);
    assert_eq!(problem(secret), None, "on this host");
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_shared_secret_that_is_not_in_the_build_is_refused_at_the_start() {
    let errors = loaded("[networking.shared_secret]\npath = 's'\n").check_runnable().expect_err("there is none");
    assert!(
        errors.to_string().contains("networking.shared_secret.path: shared secrets are not in this build"),
        "{errors}"
    );
}

#[cfg(feature = "discovery-static")]
#[test]
fn the_example_of_the_specification_runs_without_tls() {
    let without =
        from_text(SPEC_EXAMPLE).overrides(["networking.tls.enabled=false", "networking.allow_plaintext=true"]);
    assert_eq!(without.load().expect("legal").check_runnable(), Ok(()));
}

#[cfg(not(feature = "discovery-static"))]
#[test]
fn a_backend_that_is_not_in_the_build_is_named_with_its_feature() {
    let without =
        from_text(SPEC_EXAMPLE).overrides(["networking.tls.enabled=false", "networking.allow_plaintext=true"]);
    let errors = without.load().expect("legal").check_runnable().expect_err("no such backend");
    let told = "node.toml:26:8: networking.service_discovery.type: seeds and files are not in this build; enable the cargo \
                feature \"discovery-static\"";
    assert_eq!(errors.to_string(), told);
}

#[test]
fn a_codec_that_is_not_in_the_build_is_named_with_its_feature() {
    let text = "[networking]\nenable_compression = true\ncompression_codecs = [\"snappy\"]\n";
    let checked = from_text(text).load().expect("legal").check_runnable();
    if rdb_net_wire::Codec::Snappy.is_built_in() {
        return assert_eq!(checked, Ok(()));
    }
    let told = "node.toml:3:22: networking.compression_codecs: \"snappy\" is not in this build; enable the cargo feature \"snappy\"";
    assert_eq!(checked.expect_err("no such codec").to_string(), told);
    let text = text.replace("true", "false");
    assert_eq!(from_text(&text).load().expect("legal").check_runnable(), Ok(()));
}

#[test]
fn what_has_no_effect_is_told() {
    let idle = |text: &str| loaded(text).without_effect().iter().map(|key| key.path).collect::<Vec<_>>();
    assert_eq!(idle("[networking]\nenable_compression = true\nmax_connections = 5\n"), [""; 0]);
}

#[test]
fn a_configuration_made_by_hand_is_checked_the_same_way() {
    let mut config = Config { bind_address: "0.0.0.0:7000".parse().expect("legal"), ..Config::default() };
    config.transport.session.requests_max = 0;
    config.gossip.swim.refusal_observers = 100;
    config.node.labels.insert("l".repeat(65), String::from("x"));
    let errors = config.check_runnable().expect_err("much is wrong");
    expect![[r#"
        default: networking.gossip.refusal_observers: 100 is out of range; it may be 1 to 8
        default: networking.node.labels.lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll: its name is longer than 64 bytes
        default: networking.transport.requests_max: 0 is out of range; it may be 1 to 1048576
        default: networking.advertise_address: it is not set, and others cannot reach the bind_address 0.0.0.0:7000; set it to the name or address under which they reach this node
        default: networking.gossip.profile: refusal_observers must be from 1 to 8
        default: networking.bind_address: the node would listen at 0.0.0.0:7000 without TLS, where everybody on the way reads and writes what nodes say; set networking.tls.enabled = true, or networking.allow_plaintext = true where the network is trusted"#]].assert_eq(&errors.to_string());
}

#[track_caller]
fn addresses(text: &str, expected: [&str; 4]) {
    let config = loaded(text);
    // The transport got port 4000 where the system had to pick one.
    let port = if config.bind_address.port() == 0 { 4000 } else { config.bind_address.port() };
    let advertised = config.advertised(port);
    let admin = config.admin_bind().map_or_else(|| String::from("none"), |admin| admin.to_string());
    let node = config.effective_node_id(&advertised);
    assert_eq!([advertised.to_string(), config.gossip_bind().to_string(), admin, node.to_string()], expected);
}

#[test]
fn addresses_that_are_not_set_follow_from_the_others() {
    addresses("", ["127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1-7000"]);
    addresses(
        "[networking]\nbind_address = '0.0.0.0:7100'\nadvertise_address = 'node1.example.com:80'\n",
        ["node1.example.com:80", "0.0.0.0:7101", "127.0.0.1:7102", "node1.example.com-80"],
    );
    addresses(
        "[networking]\nbind_address = '[::1]:0'\nnode_id = 'n1'\n",
        ["[::1]:4000", "[::1]:0", "127.0.0.1:0", "n1"],
    );
    addresses(
        "[networking]\nbind_address = '0.0.0.0:0'\nadvertise_address = 'node1:0'\ngossip_address = '0.0.0.0:9'\n\
         [networking.admin]\nenabled = false\n",
        ["node1:4000", "0.0.0.0:9", "none", "node1-4000"],
    );
    addresses(
        "[networking]\nbind_address = '127.0.0.1:65534'\n[networking.admin]\nbind_address = '127.0.0.1:0'\n",
        ["127.0.0.1:65534", "127.0.0.1:65535", "127.0.0.1:0", "127.0.0.1-65534"],
    );
}

#[test]
fn a_quorum_wants_a_number() {
    let problem = |text: &str| loaded(text).check_runnable().err().map(|errors| errors.to_string());
    let quorum = "[networking.split_brain]\nstrategy = 'static_quorum'\n";
    expect!["node.toml:2:12: networking.split_brain.members: it is not set, and strategy = \"static_quorum\" needs it: more than half of all members that there will ever be"].assert_eq(&problem(quorum).expect("refused"));
    assert_eq!(problem(&format!("{quorum}members = 3\n")), None);
    assert_eq!(problem("[networking.split_brain]\nstrategy = 'keep_majority'\n"), None);
}

#[test]
fn quic_wants_tls() {
    let problem =
        from_text("[networking.transport]\nprotocol = 'quic'\n").load().expect_err("it has no certificate").to_string();
    assert!(problem.contains("QUIC is always inside TLS; set tls.enabled = true, or protocol = \"tcp\""), "{problem}");
}
