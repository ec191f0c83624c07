//! A process's peers: who is dialled, when, and what a dial that fails means to those who wait for it.

use rdb_net_peer::{Action, DialFailure, Failure, Peer, PeerEvent, Slot};
use rdb_net_session::{Loss, Session, Side};
use rdb_net_types::{NodeAddress, NodeId, Reason};

use crate::delivery::{End, PeerKey, StreamId, Timer};
use crate::host::PeerSlot;
use crate::simulation::Simulation;
use crate::stream::Socket;

impl Simulation {
    pub(crate) fn slot(&mut self, node: usize, key: &PeerKey, address: &NodeAddress) -> Option<&mut PeerSlot> {
        let config = self.config.peer;
        let process = self.hosts[node].process.as_mut()?;
        if !process.peers.contains_key(key) {
            process.peers_made += 1;
            let machine = Peer::new(config, process.boot.0 ^ process.peers_made);
            let slot = PeerSlot { machine, address: address.clone(), stream: None, is_up: false, waiting: Vec::new() };
            process.peers.insert(key.clone(), slot);
        }
        process.peers.get_mut(key)
    }

    /// Wants a connection, at once where `hurry` says so. Gives whether one is up or under way.
    pub(crate) fn want(&mut self, node: usize, key: &PeerKey, address: &NodeAddress, hurry: bool) -> bool {
        let now = self.now;
        let Some(slot) = self.slot(node, key, address) else { return false };
        if slot.stream.is_none() {
            slot.address = address.clone();
        }
        if hurry {
            slot.machine.hurry(now);
        }
        let is_possible = slot.is_up || slot.machine.want(now, Slot::FIRST).is_ok();
        self.drive_peer(node, key);
        is_possible
    }

    pub(crate) fn forget(&mut self, node: usize, key: &PeerKey) {
        self.queue.arm(Timer::Peer(node, key.clone()), None);
        let now = self.now;
        let Some(slot) = self.hosts[node].process.as_mut().and_then(|process| process.peers.remove(key)) else {
            return;
        };
        if let Some(id) = slot.stream
            && let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(End::Dialer).as_mut())
        {
            socket.session.drain(now);
            self.busy.insert((id, End::Dialer));
        }
        slot.waiting.into_iter().for_each(|job| self.finish(node, job, Err(Reason::Cancelled)));
    }

    /// Ends a connection that nobody keeps and nobody uses.
    pub(crate) fn release(&mut self, node: usize, key: &PeerKey) {
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
        let Some(slot) = self.hosts[node].process.as_mut().and_then(|process| process.peers.get_mut(key)) else {
            return;
        };
        let action = loop {
            match slot.machine.poll_action(now) {
                // By default no connection is idle or old: a process releases by itself what it does not use.
                Action::Look(of) => slot.machine.looked(now, of, true),
                action => break action,
            }
        };
        match action {
            Action::None | Action::Look(_) | Action::Drain(..) => self.queue.arm(Timer::Peer(node, key.clone()), None),
            Action::WaitUntil(at) => self.queue.arm(Timer::Peer(node, key.clone()), Some(at)),
            Action::Dial(_) => {
                let acceptor = self.by_address.get(&slot.address).copied();
                let stream = self.dial(node, acceptor, key.clone());
                if let Some(slot) = self.slot_of(node, key) {
                    slot.stream = Some(stream);
                }
            }
        }
    }

    pub(crate) fn slot_of(&mut self, node: usize, key: &PeerKey) -> Option<&mut PeerSlot> {
        self.hosts[node].process.as_mut()?.peers.get_mut(key)
    }

    /// The slot that waits for this dial.
    pub(crate) fn dialing_slot(&mut self, node: usize, id: StreamId) -> Option<(PeerKey, &mut PeerSlot)> {
        let process = self.hosts[node].process.as_mut()?;
        let (key, slot) = process.peers.iter_mut().find(|(_, slot)| slot.stream == Some(id))?;
        Some((key.clone(), slot))
    }

    pub(crate) fn dial_answered(&mut self, node: usize, id: StreamId, is_taken: bool) {
        if !is_taken {
            return self.dial_failed(node, id, DialFailure::Refused);
        }
        let Some((key, _)) = self.dialing_slot(node, id) else { return self.send_end(id, End::Dialer, Loss::Reset) };
        let target = node_of(&key);
        let Some(process) = &mut self.hosts[node].process else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let session =
            Session::new(self.config.session.clone(), process.identity.clone(), Side::Dialer { target }, self.now);
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
        slot.machine.handle_dial_failed(now, Slot::FIRST, failure);
        let (address, waiting) = (slot.address.clone(), std::mem::take(&mut slot.waiting));
        if failure == DialFailure::Refused {
            self.streams.remove(&id);
        }
        let of = node_of(&key);
        waiting.into_iter().for_each(|job| self.finish(node, job, Err(Reason::Unreachable)));
        self.tell_engine(node, &PeerEvent::DialFailed { node: of, address, failure: Failure::Dial(failure) });
        self.drive_peer(node, &key);
    }
}

/// The node that is meant; a seed's is not known.
pub(crate) fn node_of(key: &PeerKey) -> Option<NodeId> {
    match key {
        PeerKey::Node(node) => Some(node.clone()),
        PeerKey::Seed(_) => None,
    }
}
