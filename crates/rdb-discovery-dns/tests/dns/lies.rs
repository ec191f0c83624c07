//! What a name server may say instead of the truth, and what is believed of it.

use std::net::SocketAddr;

use rdb_discovery::{Cause, DiscoverySource, Freshness};
use rdb_discovery_dns::{DnsConfig, Records};
use rdb_discovery_driver::conformance::until;

use crate::liar::{Liar, Lie};
use crate::support::{address, config, finish, listed, started};

fn asking(server: SocketAddr) -> DnsConfig {
    config(server, "rdb.test", Records::Addresses { port: 7_000 })
}

const TRUTH: [&str; 1] = ["127.0.9.1:7000"];

fn cause(source: &dyn DiscoverySource) -> Option<Cause> {
    match source.snapshot().freshness {
        Freshness::Stale { cause, .. } => Some(cause),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_costs_a_node_and_each_is_told_for_what_it_is() {
    type Expected = fn(&Cause) -> bool;
    let unavailable: Expected = |cause| matches!(cause, Cause::Unavailable { .. });
    let refused: Expected = |cause| matches!(cause, Cause::Refused { .. });
    let any: Expected = |cause| matches!(cause, Cause::Unavailable { .. } | Cause::Invalid { .. });
    for (lie, expected) in [
        (Lie::Code(2), unavailable),
        (Lie::Code(5), refused),
        (Lie::Code(4), unavailable),
        (Lie::Silence, unavailable),
        (Lie::CutAlways, any),
        (Lie::OtherNumber, any),
        (Lie::OtherQuestion, any),
        (Lie::Noise, any),
    ] {
        let liar = Liar::start();
        let (source, mut reader) = started(asking(liar.address)).await;
        reader.until("=1").await;
        liar.says(lie);
        reader.until("degraded").await;
        let told = cause(&source).expect("it is stale");
        println!("{lie:?}: {told}");
        assert!(expected(&told), "{lie:?}: {told}");
        assert_eq!(listed(&source), TRUTH, "{lie:?}");
        liar.says(Lie::Truth);
        reader.until("restored").await;
        assert!(!reader.log.iter().any(|event| event.starts_with('-')), "{lie:?}: {:?}", reader.log);
        finish(source).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_answer_is_asked_for_again_by_tcp() {
    let liar = Liar::start();
    liar.says(Lie::Cut);
    let (source, mut reader) = started(asking(liar.address)).await;
    reader.until("=1").await;
    assert_eq!(listed(&source), TRUTH);
    finish(source).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_suddenly_gone_is_held_until_that_is_confirmed() {
    // It does not exist, or it exists and has no such record.
    for code in [3, 0] {
        let liar = Liar::start();
        let (source, mut reader) = started(asking(liar.address)).await;
        reader.until("=1").await;
        liar.says(Lie::Code(code));
        assert_eq!(reader.until("degraded").await, "degraded empty_answer", "{code}");
        assert_eq!(listed(&source), TRUTH, "{code}");
        liar.says(Lie::Truth);
        reader.until("restored").await;
        assert_eq!(reader.log, ["=1", "degraded empty_answer", "restored"], "{code}");
        finish(source).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_answers_where_the_first_is_dead_or_fails() {
    let (liar, honest) = (Liar::start(), Liar::start());
    liar.says(Lie::Code(2));
    for first in [address(), liar.address] {
        let servers = vec![first, honest.address];
        let (source, _reader) = started(DnsConfig { servers, ..asking(first) }).await;
        until("the second server is asked", || listed(&source) == TRUTH).await;
        finish(source).await;
    }
}
