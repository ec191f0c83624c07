//! Secrets are in no text: not in logs, errors, `Debug` output or panics. S23.
//!
//! A process of its own does with its secrets whatever a node does, and what goes wrong with them, and writes down everything
//! that it can: its log at the finest level, each error and each value twice, and its panics. The secrets are then looked for in
//! all of it.

use std::fmt::{Debug, Display};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_manager::NetworkManager;
use rdb_net_manager::config::Config;
use rdb_net_tests::{frame, hello};
use rdb_net_tls::pki::{Pki, PkiOptions};
use rdb_net_tls::secret::{SharedSecret, Terms, accept, dial};
use rdb_net_tls::{Clock, Policy, Tls, TlsConfig, TlsOptions};
use rdb_net_transport::{HandlerOptions, Handling, Request};
use rdb_net_types::{Authenticator, Credentials, MessageType, NodeId, Principal, Refusal, RefusalReason, Role};
use rdb_net_wire::Hello;
use tempfile::TempDir;
use tokio::io::duplex;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tracing_subscriber::filter::LevelFilter;

use crate::child::{FOLDER, folder};
use crate::mint::{Ca, Files};
use crate::node::{Node, PATIENCE, Settings, ask, cluster, id, runtime, start_with, wait};
use crate::raw::{ALPN, client, outcome};

const TEST: &str = "markers::no_secret_is_in_any_text";
/// Is written like any other field of a log, to see that the log is read at all.
const CONTROL: &str = "control-7f3a9c51";
const PANICS: MessageType = MessageType(0x8001);

/// Writes a value in every way that it can be written.
fn show(what: &str, value: &(impl Debug + ?Sized)) {
    println!("{what}: {value:?}\n{value:#?}");
}

fn show_error(what: &str, error: &(impl Debug + Display)) {
    println!("{what}: {error}");
    show(what, error);
}

/// Lets in whoever has the token, and tells what it has seen.
struct ByToken(Vec<u8>);

impl Authenticator for ByToken {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, Refusal> {
        show("credentials", credentials);
        match credentials.token {
            token if token == self.0 => Ok(Principal { node: credentials.claimed.clone(), roles: vec![Role::Node] }),
            b"" => panic!("an authenticator of somebody's own: {credentials:?}"),
            _ => Err(Refusal { reason: RefusalReason::Identity, detail: "the token is wrong".to_owned() }),
        }
    }
}

/// The process that has the secrets.
fn bearer(folder: &Path) {
    let log =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stdout).with_ansi(false);
    log.init();
    tracing::trace!(control = CONTROL, "the log is read");
    let (runtime, files) = (runtime(), Files::at(folder));
    let token = std::fs::read(files.path("token")).expect("readable");
    nodes(&runtime, folder, &token);
    bad_files(&files);
    managed(&runtime, &files);
    shared_secrets(&runtime, &files);
    pki(&files);
}

