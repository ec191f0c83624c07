//! The socket of a listener: it takes connections, and hands each of them its packets.
//!
//! One task reads it. What a connection sends leaves from that connection's own task.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use quinn_proto::{
    Connection, ConnectionError, ConnectionEvent, ConnectionHandle, DatagramEvent, Endpoint, EndpointEvent, Incoming,
    ServerConfig, Transmit,
};

use crate::socket::{Packet, QuicSocket};

/// Reads of one turn, so that a busy socket leaves others theirs.
const READS_PER_TURN: usize = 8;
/// What waits for a connection's task, with what each packet takes beside its bytes. What comes then is dropped and counted, and
/// slows its sender down.
const BYTES_WAITING_MAX: usize = 4 << 20;
const PACKET_OVERHEAD_BYTES: usize = 256;

/// What has come for one connection.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<ConnectionEvent>,
    bytes: usize,
    /// Packets that found no room, since the connection began.
    dropped: u64,
    task: Option<Waker>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: ConnectionEvent, bytes: usize) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + bytes + PACKET_OVERHEAD_BYTES;
        if bytes > BYTES_WAITING_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes = bytes;
        waiting.events.push(event);
        let task = waiting.task.take();
        drop(waiting);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Takes what waits, and has the task woken for the next. Returns how many packets found no room so far.
    pub(crate) fn take(&self, context: &Context<'_>, into: &mut Vec<ConnectionEvent>) -> u64 {
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.events, into);
        waiting.bytes = 0;
        if waiting.task.as_ref().is_none_or(|task| !task.will_wake(context.waker())) {
            waiting.task = Some(context.waker().clone());
        }
        waiting.dropped
    }
}

/// The socket, for the task that reads it and for all that have to do with it.
pub(crate) struct Hub {
    socket: Arc<QuicSocket>,
    state: Mutex<State>,
}

struct State {
    endpoint: Endpoint,
    /// By the connections' numbers.
    inboxes: Vec<Option<Arc<Inbox>>>,
    /// Those that have begun to dial.
    offered: VecDeque<Incoming>,
    accepting: Option<Waker>,
    reading: Option<Waker>,
    /// Nobody takes connections any more.
    is_closed: bool,
    /// Nobody reads any more.
    is_gone: bool,
    members: usize,
}

/// Holds a hub's socket open.
pub(crate) struct Member(Arc<Hub>);

impl Hub {
    /// A hub, whose task is the caller's to run, and what takes its connections.
    pub(crate) fn open(socket: QuicSocket, endpoint: Endpoint) -> (Arc<Self>, Member) {
        let state = State {
            endpoint,
            inboxes: Vec::new(),
            offered: VecDeque::new(),
            accepting: None,
            reading: None,
            is_closed: false,
            is_gone: false,
            members: 0,
        };
        let hub = Arc::new(Self { socket: Arc::new(socket), state: Mutex::new(state) });
        let member = Member::of(&hub);
        (hub, member)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the socket for as long as somebody holds it open.
    pub(crate) async fn run(self: Arc<Self>) {
        let gone = Gone(self);
        std::future::poll_fn(|context| gone.0.poll_run(context)).await;
    }

    fn poll_run(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.members == 0 {
            return Poll::Ready(());
        }
        if state.reading.as_ref().is_none_or(|task| !task.will_wake(context.waker())) {
            state.reading = Some(context.waker().clone());
        }
        let (now, mut answer) = (Instant::now(), Vec::new());
        for _ in 0..READS_PER_TURN {
            let read =
                self.socket.poll_receive(context, |packet| state.receive(&self.socket, now, packet, &mut answer));
            match ready!(read) {
                Ok(()) => {}
                // What the network says of single packets ends nothing.
                Err(error) => tracing::trace!(%error, "a packet was not read"),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Tells everybody when nobody reads the socket any more.
struct Gone(Arc<Hub>);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_gone = true;
        state.refuse_all(&self.0.socket);
        let accepting = state.accepting.take();
        drop(state);
        if let Some(task) = accepting {
            task.wake();
        }
    }
}

/// Sends an answer that nobody waits for; whoever gets none asks again.
fn answer_with(socket: &QuicSocket, transmit: &Transmit, answer: &[u8]) {
    let _sent = socket.try_send(transmit, &answer[..transmit.size]);
}

impl State {
    fn receive(&mut self, socket: &QuicSocket, now: Instant, packet: Packet, answer: &mut Vec<u8>) {
        answer.clear();
        let Packet { remote, local, congestion, bytes } = packet;
        let length = bytes.len();
        match self.endpoint.handle(now, remote, local, congestion, bytes, answer) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(Some(inbox)) = self.inboxes.get(handle.0) {
                    inbox.push(event, length);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) if self.is_closed => self.refuse(socket, incoming),
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.offered.push_back(incoming);
                if let Some(task) = self.accepting.take() {
                    task.wake();
                }
            }
            Some(DatagramEvent::Response(transmit)) => answer_with(socket, &transmit, answer),
            None => {}
        }
    }

    /// A listener that is closed answers, as that of TCP does.
    fn refuse(&mut self, socket: &QuicSocket, incoming: Incoming) {
        let mut answer = Vec::new();
        let transmit = self.endpoint.refuse(incoming, &mut answer);
        answer_with(socket, &transmit, &answer);
    }

    fn refuse_all(&mut self, socket: &QuicSocket) {
        while let Some(incoming) = self.offered.pop_front() {
            self.refuse(socket, incoming);
        }
    }
}

impl Member {
    fn of(hub: &Arc<Hub>) -> Self {
        hub.lock().members += 1;
        Self(Arc::clone(hub))
    }

