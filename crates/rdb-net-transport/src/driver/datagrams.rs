//! Packets beside the streams: read, looked at, and handed to whoever takes them.

use std::task::{Context, Poll};

use rdb_net_wire::read_datagram;

use super::{Driver, Ending, Progress};

/// How many are read in a pass. Nothing else bounds how many without content wait in a connection, so they are many.
const DATAGRAMS_PER_PASS: usize = 1024;

impl Driver {
    /// Reads the packets that are there. Those that come before the hello was accepted are dropped.
    pub(super) fn read_datagrams(&mut self, context: &mut Context<'_>) -> Progress {
        for _ in 0..DATAGRAMS_PER_PASS {
            if self.ending != Ending::Open {
                return Progress::Done;
            }
            let Poll::Ready(packet) = self.io.poll_datagram(context) else { return Progress::Done };
            let node = self.terms.is_up().then(|| self.link.node()).flatten();
            match (node, read_datagram(packet)) {
                (Some(node), Some((message_type, body))) => {
                    let is_heartbeat = self.link.lock().session.handle_datagram(self.now, message_type, &body);
                    if !is_heartbeat {
                        self.owner.inner().datagrams.received(node, message_type, &body);
                    }
                }
                _ => self.owner.inner().datagrams.drop_one(),
            }
        }
        Progress::More
    }

    /// Sends what the session says beside the streams. What is not taken is lost like any other packet.
    pub(super) fn send_heartbeats(&mut self) {
        let Some(datagrams) = &self.link.datagrams else { return };
        loop {
            let Some((message_type, packet)) = self.link.lock().session.take_heartbeat(self.now) else { return };
            let bytes = packet.len();
            if datagrams.send(packet) {
                self.link.lock().session.count_datagram_sent(message_type, bytes);
            }
        }
    }
}