/// Nodes that meet, with a token and without, and handlers that panic.
fn nodes(runtime: &Runtime, folder: &Path, token: &[u8]) {
    let files = |name: &str| Files::at(&folder.join(name));
    let with = |token: Vec<u8>| move |settings: &mut Settings| settings.config.identity.token = token;
    let one = start_with(runtime, "n1", files("n1"), |settings| {
        settings.config.identity.token = token.to_vec();
        settings.config.authenticator = Some(Arc::new(ByToken(token.to_vec())));
        show("identity", &settings.config.identity);
        show("config", &settings.config);
        show("tls", &settings.tls);
        show("options", &settings.options);
    });
    let panics = |_: &NodeId, request: Request| -> Handling { panic!("a handler of somebody's own: {request:?}") };
    one.transport.handle(PANICS, Arc::new(panics), HandlerOptions::default());
    let tls = one.tls.as_ref().expect("it has files");
    show("Tls", tls);
    show("epoch", &*tls.current());
    show("reloader", tls.reloader());
    show("connector", &(tls.connector(), tls.acceptor()));
    show("client", &tls.current().client_config(rdb_net_tls::Expected::Anybody));
    show("server", &tls.current().server_config());
    show("transport", &one.transport);
    let meet = |name: &str, token: Vec<u8>| {
        let other = start_with(runtime, name, files(name), with(token));
        let peer = one_of(&other, &one);
        let seen = runtime.block_on(other.dialled(&peer));
        show("peer", &(other.transport.peers(), peer.node(), other.transport.statistics(), seen));
        (other, peer)
    };
    let (two, peer) = meet("n2", token.to_vec());
    runtime.block_on(ask(&peer)).expect("answered");
    let panic = rdb_net_types::Application { message_type: PANICS, payload: "hello".into() };
    let options = rdb_net_transport::CallOptions::timeout(Duration::from_secs(5));
    show_error("panic", &runtime.block_on(peer.request(&panic, options)).expect_err("its handler panics"));
    let (three, _) = meet("n3", [token, b"wrong"].concat());
    let (four, _) = meet("n4", Vec::new());
    // By hand, in a hello that cannot be read to its end.
    let leaf = std::fs::read_to_string(folder.join("n2/cert.pem")).expect("readable");
    assert!(leaf.contains("CERTIFICATE"));
    let mut bad = frame(&Hello { token: token.to_vec(), ..hello("n2") });
    bad.truncate(bad.len() - 2);
    let config = client(None, ALPN);
    if let Ok(mut stranger) = crate::raw::dial(one.address(), config) {
        stranger.send(&bad);
        println!("by hand: {}", outcome(&mut stranger));
    }
    show("hello", &Hello { token: token.to_vec(), ..hello("n2") });
    for node in [two, three, four, one] {
        show("errors", &node.errors());
        node.stop(runtime);
    }
}

fn one_of(other: &Node, one: &Node) -> rdb_net_transport::PeerHandle {
    other.peer(one)
}

