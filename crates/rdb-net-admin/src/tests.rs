//! The listener over real sockets, and what it tells of a node.

mod exposition;
mod fake;
mod split;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdb_net_types::{HealthReport, HealthStatus, NodeAddress, NodeState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use self::fake::{Fake, node};
use crate::views::{
    DiscoveryView, DoneView, HealthView, PeerView, PeersView, ProbeView, ProblemView, ReloadedView, SecurityView,
    StatusView, TopologyView,
};
use crate::{AdminError, AdminServer};

const DEADLINE: Duration = Duration::from_secs(600);

struct Running {
    fake: Arc<Fake>,
    server: AdminServer,
    address: SocketAddr,
}

async fn start() -> Running {
    let fake = Arc::new(Fake::default());
    let server = AdminServer::new(Arc::clone(&fake) as _, SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = server.start().await.expect("a free port");
    Running { fake, server, address }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The detail of a problem document, which it must be.
    #[track_caller]
    fn problem(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem: ProblemView = self.json();
        assert_eq!(problem.status, self.status);
        problem.detail
    }
}

async fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("listens");
    stream.write_all(request.as_bytes()).await.expect("takes the request");
    read_answer(&mut stream).await
}

async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("answers and closes").expect("readable");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

impl Running {
    async fn get(&self, path: &str) -> Answer {
        raw(self.address, &format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address)).await
    }

    fn post_head(&self, path: &str, length: usize) -> String {
        format!(
            "POST /api/v1/network/{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
            self.address
        )
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        raw(self.address, &(self.post_head(path, body.len()) + body)).await
    }
}

