//! The table and the typed configuration belong together: every key changes a value, and every value reaches its part.

use rdb_net_types::{BootId, Incarnation};

use super::{from_text, loaded};
use crate::config::keys::SECTIONS;
use crate::config::{Config, KEYS, Key, Range};

/// What else a key needs to be legal by itself.
fn company(key: &Key) -> &'static str {
    match key.path {
        "networking.bind_address" => "advertise_address = 'node1:7000'\n",
        "networking.tls.enabled" => "cert_path = '/c'\nkey_path = '/k'\nca_cert_path = '/a'\n",
        "networking.gossip.transport" => {
            "\n[networking.transport]\nprotocol = 'quic'\n[networking.tls]\nenabled = true\ncert_path = '/c'\nkey_path = '/k'\nca_cert_path = '/a'\n"
        }
        "networking.transport.protocol" => {
            "\n[networking.tls]\nenabled = true\ncert_path = '/c'\nkey_path = '/k'\nca_cert_path = '/a'\n"
        }
        "networking.service_discovery.dns.records" => "names = ['a.example']\nport = 7\n",
        "networking.service_discovery.dns.port" => "names = ['a.example']\nrecords = 'addresses'\n",
        // A variable that every process has.
        "networking.service_discovery.etcd.username" => "password_variable = 'PATH'\n",
        "networking.service_discovery.etcd.cert_path"
        | "networking.service_discovery.etcd.key_path"
        | "networking.service_discovery.etcd.server_name"
        | "networking.service_discovery.consul.cert_path"
        | "networking.service_discovery.consul.key_path"
        | "networking.service_discovery.consul.server_name" => "ca_cert_path = '/ca'\n",
        "networking.split_brain.members" => "strategy = 'static_quorum'\n",
        "networking.compression_threshold_bytes" | "networking.compression_codecs" => "enable_compression = true\n",
        _ => "",
    }
}

fn alone(key: &Key, value: &str) -> String {
    format!("[{}]\n{} = {value}\n{}", key.section(), key.name(), company(key))
}

fn with_example(key: &Key) -> Config {
    loaded(&alone(key, key.example))
}

#[test]
fn every_key_changes_the_loaded_value() {
    for key in KEYS {
        let (before, after) = (loaded(&format!("[{}]\n{}", key.section(), company(key))), with_example(key));
        let changed: Vec<_> = Config::diff(&before, &after).into_iter().map(|change| change.key).collect();
        if key.path == "networking.gossip.profile" {
            assert!(
                changed.contains(&key.path) && changed.iter().all(|changed| changed.starts_with("networking.gossip."))
            );
        } else {
            assert_eq!(changed, [key.path]);
        }
        assert_ne!(before, after, "{}", key.path);
    }
}

/// Everything that the configuration hands to the parts, in writing.
#[cfg(all(feature = "tcp", feature = "quic", feature = "discovery-static"))]
fn handed_on(config: &Config) -> String {
    let advertised = config.advertised(7);
    let identity = config.identity(&advertised, Incarnation::default(), BootId(1));
    let transport = config.transport(identity.clone(), 1);
    let limits = (
        (&transport.bind, &transport.session, transport.peer, transport.dial_timeout, transport.dials_max),
        (transport.connections_max, transport.door, transport.request_timeout),
        (transport.reply_backlog_bytes, transport.shutdown_timeout),
        (transport.memory_bytes_max, transport.peer_memory_bytes_max),
    );
    let addresses = (config.gossip_bind(), config.admin_bind(), config.node_info(&advertised));
    let (tcp, discovery) = ((config.tcp(), config.quic()), (config.static_discovery(), remote_discovery(config)));
    let machines = (config.swim(), config.split_brain(), config.health(), config.failure_detector, config.balancer());
    format!(
        "{identity:?} {limits:?} {addresses:?} {tcp:?} {:?} {discovery:?} {machines:?} {:?}",
        config.tls, config.shared_secret
    )
}

/// The backends that are in the build, whether their kinds are used or not.
#[cfg(all(feature = "tcp", feature = "quic", feature = "discovery-static"))]
fn remote_discovery(config: &Config) -> String {
    let told = format!("{:?}", crate::following::Gate::of(&config.service_discovery));
    #[cfg(feature = "dns")]
    let told = told + &format!("{:?}", config.dns_discovery(rdb_discovery_driver::DriverConfig::default()));
    #[cfg(feature = "etcd")]
    let told = told + &format!("{:?}", config.etcd_discovery(rdb_discovery_driver::DriverConfig::default()));
    #[cfg(feature = "consul")]
    let told = told + &format!("{:?}", config.consul_discovery(rdb_discovery_driver::DriverConfig::default()));
    told
}

/// Whether the part that a key is of is not in the build.
#[cfg(all(feature = "tcp", feature = "quic", feature = "discovery-static"))]
fn is_of_another_build(key: &Key) -> bool {
    let is_below = |table: &str| key.section() == format!("networking.service_discovery.{table}");
    (is_below("dns") && !cfg!(feature = "dns"))
        || (is_below("etcd") && !cfg!(feature = "etcd"))
        || (is_below("consul") && !cfg!(feature = "consul"))
}

