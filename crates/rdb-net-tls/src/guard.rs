//! The stream below TLS: it counts what a stranger sends, and sees whether it is TLS at all.
//!
//! rustls buffers up to 64 KiB of a handshake message before it looks at it, and more is read while it answers. Here no more
//! than a set number of bytes is read in the whole handshake; after it the stream is passed through untouched.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::refusal::{Beginning, TlsRefusal};
use crate::trust::PeerSide;

/// The content type of a handshake record and of an alert (RFC 8446, section 5.1). A server may begin with either, a client
/// with a handshake only.
const HANDSHAKE: u8 = 0x16;
const ALERT: u8 = 0x15;

/// How much of something that is no TLS is shown.
const BEGINNING_BYTES_MAX: usize = 16;

/// A stream under TLS.
#[derive(Debug)]
pub struct Guarded<S> {
    inner: S,
    /// Until the handshake is complete.
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    side: PeerSide,
    bytes_max: usize,
    bytes_left: usize,
}

impl<S> Guarded<S> {
    /// Reads no more than this until [`open`](Self::open).
    pub(crate) fn new(inner: S, side: PeerSide, bytes_max: usize) -> Self {
        Self { inner, watch: Some(Watch { side, bytes_max, bytes_left: bytes_max }) }
    }

    /// The handshake is complete.
    pub(crate) fn open(&mut self) {
        self.watch = None;
    }

    /// The stream itself.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The stream itself.
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl Watch {
    /// Takes note of what was read. The first byte tells whether it is TLS.
    fn note(&mut self, read: &[u8]) -> io::Result<()> {
        let is_first = self.bytes_left == self.bytes_max;
        self.bytes_left = self.bytes_left.saturating_sub(read.len());
        let Some(first) = read.first().filter(|_| is_first) else { return Ok(()) };
        let began = || Beginning(read[..read.len().min(BEGINNING_BYTES_MAX)].to_vec());
        let refusal = match (self.side, *first) {
            (_, HANDSHAKE) | (PeerSide::Dialed, ALERT) => return Ok(()),
            (PeerSide::Connected, _) => TlsRefusal::PlaintextPeer { began: began() },
            (PeerSide::Dialed, _) => TlsRefusal::NotTls { began: began() },
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, refusal))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { inner, watch } = self.get_mut();
        let Some(watch) = watch else { return Pin::new(inner).poll_read(cx, buf) };
        if watch.bytes_left == 0 {
            let refusal = TlsRefusal::TooLarge { max: watch.bytes_max };
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal)));
        }
        let room = buf.remaining().min(watch.bytes_left);
        let mut limited = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(inner).poll_read(cx, &mut limited))?;
        let read = limited.filled().len();
        let noted = watch.note(limited.filled());
        buf.advance(read);
        Poll::Ready(noted)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
