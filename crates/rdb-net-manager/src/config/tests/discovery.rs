//! Where nodes are found: the kinds, their tables, and what does not go together.

use expect_test::{Expect, expect};

use super::{from_text, loaded};
use crate::config::{ConfigError, DiscoveryKind, DnsRecords};

const TABLE: &str = "[networking.service_discovery]\n";

/// What is told of a table `[networking.service_discovery]` with these lines behind its head, one case after the other.
#[track_caller]
fn check(cases: &[&str], expected: Expect) {
    let told = cases.iter().map(|case| {
        let loaded = from_text(&format!("{TABLE}{case}")).load();
        let checked = loaded.and_then(|config| config.check_runnable());
        format!("{}\n", checked.err().map_or_else(|| String::from("nothing"), |errors| errors.to_string()))
    });
    expected.assert_eq(&told.collect::<String>());
}

#[test]
fn a_kind_stands_alone_or_in_a_list_by_its_precedence() {
    let kinds = |text: &str| loaded(&format!("{TABLE}type = {text}\n")).service_discovery.kinds;
    assert_eq!(kinds("'static'"), [DiscoveryKind::Static]);
    assert_eq!(kinds("['static']"), [DiscoveryKind::Static]);
    assert_eq!(kinds("'none'"), [DiscoveryKind::Nowhere]);
    assert_eq!(kinds("['etcd', 'static']"), [DiscoveryKind::Etcd, DiscoveryKind::Static]);
    let written = |text: &str| loaded(&format!("{TABLE}type = {text}\n")).value("networking.service_discovery.type");
    assert_eq!(written("['etcd']").as_deref(), Some("\"etcd\""));
    assert_eq!(written("['etcd', 'static']").as_deref(), Some("[\"etcd\", \"static\"]"));
    let variable = from_text("").environment([("RUSTYDB_NETWORKING__SERVICE_DISCOVERY__TYPE", "etcd")]);
    assert_eq!(variable.load().expect("legal").service_discovery.kinds, [DiscoveryKind::Etcd]);
}

