//! The second implementation of the wire: what was written in Python from `docs/wire-format.md` alone reads and writes the
//! golden files, and talks with this implementation in both directions.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rdb_net_session::Identity;
use rdb_net_tcp::{TcpConfig, TcpTransport};
use rdb_net_tests::{Node, Python, Ran, Rdbnet, Spec};
use rdb_net_transport::{Answer, CallOptions, Config, HandlerError, HandlerOptions, Handling, Request};
use rdb_net_types::{
    Application, BootId, ClusterId, Effect, Heartbeat, Incarnation, Lane, MessageType, NodeAddress, NodeId,
    ProtocolRange, QueryRequest, QueryResponse, Reason, RequestError, Tuple,
};
use rdb_net_wire::Message;
use serde_json::json;
use tokio::runtime::Runtime;

const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const FAILS: MessageType = MessageType(0x8001);
/// Answered by a stream of numbers, each of 1,000 bytes, as many as its first byte says; the last one is large.
const COUNTS: MessageType = MessageType(0x8003);
const MEGABYTE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn id(text: &str) -> NodeId {
    NodeId::new(text).expect("legal")
}

/// A transport of node `n1`, which listens where `bind` is given.
fn transport(bind: Option<&str>, change: impl FnOnce(&mut Config)) -> TcpTransport {
    let identity = Identity {
        cluster: ClusterId::new("rustydb").expect("legal"),
        node: id("n1"),
        incarnation: Incarnation::first_of(1),
        boot: BootId(1),
        address: "127.0.0.1:0".parse().expect("legal"),
        protocol: ProtocolRange::CURRENT,
        software: "the first".to_owned(),
        token: Vec::new(),
    };
    let bind = bind.map(|bind| bind.parse().expect("legal"));
    let mut config = Config { bind, ..Config::new(identity) };
    change(&mut config);
    TcpTransport::new(config, TcpConfig::default())
}

/// A node in this process that answers queries with their text and their parameters, and counts them.
struct Answering {
    runtime: Runtime,
    transport: TcpTransport,
    answered: Arc<AtomicU64>,
}

impl Answering {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let (runtime, transport) = (runtime(), transport(Some("127.0.0.1:0"), change));
        let answered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answered);
        let answer = move |from: &NodeId, request: Request| {
            assert_eq!(from.as_str(), "python");
            assert!(request.deadline.is_some(), "the deadline travels");
            count.fetch_add(1, Ordering::SeqCst);
            Handling::Ready(request.decode::<QueryRequest>().map(rows).map_err(HandlerError::from))
        };
        let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
        let count = |_: &NodeId, request: Request| {
            assert!(request.wants_stream);
            let end = request.into_payload().into_bytes()[0];
            Handling::Stream(Box::pin(Numbers { next: 0, end }))
        };
        transport.handle(COUNTS, Arc::new(count), HandlerOptions::default());
        let fail = |_: &NodeId, _: Request| Handling::Ready(Err(HandlerError::failed("the disk is full")));
        transport.handle(QueryRequest::TYPE, Arc::new(answer), HandlerOptions::default());
        transport.handle(ECHO, Arc::new(echo), HandlerOptions::default());
        transport.handle(FAILS, Arc::new(fail), HandlerOptions::default());
        runtime.block_on(transport.start()).expect("it listens");
        Self { runtime, transport, answered }
    }

    fn address(&self) -> String {
        self.transport.local_address().expect("it listens").to_string()
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    fn shutdown(self) {
        assert!(self.runtime.block_on(self.transport.shutdown()), "everything ended by itself");
    }
}

/// The answers to [`COUNTS`].
struct Numbers {
    next: u8,
    end: u8,
}

impl Stream for Numbers {
    type Item = Result<Answer, HandlerError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.next == self.end {
            return Poll::Ready(None);
        }
        self.next += 1;
        let bytes = if self.next == self.end { MEGABYTE } else { 1000 };
        Poll::Ready(Some(Ok(Answer::Payload(vec![self.next; bytes].into()))))
    }
}

/// The bytes that `query.py` sends for so many.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

fn rows(query: QueryRequest) -> Answer {
    let result = vec![Tuple(query.query.into()), Tuple(query.parameters.into_bytes())];
    QueryResponse { query_id: query.query_id, fragment: query.fragment, more: true, result }.into()
}

