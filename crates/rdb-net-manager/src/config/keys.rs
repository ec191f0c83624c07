//! The table of keys: everything that a configuration can say, in the order in which it is documented and applied.

use super::entry::Entry;
use super::key::{Key, Range, Reload};
use super::settings::Config;

/// The tables of a configuration, and what each is about.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("networking", "Names, addresses and limits of the node."),
    ("networking.tls", "TLS between nodes."),
    (
        "networking.shared_secret",
        "A secret that nodes prove to each other, for clusters without certificates. It decides who is let in, and encrypts nothing.",
    ),
    ("networking.health_check", "Pings to other nodes, and what is concluded from them."),
    (
        "networking.failure_detector",
        "Phi accrual over links that carry traffic: when silence becomes suspicious. It declares nobody failed.",
    ),
    ("networking.load_balancing", "Choosing a node for a call."),
    ("networking.service_discovery", "Where other nodes are found."),
    ("networking.service_discovery.dns", "Nodes from records of DNS, where `type` names \"dns\"."),
    ("networking.service_discovery.etcd", "Nodes that are registered in etcd, where `type` names \"etcd\"."),
    (
        "networking.service_discovery.consul",
        "Nodes that are registered at a Consul agent, where `type` names \"consul\".",
    ),
    ("networking.admin", "The listener for operators."),
    ("networking.gossip", "The membership protocol. All nodes of a cluster should have the same settings."),
    (
        "networking.split_brain",
        "Which side of a cluster that has come apart goes on. All nodes of a cluster should have the same settings.",
    ),
    ("networking.node", "What this node tells others of itself."),
    ("networking.state", "What the node remembers over a restart."),
    ("networking.transport", "Connections in detail. The defaults suit most clusters."),
];

const HOUR_MS: i64 = 3_600_000;
const MIB: i64 = 1024 * 1024;

const fn ms(min: i64) -> Range {
    Range::Whole { min, max: HOUR_MS, unit: "ms" }
}

const fn bytes(min: i64, max: i64) -> Range {
    Range::Whole { min, max, unit: "bytes" }
}

const fn count(min: i64, max: i64) -> Range {
    Range::Whole { min, max, unit: "" }
}

const WEIGHT: Range = Range::Number { min: 0.0, max: rdb_net_types::Weight::MAX };

const fn kind<T: Entry>(_field: fn(&Config) -> &T) -> &'static str {
    T::KIND
}

