//! Two ends of a connection, and what each has seen.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rdb_net_types::{ClusterId, NodeId};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::mint::{Ca, Leaf, now};
use crate::{Clock, Expected, LoadError, Policy, Tls, TlsConfig, TlsOptions, TlsRefusal};

pub(super) const BUFFER: usize = 64 * 1024;

/// The node's files and its TLS.
pub(super) struct Node {
    pub(super) _dir: TempDir,
    pub(super) config: TlsConfig,
    pub(super) tls: Tls,
}

/// A clock that is so many seconds off.
#[derive(Debug)]
pub(super) struct Skewed(pub(super) i64);

impl TimeProvider for Skewed {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(now() + self.0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

pub(super) fn skewed(seconds: i64) -> Clock {
    Clock::new(Arc::new(Skewed(seconds)))
}

pub(super) fn cluster() -> ClusterId {
    ClusterId::new("orders").expect("legal")
}

pub(super) fn id(node: &str) -> NodeId {
    NodeId::new(node).expect("legal")
}

pub(super) fn exactly(node: &str) -> Expected {
    Expected::Node(id(node))
}

pub(super) fn options() -> TlsOptions {
    TlsOptions::new(Policy::new(cluster()))
}

/// Writes what a node needs. CAs and lists are PEM.
pub(super) fn files(cas: &str, leaf: &Leaf, lists: &[String]) -> (TempDir, TlsConfig) {
    let dir = TempDir::new().expect("a folder");
    let mut config = TlsConfig {
        enabled: true,
        cert_path: dir.path().join("cert.pem"),
        key_path: dir.path().join("key.pem"),
        ca_cert_path: Some(dir.path().join("ca.pem")),
        ..TlsConfig::default()
    };
    fs::write(&config.cert_path, leaf.chain_pem()).expect("written");
    secret_file(&config.key_path, &leaf.key_pem);
    fs::write(dir.path().join("ca.pem"), cas).expect("written");
    for (number, list) in lists.iter().enumerate() {
        let path = dir.path().join(format!("crl-{number}.pem"));
        fs::write(&path, list).expect("written");
        config.crl_paths.push(path);
    }
    (dir, config)
}

pub(super) fn secret_file(path: &PathBuf, text: &str) {
    fs::write(path, text).expect("written");
    set_mode(path, 0o600);
}

pub(super) fn set_mode(path: &PathBuf, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode set");
}

/// Says that a test cannot run here, to people and to whoever runs the tests.
pub(super) fn skipped(reason: &str) {
    use std::io::Write;
    let line = format!("SKIPPED: {reason}\n");
    print!("{line}");
    if let Some(path) = std::env::var_os("RDB_SKIPPED_FILE") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file can be written to");
    }
}

/// A node with these files.
#[track_caller]
pub(super) fn node_with(
    cas: &str,
    leaf: &Leaf,
    lists: &[String],
    change: impl FnOnce(&mut TlsConfig, &mut TlsOptions),
) -> Node {
    let (dir, mut config) = files(cas, leaf, lists);
    let mut options = options();
    change(&mut config, &mut options);
    let tls = Tls::load(config.clone(), options).expect("the files are good");
    Node { _dir: dir, config, tls }
}

/// A node of this CA.
#[track_caller]
pub(super) fn node(ca: &Ca, name: &str) -> Node {
    node_with(&ca.pem(), &ca.node(name), &[], |_, _| {})
}

/// Why these files are not taken.
#[track_caller]
pub(super) fn load_error(cas: &str, leaf: &Leaf, lists: &[String]) -> LoadError {
    let (_dir, config) = files(cas, leaf, lists);
    Tls::load(config, options()).expect_err("the files are bad")
}

/// The end that dials.
pub(super) enum Dialer<'a> {
    Node(&'a Node, Expected),
    Raw(Box<ClientConfig>),
    /// Sends these bytes and waits.
    Bytes(&'a [u8]),
    /// Sends these bytes and hangs up.
    HangsUp(&'a [u8]),
}

/// The end that takes.
pub(super) enum Taker<'a> {
    Node(&'a Node),
    Raw(Box<ServerConfig>),
    /// Waits for something, sends these bytes, and waits.
    Bytes(&'a [u8]),
    /// Waits for something and hangs up.
    HangsUp,
}

/// How it went for one end: `ok`, the name of a refusal, or `told <alert>` where the peer has refused.
fn told(refusal: &TlsRefusal) -> String {
    match refusal {
        TlsRefusal::ByPeer { alert } => format!("told {alert:?}"),
        refusal => refusal.name().to_owned(),
    }
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Says something and hears something: only then is it known that both sides are content.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> String {
    let mut heard = [0];
    let talked = async {
        stream.write_all(b"x").await?;
        stream.flush().await?;
        stream.read_exact(&mut heard).await.map(drop)
    };
    match talked.await {
        Ok(()) => "ok".to_owned(),
        Err(error) => told(&error.into()),
    }
}

/// What comes, up to its end: `alert n`, or the bytes.
async fn listen(stream: &mut DuplexStream) -> String {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    match heard[..] {
        [] => "nothing".to_owned(),
        [0x15, 3, 3, 0, 2, 2, alert] => format!("alert {alert}"),
        _ => format!("{heard:02x?}"),
    }
}

async fn dial(dialer: Dialer<'_>, mut stream: DuplexStream) -> String {
    match dialer {
        Dialer::Node(node, expected) => match node.tls.connector().connect(stream, &expected, soon()).await {
            Ok(dialed) => talk(dialed.stream).await,
            Err(refusal) => told(&refusal),
        },
        Dialer::Raw(config) => {
            let connector = TlsConnector::from(Arc::from(config));
            match connector.connect("localhost".try_into().expect("a name"), stream).await {
                Ok(stream) => talk(stream).await,
                Err(error) => told(&error.into()),
            }
        }
        Dialer::Bytes(bytes) => {
            stream.write_all(bytes).await.expect("written");
            listen(&mut stream).await
        }
        Dialer::HangsUp(bytes) => {
            stream.write_all(bytes).await.expect("written");
            "hung up".to_owned()
        }
    }
}

async fn take(taker: Taker<'_>, mut stream: DuplexStream) -> String {
    match taker {
        Taker::Node(node) => match node.tls.acceptor().accept(stream, soon()).await {
            Ok(accepted) => talk(accepted.stream).await,
            Err(refusal) => told(&refusal),
        },
        Taker::Raw(config) => match TlsAcceptor::from(Arc::from(config)).accept(stream).await {
            Ok(stream) => talk(stream).await,
            Err(error) => told(&error.into()),
        },
        Taker::Bytes(bytes) => {
            let mut first = [0; 1024];
            let _ = stream.read(&mut first).await;
            stream.write_all(bytes).await.expect("written");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            "done".to_owned()
        }
        Taker::HangsUp => {
            let _ = stream.read(&mut [0; 1024]).await;
            "hung up".to_owned()
        }
    }
}

/// What both ends have seen, the dialer first.
pub(super) async fn meet(dialer: Dialer<'_>, taker: Taker<'_>) -> (String, String) {
    let (here, there) = duplex(BUFFER);
    tokio::join!(Box::pin(dial(dialer, here)), Box::pin(take(taker, there)))
}

/// That both ends see this.
#[track_caller]
pub(super) fn check(case: &str, dialer: Dialer<'_>, taker: Taker<'_>, expected: (&str, &str)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let (dialed, taken) = runtime.block_on(Box::pin(meet(dialer, taker)));
    assert_eq!((dialed.as_str(), taken.as_str()), expected, "{case}");
}
