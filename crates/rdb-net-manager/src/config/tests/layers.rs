//! Which layer wins, where a value came from, and what the environment may look like.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::{from_text, loaded, refused};
use crate::config::{Config, KEYS, Key, Loader, Origin, Reload};

fn in_environment(name: &str, value: &str) -> Loader {
    Loader::new().environment([(name, value)])
}

#[track_caller]
fn told(loaders: impl IntoIterator<Item = Loader>, expected: Expect) {
    let told: Vec<_> = loaders.into_iter().map(|loader| refused(loader).to_string() + "\n").collect();
    expected.assert_eq(&told.concat());
}

#[test]
fn later_layers_win() {
    let name = "RUSTYDB_NETWORKING__MAX_CONNECTIONS";
    let connections = |loader: &Loader| loader.load().expect("legal").max_connections;
    let mut loader = Loader::new();
    assert_eq!(connections(&loader), 1000);
    loader = loader.text("node.toml", "[networking]\nmax_connections = 1\n");
    assert_eq!(connections(&loader), 1);
    loader = loader.environment([(name, "2")]);
    assert_eq!(connections(&loader), 2);
    loader = loader.overrides(["networking.max_connections=3"]);
    assert_eq!(connections(&loader), 3);
    loader = loader.overrides(["networking.max_connections = 4"]);
    assert_eq!(connections(&loader), 4);
}

#[test]
fn a_value_knows_its_origin() {
    let loader = from_text("[networking]\n  max_connections = 1\n  node_id = 'n'\ncluster_id = 'c'\n")
        .environment([("RUSTYDB_NETWORKING__NODE_ID", "m")])
        .overrides(["networking.cluster_id=d"]);
    let config = loader.load().expect("legal");
    let origin = |key: &str| config.origin(key).map(ToString::to_string);
    assert_eq!(origin("networking.max_connections").as_deref(), Some("node.toml:2:21"));
    assert_eq!(origin("networking.node_id").as_deref(), Some("RUSTYDB_NETWORKING__NODE_ID"));
    assert_eq!(origin("networking.cluster_id").as_deref(), Some("override \"networking.cluster_id=d\""));
    assert_eq!(config.origin("networking.request_timeout_ms"), Some(&Origin::Default));
    assert_eq!(config.origin("networking.nonsense"), None);
    assert_eq!(config.value("networking.node_id").as_deref(), Some("\"m\""));
    assert_eq!(config.value("networking.advertise_address"), None);
}

#[test]
fn the_place_of_a_value_is_no_difference() {
    let one = loaded("[networking]\nmax_connections = 1000\n");
    assert_eq!(one, Config::default());
    assert_eq!(Config::diff(&one, &Config::default()), []);
}

#[test]
fn lists_and_tables_are_replaced_as_a_whole() {
    let loader = from_text(
        "[networking.service_discovery]\nseeds = ['a:1', 'b:1']\n[networking.load_balancing]\nweights = { a = 1, b = 2 }\n",
    );
    let config = loader
        .environment([("RUSTYDB_NETWORKING__SERVICE_DISCOVERY__SEEDS", "[\"c:1\"]")])
        .overrides(["networking.load_balancing.weights={ c = 3 }"])
        .load()
        .expect("legal");
    assert_eq!(config.value("networking.service_discovery.seeds").as_deref(), Some("[\"c:1\"]"));
    assert_eq!(config.value("networking.load_balancing.weights").as_deref(), Some("{ c = 3.0 }"));
}

#[test]
fn every_key_has_a_variable() {
    let variables = KEYS.iter().map(|key| (key.environment_name(), key.example));
    // The first takes other values in builds of other features, the others go not with a key that stands before them.
    let left_out = |name: &str| {
        let endings =
            ["SERVICE_DISCOVERY__TYPE", "STATE__KEY_VARIABLE", "SHARED_SECRET__PATH", "SHARED_SECRET__VARIABLE"];
        endings.iter().any(|ending| name.ends_with(ending))
    };
    let config = Loader::new().environment(variables.filter(|(name, _)| !left_out(name)));
    let config = config.load().unwrap_or_else(|errors| panic!("{errors}"));
    let unset: Vec<_> =
        KEYS.iter().filter(|key| config.origin(key.path) == Some(&Origin::Default)).map(|key| key.path).collect();
    let expected = [
        "networking.shared_secret.path",
        "networking.shared_secret.variable",
        "networking.service_discovery.type",
        "networking.state.key_variable",
    ];
    assert_eq!(unset, expected);
}

