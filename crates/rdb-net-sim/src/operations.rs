//! What is done to hosts, processes and the network.

use std::collections::{BTreeMap, BTreeSet};

use rdb_net_engine::{Engine, EngineError};
use rdb_net_session::{CloseReason, Identity, Loss};
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeAddress, NodeInfo, ProtocolRange};

use crate::host::{Life, Process};
use crate::queue::{End, StreamId, Timer};
use crate::simulation::Simulation;

/// Unix time at the origin of the simulated clock, in seconds: generations begin here.
const ORIGIN_UNIX_SECONDS: u32 = 1_700_000_000;

impl Simulation {
    /// Starts a process on a host that has none: the first one, or a later life.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the settings are out of range.
    ///
    /// # Panics
    ///
    /// Where the host has a process.
    pub fn start(&mut self, node: usize) -> Result<(), EngineError> {
        assert!(self.hosts[node].process.is_none(), "the host has a process");
        let (boot, seed) = (BootId(self.random.next_u64()), self.random.next_u64());
        let host = &mut self.hosts[node];
        // A node's clock has passed at least a second between two of its starts, or it takes its stored generation + 1.
        let generation = ORIGIN_UNIX_SECONDS + self.now.as_secs() as u32 + host.lives;
        host.lives += 1;
        host.life = Life::Running;
        let mut info = NodeInfo::new(host.id.clone(), host.address.clone());
        info.boot = boot;
        info.incarnation = Incarnation::first_of(generation);
        info.version = "0.1.0".to_owned();
        let cluster = ClusterId::new("simulated").expect("letters");
        let identity = Identity {
            cluster: cluster.clone(),
            node: host.id.clone(),
            incarnation: info.incarnation,
            boot,
            address: host.address.clone(),
            protocol: ProtocolRange::CURRENT,
            software: info.version.clone(),
            token: Vec::new(),
        };
        let gossip = host.gossip;
        let mut engine = Engine::new(self.config.engine.clone(), cluster, info, gossip, seed, self.now)?;
        self.watch.started(node, &engine);
        let seeds: Vec<NodeAddress> = self.hosts[..self.config.seeds].iter().map(|host| host.address.clone()).collect();
        engine.join(self.now, seeds);
        self.hosts[node].process = Some(Process {
            engine,
            identity,
            boot,
            peers: BTreeMap::new(),
            streams: BTreeSet::new(),
            pending: BTreeMap::new(),
            peers_made: 0,
        });
        self.trace.bytes(self.now, node, 1, &boot.0.to_le_bytes());
        self.talkative.insert(node);
        self.pump();
        Ok(())
    }

