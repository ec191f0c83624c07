//! First faults of every kind, then calm: in the end there is one view, and it is true.

use rdb_net_types::{EvidenceKind, SeededRandom};

use super::network::{Network, id, local, ms, secs};

const MEMBERS: usize = 6;

/// The newest process of a member.
struct Process {
    node: usize,
    is_up: bool,
    is_paused: bool,
    has_left: bool,
}

fn storm(net: &mut Network, seed: u64) -> usize {
    let mut random = SeededRandom::new(seed);
    let up = |node| Process { node, is_up: true, is_paused: false, has_left: false };
    let mut processes: Vec<Process> = (0..MEMBERS).map(up).collect();
    for round in 0..40u64 {
        net.run(random.duration(ms(10), secs(3)));
        net.loss = [0.0, 0.05, 0.3][random.index(3)];
        let member = random.index(MEMBERS);
        let others: Vec<usize> = (0..net.nodes.len()).filter(|n| *n != processes[member].node).collect();
        let process = &mut processes[member];
        let idle = process.is_up && !process.is_paused;
        match random.index(8) {
            0 if idle && !process.has_left => {
                let observers = [processes[(member + 1) % MEMBERS].node, processes[(member + 2) % MEMBERS].node];
                net.kill(processes[member].node, &observers);
                processes[member].is_up = false;
            }
            1 if !process.is_up => {
                // A third of the restarts has a clock that went back.
                let generation = if random.chance(0.3) { 10 } else { 2_000 + round as u32 };
                let node = net.add(local(member, 10_000 + round, generation));
                processes[member] = up(node);
                net.sync(node, processes[(member + 1) % MEMBERS].node);
            }
            2 if idle => {
                net.pause(process.node);
                process.is_paused = true;
            }
            3 if process.is_paused => {
                net.wake(process.node);
                process.is_paused = false;
            }
            4 if idle && !process.has_left => {
                net.leave(process.node);
                process.has_left = true;
            }
            5 if idle && process.has_left => {
                net.rejoin(process.node);
                process.has_left = false;
            }
            6 => net.part(&[process.node], &others, true),
            7 => net.part(&[process.node], &others, false),
            _ if idle => {
                let of = random.index(MEMBERS);
                let kind = [EvidenceKind::Refused, EvidenceKind::Reset, EvidenceKind::Silent][random.index(3)];
                net.evidence(process.node, of, kind);
                net.act(process.node, |swim, now| swim.forget(now, &id((of + 1) % MEMBERS)));
            }
            _ => {}
        }
    }
    calm(net, &mut processes)
}

/// Mends the network, wakes the sleepers, and lets whoever is alone ask somebody, as its driver would. Gives how many are
/// members in the end.
fn calm(net: &mut Network, processes: &mut [Process]) -> usize {
    net.loss = 0.0;
    let all: Vec<usize> = (0..net.nodes.len()).collect();
    net.part(&all, &all, false);
    for process in processes.iter_mut().filter(|process| process.is_paused) {
        net.wake(process.node);
    }
    let members: Vec<usize> = processes.iter().filter(|p| p.is_up && !p.has_left).map(|p| p.node).collect();
    for pair in members.windows(2) {
        net.sync(pair[1], pair[0]);
    }
    members.len()
}

#[test]
fn after_the_storm_there_is_one_true_view() {
    for seed in 0..60 {
        let mut net = Network::cluster_of(MEMBERS, seed);
        let members = storm(&mut net, 1_000 + seed);
        net.run_until(secs(240), &format!("seed {seed}: one view of {members}"), |net| net.agrees(members));
    }
}