#[test]
fn where_a_text_is_expected_numbers_are_texts() {
    let text = |value: &str| {
        let config = in_environment("RUSTYDB_NETWORKING__NODE__VERSION", value).load().expect("legal");
        config.node.version.expect("set")
    };
    assert_eq!(text("7"), "7");
    assert_eq!(text("1.10"), "1.10");
    assert_eq!(text("1.4.2"), "1.4.2");
    assert_eq!(text("true"), "true");
    assert_eq!(text("2026-11-22"), "2026-11-22");
    assert_eq!(text("\"7\""), "7");
    assert_eq!(text(""), "");
    let node = |value: &str| in_environment("RUSTYDB_NETWORKING__NODE_ID", value).load().expect("legal").node_id;
    assert_eq!(node("007").expect("set").as_str(), "007");
}

#[test]
fn a_variable_may_have_spaces_around_its_number() {
    let config = in_environment("RUSTYDB_NETWORKING__MAX_CONNECTIONS", " 50\n").load().expect("legal");
    assert_eq!(config.max_connections, 50);
}

#[test]
fn a_wrong_variable_is_told() {
    told(
        [
            in_environment("RUSTYDB_NETWORKING__MAX_CONECTIONS", "5"),
            in_environment("RUSTYDB_NETWORKING__COLOUR", "5"),
            in_environment("RUSTYDB_NETWORKING__TLS_CERT_PATH", "/x"),
            in_environment("RUSTYDB_NETWORKING_TLS_CERT_PATH", "/x"),
            in_environment("RUSTYDB_NETWORKING__max_connections", "5"),
            in_environment("rustydb_networking__max_connections", "5"),
            in_environment("RUSTYDB_NETWORKING__LOAD_BALANCING__WEIGHTS__NODE1", "5"),
            in_environment("RUSTYDB_NETWORKING__MAX_CONNECTIONS", ""),
            in_environment("RUSTYDB_NETWORKING__MAX_CONNECTIONS", "many"),
            in_environment("RUSTYDB_NETWORKING__SERVICE_DISCOVERY__SEEDS", "a:1,b:1"),
            in_environment("RUSTYDB_NETWORKING__SERVICE_DISCOVERY__SEEDS", "[\"a:1\", \"b\"]"),
        ],
        expect![[r#"
            RUSTYDB_NETWORKING__MAX_CONECTIONS: there is no key networking.max_conections; did you mean RUSTYDB_NETWORKING__MAX_CONNECTIONS?
            RUSTYDB_NETWORKING__COLOUR: there is no key networking.colour; two underscores stand between the parts of a key, as in RUSTYDB_NETWORKING__TLS__CERT_PATH
            RUSTYDB_NETWORKING__TLS_CERT_PATH: there is no key networking.tls_cert_path; did you mean RUSTYDB_NETWORKING__TLS__CERT_PATH?
            RUSTYDB_NETWORKING_TLS_CERT_PATH: there is no key networking_tls_cert_path; did you mean RUSTYDB_NETWORKING__TLS__CERT_PATH?
            RUSTYDB_NETWORKING__max_connections: there is no key networking.max_connections; did you mean RUSTYDB_NETWORKING__MAX_CONNECTIONS?
            rustydb_networking__max_connections: there is no key rustydb_networking.max_connections; did you mean RUSTYDB_NETWORKING__MAX_CONNECTIONS?
            RUSTYDB_NETWORKING__LOAD_BALANCING__WEIGHTS__NODE1: there is no key networking.load_balancing.weights.node1; did you mean RUSTYDB_NETWORKING__LOAD_BALANCING__WEIGHTS?
            RUSTYDB_NETWORKING__MAX_CONNECTIONS: networking.max_connections: expected a whole number, found the text ""; for example max_connections = 2000
            RUSTYDB_NETWORKING__MAX_CONNECTIONS: networking.max_connections: expected a whole number, found the text "many"; for example max_connections = 2000
            RUSTYDB_NETWORKING__SERVICE_DISCOVERY__SEEDS: networking.service_discovery.seeds: expected a list of addresses host:port, found the text "a:1,b:1"; for example seeds = ["node1:7000", "node2:7000"]
            RUSTYDB_NETWORKING__SERVICE_DISCOVERY__SEEDS: networking.service_discovery.seeds[1]: an address is host:port, and "b" has no port
        "#]],
    );
}

#[test]
fn the_variables_of_others_are_passed_over() {
    let others = [
        ("RUSTYDB_STORAGE__PATH", "/var"),
        ("PATH", "/bin"),
        // What Kubernetes sets for a service of the name rustydb-networking.
        ("RUSTYDB_NETWORKING_SERVICE_HOST", "10.0.0.1"),
        ("RUSTYDB_NETWORKING_PORT_7000_TCP", "tcp://10.0.0.1:7000"),
        ("RUSTYDB_NETWORKING_PORT", "tcp://10.0.0.1:7000"),
        ("RUSTYDB_NETWORKING", ""),
    ];
    assert_eq!(Loader::new().environment(others).load().expect("nothing of ours"), Config::default());
}

#[test]
fn a_loader_keeps_no_secret_of_others_and_shows_none() {
    let variables = [
        ("PATH", "hidden-1"),
        ("RUSTYDB_STORAGE__PASSWORD", "hidden-2"),
        ("RUSTYDB_NETWORKING_PORT", "hidden-3"),
        ("RUSTYDB_NETWORKING__NODE_ID", "hidden-4"),
        ("rustydb_networking_node_id", "hidden-5"),
    ];
    let loader = Loader::new()
        .system_variables(variables.map(|(name, value)| (name.into(), value.into())))
        .text("node.toml", "[networking]\nnode_id = 'hidden-6'\n")
        .overrides(["networking.node_id=hidden-7", "hidden-8"]);
    expect![[r#"Loader { document: Some("node.toml"), shared: false, variables: ["RUSTYDB_NETWORKING__NODE_ID", "rustydb_networking_node_id"], overrides: ["networking.node_id", ""] }"#]]
        .assert_eq(&format!("{loader:?}"));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_matters_only_where_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || OsString::from_vec(vec![b'a', 0xff]);
    let loader = |name: OsString| Loader::new().system_variables([(name, broken())]);
    assert_eq!(loader("PATH".into()).load().expect("not ours"), Config::default());
    assert_eq!(loader(broken()).load().expect("not ours"), Config::default());
    told(
        [loader("RUSTYDB_NETWORKING__NODE_ID".into())],
        expect![[r#"
        RUSTYDB_NETWORKING__NODE_ID: the value is not UTF-8
    "#]],
    );
    let legal = [(OsString::from("RUSTYDB_NETWORKING__NODE_ID"), OsString::from("n1"))];
    let config = Loader::new().system_variables(legal).load().expect("legal");
    assert_eq!(config.node_id.expect("set").as_str(), "n1");
}

#[test]
fn a_wrong_override_is_told() {
    told(
        [
            Loader::new().overrides(["networking.max_connections"]),
            Loader::new().overrides(["max_connections=5"]),
            Loader::new().overrides(["networking.tls.enabeld=true"]),
            Loader::new().overrides(["networking.tsl.enabled=true"]),
            Loader::new().overrides(["networking.tls=true"]),
            Loader::new().overrides(["=5"]),
            Loader::new().overrides(["networking.load_balancing.weights.node1=5"]),
        ],
        expect![[r#"
            override "networking.max_connections": an override is key=value, such as networking.max_connections=50
            override "max_connections=5": there is no key max_connections; did you mean networking.max_connections?
            override "networking.tls.enabeld=true": there is no key networking.tls.enabeld; did you mean networking.tls.enabled?
            override "networking.tsl.enabled=true": there is no key networking.tsl.enabled; did you mean networking.tls.enabled?
            override "networking.tls=true": there is no key networking.tls; it is a table with enabled, cert_path, key_path, ca_cert_path, verify_client, min_protocol_version, cipher_suites, key_exchange_groups, crl_paths, identity, reload_interval_ms
            override "=5": an override is key=value, such as networking.max_connections=50
            override "networking.load_balancing.weights.node1=5": there is no key networking.load_balancing.weights.node1; did you mean networking.load_balancing.weights?
        "#]],
    );
}

#[test]
fn a_gossip_setting_wins_over_the_profile_in_whichever_layer_they_stand() {
    let gossip = |loader: Loader| loader.load().expect("legal").swim();
    let file = from_text("[networking.gossip]\nfanout = 7\nprofile = 'wan'\n");
    assert_eq!(gossip(file.clone()), rdb_swim::Config { gossip_fanout: 7, ..rdb_swim::Config::wan() });
    let local = file.overrides(["networking.gossip.profile=local"]);
    assert_eq!(gossip(local), rdb_swim::Config { gossip_fanout: 7, ..rdb_swim::Config::local() });
}

#[test]
fn a_relative_path_starts_where_it_was_written() {
    let text = "[networking.service_discovery]\nfile = 'nodes.toml'\n";
    let file = |loader: Loader| loader.load().expect("legal").service_discovery.file.expect("set");
    assert_eq!(file(Loader::new().text("/etc/rustydb/node.toml", text)), Path::new("/etc/rustydb/nodes.toml"));
    assert_eq!(file(from_text(text)), Path::new("nodes.toml"));
    let overridden = from_text(text).overrides(["networking.service_discovery.file=there/nodes.toml"]);
    assert_eq!(file(overridden), Path::new("there/nodes.toml"));
}

#[test]
fn a_loader_reads_its_file_at_each_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.toml");
    let loader = Loader::new().file(&path);
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    write("[networking]\nrequest_timeout_ms = 100\nmax_connections = 5\n");
    let old = loader.load().expect("legal");
    write("\u{feff}[networking]\r\nrequest_timeout_ms = 200\r\nbind_address = '127.0.0.1:0'\r\n");
    let new = loader.load().expect("legal");
    assert_eq!(new.request_timeout, Duration::from_millis(200));
    let changes: Vec<_> = Config::diff(&old, &new)
        .into_iter()
        .map(|change| (change.key, change.class, change.old.expect("set"), change.new.expect("set")))
        .collect();
    let text = str::to_owned;
    assert_eq!(
        changes,
        [
            ("networking.bind_address", Reload::Restart, text("\"127.0.0.1:7000\""), text("\"127.0.0.1:0\"")),
            ("networking.max_connections", Reload::Restart, text("5"), text("1000")),
            ("networking.request_timeout_ms", Reload::Hot, text("100"), text("200")),
        ]
    );
}

#[test]
fn a_shared_file_may_have_other_tables() {
    let text = "[storage]\npath = '/var'\n[networking]\nmax_connections = 5\n";
    assert_eq!(from_text(text).shared_file().load().expect("legal").max_connections, 5);
    told(
        [
            from_text("[storage]\n[networkng]\nmax_connections = 5\n").shared_file(),
            from_text("max_connections = 5\n[storage]\n").shared_file(),
        ],
        expect![[r#"
            node.toml:2:2: there is no key networkng; did you mean networking?
            node.toml:1:1: there is no key max_connections; did you mean networking.max_connections?
        "#]],
    );
}

#[test]
fn the_spec_keys_have_the_classes_that_operators_expect() {
    let class = |path: &str| Key::find(path).expect(path).reload;
    assert_eq!(class("networking.bind_address"), Reload::Restart);
    assert_eq!(class("networking.advertise_address"), Reload::Restart);
    assert_eq!(class("networking.service_discovery.type"), Reload::Restart);
    assert_eq!(class("networking.tls.cert_path"), Reload::Restart);
    assert_eq!(class("networking.load_balancing.weights"), Reload::Hot);
    assert_eq!(class("networking.service_discovery.seeds"), Reload::Hot);
}
