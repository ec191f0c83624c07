//! A snapshot comes back as it was, or not at all; and a cluster finds together by its snapshots alone.

use proptest::prelude::*;
use rdb_net_types::NodeState;

use super::*;
use crate::event::Event;
use crate::split_brain::{Decision, Strategy};
use crate::swim::LocalNode;
use crate::sync::SyncAnswer;
use crate::tests::network::{Network, address, cluster, id, local, secs};

fn example() -> Snapshot {
    let mut net = Network::cluster_of(6, 900);
    net.crash(5);
    net.leave(4);
    net.run_until(secs(60), "given up", |net| net.all_hold(5, NodeState::Failed) && net.all_hold(4, NodeState::Left));
    net.nodes[0].swim.snapshot()
}

#[test]
fn the_living_and_the_failed_are_remembered_and_who_has_left_is_not() {
    let snapshot = example();
    let states: Vec<_> = snapshot.members.iter().map(|member| (member.id.clone(), member.state)).collect();
    let alive = [1, 2, 3].map(|n| (id(n), NodeState::Alive));
    assert_eq!(states, [&alive[..], &[(id(5), NodeState::Failed)]].concat());
    assert_eq!(Snapshot::decode(&snapshot.encode(&cluster()), &cluster()), Ok(snapshot));
}

#[test]
fn a_snapshot_of_another_cluster_and_every_torn_one_is_refused() {
    let bytes = example().encode(&cluster());
    let other = ClusterId::new("other").expect("legal");
    assert_eq!(Snapshot::decode(&bytes, &other), Err(DecodeError::Cluster));
    for end in 0..bytes.len() {
        assert!(Snapshot::decode(&bytes[..end], &cluster()).is_err(), "{end} of {} bytes", bytes.len());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_snapshot_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Snapshot::decode(&bytes, &cluster()).is_err(), "a checksum that fits by chance");
    }

    #[test]
    fn a_flipped_bit_is_found(at in 0usize..10_000, bit in 0u8..8) {
        let snapshot = Snapshot { node: id(0), incarnation: Incarnation::first_of(7), members: Vec::new() };
        let mut bytes = snapshot.encode(&cluster());
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(Snapshot::decode(&bytes, &cluster()).is_err());
    }
}

/// Everybody is killed in the middle of a partition, and comes back with nothing but a snapshot in which half of the others are
/// failed. Who remembered only the living would stay on an island.
#[test]
fn a_cluster_that_was_apart_when_all_of_it_stopped_finds_together_by_its_snapshots() {
    let mut net = Network::cluster_of(10, 901);
    let (left, right) = ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]);
    net.part(&left, &right, true);
    net.run_until(secs(90), "each side gives the other up", |net| {
        left.iter().all(|a| {
            right.iter().all(|b| {
                let holds = |by: usize, of: usize| net.nodes[by].swim.member(&id(of)).map(|member| member.state);
                holds(*a, *b) == Some(NodeState::Failed) && holds(*b, *a) == Some(NodeState::Failed)
            })
        })
    });
    let files: Vec<Vec<u8>> = (0..10).map(|n| net.nodes[n].swim.snapshot().encode(&cluster())).collect();
    (0..10).for_each(|n| net.crash(n));
    net.run(secs(5));
    for (n, file) in files.iter().enumerate() {
        let snapshot = Snapshot::decode(file, &cluster()).expect("whole");
        let generation = snapshot.incarnation.generation() + 1;
        let life = net.add(local(n, 1_000 + n as u64, generation));
        net.act(life, |swim, now| swim.recall(now, &snapshot));
    }
    net.run_until(secs(30), "one view", |net| net.agrees(10));
}

/// A cluster of five, what each of its members has written down, and the two that are killed and come back with that alone.
fn two_come_back(net: &mut Network, stay_away: Duration) -> [usize; 2] {
    let files: Vec<Snapshot> = (0..2).map(|n| net.nodes[n].swim.snapshot()).collect();
    (0..2).for_each(|n| net.crash(n));
    net.run(stay_away);
    [0, 1].map(|n| come_back(net, n, &files[n]))
}

