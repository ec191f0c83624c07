//! A process that has no file descriptor left: what is open goes on, what comes meanwhile is turned away, and what comes later
//! is taken. S25.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::child::{Child, descriptors, folder, serve};
use crate::mint::{Ca, Files};
use crate::node::{PATIENCE, ask, id, runtime, start, start_with, wait};

/// How many files the child may open: some for itself, and few for connections.
const DESCRIPTORS_MAX: u64 = 48;
/// More than that.
const STRANGERS: usize = 60;
/// How long a listener waits after it had no descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// The child: a node that may open few files.
fn node(folder: &Path) {
    let runtime = runtime();
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(DESCRIPTORS_MAX), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).expect("a process may have less");
    let node = start_with(&runtime, "n1", Files::at(folder), |settings| {
        // Who is silent stays for as long as it likes.
        settings.config.session.hello_timeout = Duration::from_secs(120);
    });
    serve(|_| {
        let (address, errors) = (node.address().to_string(), node.errors());
        json!({ "address": address, "errors": errors, "descriptors": descriptors(), "handled": node.handled() })
    });
}

fn accept_errors(report: &Value) -> u64 {
    report["errors"]["accept"].as_u64().unwrap_or(0)
}

/// Waits until the other side has closed, however it does so.
fn is_closed(mut stranger: &TcpStream) -> bool {
    stranger.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    match stranger.read(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// S25: who waits is taken with the one descriptor that is kept for that, and closed: one each 100 ms.
#[test]
fn a_listener_without_descriptors_keeps_its_connections_and_takes_others_later() {
    if let Some(folder) = folder() {
        return node(&folder);
    }
    let (runtime, ca) = (runtime(), Ca::new("ca"));
    let files = Files::write(&ca.pem(), &ca.node("n1"));
    let test = "starved::a_listener_without_descriptors_keeps_its_connections_and_takes_others_later";
    let mut child = Child::start(test, files.path(""));
    let first = child.ask("report");
    let address: SocketAddr = first["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");

    let two = start(&runtime, "n2", &ca, |_| {});
    let member = two.transport.peer(&id("n1"), &address.into());
    assert_eq!(runtime.block_on(two.dialled(&member)), "up");
    runtime.block_on(ask(&member)).expect("answered");
    let with_member = child.ask("report")["descriptors"].as_u64().expect("there are some left");

    let before_starved = Instant::now();
    let strangers: Vec<TcpStream> =
        (0..STRANGERS).map(|_| TcpStream::connect(address).expect("the kernel takes it")).collect();
    wait("the process has none left", PATIENCE, || accept_errors(&child.ask("report")) > 0);
    for _ in 0..100 {
        runtime.block_on(ask(&member)).expect("who is connected is answered");
    }
    let three = start(&runtime, "n3", &ca, |_| {});
    let waiting = three.transport.peer(&id("n1"), &address.into());
    assert_eq!(runtime.block_on(three.dialled(&waiting)), "dial_io", "it is turned away, and need not wait to know");
    assert!(is_closed(strangers.last().expect("many")), "and so are those before it");
    let starved = child.ask("report");
    let pauses = 1 + u64::try_from(before_starved.elapsed().as_millis() / PAUSE.as_millis()).expect("few");
    assert!(accept_errors(&starved) <= pauses, "it tries once in a pause: {starved} in {pauses}");

    drop(strangers);
    let begun = Instant::now();
    wait("the descriptors are free again", PATIENCE, || {
        child.ask("report")["descriptors"].as_u64().is_some_and(|now| now <= with_member)
    });
    let four = start(&runtime, "n4", &ca, |_| {});
    let late = four.transport.peer(&id("n1"), &address.into());
    assert_eq!(runtime.block_on(four.dialled(&late)), "up", "it takes connections again");
    println!("MEASURED a connection after a lack of descriptors: {} ms", begun.elapsed().as_millis());
    runtime.block_on(ask(&late)).expect("answered");
    runtime.block_on(ask(&member)).expect("answered");
    assert!(member.is_up() && two.errors().is_empty(), "the member has never been cut: {:?}", two.errors());
    println!("MEASURED failed accepts without descriptors: {}", accept_errors(&starved));
    assert_eq!(child.ask("report")["handled"], 103);
    for node in [two, three, four] {
        node.stop(&runtime);
    }
}
