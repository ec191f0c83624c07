//! A node that comes back with a memory of its members: whom it knows, what it is told, and what it makes of a partition.

use rdb_net_types::{BootId, HealthStatus, Incarnation, NodeInfo, NodeState, SelectionCriteria};
use rdb_swim::{Decision, Snapshot, Strategy};

use super::lab::{Lab, address, cluster, fold, gossip, id, info, secs};
use crate::{Engine, EngineConfig, EngineEvent, SplitBrainConfig, SyncTarget};

fn config(strategy: Strategy) -> EngineConfig {
    let split_brain = SplitBrainConfig { strategy: Some(strategy), ..SplitBrainConfig::default() };
    EngineConfig { split_brain, ..EngineConfig::default() }
}

fn memory(lab: &Lab, node: usize) -> Snapshot {
    lab.engines[node].membership().snapshot()
}

/// The node's process ends without a word, and another one begins with this memory and the addresses in it.
fn restart(lab: &mut Lab, node: usize, memory: Snapshot) {
    let generation = memory.incarnation.generation() + 1;
    let local =
        NodeInfo { boot: BootId(200 + node as u64), incarnation: Incarnation::first_of(generation), ..info(node) };
    let config = lab.engines[node].config().clone();
    let engine = Engine::new(config, cluster(), local, gossip(node), 50 + node as u64, lab.now);
    lab.engines[node] = engine.expect("legal settings");
    lab.commands[node].clear();
    lab.events[node].clear();
    let seeds = (0..lab.engines.len()).filter(|other| *other != node).map(address).collect();
    lab.act(node, |engine, now| engine.recall(now, memory));
    lab.act(node, |engine, now| engine.join(now, seeds));
}

#[test]
fn remembered_members_are_failed_until_somebody_is_heard_of() {
    let mut lab = Lab::cluster(5);
    let remembered = memory(&lab, 0);
    lab.cut[0] = true;
    restart(&mut lab, 0, remembered);
    assert_eq!((lab.engines[0].census().alive, lab.engines[0].census().failed), (1, 4));
    assert!((1..5).all(|of| lab.told(0, of) == ["NodeFailed"]), "each is told once, as what it is");
    lab.run(secs(60));
    assert!(!lab.engines[0].is_joined(), "a memory is no cluster");
    assert_eq!(lab.engines[0].balancer().select_node(&SelectionCriteria::default()), None, "nothing is sent to them");
    assert_eq!(lab.engines[0].partition(), None, "whom it never saw cannot have vanished");
    assert_eq!(lab.engines[0].report().status, HealthStatus::Degraded);
    assert!((1..5).all(|of| lab.told(0, of) == ["NodeFailed"]));

    lab.cut[0] = false;
    lab.run(secs(10));
    assert!(lab.engines[0].is_joined());
    assert_eq!(lab.engines[0].census().alive, 5);
    assert!((1..5).all(|of| lab.told(0, of) == ["NodeFailed", "NodeRecovered"]), "{:?}", lab.told(0, 1));
    let folded = fold(std::iter::empty().collect(), &lab.events[0]);
    assert!((1..5).all(|of| folded[&id(of)].state == NodeState::Alive));
}

