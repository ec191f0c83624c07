//! What a host's kernel does: taking and refusing connections, carrying bytes, holding what a process does not read.

use rdb_net_faults::Sent;
use rdb_net_session::{Loss, Session, Side};

use crate::delivery::{Delivery, End, PeerKey, StreamId};
use crate::host::Life;
use crate::simulation::Simulation;
use crate::stream::{Socket, Stream};

impl Simulation {
    /// Something arrives at a host whose process runs.
    pub(crate) fn deliver(&mut self, host: usize, delivery: Delivery) {
        match delivery {
            Delivery::Packet { from, bytes } => {
                self.packets += 1;
                self.packet_bytes += bytes.len() as u64;
                self.trace.bytes(self.now, host, 3, &bytes);
                let (now, from) = (self.now, self.hosts[from].gossip);
                if let Some(process) = &mut self.hosts[host].process {
                    process.engine.handle_packet(now, from, &bytes);
                    self.talkative.insert(host);
                }
            }
            Delivery::Dial { stream } => {
                self.answer_dial(stream, true);
                self.accept(host, stream);
            }
            Delivery::Accepted { stream } => self.accept(host, stream),
            Delivery::DialAnswered { stream, is_taken } => self.dial_answered(host, stream, is_taken),
            Delivery::DialTimedOut { stream } => self.dial_timed_out(host, stream),
            Delivery::Segment { stream, end, bytes } => self.take_segment(host, stream, end, &bytes),
            Delivery::Ended { stream, end, loss } => self.lose(stream, end, loss),
            Delivery::Unacknowledged { stream, end, since } => {
                let held_since = self.streams.get_mut(&stream).and_then(|stream| stream.pipe(end).held_since());
                if held_since == Some(since) {
                    self.lose(stream, end, Loss::TimedOut);
                }
            }
        }
    }

    /// Something arrives at a host whose process stands still or is slow: the kernel answers what it can answer alone.
    pub(crate) fn keep_for_later(&mut self, host: usize, delivery: Delivery) {
        let delivery = match delivery {
            Delivery::Dial { stream } => {
                self.answer_dial(stream, true);
                Delivery::Accepted { stream }
            }
            Delivery::Packet { from, bytes } => {
                let host = &mut self.hosts[host];
                if host.backlog_bytes + bytes.len() > self.config.datagram_buffer_bytes {
                    self.datagrams_overflowed += 1;
                    return;
                }
                host.backlog_bytes += bytes.len();
                Delivery::Packet { from, bytes }
            }
            delivery => delivery,
        };
        self.hosts[host].backlog.push_back((self.now, delivery));
    }

    /// Something arrives at a host that is on and has no process.
    pub(crate) fn refuse(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Dial { stream } => self.answer_dial(stream, false),
            Delivery::Segment { stream, end, .. } => self.send_end(stream, end, Loss::Reset),
            Delivery::DialAnswered { stream, is_taken: true } => self.send_end(stream, End::Dialer, Loss::Reset),
            _ => {}
        }
    }

    /// A process dials an address.
    pub(crate) fn dial(&mut self, dialer: usize, acceptor: Option<usize>, key: PeerKey) -> StreamId {
        self.dials += 1;
        self.streams_made += 1;
        let id = StreamId(self.streams_made);
        self.queue.deliver(self.now + self.config.dial_timeout, dialer, Delivery::DialTimedOut { stream: id });
        if let Some(acceptor) = acceptor {
            let delay = self.network.segment(self.now, &dialer, &acceptor, 0);
            self.streams.insert(id, Stream::new(dialer, acceptor, key));
            if self.network.passes(&dialer, &acceptor) {
                self.queue.deliver(self.now + delay, acceptor, Delivery::Dial { stream: id });
            }
        }
        id
    }

    fn answer_dial(&mut self, id: StreamId, is_taken: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (dialer, acceptor) = (stream.dialer, stream.acceptor);
        let delay = self.network.segment(self.now, &acceptor, &dialer, 0);
        if self.network.passes(&acceptor, &dialer) {
            // What the acceptor sends afterwards comes afterwards.
            let at = stream.pipe(End::Acceptor).arrival(self.now + delay);
            self.queue.deliver(at, dialer, Delivery::DialAnswered { stream: id, is_taken });
        }
    }

    fn accept(&mut self, host: usize, id: StreamId) {
        let Some(process) = &mut self.hosts[host].process else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let session = Session::new(self.config.session.clone(), process.identity.clone(), Side::Acceptor, self.now);
        *stream.socket(End::Acceptor) = Some(Socket::new(session));
        process.streams.insert(id);
        self.busy.insert((id, End::Acceptor));
    }

    fn take_segment(&mut self, host: usize, id: StreamId, end: End, bytes: &[u8]) {
        self.segments += 1;
        self.trace.bytes(self.now, host, 4, bytes);
        let now = self.now;
        let socket = self.streams.get_mut(&id).and_then(|stream| stream.socket(end).as_mut());
        let Some(socket) = socket else { return self.send_end(id, end, Loss::Reset) };
        socket.input.extend_from_slice(bytes);
        socket.session.handle_input(now, &mut socket.input);
        self.busy.insert((id, end));
    }

    /// An end of a connection is lost.
    fn lose(&mut self, id: StreamId, end: End, loss: Loss) {
        if let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(end).as_mut()) {
            socket.session.handle_lost(loss);
            self.busy.insert((id, end));
        }
    }

    /// Sends bytes from one end of a connection to the other.
    pub(crate) fn send_segment(&mut self, id: StreamId, end: End, bytes: Vec<u8>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (from, to) = (stream.host(end), stream.host(end.other()));
        let delay = self.network.segment(self.now, &from, &to, bytes.len());
        let passes = self.network.passes(&from, &to) && self.hosts[to].life != Life::Off;
        match stream.pipe(end).send(self.now, delay, passes, bytes) {
            Sent::Arrives { at, piece: bytes } => {
                self.queue.deliver(at, to, Delivery::Segment { stream: id, end: end.other(), bytes });
            }
            Sent::Held { is_first: true } => {
                let given_up = Delivery::Unacknowledged { stream: id, end, since: self.now };
                self.queue.deliver(self.now + self.config.unacknowledged_timeout, from, given_up);
            }
            Sent::Held { is_first: false } => {}
        }
    }

    /// Tells the other end that this one is gone.
    pub(crate) fn send_end(&mut self, id: StreamId, end: End, loss: Loss) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (from, to) = (stream.host(end), stream.host(end.other()));
        let delay = self.network.segment(self.now, &from, &to, 0);
        if self.network.passes(&from, &to) {
            let at = stream.pipe(end).arrival(self.now + delay);
            self.queue.deliver(at, to, Delivery::Ended { stream: id, end: end.other(), loss });
        }
    }

    /// Lets everything go on that was held and passes again.
    pub(crate) fn release_held(&mut self) {
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in ids {
            for end in [End::Dialer, End::Acceptor] {
                let Some(stream) = self.streams.get_mut(&id) else { continue };
                let held = stream.pipe(end).take_held();
                held.into_iter().for_each(|bytes| self.send_segment(id, end, bytes));
            }
        }
    }
}