#[tokio::test]
async fn the_reading_routes_show_the_node() {
    let running = start().await;
    let health = running.get("/api/v1/network/health").await;
    let view: HealthView = health.json();
    assert_eq!((health.status, view.status, view.joined), (200, HealthStatus::Healthy, true));
    assert_eq!(view.parts[0].name, "transport");
    assert!(health.head.contains("cache-control: no-store"));

    let status: StatusView = running.get("/api/v1/network/status").await.json();
    assert_eq!((status.node_id, status.uptime_seconds, status.active_connections), (node("n1"), 90.5, 2));
    assert_eq!((status.members[&NodeState::Alive], status.members[&NodeState::Failed]), (2, 1));
    assert_eq!(status.members[&NodeState::Left], 0);

    let security: SecurityView = running.get("/api/v1/network/security").await.json();
    assert_eq!((security.tls, security.epoch, security.certificates[0].seconds_left), (true, 2, 86_400));
    assert!(!security.shared_secret);
    assert_eq!((security.gossip_keys[0].state.as_str(), security.gossip_keys[0].age_seconds), ("primary", 60.0));

    let discovery: DiscoveryView = running.get("/api/v1/network/discovery").await.json();
    let [etcd, dns] = discovery.sources.as_slice() else { panic!("{discovery:?}") };
    assert_eq!((etcd.name.as_str(), etcd.state.as_str(), etcd.age_seconds), ("etcd", "stale", Some(2.5)));
    assert_eq!(etcd.registration.as_ref().map(|standing| standing.state.as_str()), Some("lost"));
    let named: Vec<_> = etcd.nodes.iter().map(|listed| (listed.node_id.clone(), listed.address.to_string())).collect();
    assert_eq!(named, [(Some(node("n2")), "127.0.0.1:7001".to_owned()), (None, "n4.example:7000".to_owned())]);
    assert_eq!((dns.state.as_str(), dns.age_seconds, &dns.registration), ("never", None, &None));

    let topology: TopologyView = running.get("/api/v1/network/topology").await.json();
    let names: Vec<_> = topology.members.iter().map(|member| member.node_id.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    assert_eq!(topology.view_digest, "ffffffffffffffff");
    assert_eq!((topology.partition, topology.split_brain), (None, None));
    let seen: Vec<_> = topology.members.iter().map(|member| (member.health, member.in_state_seconds)).collect();
    assert_eq!(seen[0], (HealthStatus::Healthy, None));
    assert_eq!(seen[2], (HealthStatus::Unhealthy, Some(1.5)));
    assert_eq!(topology.links, [node("n2")]);

    let peers: PeersView = running.get("/api/v1/network/peers").await.json();
    assert_eq!(peers.peers[0].messages_sent["query_request"], 7);
    assert_eq!(peers.peers[0].messages_sent["0x8001"], 3);
    assert_eq!(peers.peers[0].round_trip_seconds, Some(0.000_25));
    let one: PeerView = running.get("/api/v1/network/peers/n3").await.json();
    assert_eq!(one, peers.peers[1]);
    running.server.shutdown().await;
}

#[tokio::test]
async fn a_peer_is_one_flat_object_of_snake_case_names() {
    let running = start().await;
    let answer: serde_json::Value = running.get("/api/v1/network/peers/n2").await.json();
    let names: Vec<_> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = "active_connections address admin_address boot bytes_received bytes_sent capabilities connected \
                    connection_errors gossip_address health in_state_seconds incarnation kept labels late_replies \
                    messages_received messages_sent node_id provisional rack region request_outcomes \
                    round_trip_seconds state version weight zone";
    assert_eq!(names.join(" "), expected);
    assert_eq!((answer["state"].as_str(), answer["health"].as_str()), (Some("alive"), Some("healthy")));
    running.server.shutdown().await;
}

#[tokio::test]
async fn an_unhealthy_node_answers_503_and_a_degraded_one_200() {
    let running = start().await;
    for (status, expected) in [
        (HealthStatus::Healthy, 200),
        (HealthStatus::Unknown, 200),
        (HealthStatus::Degraded, 200),
        (HealthStatus::Unhealthy, 503),
    ] {
        let part = ("membership".to_owned(), status, "why".to_owned());
        *running.fake.health.lock().expect("not poisoned") = HealthReport::of(vec![part]);
        let answer = running.get("/api/v1/network/health").await;
        assert_eq!((answer.status, answer.json::<HealthView>().status), (expected, status));
    }
    running.server.shutdown().await;
}

#[tokio::test]
async fn a_node_is_live_at_once_and_ready_once_joined() {
    let running = start().await;
    running.fake.joined.store(false, Ordering::Relaxed);
    assert_eq!(running.get("/livez").await.status, 200);
    let not_ready = running.get("/readyz").await;
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.json::<ProbeView>().reason.starts_with("joined:"));
    running.fake.joined.store(true, Ordering::Relaxed);
    assert_eq!(running.get("/readyz").await.status, 200);
    running.server.shutdown().await;
}

