//! Reading ahead under TLS.
//!
//! rustls asks for 4 KiB at a time, or for what a record lacks, so that much would be read in many system calls. Here as much is
//! read as is there, up to a block, into memory that the connections of a thread share. What TLS does not take at once keeps
//! its block until it does: a connection at rest has none.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// A stream that is read ahead of who reads it.
pub(crate) struct ReadAhead<S> {
    inner: S,
    is_open: bool,
    /// The last read took all that was there.
    was_short: bool,
    /// What was read and is not taken yet; `None` where nothing is left.
    left: Option<Left>,
}

struct Left {
    block: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    /// Reads no more than is asked for until [`open`](Self::open): how much a stranger may send is for others to count.
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, is_open: false, was_short: false, left: None }
    }

    /// Reads ahead from now on.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
    }

    /// Whether another read would hardly bring anything: all is taken, and the last one brought less than it had room for.
    pub(crate) fn is_drained(&self) -> bool {
        self.was_short && self.left.is_none()
    }

    /// Gives out what is left, and its block back once nothing is.
    fn give(&mut self, mut left: Left, buf: &mut ReadBuf<'_>) {
        let count = buf.remaining().min(left.end - left.start);
        buf.put_slice(&left.block[left.start..left.start + count]);
        left.start += count;
        if left.start < left.end {
            self.left = Some(left);
        } else {
            SPARE.set(Some(left.block));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(left) = this.left.take() {
            this.give(left, buf);
            return Poll::Ready(Ok(()));
        }
        if !this.is_open {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let mut block = SPARE.take().unwrap_or_else(|| vec![0; BLOCK_BYTES].into());
        let mut read = ReadBuf::new(&mut block);
        let polled = Pin::new(&mut this.inner).poll_read(cx, &mut read);
        let end = read.filled().len();
        this.was_short = end < BLOCK_BYTES;
        if end == 0 {
            SPARE.set(Some(block));
        } else {
            this.give(Left { block, start: 0, end }, buf);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    /// rustls writes a single record this way too, for which the system has a shorter way.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [whole] => Pin::new(&mut self.inner).poll_write(cx, whole),
            pieces => Pin::new(&mut self.inner).poll_write_vectored(cx, pieces),
        }
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Reads as much as there is room for, at once.
    fn read<S: AsyncRead + Unpin>(stream: &mut S, room: usize) -> Poll<Vec<u8>> {
        let mut bytes = vec![0; room];
        let mut buf = ReadBuf::new(&mut bytes);
        let polled = Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        polled.map(|read| read.map(|()| buf.filled().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn until_it_is_open_no_more_is_read_than_is_asked_for() {
        let (mut far, near) = duplex(1024);
        let mut stream = ReadAhead::new(near);
        far.write_all(&[7; 100]).await.unwrap();
        assert_eq!(read(&mut stream, 10), Poll::Ready(vec![7; 10]));
        // An empty one would ask for 64 bytes.
        let mut rest = Vec::with_capacity(1024);
        stream.inner.read_buf(&mut rest).await.unwrap();
        assert_eq!(rest.len(), 90);
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_out_in_order_and_leaves_no_memory_behind() {
        let sent: Vec<u8> = (0..3 * BLOCK_BYTES).map(|number| (number / 7) as u8).collect();
        let (mut far, near) = duplex(4 * BLOCK_BYTES);
        let mut stream = ReadAhead::new(near);
        stream.open();
        far.write_all(&sent).await.unwrap();
        let mut received = Vec::new();
        for room in [1, 5, 4096, 18_000].into_iter().cycle() {
            match read(&mut stream, room) {
                Poll::Ready(bytes) => received.extend(bytes),
                Poll::Pending => break,
            }
            assert_eq!(received.len() % BLOCK_BYTES == 0, stream.left.is_none());
        }
        assert!(received == sent && stream.is_drained());
        drop(far);
        assert_eq!(read(&mut stream, 10), Poll::Ready(Vec::new()));
    }
}
