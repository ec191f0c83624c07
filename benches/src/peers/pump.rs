//! Reading and writing one stream from one task: whatever can move, moves; it waits only when neither can.
//!
//! One read and one write per round, so a round's answers leave in one write. Both directions are always open, so two
//! sides that write at the same time cannot block each other.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::peers::frame::{self, HEADER_BYTES};

/// Bytes asked of one read, unless a larger frame is under way.
const READ_BYTES: usize = 256 << 10;

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Bytes moved in at least one direction.
    Moved,
    /// The other side closed its direction.
    Closed,
}

/// Bytes to write, and how many of them are written. What a stream took may still wait in it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The bytes, the written ones included; append only.
    pub(crate) bytes: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Outbox {
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
    }

    fn wrote(&mut self, count: usize) {
        self.unflushed = true;
        self.written += count;
        if self.written == self.bytes.len() {
            self.clear();
        }
    }
}

/// Moves bytes once, or registers for both directions.
pub(crate) fn poll_pump<S>(
    stream: &mut S,
    inbox: &mut BytesMut,
    outbox: &mut Outbox,
    context: &mut Context<'_>,
) -> Poll<io::Result<Progress>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut moved = false;
    if outbox.waiting_bytes() > 0
        && let Poll::Ready(result) = Pin::new(&mut *stream).poll_write(context, outbox.waiting())
    {
        match result? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => outbox.wrote(count),
        }
        moved = true;
    }
    if outbox.unflushed
        && outbox.waiting_bytes() == 0
        && let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(context)
    {
        flushed?;
        outbox.unflushed = false;
    }
    let wanted = read_wanted_bytes(inbox);
    if inbox.capacity() - inbox.len() < wanted.min(READ_BYTES / 4) {
        inbox.reserve(wanted);
    }
    if let Poll::Ready(result) = pin!(stream.read_buf(&mut (&mut *inbox).limit(wanted))).poll(context) {
        if result? == 0 {
            return Poll::Ready(Ok(Progress::Closed));
        }
        moved = true;
    }
    if moved { Poll::Ready(Ok(Progress::Moved)) } else { Poll::Pending }
}

/// Moves bytes, waiting until some can.
///
/// # Cancel safety
///
/// Nothing is lost: what moved is in the boxes.
pub(crate) async fn pump<S>(stream: &mut S, inbox: &mut BytesMut, outbox: &mut Outbox) -> io::Result<Progress>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|context| poll_pump(stream, inbox, outbox, context)).await
}

/// Drops what was handled from the front of the inbox; an emptied inbox is used again from its start, which is in the
/// cache.
pub(crate) fn handled(inbox: &mut BytesMut, count: usize) {
    if count == inbox.len() {
        inbox.clear();
    } else {
        inbox.advance(count);
    }
}

/// A large frame is read up to its end and hardly further, so its successor's start is never moved by much when the
/// buffer is used again.
fn read_wanted_bytes(inbox: &BytesMut) -> usize {
    match frame::decode(inbox) {
        Ok(Some(header)) => (HEADER_BYTES + header.payload_bytes).saturating_sub(inbox.len()).max(READ_BYTES),
        // A broken header is the parser's to report.
        Ok(None) | Err(_) => READ_BYTES,
    }
}
