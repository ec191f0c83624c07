//! The task: packets and time in, packets out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ingress::{Arrival, Ingress};
use crate::machine::PacketMachine;
use crate::passage::Passage;

/// The largest datagram that is read; longer ones are cut, and refused by whoever decodes them.
const PACKET_BYTES_MAX: usize = 2048;
/// Packets of one pass in either direction, so that a flood leaves the clock its turn.
const PACKETS_PER_PASS: usize = 256;
/// After a stall answers wait in the socket beside deadlines that are over: whoever has answered must not be found silent first, so
/// nothing is due before the socket is empty. A flood never leaves it so, and holds the clock up for no more passes than these: several
/// times what a socket's buffer holds.
const PASSES_BEHIND_MAX: u32 = 8;
/// How long the socket rests after an error that is not of one packet.
const PAUSE: Duration = Duration::from_millis(10);

/// What the driver has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GossipStatistics {
    /// Packets given to the socket.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Bytes given to the socket, without the headers below UDP.
    pub bytes_sent: u64,
    /// Bytes received, without the headers below UDP.
    pub bytes_received: u64,
    /// Packets that the socket did not take, and errors that it gave when read.
    pub errors: u64,
    /// The longest that a packet has waited in the socket for this process, in microseconds.
    pub waited_us_max: u64,
}

#[derive(Debug, Default)]
struct Counters {
    packets_sent: AtomicU64,
    packets_received: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    errors: AtomicU64,
    waited_us_max: AtomicU64,
}

#[derive(Debug)]
struct Shared<M> {
    machine: Mutex<M>,
    /// Somebody changed the machine: it may have packets to send, or something due earlier.
    touched: Notify,
    origin: Instant,
    counters: Counters,
}

/// A machine with its clock, shared between the task that drives it and those who ask it.
#[derive(Debug)]
pub struct Gossip<M>(Arc<Shared<M>>);

impl<M> Clone for Gossip<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What one pass leaves to the next, and the memory that they share.
struct Tray {
    ingress: Ingress,
    buffer: Vec<u8>,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
    /// How many passes in a row have left something in the socket.
    behind: u32,
}

impl<M: PacketMachine> Gossip<M> {
    /// The machine's `now` counts from this origin.
    pub fn new(machine: M, origin: Instant) -> Self {
        let shared =
            Shared { machine: Mutex::new(machine), touched: Notify::new(), origin, counters: Counters::default() };
        Self(Arc::new(shared))
    }

    /// Asks or changes the machine; the task looks at it afterwards. The lock is short: no code inside may block.
    pub fn with<T>(&self, change: impl FnOnce(&mut M, Duration) -> T) -> T {
        let result = self.look(change);
        self.0.touched.notify_one();
        result
    }

    /// Asks the machine, without making the task look at it.
    pub fn look<T>(&self, ask: impl FnOnce(&mut M, Duration) -> T) -> T {
        let mut machine = self.0.machine.lock().expect("no code panics while it holds the machine");
        ask(&mut machine, self.0.origin.elapsed())
    }

    /// What was moved so far.
    pub fn statistics(&self) -> GossipStatistics {
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GossipStatistics {
            packets_sent: read(&counters.packets_sent),
            packets_received: read(&counters.packets_received),
            bytes_sent: read(&counters.bytes_sent),
            bytes_received: read(&counters.bytes_received),
            errors: read(&counters.errors),
            waited_us_max: read(&counters.waited_us_max),
        }
    }

    /// Drives the machine over this socket, through this passage, until cancelled. `after` is called under the lock at the end
    /// of every pass, to take out what the machine has to tell.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses packets in flight, nothing else.
    pub async fn drive(
        self,
        socket: UdpSocket,
        mut passage: impl Passage,
        cancel: CancellationToken,
        mut after: impl FnMut(&mut M, Duration),
    ) {
        let mut tray =
            Tray { ingress: Ingress::new(), buffer: vec![0; PACKET_BYTES_MAX], outgoing: Vec::new(), behind: 0 };
        loop {
            let next = self.pass(&socket, &mut passage, &mut tray, &mut after);
            let now = self.0.origin.elapsed();
            for (to, packet) in tray.outgoing.drain(..) {
                if let Some(datagram) = passage.outgoing(now, to, &packet) {
                    self.send(&socket, to, datagram);
                }
            }
            if tray.behind > 0 {
                // A socket that is never empty would keep this task, and its thread, from everything else.
                tokio::task::yield_now().await;
            }
            let now = self.0.origin.elapsed();
            let rest = next.map_or(Duration::from_secs(3600), |next| next.saturating_sub(now));
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.0.touched.notified() => {}
                ready = socket.readable() => if ready.is_err() {
                    self.0.counters.errors.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                },
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// One pass: what has arrived, then what is due, then what goes out. Returns when something is due next.
    fn pass(
        &self,
        socket: &UdpSocket,
        passage: &mut impl Passage,
        tray: &mut Tray,
        after: &mut impl FnMut(&mut M, Duration),
    ) -> Option<Duration> {
        let Tray { ingress, buffer, outgoing, behind } = tray;
        self.look(|machine, now| {
            let (mut is_drained, mut waited) = (false, Duration::ZERO);
            for _ in 0..PACKETS_PER_PASS {
                match ingress.receive(socket, buffer, now) {
                    Ok(Arrival { length, from, age }) => {
                        self.0.counters.packets_received.fetch_add(1, Ordering::Relaxed);
                        self.0.counters.bytes_received.fetch_add(length as u64, Ordering::Relaxed);
                        if age > waited {
                            waited = age;
                            self.0.counters.waited_us_max.fetch_max(age.as_micros() as u64, Ordering::Relaxed);
                            machine.note_ingress_age(now, age);
                        }
                        if let Some(packet) = passage.incoming(now, from, &mut buffer[..length]) {
                            machine.handle_packet(now, from, packet);
                        }
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        is_drained = true;
                        break;
                    }
                    // An error of an earlier packet of ours (ICMP) surfaces here; it says nothing of the socket.
                    Err(_) => {
                        self.0.counters.errors.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            *behind = if is_drained { 0 } else { *behind + 1 };
            if behind.is_multiple_of(PASSES_BEHIND_MAX) && machine.poll_timeout().is_some_and(|due| due <= now) {
                machine.handle_timeout(now);
            }
            for _ in 0..PACKETS_PER_PASS {
                let mut packet = Vec::new();
                let Some(to) = machine.poll_transmit(now, &mut packet) else { break };
                outgoing.push((to, packet));
            }
            after(machine, now);
            // A full pass left something behind: the next one follows at once.
            if !is_drained || outgoing.len() == PACKETS_PER_PASS { Some(now) } else { machine.poll_timeout() }
        })
    }

    fn send(&self, socket: &UdpSocket, to: SocketAddr, packet: &[u8]) {
        let counters = &self.0.counters;
        match socket.try_send_to(packet, to) {
            Ok(_) => {
                counters.packets_sent.fetch_add(1, Ordering::Relaxed);
                counters.bytes_sent.fetch_add(packet.len() as u64, Ordering::Relaxed);
            }
            // Gossip is repeated: a packet that the socket does not take now is a lost packet.
            Err(_) => {
                counters.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
