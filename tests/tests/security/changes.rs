//! What an operator changes while nodes run: revocations, CAs, and time itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdb_net_tls::{CHECK_INTERVAL_DEFAULT, TlsEvent};
use rdb_net_transport::{PeerEvent, PeerHandle, Rechecked};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::mint::{Ca, Files, Moved};
use crate::node::{Node, PATIENCE, Settings, ask, runtime, start, start_as, start_with, wait};

/// How soon a revoked peer is cut.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// Looks after a node's files, as whoever runs it does.
fn watch(runtime: &Runtime, node: &Node) -> CancellationToken {
    let (cancelled, transport) = (CancellationToken::new(), node.transport.clone());
    let reloader = node.tls.as_ref().expect("it has files").reloader().clone();
    let tell = move |event| {
        if matches!(event, TlsEvent::Reloaded { .. }) {
            transport.recheck_trust();
        }
    };
    runtime.spawn(reloader.watch(CHECK_INTERVAL_DEFAULT, cancelled.clone(), tell));
    cancelled
}

/// Connects one to the other.
#[track_caller]
fn connect(runtime: &Runtime, from: &Node, to: &Node) -> PeerHandle {
    let peer = from.peer(to);
    assert_eq!(runtime.block_on(from.dialled(&peer)), "up", "{} to {}", from.id, to.id);
    runtime.block_on(ask(&peer)).expect("answered");
    peer
}

/// S5.
#[test]
pub(crate) fn a_revoked_peer_is_cut_within_five_seconds_and_nobody_else() {
    let (runtime, ca) = (runtime(), Ca::new("ca"));
    let revoked = ca.node("n2");
    let files = Files::write(&ca.pem(), &ca.node("n1"));
    files.put("crl.pem", &ca.list(&[]));
    let one = start_with(&runtime, "n1", files, |_| {});
    let two = start_as(&runtime, "n2", &ca, &revoked, |_| {});
    let three = start(&runtime, "n3", &ca, |_| {});
    let (here, there) = (connect(&runtime, &one, &two), connect(&runtime, &two, &one));
    let other = connect(&runtime, &three, &one);
    assert_eq!(one.connections(), 3);

    let watching = watch(&runtime, &one);
    // A first change, of somebody else: from then on it looks at its interval.
    one.files.put("crl.pem", &ca.list(&[&ca.node("n9")]));
    let tls = one.tls.clone().expect("it has files");
    wait("the first change is in force", CUT_WITHIN, || tls.current().number() == 2);
    assert_eq!(one.connections(), 3, "it is nobody's here");
    let begun = Instant::now();
    one.files.put("crl.pem", &ca.list(&[&revoked]));
    wait("the revoked peer is cut", CUT_WITHIN, || one.connections() == 1);
    println!("MEASURED revoked peer cut: {} ms, bound {}", begun.elapsed().as_millis(), CUT_WITHIN.as_millis());

    let untrusted = || one.transport.statistics().peers[&two.id].errors.get("untrusted").copied();
    wait("both directions, and why", PATIENCE, || untrusted() == Some(2));
    assert!(other.is_up(), "who is not revoked stays");
    runtime.block_on(ask(&other)).expect("and is answered");
    wait("the other end knows", PATIENCE, || !there.is_up());
    // The two dial each other again, and neither comes in.
    let refused = runtime.block_on(async {
        loop {
            if let PeerEvent::DialFailed { failure, .. } = two.transport.next_event().await {
                return format!("{failure:?}");
            }
        }
    });
    assert_eq!(refused, "Dial(Untrusted)");
    let handled = two.handled();
    let unreachable = runtime.block_on(ask(&here)).expect_err("the revoked node is not asked");
    assert_eq!((two.handled(), unreachable.detail.as_deref()), (handled, Some("dial_untrusted")));
    watching.cancel();
    for node in [one, two, three] {
        node.stop(&runtime);
    }
}

#[test]
pub(crate) fn a_file_that_is_no_list_cuts_nobody_and_keeps_the_last_good_one() {
    let (runtime, ca) = (runtime(), Ca::new("ca"));
    let revoked = ca.node("n3");
    let files = Files::write(&ca.pem(), &ca.node("n1"));
    files.put("crl.pem", &ca.list(&[&revoked]));
    let one = start_with(&runtime, "n1", files, |_| {});
    let two = start(&runtime, "n2", &ca, |_| {});
    let three = start_as(&runtime, "n3", &ca, &revoked, |_| {});
    let peer = connect(&runtime, &two, &one);
    for (name, text) in [("crl.pem", "no list"), ("ca.pem", "no CA"), ("key.pem", &ca.node("n1").key_pem)] {
        let before = std::fs::read_to_string(one.files.path(name)).expect("readable");
        one.files.put(name, text);
        let tls = one.tls.as_ref().expect("it has files");
        tls.reloader().reload().expect_err("the file is bad");
        assert_eq!(one.recheck(&runtime), Rechecked::default(), "{name}");
        runtime.block_on(ask(&peer)).expect("answered");
        one.files.put(name, &before);
    }
    let refused = three.peer(&one);
    assert_eq!(runtime.block_on(three.dialled(&refused)), "dial_untrusted", "the last good list holds");
    for node in [one, two, three] {
        node.stop(&runtime);
    }
}