    pub(crate) fn socket(&self) -> &Arc<QuicSocket> {
        &self.0.socket
    }

    /// The next one that has begun to dial.
    pub(crate) fn poll_offer(&self, context: &mut Context<'_>) -> Poll<io::Result<Offer>> {
        let mut state = self.0.lock();
        if state.is_gone {
            return Poll::Ready(Err(io::Error::other("the socket is gone")));
        }
        let Some(incoming) = state.offered.pop_front() else {
            state.accepting = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        Poll::Ready(Ok(Offer { incoming: Some(incoming), hub: Self::of(&self.0) }))
    }

    /// Whoever dials from now on is refused, for as long as connections that were taken live.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.refuse_all(&self.0.socket);
    }

    /// What a connection has to tell its socket, and what the socket tells it in return.
    pub(crate) fn handle_event(&self, handle: ConnectionHandle, event: EndpointEvent) -> Option<ConnectionEvent> {
        let mut state = self.0.lock();
        if event.is_drained()
            && let Some(inbox) = state.inboxes.get_mut(handle.0)
        {
            *inbox = None;
        }
        state.endpoint.handle_event(handle, event)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.members -= 1;
        let reading = if state.members == 0 { state.reading.take() } else { None };
        drop(state);
        if let Some(task) = reading {
            task.wake();
        }
    }
}

/// Somebody that has begun to dial. Dropped, it is refused.
pub(crate) struct Offer {
    incoming: Option<Incoming>,
    hub: Member,
}

/// A connection that was taken, and where its packets come from.
pub(crate) struct Taken {
    pub(crate) quic: Connection,
    pub(crate) handle: ConnectionHandle,
    pub(crate) hub: Member,
    pub(crate) inbox: Arc<Inbox>,
}

impl Offer {
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.incoming.as_ref().map(Incoming::remote_address)
    }

    /// Whether it has shown that its address is its own.
    pub(crate) fn is_validated(&self) -> bool {
        self.incoming.as_ref().is_some_and(Incoming::remote_address_validated)
    }

    /// Asks it to show that its address is its own, or forgets it where it was asked already.
    pub(crate) fn ask_for_address(mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        let (mut state, mut answer) = (self.hub.0.lock(), Vec::new());
        if !incoming.may_retry() {
            state.endpoint.ignore(incoming);
        } else if let Ok(transmit) = state.endpoint.retry(incoming, &mut answer) {
            answer_with(self.hub.socket(), &transmit, &answer);
        }
    }

    /// Begins the handshake.
    pub(crate) fn take(mut self, config: ServerConfig) -> Result<Taken, ConnectionError> {
        let Some(incoming) = self.incoming.take() else { return Err(ConnectionError::LocallyClosed) };
        let (hub, inbox, mut answer) = (Member::of(&self.hub.0), Arc::<Inbox>::default(), Vec::new());
        let mut state = self.hub.0.lock();
        match state.endpoint.accept(incoming, Instant::now(), &mut answer, Some(Arc::new(config))) {
            Ok((handle, quic)) => {
                if state.inboxes.len() <= handle.0 {
                    state.inboxes.resize(handle.0 + 1, None);
                }
                state.inboxes[handle.0] = Some(Arc::clone(&inbox));
                drop(state);
                Ok(Taken { quic, handle, hub, inbox })
            }
            Err(error) => {
                drop(state);
                if let Some(transmit) = error.response {
                    answer_with(self.hub.socket(), &transmit, &answer);
                }
                Err(error.cause)
            }
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            let mut state = self.hub.0.lock();
            state.refuse(&self.hub.0.socket, incoming);
        }
    }
}