#[test]
fn one_who_is_there_brings_back_everybody_whom_it_holds_for_there() {
    let mut lab = Lab::cluster(5);
    let remembered = memory(&lab, 0);
    restart(&mut lab, 0, remembered);
    let calls: Vec<SyncTarget> = lab.syncs(0).into_iter().map(|(_, to)| to).collect();
    assert_eq!(calls.len(), 3, "whoever it remembers is called on, some at a time: {calls:?}");
    let before = lab.now;
    lab.answer_syncs(0);
    assert_eq!((lab.engines[0].census().alive, lab.now), (5, before), "and the first answers are enough");
    lab.run(secs(30));
    let digests: Vec<u64> = lab.engines.iter().map(Engine::view_digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    assert!((1..5).all(|node| lab.engines[node].statistics().swim.refutations == 0), "nobody had to speak up");
}

/// Two of five restart while they are cut off from the other three.
#[test]
fn who_restarts_within_a_split_is_the_minority_all_the_same() {
    let mut lab = Lab::cluster_with(5, &config(Strategy::KeepMajority));
    let files: Vec<Snapshot> = (0..2).map(|node| memory(&lab, node)).collect();
    // The two do not reach the three: those are as good as gone, and the two still meet.
    (2..5).for_each(|node| lab.cut[node] = true);
    for (node, file) in files.into_iter().enumerate() {
        restart(&mut lab, node, file);
    }
    lab.run(secs(30));
    for node in 0..2 {
        assert!(lab.engines[node].is_joined(), "the two are there");
        assert_eq!((lab.engines[node].census().alive, lab.engines[node].census().failed), (2, 3));
        let verdict = lab.engines[node].split_verdict().expect("it has decided");
        assert_eq!((verdict.decision, verdict.seen, verdict.unseen), (Decision::Withdraw, 2, 3));
        let stays = |event: &&EngineEvent| matches!(event, EngineEvent::SplitBrain(verdict) if verdict.decision == Decision::Stay);
        assert_eq!(lab.events[node].iter().filter(stays).count(), 0, "nor was it ever anything else");
    }
    (2..5).for_each(|node| lab.cut[node] = false);
    lab.run(secs(60));
    for node in 0..5 {
        assert_eq!((lab.engines[node].census().alive, lab.engines[node].split_verdict()), (5, None), "node {node}");
    }
}

#[test]
fn a_cluster_that_restarts_as_a_whole_decides_nothing_against_itself() {
    let mut lab = Lab::cluster_with(5, &config(Strategy::KeepMajority));
    let files: Vec<Snapshot> = (0..5).map(|node| memory(&lab, node)).collect();
    for (node, file) in files.into_iter().enumerate() {
        restart(&mut lab, node, file);
    }
    lab.run(secs(60));
    for node in 0..5 {
        assert_eq!((lab.engines[node].census().alive, lab.engines[node].split_verdict()), (5, None));
        let verdicts = lab.events[node].iter().filter(|event| matches!(event, EngineEvent::SplitBrain(_))).count();
        assert_eq!(verdicts, 0, "node {node}");
    }
}

#[test]
fn a_remembered_member_that_is_gone_for_good_can_be_forgotten() {
    let mut lab = Lab::cluster(4);
    let remembered = memory(&lab, 0);
    lab.cut[3] = true;
    restart(&mut lab, 0, remembered);
    lab.run(secs(60));
    assert_eq!(lab.state(0, 3), Some(NodeState::Failed));
    lab.act(0, |engine, now| assert!(engine.forget(now, &id(3))));
    lab.run(secs(60));
    assert!((0..3).all(|node| lab.state(node, 3).is_none()), "and it does not come back");
}

/// The price of a memory: a life that is over for good is older than all that have begun since.
#[test]
fn after_a_restart_of_all_keep_oldest_waits_for_whoever_is_gone_until_they_are_dropped() {
    let mut lab = Lab::cluster_with(5, &config(Strategy::KeepOldest));
    let files: Vec<Snapshot> = (0..3).map(|node| memory(&lab, node)).collect();
    (3..5).for_each(|node| lab.cut[node] = true);
    for (node, file) in files.into_iter().enumerate() {
        restart(&mut lab, node, file);
    }
    lab.run(secs(60));
    let decision = |lab: &Lab, node: usize| lab.engines[node].split_verdict().map(|verdict| verdict.decision);
    assert!((0..3).all(|node| decision(&lab, node) == Some(Decision::Withdraw)));
    (3..5).for_each(|gone| lab.act(0, |engine, now| assert!(engine.forget(now, &id(gone)))));
    lab.run(secs(10));
    assert!((0..3).all(|node| decision(&lab, node).is_none()), "the three are whole");
}
