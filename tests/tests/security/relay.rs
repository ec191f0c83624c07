//! A man in the middle: two TLS connections, and whatever is said on one is said again on the other.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;

use rdb_net_tests::frame;
use rdb_net_wire::{Hello, Message};
use tokio::runtime::Runtime;

use crate::mint::{Ca, Leaf};
use crate::node::{id, start};
use crate::raw::{ALPN, client, connect, outcome, patient, server, shake_hands, take_hands};
use crate::table::{Row, Seen, against};

pub(crate) fn rows() -> Vec<Row> {
    let refused = ("refused: identity", "identity");
    vec![
        Row::new("relayed by a node of the cluster", refused, |runtime, expected| {
            relayed(runtime, expected, |ca| (ca.node("m"), ca.node("m")), None)
        }),
        Row::new("relayed by one with the keys of both", refused, |runtime, expected| {
            relayed(runtime, expected, |ca| (ca.node("n2"), ca.node("n1")), None)
        }),
        Row::new("relayed by one with the keys of both, of a seed", refused, |runtime, expected| {
            let as_seed: fn(&mut Hello) = |hello| hello.target = None;
            relayed(runtime, expected, |ca| (ca.node("n2"), ca.node("n1")), Some(as_seed))
        }),
        Row::new("relayed where no certificate is wanted", refused, |runtime, expected| {
            // The man in the middle needs none towards the node; its hello would be believed but for the binding.
            let ca = Ca::new("ca");
            let node = start(runtime, "n1", &ca, |settings| settings.tls.verify_client = false);
            let mut inner = shake_hands(connect(node.address()), client(None, ALPN)).expect("let in by TLS");
            let other = start(runtime, "n3", &ca, |_| {});
            let elsewhere = shake_hands(connect(other.address()), client(Some(&ca.node("n2")), ALPN));
            let mut elsewhere = elsewhere.expect("let in by TLS");
            let bound = crate::raw::hello_on(&elsewhere.stream().conn, "n2");
            inner.send(&frame(&bound));
            let seen = (outcome(&mut inner), inner);
            let seen = against(node, runtime, expected, seen);
            drop(elsewhere);
            other.stop(runtime);
            seen
        }),
    ]
}

/// `n2` dials `n1` and comes to somebody who shows it one certificate, shows `n1` another, and hands on what is said.
fn relayed(runtime: &Runtime, expected: &Seen, keys: fn(&Ca) -> (Leaf, Leaf), change: Option<fn(&mut Hello)>) -> Seen {
    let ca = Ca::new("ca");
    let (dialer, taker) = (start(runtime, "n2", &ca, |_| {}), start(runtime, "n1", &ca, |_| {}));
    let (to_taker, to_dialer) = keys(&ca);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let middle = listener.local_addr().expect("bound");
    let address = taker.address();
    let (told, heard) = channel();
    let between = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("n2 dials");
        let mut outer = take_hands(patient(socket), server(&to_dialer, ALPN)).expect("n2 takes it for n1");
        let mut inner = shake_hands(connect(address), client(Some(&to_taker), ALPN)).expect("n1 takes it for a node");
        let (_, body) = outer.try_hear().expect("a hello").expect("a hello");
        let mut hello = Hello::decode(&body).expect("a hello");
        if let Some(change) = change {
            change(&mut hello);
        }
        inner.send(&frame(&hello));
        // What the node answers is handed back as it came.
        let mut answer = [0; 4096];
        let length = inner.stream().read(&mut answer).unwrap_or(0);
        let _ = outer.stream().write_all(&answer[..length]);
        let _ = outer.stream().flush();
        told.send(()).expect("the test waits");
        // Both are held until both nodes have had their say.
        let _ = outer.stream().read_to_end(&mut Vec::new());
    });
    let peer = dialer.transport.peer(&id("n1"), &middle.into());
    let seen = runtime.block_on(dialer.dialled(&peer));
    heard.recv().expect("the man in the middle has said everything");
    assert_eq!(dialer.handled(), 0, "no handler is reached");
    dialer.stop(runtime);
    between.join().expect("it ends");
    against(taker, runtime, expected, (seen, ()))
}
