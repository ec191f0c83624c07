//! The streams of one connection: one for each lane, in both directions, for as long as the connection lives.
//!
//! The side that dials opens them all at once, in the order of the lanes, so that a stream's number is its lane's (RFC 9000,
//! section 2.1). The other side sees one as soon as something comes on it or on a later one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use rdb_net_types::Lane;
use tokio::io::ReadBuf;

use crate::wakes::Wakes;

/// How much is handed over to QUIC at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;
const LANES: usize = Lane::ALL.len();

type Opened = Result<(SendStream, RecvStream), ConnectionError>;
type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;
type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why nothing can be read of a stream, or written to it, any more.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The connection has ended.
    Connection(ConnectionError),
    /// The other side has taken it back, or wants nothing more on it. It lives as long as the connection, which ends with it.
    Reset(VarInt),
    /// This side has ended it.
    Closed,
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Connection(error) => crate::error::io_error(error),
            StreamError::Reset(code) => {
                Self::new(io::ErrorKind::ConnectionReset, format!("a lane's stream was taken back: {code}"))
            }
            StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

/// The streams, by lane number.
pub(crate) struct Streams {
    quic: quinn::Connection,
    streams: [Option<(SendStream, RecvStream)>; LANES],
    /// The next one that the other side opens.
    opening: Option<Opening>,
    /// The ends of what was written, until the other side has all of it.
    finishing: Option<Vec<Stopped>>,
}

/// System goes first. The others share the rest, packet by packet: a lane that always has something may starve none.
fn priority(lane: Lane) -> i32 {
    match lane {
        Lane::System => 1,
        Lane::Interactive | Lane::Replication | Lane::Bulk => 0,
    }
}

impl Streams {
    /// Of a connection that this side has made.
    pub(crate) async fn open(quic: &quinn::Connection) -> Result<Self, ConnectionError> {
        let mut streams = Self::new(quic);
        for lane in Lane::ALL {
            let opened = quic.open_bi().await?;
            streams.put(lane, opened);
        }
        Ok(streams)
    }

    /// Of a connection that the other side has made. Ready when it has begun to speak.
    pub(crate) async fn accept(quic: &quinn::Connection) -> Result<Self, ConnectionError> {
        let mut streams = Self::new(quic);
        let opened = quic.accept_bi().await?;
        streams.put(Lane::System, opened);
        Ok(streams)
    }

    fn new(quic: &quinn::Connection) -> Self {
        Self { quic: quic.clone(), streams: Default::default(), opening: None, finishing: None }
    }

    fn put(&mut self, lane: Lane, (send, recv): (SendStream, RecvStream)) {
        // One that has ended meanwhile needs no priority.
        let _known = send.set_priority(priority(lane));
        self.streams[lane as usize] = Some((send, recv));
    }

    /// Waits for this lane's stream, where those before it are there.
    fn poll_opened(
        &mut self,
        lane: Lane,
        wakes: &mut Wakes,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        if self.streams[lane as usize].is_some() {
            return Poll::Ready(Ok(()));
        }
        if self.streams[lane as usize - 1].is_none() {
            return Poll::Pending;
        }
        let quic = &self.quic;
        let opening = self.opening.get_or_insert_with(|| {
            let quic = quic.clone();
            Box::pin(async move { quic.accept_bi().await })
        });
        let opened = ready!(wakes.poll(lane as usize, context, |context| opening.as_mut().poll(context)));
        self.opening = None;
        self.put(lane, opened?);
        if let Some(next) = Lane::ALL.get(lane as usize + 1) {
            wakes.note(*next as usize);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is there of a lane; nothing where its stream has ended.
    pub(crate) fn poll_read(
        &mut self,
        lane: Lane,
        wakes: &mut Wakes,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), StreamError>> {
        ready!(self.poll_opened(lane, wakes, context)).map_err(StreamError::Connection)?;
        let Some((_, recv)) = &mut self.streams[lane as usize] else { return Poll::Pending };
        let read = ready!(wakes.poll(lane as usize, context, |context| recv.poll_read_buf(context, into)));
        Poll::Ready(read.map_err(|error| match error {
            ReadError::ConnectionLost(error) => StreamError::Connection(error),
            ReadError::Reset(code) => StreamError::Reset(code),
            _ => StreamError::Closed,
        }))
    }

    /// Writes what a lane's stream takes. Copies once: QUIC keeps what it may have to send again.
    pub(crate) fn poll_write(
        &mut self,
        lane: Lane,
        wakes: &mut Wakes,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<Result<usize, StreamError>> {
        ready!(self.poll_opened(lane, wakes, context)).map_err(StreamError::Connection)?;
        let Some((send, _)) = &mut self.streams[lane as usize] else { return Poll::Pending };
        let mut chunks = [gathered(slices)];
        // It keeps nothing between two polls.
        let mut write = std::pin::pin!(send.write_chunks(&mut chunks));
        let written = ready!(write.as_mut().poll(context));
        Poll::Ready(written.map(|written| written.bytes).map_err(|error| match error {
            WriteError::ConnectionLost(error) => StreamError::Connection(error),
            WriteError::Stopped(code) => StreamError::Reset(code),
            _ => StreamError::Closed,
        }))
    }

    /// Ready when the other side has everything that was written: what is still on its way when a connection closes is lost.
    pub(crate) fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let streams = &mut self.streams;
        let finishing = self.finishing.get_or_insert_with(|| {
            let finish = |(send, _): &mut (SendStream, RecvStream)| {
                // One that was stopped has nothing to end.
                let _finished = send.finish();
                let stopped = send.stopped();
                Box::pin(async move { drop(stopped.await) }) as Stopped
            };
            streams.iter_mut().flatten().map(finish).collect()
        });
        finishing.retain_mut(|stopped| stopped.as_mut().poll(context).is_pending());
        if finishing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Slices in one piece, as much of them as is written at once.
fn gathered(slices: &[io::IoSlice<'_>]) -> Bytes {
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut gathered = BytesMut::with_capacity(bytes.min(WRITE_BYTES_MAX));
    for slice in slices {
        let room = WRITE_BYTES_MAX - gathered.len();
        gathered.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    gathered.freeze()
}