#[test]
pub(crate) fn a_certificate_that_ends_while_it_is_connected_ends_the_connection() {
    let (runtime, ca) = (runtime(), Ca::new("ca"));
    let short = ca.leaf("n2", |params| crate::mint::years(params, 2020, 2045));
    let now = Moved::years(0);
    let one = start(&runtime, "n1", &ca, |settings| {
        settings.options.clock = now.clock();
        settings.config.outdated_grace = Duration::from_millis(200);
    });
    let two = start_as(&runtime, "n2", &ca, &short, |_| {});
    let three = start(&runtime, "n3", &ca, |_| {});
    let (_dialled, _taken) = (connect(&runtime, &one, &two), connect(&runtime, &two, &one));
    let other = connect(&runtime, &three, &one);
    assert_eq!(one.recheck(&runtime), Rechecked::default(), "it is in its time");
    now.put(30);
    assert_eq!(one.recheck(&runtime), Rechecked { ended: 0, renewed: 2 }, "both directions");
    wait("they have ended, since there is no better proof", PATIENCE, || {
        assert_eq!(one.recheck(&runtime).renewed, 0);
        one.connections() == 1
    });
    runtime.block_on(ask(&other)).expect("the other one is answered");
    assert!(one.transport.statistics().peers[&two.id].errors["dial_untrusted"] > 0, "it was looked for");
    for node in [one, two, three] {
        node.stop(&runtime);
    }
}

/// Three nodes, each of which asks each other one without a pause.
struct Trio {
    runtime: Runtime,
    nodes: Vec<Node>,
    peers: Vec<(usize, PeerHandle)>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

fn eager(settings: &mut Settings) {
    settings.config.peer = rdb_net_peer::PeerConfig::default();
}

impl Trio {
    fn start(ca: &Ca) -> Self {
        let runtime = runtime();
        let nodes: Vec<Node> = ["n1", "n2", "n3"].iter().map(|name| start(&runtime, name, ca, eager)).collect();
        let pairs = (0..3).flat_map(|from| (0..3).filter(move |to| *to != from).map(move |to| (from, to)));
        let peers: Vec<(usize, PeerHandle)> = pairs.map(|(from, to)| (from, nodes[from].peer(&nodes[to]))).collect();
        let trio =
            Self { runtime, nodes, peers, answered: Arc::default(), failed: Arc::default(), over: Arc::default() };
        for (_, peer) in trio.peers.clone() {
            let (answered, failed, over) = (trio.answered.clone(), trio.failed.clone(), trio.over.clone());
            trio.runtime.spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    match ask(&peer).await {
                        Ok(()) => answered.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            println!("a request failed: {error}");
                            failed.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            });
        }
        trio
    }

    /// A step on one node after the other, with traffic before, between and after. Returns how many connections it has renewed.
    fn step(&self, what: &str, change: impl Fn(&Node)) -> usize {
        let mut renewed = 0;
        for node in &self.nodes {
            change(node);
            let rechecked = node.reload(&self.runtime);
            assert_eq!(rechecked.ended, 0, "{what}: no connection of {} is cut", node.id);
            renewed += rechecked.renewed;
            self.flows();
        }
        assert_eq!(self.failed.load(Ordering::SeqCst), 0, "{what}: no request has failed");
        renewed
    }

    /// Waits until requests have gone on.
    fn flows(&self) {
        let before = self.answered.load(Ordering::SeqCst);
        wait("traffic goes on", PATIENCE, || self.answered.load(Ordering::SeqCst) > before + 60);
    }
}

/// S6: three steps, each on one node after the other; nothing is lost that an operator did not take away.
#[test]
pub(crate) fn a_ca_rotates_under_traffic_without_a_failed_request() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let trio = Trio::start(&old);
    trio.flows();
    let both = old.pem() + &new.pem();
    assert_eq!(trio.step("the new CA beside the old one", |node| node.files.put("ca.pem", &both)), 0);

    // Out of order, a node does not follow: its own certificate would not be believed.
    let first = &trio.nodes[0];
    first.files.put("ca.pem", &new.pem());
    first.tls.as_ref().expect("it has files").reloader().reload().expect_err("its certificate is of the old CA");
    first.files.put("ca.pem", &both);

    assert_eq!(trio.step("new certificates", |node| node.files.put_leaf(&new.node(node.id.as_str()))), 0);
    let renewed = trio.step("the old CA is gone", |node| node.files.put("ca.pem", &new.pem()));
    assert!(renewed > 0, "what was made with old certificates is replaced");

    let late = start(&trio.runtime, "n4", &old, |_| {});
    let latecomer = late.peer(&trio.nodes[0]);
    assert_eq!(trio.runtime.block_on(late.dialled(&latecomer)), "dial_untrusted", "who has missed it stays outside");
    late.stop(&trio.runtime);

    trio.over.store(true, Ordering::SeqCst);
    let answered = trio.answered.load(Ordering::SeqCst);
    let failed = trio.failed.load(Ordering::SeqCst);
    println!("MEASURED requests while a CA rotates: {answered}, {failed} failed, {renewed} connections renewed");
    assert_eq!(failed, 0);
    for node in trio.nodes {
        node.stop(&trio.runtime);
    }
}
