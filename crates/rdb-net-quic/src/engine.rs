//! One connection of QUIC, which is a state machine, and what moves its packets and its time.
//!
//! Everything happens in the task that has the connection, in passes: what has come is taken in, the streams are read and
//! written, and what is to be sent leaves. So a message costs no other task and no lock.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionEvent, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, EndpointEvent, Event, StreamEvent, StreamId, Transmit, VarInt,
};
use tokio::time::Sleep;

use crate::datagrams::Outgoing;
use crate::hub::{Inbox, Member, Taken};
use crate::path::PathKeeper;
use crate::refusals::Refusals;
use crate::socket::{QuicSocket, Refused, Writable};

/// TLS wants a name. It is neither sent nor compared.
const SERVER_NAME: &str = "rustydb";
/// Reads of one pass.
const READS_PER_PASS: usize = 4;
/// Packets that are sent with one call, and the bytes of all of them: the system cuts up no more.
const SEGMENTS_MAX: usize = 10;
const SEGMENT_BYTES_MAX: usize = 65_000;
/// Packets of one pass, so that what has come is looked at between them.
const PACKETS_PER_PASS: usize = 40;

/// Why a connection is over.
#[derive(Debug, Clone)]
pub(crate) enum Lost {
    /// The protocol says so.
    Ended(ConnectionError),
    /// The system of the peer says that nobody is there any more.
    Refused,
}

/// Where the packets of a connection come from.
enum Port {
    /// A socket of its own, on which this node has dialled.
    Own { endpoint: Box<Endpoint>, refusals: Refusals, refused: Refused },
    /// A listener's.
    Shared { hub: Member, inbox: Arc<Inbox> },
}

pub(crate) struct Engine {
    quic: Connection,
    handle: ConnectionHandle,
    port: Port,
    socket: Arc<QuicSocket>,
    writable: Writable,
    /// What is to be sent next, where the socket did not take it.
    unsent: Option<Transmit>,
    contents: Vec<u8>,
    /// What has come from the listener's socket.
    arrived: Vec<ConnectionEvent>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// The task that it was with in the last pass.
    task: Option<Waker>,
    outgoing: Arc<Outgoing>,
    path: PathKeeper,
    mtu: u16,
    is_connected: bool,
    lost: Option<Lost>,
    /// Streams of which something may have come, by the numbers that those of one direction have.
    readable: u64,
    /// The other side may have opened some.
    has_opened: bool,
    /// Streams whose end the other side has.
    finished: u64,
    has_datagrams: bool,
}

/// The bit of a stream among those of both directions.
fn bit(id: StreamId) -> u64 {
    1_u64.checked_shl(u32::try_from(id.index()).unwrap_or(u32::MAX)).unwrap_or(0)
}

impl Engine {
    /// Begins to dial.
    pub(crate) fn dial(
        endpoint: EndpointConfig,
        client: ClientConfig,
        socket: QuicSocket,
        remote: SocketAddr,
    ) -> Result<Self, quinn_proto::ConnectError> {
        let mut endpoint = Box::new(Endpoint::new(Arc::new(endpoint), None, socket.may_try_sizes(), None));
        let (handle, quic) = endpoint.connect(Instant::now(), client, remote, SERVER_NAME)?;
        let port = Port::Own { endpoint, refusals: Refusals::default(), refused: Refused::default() };
        Ok(Self::new(quic, handle, port, Arc::new(socket)))
    }

    /// One whose handshake a listener has begun.
    pub(crate) fn taken(taken: Taken) -> Self {
        let Taken { quic, handle, hub, inbox } = taken;
        let socket = Arc::clone(hub.socket());
        Self::new(quic, handle, Port::Shared { hub, inbox }, socket)
    }

    fn new(quic: Connection, handle: ConnectionHandle, port: Port, socket: Arc<QuicSocket>) -> Self {
        Self {
            quic,
            handle,
            port,
            socket,
            writable: Writable::default(),
            unsent: None,
            contents: Vec::new(),
            arrived: Vec::new(),
            timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            armed: None,
            task: None,
            outgoing: Arc::default(),
            path: PathKeeper::default(),
            mtu: 0,
            is_connected: false,
            lost: None,
            readable: 0,
            has_opened: false,
            finished: 0,
            has_datagrams: false,
        }
    }