const fn last(texts: &[&'static str]) -> &'static str {
    texts[texts.len() - 1]
}

/// One row, in braces so that it stays one: path, field, reload class, range, example, meaning; then what holds while it is
/// unset, or what is missing for it to have an effect.
macro_rules! key {
    ($path:literal, $($field:ident).+, $reload:ident, $range:expr, $example:literal, $doc:literal
     $(, unset $unset:literal)? $(, pending $pending:expr)?) => {
        Key {
            path: $path,
            kind: kind(|config| &config.$($field).+),
            range: $range,
            reload: Reload::$reload,
            doc: $doc,
            example: $example,
            unset: concat!($($unset)?),
            pending: last(&["" $(, $pending)?]),
            get: |config| config.$($field).+.write(),
            set: |config, input, reader| {
                if let Some(value) = Entry::read(input, reader) {
                    config.$($field).+ = value;
                }
            },
        }
    };
}

mod discovery;
mod membership;

const COUNT: usize = FIRST.len() + discovery::KEYS.len() + ADMIN.len() + membership::KEYS.len() + LAST.len();

/// Every key, in order. A key that comes later is applied later, so that a gossip setting wins over the gossip profile.
pub static KEYS: &[Key] = &{
    let parts = [FIRST, discovery::KEYS, ADMIN, membership::KEYS, LAST];
    let mut keys = [FIRST[0]; COUNT];
    let (mut filled, mut part) = (0, 0);
    while part < parts.len() {
        let mut next = 0;
        while next < parts[part].len() {
            keys[filled] = parts[part][next];
            (filled, next) = (filled + 1, next + 1);
        }
        part += 1;
    }
    keys
};

const FIRST: &[Key] = &[
    key! { "networking.cluster_id", cluster_id, Restart, Range::Any, "\"orders\"",
    "Name of the cluster: 1 to 64 letters, digits, '.', '_' and '-'. Nodes of different clusters refuse each \
     other." },
    key! { "networking.node_id", node_id, Restart, Range::Any, "\"node1\"",
    "Name of this node: 1 to 64 letters, digits, '.', '_' and '-'. No other node of the cluster may have it.",
    unset "the advertised `host-port`" },
    key! { "networking.bind_address", bind_address, Restart, Range::Any, "\"0.0.0.0:7000\"",
    "Where the transport listens. Port 0 lets the system pick one." },
    key! { "networking.advertise_address", advertise_address, Restart, Range::Any, "\"node1.example.com:7000\"",
    "Where other nodes reach the transport. Port 0 stands for the port on which it listens.",
    unset "`bind_address`, whose host others must then be able to reach: not 0.0.0.0 or [::]" },
    key! { "networking.gossip_address", gossip_address, Restart, Range::Any, "\"0.0.0.0:7001\"",
    "Where the gossip socket is, UDP. Others reach it at the advertised host and this port; port 0 lets the \
     system pick one.",
    unset "the host of `bind_address` and its port + 1, or port 0 where that has port 0" },
    key! { "networking.max_connections", max_connections, Restart, count(1, 1_000_000), "2000",
    "How many connections there may be, both directions. At the limit a new one of this node takes the place of the \
     unused one that was not used for longest, and those that others make are refused with a reason." },
    key! { "networking.connections_per_peer", connections_per_peer, Restart, count(1, 16), "4",
    "How many main connections a node makes to another one, beside the one for bulk. Messages without an ordering key \
     spread over them. More let several cores and congestion windows work for one peer, and cost sockets and memory." },
    key! { "networking.connection_timeout_ms", connection_timeout, Restart, ms(1), "3000",
    "How long making a connection may take." },
    key! { "networking.request_timeout_ms", request_timeout, Hot, ms(1), "2000",
    "How long a request may take that names no deadline of its own." },
    key! { "networking.shutdown_timeout_ms", shutdown_timeout, Hot, ms(0), "30000",
    "How long a shutdown waits for what is under way." },
    key! { "networking.enable_compression", compression.enabled, Restart, Range::Any, "true",
    "Whether messages may be compressed. Those that come compressed are read in any case." },
    key! { "networking.compression_threshold_bytes", compression.threshold_bytes, Restart, bytes(0, 16 * MIB), "4096",
    "Messages smaller than this are never compressed." },
    key! { "networking.compression_codecs", compression.codecs, Restart, Range::Any, "[\"zstd\", \"lz4\"]",
    "How messages are compressed: \"lz4\", \"snappy\", \"zstd\", the preferred first. The first that a peer reads is used." },
    key! { "networking.allow_plaintext", allow_plaintext, Restart, Range::Any, "true",
    "Whether the node may listen beyond this host without TLS. Then everybody on the way reads and writes what nodes say, \
     and it warns of that every minute." },
    key! { "networking.tls.enabled", tls.enabled, Restart, Range::Any, "true",
    "Whether connections are encrypted and nodes prove who they are, and gossip packets are sealed." },
    key! { "networking.tls.cert_path", tls.cert_path, Restart, Range::Any, "\"/etc/rustydb/cert.pem\"",
    "The node's certificate chain, PEM: its own certificate first. The node's name is the one in it. The file is looked at \
     again and again, as are the files below; what is new in them holds for new connections.",
    unset "none; needed with TLS" },
    key! { "networking.tls.key_path", tls.key_path, Restart, Range::Any, "\"/etc/rustydb/key.pem\"",
    "The private key of the certificate, PEM. Nobody but its owner may read it.",
    unset "none; needed with TLS" },
    key! { "networking.tls.ca_cert_path", tls.ca_cert_path, Restart, Range::Any, "\"/etc/rustydb/ca.pem\"",
    "The certificates that sign those of other nodes, PEM; several while one takes the place of another.",
    unset "none; needed with TLS" },
    key! { "networking.tls.verify_client", tls.verify_client, Restart, Range::Any, "false",
    "Whether a node that connects must show a certificate. Without, whoever reaches the port may say that it is any node." },
    key! { "networking.tls.min_protocol_version", tls.min_protocol_version, Restart, Range::Length(16), "\"1.3\"",
    "The oldest version of TLS that is spoken. There is only one.",
    unset "1.3" },
    key! { "networking.tls.cipher_suites", tls.cipher_suites, Restart, Range::Entries(16), "[\"TLS13_AES_128_GCM_SHA256\"]",
    "Cipher suites, the preferred first; none for all of TLS 1.3." },
    key! { "networking.tls.key_exchange_groups", tls.key_exchange_groups, Restart, Range::Entries(16), "[\"X25519MLKEM768\"]",
    "Key exchange groups, the preferred first; none for X25519MLKEM768, X25519, secp256r1 and secp384r1." },
    key! { "networking.tls.crl_paths", tls.crl_paths, Restart, Range::Entries(64), "[\"/etc/rustydb/revoked.pem\"]",
    "Lists of revoked certificates, PEM or DER. A node whose certificate comes onto a list loses its connections." },
    key! { "networking.tls.identity", tls.identity, Restart, Range::Length(256), "\"{node}.nodes.example.com\"",
    "Where in a certificate the name of its node stands: a SPIFFE id or a DNS name with {node}, {role} and {cluster} in it. \
     Exactly one name of a certificate may fit." },
    key! { "networking.tls.reload_interval_ms", tls.reload_interval, Restart, ms(100), "10000",
    "How often the files are looked at. A revoked node loses its connections within this time and a second." },
    key! { "networking.shared_secret.path", shared_secret.path, Restart, Range::Any, "\"/etc/rustydb/secret\"",
    "A file with the secret, at least 32 bytes; space and line ends around it do not count. Nobody but its owner may read it. \
     All nodes of the cluster have the same. It excludes `tls.enabled`. Nodes prove to each other that they know it, and \
     seal their UDP gossip with a key that follows from it; what they say over connections stays plain text, and beyond this \
     host that needs `allow_plaintext`.",
    unset "none: whoever reaches the port may say that it is a node, unless TLS is on" },
    key! { "networking.shared_secret.variable", shared_secret.variable, Restart, Range::Length(128), "\"RUSTYDB_SECRET\"",
    "The name of an environment variable with that secret, instead of a file.",
    unset "none" },
    key! { "networking.health_check.interval_ms", health_check.interval, Hot, ms(1), "2000",
    "Time between two pings of a node that is well, jittered by a tenth either way." },
    key! { "networking.health_check.timeout_ms", health_check.timeout, Hot, ms(1), "1000",
    "How long the answer to a ping may take." },
    key! { "networking.health_check.failure_threshold", health_check.failure_threshold, Hot, count(1, 1000), "5",
    "Failures in a row that make a node unhealthy. The first makes it degraded." },
    key! { "networking.health_check.success_threshold", health_check.success_threshold, Hot, count(1, 1000), "2",
    "Successes in a row that make a node healthy again." },
    key! { "networking.health_check.scope", health_check.scope, Hot, Range::OneOf(&["links", "all"]), "\"all\"",
    "Who is pinged at the interval: nodes with whom traffic flows over links of this node's own, or every member." },
    key! { "networking.health_check.backoff_first_ms", health_check.backoff_first, Hot, ms(1), "500",
    "Wait before the first retry of a failed ping; it doubles with each failure." },
    key! { "networking.health_check.backoff_max_ms", health_check.backoff_max, Hot, ms(1), "20000",
    "The longest wait before a retry; at least `backoff_first_ms`." },
    key! { "networking.health_check.degraded_latency_ms", health_check.degraded_latency, Hot, ms(1), "50",
    "Smoothed round trip above which a node is degraded.",
    unset "latency degrades no node" },
    key! { "networking.failure_detector.threshold", failure_detector.threshold, Restart,
    Range::Number { min: 0.0, max: 100.0 }, "5.0",
    "The phi at which a silent node is asked at once; on the way to it the node gets ever fewer calls. A higher one is wrong less \
     often and later. 0 switches the detectors off." },
    key! { "networking.failure_detector.acceptable_pause_ms", failure_detector.detector.acceptable_pause, Restart, ms(0),
    "1000",
    "Silence beyond the usual interval that costs nothing, for lost pings and pauses." },
    key! { "networking.load_balancing.strategy", load_balancing.balancer.strategy, Hot,
    Range::OneOf(&["round_robin", "least_connections"]), "\"round_robin\"",
    "The rule by which one of the nodes that fit is chosen." },
    key! { "networking.load_balancing.weights", load_balancing.weights, Hot, WEIGHT, "{ node1 = 1.0, node2 = 2.0 }",
    "Weights by node id, in place of those that the nodes tell of themselves. 0 drains a node. A later layer \
     replaces the whole table." },
    key! { "networking.load_balancing.fail_mode", load_balancing.balancer.fail_mode, Hot,
    Range::OneOf(&["closed", "open"]), "\"open\"",
    "What happens to a call when every node that fits is unhealthy: it is refused, or goes to one of them \
     anyway." },
];

const ADMIN: &[Key] = &[
    key! { "networking.admin.enabled", admin.enabled, Restart, Range::Any, "false",
    "Whether there is a listener for operators." },
    key! { "networking.admin.bind_address", admin.bind_address, Restart, Range::Any, "\"127.0.0.1:9000\"",
    "Where it listens. Port 0 lets the system pick one.",
    unset "127.0.0.1 and the port of `networking.bind_address` + 2, or port 0 where that has port 0" },
];

const LAST: &[Key] = &[
    key! { "networking.node.capabilities", node.capabilities, Hot, Range::Entries(32), "[\"read\", \"write\"]",
    "What the node can do: `read`, `write`, `analytics`, or names of your own." },
    key! { "networking.node.region", node.locality.region, Hot, Range::Length(64), "\"eu-west\"",
    "The region in which it stands." },
    key! { "networking.node.zone", node.locality.zone, Hot, Range::Length(64), "\"eu-west-1a\"",
    "The zone within the region." },
    key! { "networking.node.rack", node.locality.rack, Hot, Range::Length(64), "\"r7\"",
    "The rack within the zone." },
    key! { "networking.node.weight", node.weight, Hot, WEIGHT, "2.0",
    "Its share of traffic, relative to other nodes. 0 drains it." },
    key! { "networking.node.labels", node.labels, Hot, Range::Entries(32), "{ disk = \"nvme\" }",
    "Free labels, for selection and for people. A later layer replaces the whole table." },
    key! { "networking.node.version", node.version, Hot, Range::Length(64), "\"1.4.2\"",
    "Version of its software, for people.",
    unset "the version of this library" },
    key! { "networking.node.cpu_millicores", node.resources.cpu_millicores, Hot, count(1, 100_000_000), "8000",
    "Processor time that it has to give, in thousandths of a core.",
    unset "not told" },
    key! { "networking.node.memory_bytes", node.resources.memory_bytes, Hot, bytes(1, i64::MAX), "34359738368",
    "Memory that it has to give.",
    unset "not told" },
    key! { "networking.node.disk_bytes", node.resources.disk_bytes, Hot, bytes(1, i64::MAX), "1000000000000",
    "Disk space that it has to give.",
    unset "not told" },
    key! { "networking.state.path", state.path, Restart, Range::Any, "\"/var/lib/rustydb/net\"",
    "The folder in which the node remembers who its members were, so that a cluster that was down as a whole finds itself \
     again without seeds, and that one who restarts within a partition knows of the other side.",
    unset "none: nothing is remembered" },
    key! { "networking.state.key_path", state.key_path, Restart, Range::Any, "\"/etc/rustydb/state.key\"",
    "A file with the key that seals what is remembered: 32 bytes, raw, hexadecimal or base64. Nobody but its owner may read \
     it.",
    unset "none: what is remembered can be read by whoever reads the folder" },
    key! { "networking.state.key_variable", state.key_variable, Restart, Range::Length(128), "\"RUSTYDB_STATE_KEY\"",
    "The name of an environment variable with that key, instead of a file.",
    unset "none" },
    key! { "networking.transport.protocol", transport.protocol, Restart, Range::OneOf(&["tcp", "quic", "auto"]), "\"auto\"",
    "What connections are made of: TCP, inside TLS where that is on; QUIC over UDP, which needs TLS; or both, QUIC where the \
     other side offers it and UDP passes. Both use the port of `bind_address`." },
    key! { "networking.transport.frame_bytes_max", transport.session.frame_bytes_max, Restart, bytes(4096, 16 * MIB),
    "1048576",
    "The largest frame. Larger ones let a large message pass in one piece and make urgent ones wait longer." },
    key! { "networking.transport.message_bytes_max", transport.session.message_bytes_max, Restart, bytes(4096, 1024 * MIB),
    "16777216",
    "The largest message that is taken; larger than a frame, it travels in several." },
    key! { "networking.transport.memory_bytes_max", transport.memory_bytes_max, Restart, bytes(0, i64::MAX), "1073741824",
    "How much memory peers may make the node hold, beyond the first credits of each connection. At the limit, large \
     messages are refused." },
    key! { "networking.transport.peer_memory_bytes_max", transport.peer_memory_bytes_max, Restart, bytes(0, i64::MAX),
    "268435456",
    "How much of it one peer may take." },
    key! { "networking.transport.requests_max", transport.session.requests_max, Restart, count(1, 1_048_576), "16384",
    "How many requests a peer may have in flight on a connection." },
    key! { "networking.transport.lane_credit_bytes", transport.session.lane_credit_bytes, Restart,
    bytes(4096, 1024 * MIB), "8388608",
    "How many bytes a peer may send on a data lane before handlers took them; at least `frame_bytes_max`. This \
     is the memory that a peer can make a node hold." },
    key! { "networking.transport.batch_max_bytes", transport.session.batch_bytes, Restart, bytes(1024, 16 * MIB), "65536",
    "About how many bytes are given to a socket at once. More saves system calls; an urgent frame waits for so \
     much." },
    key! { "networking.transport.batch_delay_us", transport.session.batch_delay_us, Restart, count(0, 10_000), "50",
    "How long frames may wait for others to share a write with, in microseconds. Costs processor time meanwhile; a burst \
     shares a write without it." },
    key! { "networking.transport.checksum", transport.session.checksum, Restart, Range::Any, "false",
    "Whether frames carry a checksum." },
    key! { "networking.transport.hello_timeout_ms", transport.session.hello_timeout, Restart, ms(1), "1000",
    "How long the first exchange on a connection may take." },
    key! { "networking.transport.keep_alive_idle_ms", transport.session.keep_alive_idle, Restart, ms(1), "30000",
    "After how much silence an idle connection is asked whether it lives." },
    key! { "networking.transport.keep_alive_busy_ms", transport.session.keep_alive_busy, Restart, ms(1), "2000",
    "After how much silence a connection with requests in flight is asked." },
    key! { "networking.transport.liveness_ms", transport.session.liveness, Restart, ms(1), "8000",
    "How long an asked connection may stay silent before it counts as dead." },
    key! { "networking.transport.drain_timeout_ms", transport.session.drain_timeout, Restart, ms(0), "5000",
    "How long a connection that closes waits for what is under way on it." },
    key! { "networking.transport.reconnect_first_ms", transport.peer.backoff.shortest, Restart, ms(1), "100",
    "The shortest wait between two dials of a peer." },
    key! { "networking.transport.reconnect_max_ms", transport.peer.backoff.longest, Restart, ms(1), "3000",
    "The longest wait between two dials of a peer; at least `reconnect_first_ms`." },
    key! { "networking.transport.reconnect_stable_ms", transport.peer.stable_after, Restart, ms(0), "60000",
    "How long a connection must have been up for its loss to begin again at the shortest wait." },
    key! { "networking.transport.refused_wait_ms", transport.peer.refused_wait, Restart, ms(1), "60000",
    "How long a peer is left alone that refused for a reason that only its configuration can change." },
    key! { "networking.transport.idle_timeout_ms", transport.idle_timeout, Restart, Range::Whole { min: 0, max: 24 * HOUR_MS, unit: "ms" },
    "60000",
    "How long a connection that nobody keeps may carry nothing for the application before it is closed, give or take a \
     fifth. 0 never closes it." },
    key! { "networking.transport.age_max_ms", transport.age_max, Restart, Range::Whole { min: 0, max: 1000 * HOUR_MS, unit: "ms" },
    "600000",
    "How old a connection may become before another takes its place, give or take a fifth. No request fails by it. 0 \
     never replaces it." },
    key! { "networking.transport.dials_max", transport.dials_max, Restart, count(1, 65_536), "128",
    "How many dials may be under way." },
    key! { "networking.transport.handshakes_max", transport.door.handshakes_max, Restart, count(1, 65_536), "512",
    "How many accepted connections may be in their handshake and first exchange." },
    key! { "networking.transport.handshakes_reserved", transport.door.handshakes_reserved, Restart, count(0, 65_536), "256",
    "How many more may be, if they come from an address where a member was within the last hour: strangers that crowd the \
     door keep no member out." },
    key! { "networking.transport.handshakes_per_address_max", transport.door.handshakes_per_address_max, Restart,
    count(1, 65_536), "32",
    "How many of them may come from one address, an IPv6 address counting by its first 64 bits. The others are closed." },
    key! { "networking.transport.connections_per_address_second", transport.door.connections_per_address_second, Restart,
    count(1, 1_000_000), "100",
    "How many connections may begin from one address in a second, after as many again at once. The others are closed. More \
     lets more nodes share an address." },
    key! { "networking.transport.reply_backlog_bytes", transport.reply_backlog_bytes, Restart, bytes(4096, 1024 * MIB),
    "4194304",
    "How many bytes of replies may wait for a socket before handlers are held back." },
    key! { "networking.transport.tcp_user_timeout_ms", transport.tcp_user_timeout, Restart, ms(1), "30000",
    "How long sent bytes may stay unacknowledged before TCP gives up the connection. Shorter finds a host that is gone \
     sooner, and ends connections over outages that they would survive.",
    unset "three times `liveness_ms`" },
    key! { "networking.transport.tcp_unsent_bytes_max", transport.tcp_unsent_bytes_max, Restart, bytes(0, 16 * MIB),
    "65536",
    "How many bytes may wait unsent in the kernel. More delays urgent frames; 0 leaves it to the kernel, which takes \
     megabytes." },
    key! { "networking.transport.tcp_keep_alive_ms", transport.tcp_keep_alive, Restart, ms(0), "60000",
    "After how long without a packet TCP asks for a sign of life, in whole seconds. It keeps state in middle boxes \
     alive. 0 never asks." },
    key! { "networking.transport.tcp_backlog", transport.tcp_backlog, Restart, count(1, 65_535), "4096",
    "How many connections may wait in the kernel to be accepted." },
    key! { "networking.transport.quic_idle_timeout_ms", transport.quic_idle_timeout, Restart, ms(1000), "30000",
    "How long nothing may come over QUIC before the connection is lost; the shorter of both sides' holds.",
    unset "three times `liveness_ms`" },
    key! { "networking.transport.quic_keep_alive_ms", transport.quic_keep_alive, Restart, ms(100), "10000",
    "After how long without a packet QUIC asks for a sign of life; a third of the idle time at most. It keeps state in middle \
     boxes alive." },
    key! { "networking.transport.quic_congestion_control", transport.quic_congestion_control, Restart,
    Range::OneOf(&["cubic", "bbr"]), "\"bbr\"",
    "How fast QUIC sends: by lost packets, as TCP does, or by the rate at which packets arrive, which holds up better where \
     packets get lost without a jam, and is an experiment of the library." },
    key! { "networking.transport.quic_lane_window_bytes", transport.quic_lane_window_bytes, Restart,
    bytes(65_536, 64 * MIB), "16777216",
    "How many bytes of one lane may be on their way over QUIC. A long fast path needs its bandwidth times its round-trip \
     time; a connection may hold four times as much in each direction." },
    key! { "networking.transport.quic_mtu_bytes_max", transport.quic_mtu_bytes_max, Restart, bytes(1200, 65_527), "1452",
    "The largest payload of a packet that QUIC tries, where the node's own link carries it. More costs less for each byte, \
     where every link on the way carries it." },
    key! { "networking.transport.quic_migration", transport.quic_migration, Restart, Range::Any, "true",
    "Whether a node that has dialled may change its address while it is connected over QUIC." },
    key! { "networking.transport.quic_retry_from_handshakes", transport.quic_retry_from_handshakes, Restart,
    count(0, 65_536), "16",
    "From how many QUIC handshakes under way on a stranger has to show that its address is its own. 0 asks always." },
];