#[track_caller]
fn check_done(ran: &Ran) {
    assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn every_golden_file_is_read_refused_and_written_as_the_document_says() {
    let Some(python) = Python::find() else { return };
    let ran = python.run("test_wire.py", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.errors);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/rdb-net-wire/golden");
    let names = |folder: &Path| -> BTreeSet<String> {
        let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("readable").path());
        let files = files.filter(|path| path.is_file());
        files.map(|path| path.file_stem().and_then(|name| name.to_str()).expect("plain").to_owned()).collect()
    };
    let (all, older) = (names(&folder), names(&folder.join("older")).len());
    let count = |kind: &str| all.iter().filter(|name| name.starts_with(kind)).count();
    let (refused, series) = (count("refused_"), count("compressed_") + count("fragments"));
    for line in [
        format!("{} golden files are read and written", all.len() - refused - series),
        format!("{refused} golden files are refused"),
        format!("{older} older golden files are read"),
        format!("{series} messages of several frames or codecs are read"),
    ] {
        assert!(ran.output.contains(&line), "{line:?} is not said: {:?}", ran.output);
    }
}

#[test]
fn it_asks_and_is_answered() {
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|_| ());
    let address = node.address();
    let ask = ["--target", "n1", "--ping", "3", "--query", "select ä", "--parameters", "00ff10", "--count", "2"];
    let send = ["--send", "8000:cafe", "--send", "8000:", "--send", "8001:00", "--send", "8002:00"];
    let ran = python.run("query.py", &[&[address.as_str()], &ask[..], &send].concat());
    check_done(&ran);

    let up = ran.event("up");
    assert_eq!((&up["node"], &up["software"]), (&json!("n1"), &json!("the first")));
    assert_eq!(ran.events("pong").len(), 3);
    let row = |query_id: u64| {
        let rows = ["73656c65637420c3a4", "00ff10"];
        json!({ "event": "answer", "query_id": query_id, "fragment": query_id, "more": true, "rows": rows })
    };
    assert_eq!(ran.events("answer"), [row(0), row(1)]);
    assert_eq!(node.answered(), 2);
    let echoed = ["cafe", ""].map(|body| json!({ "event": "reply", "body": body }));
    assert_eq!(ran.events("reply"), echoed);
    let error = |code, not_started, detail| json!({ "event": "error", "code": code, "not_started": not_started, "detail": detail });
    assert_eq!(ran.events("error"), [error(7, false, "the disk is full"), error(4, true, "application(0x8002)")]);
    node.shutdown();
}

#[test]
fn a_query_that_cannot_be_read_is_answered_and_harms_nothing() {
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|_| ());
    let address = node.address();
    // Three fields are promised and one is there; the connection goes on.
    let ran = python.run("query.py", &[&address, "--send", "0110:0301", "--send", "8000:01"]);
    check_done(&ran);
    assert_eq!(ran.event("error")["not_started"], true, "{ran:?}");
    assert_eq!(ran.event("reply")["body"], "01");
    node.shutdown();
}

#[test]
fn it_keeps_to_its_credits_and_gets_new_ones() {
    const CREDIT_BYTES: u64 = 8 * 1024;
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|config| config.session.lane_credit_bytes = [CREDIT_BYTES; 4]);
    let (address, parameters) = (node.address(), "ab".repeat(1000));
    let ask = ["--query", "q", "--parameters", &parameters, "--count", "200", "--window", "50"];
    let ran = python.run("query.py", &[&[address.as_str()], &ask[..]].concat());
    check_done(&ran);
    assert_eq!((ran.events("answer").len(), node.answered()), (200, 200));
    let credits = ran.event("credits");
    let charged = credits["charged"][Lane::Interactive as usize].as_u64().expect("a number");
    // Less would mean that the credits never ran out; a breach of them would have ended the connection.
    assert!(charged > 20 * CREDIT_BYTES, "{credits}");
    assert!(credits["messages"].as_u64() >= Some(charged / CREDIT_BYTES - 1), "{credits}");
    node.shutdown();
}

#[test]
fn a_query_of_a_megabyte_and_its_answer_travel_in_fragments() {
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|config| config.session.frame_bytes_max = 64 * 1024);
    let (address, bytes) = (node.address(), MEGABYTE.to_string());
    let ask = ["--query", "q", "--parameters-bytes", &bytes, "--count", "3", "--window", "2", "--lane", "3"];
    let ran = python.run("query.py", &[&[address.as_str()], &ask[..]].concat());
    check_done(&ran);
    let answers = ran.events("answer");
    assert_eq!((answers.len(), node.answered()), (3, 3));
    for answer in answers {
        assert_eq!((&answer["lengths"], &answer["same"]), (&json!([1, MEGABYTE]), &json!(true)), "{answer}");
    }
    let fragments = ran.event("fragments");
    let expected = Some(3 * 17);
    assert_eq!((fragments["sent"].as_u64(), fragments["read"].as_u64()), (expected, expected), "{fragments}");
    // First windows of 256 KiB carried them, on the lane that was asked for.
    assert!(ran.event("credits")["charged"][Lane::Bulk as usize].as_u64() > Some(3 << 20), "{ran:?}");
    node.shutdown();
}

