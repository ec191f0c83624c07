//! What is done to hosts, processes and the network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdb_net_engine::{Engine, EngineError};
use rdb_net_faults::LinkFaults;
use rdb_net_session::{CloseReason, Identity, Loss};
use rdb_net_types::{BootId, ClusterId, Incarnation, NodeAddress, NodeInfo, ProtocolRange};
use rdb_swim::Snapshot;

use crate::delivery::{End, StreamId, Timer};
use crate::host::{Host, Life, Process};
use crate::invariant::scene::Reason;
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
        self.start_process(node, 0, None)
    }

    /// Starts a later life of a process that had its state in a file: it begins with the members that the former one knew when it ended,
    /// and calls them as it calls the seeds. On a host that had none it is [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the settings are out of range.
    ///
    /// # Panics
    ///
    /// Where the host has a process.
    pub fn start_with_memory(&mut self, node: usize) -> Result<(), EngineError> {
        let memory = self.hosts[node].memory.take();
        self.start_process(node, 0, memory)
    }

    /// Starts a process whose clock is so many seconds slow, and which has not stored its last generation: it must learn from others
    /// that it had a higher one.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the settings are out of range.
    ///
    /// # Panics
    ///
    /// Where the host has a process.
    pub fn start_with_clock(&mut self, node: usize, slow_secs: u32) -> Result<(), EngineError> {
        self.start_process(node, slow_secs, None)
    }

    fn start_process(&mut self, node: usize, slow_secs: u32, memory: Option<Snapshot>) -> Result<(), EngineError> {
        assert!(self.hosts[node].process.is_none(), "the host has a process");
        let (boot, seed) = (BootId(self.random.next_u64()), self.random.next_u64());
        let host = &mut self.hosts[node];
        // A node's clock has passed at least a second between two of its starts, or it takes its stored generation + 1.
        let generation = ORIGIN_UNIX_SECONDS + self.now.as_secs() as u32 + host.lives - slow_secs;
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
        self.watch.started(self.now, node, &engine);
        let remembers = |host: &Host| {
            let members = memory.iter().flat_map(|memory| &memory.members);
            members.into_iter().any(|member| member.id == host.id)
        };
        let called = self.hosts.iter().enumerate().filter(|(at, host)| *at < self.config.seeds || remembers(host));
        let called: Vec<NodeAddress> = called.map(|(_, host)| host.address.clone()).collect();
        if let Some(memory) = memory {
            engine.recall(self.now, memory);
        }
        engine.join(self.now, called);
        #[cfg(feature = "mutations")]
        if let Some(mutation) = self.config.mutation {
            engine.plant(mutation);
        }
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
        self.excuse_down(node);
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
        self.excuse_down(node);
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
            self.queue.arm(Timer::Processing(node), None);
            self.watch.scene.paused(node);
            self.look_at_weather();
        }
    }

    /// Lets the process go on: first with what has arrived, then with what is due.
    pub fn wake(&mut self, node: usize) {
        if self.hosts[node].life != Life::Paused {
            return;
        }
        self.hosts[node].life = Life::Running;
        self.watch.scene.woken(node, self.now);
        self.look_at_weather();
        if self.hosts[node].processing.is_zero() {
            self.hosts[node].backlog_bytes = 0;
            for (_, delivery) in std::mem::take(&mut self.hosts[node].backlog) {
                self.deliver(node, delivery);
                self.pump();
            }
        }
        self.take_up(node);
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
        self.excuse_down(node);
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
        host.busy_until = Duration::ZERO;
        self.queue.arm(Timer::Processing(node), None);
        self.watch.scene.ended(node, self.now);
        self.look_at_weather();
        self.trace.bytes(self.now, node, 2, &[life as u8]);
        self.queue.arm(Timer::Engine(node), None);
        self.talkative.remove(&node);
        if let Some(process) = self.hosts[node].process.take() {
            self.hosts[node].memory = Some(process.engine.membership().snapshot());
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
        self.look_at_weather();
    }

    /// Mends the link from one node to another, one way. What the connections have held arrives.
    pub fn mend_one_way(&mut self, from: usize, to: usize) {
        self.network.mend(from, to);
        self.look_at_weather();
        self.release_held();
        self.pump();
    }

    /// Cuts every link between the two groups, both ways.
    pub fn cut(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in pairs(left, right) {
            self.network.cut(a, b);
            self.network.cut(b, a);
        }
        self.look_at_weather();
    }

    /// Mends every link between the two groups, both ways. What the connections have held arrives.
    pub fn mend(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in pairs(left, right) {
            self.network.mend(a, b);
            self.network.mend(b, a);
        }
        self.look_at_weather();
        self.release_held();
        self.pump();
    }

    /// From here on the link from one node to another is so, one way, whatever the others are.
    pub fn set_link(&mut self, from: usize, to: usize, faults: LinkFaults) {
        self.network.set_link(from, to, faults);
        self.look_at_weather();
    }

    /// From here on this share of datagrams is lost, on every link that was not set by itself.
    pub fn set_loss(&mut self, loss: f64) {
        self.network.default_link().loss = loss;
        self.look_at_weather();
    }

    /// From here on the network is so: all links alike, but nothing passes over these, and of what goes to and from these nodes
    /// these shares are lost besides. What connections have held and passes again arrives.
    pub(crate) fn set_weather(
        &mut self,
        weather: LinkFaults,
        cuts: BTreeSet<(usize, usize)>,
        losses: &[(usize, f64, f64)],
    ) {
        *self.network.default_link() = weather;
        self.network.reset_links();
        cuts.into_iter().for_each(|(from, to)| self.network.cut(from, to));
        for (node, ingress, egress) in losses {
            for other in (0..self.hosts.len()).filter(|other| other != node) {
                let mut lose = |from: usize, to: usize, loss: f64| {
                    let link = self.network.link(&from, &to);
                    self.network.set_link(from, to, LinkFaults { loss: link.loss.max(loss), ..link });
                };
                lose(other, *node, *ingress);
                lose(*node, other, *egress);
            }
        }
        self.look_at_weather();
        self.release_held();
        self.pump();
    }

    pub(crate) fn excuse_pairs(
        &mut self,
        reason: Reason,
        observers: Option<BTreeSet<usize>>,
        subjects: Option<BTreeSet<usize>>,
    ) {
        self.watch.scene.excuse(reason, observers, subjects);
    }

    pub(crate) fn pardon(&mut self, reason: Reason) {
        self.watch.scene.pardon(reason, self.now);
    }

    /// An operator drops a member that has failed or left, at one node, which tells the others. Gives whether it was held so.
    pub fn forget_member(&mut self, by: usize, of: usize) -> bool {
        let (now, id) = (self.now, self.hosts[of].id.clone());
        let Some(process) = &mut self.hosts[by].process else { return false };
        let is_dropped = process.engine.forget(now, &id);
        self.talkative.insert(by);
        self.pump();
        is_dropped
    }

    /// Whether nothing is lost and every process that there is runs and is not slow, tells the rules.
    pub(crate) fn look_at_weather(&mut self) {
        let is_well = |host: &Host| host.life != Life::Paused && host.processing.is_zero();
        let is_calm = self.network.loses_nothing() && self.hosts.iter().all(is_well);
        self.watch.scene.set_calm(is_calm, self.now);
    }

    /// A failure of this node that others tell of is no violation from here on: the scenario gives them reason.
    pub fn excuse(&mut self, node: usize) {
        self.watch.scene.excuse(Reason::Scenario, None, Some(BTreeSet::from([node])));
    }

    fn excuse_down(&mut self, node: usize) {
        self.watch.scene.excuse(Reason::Down(node), None, Some(BTreeSet::from([node])));
    }
}

fn pairs<'a>(left: &'a [usize], right: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    left.iter().flat_map(move |a| right.iter().map(move |b| (*a, *b)))
}
