//! The connections of a process: what a session has to say goes to the engine, and what the engine answers goes back.

use rdb_net_engine::SyncAnswer;
use rdb_net_peer::{Epoch, Failure, LinkSide, PeerEvent, Slot};
use rdb_net_session::{CloseReason, Event, Inbound, Loss, Outcome, RequestOptions};
use rdb_net_types::{Effect, Lane, MessageType, Payload, Reason, RequestError};
use rdb_net_wire::{Hello, Raw, control_type};

use crate::delivery::{End, StreamId, Timer};
use crate::dialing::node_of;
use crate::host::Job;
use crate::simulation::Simulation;

impl Simulation {
    pub(crate) fn send_request(&mut self, node: usize, id: StreamId, job: Job) {
        let socket = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Dialer).as_mut());
        let Some(socket) = socket else { return self.finish(node, job, Err(Reason::ConnectionLost)) };
        let (message_type, body, timeout) = match &job {
            Job::Sync { request, timeout, .. } => (control_type::MEMBERSHIP_SYNC, request.clone(), *timeout),
            Job::Ping { timeout, .. } => (MessageType::HEARTBEAT, Vec::new(), *timeout),
        };
        let options = RequestOptions { lane: Lane::System, timeout: Some(timeout), idempotent: true };
        match socket.session.request(options, &Raw { message_type, payload: Payload::from(body) }) {
            Ok(request) => {
                socket.jobs.push((request, job));
                self.busy.insert((id, End::Dialer));
            }
            Err(_) => self.finish(node, job, Err(Reason::ConnectionLost)),
        }
    }

    pub(crate) fn pump_session(&mut self, id: StreamId, end: End) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let node = stream.host(end);
        let Some(socket) = stream.socket(end) else { return };
        let session = &mut socket.session;
        let messages: Vec<Inbound> = std::iter::from_fn(|| {
            session.poll_message(Lane::System).or_else(|| session.poll_message(Lane::Interactive))
        })
        .collect();
        let mut ended = Vec::new();
        session.drain_completed(&mut ended);
        let outcomes: Vec<(Job, Outcome)> = ended
            .into_iter()
            .filter_map(|request| Some((socket.take_job(request)?, socket.session.take_outcome(request)?)))
            .collect();
        let events: Vec<Event> = std::iter::from_fn(|| socket.session.poll_event()).collect();
        let is_quiet = messages.is_empty() && outcomes.is_empty() && events.is_empty();
        for (job, outcome) in outcomes {
            let result = outcome.map(|reply| (reply.body.into_payload().into_bytes().to_vec(), reply.round_trip));
            self.finish(node, job, result.map_err(|error: RequestError| error.reason));
        }
        let mut closed = None;
        for event in events {
            match event {
                Event::Hello(hello) => self.let_in(node, id, &hello),
                Event::Up(hello) => self.came_up(node, id, &hello),
                Event::Closed(reason) => closed = Some(reason),
                _ => {}
            }
        }
        for message in messages {
            self.answer(node, id, message);
        }
        self.flush(id, end);
        if let Some(reason) = closed {
            return self.closed(node, id, end, reason);
        }
        if !is_quiet {
            self.busy.insert((id, end));
        }
        let socket = self.streams.get_mut(&id).and_then(|stream| stream.socket(end).as_ref());
        let due = socket.and_then(|socket| socket.session.poll_timeout());
        self.queue.arm(Timer::Session(id, end), due);
        if end == End::Dialer {
            let key = self.streams.get(&id).map(|stream| stream.key.clone());
            if let Some(key) = key {
                self.release(node, &key);
            }
        }
    }

    fn flush(&mut self, id: StreamId, end: End) {
        let now = self.now;
        loop {
            let socket = self.streams.get_mut(&id).and_then(|stream| stream.socket(end).as_mut());
            let Some(socket) = socket else { return };
            let Some(mut batch) = socket.session.take_batch(now) else { return };
            batch.seal(now);
            let bytes = batch.buffer().to_vec();
            socket.session.recycle(batch);
            self.send_segment(id, end, bytes);
        }
    }

    /// A dialer's hello is sound: the simulated nodes let everybody in.
    fn let_in(&mut self, node: usize, id: StreamId, hello: &Hello) {
        let now = self.now;
        let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Acceptor).as_mut()) else {
            return;
        };
        socket.session.accept(now);
        socket.peer = Some((hello.node.clone(), hello.boot));
        self.tell_engine(node, &up(hello, LinkSide::Acceptor, None));
    }

    fn came_up(&mut self, node: usize, id: StreamId, hello: &Hello) {
        let now = self.now;
        if let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Dialer).as_mut()) {
            socket.peer = Some((hello.node.clone(), hello.boot));
        }
        let (mut waiting, mut place) = (Vec::new(), None);
        if let Some((_, slot)) = self.dialing_slot(node, id) {
            slot.is_up = true;
            place = Some((Slot::FIRST, slot.machine.handle_up(now, Slot::FIRST)));
            waiting = std::mem::take(&mut slot.waiting);
        }
        self.tell_engine(node, &up(hello, LinkSide::Dialer, place));
        waiting.into_iter().for_each(|job| self.send_request(node, id, job));
    }

    /// Answers a message of another node, as the handlers of a real one do.
    fn answer(&mut self, node: usize, id: StreamId, message: Inbound) {
        let now = self.now;
        let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Acceptor).as_mut()) else {
            return;
        };
        let Some((from, _)) = socket.peer.clone() else { return socket.session.finish(message.id) };
        if message.message_type != control_type::MEMBERSHIP_SYNC {
            let _ = socket.session.reply(message.id, &sync_body(Vec::new()));
            return;
        }
        let Some(process) = &mut self.hosts[node].process else { return };
        let request = message.body.into_payload().into_bytes();
        match process.engine.handle_sync_request(now, &from, &request) {
            SyncAnswer::Ready(reply) => {
                let _ = socket.session.reply(message.id, &sync_body(reply));
            }
            SyncAnswer::Pending(sync) => {
                process.pending.insert(sync, (id, message.id));
            }
            SyncAnswer::Refused(why) => {
                socket.session.reply_error(message.id, Effect::NotStarted, Reason::HandlerFailed, &why.to_string());
            }
        }
        self.talkative.insert(node);
    }

    fn closed(&mut self, node: usize, id: StreamId, end: End, reason: CloseReason) {
        let now = self.now;
        self.queue.arm(Timer::Session(id, end), None);
        if !matches!(reason, CloseReason::Lost(_)) {
            self.send_end(id, end, Loss::Eof);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(socket) = stream.socket(end).take() else { return };
        let key = stream.key.clone();
        self.drop_stream_if_gone(id);
        if let Some(process) = &mut self.hosts[node].process {
            process.streams.remove(&id);
        }
        let side = if end == End::Dialer { LinkSide::Dialer } else { LinkSide::Acceptor };
        let mut address = None;
        if end == End::Dialer {
            let mut waiting = Vec::new();
            if let Some(slot) = self.slot_of(node, &key).filter(|slot| slot.stream == Some(id)) {
                (slot.stream, slot.is_up) = (None, false);
                match slot.machine.epoch(Slot::FIRST) {
                    Some(epoch) => slot.machine.handle_ended(now, Slot::FIRST, epoch, reason),
                    None => slot.machine.handle_dial_ended(now, Slot::FIRST, reason),
                }
                address = Some(slot.address.clone());
                waiting = std::mem::take(&mut slot.waiting);
            }
            let why = match reason {
                CloseReason::Refused(refusal) | CloseReason::Rejected(refusal) => Reason::Refused(refusal),
                _ => Reason::ConnectionLost,
            };
            waiting.into_iter().for_each(|job| self.finish(node, job, Err(why)));
        }
        socket.jobs.into_iter().for_each(|(_, job)| self.finish(node, job, Err(Reason::ConnectionLost)));
        match (socket.peer, address) {
            (Some((peer, boot)), _) => self.tell_engine(node, &PeerEvent::Down { node: peer, boot, side, reason }),
            (None, Some(address)) => {
                let of = node_of(&key);
                let failure = match reason {
                    CloseReason::Refused(refusal) | CloseReason::Rejected(refusal) => Failure::Hello(refusal),
                    reason => Failure::Ended(reason),
                };
                self.tell_engine(node, &PeerEvent::DialFailed { node: of, address, failure });
            }
            (None, None) => {}
        }
        if end == End::Dialer {
            self.drive_peer(node, &key);
        }
    }
}

fn up(hello: &Hello, side: LinkSide, place: Option<(Slot, Epoch)>) -> PeerEvent {
    PeerEvent::Up {
        node: hello.node.clone(),
        boot: hello.boot,
        incarnation: hello.incarnation,
        address: hello.address.clone(),
        side,
        place,
    }
}

pub(crate) fn sync_body(reply: Vec<u8>) -> Raw {
    Raw { message_type: control_type::REPLY, payload: Payload::from(reply) }
}
