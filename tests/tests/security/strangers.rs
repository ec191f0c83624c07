//! Ends made by hand that dial a node: what they show, say and leave out.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rcgen::ExtendedKeyUsagePurpose as Eku;
use rdb_net_tests::{Stranger, frame, hello};

use crate::mint::{Ca, Leaf, identity, self_signed, years};
use crate::node::{Node, Settings, start};
use crate::raw::{ALPN, Client, client, connect, dial, greet, hello_on, outcome, shake_hands, told};
use crate::table::{Row, UP, against};

/// One deadline for TLS and hello together, where a stranger keeps the node waiting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
/// The limit on what a stranger may make a node hold, and some more.
const TOO_MUCH_BYTES: usize = 20_000;

pub(crate) fn rows() -> Vec<Row> {
    [certificates(), bytes(), silences(), hellos()].into_iter().flatten().collect()
}

/// A stranger at the door of `n1`. What it returns beside how it went stays open until the node has been looked at.
fn stranger<T: 'static>(
    name: &'static str,
    expected: (&str, &str),
    change: fn(&mut Settings),
    act: fn(&Ca, &Node) -> (String, T),
) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        let node = start(runtime, "n1", &ca, |settings| {
            settings.config.session.hello_timeout = HELLO_TIMEOUT;
            change(settings);
        });
        let seen = act(&ca, &node);
        against(node, runtime, expected, seen)
    })
}

fn as_it_is(_: &mut Settings) {}

/// What becomes of a client with this certificate that says the right hello of `n2`.
fn shows(leaf: Option<&Leaf>, alpn: &[&str], node: &Node) -> (String, Option<Client>) {
    match dial(node.address(), client(leaf, alpn)) {
        Ok(mut stranger) => {
            let hello = hello_on(&stranger.stream().conn, "n2");
            (greet(&mut stranger, &hello), Some(stranger))
        }
        Err(seen) => (seen, None),
    }
}

/// A client with a certificate of the node's CA.
fn certificate(name: &'static str, expected: (&str, &str), leaf: fn(&Ca) -> Leaf) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        let node = start(runtime, "n1", &ca, |_| {});
        let seen = shows(Some(&leaf(&ca)), ALPN, &node);
        against(node, runtime, expected, seen)
    })
}

fn certificates() -> Vec<Row> {
    let usage = ("alert UnsupportedCertificate", "wrong_key_usage");
    vec![
        certificate("a certificate made by hand", UP, |ca| ca.node("n2")),
        certificate("one signed by itself", ("alert UnknownCA", "unknown_issuer"), |_| self_signed("n2")),
        certificate("an expired one", ("alert CertificateExpired", "expired"), |ca| {
            ca.leaf("n2", |params| years(params, 2020, 2021))
        }),
        certificate("two identities", ("alert BadCertificate", "several_identities"), |ca| {
            ca.leaf("n2", |params| params.subject_alt_names.push(identity("node", "n3")))
        }),
        certificate("no identity", ("alert BadCertificate", "no_identity"), |ca| {
            ca.leaf("n2", |params| params.subject_alt_names.clear())
        }),
        certificate("a certificate for servers only", usage, |ca| {
            ca.leaf("n2", |params| params.extended_key_usages = vec![Eku::ServerAuth])
        }),
        stranger("no certificate", ("alert CertificateRequired", "no_certificate"), as_it_is, |_, node| {
            shows(None, ALPN, node)
        }),
        stranger(
            "no certificate where none is wanted",
            UP,
            |settings| settings.tls.verify_client = false,
            |_, node| shows(None, ALPN, node),
        ),
        stranger(
            "a bad certificate where none is wanted",
            ("alert UnknownCA", "unknown_issuer"),
            |settings| settings.tls.verify_client = false,
            |_, node| shows(Some(&self_signed("n2")), ALPN, node),
        ),
        stranger("no ALPN", ("alert NoApplicationProtocol", "no_alpn"), as_it_is, |ca, node| {
            shows(Some(&ca.node("n2")), &[], node)
        }),
        stranger("the ALPN of HTTP", ("alert NoApplicationProtocol", "no_alpn"), as_it_is, |ca, node| {
            shows(Some(&ca.node("n2")), &["h2", "http/1.1"], node)
        }),
    ]
}

