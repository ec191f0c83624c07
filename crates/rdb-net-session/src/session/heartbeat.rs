//! Heartbeats in packets of their own, where the connection carries such: neither a lost packet nor a full stream holds them up.
//!
//! A packet may get lost, so a question that nothing came back for is asked again on the System lane, whose stream repeats what
//! is lost, after a quarter of the patience. A pong in a packet says that the other side lives, and nothing of what was sent
//! before it: it ends no drain.

use std::time::Duration;

use bytes::Bytes;
use rdb_net_types::MessageType;
use rdb_net_wire::{Body, Message, Ping, Pong, control_type, encode_datagram};

use super::{Phase, Session};

/// What waits to leave in packets: of each kind the latest.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    ping_due: Option<u64>,
    pong_due: Option<u64>,
}

impl Session {
    /// Packets travel beside the streams, so heartbeats leave in them; to be told before the hello is read.
    pub fn set_datagrams(&mut self) {
        self.heartbeats = Some(Heartbeats::default());
    }

    /// Asks whether the other side is there.
    pub(super) fn ask(&mut self, now: Duration) {
        let token = self.liveness.ask(now);
        match &mut self.heartbeats {
            Some(heartbeats) => heartbeats.ping_due = Some(token),
            None => self.ping_due = Some(token),
        }
    }

    /// Whether [`take_heartbeat`](Self::take_heartbeat) may have something.
    pub fn wants_heartbeat(&self) -> bool {
        self.heartbeats
            .as_ref()
            .is_some_and(|heartbeats| heartbeats.ping_due.is_some() || heartbeats.pong_due.is_some())
    }

    /// The next packet to be sent beside the streams.
    pub fn take_heartbeat(&mut self, now: Duration) -> Option<(MessageType, Bytes)> {
        let heartbeats = self.heartbeats.as_mut().filter(|_| self.phase == Phase::Up)?;
        if let Some(token) = heartbeats.ping_due.take() {
            return Some((control_type::PING, encode_datagram(&Ping { token })));
        }
        let token = heartbeats.pong_due.take()?;
        let pong = Pong { token, clock_us: self.liveness.wall_us(now) };
        Some((control_type::PONG, encode_datagram(&pong)))
    }

    /// A packet has come beside the streams: it was sent by the other side, so it is there. Returns whether it was a heartbeat,
    /// and for nobody else.
    pub fn handle_datagram(&mut self, now: Duration, message_type: MessageType, body: &Bytes) -> bool {
        self.liveness.received(now);
        self.statistics.bytes_received += (rdb_net_wire::DATAGRAM_HEAD_BYTES + body.len()) as u64;
        self.statistics.received.add(message_type, 1);
        let body = || Body::plain(body.clone());
        // One that cannot be read is none: whoever sent it has shown that it is there.
        match message_type {
            control_type::PING => {
                if let (Some(heartbeats), Ok(Ping { token })) = (&mut self.heartbeats, Ping::decode(&body())) {
                    heartbeats.pong_due = Some(token);
                }
                true
            }
            control_type::PONG => {
                if let Ok(Pong { token, clock_us }) = Pong::decode(&body()) {
                    self.liveness.answered(now, token, clock_us);
                }
                true
            }
            _ => false,
        }
    }

    /// A packet has left.
    pub fn count_datagram_sent(&mut self, message_type: MessageType, bytes: usize) {
        self.statistics.bytes_sent += bytes as u64;
        self.statistics.sent.add(message_type, 1);
    }
}
