//! Clusters without certificates whose nodes prove a secret to each other: who knows it is in, nobody else is, and it is in no
//! text. S1, S2, S6, S14, S23.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdb_net_manager::config::Config;
use rdb_net_manager::{
    Answer, CallOptions, ControlError, HandlerOptions, Handling, NetworkManager, Request, SecurityView, StartError,
};
use rdb_net_tests::{Node, Rdbnet, Spec, get, text};
use rdb_net_tls::secret::SharedSecret;
use rdb_net_types::{Application, ClusterId, MessageType, NodeAddress, NodeId, NodeState, Payload};
use tempfile::TempDir;

const ECHO: MessageType = MessageType::FIRST_APPLICATION;
const PATIENCE: Duration = Duration::from_secs(15);
/// Cargo sets it, to something that is long enough for a secret.
const VARIABLE: &str = "CARGO_PKG_DESCRIPTION";
const SECRET: &str = env!("CARGO_PKG_DESCRIPTION");
const MARKER: &str = "marker-1c0ffee5-a73e-of-a-shared-secret";

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("legal")
}

/// A file with this content that is its owner's alone.
fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("written");
    set_mode(&path, 0o600);
    path
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode is set");
}

fn config(name: &str, seeds: &[NodeAddress]) -> Config {
    let mut config = Config::default();
    config.cluster_id = ClusterId::new("orders").expect("legal");
    config.node_id = Some(id(name));
    config.bind_address = "127.0.0.1:0".parse().expect("legal");
    config.admin.enabled = false;
    config.service_discovery.seeds = seeds.to_vec();
    config.gossip.swim = rdb_swim::Config::local();
    config
}

async fn start(config: Config) -> NetworkManager {
    let manager = NetworkManager::new(config).expect("it can run");
    let echo = |_: &NodeId, request: Request| Handling::Ready(Ok(Answer::Payload(request.into_payload())));
    manager.handle(ECHO, Arc::new(echo), HandlerOptions::default());
    manager.start().await.expect("loopback has free ports");
    manager
}

async fn start_with_file(name: &str, secret: &Path, seeds: &[NodeAddress]) -> NetworkManager {
    let mut config = config(name, seeds);
    config.shared_secret.path = Some(secret.to_owned());
    start(config).await
}

fn alive(manager: &NetworkManager) -> usize {
    manager.members().iter().filter(|member| member.state == NodeState::Alive).count()
}

fn security(manager: &NetworkManager) -> SecurityView {
    manager.control().security()
}

/// How often this was counted, of whomever.
fn counted(manager: &NetworkManager, error: &str) -> u64 {
    let statistics = manager.control().statistics().transport;
    let of_peers = statistics.peers.values().filter_map(|peer| peer.errors.get(error));
    of_peers.chain(statistics.unidentified_errors.get(error)).sum()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_the_secret_is_a_member_whose_gossip_is_sealed_and_nobody_else_is() {
    let folder = TempDir::new().expect("a folder");
    let secret = file(&folder, "secret", &format!("{SECRET}\n"));
    let a = start_with_file("a", &secret, &[]).await;
    let seeds = [a.addresses().transport];
    let mut config_of_b = config("b", &seeds);
    config_of_b.shared_secret.variable = Some(VARIABLE.to_owned());
    let b = start(config_of_b).await;
    eventually("a and b are a cluster", || alive(&a) == 2 && alive(&b) == 2).await;
    let message = Application { message_type: ECHO, payload: Payload::from(vec![7; 64]) };
    a.request(&id("b"), &message, CallOptions::default()).await.expect("an answer");

    let sealed = |manager: &NetworkManager, what: &str| security(manager).sealed.get(what).copied().unwrap_or(0);
    eventually("sealed packets pass", || {
        [&a, &b].iter().all(|one| sealed(one, "sealed") > 10 && sealed(one, "opened") > 10)
    })
    .await;
    let (of_a, of_b) = (security(&a), security(&b));
    assert!(of_a.shared_secret && !of_a.tls);
    assert_eq!(of_a.gossip_keys.len(), 1);
    assert_eq!(of_a.gossip_keys[0].id, of_b.gossip_keys[0].id, "both have derived the same key");
    let refused = a.control().rotate_gossip_key().expect_err("it follows from the secret");
    assert!(matches!(&refused, ControlError::Conflict(why) if why.contains("networking.shared_secret")), "{refused}");

    let other = file(&folder, "other", "another secret, of more than thirty-two bytes");
    let stranger = start_with_file("c", &other, &seeds).await;
    eventually("c does not trust a", || counted(&stranger, "dial_untrusted") > 0).await;
    eventually("a has seen it hang up", || counted(&a, "shared_secret_hung_up") > 0).await;
    let plain = start(config("d", &seeds)).await;
    eventually("d is no peer of a", || counted(&a, "io") > 0).await;
    assert_eq!([&a, &b, &stranger, &plain].map(alive), [2, 2, 1, 1], "who does not know the secret is alone");
    for manager in [plain, stranger, b, a] {
        manager.shutdown().await;
    }
}

/// S6: a secret is read by the same rule as a key.
#[test]
fn a_secret_that_is_not_there_or_is_none_is_told_with_its_file_and_key() {
    let folder = TempDir::new().expect("a folder");
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = config("a", &[]);
        change(&mut config);
        match NetworkManager::new(config).expect_err("there is no secret") {
            StartError::SharedSecret { key, problem } => (key, problem),
            error => panic!("{error}"),
        }
    };
    let (absent, short, loose) =
        (folder.path().join("absent"), file(&folder, "short", "0123456789"), file(&folder, "loose", SECRET));
    set_mode(&loose, 0o640);
    let link = folder.path().join("link");
    let elsewhere = TempDir::new().expect("a folder");
    std::os::unix::fs::symlink(file(&elsewhere, "secret", SECRET), &link).expect("a link");
    for (path, words) in [
        (absent, "the file does not exist"),
        (short, "at least 32 bytes, this one has 10"),
        (loose, "its mode is 0640"),
        (link, "leads out of its folder"),
    ] {
        let (key, problem) = refused(&|config| config.shared_secret.path = Some(path.clone()));
        assert_eq!(key, "networking.shared_secret.path");
        assert!(problem.starts_with(&path.display().to_string()) && problem.contains(words), "{problem}");
        assert!(!problem.contains("0123456789") && !problem.contains(SECRET), "{problem}");
    }
    let (key, problem) = refused(&|config| config.shared_secret.variable = Some("RDB_NET_TEST_UNSET".to_owned()));
    assert_eq!(key, "networking.shared_secret.variable");
    assert_eq!(problem, "environment variable RDB_NET_TEST_UNSET: is not set");
}