#[test]
fn it_takes_a_stream_of_replies_as_far_as_it_gives_credits() {
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|_| ());
    let address = node.address();
    let ran =
        python.run("query.py", &[&address, "--stream", "8003:c8", "--stream-window", "5000", "--send", "8000:01"]);
    check_done(&ran);
    let items = ran.events("item");
    assert_eq!(items.len(), 200, "{ran:?}");
    for (number, item) in (1..).zip(&items) {
        let bytes = if number == 200 { MEGABYTE } else { 1000 };
        let first = format!("{number:02x}").repeat(8);
        assert_eq!((&item["bytes"], &item["first"]), (&json!(bytes), &json!(first)));
    }
    // The other request, and the end of the stream.
    assert_eq!(ran.events("reply").iter().map(|reply| &reply["body"]).collect::<Vec<_>>(), ["01", ""]);
    node.shutdown();
}

#[test]
fn a_client_without_features_is_spoken_to_as_before() {
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|_| ());
    let address = node.address();
    // It refuses every frame that only a feature allows, and reads no frame longer than 256 KiB.
    let ask = ["--features", "0", "--query", "q", "--parameters-bytes", "100000", "--lane", "3", "--ping", "2"];
    let send = ["--count", "20", "--window", "5", "--send", "8000:01", "--send", "8001:00"];
    let ran = python.run("query.py", &[&[address.as_str()], &ask[..], &send].concat());
    check_done(&ran);
    assert_eq!((ran.events("answer").len(), ran.events("pong").len()), (20, 2));
    assert_eq!(ran.event("reply")["body"], "01");
    assert_eq!(ran.event("error")["code"], 7);
    // It has two lanes, whatever the node says.
    let charged = ran.event("credits")["charged"].clone();
    assert!(charged[Lane::Interactive as usize].as_u64() > Some(2_000_000), "{charged}");
    assert_eq!(charged[Lane::Bulk as usize], 0);
    node.shutdown();
}

#[test]
fn a_server_without_features_is_spoken_to_as_before() {
    let Some(python) = Python::find() else { return };
    let server = python.spawn("serve.py", &["--features", "0"]);
    let port = server.wait_event("listening")["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let address = NodeAddress::new("127.0.0.1", port.expect("a port")).expect("legal");
    runtime().block_on(async {
        let (transport, options) = (transport(None, |_| ()), CallOptions::timeout(PATIENCE));
        let peer = transport.peer(&id("python"), &address);
        // Bulk has a connection of its own, and the server takes one.
        for lane in [Lane::System, Lane::Interactive, Lane::Replication] {
            let query = QueryRequest { parameters: vec![7; 100_000].into(), ..QueryRequest::default() };
            let options = CallOptions { lane: Some(lane), ..options };
            let reply = peer.request(&query, options).await.expect("answered");
            let response = QueryResponse::decode(&reply.body).expect("a response");
            assert_eq!(response.result[1].0.len(), 100_000);
        }
        let large = QueryRequest { parameters: vec![7; MEGABYTE].into(), ..QueryRequest::default() };
        let refused = peer.request(&large, options).await.expect_err("it fits no frame");
        assert_eq!((refused.effect, &refused.reason), (Effect::NotSent, &Reason::TooLarge), "{refused}");
        let stream = rdb_net_transport::StreamOptions { call: options, window_bytes: 1000 };
        let nobody = Application { message_type: ECHO, payload: "hello".into() };
        let Err(refused) = peer.stream(&nobody, stream).await else { panic!("it gives none") };
        assert_eq!(refused.effect, Effect::NotSent, "{refused}");
        assert!(transport.shutdown().await, "everything ended by itself");
    });
    let ran = server.wait_exit();
    check_done(&ran);
    let ended = ran.event("ended");
    assert_eq!((&ended["handled"], &ended["code"]), (&json!(3), &json!(1)), "{ended}");
    assert_eq!((&ended["fragments"], &ended["lanes"]), (&json!(0), &json!([0, 1])), "{ended}");
}

#[test]
fn it_is_refused_with_the_reason() {
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|_| ());
    let address = node.address();
    for (arguments, code) in [(["--cluster", "another"], 3), (["--target", "n2"], 4), (["--node", "n1"], 6)] {
        let ran = python.run("query.py", &[&[address.as_str()], &arguments[..]].concat());
        assert_eq!((ran.code, ran.event("refused")["code"].as_u64()), (Some(3), Some(code)), "{arguments:?}: {ran:?}");
    }
    node.shutdown();
}

