//! A session on a connection on which each lane has a stream of its own: what arrives is told with its stream's lane, and what is
//! written is looked at by lane.

use bytes::BytesMut;
use rdb_net_session::Arrivals;
use rdb_net_types::Lane;
use rdb_net_wire::{HEAD_BYTES, control_type, frame_length, split_frame};

use crate::sides::{FRAME_BYTES_MAX, rules};
use crate::world::World;

/// How much waits on a stream that is not read: more than one frame.
const STREAM_WINDOW_BYTES: usize = 4 * FRAME_BYTES_MAX as usize;
/// Where a frame names its lane.
const LANE_AT: usize = 14;

/// What has come on each stream and was not read yet.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    inputs: [BytesMut; Lane::ALL.len()],
    arrivals: Arrivals,
}

impl World {
    /// Frames arrive, each on the stream of the lane that it names. What is no frame arrives on the System lane's.
    pub(crate) fn arrive_apart(&mut self, mut bytes: &[u8]) {
        while let Some((frame, behind)) = split_frame(bytes) {
            let number = if frame.len() > LANE_AT { frame[LANE_AT] } else { 0 };
            let lane = Lane::ALL.into_iter().find(|lane| *lane as u8 == number).unwrap_or(Lane::System);
            self.arrive_on(lane, frame);
            bytes = behind;
        }
        self.arrive_on(Lane::System, bytes);
    }

    pub(crate) fn arrive_on(&mut self, lane: Lane, bytes: &[u8]) {
        let Some(streams) = &mut self.streams else { return };
        let input = &mut streams.inputs[lane as usize];
        // A stream that is not read takes no more than its window, and the other side waits.
        if input.len() + bytes.len() > STREAM_WINDOW_BYTES {
            return;
        }
        input.extend_from_slice(bytes);
        self.read(lane);
        // Others may have waited behind a fence.
        self.read(Lane::System);
    }

    fn read(&mut self, lane: Lane) {
        let Some(streams) = &mut self.streams else { return };
        let is_shut = match lane {
            Lane::System => self.session.is_fenced(),
            _ => !self.session.terms().is_up(),
        };
        if is_shut || self.session.is_closed() {
            return;
        }
        streams.arrivals.begin_lane(lane);
        loop {
            let more = streams.arrivals.read(self.session.terms(), &mut streams.inputs[lane as usize]);
            self.session.handle_arrivals(self.now, &mut streams.arrivals);
            if !more || self.session.is_closed() {
                break;
            }
        }
        let left = streams.inputs[lane as usize].len();
        assert!(self.session.is_closed() || left < 2 * FRAME_BYTES_MAX as usize, "whole frames are taken out");
    }

    /// Writes all that waits, and looks whether it is frames that the other side reads on the stream on which they are.
    pub(crate) fn write_apart(&mut self) {
        let mut rounds_in_vain = 0;
        for _ in 0..10_000 {
            let mut has_written = false;
            for lane in Lane::ALL {
                let Some(mut batch) = self.session.take_batch_of(self.now, lane) else { continue };
                has_written = true;
                batch.seal(self.now);
                let bytes = batch.buffer().to_vec();
                self.session.recycle(batch);
                check_frames(lane, &bytes);
            }
            let wants = Lane::ALL.into_iter().any(|lane| self.session.wants_write_of(lane));
            match (has_written, wants) {
                (false, false) => return,
                (true, _) => rounds_in_vain = 0,
                // What nobody waited for any more may have been in the way of a farewell, which is next.
                (false, true) => rounds_in_vain += 1,
            }
            assert!(rounds_in_vain < 2, "who wants to write has something to write");
        }
        panic!("a session writes without end");
    }
}

fn check_frames(lane: Lane, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let whole = frame_length(rest, u32::MAX).expect("our own frames").expect("a batch is whole frames");
        assert!(whole >= HEAD_BYTES);
        let (frame, behind) = rest.split_at(whole);
        let head = rules().read(frame).expect("our own frames").head;
        assert!(head.lane == lane || head.message_type == control_type::CANCEL, "{head:?} on the stream of {lane:?}");
        rest = behind;
    }
}
