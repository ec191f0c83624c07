//! The metric families: what each is called, which labels it has, and from which statistics it comes.
//!
//! The first eight names and their labels are the specification's. `networking_message_latency_seconds{percentile}` is a gauge
//! of quantiles over the last minute: a family with a `percentile` label fits neither the summary nor the histogram of
//! OpenMetrics, whose strict parser refuses both. Quantiles cannot be averaged over nodes, so
//! `networking_message_roundtrip_seconds` is a proper histogram of the same durations beside it.

mod discovery;
mod members;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use rdb_net_manager::{ControlPlane, DiscoveryView, NetworkStatistics, SecurityView};
use rdb_net_session::LatencyHistogram;
use rdb_net_types::{NodeId, NodeState, PeerStatistics};

use super::labels::{LabelBook, UNIDENTIFIED};
use super::window::WINDOW;

/// The `percentile` labels and the shares that they stand for.
const PERCENTILES: [(&str, f64); 5] = [("0.5", 0.5), ("0.9", 0.9), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999)];

/// Upper bounds of the histogram's buckets, in seconds: 100 µs to 10 s, three a decade.
const BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const STATES: [NodeState; 4] = [NodeState::Alive, NodeState::Suspect, NodeState::Failed, NodeState::Left];

/// What one label stands for: a peer, or all beyond the limit.
#[derive(Debug, Default)]
struct PeerTotals {
    active_connections: u64,
    bytes_sent: u64,
    bytes_received: u64,
    late_replies: u64,
    health_check_failures: u64,
    sent: BTreeMap<Cow<'static, str>, u64>,
    received: BTreeMap<Cow<'static, str>, u64>,
    errors: BTreeMap<&'static str, u64>,
    outcomes: BTreeMap<&'static str, u64>,
    latency: LatencyHistogram,
    recent: LatencyHistogram,
}

fn add_all<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    counts.iter().for_each(|(name, count)| *sums.entry(name.clone()).or_default() += count);
}

impl PeerTotals {
    fn add(&mut self, statistics: &PeerStatistics, labels: &mut LabelBook) {
        self.active_connections += statistics.active_connections;
        self.bytes_sent += statistics.bytes_sent;
        self.bytes_received += statistics.bytes_received;
        self.late_replies += statistics.late_replies;
        add_all(&mut self.errors, &statistics.errors);
        add_all(&mut self.outcomes, &statistics.outcomes);
        for (sums, counts) in [(&mut self.sent, &statistics.sent), (&mut self.received, &statistics.received)] {
            for (message_type, count) in counts {
                *sums.entry(labels.message_type(*message_type)).or_default() += count;
            }
        }
    }
}

/// Everything that one scrape tells.
#[derive(Debug)]
pub(crate) struct Exposition {
    node_id: NodeId,
    version: String,
    uptime: Duration,
    members: BTreeMap<NodeState, u64>,
    peers: BTreeMap<String, PeerTotals>,
    unidentified_errors: BTreeMap<&'static str, u64>,
    membership: BTreeMap<&'static str, u64>,
    gossip_waited_max: Duration,
    members_vanished: usize,
    is_withdrawn: bool,
    links_busy: usize,
    dropped: BTreeMap<&'static str, u64>,
    security: SecurityView,
    discovery: DiscoveryView,
}

impl Exposition {
    /// Sums the statistics up by label.
    pub(crate) fn of(
        control: &dyn ControlPlane,
        statistics: &NetworkStatistics,
        recent: &BTreeMap<NodeId, LatencyHistogram>,
        labels: &mut LabelBook,
    ) -> Self {
        let counted = statistics.transport.peers.keys().chain(statistics.latencies.keys());
        let present: BTreeSet<&NodeId> = counted.chain(statistics.health_check_failures.keys()).collect();
        labels.update_peers(&present);
        let mut peers: BTreeMap<String, PeerTotals> = BTreeMap::new();
        for node in present {
            let totals = peers.entry(labels.peer(node).to_owned()).or_default();
            if let Some(statistics) = statistics.transport.peers.get(node) {
                totals.add(statistics, labels);
            }
            totals.health_check_failures += statistics.health_check_failures.get(node).copied().unwrap_or_default();
            statistics.latencies.get(node).into_iter().for_each(|histogram| totals.latency.merge(histogram));
            recent.get(node).into_iter().for_each(|histogram| totals.recent.merge(histogram));
        }
        let mut members: BTreeMap<NodeState, u64> = STATES.map(|state| (state, 0)).into();
        control.topology().members.iter().for_each(|member| *members.entry(member.state).or_default() += 1);
        let local = control.local();
        Self {
            node_id: local.id.clone(),
            version: local.version.clone(),
            uptime: control.uptime(),
            members,
            peers,
            unidentified_errors: statistics.transport.unidentified_errors.clone(),
            membership: statistics.membership.clone(),
            gossip_waited_max: statistics.gossip_waited_max,
            members_vanished: statistics.members_vanished,
            is_withdrawn: statistics.is_withdrawn,
            links_busy: statistics.links_busy,
            dropped: statistics.dropped.clone(),
            security: control.security(),
            discovery: control.discovery(),
        }
    }

