//! What a connection is read into.
//!
//! Whoever keeps a message keeps the memory that it was read into, so that is hardly more than what came: a little is read into
//! memory that all connections of a thread share, and copied out of it; much is read in blocks, and a large frame into memory
//! of just its size, where it stays.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use rdb_net_wire::HEAD_BYTES;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// How much is read at once, where no larger frame is at hand.
const BLOCK_BYTES: usize = 64 * 1024;
/// Reads from this size on are followed by one into a block of their own, which spares the copy.
const MUCH_BYTES: usize = BLOCK_BYTES / 2;
/// Frames of which more than this is missing are read into memory of their own.
const LARGE_BYTES: usize = BLOCK_BYTES / 2;
/// Behind a large frame, so many reads end where a frame does: large ones come in rows, and are not copied then.
const READS_BEHIND_LARGE: u8 = 8;
/// Memory that several small reads share.
const CHUNK_BYTES: usize = 1024;

thread_local! {
    /// Stays empty: it is read into its room, of which only as much is ever touched as came at once.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(BLOCK_BYTES));
}

/// So much freed memory may stay with the process, twice: what frames of large messages are read into comes and goes.
const FREED_BYTES: usize = 16 * 1024 * 1024;

/// glibc gives freed memory at the top of its heap back to the system from 128 KiB on, and takes it anew page by page, which costs
/// more than all else that large messages cost; until a larger block than that was freed, as here, once in a process. Nothing is
/// touched by it.
pub(crate) fn keep_freed_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(FREED_BYTES))));
}

/// Bytes that were read and are no whole frame yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) bytes: BytesMut,
    /// How many reads end where a frame does.
    reads_by_frame: u8,
    /// How much was read last.
    last_read_bytes: usize,
}

impl Input {
    /// Reads once, where so much of the frame at hand is missing; 0 bytes where the stream has ended.
    pub(crate) fn poll_read<R: AsyncRead + ?Sized>(
        &mut self,
        io: Pin<&mut R>,
        context: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        if wanted > LARGE_BYTES {
            self.reads_by_frame = READS_BEHIND_LARGE;
        }
        let count = if self.reads_by_frame > 0 {
            // The next frame's head comes along, so that it is known how much memory the frame needs.
            let count = ready!(self.poll_read_in_place(io, context, wanted + HEAD_BYTES))?;
            self.reads_by_frame -= u8::from(wanted <= LARGE_BYTES);
            count
        } else if self.last_read_bytes >= MUCH_BYTES {
            let count = ready!(self.poll_read_in_place(io, context, BLOCK_BYTES))?;
            if count < MUCH_BYTES {
                let little = std::mem::take(&mut self.bytes);
                self.append(&little, 0);
            }
            count
        } else {
            ready!(self.poll_read_copied(io, context, wanted))?
        };
        self.last_read_bytes = count;
        Poll::Ready(Ok(count))
    }

    /// Reads at most so much behind what is there.
    fn poll_read_in_place<R: AsyncRead + ?Sized>(
        &mut self,
        io: Pin<&mut R>,
        context: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room(room, room);
        poll_read_buf(io, context, &mut (&mut self.bytes).limit(room))
    }

