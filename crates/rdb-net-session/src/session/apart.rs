//! Where each lane has a stream of its own, as over QUIC: lanes do not wait for each other, and nothing keeps them in order.
//!
//! Few things need an order between them. A request is given up on its own lane. An end needs all of them: a pong that says that
//! nothing more comes, and a farewell, follow a fence that says how much was sent on each lane, and are held until as much has come.

use std::collections::VecDeque;
use std::time::Duration;

use rdb_net_types::Lane;
use rdb_net_wire::{Fence, control_type};

use super::{Phase, Session};
use crate::Arrivals;
use crate::arrivals::Arrived;
use crate::batch::Batch;

/// What is known of the streams.
#[derive(Debug, Default)]
pub(super) struct Apart {
    sent_bytes: [u64; Lane::ALL.len()],
    received_bytes: [u64; Lane::ALL.len()],
    /// What has to come before what is held.
    fence: Option<[u64; Lane::ALL.len()]>,
    /// Frames behind the fence: at most one read's.
    held: VecDeque<Arrived>,
    /// The frames of one turn; kept for its memory.
    turn: Arrivals,
}

impl Apart {
    /// Whether as much has come as the fence wants.
    fn may_pass(&self) -> bool {
        let Some(fence) = &self.fence else { return true };
        Lane::ALL[1..].iter().all(|lane| self.received_bytes[*lane as usize] >= fence[*lane as usize])
    }
}

impl Session {
    /// Each lane has a stream of its own, on both sides; to be told before anything is sent or read. Batches are then taken lane by
    /// lane, and what is read is told with the lane of its stream.
    pub fn set_apart(&mut self) {
        self.apart = Some(Box::default());
    }

    /// The next frames for this lane's stream, about `batch_bytes` at once.
    pub fn take_batch_of(&mut self, now: Duration, lane: Lane) -> Option<Batch> {
        if lane == Lane::System {
            self.tell_time(now);
            self.push_due(now);
        }
        if !self.lanes.is_ready_of(lane) || (lane != Lane::System && self.is_corked(now)) {
            return None;
        }
        let Self { lanes, requests, statistics, apart, .. } = self;
        let hand_over = |id, ordinal| requests.hand_over(id, ordinal);
        let batch = lanes.take_of(lane, &mut statistics.sent, &mut statistics.lanes, hand_over);
        let bytes = batch.as_ref().map_or(0, |batch| batch.buffer().len() as u64);
        statistics.bytes_sent += bytes;
        if let Some(apart) = apart {
            apart.sent_bytes[lane as usize] += bytes;
        }
        if self.lanes.take_freed() {
            self.unblock();
        }
        if batch.is_none() {
            // Frames that nobody waited for any more may have been the last thing in the way of the farewell.
            self.end_if_drained();
        }
        batch
    }

    /// Whether [`take_batch_of`](Self::take_batch_of) may have something for this lane.
    pub fn wants_write_of(&self, lane: Lane) -> bool {
        self.lanes.is_ready_of(lane) || (lane == Lane::System && self.owes())
    }

    /// Whether frames of the System lane's stream are held until others have come: no more of it is to be read until then.
    pub fn is_fenced(&self) -> bool {
        self.apart.as_ref().is_some_and(|apart| !apart.held.is_empty())
    }

    /// Says how much was sent, so that what is said next is not taken for later than it is.
    pub(super) fn push_fence(&mut self) {
        if let Some(apart) = &self.apart {
            let fence = Fence { sent_bytes: apart.sent_bytes.to_vec() };
            self.push_control(&fence);
        }
    }

    /// What follows comes after this. Where one stream carries all lanes it does in any case.
    pub(super) fn raise_fence(&mut self, fence: &Fence) {
        if let Some(apart) = &mut self.apart {
            let sent = |lane: usize| fence.sent_bytes.get(lane).copied().unwrap_or(0);
            apart.fence = Some(std::array::from_fn(sent));
        }
    }

    /// Takes in what was read of one lane's stream.
    #[cold]
    pub(super) fn handle_apart(&mut self, now: Duration, arrivals: &mut Arrivals) {
        let Some(apart) = &mut self.apart else { return };
        let lane = arrivals.lane.unwrap_or(Lane::System);
        apart.received_bytes[lane as usize] += arrivals.wire_bytes;
        if lane == Lane::System {
            apart.held.extend(arrivals.frames.drain(..));
            self.pass_fences(now);
            // What is wrong behind them ends the connection whatever is held.
            self.take_arrivals(now, arrivals);
        } else {
            self.take_arrivals(now, arrivals);
            self.pass_fences(now);
        }
    }

    /// Takes in what is held, up to the next fence that others have to pass first.
    fn pass_fences(&mut self, now: Duration) {
        while let Some(apart) = &mut self.apart
            && !apart.held.is_empty()
            && apart.may_pass()
        {
            apart.fence = None;
            let is_fence = |frame: &Arrived| frame.head.message_type == control_type::FENCE;
            let until = apart.held.iter().position(is_fence).map_or(apart.held.len(), |fence| fence + 1);
            let mut turn = std::mem::take(&mut apart.turn);
            turn.frames.extend(apart.held.drain(..until));
            self.take_arrivals(now, &mut turn);
            if let Some(apart) = &mut self.apart {
                apart.turn = turn;
            }
        }
    }

    /// The connection is gone, and with it what the fence waits for: the other side's farewell counts all the same.
    pub(super) fn say_held_farewell(&mut self) {
        let Some(apart) = &mut self.apart else { return };
        let held = std::mem::take(&mut apart.held);
        let farewell = held.iter().find(|frame| frame.head.message_type == control_type::CLOSE);
        if let Some(farewell) = farewell.filter(|_| self.phase != Phase::Closed) {
            self.handle_close(&farewell.body);
        }
    }
}