    /// Takes in what has come, and what time has brought.
    pub(crate) fn begin_pass(&mut self, context: &mut Context<'_>) {
        if self.task.as_ref().is_none_or(|task| !task.will_wake(context.waker())) {
            self.task = Some(context.waker().clone());
            self.outgoing.register(context.waker());
            // The timer wakes the task that it was asked by.
            self.armed = None;
        }
        let now = Instant::now();
        self.receive(context, now);
        if self.quic.poll_timeout().is_some_and(|due| due <= now) {
            self.quic.handle_timeout(now);
        }
        for packet in self.outgoing.take() {
            // The path may carry less than a moment ago.
            let _taken = self.quic.datagrams().send(packet, true);
        }
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(event) = self.port.handle_event(self.handle, event) {
                self.quic.handle_event(event);
            }
        }
        while let Some(event) = self.quic.poll() {
            self.note(event);
        }
    }

    fn receive(&mut self, context: &mut Context<'_>, now: Instant) {
        let Self { port, socket, quic, arrived, path, .. } = self;
        match port {
            Port::Shared { inbox, .. } => {
                path.dropped(inbox.take(context, arrived));
                arrived.drain(..).for_each(|event| quic.handle_event(event));
            }
            Port::Own { endpoint, refusals, refused } => {
                // Once it is connected, the next packet tells.
                if !self.is_connected && self.lost.is_none() && refused.poll(context, socket) {
                    refusals.refused();
                    if refusals.are_enough(false) {
                        self.end(Lost::Refused);
                        return;
                    }
                }
                let mut answer = Vec::new();
                for _ in 0..READS_PER_PASS {
                    let read = socket.poll_receive(context, |packet| {
                        refusals.received();
                        let (local, ecn) = (packet.local, packet.congestion);
                        let event = endpoint.handle(now, packet.remote, local, ecn, packet.bytes, &mut answer);
                        // Whatever is no packet of this connection is nobody's.
                        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                            quic.handle_event(event);
                        }
                    });
                    match read {
                        Poll::Pending => return,
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                            refusals.refused();
                            if refusals.are_enough(self.is_connected) {
                                self.end(Lost::Refused);
                                return;
                            }
                        }
                        // Whatever else the network says of single packets ends nothing.
                        Poll::Ready(Err(_)) => {}
                    }
                }
                context.waker().wake_by_ref();
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::ConnectionLost { reason } => self.end(Lost::Ended(reason)),
            Event::Stream(StreamEvent::Opened { .. }) => self.has_opened = true,
            Event::Stream(StreamEvent::Readable { id }) => self.readable |= bit(id),
            Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. }) => self.finished |= bit(id),
            Event::DatagramReceived => self.has_datagrams = true,
            // What could not be written is tried again in the next pass.
            Event::Stream(StreamEvent::Writable { .. } | StreamEvent::Available { .. }) => {}
            Event::HandshakeDataReady | Event::DatagramsUnblocked => {}
        }
    }

    fn end(&mut self, lost: Lost) {
        self.lost.get_or_insert(lost);
        self.readable = u64::MAX;
        self.outgoing.end();
    }

    /// Sends what is to be sent, and is woken when that is due which comes with time.
    pub(crate) fn end_pass(&mut self, context: &mut Context<'_>) {
        let now = Instant::now();
        if !self.transmit(context, now) {
            context.waker().wake_by_ref();
        }
        if self.quic.current_mtu() != self.mtu && self.is_connected && self.lost.is_none() {
            self.mtu = self.quic.current_mtu();
            self.outgoing.set_bytes_max(self.quic.datagrams().max_size().unwrap_or(0));
        }
        self.path.keep(&self.quic, now);
        let Some(due) = self.quic.poll_timeout() else { return };
        // It may ring early: what was put off costs a ring.
        if self.armed.is_none_or(|armed| due < armed || armed <= now) {
            self.armed = Some(due);
            self.timer.as_mut().reset(due.into());
            if self.timer.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
    }

    /// Sends what is to be sent. Returns whether that was all, or the socket takes no more.
    fn transmit(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        let fitting = SEGMENT_BYTES_MAX / usize::from(self.quic.current_mtu());
        let segments = self.socket.segments_max().min(SEGMENTS_MAX).min(fitting).max(1);
        let mut packets = 0;
        while packets < PACKETS_PER_PASS {
            if self.writable.poll(context).is_pending() {
                return true;
            }
            if self.unsent.is_none() {
                self.contents.clear();
                self.unsent = self.quic.poll_transmit(now, segments, &mut self.contents);
            }
            let Some(transmit) = &self.unsent else { return true };
            match self.socket.try_send(transmit, &self.contents[..transmit.size]) {
                Ok(()) => {
                    packets += transmit.segment_size.map_or(1, |segment| transmit.size.div_ceil(segment));
                    self.unsent = None;
                    if let Port::Own { refusals, .. } = &mut self.port {
                        refusals.sent();
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.writable.begin(&self.socket),
                // The system tells by this call that an earlier packet was refused, and sends nothing; the next call does.
                Err(_) => {
                    packets += 1;
                    let Port::Own { refusals, .. } = &mut self.port else { continue };
                    refusals.refused();
                    if refusals.are_enough(self.is_connected) {
                        self.end(Lost::Refused);
                        return false;
                    }
                }
            }
        }
        false
    }

    /// The protocol, between the two ends of a pass.
    pub(crate) fn quic(&mut self) -> &mut Connection {
        &mut self.quic
    }

    pub(crate) fn known(&self) -> &Connection {
        &self.quic
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(crate) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    pub(crate) fn outgoing(&self) -> &Arc<Outgoing> {
        &self.outgoing
    }

    pub(crate) fn path(&self) -> &PathKeeper {
        &self.path
    }

    /// Whether something may have come of a stream since it had nothing.
    pub(crate) fn is_readable(&self, id: StreamId) -> bool {
        self.readable & bit(id) != 0
    }

    /// A stream had nothing, and will be told of.
    pub(crate) fn has_nothing(&mut self, id: StreamId) {
        if self.lost.is_none() {
            self.readable &= !bit(id);
        }
    }

    /// Whether the other side has all that was written to a stream, or wants no more of it.
    pub(crate) fn is_finished(&self, id: StreamId) -> bool {
        self.finished & bit(id) != 0
    }

    /// The next stream that the other side has opened.
    pub(crate) fn accept(&mut self) -> Option<StreamId> {
        if !self.has_opened {
            return None;
        }
        let accepted = self.quic.streams().accept(Dir::Bi);
        match accepted {
            Some(id) => self.readable |= bit(id),
            None => self.has_opened = false,
        }
        accepted
    }

    /// The next packet that has come beside the streams.
    pub(crate) fn receive_datagram(&mut self) -> Option<Bytes> {
        if !self.has_datagrams {
            return None;
        }
        let datagram = self.quic.datagrams().recv();
        self.has_datagrams = datagram.is_some();
        datagram
    }

    /// Ends the connection, and tells the other side why.
    pub(crate) fn close(&mut self, code: VarInt) {
        self.outgoing.end();
        self.quic.close(Instant::now(), code, Bytes::new());
        // The task that it was with is not to be woken any more.
        let mut nobody = Context::from_waker(Waker::noop());
        self.transmit(&mut nobody, Instant::now());
    }

    /// Answers what still comes until the other side has certainly heard of the end (RFC 9000, section 10.2).
    pub(crate) async fn linger(mut self: Box<Self>) {
        std::future::poll_fn(|context| {
            self.begin_pass(context);
            self.end_pass(context);
            if self.quic.is_drained() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Port {
    fn handle_event(&mut self, handle: ConnectionHandle, event: EndpointEvent) -> Option<ConnectionEvent> {
        match self {
            Self::Own { endpoint, .. } => endpoint.handle_event(handle, event),
            Self::Shared { hub, .. } => hub.handle_event(handle, event),
        }
    }
}
