//! A connection on which each lane has a stream of its own: each is read and written by itself, and waits for no other.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rdb_net_session::{Batch, Loss};
use rdb_net_types::Lane;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Driver, Progress, READS_PER_PASS, SLICES_PER_WRITE, WRITES_PER_PASS};
use crate::backend::{LaneStreams, loss_of};
use crate::input::Input;

const LANES: usize = Lane::ALL.len();

/// What is under way on each lane's stream.
#[derive(Default)]
pub(super) struct Apart {
    inputs: [Input; LANES],
    /// The batch being written, and how many of its bytes have left.
    writing: [Option<(Batch, usize)>; LANES],
    /// Nothing more comes of it.
    ended: [bool; LANES],
}

/// One lane's stream, to be read.
struct LaneReader<'a> {
    lanes: &'a mut dyn LaneStreams,
    lane: Lane,
}

impl AsyncRead for LaneReader<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { lanes, lane } = self.get_mut();
        lanes.poll_read(*lane, context, into)
    }
}

/// What became of a lane's turn to be written.
enum Written {
    /// All of its batch has left.
    Whole,
    /// Its stream takes no more for the moment.
    Blocked,
    Lost(Loss),
}

impl Driver {
    /// What has come for the streams is there to be read.
    pub(super) fn begin_apart(&mut self, context: &mut Context<'_>) {
        if let Some(lanes) = self.apart.as_ref().and(self.io.lanes()) {
            lanes.begin_pass(context);
        }
    }

    /// What was written to the streams leaves.
    pub(super) fn end_apart(&mut self, context: &mut Context<'_>) {
        if let Some(lanes) = self.apart.as_ref().and(self.io.lanes()) {
            lanes.end_pass(context);
        }
    }

    /// Reads what is there of each lane, System first, and does what it asks for.
    pub(super) fn read_apart(&mut self, context: &mut Context<'_>) -> Progress {
        let mut progress = Progress::Done;
        for lane in Lane::ALL {
            if self.read_lane(lane, context) == Progress::More {
                progress = Progress::More;
            }
            if self.ending != super::Ending::Open {
                return Progress::Done;
            }
        }
        progress
    }

    fn read_lane(&mut self, lane: Lane, context: &mut Context<'_>) -> Progress {
        for _ in 0..READS_PER_PASS {
            let (Some(apart), Some(lanes)) = (&mut self.apart, self.io.lanes()) else { return Progress::Done };
            // Before the hello only the System lane's stream is read, and that only as far as others need not come first.
            let is_closed = match lane {
                Lane::System => self.link.lock().session.is_fenced(),
                _ => !self.terms.is_up(),
            };
            if is_closed || apart.ended[lane as usize] {
                return Progress::Done;
            }
            let input = &mut apart.inputs[lane as usize];
            let wanted = self.terms.bytes_wanted(&input.bytes);
            match input.poll_read(Pin::new(&mut LaneReader { lanes, lane }), context, wanted) {
                Poll::Pending => return Progress::Done,
                // The other side has said its last on this lane; the System lane's end is that of the connection.
                Poll::Ready(Ok(0)) if lane != Lane::System => apart.ended[lane as usize] = true,
                Poll::Ready(Ok(0)) => self.lost(Loss::Eof),
                Poll::Ready(Ok(_)) => self.pump_lane(lane),
                Poll::Ready(Err(error)) => self.lost(loss_of(&error)),
            }
            if self.ending != super::Ending::Open {
                return Progress::Done;
            }
        }
        Progress::More
    }

    /// Takes in what was read of this lane.
    fn pump_lane(&mut self, lane: Lane) {
        self.swap_input(lane);
        self.arrivals.begin_lane(lane);
        self.pump(true);
        self.swap_input(lane);
    }

    fn swap_input(&mut self, lane: Lane) {
        if let Some(apart) = &mut self.apart {
            std::mem::swap(&mut self.input, &mut apart.inputs[lane as usize]);
        }
    }

    /// Writes what waits on each lane, as far as its stream takes it. Unless something is left to do, the task counts as asleep
    /// then.
    pub(super) fn write_apart(&mut self, context: &mut Context<'_>) -> Poll<Progress> {
        let mut blocked = [false; LANES];
        for _ in 0..WRITES_PER_PASS {
            let has_work = self.take_batches(&blocked, context);
            if std::mem::take(&mut self.beats) {
                self.send_heartbeats();
            }
            if !has_work {
                return if blocked.contains(&true) { Poll::Pending } else { Poll::Ready(Progress::Done) };
            }
            for lane in Lane::ALL {
                if blocked[lane as usize] {
                    continue;
                }
                match self.write_lane(lane, context) {
                    Written::Whole => {}
                    Written::Blocked => blocked[lane as usize] = true,
                    Written::Lost(loss) => {
                        self.lost(loss);
                        return Poll::Ready(Progress::Done);
                    }
                }
            }
        }
        Poll::Ready(Progress::More)
    }

    /// Takes a batch for each lane that has none. Returns whether there is something to write to a stream that takes it; if not,
    /// the task may sleep.
    fn take_batches(&mut self, blocked: &[bool; LANES], context: &mut Context<'_>) -> bool {
        let Some(apart) = &mut self.apart else { return false };
        let mut core = self.link.lock();
        for writing in &mut apart.writing {
            if let Some((batch, _)) = writing.take_if(|(batch, written)| *written == batch.buffer().len()) {
                core.session.recycle(batch);
            }
        }
        self.link.collect(&mut core, self.now);
        self.beats = core.session.wants_heartbeat();
        let mut has_work = false;
        for lane in Lane::ALL {
            let writing = &mut apart.writing[lane as usize];
            if writing.is_none() {
                *writing = core.session.take_batch_of(self.now, lane).map(|batch| (batch, 0));
            }
            has_work |= writing.is_some() && !blocked[lane as usize];
        }
        if has_work {
            return true;
        }
        (self.sleeps, self.due) = self.link.rest_until_writable(&mut core, context.waker());
        // What waits behind a stream that takes no more is no work.
        if Lane::ALL.into_iter().any(|lane| !blocked[lane as usize] && core.session.wants_write_of(lane)) {
            self.sleeps = false;
            self.link.mark_awake();
        }
        false
    }

    fn write_lane(&mut self, lane: Lane, context: &mut Context<'_>) -> Written {
        let (Some(apart), Some(lanes)) = (&mut self.apart, self.io.lanes()) else { return Written::Whole };
        let Some((batch, written)) = &mut apart.writing[lane as usize] else { return Written::Whole };
        if *written == 0 {
            batch.seal(self.now);
        }
        while *written < batch.buffer().len() {
            let mut slices: [IoSlice<'_>; SLICES_PER_WRITE] = std::array::from_fn(|_| IoSlice::new(&[]));
            let filled = batch.buffer().io_slices(*written, &mut slices);
            match lanes.poll_write(lane, context, &slices[..filled]) {
                Poll::Pending => return Written::Blocked,
                Poll::Ready(Ok(count)) if count > 0 => *written += count,
                Poll::Ready(Ok(_)) => return Written::Lost(Loss::Io),
                Poll::Ready(Err(error)) => return Written::Lost(loss_of(&error)),
            }
        }
        Written::Whole
    }

    /// Whether a batch has not left as a whole.
    pub(super) fn writes_apart(&self) -> bool {
        self.apart.as_ref().is_some_and(|apart| apart.writing.iter().any(Option::is_some))
    }

    /// Nothing is written any more.
    pub(super) fn forget_apart(&mut self) {
        if let Some(apart) = &mut self.apart {
            apart.writing = Default::default();
        }
    }
}