// Sockets and discovery are parts only where they are in the build.
#[cfg(all(feature = "tcp", feature = "quic", feature = "discovery-static"))]
#[test]
fn every_key_reaches_a_part() {
    // These have no other home than the configuration itself: `check_runnable` and the wiring read them there.
    let read_in_place = [
        "networking.allow_plaintext",
        "networking.load_balancing.weights",
        "networking.service_discovery.retry_max_ms",
        "networking.service_discovery.register",
        "networking.service_discovery.last_good_age_max_ms",
        "networking.gossip.transport",
        "networking.gossip.key_rotation_ms",
        "networking.state.path",
        "networking.state.key_path",
        "networking.state.key_variable",
        "networking.transport.protocol",
    ];
    let idle: Vec<_> = KEYS
        .iter()
        .filter(|key| key.pending.is_empty() && !is_of_another_build(key))
        .filter(|key| {
            handed_on(&loaded(&format!("[{}]\n{}", key.section(), company(key)))) == handed_on(&with_example(key))
        })
        .map(|key| key.path)
        .collect();
    assert_eq!(idle, read_in_place);
}

#[test]
fn both_ends_of_every_range_load_and_what_lies_beyond_does_not() {
    for key in KEYS {
        let Range::Whole { min, max, .. } = key.range else { continue };
        let load = |value: i128| from_text(&alone(key, &value.to_string())).load();
        // An end of the range may not go together with the defaults of other keys; it is never called out of range.
        let in_range =
            |value: i128| load(value).err().is_none_or(|errors| !errors.to_string().contains("out of range"));
        assert!(in_range(min.into()) && in_range(max.into()), "{}", key.path);
        assert!(!in_range(i128::from(min) - 1), "{} below its minimum", key.path);
        assert!(!in_range(i128::from(max) + 1), "{} above its maximum", key.path);
    }
}

#[test]
fn every_name_of_a_range_loads() {
    for key in KEYS {
        let Range::OneOf(names) = key.range else { continue };
        for name in names {
            assert_eq!(loaded(&alone(key, &format!("'{name}'"))).value(key.path), Some(format!("\"{name}\"")));
        }
    }
}

#[test]
fn the_table_is_in_order() {
    let default = Config::default();
    for (index, key) in KEYS.iter().enumerate() {
        assert!(SECTIONS.iter().any(|(section, _)| *section == key.section()), "{}", key.path);
        assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{} stands twice", key.path);
        let is_unset = key.value(&default).is_none();
        assert_eq!(is_unset, !key.unset.is_empty(), "{} says what holds while it is not set", key.path);
        assert!(key.doc.ends_with('.') && !key.doc.contains("  ") && !key.doc.contains('|'), "{}", key.path);
        let has_unit = |ending: &str| key.path.ends_with(ending);
        if let Range::Whole { unit, .. } = key.range {
            assert_eq!(unit == "ms", has_unit("_ms"), "{}", key.path);
            assert_eq!(unit == "bytes", has_unit("_bytes") || has_unit("_bytes_max"), "{}", key.path);
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_parts() {
    let config = Config::default();
    let identity = config.identity(&config.advertised(7000), Incarnation::default(), BootId(1));
    let (ours, theirs) = (config.transport(identity.clone(), 0), rdb_net_transport::Config::new(identity));
    assert_eq!(ours.session, theirs.session);
    assert_eq!(ours.peer, theirs.peer);
    assert_eq!((ours.dial_timeout, ours.dials_max), (theirs.dial_timeout, theirs.dials_max));
    assert_eq!((ours.connections_max, ours.door), (theirs.connections_max, theirs.door));
    assert_eq!((ours.request_timeout, ours.shutdown_timeout), (theirs.request_timeout, theirs.shutdown_timeout));
    assert_eq!(ours.reply_backlog_bytes, theirs.reply_backlog_bytes);
    assert_eq!(
        (ours.memory_bytes_max, ours.peer_memory_bytes_max),
        (theirs.memory_bytes_max, theirs.peer_memory_bytes_max)
    );
    assert_eq!(config.swim(), rdb_swim::Config::default());
    #[cfg(feature = "tcp")]
    assert_eq!(format!("{:?}", config.tcp()), format!("{:?}", rdb_net_tcp::TcpConfig::default()));
    #[cfg(feature = "quic")]
    assert_eq!(
        config.quic(),
        rdb_net_quic::QuicConfig { handshake_timeout: config.session().hello_timeout, ..Default::default() }
    );
    #[cfg(feature = "discovery-static")]
    assert_eq!(config.static_discovery(), Some(rdb_discovery_static::StaticConfig::default()));
    let driver = rdb_discovery_driver::DriverConfig::default();
    assert_eq!(config.service_discovery.last_good_age_max, driver.last_good_age_max);
    #[cfg(feature = "dns")]
    {
        let theirs = rdb_discovery_dns::DnsConfig::new(Vec::new());
        assert_eq!(format!("{:?}", config.dns_discovery(driver.clone())), format!("{theirs:?}"));
    }
    #[cfg(feature = "etcd")]
    {
        let endpoints = vec![String::from("http://127.0.0.1:2379")];
        let theirs = rdb_discovery_etcd::EtcdConfig::new(config.cluster_id.clone(), endpoints);
        let ours = config.etcd_discovery(driver).expect("no password");
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}

#[test]
fn zero_stands_for_never() {
    let config = loaded("[networking.transport]\nidle_timeout_ms = 0\nage_max_ms = 0\n");
    let transport = config.transport(config.identity(&config.advertised(7), Incarnation::default(), BootId(1)), 0);
    assert_eq!((transport.peer.idle_timeout, transport.peer.age_max), (None, None));
    #[cfg(feature = "tcp")]
    {
        let tcp = loaded("[networking.transport]\ntcp_unsent_bytes_max = 0\ntcp_keep_alive_ms = 0\n").tcp();
        assert_eq!((tcp.unsent_bytes_max, tcp.keep_alive), (None, None));
        let user_timeout = loaded("[networking.transport]\nliveness_ms = 2000\n").tcp().user_timeout;
        assert_eq!(user_timeout, std::time::Duration::from_secs(6), "three times the liveness");
    }
}