#[tokio::test]
async fn operations_reach_the_control_plane_and_tell_how_they_ended() {
    let running = start().await;
    let join = running.post("join", r#"{"seeds":["node1:7000","[::1]:7000"]}"#).await;
    assert_eq!((join.status, join.problem().as_str()), (504, "no seed answered yet; retries go on"));
    let forget = running.post("forget", r#"{"node":"n3"}"#).await;
    assert_eq!(forget.json::<DoneView>(), DoneView { operation: "forget".to_owned(), joined: true });
    assert_eq!(running.post("forget", r#"{"node":"n2"}"#).await.status, 409);
    let unknown = running.post("forget", r#"{"node":"n9"}"#).await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "no member has the node id n9"));
    let leave = running.post("leave", "").await;
    assert_eq!(leave.json::<DoneView>(), DoneView { operation: "leave".to_owned(), joined: false });
    let expected = ["join [node1:7000, [::1]:7000]", "forget n3", "forget n2", "forget n9", "leave"];
    assert_eq!(running.fake.calls(), expected);
    running.server.shutdown().await;
}

#[tokio::test]
async fn bad_requests_change_nothing_and_are_told_why() {
    let running = start().await;
    let refusals = [
        ("join", "{", 400, "EOF"),
        ("join", "{}", 400, "missing field `seeds`"),
        ("join", r#"{"seeds":[]}"#, 400, "1 to 64"),
        ("join", r#"{"seeds":["node1"]}"#, 400, "has no port"),
        ("join", r#"{"seeds":["n:1"],"force":true}"#, 400, "unknown field `force`"),
        ("forget", r#"{"node":"a b"}"#, 400, "letters, digits"),
        ("leave", r#"{"now":true}"#, 400, "unknown field `now`"),
    ];
    for (path, body, status, expected) in refusals {
        let answer = running.post(path, body).await;
        assert_eq!(answer.status, status, "{body}");
        let detail = answer.problem();
        assert!(detail.contains(expected), "{body}: {detail}");
    }
    let many = vec!["\"n:1\""; 65].join(",");
    assert_eq!(running.post("join", &format!(r#"{{"seeds":[{many}]}}"#)).await.status, 400);
    let large = format!(r#"{{"seeds":["{}"]}}"#, "x".repeat(64 * 1024));
    assert_eq!(running.post("join", &large).await.status, 413);
    assert_eq!(running.fake.calls(), [] as [&str; 0]);
    running.server.shutdown().await;
}

#[tokio::test]
async fn a_configuration_that_was_read_again_tells_what_is_in_force() {
    let running = start().await;
    let view: ReloadedView = running.post("configuration/reload", "").await.json();
    assert_eq!([&view.taken[0].key, &view.waiting[0].key], ["networking.gossip.fanout", "networking.node_id"]);
    running.server.shutdown().await;
}

#[tokio::test]
async fn what_does_not_exist_is_a_problem_document() {
    let running = start().await;
    assert_eq!(running.get("/api/v1/network/nothing").await.problem(), "there is nothing under this path");
    assert_eq!(running.get("/api/v1/network/peers/n9").await.problem(), "no member has the node id n9");
    assert_eq!(running.get("/api/v1/network/peers/a%20b").await.status, 400);
    let wrong_method = running.get("/api/v1/network/leave").await;
    assert_eq!(wrong_method.status, 405);
    assert!(wrong_method.head.contains("allow: post"), "{wrong_method:?}");
    wrong_method.problem();
    running.server.shutdown().await;
}

#[tokio::test]
async fn the_browser_of_the_operator_is_no_way_in() {
    let running = start().await;
    let own = running.address;
    let post = |headers: &str| {
        format!("POST /api/v1/network/leave HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n")
    };
    let refusals = [
        (format!("GET /metrics HTTP/1.1\r\nhost: evil.example:{}\r\nconnection: close\r\n\r\n", own.port()), 403),
        ("GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), 400),
        (post(&format!("host: {own}\r\ncontent-type: text/plain\r\n")), 415),
        (post(&format!("host: {own}\r\n")), 415),
        (post(&format!("host: {own}\r\ncontent-type: application/json\r\norigin: http://evil.example\r\n")), 403),
        (post("host: evil.example\r\ncontent-type: application/json\r\n"), 403),
    ];
    for (request, status) in refusals {
        let answer = raw(own, &request).await;
        assert_eq!(answer.status, status, "{request}");
        answer.problem();
    }
    assert_eq!(running.fake.calls(), [] as [&str; 0]);
    running.server.shutdown().await;
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() {
    for text in ["0.0.0.0:0", "[::]:0", "10.1.2.3:7002"] {
        let address: NodeAddress = text.parse().expect("legal");
        let error = AdminServer::new(Arc::new(Fake::default()), address.clone()).start().await.expect_err(text);
        assert!(matches!(&error, AdminError::NotLoopback { address: refused } if *refused == address), "{error:?}");
        assert!(error.to_string().starts_with("networking.admin.bind_address: "), "{error}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_key() {
    let holder = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = holder.local_addr().expect("bound");
    let server = AdminServer::new(Arc::new(Fake::default()), address);
    let error = server.start().await.expect_err("in use");
    let text = error.to_string();
    assert!(matches!(error, AdminError::Bind { .. }), "{error:?}");
    assert!(text.contains("networking.admin.bind_address") && text.contains(&address.to_string()), "{text}");
    drop(holder);
    assert_eq!(server.start().await.expect("free again"), address);
    server.shutdown().await;
}

#[tokio::test]
async fn after_shutdown_nothing_listens_and_nothing_runs() {
    let running = start().await;
    assert_eq!(running.server.start().await.expect("runs"), running.address);
    let mut idle = TcpStream::connect(running.address).await.expect("listens");
    running.server.shutdown().await;
    running.server.shutdown().await;
    assert!(running.server.has_no_tasks());
    assert!(TcpStream::connect(running.address).await.is_err());
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(matches!(running.server.start().await, Err(AdminError::ShutDown)));
}

#[tokio::test]
async fn a_leave_goes_on_when_the_one_who_asked_hangs_up() {
    let running = start().await;
    running.fake.leave_permits.try_acquire().expect("one").forget();
    let mut stream = TcpStream::connect(running.address).await.expect("listens");
    stream.write_all(running.post_head("leave", 0).as_bytes()).await.expect("takes the request");
    let is_waiting = || running.fake.leave_begun.load(Ordering::Relaxed);
    timeout(DEADLINE, async {
        while !is_waiting() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the operation starts");
    drop(stream);
    running.fake.leave_permits.add_permits(1);
    timeout(DEADLINE, async {
        while running.fake.calls().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the operation ends");
    running.server.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_takes_long_is_answered_and_goes_on_until_shutdown() {
    let running = start().await;
    running.fake.leave_permits.try_acquire().expect("one").forget();
    let answer = running.post("leave", "").await;
    assert_eq!(answer.status, 504);
    assert!(answer.problem().contains("it goes on"));
    running.server.shutdown().await;
    assert_eq!(running.fake.calls(), [] as [&str; 0]);
}

/// A file system that hangs, for example.
#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_be_read_holds_up_so_many_requests_and_no_shutdown() {
    let running = start().await;
    running.fake.reload_permits.try_acquire().expect("one").forget();
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..9 {
        let (address, request) = (running.address, running.post_head("configuration/reload", 0));
        answers.spawn(async move { raw(address, &request).await.status });
    }
    let mut statuses = answers.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [503, 504, 504, 504, 504, 504, 504, 504, 504]);
    running.server.shutdown().await;
    assert!(running.server.has_no_tasks());
    assert_eq!(running.fake.calls(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn operations_at_a_time_are_limited() {
    let running = start().await;
    running.fake.leave_permits.try_acquire().expect("one").forget();
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..9 {
        let (address, request) = (running.address, running.post_head("leave", 0));
        answers.spawn(async move { raw(address, &request).await.status });
    }
    let mut statuses = answers.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [503, 504, 504, 504, 504, 504, 504, 504, 504]);
    running.server.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_dawdles_is_cut_off() {
    let running = start().await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(running.address).await.expect("listens");
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: loc").await.expect("takes it");
    read_answer(&mut stream).await;
    assert!((10..300).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());

    let slow_body = raw(running.address, &running.post_head("leave", 100)).await;
    assert_eq!((slow_body.status, slow_body.problem().as_str()), (408, "the body did not arrive in time"));

    let large_header = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    let mut stream = TcpStream::connect(running.address).await.expect("listens");
    // The server may close before all is written; what it says then is lost with the connection.
    let _ = stream.write_all(large_header.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&bytes));
    running.server.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limit_wait_for_room() {
    let running = start().await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(running.address).await.expect("listens"));
    }
    let begun = Instant::now();
    assert_eq!(running.get("/livez").await.status, 200);
    assert!(begun.elapsed() >= Duration::from_secs(9), "served before an idle one was closed");
    running.server.shutdown().await;
}