/// Key files that are damaged, or are where something else belongs.
fn bad_files(files: &Files) {
    let key = std::fs::read_to_string(files.path("n1/key.pem")).expect("readable");
    let load = |what: &str, change: &dyn Fn(&mut TlsConfig)| {
        let mut config = Files::at(&files.path("n1")).config();
        change(&mut config);
        let error = Tls::load(config, TlsOptions::new(Policy::new(cluster("rustydb")))).expect_err(what);
        show_error(what, &error);
    };
    let damaged: [(&str, String); 6] = [
        ("a key cut off", key[..key.len() / 2].to_owned()),
        ("a key without its beginning", key.lines().skip(1).collect::<Vec<_>>().join("\n")),
        ("a key without its end", key.lines().take(2).collect::<Vec<_>>().join("\n")),
        ("a key that is no Base64", key.replacen("MI", "M!", 1)),
        ("a key with another label", key.replace("PRIVATE KEY", "RSA PRIVATE KEY")),
        ("a key called encrypted", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
    ];
    for (what, text) in damaged {
        files.put("key.pem", &text);
        load(what, &|config| config.key_path = files.path("key.pem"));
    }
    load("the key of another", &|config| config.key_path = files.path("n2/key.pem"));
    load("a key as the certificate", &|config| config.cert_path.clone_from(&config.key_path));
    load("a key as the CA", &|config| config.ca_cert_path = Some(config.key_path.clone()));
    load("a key as the list", &|config| config.crl_paths = vec![config.key_path.clone()]);
    files.put("key.pem", &key);
    std::fs::set_permissions(files.path("key.pem"), std::fs::Permissions::from_mode(0o644)).expect("the mode is set");
    load("a key that all may read", &|config| config.key_path = files.path("key.pem"));
}

/// Two nodes whose configuration names the secret, and whose gossip is sealed with what follows from it.
fn managed(runtime: &Runtime, files: &Files) {
    let start = |name: &str, seeds: Vec<rdb_net_types::NodeAddress>| {
        let mut config = Config::default();
        config.node_id = Some(id(name));
        config.bind_address = "127.0.0.1:0".parse().expect("legal");
        config.admin.enabled = false;
        config.service_discovery.seeds = seeds;
        config.gossip.swim = rdb_swim::Config::local();
        config.shared_secret.path = Some(files.path("secret"));
        show("configuration", &config);
        println!("{}", config.to_toml());
        let manager = NetworkManager::new(config).expect("it can run");
        runtime.block_on(manager.start()).expect("loopback has free ports");
        show("manager", &manager);
        manager
    };
    let one = start("m1", Vec::new());
    let two = start("m2", vec![one.addresses().transport]);
    let opened = || two.control().security().sealed.get("opened").copied().unwrap_or(0);
    wait("sealed packets pass", PATIENCE, || two.members().len() == 2 && opened() > 0);
    for manager in [two, one] {
        let control = manager.control();
        show("control", &(control.security(), control.statistics(), control.configuration()));
        runtime.block_on(manager.shutdown());
    }
}

fn shared_secrets(runtime: &Runtime, files: &Files) {
    let secret = SharedSecret::from_file(&files.path("secret")).expect("long enough");
    show("secret", &secret);
    let text = std::fs::read(files.path("secret")).expect("readable");
    show_error("too short", &SharedSecret::new(&text[..31]).expect_err("31 bytes"));
    let terms = |node: &str| Terms { cluster: cluster("rustydb"), node: id(node), binding: None };
    let other = SharedSecret::new(&[&text[..], b"and more"].concat()).expect("long enough");
    for (what, theirs) in [("the same secret", &secret), ("another secret", &other)] {
        let (mut here, mut there) = duplex(4096);
        let deadline = runtime.block_on(async { Instant::now() + Duration::from_secs(5) });
        let (dialed, taken) = runtime.block_on(async {
            let dialed = async {
                let dialed = dial(&mut here, &secret, terms("n2"), None, deadline).await;
                drop(here);
                dialed
            };
            tokio::join!(dialed, accept(&mut there, theirs, terms("n1"), deadline))
        });
        show(what, &(dialed, taken));
    }
    std::fs::set_permissions(files.path("secret"), std::fs::Permissions::from_mode(0o640)).expect("the mode is set");
    show_error("a secret that others may read", &SharedSecret::from_file(&files.path("secret")).expect_err("loose"));
}

/// A CA whose key is damaged. Its key is not the test's own, so that nothing is looked for but what was put there.
fn pki(files: &Files) {
    let dir = files.path("pki");
    let pki = Pki::init(&dir, &PkiOptions::new(cluster("rustydb")), Clock::default()).expect("a CA");
    show("pki", &pki);
    show("issued", &pki.issue(&id("n7"), Role::Node, &[]).expect("issued"));
    let key = std::fs::read_to_string(files.path("n1/key.pem")).expect("readable");
    for text in [key.as_str(), &key[..key.len() / 2], &key.replacen("MI", "M!", 1)] {
        Files::at(&dir).put("ca-key.pem", text);
        std::fs::set_permissions(dir.join("ca-key.pem"), std::fs::Permissions::from_mode(0o600)).expect("mode set");
        match Pki::open(&dir, Clock::default()) {
            Ok(pki) => show("a CA with another's key", &pki.issue(&id("n8"), Role::Node, &[])),
            Err(error) => show_error("a CA whose key is damaged", &error),
        }
    }
}

/// How a secret would look in a text: as it is, in hexadecimal, as a list of numbers.
fn looks(secret: &[u8]) -> Vec<String> {
    let join =
        |separator: &str, each: &dyn Fn(&u8) -> String| secret.iter().map(each).collect::<Vec<_>>().join(separator);
    let mut looks = vec![
        join("", &|byte| format!("{byte:02x}")),
        join("", &|byte| format!("{byte:02X}")),
        join(", ", &|byte| byte.to_string()),
        join(" ", &|byte| format!("{byte:02x}")),
        join(", ", &|byte| format!("{byte:#04x}")),
    ];
    looks.extend(String::from_utf8(secret.to_vec()).ok());
    looks
}

/// The texts that must be nowhere, each with what it is.
fn forbidden(secrets: &[(&str, Vec<u8>)], keys: &[(&str, String)]) -> Vec<(String, String)> {
    let mut forbidden = Vec::new();
    for (what, secret) in secrets {
        // A part of it would be as bad.
        forbidden.extend(looks(&secret[..16]).into_iter().map(|look| ((*what).to_owned(), look)));
    }
    for (what, pem) in keys {
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        // The first 36 bytes say what kind of key it is, and are the same in all.
        for part in body.as_bytes().chunks(24).skip(2).filter(|part| part.len() == 24) {
            forbidden.push((format!("the key of {what}"), String::from_utf8_lossy(part).into_owned()));
        }
        let der =
            <rustls::pki_types::PrivateKeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes());
        let der = der.expect("a key").secret_der().to_vec();
        // PKCS #8 of P-256: the private scalar begins at byte 36.
        forbidden.extend(looks(&der[36..52]).into_iter().map(|look| (format!("the number of {what}"), look)));
    }
    forbidden
}

