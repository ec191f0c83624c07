//! A snapshot comes back as it was, or not at all; and a cluster finds together by its snapshots alone.

use proptest::prelude::*;
use rdb_net_types::NodeState;

use super::*;
use crate::tests::network::{Network, cluster, id, local, secs};

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
