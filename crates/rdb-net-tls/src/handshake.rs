//! Handshakes, bounded in time and bytes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{DnsName, ServerName};
use rustls::server::Acceptor as HelloReader;
use rustls::server::ClientHello;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsConnector};

use crate::binding::ChannelBinding;
use crate::certificate::visible;
use crate::epoch::{ALPN, TlsEpoch, join};
use crate::failure::{Offers, of_io};
use crate::guard::Guarded;
use crate::provider::{group_name, suite_name};
use crate::refusal::TlsRefusal;
use crate::tls::{Shared, Side};
use crate::trust::{Expected, PeerIdentity, PeerSide};
use crate::verifier::Slot;

/// How many suites or groups of a stranger are named in an error.
const OFFERS_MAX: usize = 8;

/// How much of a refused peer is read and thrown away before it is hung up on anyway.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// A stream inside TLS.
pub type TlsStream<S> = tokio_rustls::TlsStream<Guarded<S>>;

/// Limits of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// How much is read of a peer until it is known, in bytes. Default 16 KiB; less than 4 KiB is 4 KiB.
    /// Three RSA-4096 certificates take some 6 KiB.
    pub bytes_max: usize,
    /// How long a refused connection stays until the peer has hung up, so that it gets the reason: closing a socket with
    /// unread bytes in it would throw the alert away. Default 200 ms; never beyond the deadline; zero closes at once.
    pub linger: Duration,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self { bytes_max: 16 * 1024, linger: Duration::from_millis(200) }
    }
}

/// A connection that this node made.
pub struct Dialed<S> {
    /// The stream.
    pub stream: TlsStream<S>,
    /// Who answered.
    pub peer: PeerIdentity,
    /// What to compare in the hello.
    pub binding: ChannelBinding,
    /// The number of the set of files by which it was judged.
    pub epoch: u64,
}

/// A connection that somebody else made.
pub struct Accepted<S> {
    /// The stream.
    pub stream: TlsStream<S>,
    /// Who it is; `None` only with `verify_client = false`, of somebody without a certificate.
    pub peer: Option<PeerIdentity>,
    /// What to compare in the hello.
    pub binding: ChannelBinding,
    /// The number of the set of files by which it was judged.
    pub epoch: u64,
}

impl<S> fmt::Debug for Dialed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed").field("peer", &self.peer).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Accepted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Makes TLS connections, each by the set of files that is in force when it begins.
#[derive(Debug, Clone)]
pub struct Connector {
    pub(crate) shared: Arc<Shared>,
}

/// Takes TLS connections, each by the set of files that is in force when it begins.
#[derive(Debug, Clone)]
pub struct Acceptor {
    pub(crate) shared: Arc<Shared>,
}

impl Connector {
    /// Makes a connection on this stream to whom is expected.
    ///
    /// `Ok` means that the peer has proved who it is. Whether it takes this node is not known yet: TLS 1.3 lets the server
    /// judge after the client is done, and its refusal comes out of the first read ([`TlsRefusal`] is `From<io::Error>`). So
    /// a connection is up when the hello was answered, as everywhere in this house.
    ///
    /// # Errors
    ///
    /// Why there is none. The stream is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream, in the middle of the handshake; the peer sees it hang up.
    pub async fn connect<S>(&self, stream: S, expected: &Expected, deadline: Instant) -> Result<Dialed<S>, TlsRefusal>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let epoch = self.shared.current();
        let result = timeout_at(deadline, Box::pin(self.dial(&epoch, stream, expected, deadline))).await;
        let result = result.unwrap_or(Err(TlsRefusal::Timeout));
        self.shared.count(Side::Dialed, result.as_ref().err());
        result
    }

    async fn dial<S>(
        &self,
        epoch: &TlsEpoch,
        stream: S,
        expected: &Expected,
        deadline: Instant,
    ) -> Result<Dialed<S>, TlsRefusal>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let limits = self.shared.limits;
        let guarded = Guarded::new(stream, PeerSide::Dialed, limits.bytes_max);
        let slot = Slot::default();
        let connector = TlsConnector::from(epoch.client_config(expected.clone()));
        let handshake = connector.connect(server_name()?, guarded).into_fallible();
        let (error, io) = match slot.during(handshake).await {
            Ok(mut stream) => {
                let (io, connection) = stream.get_mut();
                io.open();
                if connection.alpn_protocol() != Some(ALPN) {
                    // A server that does not know ALPN, which rustls lets pass.
                    let refusal = TlsRefusal::NoAlpn { offered: String::new() };
                    linger(stream, limits.linger, deadline).await;
                    return Err(refusal);
                }
                let binding = ChannelBinding::of(connection)?;
                let peer = slot.take().unwrap_or_else(|| Err(unjudged()))?;
                return Ok(Dialed { stream: stream.into(), peer, binding, epoch: epoch.number() });
            }
            Err(failed) => failed,
        };
        let refusal = match slot.take() {
            Some(Err(refusal)) => refusal,
            _ => of_io(error, &epoch.offers),
        };
        linger(io, limits.linger, deadline).await;
        Err(refusal)
    }
}