#[test]
fn a_transport_of_somebodys_own_has_no_secret_of_the_configuration() {
    let mut config = config("a", &[]);
    config.shared_secret.variable = Some(VARIABLE.to_owned());
    let backend = Arc::new(rdb_net_tcp::TcpBackend::new(rdb_net_tcp::TcpConfig::default()));
    let refused = NetworkManager::with_backend(config, backend).expect_err("its backend would prove nothing");
    assert!(matches!(refused, StartError::OwnTransport), "{refused}");
}

/// S23: neither the secret nor the key that follows from it is in what a node writes, answers, or says of its configuration.
#[test]
fn a_secret_is_in_no_log_metric_or_answer_of_a_process() {
    let Some(rdbnet) = Rdbnet::find() else { return };
    let folder = TempDir::new().expect("a folder");
    let (secret, other) = (file(&folder, "secret", MARKER), file(&folder, "other", &format!("other {MARKER}")));
    let spawn = |name: &str, secret: &Path, seeds: Vec<_>| {
        let set = vec![format!("networking.shared_secret.path={}", secret.display())];
        Node::spawn(&rdbnet, &Spec { id: name.to_owned(), place: None, seeds, set, ..Spec::default() }, folder.path())
    };
    let mut one = spawn("n1", &secret, Vec::new());
    let seed = one.wait_started().address;
    let mut two = spawn("n2", &secret, vec![seed]);
    let mut three = spawn("n3", &other, vec![seed]);
    two.wait_started();
    three.wait_started();
    let begun = Instant::now();
    let is_told = |metrics: &str| metrics.contains("shared_secret_hung_up");
    let answer = |node: &Node, path: &str| get(node.started().admin, path).expect("an answer").1;
    while !(is_told(&answer(&one, "/metrics")) && [&one, &two].iter().all(|node| node.topology().members.len() == 2)) {
        assert!(begun.elapsed() < PATIENCE, "n2 is let in and n3 is not:\n{}", one.log.lines().join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(three.topology().members.len(), 1);

    let mut told = String::new();
    for node in [&one, &two, &three] {
        for path in ["/metrics", "status", "security", "topology", "peers", "health"] {
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/network/{path}") };
            told += &answer(node, &path);
        }
        told += &node.log.lines().join("\n");
        told += &node.output().join("\n");
    }
    assert!(told.contains("\"shared_secret\":true") && told.contains("networking.shared_secret"), "{told}");
    let file = folder.path().join("n1.toml");
    let file = file.to_str().expect("a text");
    for (name, content) in [("short", "marker-1c0ffee5"), ("loose", MARKER)] {
        let path = self::file(&folder, name, content);
        if name == "loose" {
            set_mode(&path, 0o644);
        }
        let set = format!("networking.shared_secret.path={}", path.display());
        let ran = rdbnet.run(&["node", "--config", file, "--set", &set]);
        assert!(!ran.status.success(), "it starts with a secret that is none");
        told += text(&ran.stderr);
        told += text(&ran.stdout);
    }
    assert!(told.contains("its mode is 0644") && told.contains("at least 32 bytes"), "{told}");
    let cluster = ClusterId::new("rustydb").expect("legal");
    let key = SharedSecret::new(MARKER.as_bytes()).expect("long enough").gossip_key(&cluster);
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret: String = MARKER.bytes().map(|byte| format!("{byte:02x}")).collect();
    for forbidden in ["1c0ffee5", &hex[..16], &secret[..16]] {
        assert!(!told.contains(forbidden), "{forbidden} is in: {told}");
    }
}
