//! What the driver of a process does: it carries out the engine's commands, dials its peers, and moves messages between
//! connections and the engine. The manager does the same over real sockets.

use std::time::Duration;

use rdb_net_engine::{Command, EngineEvent, SyncTarget};
use rdb_net_peer::PeerEvent;
use rdb_net_types::{NodeAddress, NodeId, Reason};

use crate::connection::sync_body;
use crate::delivery::{End, PeerKey, Timer};
use crate::host::{Job, Life};
use crate::simulation::Simulation;

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
        if let Some(free) = self.busy_until(&timer) {
            return self.queue.arm(timer, Some(free));
        }
        match timer {
            Timer::Engine(node) if self.hosts[node].life == Life::Running => {
                if let Some(process) = &mut self.hosts[node].process {
                    process.engine.handle_timeout(now);
                    let next = process.engine.poll_timeout();
                    self.watch.timed(now, node, next);
                    self.talkative.insert(node);
                    if next.is_some_and(|at| at <= now) {
                        // Due for ever: the rule has seen it, and the simulation must go on.
                        self.crash(node);
                    }
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
            Timer::Processing(node) => self.processed(node),
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

    pub(crate) fn pump_engine(&mut self, node: usize) {
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
        let Some(process) = &self.hosts[node].process else { return self.queue.arm(Timer::Engine(node), None) };
        self.watch.stepped(now, node, &process.engine);
        let due = process.engine.poll_timeout();
        self.queue.arm(Timer::Engine(node), due);
    }

    fn send_packet(&mut self, node: usize, to: std::net::SocketAddr, bytes: &[u8]) {
        if let Some(process) = &self.hosts[node].process {
            self.watch.sent(self.now, node, &process.engine, bytes.len());
        }
        let Some(target) = self.by_gossip.get(&to).copied() else { return };
        for delay in self.network.datagram(self.now, &node, &target, bytes.len()) {
            let packet = crate::delivery::Delivery::Packet { from: node, bytes: bytes.to_vec() };
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

    /// Sends a request over the peer's connection, or as soon as there is one.
    pub(crate) fn ask(&mut self, node: usize, key: &PeerKey, address: &NodeAddress, job: Job, hurry: bool) {
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

    /// Tells the engine how a request ended.
    pub(crate) fn finish(&mut self, node: usize, job: Job, result: Result<(Vec<u8>, Duration), Reason>) {
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

    pub(crate) fn tell_engine(&mut self, node: usize, event: &PeerEvent) {
        let now = self.now;
        if let Some(process) = &mut self.hosts[node].process {
            process.engine.handle_peer(now, event);
            self.talkative.insert(node);
        }
    }
}