#[test]
fn a_kind_that_is_none_is_refused() {
    check(
        &[
            "type = 'ectd'\n",
            "type = ['static', 'ectd']\n",
            "type = []\n",
            "type = ['static', 'static']\n",
            "type = ['none', 'static']\n",
            "type = 7\n",
        ],
        expect![[r#"
            node.toml:2:8: networking.service_discovery.type: "ectd" is not known; did you mean "etcd"? known are static, dns, etcd, consul, none
            node.toml:2:19: networking.service_discovery.type[1]: "ectd" is not known; did you mean "etcd"? known are static, dns, etcd, consul, none
            node.toml:2:8: networking.service_discovery.type: an empty list finds nobody; for a node that others join, set "none"
            node.toml:2:19: networking.service_discovery.type[1]: "static" stands twice
            node.toml:2:9: networking.service_discovery.type[0]: "none" stands alone, and not in a list with others
            node.toml:2:8: networking.service_discovery.type: expected a name, or a list of names, found the whole number 7; for example type = "etcd"
        "#]],
    );
}

#[test]
fn a_mistyped_key_of_a_table_is_told_the_one_that_was_meant() {
    check(
        &[
            "[networking.service_discovery.etcd]\nendpoint = ['http://a:1']\n",
            "[networking.service_discovery.etdc]\nendpoints = ['http://a:1']\n",
            "[networking.service_discovery.dns]\nname = 'x'\n",
            "etcd = 'http://a:1'\n",
            "wait_for_node = 3\n",
        ],
        expect![[r#"
            node.toml:3:1: there is no key networking.service_discovery.etcd.endpoint; did you mean networking.service_discovery.etcd.endpoints?
            node.toml:2:31: there is no key networking.service_discovery.etdc; did you mean networking.service_discovery.etcd?
            node.toml:3:1: there is no key networking.service_discovery.dns.name; did you mean networking.service_discovery.dns.names?
            node.toml:2:8: networking.service_discovery.etcd: expected a table, found the text "http://a:1"; for example [networking.service_discovery.etcd]
            node.toml:2:1: there is no key networking.service_discovery.wait_for_node; did you mean networking.service_discovery.wait_for_nodes?
        "#]],
    );
}

#[test]
fn what_a_kind_needs_is_asked_for() {
    check(
        &[
            "type = 'dns'\n",
            "type = 'dns'\n[networking.service_discovery.dns]\nnames = ['a.example']\nrecords = 'addresses'\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nendpoints = []\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nendpoints = ['https://a:2379']\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nusername = 'rdb'\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\npassword_variable = 'P'\n",
        ],
        expect![[r#"
            node.toml:2:8: networking.service_discovery.dns.names: it is empty, and "dns" has nothing to ask for; name at least one, such as "_rdb._tcp.example.com"
            node.toml:2:8: networking.service_discovery.dns.port: it is not set, and addresses say no port; set it to where nodes listen, or records = "srv"
            node.toml:4:13: networking.service_discovery.etcd.endpoints: it is empty; name at least one, such as "http://etcd1:2379"
            node.toml:4:13: networking.service_discovery.etcd.ca_cert_path: it is not set, and https needs to know who signs the servers' certificates; set it
            node.toml:4:12: networking.service_discovery.etcd.password_path: it is not set, and neither is password_variable; a username needs one of them
            node.toml:4:21: networking.service_discovery.etcd.username: it is not set, and there is a password; name its user, or take the password out
        "#]],
    );
}

#[test]
fn what_does_not_go_together_is_told_by_its_key() {
    check(
        &[
            "type = 'none'\nseeds = ['a:1']\n",
            "type = 'etcd'\nfile = 'nodes.toml'\n",
            "type = 'dns'\n[networking.service_discovery.dns]\nnames = ['a.example']\ninterval_max_ms = 500\n",
            "type = 'dns'\n[networking.service_discovery.dns]\nnames = ['a.example:53', 'a..b', '.']\n",
            "type = 'dns'\n[networking.service_discovery.dns]\nnames = ['a.example']\nservers = ['ns1', '10.0.0.1:0']\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nendpoints = ['a:2379', 'http://a', 'http://u:p@a:1']\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nendpoints = ['http://a:1', 'https://b:1']\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nca_cert_path = 'ca.pem'\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nendpoints = ['https://a:1']\nca_cert_path = 'a'\nkey_path = 'k'\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nusername = 'u'\npassword_path = 'p'\npassword_variable = 'P'\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nprefix = 'rustydb/'\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nlease_ttl_ms = 2500\n",
            "type = 'etcd'\n[networking.service_discovery.etcd]\nlease_ttl_ms = 1000\n",
        ],
        expect![[r#"
            node.toml:2:8: networking.service_discovery.type: it is "none", and there are seeds or a file; set it to "static" or take those out
            node.toml:2:8: networking.service_discovery.type: it is "etcd", and there are seeds or a file; set it to ["etcd", "static"] or take those out
            node.toml:5:19: networking.service_discovery.dns.interval_max_ms: 500 is below interval_min_ms = 1000
            node.toml:4:9: networking.service_discovery.dns.names: "a.example:53" is no name: labels of 1 to 63 bytes with dots between them, 253 in all, without a port
            node.toml:4:9: networking.service_discovery.dns.names: "a..b" is no name: labels of 1 to 63 bytes with dots between them, 253 in all, without a port
            node.toml:4:9: networking.service_discovery.dns.names: "." is no name: labels of 1 to 63 bytes with dots between them, 253 in all, without a port
            node.toml:5:12: networking.service_discovery.dns.servers[0]: "ns1" is no IP address, such as 10.0.0.2 or 10.0.0.2:5353
            node.toml:5:19: networking.service_discovery.dns.servers[1]: 10.0.0.1:0 has port 0, where nobody answers
            node.toml:4:13: networking.service_discovery.etcd.endpoints: "a:2379" has to begin with http:// or https://, as in "http://etcd1:2379"
            node.toml:4:13: networking.service_discovery.etcd.endpoints: "a" is no host and port that can be dialled; nothing else stands behind ://, as in "http://etcd1:2379"
            node.toml:4:13: networking.service_discovery.etcd.endpoints: "a:1" is no host and port that can be dialled; nothing else stands behind ://, as in "http://etcd1:2379"
            node.toml:4:13: networking.service_discovery.etcd.endpoints: some are http and some https; use one of them for all
            node.toml:4:16: networking.service_discovery.etcd.endpoints: they are http, and there are files or a name for TLS; make them https, or take those out
            node.toml:6:12: networking.service_discovery.etcd.cert_path: cert_path and key_path belong together, and one of them is missing
            node.toml:5:17: networking.service_discovery.etcd.password_path: the password is named twice; keep password_path or password_variable
            node.toml:4:10: networking.service_discovery.etcd.prefix: "rustydb/" has to begin with / and not to end with it
            node.toml:4:16: networking.service_discovery.etcd.lease_ttl_ms: 2500 is no number of whole seconds, in which etcd counts
            node.toml:4:16: networking.service_discovery.etcd.lease_ttl_ms: 1000 is out of range; it may be 2000 to 3600000 ms
        "#]],
    );
}

/// Somebody who describes a source and forgets to name it would get a cluster of one.
#[test]
fn a_source_that_is_described_and_not_used_is_told() {
    check(
        &[
            "[networking.service_discovery.etcd]\nendpoints = ['http://a:1']\n",
            "type = 'static'\n[networking.service_discovery.dns]\nnames = ['a.example']\n",
        ],
        expect![[r#"
            node.toml:3:13: networking.service_discovery.etcd.endpoints: it is set, and networking.service_discovery.type does not name "etcd"; add that, or take this out
            node.toml:4:9: networking.service_discovery.dns.names: it is set, and networking.service_discovery.type does not name "dns"; add that, or take this out
        "#]],
    );
    let other_keys = loaded("[networking.service_discovery.etcd]\nprefix = '/x'\n");
    assert_eq!(other_keys.check_runnable(), Ok(()), "a shared file may have a table that this node does not use");
}

#[test]
fn a_kind_that_is_not_in_the_build_is_named_with_key_and_feature() {
    let company = "[networking.service_discovery.dns]\nnames = ['a.example']\n";
    for (kind, is_built) in
        [("dns", cfg!(feature = "dns")), ("etcd", cfg!(feature = "etcd")), ("consul", cfg!(feature = "consul"))]
    {
        let company = if kind == "dns" { company } else { "" };
        let checked = loaded(&format!("{TABLE}type = '{kind}'\n{company}")).check_runnable();
        if is_built {
            assert_eq!(checked, Ok(()));
            continue;
        }
        let errors = checked.expect_err("it is not in the build");
        assert!(matches!(errors.iter().next(), Some(ConfigError::NotBuilt { .. })), "{errors}");
        let told = format!(
            "node.toml:2:8: networking.service_discovery.type: the kind \"{kind}\" is not in this build; enable the cargo feature \
             \"{kind}\""
        );
        assert_eq!(errors.to_string(), told);
    }
}

#[test]
fn tables_give_typed_values() {
    let config = loaded(
        "[networking.service_discovery]\ntype = 'dns'\n[networking.service_discovery.dns]\nnames = ['a.example']\nrecords = \
         'addresses'\nport = 7000\nservers = ['10.0.0.2', '[::1]', '::1', '[::1]:5353']\n",
    );
    let dns = &config.service_discovery.dns;
    assert_eq!((dns.records, dns.port), (DnsRecords::Addresses, Some(7000)));
    let servers: Vec<_> = dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.2:53", "[::1]:53", "[::1]:53", "[::1]:5353"]);
}

#[cfg(all(feature = "etcd", unix))]
#[test]
fn a_password_is_read_from_its_file_and_never_shown() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    let read = |mode: u32| {
        std::fs::write(&path, "geheim\n").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let text = format!(
            "{TABLE}type = 'etcd'\n[networking.service_discovery.etcd]\nusername = 'rdb'\npassword_path = '{}'\n",
            path.display()
        );
        loaded(&text).etcd_discovery(rdb_discovery_driver::DriverConfig::default())
    };
    let config = read(0o600).expect("its owner's alone");
    assert_eq!(config.user.as_ref().map(|user| (user.name.as_str(), user.password.as_str())), Some(("rdb", "geheim")));
    assert!(!format!("{config:?}").contains("geheim"));
    let refused = read(0o644).expect_err("others may read it").to_string();
    assert!(refused.starts_with("node.toml:5:17: networking.service_discovery.etcd.password_path: "), "{refused}");
    assert!(refused.contains("its mode is 0644") && !refused.contains("geheim"), "{refused}");
    let config = loaded(
        "[networking.service_discovery]\ntype = 'etcd'\n[networking.service_discovery.etcd]\nusername = \
         'rdb'\npassword_variable = 'RDB_NO_SUCH_VARIABLE'\n",
    );
    let refused = config.etcd_discovery(rdb_discovery_driver::DriverConfig::default()).expect_err("unset").to_string();
    assert!(refused.contains("etcd.password_variable: the environment variable RDB_NO_SUCH_VARIABLE"), "{refused}");
}

/// What is refused of a source with these lines in its table, behind the URL of a server with TLS.
#[cfg(any(feature = "etcd", feature = "consul"))]
fn refused_source(kind: &str, server: &str, files: &str) -> String {
    let text = format!("{TABLE}type = '{kind}'\n[networking.service_discovery.{kind}]\n{server}\n{files}");
    crate::configured_sources(&loaded(&text)).err().expect("refused").to_string()
}

#[cfg(any(feature = "etcd", feature = "consul"))]
#[test]
fn a_file_for_tls_that_is_missing_or_holds_something_else_is_told_with_its_own_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [ca, secret] = ["-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----"];
    std::fs::write(path("ca"), ca).expect("written");
    std::fs::write(path("key"), secret).expect("written");
    let files = |ca: &str, certificate: &str, key: &str| {
        let [ca, certificate, key] = [ca, certificate, key].map(path);
        format!("ca_cert_path = '{ca}'\ncert_path = '{certificate}'\nkey_path = '{key}'\n")
    };
    for (kind, server) in [
        #[cfg(feature = "etcd")]
        ("etcd", "endpoints = ['https://a:1']"),
        #[cfg(feature = "consul")]
        ("consul", "agent = 'https://a:1'"),
    ] {
        for (files, place) in [
            (files("none", "ca", "key"), "5:16: ca_cert_path: none: No such file"),
            (files("ca", "none", "key"), "6:13: cert_path: none: No such file"),
            (files("ca", "ca", "none"), "7:12: key_path: none: No such file"),
            (files("ca", "key", "ca"), "6:13: cert_path: key: there is no certificate in it"),
            (files("ca", "ca", "ca"), "7:12: key_path: ca: there is no private key in it"),
        ] {
            let told = refused_source(kind, server, &files);
            let told = told.replace(&format!("{}/", folder.path().display()), "");
            let (at, rest) = place.split_once(": ").expect("a place");
            let expected = format!("node.toml:{at}: networking.service_discovery.{kind}.{rest}");
            assert!(told.starts_with(&expected), "{told:?} does not start with {expected:?}");
        }
    }
}
