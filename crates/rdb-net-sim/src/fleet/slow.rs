//! A member that is too slow: it decides, but nothing gets in or out of it until it catches up.
//!
//! Lifeguard (Dadgar, Phillips, Currey; arXiv 1707.00788), section V: an anomalous member blocks just before each send and just
//! after each receive until the end of its anomaly, and its timers go on. Nothing is lost, all of it comes late.

use std::time::Duration;

use crate::fleet::agenda::Item;
use crate::fleet::mail::Packet;
use crate::fleet::{Fleet, address_of};

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Slow {
    received: Vec<(u32, Duration, Vec<u8>)>,
    to_send: Vec<(u32, Vec<u8>)>,
}

impl Slow {
    pub(crate) fn arrived(&mut self, from: u32, at: Duration, bytes: &[u8]) {
        self.received.push((from, at, bytes.to_vec()));
    }

    pub(crate) fn sends(&mut self, to: u32, bytes: &[u8]) {
        self.to_send.push((to, bytes.to_vec()));
    }
}

impl Fleet {
    /// From here on nothing gets in or out of a member. A member that is slow already goes on being so.
    pub fn slow_down(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.slow.get_or_insert_default();
        }
    }

    /// Whether nothing gets in or out of a member.
    pub fn is_slow(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.slow.is_some())
    }

    /// A member catches up: what it had to send leaves it, then it takes what has waited, which it may see to be old.
    pub fn catch_up(&mut self, node: usize) {
        let now = self.now;
        let Some(Slow { received, to_send }) = self.nodes.get_mut(node).and_then(|node| node.slow.take()) else {
            return;
        };
        let network = self.config.network;
        for (to, bytes) in to_send {
            if self.is_cut(node, to as usize) || network.loss > 0.0 && self.random.chance(network.loss) {
                continue;
            }
            let at = now + self.random.duration(network.latency, network.latency + network.jitter);
            let place = self.mail.post(Packet { from: node as u32, to, bytes });
            self.agenda.push(at, Item::Packet(place));
        }
        for (from, at, bytes) in received {
            let Some(member) = self.nodes.get_mut(node).filter(|member| member.is_up) else { return };
            member.swim.note_ingress_age(now, now - at);
            self.trace.bytes(now, node, 3, &bytes);
            // Whatever is dropped is counted by the member; here nothing is to be done about it.
            let _ = member.swim.handle_packet(now, address_of(from as usize), &bytes);
            self.flush(node, false);
        }
        self.exchange_views();
    }
}