fn come_back(net: &mut Network, n: usize, memory: &Snapshot) -> usize {
    let life = net.add(local(n, 1_000 + n as u64, memory.incarnation.generation() + 1));
    net.act(life, |swim, now| swim.recall(now, &memory.clone().unheard()));
    life
}

fn states(net: &Network, n: usize) -> Vec<NodeState> {
    net.nodes[n].swim.members().map(|member| member.state).collect()
}

/// Otherwise half of a cluster that restarts while it is cut off takes itself for the whole.
#[test]
fn who_restarts_within_a_partition_still_knows_the_other_side_and_is_the_minority() {
    use NodeState::{Alive, Failed};
    let mut net = Network::cluster_of(5, 902);
    net.part(&[0, 1], &[2, 3, 4], true);
    let lives = two_come_back(&mut net, Duration::ZERO);
    net.part(&lives, &[2, 3, 4], true);
    for life in lives {
        let alone = net.nodes[life].swim.judge_split(Strategy::KeepMajority);
        assert_eq!((alone.decision, alone.seen, alone.unseen), (Decision::Withdraw, 1, 4));
        assert_eq!(net.nodes[life].swim.partition(), None, "it has asked nobody yet");
    }
    net.sync(lives[1], lives[0]);
    net.run(secs(60));
    for life in lives {
        assert_eq!(states(&net, life), [Alive, Alive, Failed, Failed, Failed]);
        let verdict = net.nodes[life].swim.judge_split(Strategy::KeepMajority);
        assert_eq!((verdict.decision, verdict.seen, verdict.unseen), (Decision::Withdraw, 2, 3));
    }
    let others = [2, 3, 4].map(|n| net.nodes[n].swim.judge_split(Strategy::KeepMajority).decision);
    assert_eq!(others, [Decision::Stay; 3]);
    net.part(&lives, &[2, 3, 4], false);
    net.run_until(secs(15), "one view", |net| net.agrees(5));
}

#[test]
fn one_of_a_side_that_restarts_takes_the_view_of_its_side() {
    let mut net = Network::cluster_of(7, 906);
    net.part(&[0, 1, 2], &[3, 4, 5, 6], true);
    net.run_until(secs(60), "given up", |net| {
        (0..3).all(|n| states(net, n).iter().filter(|state| **state == NodeState::Failed).count() == 4)
    });
    // Its file is of the time before the partition.
    let mut memory = net.nodes[0].swim.snapshot();
    for member in &mut memory.members {
        member.state = NodeState::Alive;
    }
    net.crash(0);
    let life = come_back(&mut net, 0, &memory);
    net.part(&[life], &[3, 4, 5, 6], true);
    net.forget_events();
    net.sync(life, 1);
    net.run_until(secs(5), "its side has one view", |net| {
        [1, 2].iter().all(|n| net.nodes[*n].swim.digest() == net.nodes[life].swim.digest())
    });
    let is_back = |event: &Event| matches!(event, Event::Recovered(record) if record.id >= id(3));
    assert_eq!(net.count(is_back), 0, "nobody of the other side was told to be back");
    net.part(&[1, 2, life], &[3, 4, 5, 6], false);
    net.run_until(secs(15), "one view", |net| net.agrees(7));
}

/// What a restarted member holds against others is old news to them: it costs a cluster nothing that one of them restarts.
#[test]
fn a_memory_makes_nobody_suspect_or_refute_anything() {
    let mut net = Network::cluster_of(8, 903);
    let memory = net.nodes[0].swim.snapshot();
    net.crash(0);
    let life = come_back(&mut net, 0, &memory);
    assert_eq!(net.nodes[life].swim.alive_count(), 1);
    net.forget_events();
    net.sync(life, 3);
    assert_eq!(net.nodes[life].swim.alive_count(), 8, "whom another one holds for there, is");
    net.run_until(secs(5), "one view", |net| net.agrees(8));
    net.run(secs(30));
    let stats = |n: usize| net.nodes[n].swim.stats();
    let spent = |n: usize| (stats(n).refutations, stats(n).suspicions_raised, stats(n).verdicts_doubted);
    assert!((1..8).all(|n| spent(n) == (0, 0, 0)), "{:?}", (1..8).map(spent).collect::<Vec<_>>());
    let is_loss = |event: &Event| matches!(event, Event::Failed(record) if record.id != id(0));
    assert_eq!(net.count(is_loss), 0);
}