/// Everything that comes back: `alert n` in the clear, or how it ends.
fn answer(mut socket: TcpStream) -> String {
    let mut heard = Vec::new();
    let ended = socket.read_to_end(&mut heard);
    match (heard.as_slice(), ended) {
        ([0x15, 3, _, 0, 2, 2, alert], _) => format!("alert {alert}"),
        ([], Ok(_)) => "end".to_owned(),
        ([], Err(error)) => told(&error),
        (heard, _) => format!("{heard:02x?}"),
    }
}

/// A stranger that sends these bytes instead of TLS.
fn says(node: &Node, bytes: &[u8]) -> (String, ()) {
    let mut socket = connect(node.address());
    socket.write_all(bytes).expect("sent");
    (answer(socket), ())
}

/// The first half of what a client says first.
fn half_a_hello() -> Vec<u8> {
    let name = "localhost".try_into().expect("a name");
    let mut connection = rustls::ClientConnection::new(client(None, ALPN), name).expect("a configuration");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("written");
    hello.truncate(hello.len() / 2);
    hello
}

fn bytes() -> Vec<Row> {
    let plaintext = ("alert 10", "plaintext_peer");
    vec![
        stranger("a hello without TLS", plaintext, as_it_is, |_, node| says(node, &frame(&hello("n2")))),
        stranger("HTTP", plaintext, as_it_is, |_, node| says(node, b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n")),
        stranger("zeros", plaintext, as_it_is, |_, node| says(node, &[0; 64])),
        stranger("a record of 0xff", ("end", "protocol"), as_it_is, |_, node| {
            says(node, &[&[0x16, 3, 1, 0, 64], [0xff; 64].as_slice()].concat())
        }),
        stranger("more than 16 KiB before it is known", ("reset", "too_large"), as_it_is, |_, node| {
            let mut socket = connect(node.address());
            // A hello of 60,000 bytes, in records of 1,000.
            let mut payload = vec![1, 0, 0xea, 0x60];
            payload.resize(1000, 7);
            for _ in 0..TOO_MUCH_BYTES / 1000 {
                let record = [&[0x16, 3, 1, 3, 0xe8], payload.as_slice()].concat();
                if socket.write_all(&record).is_err() {
                    break;
                }
                payload.fill(7);
            }
            // Whether it gets the alert or the reset first is the kernel's.
            let seen = answer(socket);
            (if seen == "end" || seen.starts_with("alert") { "reset".to_owned() } else { seen }, ())
        }),
        stranger("a chain of eighty certificates", ("reset", "too_large"), as_it_is, |ca, node| {
            let mut leaf = ca.node("n2");
            leaf.chain = std::iter::repeat_n(leaf.chain[0].clone(), 80).collect();
            let (seen, open) = shows(Some(&leaf), ALPN, node);
            (if seen == "end" || seen.starts_with("alert") { "reset".to_owned() } else { seen }, open)
        }),
        stranger("something else than frames inside TLS", ("closed: protocol", "bad_magic"), as_it_is, |ca, node| {
            let mut stranger = dial(node.address(), client(Some(&ca.node("n2")), ALPN)).expect("let in by TLS");
            stranger.send(b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n");
            (outcome(&mut stranger), stranger)
        }),
    ]
}

fn silences() -> Vec<Row> {
    vec![
        stranger("nothing", ("end", "handshake_timeout"), as_it_is, |_, node| {
            let begun = Instant::now();
            let seen = answer(connect(node.address()));
            in_one_deadline(begun);
            (seen, ())
        }),
        stranger("half a ClientHello, then silence", ("end", "handshake_timeout"), as_it_is, |_, node| {
            let begun = Instant::now();
            let seen = says(node, &half_a_hello());
            in_one_deadline(begun);
            seen
        }),
        stranger("half a ClientHello, then it hangs up", ("end", "closed"), as_it_is, |_, node| {
            let mut socket = connect(node.address());
            socket.write_all(&half_a_hello()).expect("sent");
            socket.shutdown(Shutdown::Write).expect("the connection is there");
            (answer(socket), ())
        }),
        stranger("TLS, then no hello", ("end", "hello_timeout"), as_it_is, |ca, node| {
            let begun = Instant::now();
            let mut stranger = dial(node.address(), client(Some(&ca.node("n2")), ALPN)).expect("let in by TLS");
            let seen = outcome(&mut stranger);
            in_one_deadline(begun);
            (seen, ())
        }),
        stranger("TLS late, then no hello", ("end", "hello_timeout"), as_it_is, |ca, node| {
            let begun = Instant::now();
            let mut silent = Stranger::on(connect(node.address()));
            assert!(!silent.listen(HELLO_TIMEOUT / 2), "the node waits");
            let socket = silent.stream().try_clone().expect("a descriptor");
            let shaken = shake_hands(socket, client(Some(&ca.node("n2")), ALPN));
            let seen = outcome(&mut shaken.expect("let in by TLS"));
            in_one_deadline(begun);
            (seen, ())
        }),
        stranger("TLS, then half a hello", ("end", "hello_timeout"), as_it_is, |ca, node| {
            let begun = Instant::now();
            let mut stranger = dial(node.address(), client(Some(&ca.node("n2")), ALPN)).expect("let in by TLS");
            let hello = frame(&hello_on(&stranger.stream().conn, "n2"));
            stranger.send(&hello[..hello.len() / 2]);
            let seen = outcome(&mut stranger);
            in_one_deadline(begun);
            (seen, ())
        }),
        stranger("TLS, then it hangs up", ("end", "eof"), as_it_is, |ca, node| {
            let mut stranger = dial(node.address(), client(Some(&ca.node("n2")), ALPN)).expect("let in by TLS");
            stranger.stream().conn.send_close_notify();
            stranger.stream().flush().expect("sent");
            (outcome(&mut stranger), ())
        }),
    ]
}

/// TLS and hello have one deadline together, from the connection's beginning. With one each, who is late by half of the first
/// would stay for one and a half.
#[track_caller]
fn in_one_deadline(begun: Instant) {
    let took = begun.elapsed();
    let expected = HELLO_TIMEOUT - Duration::from_millis(50)..HELLO_TIMEOUT + HELLO_TIMEOUT * 2 / 5;
    assert!(expected.contains(&took), "{took:?} instead of {HELLO_TIMEOUT:?}");
}

/// A client with the certificate of `n2` and this hello.
fn claims(name: &'static str, expected: (&str, &str), change: fn(&mut rdb_net_wire::Hello)) -> Row {
    Row::new(name, expected, move |runtime, expected| {
        let ca = Ca::new("ca");
        let node = start(runtime, "n1", &ca, |_| {});
        let mut stranger = dial(node.address(), client(Some(&ca.node("n2")), ALPN)).expect("let in by TLS");
        let mut hello = hello_on(&stranger.stream().conn, "n2");
        change(&mut hello);
        let seen = greet(&mut stranger, &hello);
        against(node, runtime, expected, (seen, stranger))
    })
}

fn hellos() -> Vec<Row> {
    let identity_refused = ("refused: identity", "identity");
    vec![
        claims("a hello of another node", identity_refused, |hello| hello.node = crate::node::id("n3")),
        claims("a hello without a channel binding", identity_refused, |hello| hello.channel_binding.clear()),
        claims("a channel binding of zeros", identity_refused, |hello| hello.channel_binding.fill(0)),
        claims("the first half of the channel binding", identity_refused, |hello| hello.channel_binding.truncate(16)),
        claims("a channel binding and a byte more", identity_refused, |hello| hello.channel_binding.push(0)),
        claims("a hello of another cluster", ("refused: cluster", "cluster"), |hello| {
            hello.cluster = crate::node::cluster("billing");
        }),
        claims("a hello for another node", ("refused: target_node", "target_node"), |hello| {
            hello.target = Some(crate::node::id("n9"));
        }),
        stranger(
            "a channel binding to a node without TLS",
            identity_refused,
            |settings| settings.is_secured = false,
            |_, node| {
                let mut stranger = Stranger::connect(node.address());
                let bound = rdb_net_wire::Hello { channel_binding: vec![7; 32], ..hello("n2") };
                (greet(&mut stranger, &bound), stranger)
            },
        ),
    ]
}
