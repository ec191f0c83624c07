//! What a stranger may cost: bytes, time, and rules that it breaks. S12.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;

use super::mint::{Ca, Leaf};
use super::raw::{Speaks, client, server};
use super::scene::{BUFFER, Dialer, Node, Taker, check, exactly, node, node_with, soon};
use crate::{Expected, TlsRefusal};

/// The bytes of a record of a handshake, as long as it says.
fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    [&[0x16, 3, 1][..], &length, payload].concat()
}

/// The first record of a good client.
fn client_hello(leaf: &Leaf) -> Vec<u8> {
    let config = client(Some(leaf), &Speaks::default());
    let name = "localhost".try_into().expect("a name");
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::from(config), name).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("written");
    bytes
}

#[test]
fn rules_that_are_broken_end_the_handshake() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let garbage = record(&[0xff; 40]);
    check("a record of garbage", Dialer::Bytes(&garbage), Taker::Node(&one), ("nothing", "protocol"));
    let hello = client_hello(&ca.node("n2"));
    let mut bent = hello.clone();
    bent[50] ^= 0xff;
    bent[43] = 0xff;
    check("a hello that is bent", Dialer::Bytes(&bent), Taker::Node(&one), ("alert 50", "protocol"));
    check("an empty record", Dialer::Bytes(&record(&[])), Taker::Node(&one), ("alert 50", "protocol"));
    check(
        "a record longer than records are",
        Dialer::Bytes(&[0x16, 3, 1, 0xff, 0xff]),
        Taker::Node(&one),
        ("alert 50", "protocol"),
    );
    let half = &hello[..hello.len() / 2];
    check("half a hello and then nothing", Dialer::Bytes(half), Taker::Node(&one), ("nothing", "timeout"));
    check("half a hello and gone", Dialer::HangsUp(half), Taker::Node(&one), ("hung up", "closed"));
    check("gone after the hello", Dialer::HangsUp(&hello), Taker::Node(&one), ("hung up", "closed"));
    check("nothing at all", Dialer::Bytes(&[]), Taker::Node(&one), ("nothing", "timeout"));
    check("gone at once", Dialer::HangsUp(&[]), Taker::Node(&one), ("hung up", "closed"));
    let to = |bytes| (Dialer::Node(&one, Expected::Anybody), Taker::Bytes(bytes));
    let (dialer, taker) = to(&[]);
    check("a server that says nothing", dialer, taker, ("timeout", "done"));
    let (dialer, taker) = to(&garbage);
    check("a server of garbage", dialer, taker, ("protocol", "done"));
}

#[test]
fn a_chain_is_as_long_as_it_may_be() {
    let ca = Ca::root("ca");
    let one = node(&ca, "n1");
    let padded = |count: usize| {
        let mut leaf = ca.sub("intermediate", |_| {}).node("n2");
        while leaf.chain.len() < count {
            leaf.chain.push(ca.certificate.der().clone());
        }
        leaf
    };
    let from = |leaf: &Leaf| Dialer::Raw(client(Some(leaf), &Speaks::default()));
    let to = |leaf: &Leaf| Taker::Raw(server(leaf, &Speaks::default()));
    check("eight certificates", from(&padded(8)), Taker::Node(&one), ("ok", "ok"));
    let nine = padded(9);
    check("nine", from(&nine), Taker::Node(&one), ("told BadCertificate", "chain_too_long"));
    check(
        "nine of a server",
        Dialer::Node(&one, Expected::Anybody),
        to(&nine),
        ("chain_too_long", "told BadCertificate"),
    );
    let huge = padded(60);
    let (sent, refused) = run(from(&huge), Taker::Node(&one));
    assert_eq!(refused, "too_large", "sixty certificates are not read to their end; the sender sees {sent}");
    let (refused, _) = run(Dialer::Node(&one, Expected::Anybody), to(&huge));
    assert_eq!(refused, "too_large", "nor are a server's");
}

fn run(dialer: Dialer<'_>, taker: Taker<'_>) -> (String, String) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(Box::pin(super::scene::meet(dialer, taker)))
}

