//! The streams of one connection: one for each lane, in both directions, for as long as the connection lives.
//!
//! The side that dials opens them all at once, in the order of the lanes, so that a stream's number is its lane's (RFC 9000,
//! section 2.1). The other side sees one as soon as something comes on it or on a later one.

use std::io;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use quinn_proto::{Dir, ReadError, StreamId, VarInt, WriteError};
use rdb_net_types::Lane;
use tokio::io::ReadBuf;

use crate::engine::{Engine, Lost};

/// How much is handed over to QUIC at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;
const LANES: usize = Lane::ALL.len();

/// Why nothing can be read of a stream, or written to it, any more.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The connection has ended.
    Connection(Lost),
    /// The other side has taken it back, or wants nothing more on it. It lives as long as the connection, which ends with it.
    Reset(VarInt),
    /// This side has ended it.
    Closed,
}

/// The streams, by lane number.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    ids: [Option<StreamId>; LANES],
    /// What was read of a stream has come to its end.
    ended: [bool; LANES],
    is_finishing: bool,
}

/// System goes first. The others share the rest, packet by packet: a lane that always has something may starve none.
fn priority(lane: Lane) -> i32 {
    match lane {
        Lane::System => 1,
        Lane::Interactive | Lane::Replication | Lane::Bulk => 0,
    }
}

impl Streams {
    /// Of a connection that this side has made. Returns whether the other side allows as many.
    pub(crate) fn open(&mut self, engine: &mut Engine) -> bool {
        Lane::ALL.into_iter().all(|lane| {
            let opened = engine.quic().streams().open(Dir::Bi);
            opened.is_some_and(|id| self.put(engine, lane, id))
        })
    }

    /// Of a connection that the other side has made: those that it has opened since.
    pub(crate) fn accept(&mut self, engine: &mut Engine) {
        while let Some(id) = engine.accept() {
            let lane = Lane::ALL.into_iter().find(|lane| *lane as u64 == id.index());
            // More than the lanes are not allowed.
            lane.map(|lane| self.put(engine, lane, id));
        }
    }

    fn put(&mut self, engine: &mut Engine, lane: Lane, id: StreamId) -> bool {
        // One that has ended meanwhile needs no priority.
        let _known = engine.quic().send_stream(id).set_priority(priority(lane));
        self.ids[lane as usize] = Some(id);
        true
    }

    /// Whether this lane has a stream.
    pub(crate) fn has(&self, lane: Lane) -> bool {
        self.ids[lane as usize].is_some()
    }

    /// Reads what is there of a lane; nothing where its stream has ended.
    pub(crate) fn poll_read(
        &mut self,
        lane: Lane,
        engine: &mut Engine,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), StreamError>> {
        let lost = |engine: &Engine| match engine.lost() {
            Some(lost) => Poll::Ready(Err(StreamError::Connection(lost.clone()))),
            None => Poll::Pending,
        };
        let Some(id) = self.ids[lane as usize] else { return lost(engine) };
        if !engine.is_readable(id) {
            return Poll::Pending;
        }
        if self.ended[lane as usize] {
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let mut stream = engine.quic().recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Poll::Ready(Err(StreamError::Closed)) };
        let stopped = loop {
            if into.remaining() == 0 {
                break None;
            }
            match chunks.next(into.remaining()) {
                Ok(Some(chunk)) => into.put_slice(&chunk.bytes),
                Ok(None) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            }
        };
        // What the other side may send in return leaves at the end of the pass.
        let _window = chunks.finalize();
        let has_read = into.filled().len() > before;
        match stopped {
            None => Poll::Ready(Ok(())),
            Some(Ok(())) => {
                self.ended[lane as usize] = true;
                Poll::Ready(Ok(()))
            }
            Some(Err(ReadError::Blocked)) => {
                engine.has_nothing(id);
                if has_read { Poll::Ready(Ok(())) } else { lost(engine) }
            }
            Some(Err(ReadError::Reset(code))) => Poll::Ready(Err(StreamError::Reset(code))),
        }
    }

    /// Writes what a lane's stream takes. Copies once: QUIC keeps what it may have to send again.
    pub(crate) fn poll_write(
        &mut self,
        lane: Lane,
        engine: &mut Engine,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<Result<usize, StreamError>> {
        if let Some(lost) = engine.lost() {
            return Poll::Ready(Err(StreamError::Connection(lost.clone())));
        }
        let Some(id) = self.ids[lane as usize] else { return Poll::Pending };
        match engine.quic().send_stream(id).write_chunks(&mut [gathered(slices)]) {
            Ok(written) => Poll::Ready(Ok(written.bytes)),
            Err(WriteError::Blocked) => Poll::Pending,
            Err(WriteError::Stopped(code)) => Poll::Ready(Err(StreamError::Reset(code))),
            Err(WriteError::ClosedStream) => Poll::Ready(Err(StreamError::Closed)),
        }
    }

    /// Ready when the other side has everything that was written: what is still on its way when a connection closes is lost.
    pub(crate) fn poll_finish(&mut self, engine: &mut Engine) -> Poll<()> {
        if !std::mem::replace(&mut self.is_finishing, true) {
            for id in self.ids.into_iter().flatten() {
                // One that was stopped has nothing to end.
                let _finished = engine.quic().send_stream(id).finish();
            }
        }
        let is_over = engine.lost().is_some() || self.ids.into_iter().flatten().all(|id| engine.is_finished(id));
        if is_over { Poll::Ready(()) } else { Poll::Pending }
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
