//! All lanes towards the other side, and which of them is next: System strictly first, the others by deficit round robin
//! (Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", 1995), with what a lane has sent too much
//! taken off its later turns.

use rdb_net_types::{Lane, LaneStatistics};
use rdb_net_wire::{Encode, EncodeError, FrameHead};

use crate::TypeCounts;
use crate::batch::{Batch, Pushed, Sending};
use crate::lane::{LaneQueue, Large, STREAM_QUEUED_BYTES_MAX, Writer};
use crate::requests::RequestId;

/// How many bytes a lane may send in its turn, by lane; the System lane waits for no turn.
const QUANTUM_BYTES: [i64; Lane::ALL.len()] = [0, 256 * 1024, 128 * 1024, 32 * 1024];
/// How many emptied batches are kept for reuse.
const SPARE_BATCHES: usize = 4;
/// A batch with more memory than this is not kept: one burst must not pin memory for ever.
const SPARE_BYTES_MAX: usize = 512 * 1024;
/// A batch below this size takes another lane's frames along: copying them costs less than a write of their own.
const JOIN_BYTES_MAX: usize = 16 * 1024;

/// The place of the protocol's own messages: before the System lane, so that none waits behind a large message there.
const CONTROL: usize = Lane::ALL.len();

/// All lanes towards the other side.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: [LaneQueue; Lane::ALL.len() + 1],
    spare: Vec<Batch>,
    /// Frames and large messages that wait, on all lanes together.
    waiting: usize,
    pub(crate) writer: Writer,
    /// Large messages among them.
    large: usize,
    /// Whose turn it is among the data lanes.
    turn: usize,
    /// A lane that took no messages may take some, though no new credits came.
    freed: bool,
}

impl Lanes {
    pub(crate) fn new(writer: Writer) -> Self {
        // Whoever is next has its quantum first.
        let turn = Lane::Bulk as usize;
        Self { lanes: Default::default(), spare: Vec::new(), waiting: 0, large: 0, writer, turn, freed: false }
    }

