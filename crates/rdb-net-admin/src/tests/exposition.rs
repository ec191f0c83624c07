//! The metrics, read by a strict parser.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::{MessageType, NodeId, PeerStatistics};

use super::fake::{Fake, histogram, node};
use super::{raw, start};
use crate::metrics::strict::{Families, Sample, parse};
use crate::metrics::{Format, Metrics};

const AFTER: Duration = Duration::from_secs(5);

fn scrape(fake: Fake, format: Format) -> Families {
    parse(&Metrics::new(Arc::new(fake)).render(AFTER, format), format)
}

/// The value of the sample with exactly these labels.
#[track_caller]
fn value(families: &Families, family: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: BTreeMap<String, String> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let found = families[family].samples.iter().find(|sample| sample.labels == labels);
    found.unwrap_or_else(|| panic!("{family}{labels:?} in {:?}", families[family])).value
}

/// Every family: its name in the text format, its type, its labels.
const FAMILIES: [(&str, &str, &[&str]); 33] = [
    ("networking_messages_sent_total", "counter", &["message_type", "node_id"]),
    ("networking_messages_received_total", "counter", &["message_type", "node_id"]),
    ("networking_message_latency_seconds", "gauge", &["node_id", "percentile"]),
    ("networking_connection_errors_total", "counter", &["error_type", "node_id"]),
    ("networking_active_connections", "gauge", &["node_id"]),
    ("networking_bytes_sent_total", "counter", &["node_id"]),
    ("networking_bytes_received_total", "counter", &["node_id"]),
    ("networking_health_check_failures_total", "counter", &["node_id"]),
    ("networking_message_roundtrip_seconds", "histogram", &["node_id"]),
    ("networking_latency_window_seconds", "gauge", &[]),
    ("networking_requests_total", "counter", &["node_id", "outcome"]),
    ("networking_late_replies_total", "counter", &["node_id"]),
    ("networking_plaintext", "gauge", &[]),
    ("networking_certificate_seconds_left", "gauge", &["fingerprint", "kind", "name"]),
    ("networking_certificate_reloads_total", "counter", &["result"]),
    ("networking_tls_handshakes_total", "counter", &["end"]),
    ("networking_gossip_key_age_seconds", "gauge", &["key", "state"]),
    ("networking_gossip_sealed_total", "counter", &["what"]),
    ("networking_gossip_streamed_total", "counter", &["what"]),
    ("networking_gossip_udp_silent", "gauge", &[]),
    ("networking_discovery_up", "gauge", &["source"]),
    ("networking_discovery_answer_age_seconds", "gauge", &["source"]),
    ("networking_discovery_nodes", "gauge", &["source"]),
    ("networking_discovery_registered", "gauge", &["source", "state"]),
    ("networking_node_info", "gauge", &["node_id", "version"]),
    ("networking_uptime_seconds", "gauge", &[]),
    ("networking_members", "gauge", &["state"]),
    ("networking_members_vanished", "gauge", &[]),
    ("networking_split_brain_withdrawn", "gauge", &[]),
    ("networking_links_busy", "gauge", &[]),
    ("networking_gossip_waited_seconds_max", "gauge", &[]),
    ("networking_membership_total", "counter", &["counter"]),
    ("networking_dropped_total", "counter", &["what"]),
];

fn labels_of(sample: &Sample) -> Vec<&str> {
    sample.labels.keys().map(String::as_str).filter(|name| *name != "le").collect()
}

