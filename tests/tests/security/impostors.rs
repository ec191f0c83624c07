//! Ends made by hand that a node dials.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rdb_net_tests::{Stranger, frame};

use crate::mint::{Ca, Leaf, self_signed};
use crate::node::{Settings, id, start};
use crate::raw::{ALPN, hello_on, patient, server, take_hands, told};
use crate::table::{Row, Seen};

const UNTRUSTED: &str = "dial_untrusted";
/// What the hand-made server itself says to a client whose protocols are others.
const NO_PROTOCOL: &str = "peer doesn't support any known protocol";

/// `n2` dials somebody made by hand as `n1`.
fn impostor(
    name: &'static str,
    expected: (&str, &str),
    change: fn(&mut Settings),
    act: fn(&Ca, TcpStream) -> String,
) -> Row {
    Row::new(name, expected, move |runtime, _| {
        let ca = Ca::new("ca");
        let node = start(runtime, "n2", &ca, change);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let playing = std::thread::spawn(move || {
            let (socket, _) = listener.accept().expect("the node dials");
            act(&ca, patient(socket))
        });
        let peer = node.transport.peer(&id("n1"), &address.into());
        let dialer = runtime.block_on(node.dialled(&peer));
        assert_eq!(node.handled(), 0, "no handler is reached");
        node.transport.forget(&id("n1"));
        let taker = playing.join().expect("the impostor ends");
        node.stop(runtime);
        Seen { dialer, taker }
    })
}

fn as_it_is(_: &mut Settings) {}

/// The impostor's side of a handshake in which it shows this, up to the end.
fn shows(leaf: &Leaf, alpn: &[&str], socket: TcpStream) -> String {
    match take_hands(socket, server(leaf, alpn)) {
        Ok(mut taken) => match taken.try_hear() {
            Ok(Some(_)) => "a hello came".to_owned(),
            Ok(None) => "end".to_owned(),
            Err(error) => told(&error),
        },
        Err(seen) => seen,
    }
}

/// Takes the dialer's hello and answers with this one.
fn answers(ca: &Ca, socket: TcpStream, change: fn(&mut rdb_net_wire::Hello)) -> String {
    let mut taken = take_hands(socket, server(&ca.node("n1"), ALPN)).expect("taken for n1");
    taken.try_hear().expect("a hello").expect("a hello");
    let mut hello = hello_on(&taken.stream().conn, "n1");
    change(&mut hello);
    taken.send(&frame(&hello));
    loop {
        match taken.try_hear() {
            Ok(Some((head, _))) if head.message_type == rdb_net_wire::control_type::REJECT => {
                return "refused".to_owned();
            }
            Ok(Some(_)) => {}
            Ok(None) => return "end".to_owned(),
            Err(error) => return told(&error),
        }
    }
}

/// Waits for the first bytes, says these, and waits for the end.
fn says(mut socket: TcpStream, bytes: &[u8]) -> String {
    let _first = socket.read(&mut [0; 4096]).expect("something comes");
    socket.write_all(bytes).expect("sent");
    match socket.read_to_end(&mut Vec::new()) {
        Ok(_) => "end".to_owned(),
        Err(error) => told(&error),
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let identity_refused = "refused: identity";
    vec![
        impostor("dialled: one signed by itself", (UNTRUSTED, "alert UnknownCA"), as_it_is, |_, socket| {
            shows(&self_signed("n1"), ALPN, socket)
        }),
        impostor("dialled: no ALPN", (UNTRUSTED, "end"), as_it_is, |ca, socket| shows(&ca.node("n1"), &[], socket)),
        impostor("dialled: HTTP over TLS", (UNTRUSTED, NO_PROTOCOL), as_it_is, |ca, socket| {
            shows(&ca.node("n1"), &["h2"], socket)
        }),
        impostor("dialled: HTTP without TLS", (UNTRUSTED, "end"), as_it_is, |_, socket| {
            says(socket, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        }),
        impostor("dialled: one that hangs up", ("dial_io", "hung up"), as_it_is, |_, mut socket| {
            let _first = socket.read(&mut [0; 4096]).expect("something comes");
            "hung up".to_owned()
        }),
        impostor(
            "dialled: one that is silent",
            ("dial_timed_out", "end"),
            |settings| settings.handshake_timeout = Duration::from_millis(200),
            |_, socket| says(socket, b""),
        ),
        impostor(
            "dialled: one that is silent for the dial's own time",
            ("dial_timed_out", "end"),
            |settings| settings.config.dial_timeout = Duration::from_millis(200),
            |_, socket| says(socket, b""),
        ),
        impostor(
            "dialled: TLS, then no hello",
            ("ended: hello_timeout", "end"),
            |settings| settings.config.session.hello_timeout = Duration::from_millis(200),
            |ca, socket| {
                let mut taken = take_hands(socket, server(&ca.node("n1"), ALPN)).expect("taken for n1");
                taken.try_hear().expect("a hello").expect("a hello");
                taken.try_hear().map_or_else(|error| told(&error), |_| "end".to_owned())
            },
        ),
        impostor(
            "dialled: a hello without a channel binding",
            (identity_refused, "refused"),
            as_it_is,
            |ca, socket| answers(ca, socket, |hello| hello.channel_binding.clear()),
        ),
        impostor("dialled: a channel binding of zeros", (identity_refused, "refused"), as_it_is, |ca, socket| {
            answers(ca, socket, |hello| hello.channel_binding.fill(0))
        }),
        impostor("dialled: a hello of another node", (identity_refused, "refused"), as_it_is, |ca, socket| {
            answers(ca, socket, |hello| hello.node = id("n3"))
        }),
        impostor("dialled: a hello of another cluster", ("refused: cluster", "refused"), as_it_is, |ca, socket| {
            answers(ca, socket, |hello| hello.cluster = crate::node::cluster("billing"))
        }),
        impostor("dialled: no hello but a request", ("ended: protocol", "end"), as_it_is, |ca, socket| {
            let mut taken = take_hands(socket, server(&ca.node("n1"), ALPN)).expect("taken for n1");
            taken.try_hear().expect("a hello").expect("a hello");
            taken.send(&rdb_net_tests::message(crate::node::ECHO, 7, "hello"));
            end_of(taken)
        }),
    ]
}

fn end_of<S: Read + Write>(mut taken: Stranger<S>) -> String {
    loop {
        match taken.try_hear() {
            Ok(Some(_)) => {}
            Ok(None) => return "end".to_owned(),
            Err(error) => return told(&error),
        }
    }
}