#[test]
fn who_was_dropped_or_has_left_meanwhile_is_not_brought_back_by_a_memory() {
    let mut net = Network::cluster_of(6, 904);
    let memory = net.nodes[0].swim.snapshot();
    net.crash(0);
    net.crash(5);
    net.leave(4);
    net.run_until(secs(60), "given up", |net| net.all_hold(5, NodeState::Failed) && net.all_hold(4, NodeState::Left));
    assert!(net.act(1, |swim, now| swim.forget(now, &id(5))));
    net.run(secs(30));
    let life = come_back(&mut net, 0, &memory);
    assert_eq!(memory.members.len(), 5, "both are remembered");
    net.sync(life, 2);
    let is_gone = |net: &Network| [1, 2, 3, life].iter().all(|n| net.nodes[*n].swim.member(&id(5)).is_none());
    net.run_until(secs(30), "nobody holds it", |net| is_gone(net) && net.all_hold(4, NodeState::Left));
    net.run(secs(60));
    assert!(is_gone(&net), "it came back");
}

/// To whom has heard of nobody yet everybody has failed, and nobody was asked.
#[test]
fn an_id_that_is_only_remembered_goes_to_nobody_else_before_its_known_life_was_asked() {
    let mut net = Network::cluster_of(4, 906);
    let memory = net.nodes[0].swim.snapshot();
    net.crash(0);
    let life = come_back(&mut net, 0, &memory);
    let second = LocalNode { address: address(66), ..local(2, 9_000, 9_000) };
    let request = Swim::new(crate::Config::lan(), &cluster(), second, 7, net.now).sync_request();
    let answer = net.act(life, |swim, now| swim.handle_sync_request(now, &request)).expect("a request");
    assert!(matches!(answer, SyncAnswer::Pending(_)), "{answer:?}");
    net.run(secs(1));
    let conflicts = net.nodes[life].events.iter().filter(|(_, event)| matches!(event, Event::Conflict { .. }));
    assert_eq!(conflicts.count(), 1);
    assert_eq!(net.nodes[life].swim.member(&id(2)).map(|member| member.address), Some(address(2)));
}

#[test]
fn a_memory_of_more_members_than_may_be_held_is_cut_off_and_drops_nobody() {
    let net = Network::cluster_of(6, 905);
    let memory = net.nodes[0].swim.snapshot();
    let config = crate::Config { members_max: 4, ..crate::Config::lan() };
    let mut swim = Swim::new(config, &cluster(), local(0, 1_000, 2_000), 7, secs(1));
    swim.recall(secs(1), &memory.unheard());
    assert_eq!((swim.members().count(), swim.stats().limit_members), (4, 2));
    assert_eq!(swim.stats().limit_members_evicted, 0);
}

#[test]
fn what_was_failed_stays_failed_in_its_own_incarnation_however_often_it_is_remembered() {
    let memory = example();
    let incarnations = |memory: &Snapshot| memory.members.iter().map(|member| member.incarnation).collect::<Vec<_>>();
    let once = memory.clone().unheard();
    assert!(once.members.iter().all(|member| member.state == NodeState::Failed));
    for (before, after) in memory.members.iter().zip(&once.members) {
        let is_lowered = before.state == NodeState::Alive;
        assert_eq!(after.incarnation < before.incarnation, is_lowered, "{}", before.id);
    }
    assert_eq!(incarnations(&once.clone().unheard()), incarnations(&once));
}