    fn by_peer<'a, V: 'a>(&'a self, value: fn(&PeerTotals) -> V) -> impl Iterator<Item = (PeerLabel<'a>, V)> {
        self.peers.iter().map(move |(node, totals)| ([("node_id", node.as_str())], value(totals)))
    }

    fn by_type<'a>(&'a self, counts: fn(&PeerTotals) -> &BTreeMap<Cow<'static, str>, u64>) -> Vec<Sample<'a, 2>> {
        let of_peer = |(node, totals): (&'a String, &'a PeerTotals)| {
            let sample = move |(name, count): (&'a Cow<'static, str>, &u64)| {
                ([("node_id", node.as_str()), ("message_type", name.as_ref())], *count)
            };
            counts(totals).iter().map(sample)
        };
        self.peers.iter().flat_map(of_peer).collect()
    }

    fn messages(&self, families: &mut Families<'_>) -> fmt::Result {
        families.counter(
            "networking_messages_sent",
            "Messages given to sockets, by peer and type.",
            self.by_type(|totals| &totals.sent),
        )?;
        families.counter(
            "networking_messages_received",
            "Messages received whole, by authenticated peer and type.",
            self.by_type(|totals| &totals.received),
        )?;
        let quantiles = self.peers.iter().flat_map(|(node, totals)| {
            PERCENTILES.into_iter().filter_map(move |(percentile, share)| {
                let value = totals.recent.quantile(share)?.as_secs_f64();
                Some(([("node_id", node.as_str()), ("percentile", percentile)], value))
            })
        });
        families.gauge(
            "networking_message_latency_seconds",
            "From request to reply: quantiles over the last minute, by peer. Absent while nothing was answered.",
            quantiles,
        )?;
        families.gauge(
            "networking_latency_window_seconds",
            "How far back networking_message_latency_seconds looks.",
            [(NO_LABELS, WINDOW.as_secs_f64())],
        )?;
        families.histograms(
            "networking_message_roundtrip_seconds",
            "From request to reply, by peer, since the start.",
            self.by_peer(|totals| totals.latency.clone()),
        )?;
        let outcomes = self.peers.iter().flat_map(|(node, totals)| {
            let sample = move |(outcome, count): (&&'static str, &u64)| {
                ([("node_id", node.as_str()), ("outcome", *outcome)], *count)
            };
            totals.outcomes.iter().map(sample)
        });
        families.counter(
            "networking_requests",
            "Requests that ended, by peer and reason; ok for replies.",
            outcomes,
        )?;
        families.counter(
            "networking_late_replies",
            "Replies that came after their request had ended, by peer.",
            self.by_peer(|totals| totals.late_replies),
        )
    }

    fn connections(&self, families: &mut Families<'_>) -> fmt::Result {
        let identified = self.peers.iter().map(|(node, totals)| (node.as_str(), &totals.errors));
        let mut errors: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (node, counts) in identified.chain([(UNIDENTIFIED, &self.unidentified_errors)]) {
            counts.iter().for_each(|(name, count)| *errors.entry((node, name)).or_default() += count);
        }
        families.counter(
            "networking_connection_errors",
            "Connections that failed, by peer and by what went wrong; _unidentified where the peer was not known yet.",
            errors.into_iter().map(|((node, name), count)| ([("node_id", node), ("error_type", name)], count)),
        )?;
        families.gauge(
            "networking_active_connections",
            "Connections that are up, both directions, by peer.",
            self.by_peer(|totals| totals.active_connections),
        )?;
        families.counter(
            "networking_bytes_sent",
            "Bytes given to sockets, by peer.",
            self.by_peer(|totals| totals.bytes_sent),
        )?;
        families.counter(
            "networking_bytes_received",
            "Bytes received, by peer.",
            self.by_peer(|totals| totals.bytes_received),
        )?;
        families.counter(
            "networking_health_check_failures",
            "Health checks that failed, by peer.",
            self.by_peer(|totals| totals.health_check_failures),
        )
    }

