//! What the driver of a process does: it carries out the engine's commands, dials its peers, and moves messages between
//! connections and the engine. The manager does the same over real sockets.

use std::time::Duration;

use rdb_net_engine::{Command, EngineEvent, SyncAnswer, SyncTarget};
use rdb_net_peer::{Action, DialFailure, Failure, LinkSide, Peer, PeerEvent};
use rdb_net_session::{CloseReason, Event, Inbound, Loss, Outcome, RequestOptions, Session, Side};
use rdb_net_types::{Effect, Lane, MessageType, NodeAddress, NodeId, Payload, Reason, RequestError};
use rdb_net_wire::{Hello, Raw, control_type};

use crate::host::{Job, Life, PeerSlot};
use crate::queue::{End, PeerKey, StreamId, Timer};
use crate::simulation::Simulation;
use crate::stream::Socket;

impl Simulation {
    /// Lets everybody who has something to say say it, until all are silent.
    pub(crate) fn pump(&mut self) {
        loop {
            if let Some((id, end)) = self.busy.pop_first() {
                self.pump_session(id, end);
            } else if let Some(node) = self.talkative.pop_first() {
                self.pump_engine(node);
            } else {
                return;
            }
        }
    }

    pub(crate) fn fire(&mut self, timer: Timer) {
        let now = self.now;
        match timer {
            Timer::Engine(node) if self.hosts[node].life == Life::Running => {
                if let Some(process) = &mut self.hosts[node].process {
                    process.engine.handle_timeout(now);
                    let next = process.engine.poll_timeout();
                    assert!(next.is_none_or(|at| at > now), "an engine that is due for ever: {next:?} at {now:?}");
                    self.talkative.insert(node);
                }
            }
            Timer::Session(id, end) => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                let host = stream.host(end);
                if let Some(socket) = stream.socket(end).as_mut().filter(|_| self.hosts[host].life == Life::Running) {
                    socket.session.handle_timeout(now);
                    self.busy.insert((id, end));
                }
            }
            Timer::Peer(node, key) if self.hosts[node].life == Life::Running => self.drive_peer(node, &key),
            // A process that stands still looks at its clock when it wakes.
            Timer::Engine(_) | Timer::Peer(..) => {}
        }
    }

    /// Everything that is due for a process that has stood still.
    pub(crate) fn wake_timers(&mut self, node: usize) {
        let now = self.now;
        for (id, end) in self.ends_of(node) {
            if let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(end).as_mut()) {
                socket.session.handle_timeout(now);
                self.busy.insert((id, end));
            }
        }
        let Some(process) = &mut self.hosts[node].process else { return };
        process.engine.handle_timeout(now);
        self.talkative.insert(node);
        let keys: Vec<PeerKey> = process.peers.keys().cloned().collect();
        keys.iter().for_each(|key| self.drive_peer(node, key));
    }

    fn pump_engine(&mut self, node: usize) {
        let now = self.now;
        let mut bytes = Vec::new();
        while let Some(process) = &mut self.hosts[node].process {
            let Some(to) = process.engine.poll_transmit(now, &mut bytes) else { break };
            self.send_packet(node, to, &bytes);
        }
        while let Some(command) = self.hosts[node].process.as_mut().and_then(|process| process.engine.poll_command()) {
            self.carry_out(node, command);
        }
        while let Some(event) = self.hosts[node].process.as_mut().and_then(|process| process.engine.poll_event()) {
            self.hear(node, event);
        }
        let due = self.hosts[node].process.as_ref().and_then(|process| process.engine.poll_timeout());
        self.queue.arm(Timer::Engine(node), due);
    }

    fn send_packet(&mut self, node: usize, to: std::net::SocketAddr, bytes: &[u8]) {
        let Some(target) = self.by_gossip.get(&to).copied() else { return };
        for delay in self.network.datagram(node, target) {
            let packet = crate::queue::Delivery::Packet { from: node, bytes: bytes.to_vec() };
            self.queue.deliver(self.now + delay, target, packet);
        }
    }

    fn hear(&mut self, node: usize, event: EngineEvent) {
        let now = self.now;
        let Some(process) = &mut self.hosts[node].process else { return };
        let local = process.engine.local();
        process.identity.incarnation = local.incarnation;
        self.watch.heard(now, node, &event);
        let (name, subject) = crate::invariant::name_of(&event);
        self.trace.bytes(now, node, 5, name.as_bytes());
        self.trace.bytes(now, node, 6, subject.map_or("", NodeId::as_str).as_bytes());
        if matches!(event, EngineEvent::LeaveFinished { .. }) {
            self.close_all(node);
            while let Some((id, end)) = self.busy.pop_first() {
                self.pump_session(id, end);
            }
            self.end_process(node, Life::Stopped);
        }
    }

    fn carry_out(&mut self, node: usize, command: Command) {
        match command {
            Command::KeepLink { node: peer, address } => {
                let key = PeerKey::Node(peer);
                let now = self.now;
                let Some(slot) = self.slot(node, &key, &address) else { return };
                if slot.address != address {
                    slot.address = address;
                    slot.machine.hurry(now);
                }
                slot.machine.keep(true);
                self.drive_peer(node, &key);
            }
            Command::DropLink { node: peer } => {
                let key = PeerKey::Node(peer);
                let slot = self.hosts[node].process.as_mut().and_then(|process| process.peers.get_mut(&key));
                if let Some(slot) = slot {
                    slot.machine.keep(false);
                    self.queue.arm(Timer::Peer(node, key.clone()), None);
                    self.release(node, &key);
                }
            }
            Command::Hurry { node: peer } => {
                let Some(process) = &self.hosts[node].process else { return };
                if let Some(address) = process.engine.member(&peer).map(|member| member.address.clone()) {
                    self.want(node, &PeerKey::Node(peer), &address, true);
                }
            }
            Command::Sync { token, to, request, timeout } => {
                let (key, address) = match to {
                    SyncTarget::Node { node, address } => (PeerKey::Node(node), address),
                    SyncTarget::Seed(address) => (PeerKey::Seed(address.clone()), address),
                };
                self.ask(node, &key, &address, Job::Sync { token, request, timeout }, true);
            }
            Command::Ping { id, node: peer, address, timeout } => {
                self.ask(node, &PeerKey::Node(peer), &address, Job::Ping { id, timeout }, false);
            }
            Command::AnswerSync { id, reply } => {
                let pending = self.hosts[node].process.as_mut().and_then(|process| process.pending.remove(&id));
                if let Some((stream, inbound)) = pending
                    && let Some(socket) = self.streams.get_mut(&stream).and_then(|s| s.socket(End::Acceptor).as_mut())
                {
                    // A reply that does not fit is answered with an error by the session itself.
                    let _ = socket.session.reply(inbound, &sync_body(reply));
                    self.busy.insert((stream, End::Acceptor));
                }
            }
            Command::ForgetPeer { node: peer } => self.forget(node, &PeerKey::Node(peer)),
            Command::ForgetSeed { address } => self.forget(node, &PeerKey::Seed(address)),
            _ => {}
        }
    }

    fn slot(&mut self, node: usize, key: &PeerKey, address: &NodeAddress) -> Option<&mut PeerSlot> {
        let config = self.config.peer;
        let process = self.hosts[node].process.as_mut()?;
        if !process.peers.contains_key(key) {
            process.peers_made += 1;
            let machine = Peer::new(config, process.boot.0 ^ process.peers_made);
            let slot =
                PeerSlot { machine, address: address.clone(), stream: None, is_up: false, waiting: Vec::new() };
            process.peers.insert(key.clone(), slot);
        }
        process.peers.get_mut(key)
    }

    /// Wants a connection, at once where `hurry` says so. Gives whether one is up or under way.
    fn want(&mut self, node: usize, key: &PeerKey, address: &NodeAddress, hurry: bool) -> bool {
        let now = self.now;
        let Some(slot) = self.slot(node, key, address) else { return false };
        if slot.stream.is_none() {
            slot.address = address.clone();
        }
        if hurry {
            slot.machine.hurry(now);
        }
        let is_possible = slot.is_up || slot.machine.want(now).is_ok();
        self.drive_peer(node, key);
        is_possible
    }

    /// Sends a request over the peer's connection, or as soon as there is one.
    fn ask(&mut self, node: usize, key: &PeerKey, address: &NodeAddress, job: Job, hurry: bool) {
        if !self.want(node, key, address, hurry) {
            return self.finish(node, job, Err(Reason::Unreachable));
        }
        let Some(slot) = self.slot(node, key, address) else { return };
        if let (true, Some(stream)) = (slot.is_up, slot.stream) {
            self.send_request(node, stream, job);
        } else {
            slot.waiting.push(job);
        }
    }

    fn send_request(&mut self, node: usize, id: StreamId, job: Job) {
        let now = self.now;
        let socket = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Dialer).as_mut());
        let Some(socket) = socket else { return self.finish(node, job, Err(Reason::ConnectionLost)) };
        let (message_type, body, timeout) = match &job {
            Job::Sync { request, timeout, .. } => (control_type::MEMBERSHIP_SYNC, request.clone(), *timeout),
            Job::Ping { timeout, .. } => (MessageType::HEARTBEAT, Vec::new(), *timeout),
        };
        let options = RequestOptions { lane: Lane::System, deadline: Some(now + timeout), idempotent: true };
        match socket.session.request(now, options, &Raw { message_type, payload: Payload::from(body) }) {
            Ok(request) => {
                socket.jobs.push((request, job));
                self.busy.insert((id, End::Dialer));
            }
            Err(_) => self.finish(node, job, Err(Reason::ConnectionLost)),
        }
    }

    /// Tells the engine how a request ended.
    fn finish(&mut self, node: usize, job: Job, result: Result<(Vec<u8>, Duration), Reason>) {
        let now = self.now;
        let Some(process) = &mut self.hosts[node].process else { return };
        match job {
            Job::Sync { token, .. } => {
                process.engine.handle_sync_reply(now, token, result.map(|(body, _)| body));
            }
            Job::Ping { id, .. } => process.engine.handle_pong(now, id, result.map(|(_, round_trip)| round_trip)),
        }
        self.talkative.insert(node);
    }

    fn forget(&mut self, node: usize, key: &PeerKey) {
        self.queue.arm(Timer::Peer(node, key.clone()), None);
        let now = self.now;
        let Some(slot) = self.hosts[node].process.as_mut().and_then(|process| process.peers.remove(key)) else { return };
        if let Some(id) = slot.stream
            && let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Dialer).as_mut())
        {
            socket.session.drain(now);
            self.busy.insert((id, End::Dialer));
        }
        slot.waiting.into_iter().for_each(|job| self.finish(node, job, Err(Reason::Cancelled)));
    }

    /// Ends a connection that nobody keeps and nobody uses.
    fn release(&mut self, node: usize, key: &PeerKey) {
        let now = self.now;
        let Some(slot) = self.hosts[node].process.as_ref().and_then(|process| process.peers.get(key)) else { return };
        let Some(id) = slot.stream.filter(|_| slot.is_up && !slot.machine.is_kept()) else { return };
        let socket = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Dialer).as_mut());
        if let Some(socket) = socket.filter(|socket| socket.jobs.is_empty()) {
            socket.session.drain(now);
            self.busy.insert((id, End::Dialer));
        }
    }

    pub(crate) fn drive_peer(&mut self, node: usize, key: &PeerKey) {
        let now = self.now;
        let Some(slot) = self.hosts[node].process.as_mut().and_then(|process| process.peers.get_mut(key)) else { return };
        match slot.machine.poll_action(now) {
            Action::None => self.queue.arm(Timer::Peer(node, key.clone()), None),
            Action::WaitUntil(at) => self.queue.arm(Timer::Peer(node, key.clone()), Some(at)),
            Action::Dial => {
                let acceptor = self.by_address.get(&slot.address).copied();
                let stream = self.dial(node, acceptor, key.clone());
                if let Some(slot) = self.slot_of(node, key) {
                    slot.stream = Some(stream);
                }
            }
        }
    }

    fn slot_of(&mut self, node: usize, key: &PeerKey) -> Option<&mut PeerSlot> {
        self.hosts[node].process.as_mut()?.peers.get_mut(key)
    }

    /// The slot that waits for this dial.
    fn dialing_slot(&mut self, node: usize, id: StreamId) -> Option<(PeerKey, &mut PeerSlot)> {
        let process = self.hosts[node].process.as_mut()?;
        let (key, slot) = process.peers.iter_mut().find(|(_, slot)| slot.stream == Some(id))?;
        Some((key.clone(), slot))
    }

    pub(crate) fn dial_answered(&mut self, node: usize, id: StreamId, is_taken: bool) {
        if !is_taken {
            return self.dial_failed(node, id, DialFailure::Refused);
        }
        let Some((key, _)) = self.dialing_slot(node, id) else { return self.send_end(id, End::Dialer, Loss::Reset) };
        let target = match key {
            PeerKey::Node(node) => Some(node),
            PeerKey::Seed(_) => None,
        };
        let Some(process) = &mut self.hosts[node].process else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let session = Session::new(
            self.config.session.clone(),
            process.identity.clone(),
            Side::Dialer { target },
            self.now,
        );
        *stream.socket(End::Dialer) = Some(Socket::new(session));
        process.streams.insert(id);
        self.busy.insert((id, End::Dialer));
    }

    pub(crate) fn dial_timed_out(&mut self, node: usize, id: StreamId) {
        let is_made = self.streams.get_mut(&id).is_some_and(|stream| stream.socket(End::Dialer).is_some());
        if !is_made {
            self.dial_failed(node, id, DialFailure::TimedOut);
        }
    }

    fn dial_failed(&mut self, node: usize, id: StreamId, failure: DialFailure) {
        let now = self.now;
        let Some((key, slot)) = self.dialing_slot(node, id) else { return };
        slot.stream = None;
        slot.machine.handle_dial_failed(now, failure);
        let (address, waiting) = (slot.address.clone(), std::mem::take(&mut slot.waiting));
        if failure == DialFailure::Refused {
            self.streams.remove(&id);
        }
        let of = match &key {
            PeerKey::Node(node) => Some(node.clone()),
            PeerKey::Seed(_) => None,
        };
        waiting.into_iter().for_each(|job| self.finish(node, job, Err(Reason::Unreachable)));
        self.tell_engine(node, &PeerEvent::DialFailed { node: of, address, failure: Failure::Dial(failure) });
        self.drive_peer(node, &key);
    }

    fn tell_engine(&mut self, node: usize, event: &PeerEvent) {
        let now = self.now;
        if let Some(process) = &mut self.hosts[node].process {
            process.engine.handle_peer(now, event);
            self.talkative.insert(node);
        }
    }

    fn pump_session(&mut self, id: StreamId, end: End) {
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
            let Some(mut batch) = socket.session.take_batch() else { return };
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
        self.tell_engine(node, &up(hello, LinkSide::Acceptor));
    }

    fn came_up(&mut self, node: usize, id: StreamId, hello: &Hello) {
        let now = self.now;
        if let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Dialer).as_mut()) {
            socket.peer = Some((hello.node.clone(), hello.boot));
        }
        let mut waiting = Vec::new();
        if let Some((_, slot)) = self.dialing_slot(node, id) {
            slot.is_up = true;
            slot.machine.handle_up(now);
            waiting = std::mem::take(&mut slot.waiting);
        }
        self.tell_engine(node, &up(hello, LinkSide::Dialer));
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
                slot.machine.handle_ended(now, reason);
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
                let of = match &key {
                    PeerKey::Node(node) => Some(node.clone()),
                    PeerKey::Seed(_) => None,
                };
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

fn up(hello: &Hello, side: LinkSide) -> PeerEvent {
    PeerEvent::Up {
        node: hello.node.clone(),
        boot: hello.boot,
        incarnation: hello.incarnation,
        address: hello.address.clone(),
        side,
    }
}

fn sync_body(reply: Vec<u8>) -> Raw {
    Raw { message_type: control_type::REPLY, payload: Payload::from(reply) }
}
