//! What is done to hosts and links.

use std::time::Duration;

use super::host::{Due, Host};
use super::{Birth, LinkFaults, Machine, World};

impl<M: Machine> World<M> {
    /// Starts a machine on a host: the factory makes it. Nothing happens where one runs.
    pub fn start(&mut self, host: usize) {
        if self.hosts[host].machine.is_none() {
            let birth = self.birth(host);
            let machine = (self.factory)(&birth);
            self.begin(host, machine);
        }
    }

    /// Starts a machine on every host.
    pub fn start_all(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.start(host));
    }

    /// Starts a machine on a host that is made here and not by the factory: from what a former life has stored, say. One that runs crashes
    /// before.
    pub fn start_with(&mut self, host: usize, make: impl FnOnce(&Birth) -> M) {
        self.crash(host);
        let birth = self.birth(host);
        self.begin(host, make(&birth));
    }

    /// Ends a machine: its state is gone, with what waits at its host, and the host is neither paused nor slow any more. What it has
    /// sent arrives. Gives what was lost, for those that would have stored some of it; `None` where none ran.
    pub fn crash(&mut self, host: usize) -> Option<M> {
        let now = self.now;
        let held = &mut self.hosts[host];
        let machine = held.machine.take()?;
        *held = Host { clock: held.clock, lives: held.lives, processing: held.processing, ..Host::new() };
        self.queue.arm(Due::Machine(host), None);
        self.queue.arm(Due::Packet(host), None);
        self.trace.bytes(now, host, 2, &[]);
        self.stepped(host);
        Some(machine)
    }

    /// Ends a machine and starts another one.
    pub fn restart(&mut self, host: usize) {
        self.crash(host);
        self.start(host);
    }

    /// A machine stands still, as SIGSTOP makes a process do: packets wait at the host, and nothing is done that is due.
    pub fn pause(&mut self, host: usize) {
        self.hosts[host].is_paused = true;
        self.queue.arm(Due::Packet(host), None);
        self.trace.bytes(self.now, host, 5, &[]);
        self.plan(host);
    }

    /// Lets a machine go on: first with what has waited, then with what is due.
    pub fn wake(&mut self, host: usize) {
        if std::mem::take(&mut self.hosts[host].is_paused) {
            self.trace.bytes(self.now, host, 6, &[]);
            self.catch_up_with_waiting(host);
        }
    }

    /// From here on nothing gets in or out of a host, and what is due is done: Lifeguard's anomaly (Dadgar, Phillips, Currey; arXiv
    /// 1707.00788, section V). Nothing is lost, all of it comes late.
    pub fn slow_down(&mut self, host: usize) {
        self.hosts[host].is_slow = true;
        self.queue.arm(Due::Packet(host), None);
        self.trace.bytes(self.now, host, 7, &[]);
    }

    /// A host catches up: what it had to send leaves it, then its machine takes what has waited.
    pub fn catch_up(&mut self, host: usize) {
        if std::mem::take(&mut self.hosts[host].is_slow) {
            self.trace.bytes(self.now, host, 8, &[]);
            for (to, bytes) in std::mem::take(&mut self.hosts[host].outbox) {
                self.send(host, to, &bytes);
            }
            self.catch_up_with_waiting(host);
        }
    }

    /// From here on a machine takes so long for each packet, one after the other; meanwhile others wait, and so does what is due. What
    /// comes faster than that fills the buffer.
    pub fn set_processing(&mut self, host: usize, time: Duration) {
        self.hosts[host].processing = time;
    }

    /// From here on a host's clock shows this time and what comes after it. A clock that is set back makes what is due due later.
    pub fn set_clock(&mut self, host: usize, shows: Duration) {
        let now = self.now;
        self.hosts[host].clock.set(now, shows);
        self.plan(host);
    }

    /// From here on a host's clock is too fast by so many millionths, or too slow where they are below zero. It shows what it has shown.
    ///
    /// # Panics
    ///
    /// Where the clock would stand still or go back: at -1,000,000 and below.
    pub fn set_drift(&mut self, host: usize, drift_ppm: i32) {
        assert!(drift_ppm > -1_000_000, "a clock moves on");
        let now = self.now;
        self.hosts[host].clock.set_drift(now, drift_ppm);
        self.plan(host);
    }

    fn birth(&mut self, host: usize) -> Birth {
        let seed = self.random.next_u64();
        let (held, hosts) = (&mut self.hosts[host], self.config.hosts);
        held.lives += 1;
        Birth { host, hosts, former_lives: held.lives - 1, now: held.clock.shows(self.now), seed }
    }

    fn begin(&mut self, host: usize, machine: M) {
        self.hosts[host].machine = Some(machine);
        self.trace.bytes(self.now, host, 1, &[]);
        self.flush(host);
        self.stepped(host);
    }

    fn catch_up_with_waiting(&mut self, host: usize) {
        if self.hosts[host].is_held_up() {
            return;
        }
        if self.hosts[host].processing.is_zero() {
            self.hosts[host].backlog_bytes = 0;
            for packet in std::mem::take(&mut self.hosts[host].backlog) {
                self.deliver(host, &packet, self.now - packet.arrived);
            }
        }
        self.take_up_waiting(host);
        self.plan(host);
    }
}

impl<M> World<M> {
    /// What a host's clock shows.
    pub fn clock(&self, host: usize) -> Duration {
        self.hosts[host].clock.shows(self.now)
    }

    /// From here on all links are so that were not set by themselves.
    pub fn set_links(&mut self, faults: LinkFaults) {
        *self.network.default_link() = faults;
    }

    /// From here on the link from one host to another is so, one way.
    pub fn set_link(&mut self, from: usize, to: usize, faults: LinkFaults) {
        self.network.set_link(from, to, faults);
    }

    /// Cuts the link from one host to another, one way. What is under way arrives.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.network.cut(from, to);
    }

    /// Mends the link from one host to another, one way.
    pub fn mend_one_way(&mut self, from: usize, to: usize) {
        self.network.mend(from, to);
    }

    /// Cuts every link between the two groups, both ways.
    pub fn cut(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            self.network.cut(a, b);
            self.network.cut(b, a);
        }
    }

    /// Mends every link between the two groups, both ways.
    pub fn mend(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            self.network.mend(a, b);
            self.network.mend(b, a);
        }
    }
}