    fn security(&self, families: &mut Families<'_>) -> fmt::Result {
        let security = &self.security;
        families.gauge(
            "networking_plaintext",
            "1 while connections are not encrypted.",
            [(NO_LABELS, u64::from(!security.tls))],
        )?;
        families.gauge(
            "networking_certificate_seconds_left",
            "How long a certificate, authority or revocation list is in its time, by kind and fingerprint; negative after it.",
            security.certificates.iter().map(|one| {
                ([("kind", one.kind), ("name", one.name.as_str()), ("fingerprint", one.fingerprint.as_str())], one.seconds_left)
            }),
        )?;
        families.counter(
            "networking_certificate_reloads",
            "Sets of certificate files that took another's place, and that were not taken.",
            [("taken", security.reloads.0), ("refused", security.reloads.1)]
                .into_iter()
                .filter(|_| security.tls)
                .map(|(result, count)| ([("result", result)], count)),
        )?;
        families.counter(
            "networking_tls_handshakes",
            "TLS handshakes, by direction and end.",
            security.handshakes.iter().map(|(end, count)| ([("end", end.as_str())], *count)),
        )?;
        families.gauge(
            "networking_gossip_key_age_seconds",
            "How long this node has had each key that seals gossip, by name and state.",
            security
                .gossip_keys
                .iter()
                .map(|key| ([("key", key.id.as_str()), ("state", key.state)], key.age.as_secs_f64())),
        )?;
        families.counter(
            "networking_gossip_sealed",
            "Sealed gossip packets: sealed, opened, and those that were refused, by reason.",
            security.sealed.iter().map(|(what, count)| ([("what", *what)], *count)),
        )?;
        families.counter(
            "networking_gossip_streamed",
            "Gossip packets inside connections, by what became of them.",
            security.gossip.iter().map(|(what, count)| ([("what", *what)], *count)),
        )?;
        families.gauge(
            "networking_gossip_udp_silent",
            "1 while gossip travels inside connections because nothing comes by UDP.",
            [(NO_LABELS, u64::from(security.udp_is_silent))],
        )
    }

    fn node(&self, families: &mut Families<'_>) -> fmt::Result {
        families.gauge(
            "networking_node_info",
            "Always 1: the node that answers, and the version of its software.",
            [([("node_id", self.node_id.as_str()), ("version", self.version.as_str())], 1_u64)],
        )?;
        families.gauge(
            "networking_uptime_seconds",
            "How long the node has been running.",
            [(NO_LABELS, self.uptime.as_secs_f64())],
        )?;
        self.members(families)?;
        families.counter(
            "networking_dropped",
            "What was dropped because a limit was reached, by what it was.",
            self.dropped.iter().map(|(what, count)| ([("what", *what)], *count)),
        )
    }
}

type PeerLabel<'a> = [(&'static str, &'a str); 1];
type Sample<'a, const N: usize> = ([(&'static str, &'a str); N], u64);

const NO_LABELS: [(&str, &str); 0] = [];

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families { encoder };
        self.messages(&mut families)?;
        self.connections(&mut families)?;
        self.security(&mut families)?;
        self.discovery(&mut families)?;
        self.node(&mut families)
    }
}

/// Writes one family after the other.
struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Families<'_> {
    /// `name` without `_total`, which the encoder adds.
    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in samples {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        Ok(())
    }

    fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, LatencyHistogram)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in samples {
            encode_histogram(family.encode_family(&labels)?, &histogram)?;
        }
        Ok(())
    }
}

fn encode_histogram(mut encoder: MetricEncoder<'_>, histogram: &LatencyHistogram) -> fmt::Result {
    let count = histogram.count();
    let mut below = 0;
    let mut buckets = Vec::with_capacity(BUCKETS.len() + 1);
    for bound in BUCKETS {
        let up_to = histogram.count_up_to(Duration::from_secs_f64(bound));
        buckets.push((bound, up_to - below));
        below = up_to;
    }
    buckets.push((f64::INFINITY, count - below));
    let no_exemplars: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
    encoder.encode_histogram(histogram.sum().as_secs_f64(), count, &buckets, no_exemplars)
}
