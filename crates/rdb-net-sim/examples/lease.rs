//! Leases: an arbiter lets one host at a time do something, for ten seconds by everybody's own clock. Whoever holds a lease counts from
//! before it asked, so it ends no later than the arbiter thinks: while all clocks run alike. Where a holder's clock is too slow and it
//! cannot ask again, the arbiter gives its lease to another one too soon; a margin that is larger than the drift mends that.
//!
//! `cargo run -p rdb-net-sim --example lease -- [SEED] [DRIFT_PPM] [MARGIN_PPM]`: the rule holds with drift 0, is broken with 20,000,
//! and holds again with a margin of 50,000. Exit code 1 where it is broken.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use rdb_net_sim::world::{Breach, Machine, World, WorldConfig};

const ARBITER: usize = 0;
const HOSTS: usize = 4;
const LEASE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The arbiter, which has granted a lease, or a host that wants one and may hold it.
struct Lease {
    is_arbiter: bool,
    /// Until when, by the own clock, whoever is named has the lease: of a host that holds one, itself.
    held: Option<(usize, Duration)>,
    margin: Duration,
    next_ask: Duration,
    to_send: Vec<(usize, Vec<u8>)>,
}

impl Lease {
    fn holds(&self, now: Duration) -> bool {
        !self.is_arbiter && self.held.is_some_and(|(_, until)| now < until)
    }
}

impl Machine for Lease {
    fn handle_packet(&mut self, now: Duration, from: usize, asked_at: &[u8]) {
        if !self.is_arbiter {
            let asked_at =
                asked_at.try_into().map_or(Duration::ZERO, |ns| Duration::from_nanos(u64::from_be_bytes(ns)));
            self.held = Some((from, asked_at + LEASE - self.margin));
        } else if self.held.is_none_or(|(holder, until)| holder == from || until <= now) {
            self.held = Some((from, now + LEASE));
            self.to_send.push((from, asked_at.to_vec()));
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        (!self.is_arbiter).then_some(self.next_ask)
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.next_ask = now + ASK_EVERY;
        self.to_send.push((ARBITER, (now.as_nanos() as u64).to_be_bytes().to_vec()));
    }

    fn poll_transmit(&mut self, _: Duration, bytes: &mut Vec<u8>) -> Option<usize> {
        let (to, packet) = self.to_send.pop()?;
        bytes.extend_from_slice(&packet);
        Some(to)
    }
}

fn holders(world: &World<Lease>) -> Vec<usize> {
    world.machines().filter(|(host, lease)| lease.holds(world.clock(*host))).map(|(host, _)| host).collect()
}

/// Ten minutes in which now and then whoever holds the lease is cut off.
fn run(seed: u64, drift_ppm: i32, margin_ppm: u32) -> (u64, Result<(), Breach>) {
    let margin = LEASE * margin_ppm / 1_000_000;
    let mut world = World::new(WorldConfig::lan(HOSTS, seed), move |birth| Lease {
        is_arbiter: birth.host == ARBITER,
        held: None,
        margin,
        next_ask: birth.now + ASK_EVERY * birth.host as u32 / HOSTS as u32,
        to_send: Vec::new(),
    });
    world.always("one holder at a time", |world, _| match holders(world) {
        holders if holders.len() > 1 => Err(format!("hosts {holders:?} hold the lease")),
        _ => Ok(()),
    });
    for (host, drift_ppm) in [(1, -drift_ppm), (2, 0), (3, drift_ppm)] {
        world.set_drift(host, drift_ppm);
    }
    world.start_all();
    for _ in 0..40 {
        let calm = world.random().duration(Duration::from_secs(1), Duration::from_secs(5));
        world.run_for(calm);
        let cut_off = holders(&world);
        world.cut(&cut_off, &[ARBITER]);
        world.run_for(LEASE + ASK_EVERY * 2);
        world.mend(&cut_off, &[ARBITER]);
    }
    (world.trace(), world.verdict())
}

fn main() -> ExitCode {
    let numbers: Vec<i32> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let (trace, verdict) = run(number(0, 1) as u64, number(1, 0), number(2, 0).unsigned_abs());
    let text = verdict.as_ref().map_or_else(|breach| format!("FAILED: {breach}"), |()| "the rule has held".to_owned());
    let _ = writeln!(std::io::stdout(), "{text}; trace {trace:016x}");
    ExitCode::from(u8::from(verdict.is_err()))
}

#[test]
fn a_drift_breaks_the_rule_and_a_margin_mends_it() {
    for seed in 1..=5 {
        assert!(run(seed, 0, 0).1.is_ok() && run(seed, 20_000, 50_000).1.is_ok());
        assert_eq!(run(seed, 20_000, 0).1.map_err(|breach| breach.seed), Err(seed));
    }
}