    fn poll_read_copied<R: AsyncRead + ?Sized>(
        &mut self,
        io: Pin<&mut R>,
        context: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::uninit(scratch.spare_capacity_mut());
            ready!(io.poll_read(context, &mut read))?;
            let count = read.filled().len();
            self.append(read.filled(), wanted);
            Poll::Ready(Ok(count))
        })
    }

    fn append(&mut self, bytes: &[u8], wanted: usize) {
        let share = if bytes.len() <= CHUNK_BYTES / 2 { CHUNK_BYTES } else { 0 };
        self.make_room(bytes.len(), bytes.len().max(wanted).max(share));
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for `needed` more bytes; if there is none, in memory with room for `room` bytes.
    fn make_room(&mut self, needed: usize, room: usize) {
        let has_room = self.bytes.capacity() - self.bytes.len() >= needed;
        if !has_room && !self.bytes.try_reclaim(needed) {
            let mut next = BytesMut::with_capacity(self.bytes.len() + room);
            next.extend_from_slice(&self.bytes);
            self.bytes = next;
        }
    }

    /// Reads once and throws it away, with all that is there.
    pub(crate) fn poll_discard<R: AsyncRead + ?Sized>(
        &mut self,
        io: Pin<&mut R>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.bytes = BytesMut::new();
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::uninit(scratch.spare_capacity_mut());
            ready!(io.poll_read(context, &mut read))?;
            Poll::Ready(Ok(read.filled().len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use bytes::Bytes;

    use super::*;

    /// A stream whose bytes arrive in these pieces.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(into.remaining()));
                into.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Frames are lengths of four bytes, and as many bytes behind them as fill it.
    fn frame(bytes: usize) -> Vec<u8> {
        let mut frame = vec![7; bytes];
        frame[..4].copy_from_slice(&(bytes as u32).to_be_bytes());
        frame
    }

    fn length(input: &[u8]) -> Option<usize> {
        input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
    }

    /// Reads all pieces, and returns the frames, each with how much memory it alone would keep.
    fn read(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<(usize, usize)> {
        let mut stream = Pieces(pieces.into_iter().collect());
        let (mut input, mut frames) = (Input::default(), Vec::<(Bytes, usize)>::new());
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let wanted = length(&input.bytes).map_or(0, |length| length - input.bytes.len());
            match input.poll_read(Pin::new(&mut stream), &mut context, wanted) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(_)) => {}
                other => panic!("there is more to read: {other:?}"),
            }
            let memory = input.bytes.capacity();
            while let Some(length) = length(&input.bytes).filter(|length| *length <= input.bytes.len()) {
                frames.push((input.bytes.split_to(length).freeze(), memory));
            }
        }
        assert!(input.bytes.is_empty());
        for (bytes, _) in &frames {
            assert_eq!(*bytes, frame(bytes.len()), "a frame of {} bytes", bytes.len());
        }
        frames.into_iter().map(|(frame, memory)| (frame.len(), memory)).collect()
    }

    #[test]
    fn a_small_message_keeps_little_memory_whatever_came_before_or_behind_it() {
        let much = || (0..1000).flat_map(|_| frame(64)).collect::<Vec<u8>>();
        for (length, memory) in read([much(), much(), frame(100), much(), frame(100)]) {
            assert!(memory <= if length == 100 { CHUNK_BYTES } else { BLOCK_BYTES }, "{length} bytes keep {memory}");
        }
        let large = || frame(1_000_000);
        for (length, memory) in read([large(), frame(100), large(), frame(100), frame(100), frame(100)]) {
            assert!(memory <= 2 * length + CHUNK_BYTES, "{length} bytes keep {memory}");
        }
    }

    #[test]
    fn large_frames_in_a_row_are_read_to_their_places() {
        // Each with a small one behind it, as the last fragment of a message often is.
        let pieces: Vec<u8> = (0..20).flat_map(|_| [frame(256 * 1024), frame(300)].concat()).collect();
        let frames = read([pieces]);
        assert_eq!(frames.len(), 40);
        for (length, memory) in &frames[2..] {
            assert!(*memory <= length + 2 * HEAD_BYTES, "a frame of {length} bytes is in a buffer of {memory}");
        }
    }

    #[test]
    fn frames_of_every_length_arrive_whole_whatever_the_pieces() {
        for piece_bytes in [1, 7, 100, 1000, 40_000, 1 << 20] {
            let all: Vec<u8> =
                (4..700).step_by(5).chain([5_000, 40_000, 66_000, 10, 200_000]).flat_map(frame).collect();
            let count = read(all.chunks(piece_bytes).map(<[u8]>::to_vec)).len();
            assert_eq!(count, (4..700).step_by(5).count() + 5, "pieces of {piece_bytes}");
        }
    }
}
