//! Peers that are there as far as the kernel can see, and answer nothing: a stopped process, and a network that swallows all.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rdb_net_session::CloseReason;
use rdb_net_transport::{CallOptions, Config, HandlerOptions, Handling, LinkSide, PeerEvent, PeerHandle, Request};
use rdb_net_types::{Application, Effect, MessageType, NodeAddress, NodeId, Payload, Reason};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{echo, message, node_of};
use crate::TcpTransport;

const NEVER: MessageType = MessageType(0x8001);
/// Nothing here takes as long.
const SOON: Duration = Duration::from_secs(20);
/// Set for the process that is stopped.
const CHILD: &str = "RDB_NET_TCP_TEST_CHILD";

fn impatient(config: &mut Config) {
    config.session.keep_alive_idle = Duration::from_millis(200);
    config.session.keep_alive_busy = Duration::from_millis(50);
    config.session.liveness = Duration::from_millis(500);
    config.session.hello_timeout = Duration::from_secs(1);
}

async fn impatient_node(name: &str) -> TcpTransport {
    let transport = node_of(name, "test", impatient).await;
    echo(&transport);
    let never = |_: &NodeId, _: Request| Handling::Later(Box::pin(std::future::pending()));
    transport.handle(NEVER, Arc::new(never), HandlerOptions::default());
    transport
}

fn b() -> NodeId {
    NodeId::new("b").expect("legal")
}

/// A request under way on a connection that has proved to work.
async fn under_way(peer: &PeerHandle) -> tokio::task::JoinHandle<(Effect, Reason)> {
    peer.request(&message("x"), CallOptions::timeout(SOON)).await.expect("answered");
    let peer = peer.clone();
    tokio::spawn(async move {
        let never = Application { message_type: NEVER, payload: Payload::new() };
        let error = peer.request(&never, CallOptions::timeout(SOON)).await.expect_err("nobody answers");
        (error.effect, error.reason)
    })
}

async fn event(transport: &TcpTransport, wanted: impl Fn(&PeerEvent) -> bool) -> PeerEvent {
    let found = async {
        loop {
            let event = transport.next_event().await;
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(SOON, found).await.expect("it comes soon")
}

async fn assert_silent(transport: &TcpTransport, on: LinkSide) {
    let down = event(transport, |event| matches!(event, PeerEvent::Down { .. })).await;
    assert!(matches!(down, PeerEvent::Down { side, reason: CloseReason::Silent, .. } if side == on), "{down:?}");
}

/// The process that will be stopped: a node that tells its address and lives until it is killed.
#[test]
#[ignore = "the other process of a_process_that_was_stopped_is_found_dead"]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let b = impatient_node("b").await;
        println!("\nlistens at {}", b.advertised_address());
        std::future::pending::<()>().await;
    });
}

/// A child process that does not outlive its test.
struct Process(Child);

impl Process {
    fn start() -> (Self, NodeAddress) {
        let this = std::env::current_exe().expect("a test is a program");
        let mut command = Command::new(this);
        command.args(["tests::half_open::child", "--exact", "--ignored", "--nocapture"]).env(CHILD, "1");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let told = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("listens at ").map(str::to_owned));
        (Self(child), told.expect("it tells its address").parse().expect("legal"))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.expect("there is kill").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test]
async fn a_process_that_was_stopped_is_found_dead() {
    let (process, address) = Process::start();
    let a = node_of("a", "test", impatient).await;
    let peer = a.peer(&b(), &address);
    let waiting = under_way(&peer).await;
    process.signal("-STOP");
    assert_eq!(waiting.await.expect("no panic"), (Effect::Unknown, Reason::ConnectionLost));
    assert_silent(&a, LinkSide::Dialer).await;
    // Its kernel still accepts. Nobody says hello.
    let error = peer.request(&message("x"), CallOptions::timeout(SOON)).await.expect_err("nobody is there");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Unreachable));
    let failed = event(&a, |event| matches!(event, PeerEvent::DialFailed { .. })).await;
    let PeerEvent::DialFailed { failure, .. } = failed else { panic!("{failed:?}") };
    assert_eq!(failure, rdb_net_peer::Failure::Ended(CloseReason::HelloTimeout));
    process.signal("-CONT");
    peer.hurry();
    let answered = async {
        while peer.request(&message("x"), CallOptions::timeout(SOON)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, answered).await.expect("it goes on where it stopped");
}

/// A box between two nodes that hands on what comes, until it is told to swallow everything.
async fn middle_box(to: NodeAddress) -> (NodeAddress, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = NodeAddress::from(listener.local_addr().expect("it listens"));
    let (swallow, swallows) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect((to.host(), to.port())).await.expect("it listens");
            let mut swallows = swallows.clone();
            tokio::spawn(async move {
                let swallowed = async { swallows.wait_for(|swallows| *swallows).await.is_ok() };
                let is_swallowed = tokio::select! {
                    _ended = tokio::io::copy_bidirectional(&mut near, &mut far) => false,
                    told = swallowed => told,
                };
                if is_swallowed {
                    // Both sockets stay open, and the kernel acknowledges what nobody reads.
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, swallow)
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_found_at_both_ends() {
    let b_node = impatient_node("b").await;
    let (address, swallow) = middle_box(b_node.advertised_address()).await;
    let a = node_of("a", "test", impatient).await;
    let waiting = under_way(&a.peer(&b(), &address)).await;
    swallow.send(true).expect("it runs");
    assert_eq!(waiting.await.expect("no panic"), (Effect::Unknown, Reason::ConnectionLost));
    assert_silent(&a, LinkSide::Dialer).await;
    assert_silent(&b_node, LinkSide::Acceptor).await;
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_found_on_an_idle_connection() {
    let b_node = impatient_node("b").await;
    let (address, swallow) = middle_box(b_node.advertised_address()).await;
    let a = node_of("a", "test", impatient).await;
    let peer = a.peer(&b(), &address);
    peer.request(&message("x"), CallOptions::timeout(SOON)).await.expect("answered");
    swallow.send(true).expect("it runs");
    assert_silent(&a, LinkSide::Dialer).await;
    assert!(!peer.is_up());
}

#[tokio::test]
async fn a_request_that_times_out_ends_no_connection() {
    let b_node = impatient_node("b").await;
    let a = node_of("a", "test", impatient).await;
    let peer = a.peer(&b(), &b_node.advertised_address());
    let never = Application { message_type: NEVER, payload: Payload::new() };
    for _ in 0..5 {
        let options = CallOptions::timeout(Duration::from_millis(100));
        let error = peer.request(&never, options).await.expect_err("nobody answers");
        assert_eq!((error.effect, error.reason), (Effect::Unknown, Reason::Expired));
    }
    assert_eq!(peer.epoch(rdb_net_types::Lane::Interactive, None), Some(rdb_net_transport::Epoch(1)));
}