/// What the process writes is on one line or many; a list of numbers is looked for without its line ends.
fn found(text: &str, forbidden: &[(String, String)]) -> Vec<String> {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_in = |look: &String| text.contains(look.as_str()) || flat.contains(look.as_str());
    forbidden.iter().filter(|(_, look)| is_in(look)).map(|(what, look)| format!("{what}: {look}")).collect()
}

#[test]
fn no_secret_is_in_any_text() {
    if let Some(folder) = folder() {
        return bearer(&folder);
    }
    let (ca, folder) = (Ca::new("ca"), TempDir::new().expect("a folder"));
    let mut keys = Vec::new();
    for name in ["n1", "n2", "n3", "n4"] {
        let (files, leaf) = (Files::at(&folder.path().join(name)), ca.node(name));
        std::fs::create_dir(folder.path().join(name)).expect("made");
        files.put("ca.pem", &ca.pem());
        files.put_leaf(&leaf);
        keys.push((name, leaf.key_pem));
    }
    let files = Files::at(folder.path());
    let (token, secret) = (b"token-5be1c7a2-0d94-marker".to_vec(), b"secret-93d2f08b-a71c-marker-of-36-bytes".to_vec());
    for (name, bytes) in [("token", &token), ("secret", &secret)] {
        let mut file = std::fs::File::create(files.path(name)).expect("made");
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).expect("the mode is set");
        file.write_all(bytes).expect("written");
    }

    let mut command = Command::new(std::env::current_exe().expect("a running test has a path"));
    command.args(["--exact", TEST, "--nocapture", "--test-threads=1"]).env(FOLDER, folder.path());
    let ran = command.env("RUST_BACKTRACE", "full").output().expect("it can be started");
    let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{text}");

    let derived = SharedSecret::new(&secret).expect("long enough").gossip_key(&cluster("rustydb")).to_vec();
    let secrets = [("the token", token), ("the shared secret", secret), ("the gossip key of it", derived)];
    let forbidden = forbidden(&secrets, &keys);
    for (what, look) in &forbidden {
        assert!(!found(&format!("{what}={look}!"), &forbidden).is_empty(), "each is found where it is");
    }
    for there in
        [CONTROL, "a handler of somebody's own", "an authenticator of somebody's own", "TRACE", "DEBUG", "WARN"]
    {
        assert!(text.contains(there), "{there:?} is in the text");
    }
    let found = found(&text, &forbidden);
    println!("MEASURED text without a secret: {} KiB, {} looks looked for", text.len() / 1024, forbidden.len());
    assert!(found.is_empty(), "{found:#?}");
}
