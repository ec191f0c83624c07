//! The server of both floors: one task per connection answers each frame, with one write per batch that it read.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::peers::PeerError;
use crate::peers::frame::{self, HEADER_BYTES, Kind};
use crate::peers::pump::{Outbox, Progress, handled, pump};
use crate::peers::tls::Acceptor;

/// Answers waiting to be written beyond which nothing more is read.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Accepts connections, inside TLS where there is an acceptor, and serves each until it closes; ends only with an error of the
/// listener.
///
/// # Errors
///
/// The listener's.
pub(crate) async fn serve_listener(listener: TcpListener, tls: Option<Acceptor>) -> Result<(), PeerError> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let tls = tls.clone();
        connections.spawn(async move {
            match tls {
                None => serve_connection(stream).await,
                Some(tls) => serve_connection(tls.accept(stream).await?).await,
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the frames of one connection until the client closes it.
///
/// # Errors
///
/// The stream's, or [`PeerError::Protocol`] when the client sends no frames of this protocol.
pub async fn serve_connection<S>(mut stream: S) -> Result<(), PeerError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut inbox = BytesMut::new();
    let mut outbox = Outbox::default();
    let mut counted = 0_u64;
    loop {
        if outbox.waiting_bytes() < WAITING_BYTES_MAX {
            if pump(&mut stream, &mut inbox, &mut outbox).await? == Progress::Closed {
                return Ok(());
            }
        } else {
            flush(&mut stream, &mut outbox).await?;
        }
        answer_batch(&mut inbox, &mut outbox, &mut counted)?;
    }
}

async fn flush<S: AsyncWrite + Unpin>(stream: &mut S, outbox: &mut Outbox) -> Result<(), PeerError> {
    stream.write_all(outbox.waiting()).await?;
    stream.flush().await?;
    outbox.clear();
    Ok(())
}

fn answer_batch(inbox: &mut BytesMut, outbox: &mut Outbox, counted: &mut u64) -> Result<(), PeerError> {
    let mut read = 0;
    while let Some((header, payload)) = frame::split(&inbox[read..])? {
        match header.kind {
            Kind::Echo => frame::encode(Kind::Echo, header.id, payload, &mut outbox.bytes),
            Kind::OneWay => *counted += 1,
            Kind::Barrier => frame::encode(Kind::Barrier, header.id, &counted.to_be_bytes(), &mut outbox.bytes),
        }
        read += HEADER_BYTES + header.payload_bytes;
    }
    handled(inbox, read);
    Ok(())
}
