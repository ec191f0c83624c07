//! Large messages: encoded and compressed where they are made, so that neither those who share a connection nor its task wait
//! for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdb_net_session::{InboundId, RequestId, RequestOptions, SendError};
use rdb_net_types::Lane;
use rdb_net_wire::{Codec, Encode, Prepared};

use crate::duty::Duty;
use crate::guarded::Core;
use crate::link::Link;
use crate::transport::Inner;

/// A message with more bytes than this is prepared before any lock is taken.
pub(crate) const LARGE_BYTES: usize = 16 * 1024;

/// A message on its way onto a connection: encoded when it is offered, or before.
pub(crate) enum Parcel<'a, M: ?Sized> {
    /// Encoded into the connection's own buffers.
    Small(&'a M),
    /// Encoded before; `None` once it was accepted, or where it is too large for any frame.
    Large(&'a mut Option<Prepared>),
}

impl<M: Encode + ?Sized> Parcel<'_, M> {
    /// Offers it as a request.
    pub(crate) fn request(&mut self, core: &mut Core, options: RequestOptions) -> Result<RequestId, SendError> {
        match self {
            Self::Small(message) => core.session.request(options, *message),
            Self::Large(prepared) => core.session.request_prepared(options, prepared),
        }
    }

    /// Offers it as a one-way message.
    pub(crate) fn one_way(&mut self, core: &mut Core, lane: Lane) -> Result<(), SendError> {
        match self {
            Self::Small(message) => core.session.one_way(lane, *message),
            Self::Large(prepared) => core.session.one_way_prepared(lane, prepared),
        }
    }
}

/// Bytes of a reply that is being compressed: they count as waiting for the socket.
struct Backlog {
    link: Arc<Link>,
    lane: Lane,
    bytes: usize,
}

impl Backlog {
    fn new(link: Arc<Link>, lane: Lane, bytes: usize) -> Self {
        link.elsewhere_bytes[lane as usize].fetch_add(bytes, Ordering::Relaxed);
        Self { link, lane, bytes }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.link.elsewhere_bytes[self.lane as usize].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Link {
    /// Encodes a message, and compresses it where that pays. `None` where it has 4 GiB or more.
    pub(crate) fn prepare(&self, lane: Lane, message: &(impl Encode + ?Sized)) -> Option<Prepared> {
        let mut prepared = Prepared::new(message)?;
        let (message_type, bytes) = (prepared.message_type(), prepared.total_bytes());
        let compression = self.lock().session.compression_for(lane, message_type, bytes);
        if let Some((codec, frame_bytes_max)) = compression {
            self.compress(&mut prepared, codec, frame_bytes_max);
        }
        Some(prepared)
    }

    fn compress(&self, prepared: &mut Prepared, codec: Codec, frame_bytes_max: u32) {
        let (raw_bytes, compressed_bytes) = prepared.compress(codec, frame_bytes_max);
        self.lock().session.count_compressed(prepared.message_type(), raw_bytes, compressed_bytes);
    }

    /// Answers a request with a large message, once it is compressed on another thread than the connection's.
    pub(crate) fn answer_elsewhere(
        self: &Arc<Self>,
        inner: &Inner,
        id: InboundId,
        mut prepared: Prepared,
        compression: (Codec, u32),
    ) {
        let backlog = Backlog::new(Arc::clone(self), id.lane(), prepared.total_bytes() as usize);
        let duty = Duty::new(Arc::clone(self), id);
        inner.tasks.spawn_blocking(move || {
            let (codec, frame_bytes_max) = compression;
            backlog.link.compress(&mut prepared, codec, frame_bytes_max);
            drop(backlog);
            duty.end_prepared(prepared);
        });
    }
}