/// A stream that says how much was read of it.
struct Counting<S>(S, std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Counting<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = std::pin::Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.fetch_add(buf.filled().len() - before, std::sync::atomic::Ordering::Relaxed);
        polled
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for Counting<S> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// How much is read of somebody who sends a hello that never ends, and why it stops.
async fn read_of_an_endless_hello(node: &Node) -> (usize, TlsRefusal) {
    let (mut here, there) = duplex(BUFFER);
    let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = Counting(there, std::sync::Arc::clone(&read));
    // A hello of 60,000 bytes, in records of 1,000: rustls would hold it all before it looked.
    let sender = tokio::spawn(async move {
        let mut payload = vec![1, 0, 0xea, 0x60];
        payload.resize(1000, 7);
        for _ in 0..60 {
            if here.write_all(&record(&payload)).await.is_err() {
                break;
            }
            payload.fill(7);
        }
        let _ = here.read_to_end(&mut Vec::new()).await;
    });
    let acceptor = node.tls.acceptor();
    let refusal = acceptor.accept(counting, soon()).await.expect_err("refused");
    sender.await.expect("the sender ends");
    (read.load(std::sync::atomic::Ordering::Relaxed), refusal)
}

/// S12: at most 16 KiB before anybody is known.
#[tokio::test(start_paused = true)]
async fn a_stranger_is_read_no_further_than_16_kib() {
    let ca = Ca::root("ca");
    let one = node_with(&ca.pem(), &ca.node("n1"), &[], |_, options| options.limits.linger = Duration::ZERO);
    let (read, refusal) = read_of_an_endless_hello(&one).await;
    assert_eq!((read, refusal), (16 * 1024, TlsRefusal::TooLarge { max: 16 * 1024 }));
    let small = node_with(&ca.pem(), &ca.node("n1"), &[], |_, options| {
        options.limits.linger = Duration::ZERO;
        options.limits.bytes_max = 5000;
    });
    assert_eq!(read_of_an_endless_hello(&small).await.0, 5000, "the limit is the configured one");
}

/// How much each end of a handshake has read, the dialer first.
async fn read_of_a_handshake(one: &Node, two: &Node) -> (usize, usize) {
    let (here, there) = duplex(BUFFER);
    let counters: [std::sync::Arc<std::sync::atomic::AtomicUsize>; 2] = Default::default();
    let (here, there) = (Counting(here, counters[0].clone()), Counting(there, counters[1].clone()));
    let (connector, acceptor) = (one.tls.connector(), two.tls.acceptor());
    let dialed = connector.connect(here, &Expected::Anybody, soon());
    let (dialed, accepted) = tokio::join!(dialed, acceptor.accept(there, soon()));
    dialed.expect("dialed");
    accepted.expect("accepted");
    let [dialed, accepted] = counters.map(|counter| counter.load(std::sync::atomic::Ordering::Relaxed));
    (dialed, accepted)
}

#[tokio::test(start_paused = true)]
async fn ordinary_handshakes_stay_far_below_the_limit() {
    let ca = Ca::root("ca");
    let (dialed, accepted) = read_of_a_handshake(&node(&ca, "n1"), &node(&ca, "n2")).await;
    assert!(dialed < 3 * 1024 && accepted < 3 * 1024, "ECDSA, a chain of one: {dialed} and {accepted} bytes");
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_4096).expect("a key");
    let mut leaf = ca.sub("intermediate", |_| {}).leaf_of("n2", &key, |_| {});
    // As long as three certificates with RSA-4096 keys and signatures.
    let bulky = ca.leaf_of("n9", &key, |_| {}).chain.remove(0);
    leaf.chain.extend([bulky.clone(), bulky.clone(), bulky]);
    let two = node_with(&ca.pem(), &leaf, &[], |_, _| {});
    let (dialed, accepted) = read_of_a_handshake(&node(&ca, "n1"), &two).await;
    assert!((5 * 1024..10 * 1024).contains(&dialed), "RSA-4096, five certificates: {dialed} and {accepted} bytes");
}

#[tokio::test(start_paused = true)]
async fn the_limit_ends_with_the_handshake() {
    let ca = Ca::root("ca");
    let (one, two) = (node(&ca, "n1"), node(&ca, "n2"));
    let (here, there) = duplex(BUFFER);
    let (connector, acceptor, expected) = (one.tls.connector(), two.tls.acceptor(), exactly("n2"));
    let (dialed, accepted) = tokio::join!(connector.connect(here, &expected, soon()), acceptor.accept(there, soon()));
    let (mut dialed, mut accepted) = (dialed.expect("dialed").stream, accepted.expect("accepted").stream);
    let sent = vec![5; 1024 * 1024];
    let mut heard = vec![0; sent.len()];
    let (written, read) = tokio::join!(
        async {
            dialed.write_all(&sent).await?;
            dialed.flush().await
        },
        accepted.read_exact(&mut heard)
    );
    written.expect("written");
    read.expect("read");
    assert!(heard == sent);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_the_callers() {
    let one = node(&Ca::root("ca"), "n1");
    for wait in [Duration::ZERO, Duration::from_millis(70), Duration::from_secs(40)] {
        let (_here, there) = duplex(BUFFER);
        let begun = Instant::now();
        let refusal = one.tls.acceptor().accept(there, begun + wait).await.expect_err("nobody speaks");
        assert_eq!((refusal, begun.elapsed()), (TlsRefusal::Timeout, wait));
        let (here, _there) = duplex(BUFFER);
        let begun = Instant::now();
        let refusal =
            one.tls.connector().connect(here, &Expected::Anybody, begun + wait).await.expect_err("nobody answers");
        assert_eq!((refusal, begun.elapsed()), (TlsRefusal::Timeout, wait));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_that_stays_is_left_after_the_linger() {
    let one = node(&Ca::root("ca"), "n1");
    let (mut here, there) = duplex(BUFFER);
    here.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
    let begun = Instant::now();
    let refusal = one.tls.acceptor().accept(there, soon()).await.expect_err("no TLS");
    assert_eq!((refusal.name(), begun.elapsed()), ("plaintext_peer", Duration::from_millis(200)));
    assert_eq!(here.read_u8().await.expect("an alert"), 0x15);
}
