//! The second implementation of the wire: what was written in Python from `docs/wire-format.md` alone reads and writes the
//! golden files, and talks with this implementation in both directions.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("readable").file_name());
    let names: BTreeSet<String> = files.map(|name| name.into_string().expect("plain")).collect();
    let refused = names.iter().filter(|name| name.starts_with("refused_")).count();
    for line in [
        format!("{} golden files are read and written", names.len() - refused),
        format!("{refused} golden files are refused"),
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
    assert_eq!((&ended["peer"], &ended["handled"], &ended["code"]), (&json!("n1"), &json!(103), &json!(1)), "{ended}");
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
