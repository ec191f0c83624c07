//! Streams of replies: opened and taken by the dialer, written by the acceptor.

use rdb_net_types::MessageType;
use rdb_net_wire::{Encode, Flags, FrameHead, Prepared, feature};

use super::{Phase, RequestOptions, SendError, Session};
use crate::batch::Sending;
use crate::event::{Outcome, Reply, StreamId};
use crate::lane::STREAM_QUEUED_BYTES_MAX;
use crate::requests::RequestId;
use crate::streams::{StreamIn, item_charge};

/// What came of a stream.
#[derive(Debug)]
pub enum StreamNews {
    /// Its next reply.
    Reply(Reply),
    /// Its end; the replies before it were taken.
    End(Outcome),
}

impl Session {
    /// Sends a request for a stream of replies, of which `window_bytes` may come before they are taken.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request), [`SendError::NoMemory`] where the window finds no place in the budget, and
    /// [`SendError::NoStreams`] where the other side is too old for streams.
    pub fn open_stream(
        &mut self,
        options: RequestOptions,
        window_bytes: u32,
        prepared: &mut Option<Prepared>,
    ) -> Result<RequestId, SendError> {
        let message_type = self.check_prepared(prepared)?;
        if self.peer.as_ref().is_some_and(|peer| peer.features & feature::STREAMS == 0) {
            return Err(SendError::NoStreams);
        }
        let window_bytes = window_bytes.max(1);
        let reservation = self.budget.reserve(u64::from(window_bytes)).map_err(SendError::NoMemory)?;
        let (id, head) = self.open_request(options, message_type)?;
        self.requests.set_stream(id, StreamIn::new(window_bytes, reservation));
        if let Some(mut prepared) = prepared.take() {
            prepared.ask_for_stream(window_bytes);
            let head = FrameHead { flags: head.flags.with(Flags::STREAM), ..head };
            self.push_large(head, prepared, Some(id), true);
        }
        Ok(id)
    }

    /// Takes what came of a stream since; `None` while it waits, and after its end.
    pub fn take_stream(&mut self, id: RequestId) -> Option<StreamNews> {
        if let Some((reply, is_limit_due)) = self.requests.pop_item(id) {
            if is_limit_due && self.phase == Phase::Up && self.requests.is_waiting(id) {
                self.stream_limits_due.push(id);
            }
            return Some(StreamNews::Reply(reply));
        }
        self.take_outcome(id).map(StreamNews::End)
    }

    /// Writes a reply of a stream. The stream is ended by [`reply`](Self::reply) or [`reply_error`](Self::reply_error).
    ///
    /// # Errors
    ///
    /// [`SendError::NoCredit`]: try again after [`Event::StreamWritable`](crate::Event::StreamWritable) or
    /// [`Event::Writable`](crate::Event::Writable). [`SendError::NotUp`]: nobody waits for the stream any more.
    pub fn reply_item(&mut self, stream: StreamId, message: &(impl Encode + ?Sized)) -> Result<(), SendError> {
        let head = self.item_head(stream, message.message_type())?;
        let sending = Sending::new(head, None, false);
        match self.lanes.push(sending, message) {
            Ok(pushed) => {
                let body_bytes = pushed.structure_bytes as usize + message.attachment_bytes();
                self.streams.charge(stream.correlation, item_charge(body_bytes));
                Ok(())
            }
            Err(error) => {
                let prepared = self.fit(stream.lane, message, error)?;
                self.push_item(stream, head, prepared)
            }
        }
    }

    /// Writes a reply of a stream that was encoded before. It is taken out of `prepared` if it is accepted.
    ///
    /// # Errors
    ///
    /// As [`reply_item`](Self::reply_item).
    pub fn reply_item_prepared(&mut self, stream: StreamId, prepared: &mut Option<Prepared>) -> Result<(), SendError> {
        let message_type = self.check_prepared(prepared)?;
        let head = self.item_head(stream, message_type)?;
        match prepared.take() {
            Some(prepared) => self.push_item(stream, head, prepared),
            None => Ok(()),
        }
    }

    fn push_item(&mut self, stream: StreamId, head: FrameHead, prepared: Prepared) -> Result<(), SendError> {
        self.streams.charge(stream.correlation, item_charge(prepared.total_bytes() as usize));
        self.push_large(head, prepared, None, false);
        Ok(())
    }

    fn item_head(&mut self, stream: StreamId, message_type: MessageType) -> Result<FrameHead, SendError> {
        if self.phase != Phase::Up {
            return Err(SendError::NotUp);
        }
        match self.streams.has_credit(stream.correlation) {
            None => return Err(SendError::NotUp),
            Some(false) => return Err(SendError::NoCredit),
            Some(true) => {}
        }
        if self.lanes.lane(stream.lane).queued_bytes() >= STREAM_QUEUED_BYTES_MAX {
            self.blocked = true;
            return Err(SendError::NoCredit);
        }
        Ok(self.head(message_type, Flags::RESPONSE.with(Flags::STREAM), stream.lane, stream.correlation))
    }
}
