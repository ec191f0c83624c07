//! The peer that behaves: it asks at a steady pace, and notes how long the answers take.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rdb_net_tcp::{TcpConfig, TcpTransport};
use rdb_net_transport::{CallOptions, Config};
use rdb_net_types::{Application, BootId, NodeId};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::world::{ECHO, World, identity};

/// The pace of its requests.
const PACE: Duration = Duration::from_millis(1);
const BODY_BYTES: usize = 64;
/// Room for what is noted, so that no list grows while memory is measured.
const SAMPLES_MAX: usize = 60_000;

/// What goes on beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Load {
    Alone,
    Flood,
    Other,
    /// It is to end.
    End,
}

impl Load {
    fn of(number: u8) -> Self {
        [Self::Alone, Self::Flood, Self::Other].into_iter().find(|load| *load as u8 == number).unwrap_or(Self::End)
    }
}

/// A healthy peer at work.
pub(crate) struct Healthy {
    load: Arc<AtomicU8>,
    task: JoinHandle<Noted>,
}

struct Noted {
    alone: Vec<Duration>,
    flood: Vec<Duration>,
    failed: u64,
}

/// The slowest hundredth of its requests begins here.
pub(crate) struct Latencies {
    pub(crate) alone: Duration,
    pub(crate) flood: Duration,
    counts: (usize, usize),
    pub(crate) failed: u64,
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (alone, flood) = self.counts;
        write!(f, "p99 {:?} alone (n={alone}), {:?} beside floods (n={flood})", self.alone, self.flood)?;
        write!(f, ", {} requests failed", self.failed)
    }
}

impl Healthy {
    /// Connects, and works alone for so long.
    pub(crate) fn start(world: &World, alone: Duration) -> Self {
        let load = Arc::new(AtomicU8::new(Load::Alone as u8));
        let peer = TcpTransport::new(Config::new(identity("healthy", BootId(9))), TcpConfig::default());
        let node = NodeId::new("n1").expect("legal");
        let handle = peer.peer(&node, &world.node.advertised_address());
        let told = Arc::clone(&load);
        let task = world.runtime.spawn(async move {
            let message = Application { message_type: ECHO, payload: vec![7; BODY_BYTES].into() };
            let mut pace = tokio::time::interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (alone, flood) = (Vec::with_capacity(SAMPLES_MAX), Vec::with_capacity(SAMPLES_MAX));
            let mut noted = Noted { alone, flood, failed: 0 };
            loop {
                pace.tick().await;
                let load = Load::of(told.load(Ordering::Relaxed));
                let begun = Instant::now();
                let outcome = handle.request(&message, CallOptions::default()).await;
                noted.failed += u64::from(outcome.is_err());
                match load {
                    Load::Alone => noted.alone.push(begun.elapsed()),
                    Load::Flood => noted.flood.push(begun.elapsed()),
                    Load::Other => {}
                    Load::End => break,
                }
            }
            peer.shutdown().await;
            noted
        });
        std::thread::park_timeout(alone);
        Self { load, task }
    }

    /// From now on this goes on beside it.
    pub(crate) fn note(&self, load: Load) {
        self.load.store(load as u8, Ordering::Relaxed);
    }

    pub(crate) fn stop(self, world: &World) -> Latencies {
        self.note(Load::End);
        let noted = world.runtime.block_on(self.task).expect("the healthy peer does not panic");
        Latencies {
            counts: (noted.alone.len(), noted.flood.len()),
            alone: p99(noted.alone),
            flood: p99(noted.flood),
            failed: noted.failed,
        }
    }
}

fn p99(mut taken: Vec<Duration>) -> Duration {
    taken.sort();
    *taken.get(taken.len() * 99 / 100).expect("it was measured")
}
