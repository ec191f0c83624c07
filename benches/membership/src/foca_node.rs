//! A node of foca, as plain as one can be: one thread, one socket, one heap of timers, the settings for a local network.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use foca::{AccumulatingRuntime, Config, Foca, Identity, OwnedNotification, PostcardCodec, Timer};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How often the seed is called on until anybody is known.
const CALL_AGAIN: Duration = Duration::from_secs(1);

/// An address, and which life of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Id {
    address: SocketAddr,
    life: u64,
}

impl Identity for Id {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { address: self.address, life: self.life.wrapping_add(1) })
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.life > other.life
    }
}

type Machine = Foca<Id, PostcardCodec, StdRng, foca::NoCustomBroadcast>;

/// Timers in the order of their deadlines; of those of the same time the earlier one first.
#[derive(Default)]
struct Timers {
    heap: BinaryHeap<Reverse<Due>>,
    count: u64,
}

struct Due(Instant, u64, Timer<Id>);

impl Due {
    const fn key(&self) -> (Instant, u64) {
        (self.0, self.1)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Runs until it is killed.
pub(crate) fn run(own: SocketAddr, seed: SocketAddr, nodes: u32) -> Result<(), Error> {
    let socket = UdpSocket::bind(own).map_err(Error::io(format!("foca on {own}")))?;
    let life = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let config = Config::new_lan(NonZeroU32::new(nodes).unwrap_or(NonZeroU32::MIN));
    let mut buffer = vec![0; config.max_packet_size.get()];
    let mut machine: Machine =
        Foca::new(Id { address: own, life }, config, StdRng::from_rng(&mut rand::rng()), PostcardCodec);
    let (mut runtime, mut timers, mut call) = (AccumulatingRuntime::new(), Timers::default(), Instant::now());
    loop {
        let now = Instant::now();
        if machine.num_members() == 0 && own != seed && call <= now {
            call = now + CALL_AGAIN;
            // A call that does not arrive is repeated.
            let _called = machine.announce(Id { address: seed, life: 0 }, &mut runtime);
        }
        while timers.heap.peek().is_some_and(|Reverse(due)| due.0 <= now) {
            if let Some(Reverse(Due(_, _, timer))) = timers.heap.pop() {
                // What it refuses is of a former state.
                let _done = machine.handle_timer(timer, &mut runtime);
            }
        }
        carry_out(&mut runtime, &socket, &mut timers, now)?;
        let next =
            timers.heap.peek().map_or(CALL_AGAIN, |Reverse(due)| due.0.saturating_duration_since(Instant::now()));
        let rest = next.clamp(Duration::from_micros(50), CALL_AGAIN);
        socket.set_read_timeout(Some(rest)).map_err(Error::io("foca"))?;
        if let Ok((length, _)) = socket.recv_from(&mut buffer) {
            // What it refuses is of a former life, or of somebody it does not know.
            let _taken = machine.handle_data(&buffer[..length], &mut runtime);
            carry_out(&mut runtime, &socket, &mut timers, Instant::now())?;
        }
    }
}

fn carry_out(
    runtime: &mut AccumulatingRuntime<Id>,
    socket: &UdpSocket,
    timers: &mut Timers,
    now: Instant,
) -> Result<(), Error> {
    while let Some((to, packet)) = runtime.to_send() {
        // Gossip is repeated.
        let _sent = socket.send_to(&packet, to.address);
    }
    while let Some((after, timer)) = runtime.to_schedule() {
        timers.count += 1;
        timers.heap.push(Reverse(Due(now + after, timers.count, timer)));
    }
    while let Some(told) = runtime.to_notify() {
        let (what, who) = match told {
            OwnedNotification::MemberUp(id) => ("up", id),
            OwnedNotification::MemberDown(id) => ("down", id),
            _ => continue,
        };
        writeln!(io::stdout(), "{what} {}", who.address).map_err(Error::io("standard output"))?;
    }
    Ok(())
}
