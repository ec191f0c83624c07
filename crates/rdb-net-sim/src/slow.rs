//! A process that is slow: whatever arrives takes its time, one after the other, and what is due waits for what is at hand.

use std::time::Duration;

use crate::delivery::{Delivery, Timer};
use crate::host::Life;
use crate::simulation::Simulation;

impl Simulation {
    /// From here on a node's process takes so long for each packet and each piece of a connection, one after the other. Meanwhile others
    /// wait, and so does what is due; the host's kernel is as fast as ever, and holds what its buffer holds. Such a process may be
    /// failed by others with reason where it is slower than what comes: see [`Simulation::excuse`].
    pub fn set_processing(&mut self, node: usize, time: Duration) {
        self.hosts[node].processing = time;
        self.look_at_weather();
    }

    /// Something arrives at a host whose process is slow.
    pub(crate) fn queue_for_slow(&mut self, node: usize, delivery: Delivery) {
        let is_idle = self.hosts[node].backlog.is_empty();
        self.keep_for_later(node, delivery);
        if is_idle {
            self.take_up(node);
        }
    }

    /// The process begins with the first thing that waits.
    pub(crate) fn take_up(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.life == Life::Running && !host.backlog.is_empty() {
            host.busy_until = self.now + host.processing;
            let done = Some(host.busy_until);
            self.queue.arm(Timer::Processing(node), done);
        }
    }

    /// The process is done with the first thing that waits.
    pub(crate) fn processed(&mut self, node: usize) {
        let now = self.now;
        let host = &mut self.hosts[node];
        if let Some((arrived, delivery)) = host.backlog.pop_front() {
            if let (Delivery::Packet { bytes, .. }, Some(process)) = (&delivery, &mut host.process) {
                host.backlog_bytes -= bytes.len();
                // How long it has waited until the process took it up.
                process.engine.note_ingress_age(now, (now - arrived).saturating_sub(host.processing));
            }
            self.deliver(node, delivery);
            self.pump();
        }
        self.take_up(node);
    }

    /// Until when a process has to do with something else, where a timer of its own is due before that.
    pub(crate) fn busy_until(&mut self, timer: &Timer) -> Option<Duration> {
        let node = match timer {
            Timer::Engine(node) | Timer::Peer(node, _) => *node,
            Timer::Session(id, end) => self.streams.get(id)?.host(*end),
            Timer::Processing(_) => return None,
        };
        let free = self.hosts[node].busy_until;
        (free > self.now).then_some(free)
    }
}