    /// About how many bytes are given to the socket at once.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.writer.batch_bytes
    }

    pub(crate) fn lane(&self, lane: Lane) -> &LaneQueue {
        &self.lanes[lane as usize]
    }

    pub(crate) fn lane_mut(&mut self, lane: Lane) -> &mut LaneQueue {
        &mut self.lanes[lane as usize]
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.lanes.iter().map(LaneQueue::queued_bytes).sum()
    }

    /// Encodes a message into its lane. Always inlined, as [`Batch::push`]: what describes a frame stays in registers.
    #[inline(always)]
    pub(crate) fn push(&mut self, sending: Sending, message: &(impl Encode + ?Sized)) -> Result<Pushed, EncodeError> {
        let Self { lanes, writer, spare, .. } = self;
        let pushed = lanes[sending.head.lane as usize].push(sending, message, writer, spare)?;
        self.waiting += 1;
        Ok(pushed)
    }

    /// Encodes one of the protocol's own messages, which goes before all others.
    pub(crate) fn push_control(&mut self, head: FrameHead, message: &impl Encode) -> Result<(), EncodeError> {
        let Self { lanes, writer, spare, .. } = self;
        lanes[CONTROL].push(Sending::new(head, None, false), message, writer, spare)?;
        self.waiting += 1;
        Ok(())
    }

    /// Puts a large message behind those of its lane.
    pub(crate) fn push_large(&mut self, large: Large) {
        self.lanes[large.head.lane as usize].push_large(large, &mut self.spare);
        self.waiting += 1;
        self.large += 1;
    }

    /// Takes over a batch that was written elsewhere, and leaves an empty one in its place. Its frames leave behind those that
    /// wait already.
    pub(crate) fn append(&mut self, lane: Lane, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        self.waiting += batch.frames.len();
        self.lanes[lane as usize].append(batch, self.writer.batch_bytes, &mut self.spare);
    }

    /// The next batch for the socket. `hand_over` is as for [`LaneQueue::take`].
    pub(crate) fn take(
        &mut self,
        sent: &mut TypeCounts,
        carried: &mut [LaneStatistics; Lane::ALL.len()],
        mut hand_over: impl FnMut(RequestId, u64) -> Option<u64>,
    ) -> Option<Batch> {
        let mut joined: Option<Batch> = None;
        while self.waiting > 0
            && let Some(index) = self.next_lane()
        {
            let bytes = joined.as_ref().map_or(0, |batch| batch.buffer.len());
            let Self { lanes, spare, writer, .. } = self;
            if bytes >= JOIN_BYTES_MAX.min(writer.batch_bytes / 2) && joined.is_some() {
                break;
            }
            let lane = &mut lanes[index];
            let was_full = lane.queued_bytes() >= STREAM_QUEUED_BYTES_MAX;
            let room = writer.batch_bytes - bytes.min(writer.batch_bytes);
            let mut taken = lane.take(room, spare, writer.frame_bytes_max, &mut hand_over);
            let bytes = taken.batch.buffer.len();
            lane.deficit -= bytes as i64;
            self.waiting -= taken.ended;
            self.large -= if taken.large.is_some() { taken.ended } else { 0 };
            self.freed |= taken.frees || was_full;
            let carried = &mut carried[if index == CONTROL { Lane::System as usize } else { index }];
            carried.messages_sent += taken.count(sent);
            carried.bytes_sent += bytes as u64;
            match &mut joined {
                _ if taken.batch.is_empty() => Self::keep_spare(&mut self.spare, taken.batch),
                None => joined = Some(taken.batch),
                Some(joined) => {
                    joined.append(&mut taken.batch);
                    Self::keep_spare(&mut self.spare, taken.batch);
                }
            }
        }
        joined
    }

    /// The next batch of this lane alone, for a stream of its own: its turns are the stream's business.
    pub(crate) fn take_of(
        &mut self,
        lane: Lane,
        sent: &mut TypeCounts,
        carried: &mut [LaneStatistics; Lane::ALL.len()],
        mut hand_over: impl FnMut(RequestId, u64) -> Option<u64>,
    ) -> Option<Batch> {
        // The protocol's own messages travel with the System lane, and before it.
        let places = if lane == Lane::System { [CONTROL, lane as usize] } else { [lane as usize; 2] };
        while let Some(index) = places.into_iter().find(|index| self.lanes[*index].is_ready()) {
            let Self { lanes, spare, writer, .. } = self;
            let lane_queue = &mut lanes[index];
            let was_full = lane_queue.queued_bytes() >= STREAM_QUEUED_BYTES_MAX;
            let taken = lane_queue.take(writer.batch_bytes, spare, writer.frame_bytes_max, &mut hand_over);
            self.waiting -= taken.ended;
            self.large -= if taken.large.is_some() { taken.ended } else { 0 };
            self.freed |= taken.frees || was_full;
            carried[lane as usize].messages_sent += taken.count(sent);
            carried[lane as usize].bytes_sent += taken.batch.buffer.len() as u64;
            if !taken.batch.is_empty() {
                return Some(taken.batch);
            }
            Self::keep_spare(&mut self.spare, taken.batch);
        }
        None
    }

    /// Encodes one of the protocol's own messages before all that waits on this lane.
    pub(crate) fn push_front(&mut self, lane: Lane, head: FrameHead, message: &impl Encode) -> Result<(), EncodeError> {
        let Self { lanes, writer, spare, .. } = self;
        lanes[lane as usize].push_front(Sending::new(head, None, false), message, writer, spare)?;
        self.waiting += 1;
        Ok(())
    }

    /// Whether something waits on this lane that can be given to its stream.
    pub(crate) fn is_ready_of(&self, lane: Lane) -> bool {
        self.lanes[lane as usize].is_ready() || (lane == Lane::System && self.lanes[CONTROL].is_ready())
    }

    /// The lane whose turn it is.
    fn next_lane(&mut self) -> Option<usize> {
        for first in [CONTROL, Lane::System as usize] {
            if self.lanes[first].is_ready() {
                return Some(first);
            }
        }
        const DATA: std::ops::RangeInclusive<usize> = Lane::Interactive as usize..=Lane::Bulk as usize;
        let mut ready = DATA.filter(|index| self.lanes[*index].is_ready());
        let first = ready.next()?;
        if ready.next().is_none() {
            // It takes no other's turn. When others come, the most urgent one begins.
            self.lanes[first].deficit = 0;
            self.turn = *DATA.end();
            return Some(first);
        }
        // A lane is behind by at most a batch and a frame, so some turn of some rounds is its own.
        loop {
            let lane = &mut self.lanes[self.turn];
            if !lane.is_ready() {
                lane.deficit = 0;
            } else if lane.deficit > 0 {
                return Some(self.turn);
            }
            self.turn = if self.turn == *DATA.end() { *DATA.start() } else { self.turn + 1 };
            let quantum = QUANTUM_BYTES[self.turn];
            let lane = &mut self.lanes[self.turn];
            lane.deficit = (lane.deficit + quantum).min(quantum);
        }
    }

    /// Whether large messages wait.
    pub(crate) fn has_large(&self) -> bool {
        self.large > 0
    }

    /// Lets those large messages go that nobody waits for any more.
    pub(crate) fn forget_unwaited(&mut self, is_waiting: impl Fn(RequestId) -> bool) {
        self.lanes.iter_mut().for_each(|lane| lane.forget_unwaited(&is_waiting));
    }

    /// Nobody waits for the answer to this request any more.
    pub(crate) fn abandon_reply(&mut self, correlation: u64) {
        if self.large == 0 {
            return;
        }
        self.lanes.iter_mut().for_each(|lane| lane.abandon_reply(correlation));
    }

    /// Whether senders that were held back may try again, since the last call.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether something waits that goes before all data.
    pub(crate) fn is_urgent(&self) -> bool {
        self.lanes[CONTROL].is_ready() || self.lanes[Lane::System as usize].is_ready()
    }

    /// Whether something waits that can be given to the socket.
    pub(crate) fn is_ready(&self) -> bool {
        self.waiting > 0 && self.lanes.iter().any(LaneQueue::is_ready)
    }

    pub(crate) fn recycle(&mut self, batch: Batch) {
        Self::keep_spare(&mut self.spare, batch);
    }

    fn keep_spare(spare: &mut Vec<Batch>, mut batch: Batch) {
        if spare.len() < SPARE_BATCHES && batch.buffer.capacity() <= SPARE_BYTES_MAX {
            batch.clear();
            spare.push(batch);
        }
    }

    /// Forgets everything that waits, because the connection is gone.
    pub(crate) fn clear(&mut self) {
        (self.waiting, self.large) = (0, 0);
        self.spare.clear();
        self.lanes.iter_mut().for_each(LaneQueue::clear);
    }
}