#[test]
fn both_formats_have_every_family_with_its_labels_and_no_other() {
    for format in [Format::Text, Format::OpenMetrics] {
        let families = scrape(Fake::default(), format);
        let expected: BTreeSet<&str> = FAMILIES.iter().map(|row| row.0).collect();
        let name_in = |name: &str, kind: &str| match format {
            Format::OpenMetrics if kind == "counter" => format!("{name}_total"),
            Format::OpenMetrics | Format::Text => name.to_owned(),
        };
        let present: BTreeSet<String> = families.iter().map(|(name, family)| name_in(name, &family.kind)).collect();
        assert_eq!(present.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
        for (name, family) in &families {
            let (_, kind, labels) =
                *FAMILIES.iter().find(|row| row.0 == name_in(name, &family.kind)).expect("expected");
            assert_eq!(family.kind, kind, "{name}");
            assert!(!family.samples.is_empty(), "{name}");
            family.samples.iter().for_each(|sample| assert_eq!(labels_of(sample), labels, "{name}"));
        }
    }
}

#[test]
fn a_node_without_peers_still_has_every_family() {
    let fake = Fake::default();
    *fake.statistics.lock().expect("not poisoned") = Default::default();
    assert_eq!(scrape(fake, Format::Text).len(), FAMILIES.len());
}

#[test]
fn values_are_those_of_the_statistics() {
    let families = scrape(Fake::default(), Format::Text);
    let of = |family: &str, labels: &[(&str, &str)]| value(&families, family, labels);
    let n2 = ("node_id", "n2");
    assert_eq!(of("networking_messages_sent_total", &[n2, ("message_type", "query_request")]), 7.0);
    assert_eq!(of("networking_messages_sent_total", &[n2, ("message_type", "0x8001")]), 3.0);
    assert_eq!(of("networking_messages_sent_total", &[n2, ("message_type", "ping")]), 1.0);
    assert_eq!(of("networking_messages_received_total", &[n2, ("message_type", "query_response")]), 6.0);
    assert_eq!(of("networking_connection_errors_total", &[n2, ("error_type", "refused")]), 4.0);
    let unidentified = [("node_id", "_unidentified"), ("error_type", "version")];
    assert_eq!(of("networking_connection_errors_total", &unidentified), 5.0);
    assert_eq!(of("networking_active_connections", &[n2]), 2.0);
    assert_eq!(of("networking_bytes_sent_total", &[n2]), 1000.0);
    assert_eq!(of("networking_bytes_received_total", &[n2]), 2000.0);
    assert_eq!(of("networking_health_check_failures_total", &[("node_id", "n3")]), 9.0);
    assert_eq!(of("networking_requests_total", &[n2, ("outcome", "ok")]), 6.0);
    assert_eq!(of("networking_node_info", &[("node_id", "n1"), ("version", "1.2.3")]), 1.0);
    assert_eq!(of("networking_members", &[("state", "alive")]), 2.0);
    assert_eq!(of("networking_members", &[("state", "left")]), 0.0);
    assert_eq!(of("networking_membership_total", &[("counter", "probes_started")]), 11.0);
    assert_eq!(of("networking_gossip_waited_seconds_max", &[]), 0.0025);
    assert_eq!(of("networking_split_brain_withdrawn", &[]), 1.0);
    assert_eq!((of("networking_members_vanished", &[]), of("networking_links_busy", &[])), (3.0, 2.0));
    assert_eq!(of("networking_dropped_total", &[("what", "events")]), 2.0);
    assert_eq!(of("networking_uptime_seconds", &[]), 90.5);
    assert_eq!(of("networking_plaintext", &[]), 0.0, "TLS is on");
}

#[test]
fn percentiles_are_of_the_last_minute_and_absent_without_replies() {
    let families = scrape(Fake::default(), Format::Text);
    let family = &families["networking_message_latency_seconds"];
    assert!(family.samples.iter().all(|sample| sample.labels["node_id"] == "n2"), "n3 answered nothing");
    for (percentile, exact) in [("0.5", 0.050), ("0.9", 0.090), ("0.95", 0.095), ("0.99", 0.099), ("0.999", 0.100)] {
        let labels = [("node_id", "n2"), ("percentile", percentile)];
        let measured = value(&families, "networking_message_latency_seconds", &labels);
        assert!((exact..exact * 1.13).contains(&measured), "{percentile}: {measured}");
    }

    let fake = Arc::new(Fake::default());
    let metrics = Metrics::new(Arc::clone(&fake) as _);
    metrics.sample(Duration::ZERO);
    let later = parse(&metrics.render(Duration::from_secs(70), Format::Text), Format::Text);
    assert!(later["networking_message_latency_seconds"].samples.is_empty());
    let count = later["networking_message_roundtrip_seconds"].samples.iter().find(|s| s.name.ends_with("_count"));
    assert_eq!(count.map(|sample| sample.value), Some(100.0));
}

#[test]
fn histogram_buckets_hold_what_was_counted() {
    let fake = Fake::default();
    fake.statistics.lock().expect("not poisoned").latencies =
        [(node("n2"), histogram([1, 2, 20, 200, 2_000, 60_000]))].into();
    let families = scrape(fake, Format::OpenMetrics);
    let family = &families["networking_message_roundtrip_seconds"];
    let of_n2 = || family.samples.iter().filter(|sample| sample.labels["node_id"] == "n2");
    let bucket = |le: &str| of_n2().find(|sample| sample.labels.get("le").is_some_and(|l| l == le)).expect(le).value;
    assert_eq!([bucket("0.0005"), bucket("0.0025"), bucket("0.025"), bucket("0.25")], [0.0, 2.0, 3.0, 4.0]);
    assert_eq!([bucket("10.0"), bucket("+Inf")], [5.0, 6.0]);
    let sum = of_n2().find(|sample| sample.name.ends_with("_sum")).expect("a sum").value;
    assert!((sum - 62.223).abs() < 1e-9, "{sum}");
}

/// S19: 2,000 peers and 64 types of an application have series of their own, and no more.
#[test]
fn peers_and_types_beyond_their_limits_are_counted_together() {
    let fake = Fake::default();
    let own_types: BTreeMap<MessageType, u64> = (0x8000..0x8100).map(|number| (MessageType(number), 1)).collect();
    let statistics = PeerStatistics { bytes_sent: 10, ..PeerStatistics::default() };
    let peer = |n: u32| (NodeId::new(&format!("p{n:05}")).expect("legal"), statistics.clone());
    {
        let mut all = fake.statistics.lock().expect("not poisoned");
        *all = Default::default();
        all.transport.peers = (0..2_010).map(peer).collect();
        // A node may be called like the rest: its counts go there.
        all.transport.peers.insert(node("_other"), PeerStatistics { sent: own_types, ..statistics.clone() });
    }
    let families = scrape(fake, Format::Text);
    let bytes = &families["networking_bytes_sent_total"].samples;
    assert_eq!(bytes.len(), 2_000);
    assert_eq!(value(&families, "networking_bytes_sent_total", &[("node_id", "_other")]), 120.0);
    assert_eq!(bytes.iter().map(|sample| sample.value).sum::<f64>(), 20_110.0);
    let sent = &families["networking_messages_sent_total"].samples;
    let types: BTreeSet<&str> = sent.iter().map(|sample| sample.labels["message_type"].as_str()).collect();
    assert_eq!(types.len(), 65);
    assert_eq!(sent.iter().map(|sample| sample.value).sum::<f64>(), 256.0);
}

#[tokio::test]
async fn the_endpoint_speaks_the_format_that_is_asked_for() {
    let running = start().await;
    let plain = running.get("/metrics").await;
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert_eq!(parse(&plain.body, Format::Text).len(), FAMILIES.len());
    let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let request = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\n{accept}\r\nconnection: close\r\n\r\n");
    let open_metrics = raw(running.address, &request).await;
    assert!(open_metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert_eq!(parse(&open_metrics.body, Format::OpenMetrics).len(), FAMILIES.len());
    running.server.shutdown().await;
}
