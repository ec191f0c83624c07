//! What a node does at each tick does not grow with its cluster: neither what it allocates nor what it walks through.
//!
//! Allocations are counted, and equal runs allocate alike. A walk that allocates nothing shows only in time. That of a tick is the least
//! of several equal runs, so whatever else the machine does in one of them is not in it; and the bound is far from what is measured
//! without a walk, and far from what the cheapest walk costs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeAddress, NodeId, NodeInfo};
use rdb_swim::{Config, LocalNode, Profile, Swim};

use super::lab::{cluster, ms, secs};
use crate::metadata;
use crate::{Command, Engine, EngineConfig, SyncTarget};

/// How often the same is run.
const RUNS: usize = 3;

/// For so long a node whose joining is over does nothing but what it does by itself.
const TIME: Duration = secs(40);

fn id(n: usize) -> NodeId {
    NodeId::new(&format!("node-{n:05}")).expect("legal")
}

fn gossip(n: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n as u32), 7001))
}

fn number(gossip: SocketAddr) -> usize {
    let SocketAddr::V4(gossip) = gossip else { panic!("{gossip}") };
    (gossip.ip().to_bits() - 0x0a00_0000) as usize
}

fn address(n: usize) -> NodeAddress {
    NodeAddress::new(&gossip(n).ip().to_string(), 7000).expect("legal")
}

fn info(n: usize) -> NodeInfo {
    let mut info = NodeInfo::new(id(n), address(n));
    info.boot = BootId(100 + n as u64);
    info.incarnation = Incarnation::first_of(1_000);
    info
}

fn member(n: usize) -> Swim {
    let NodeInfo { id, boot, incarnation, .. } = info(n);
    let meta = Bytes::from(metadata::encode(&info(n), gossip(n)));
    let local = LocalNode { id, boot, incarnation, address: gossip(n), meta };
    Swim::new(Config::lan(), &cluster(), local, n as u64, secs(1))
}

/// A node that has just joined a cluster of so many.
fn joined(members: usize) -> Engine {
    let mut seed = member(1);
    let others = (2..members).map(|n| {
        let NodeInfo { id, boot, incarnation, .. } = info(n);
        let meta = Bytes::from(metadata::encode(&info(n), gossip(n)));
        (Profile::new(id, boot, gossip(n), meta), incarnation)
    });
    seed.restore(secs(1), others);
    let mut engine =
        Engine::new(EngineConfig::default(), cluster(), info(0), gossip(0), 7, secs(1)).expect("legal settings");
    engine.join(secs(1), vec![address(1)]);
    while let Some(command) = engine.poll_command() {
        let Command::Sync { token, to: SyncTarget::Seed(_), request, .. } = command else { continue };
        let Ok(rdb_swim::SyncAnswer::Ready(reply)) = seed.handle_sync_request(secs(1), &request) else {
            panic!("nobody is in doubt");
        };
        engine.handle_sync_reply(secs(1), token, Ok(reply));
    }
    assert_eq!(engine.census().alive, members);
    engine
}

/// One tick with all that comes of it. Gives whom it has pinged, and with what.
fn tick(engine: &mut Engine, now: Duration) -> Vec<(SocketAddr, Vec<u8>)> {
    engine.handle_timeout(now);
    let (mut packet, mut sent) = (Vec::new(), Vec::new());
    while let Some(to) = engine.poll_transmit(now, &mut packet) {
        sent.push((to, packet.clone()));
    }
    while engine.poll_command().is_some() {}
    while engine.poll_event().is_some() {}
    sent
}

/// Each of them answers as it would in a sound cluster.
fn answer(engine: &mut Engine, now: Duration, sent: Vec<(SocketAddr, Vec<u8>)>) {
    let mut packet = Vec::new();
    for (to, ping) in sent {
        let mut target = member(number(to));
        target.handle_packet(now, gossip(0), &ping).expect("a packet");
        while let Some(back) = target.poll_transmit(now, &mut packet) {
            if back == gossip(0) {
                engine.handle_packet(now + ms(1), to, &packet);
            }
        }
    }
}

/// What the ticks of a node cost, one by one: nanoseconds and allocations.
fn ticks(members: usize) -> Vec<(u64, u64)> {
    let (mut engine, mut ticks) = (joined(members), Vec::new());
    // Until what joining has left is over, which is as much as there are members.
    let (calm, end) = (secs(1) + secs(40), secs(1) + secs(40) + TIME);
    while let Some(now) = engine.poll_timeout().filter(|now| *now < end) {
        let mut sent = Vec::new();
        let begun = Instant::now();
        let counted = measure(|| sent = tick(&mut engine, now));
        if now >= calm {
            ticks.push((begun.elapsed().as_nanos() as u64, counted.count_total));
        }
        answer(&mut engine, now, sent);
    }
    assert_eq!((engine.census().alive, engine.statistics().swim.probes_failed), (members, 0));
    ticks
}

/// Nanoseconds and allocations of all ticks, each as cheap as it ever was.
fn cost(members: usize) -> (u64, u64) {
    let runs: Vec<Vec<(u64, u64)>> = (0..RUNS).map(|_| ticks(members)).collect();
    let counts: Vec<usize> = runs.iter().map(Vec::len).collect();
    assert!(
        counts.iter().all(|count| *count == counts[0] && *count as u64 >= TIME.as_secs()),
        "equal runs: {counts:?}"
    );
    let cheapest = |tick: usize| runs.iter().map(|run| run[tick]).reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)));
    let each = (0..runs[0].len()).filter_map(cheapest);
    each.fold((0, 0), |sum, tick| (sum.0 + tick.0, sum.1 + tick.1))
}

#[test]
fn a_tick_does_no_work_that_grows_with_the_cluster() {
    let ((small, few), (large, many)) = (cost(100), cost(10_000));
    println!("{small} ns and {few} allocations among 100 members, {large} ns and {many} among 10,000");
    assert!(many <= few * 2, "{many} allocations among 10,000 members, {few} among 100");
    assert!(large <= small * 4, "{large} ns among 10,000 members, {small} among 100");
}
