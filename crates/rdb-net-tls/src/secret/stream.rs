//! The exchange over a stream: each message behind its length.

use std::io;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rdb_net_types::{NodeId, Principal, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::exchange::{Accepting, Dialing, NONCE_BYTES};
use super::{SharedSecret, Terms};

/// The longest message, in bytes: a tag, three ids behind their lengths, and a nonce.
const MESSAGE_BYTES_MAX: usize = 1 + 3 * 65 + NONCE_BYTES;

/// An exchange that came to nothing. The stream is to be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The peer is not to be spoken with.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The deadline passed.
    #[error("the exchange of shared secrets was not complete in time")]
    Timeout,
    /// The dialer ended the exchange when this node had proved its secret.
    #[error(
        "the dialer hung up at this node's proof, as one does that knows another secret: networking.shared_secret has to be the \
         same on both nodes"
    )]
    HungUp,
    /// The stream failed or ended. A peer that refuses this node just hangs up: its log says why.
    #[error("the stream failed in the exchange of shared secrets: {0}")]
    Io(#[from] io::Error),
}

impl SecretError {
    /// A short name, for counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refused(_) => "shared_secret",
            Self::HungUp => "shared_secret_hung_up",
            Self::Timeout => "timeout",
            Self::Io(_) => "io",
        }
    }
}

/// A nonce from the system's generator.
///
/// # Errors
///
/// When the system gives no randomness.
pub fn fresh_nonce() -> io::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    let filled = SystemRandom::new().fill(&mut nonce);
    filled.map(|()| nonce).map_err(|_| io::Error::other("the system gives no randomness"))
}

/// Proves the secret to whoever answers on this stream, and has it proved.
///
/// # Errors
///
/// Why the peer is not to be spoken with.
///
/// # Cancel safety
///
/// None: a stream whose exchange was given up is of no use.
pub async fn dial<S>(
    stream: &mut S,
    secret: &SharedSecret,
    terms: Terms,
    target: Option<NodeId>,
    deadline: Instant,
) -> Result<Principal, SecretError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let exchange = async {
        let (dialing, begin) = Dialing::begin(secret, terms, target, fresh_nonce()?);
        send(stream, &begin).await?;
        let (peer, answer) = dialing.finish(&receive(stream).await?)?;
        send(stream, &answer).await?;
        Ok(peer)
    };
    timeout_at(deadline, exchange).await.unwrap_or(Err(SecretError::Timeout))
}

/// Has the secret proved by whoever dialed this stream, and proves it.
///
/// # Errors
///
/// Why the peer is not let in.
///
/// # Cancel safety
///
/// None: a stream whose exchange was given up is of no use.
pub async fn accept<S>(
    stream: &mut S,
    secret: &SharedSecret,
    terms: Terms,
    deadline: Instant,
) -> Result<Principal, SecretError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let exchange = async {
        let begin = receive(stream).await?;
        let (awaiting, challenge) = Accepting::new(secret, terms).challenge(&begin, fresh_nonce()?)?;
        send(stream, &challenge).await?;
        let answer = receive(stream).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => SecretError::HungUp,
            _ => SecretError::Io(error),
        })?;
        Ok(awaiting.finish(&answer)?)
    };
    timeout_at(deadline, exchange).await.unwrap_or(Err(SecretError::Timeout))
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> io::Result<()> {
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&(message.len() as u16).to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    stream.flush().await
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the peer does not follow the exchange of shared secrets",
        ));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