    /// Kills the process: its connections are reset or end, and the host refuses new ones.
    pub fn crash(&mut self, node: usize) {
        self.watch.excuse(node);
        self.end_process(node, Life::Crashed);
        let streams: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.dialer == node || stream.acceptor == node)
            .map(|(id, _)| *id)
            .collect();
        for id in streams {
            for end in [End::Dialer, End::Acceptor] {
                let Some(stream) = self.streams.get_mut(&id) else { continue };
                if stream.host(end) == node && stream.socket(end).take().is_some() {
                    // Unread bytes make the kernel reset the connection; without them it ends it.
                    let loss = if self.network.flip() { Loss::Reset } else { Loss::Eof };
                    self.send_end(id, end, loss);
                }
            }
            self.drop_stream_if_gone(id);
        }
    }

    /// Takes the power: nothing answers, and nobody is told.
    pub fn power_off(&mut self, node: usize) {
        self.watch.excuse(node);
        self.end_process(node, Life::Off);
        for stream in self.streams.values_mut() {
            for end in [End::Dialer, End::Acceptor] {
                if stream.host(end) == node {
                    *stream.socket(end) = None;
                }
            }
        }
        self.streams.retain(|_, stream| !stream.is_gone());
    }

    /// Stops the process as SIGSTOP does: the host goes on taking what arrives.
    pub fn pause(&mut self, node: usize) {
        if self.hosts[node].life == Life::Running {
            self.hosts[node].life = Life::Paused;
        }
    }

    /// Lets the process go on: first with what has arrived, then with what is due.
    pub fn wake(&mut self, node: usize) {
        if self.hosts[node].life != Life::Paused {
            return;
        }
        self.hosts[node].life = Life::Running;
        self.hosts[node].backlog_bytes = 0;
        for delivery in std::mem::take(&mut self.hosts[node].backlog) {
            self.deliver(node, delivery);
            self.pump();
        }
        self.wake_timers(node);
        self.pump();
    }

    /// Kills the process and starts another one on the host.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the settings are out of range.
    pub fn restart(&mut self, node: usize) -> Result<(), EngineError> {
        if self.hosts[node].process.is_some() {
            self.crash(node);
        }
        self.start(node)
    }

    /// Lets the node leave the cluster; its process ends when the farewell is over.
    pub fn leave(&mut self, node: usize) {
        let now = self.now;
        if let Some(process) = &mut self.hosts[node].process {
            process.engine.leave(now);
            self.talkative.insert(node);
            self.pump();
        }
    }

    /// Ends the process without a farewell to the cluster, but with one on every connection.
    pub fn stop(&mut self, node: usize) {
        self.watch.excuse(node);
        self.close_all(node);
        self.pump();
        self.end_process(node, Life::Stopped);
    }

    pub(crate) fn close_all(&mut self, node: usize) {
        let ends: Vec<(StreamId, End)> = self.ends_of(node);
        for (id, end) in ends {
            if let Some(socket) = self.streams.get_mut(&id).and_then(|stream| stream.socket(end).as_mut()) {
                socket.session.close(CloseReason::Local);
                self.busy.insert((id, end));
            }
        }
    }

    pub(crate) fn ends_of(&self, node: usize) -> Vec<(StreamId, End)> {
        let Some(process) = &self.hosts[node].process else { return Vec::new() };
        let ends = |id: &StreamId| {
            let stream = self.streams.get(id)?;
            Some((*id, if stream.dialer == node { End::Dialer } else { End::Acceptor }))
        };
        process.streams.iter().filter_map(ends).collect()
    }

    pub(crate) fn end_process(&mut self, node: usize, life: Life) {
        let host = &mut self.hosts[node];
        host.life = life;
        host.backlog.clear();
        host.backlog_bytes = 0;
        self.trace.bytes(self.now, node, 2, &[life as u8]);
        self.queue.arm(Timer::Engine(node), None);
        self.talkative.remove(&node);
        if let Some(process) = host.process.take() {
            for key in process.peers.into_keys() {
                self.queue.arm(Timer::Peer(node, key), None);
            }
            for id in process.streams {
                for end in [End::Dialer, End::Acceptor] {
                    if self.streams.get(&id).is_some_and(|stream| stream.host(end) == node) {
                        self.queue.arm(Timer::Session(id, end), None);
                        self.busy.remove(&(id, end));
                    }
                }
            }
        }
    }

    /// Cuts the link from one node to another, one way.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.network.cut(from, to);
    }

    /// Cuts every link between the two groups, both ways.
    pub fn cut(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in pairs(left, right) {
            self.network.cut(a, b);
            self.network.cut(b, a);
        }
    }

    /// Mends every link between the two groups, both ways. What the connections have held arrives.
    pub fn mend(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in pairs(left, right) {
            self.network.mend(a, b);
            self.network.mend(b, a);
        }
        self.release_held();
        self.pump();
    }

    /// From here on this share of datagrams is lost.
    pub fn set_loss(&mut self, loss: f64) {
        self.network.default_link().loss = loss;
    }

    /// A failure of this node that others tell of is no violation from here on: the scenario gives them reason.
    pub fn excuse(&mut self, node: usize) {
        self.watch.excuse(node);
    }
}

fn pairs<'a>(left: &'a [usize], right: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    left.iter().flat_map(move |a| right.iter().map(move |b| (*a, *b)))
}