#[test]
fn a_drain_tells_it_how_many_of_its_messages_were_taken() {
    let Some(python) = Python::find() else { return };
    let node = Answering::start(|_| ());
    let address = node.address();
    let client = python.spawn("query.py", &[&address, "--query", "q", "--count", "5", "--await-drain"]);
    client.wait_event("waiting");
    node.shutdown();
    let ran = client.wait_exit();
    check_done(&ran);
    let drained = ran.event("drained");
    assert_eq!((&drained["accepted"], &drained["sent"]), (&json!([0, 5, 0, 0]), &json!([0, 5, 0, 0])));
}

#[test]
fn it_answers_what_it_is_asked() {
    let Some(python) = Python::find() else { return };
    let server = python.spawn("serve.py", &[]);
    let port = server.wait_event("listening")["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let address = NodeAddress::new("127.0.0.1", port.expect("a port")).expect("legal");
    runtime().block_on(async {
        let (transport, options) = (transport(None, |_| ()), CallOptions::timeout(PATIENCE));
        let peer = transport.peer(&id("python"), &address);
        let heartbeat = Heartbeat { node_id: id("n1"), timestamp_us: 1 };
        let alive = peer.request(&heartbeat, options).await.expect("answered");
        assert!(alive.body.is_empty(), "{alive:?}");

        let parameters = vec![7; 3000];
        // More than its credits of 64 KiB, so that it has to grant new ones.
        for query_id in 0..100 {
            let query = QueryRequest {
                query_id,
                fragment: 3,
                query: "select ä".to_owned(),
                parameters: parameters.clone().into(),
            };
            let reply = peer.request(&query, options).await.expect("answered");
            assert_eq!(reply.message_type, QueryResponse::TYPE);
            let response = QueryResponse::decode(&reply.body).expect("a response");
            let result = ["select ä".as_bytes().to_vec(), parameters.clone()].map(|row| Tuple(row.into())).to_vec();
            assert_eq!(response, QueryResponse { query_id, fragment: 3, more: false, result });
        }

        let query = QueryRequest { parameters: pattern(MEGABYTE).into(), ..QueryRequest::default() };
        let reply = peer.request(&query, options).await.expect("answered in fragments");
        let response = QueryResponse::decode(&reply.body).expect("a response");
        assert_eq!(response.result[1], Tuple(pattern(MEGABYTE).into()));

        let fail = QueryRequest { query: "fail".to_owned(), ..QueryRequest::default() };
        let failed: RequestError = peer.request(&fail, options).await.expect_err("it fails when it is told to");
        assert_eq!((failed.effect, &failed.reason), (Effect::Unknown, &Reason::HandlerFailed), "{failed}");
        let nobodys = Application { message_type: ECHO, payload: "hello".into() };
        let unknown = peer.request(&nobodys, options).await.expect_err("it has no handler");
        assert_eq!((unknown.effect, &unknown.reason), (Effect::NotStarted, &Reason::UnknownType), "{unknown}");
        assert!(transport.shutdown().await, "everything ended by itself");
    });
    let ran = server.wait_exit();
    check_done(&ran);
    let ended = ran.event("ended");
    assert_eq!((&ended["peer"], &ended["handled"], &ended["code"]), (&json!("n1"), &json!(104), &json!(1)), "{ended}");
    assert!(ended["fragments"].as_u64() > Some(4), "{ended}");
    assert!(ended["limits"][1].as_u64() > Some(300_000), "{ended}");
}

#[test]
fn it_joins_a_real_process_and_is_answered() {
    let (Some(python), Some(rdbnet)) = (Python::find(), Rdbnet::find()) else { return };
    let folder = tempfile::tempdir().expect("a folder for the test's files");
    let mut node = Node::spawn(&rdbnet, &Spec { id: "n1".to_owned(), ..Spec::default() }, folder.path());
    let address = node.wait_started().address.to_string();
    // The daemon answers a heartbeat, which is how nodes look after each other; nobody in it answers queries.
    let heartbeat = "0100:0206707974686f6e00";
    let ask = ["--target", "n1", "--ping", "2", "--send", heartbeat, "--query", "q"];
    let ran = python.run("query.py", &[&[address.as_str()], &ask[..]].concat());
    check_done(&ran);
    assert_eq!((ran.event("up")["node"].as_str(), ran.events("pong").len()), (Some("n1"), 2));
    assert_eq!(ran.event("reply")["body"], "");
    let error = ran.event("error");
    assert_eq!((&error["code"], &error["not_started"]), (&json!(4), &json!(true)), "{error}");
    assert!(!node.log.lines().join("\n").contains("panicked"));
}
