//! Zones that are changed record by record by dynamic updates (RFC 2136), as platforms and DHCP servers do: with `nsupdate`, at knot
//! and at bind9.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdb_discovery_dns::{DnsConfig, Records};
use rdb_discovery_driver::conformance::until;

use crate::bind::Bind;
use crate::knot::{Knot, SERVICE};
use crate::support::{config, dig, finish, listed, started};

/// Sends these changes as one update, which the server takes whole.
fn update(server: SocketAddr, changes: &[String]) {
    let mut command = Command::new("nsupdate");
    let mut process = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsupdate starts");
    let changes: String = changes.iter().map(|change| format!("update {change}\n")).collect();
    let text = format!("server {} {}\nzone test.\n{changes}send\n", server.ip(), server.port());
    process.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = process.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// The service at this host of loopback, and the address of the host.
fn added(host: u8) -> [String; 2] {
    [format!("add {SERVICE} 1 SRV 0 0 7000 h{host}.test."), format!("add h{host}.test. 1 A 127.0.9.{host}")]
}

fn deleted(host: u8) -> [String; 2] {
    [format!("delete {SERVICE} SRV 0 0 7000 h{host}.test."), format!("delete h{host}.test. A")]
}

fn event(sign: char, host: u8) -> String {
    format!("{sign}127.0.9.{host}:7000")
}

/// How long additions took from the update to the event.
async fn each_update_is_told(server: SocketAddr) -> Vec<Duration> {
    update(server, &[added(1), added(2), added(3)].concat());
    let (source, mut reader) = started(config(server, SERVICE, Records::Srv)).await;
    reader.until("=3").await;
    let mut took = Vec::new();
    for host in 4..7 {
        update(server, &added(host));
        let updated = Instant::now();
        reader.until(&event('+', host)).await;
        took.push(updated.elapsed());
    }
    assert!(took.iter().any(|took| *took <= Duration::from_secs(2)), "the time to live and a second: {took:?}");

    update(server, &deleted(1));
    reader.until(&event('-', 1)).await;
    // One update is one change: nobody sees the one without the other.
    reader.log.clear();
    update(server, &[deleted(2), added(7)].concat());
    reader.until(&event('+', 7)).await;
    until("both are told", || listed(&source).len() == 5).await;
    assert_eq!(listed(&source), [3, 4, 5, 6, 7].map(|host| format!("127.0.9.{host}:7000")));
    assert_eq!(dig(server, SERVICE, "SRV").len(), 5, "as dig sees it");

    // The last record of a name is an update away from an empty list, and that is not believed at once.
    update(server, &[format!("delete {SERVICE} SRV")]);
    assert_eq!(reader.until("degraded").await, "degraded empty_answer");
    assert_eq!(listed(&source).len(), 5);
    let all: Vec<String> = (3..8).flat_map(added).collect();
    update(server, &all);
    reader.until("restored").await;
    finish(source).await;
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_a_zone_of_knot_are_followed() {
    let Some(knot) = Knot::start() else { return };
    println!("from the update to the event: {:?}", each_update_is_told(knot.address).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_a_zone_of_bind_are_followed() {
    let Some(bind) = Bind::start(1, "") else { return };
    println!("from the update to the event: {:?}", each_update_is_told(bind.address).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn negative_answers_are_asked_for_again_when_the_zone_says_so() {
    let Some(bind) = Bind::start(3, "exists A 127.0.9.1\n") else { return };
    for name in ["missing.test", "exists.test"] {
        let floor = Duration::from_secs(1);
        let wanted = DnsConfig { negative_min: floor, ..config(bind.address, name, Records::Srv) };
        let (source, mut reader) = started(wanted).await;
        reader.until("=").await;
        assert_eq!(reader.log, ["=0"], "an answer, though an empty one");
        let begun = Instant::now();
        until("the second round", || source.statistics().rounds == 2).await;
        let between = begun.elapsed();
        println!("{name}: asked for again after {between:?}");
        assert!(between >= Duration::from_millis(2_500), "3 s less a tenth at most, and not {between:?}");
        assert!(between < Duration::from_millis(4_500), "when it says so, and not the default of 5 s: {between:?}");
        finish(source).await;
    }
}