impl Acceptor {
    /// Takes a connection on this stream.
    ///
    /// # Errors
    ///
    /// Why there is none. The peer has been told, as far as TLS has words for it, and the stream is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the stream, in the middle of the handshake; the peer sees it hang up.
    pub async fn accept<S>(&self, stream: S, deadline: Instant) -> Result<Accepted<S>, TlsRefusal>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let epoch = self.shared.current();
        let result = timeout_at(deadline, Box::pin(self.take(&epoch, stream, deadline))).await;
        let result = result.unwrap_or(Err(TlsRefusal::Timeout));
        self.shared.count(Side::Connected, result.as_ref().err());
        result
    }

    async fn take<S>(&self, epoch: &TlsEpoch, stream: S, deadline: Instant) -> Result<Accepted<S>, TlsRefusal>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let limits = self.shared.limits;
        let guarded = Guarded::new(stream, PeerSide::Connected, limits.bytes_max);
        let mut reader = LazyConfigAcceptor::new(HelloReader::default(), guarded);
        let (refusal, io) = match (&mut reader).await {
            Ok(start) => match greet(start, epoch.server_config(), &epoch.offers).await {
                Ok((stream, peer)) => {
                    let binding = ChannelBinding::of(stream.get_ref().1)?;
                    return Ok(Accepted { stream: stream.into(), peer, binding, epoch: epoch.number() });
                }
                Err((refusal, io)) => (refusal, Some(io)),
            },
            Err(error) => (of_io(error, &epoch.offers), reader.take_io()),
        };
        if let Some(mut io) = io {
            if let Some(alert) = unsaid(&refusal) {
                // A fatal alert in a record of its own, in the clear (RFC 8446, section 6). A peer that reads nothing gets none.
                let record = [0x15, 3, 3, 0, 2, 2, u8::from(alert)];
                let _ = timeout_at(deadline.min(Instant::now() + limits.linger), io.write_all(&record)).await;
            }
            io.open();
            linger(io, limits.linger, deadline).await;
        }
        Err(refusal)
    }
}

type ServerStream<S> = tokio_rustls::server::TlsStream<Guarded<S>>;

/// The handshake after the client's hello.
async fn greet<S>(
    start: StartHandshake<Guarded<S>>,
    config: Arc<ServerConfig>,
    ours: &Offers,
) -> Result<(ServerStream<S>, Option<PeerIdentity>), (TlsRefusal, Guarded<S>)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let hello = start.client_hello();
    let offers = offers_of(&hello, ours);
    if let Err(refusal) = check_alpn(&hello) {
        return Err((refusal, start.io));
    }
    let slot = Slot::default();
    match slot.during(start.into_stream(config).into_fallible()).await {
        Ok(mut stream) => {
            let (io, connection) = stream.get_mut();
            io.open();
            let is_anonymous = connection.peer_certificates().is_none();
            match slot.take() {
                Some(Ok(peer)) => Ok((stream, Some(peer))),
                None if is_anonymous => Ok((stream, None)),
                Some(Err(refusal)) => Err((refusal, stream.into_inner().0)),
                None => Err((unjudged(), stream.into_inner().0)),
            }
        }
        Err((error, io)) => match slot.take() {
            Some(Err(refusal)) => Err((refusal, io)),
            _ => Err((of_io(error, &offers), io)),
        },
    }
}

/// rustls refuses a client that offers others, and takes one that offers none.
fn check_alpn(hello: &ClientHello<'_>) -> Result<(), TlsRefusal> {
    let mut offered = hello.alpn().into_iter().flatten().peekable();
    let first = offered.peek().map(|name| offered_text(name)).unwrap_or_default();
    match offered.any(|name| name == ALPN) {
        true => Ok(()),
        false => Err(TlsRefusal::NoAlpn { offered: first }),
    }
}

fn offered_text(name: &[u8]) -> String {
    format!(" but {:?}", visible(&String::from_utf8_lossy(name)))
}

fn offers_of(hello: &ClientHello<'_>, ours: &Offers) -> Offers {
    let suites = hello.cipher_suites().iter().take(OFFERS_MAX);
    let groups = hello.named_groups().into_iter().flatten().take(OFFERS_MAX);
    Offers {
        their_suites: join(suites.map(|suite| suite_name(*suite))),
        their_groups: join(groups.map(|group| group_name(*group))),
        ..ours.clone()
    }
}

/// What rustls refuses it has answered. These are refused before it was asked.
fn unsaid(refusal: &TlsRefusal) -> Option<AlertDescription> {
    match refusal {
        TlsRefusal::PlaintextPeer { .. } => Some(AlertDescription::UnexpectedMessage),
        TlsRefusal::NoAlpn { .. } => Some(AlertDescription::NoApplicationProtocol),
        _ => None,
    }
}

/// Hangs up, and waits until a refused peer does the same.
async fn linger<S>(mut stream: S, linger: Duration, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let farewell = async {
        stream.shutdown().await?;
        let (mut scrap, mut left) = ([0; 1024], LINGER_BYTES_MAX);
        while left > 0 && !linger.is_zero() {
            match stream.read(&mut scrap).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<(), io::Error>(())
    };
    // Whether it hears why is up to it.
    let _ = timeout_at(deadline.min(Instant::now() + linger), farewell).await;
}

/// rustls wants a name. It is neither sent nor compared.
fn server_name() -> Result<ServerName<'static>, TlsRefusal> {
    let name = DnsName::try_from("rustydb").map_err(|error| TlsRefusal::Internal { problem: error.to_string() })?;
    Ok(ServerName::DnsName(name))
}

fn unjudged() -> TlsRefusal {
    TlsRefusal::Internal { problem: "the handshake ended without a verdict on the peer".to_owned() }
}
