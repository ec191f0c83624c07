//! Finding the cluster, and what becomes of seeds.

use std::sync::Arc;
use std::time::Duration;

use rdb_discovery::{Cause, DiscoveryEvent, Freshness, RemovalReason, Snapshot};
use rdb_net_types::{BootId, NodeAddress, NodeInfo, Reason, RefusalReason};

use super::lab::{Lab, address, cluster, engine, gossip, id, info, ms, secs};
use crate::{Command, Engine, EngineConfig, EngineEvent, SyncAnswer, SyncRefusal, SyncTarget};

fn snapshot(addresses: &[usize], freshness: Freshness) -> DiscoveryEvent {
    let nodes: Vec<Arc<NodeInfo>> = addresses.iter().map(|n| Arc::new(NodeInfo::seed(address(*n)))).collect();
    DiscoveryEvent::Snapshot(Snapshot { nodes: nodes.into(), as_of: secs(1), freshness })
}

fn called(lab: &Lab, node: usize) -> Vec<NodeAddress> {
    let seed = |(_, to)| match to {
        SyncTarget::Seed(address) => Some(address),
        SyncTarget::Node { .. } => None,
    };
    lab.syncs(node).into_iter().filter_map(seed).collect()
}

/// Lets every call fail at once.
fn fail_all(lab: &mut Lab, node: usize, why: Reason) {
    for (token, _) in lab.syncs(node) {
        lab.act(node, |engine, now| engine.handle_sync_reply(now, token, Err(why)));
    }
    lab.commands[node].retain(|command| !matches!(command, Command::Sync { .. }));
}

#[test]
fn a_node_without_a_seed_but_itself_is_a_cluster_of_one() {
    for seeds in [vec![], vec![address(0)]] {
        let mut lab = Lab::strangers(1);
        assert!(!lab.engines[0].is_joined(), "nobody has said which seeds there are");
        lab.act(0, |engine, now| engine.join(now, seeds));
        assert_eq!(lab.events[0], [EngineEvent::ClusterJoined { members: 1 }]);
        assert!(lab.engines[0].is_joined());
    }
}

#[test]
fn an_empty_list_of_a_source_that_never_answered_is_no_reason_to_begin_alone() {
    let mut lab = Lab::strangers(1);
    lab.act(0, |engine, now| engine.handle_discovery(now, &snapshot(&[], Freshness::Never { cause: None })));
    assert!(!lab.engines[0].is_joined());
    lab.act(0, |engine, now| engine.handle_discovery(now, &snapshot(&[], Freshness::Live)));
    assert!(lab.engines[0].is_joined());
}

#[test]
fn three_seeds_are_called_at_a_time() {
    let mut lab = Lab::strangers(1);
    lab.act(0, |engine, now| engine.join(now, (0..9).map(address).collect()));
    let first = called(&lab, 0);
    assert_eq!(first.len(), 3);
    assert!(!first.contains(&address(0)), "never itself");
    let (token, _) = lab.syncs(0)[0].clone();
    lab.act(0, |engine, now| engine.handle_sync_reply(now, token, Err(Reason::Unreachable)));
    assert_eq!(called(&lab, 0).len(), 4, "one has ended, one more is called");
}

#[test]
fn a_seed_is_called_again_after_a_wait_between_the_limits() {
    let mut lab = Lab::strangers(1);
    lab.act(0, |engine, now| engine.join(now, vec![address(1)]));
    let mut waits = Vec::new();
    for _ in 0..40 {
        fail_all(&mut lab, 0, Reason::Unreachable);
        let failed = lab.now;
        while called(&lab, 0).is_empty() {
            lab.now = lab.engines[0].poll_timeout().expect("there is always a next call");
            lab.act(0, |engine, now| engine.handle_timeout(now));
        }
        waits.push(lab.now - failed);
    }
    assert!(waits.iter().all(|wait| (ms(100)..=ms(3_001)).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > secs(1)), "they grow");
}

#[test]
fn a_seed_that_does_not_answer_is_given_up_after_the_time_out() {
    let mut lab = Lab::strangers(1);
    lab.act(0, |engine, now| engine.join(now, vec![address(1)]));
    let (token, _) = lab.syncs(0)[0].clone();
    lab.commands[0].clear();
    while lab.now < secs(3) {
        lab.now = lab.engines[0].poll_timeout().expect("a call is under way");
        lab.act(0, |engine, now| engine.handle_timeout(now));
    }
    assert_eq!(lab.engines[0].statistics().engine.syncs_timed_out, 1);
    lab.act(0, |engine, now| engine.handle_sync_reply(now, token, Ok(Vec::new())));
    assert_eq!(lab.engines[0].statistics().engine.late_replies, 1);
}

#[test]
fn that_no_seed_answers_is_told_once_and_again_when_the_seeds_have_changed() {
    let mut lab = Lab::strangers(1);
    let unreachable =
        |lab: &Lab| lab.events[0].iter().filter(|event| matches!(event, EngineEvent::SeedsUnreachable { .. })).count();
    lab.act(0, |engine, now| engine.join(now, vec![address(1), address(2)]));
    fail_all(&mut lab, 0, Reason::Unreachable);
    let seeds = vec![address(1), address(2)];
    assert_eq!(lab.events[0], [EngineEvent::SeedsUnreachable { attempts: 2, seeds }]);
    lab.run(secs(20));
    assert_eq!(unreachable(&lab), 1, "the series goes on");
    lab.act(0, |engine, now| engine.join(now, vec![address(3)]));
    lab.run(secs(20));
    assert_eq!(unreachable(&lab), 2);
}

#[test]
fn the_first_seed_that_accepts_is_the_cluster() {
    let mut lab = Lab::cluster(3);
    lab.engines.push(engine(3));
    lab.cut.push(false);
    lab.commands.push(Vec::new());
    lab.events.push(Vec::new());
    lab.act(3, |engine, now| engine.join(now, vec![address(1)]));
    lab.answer_syncs(3);
    let joined = lab.events[3].iter().position(|event| *event == EngineEvent::ClusterJoined { members: 4 });
    assert_eq!(joined, Some(3), "after the three members that the seed told of: {:?}", lab.events[3]);
    lab.run(secs(1));
    assert_eq!(lab.told(0, 3), ["NodeJoined"]);
    assert_eq!(lab.told(2, 3), ["NodeJoined"]);
}

#[test]
fn who_is_joined_by_another_belongs_to_a_cluster() {
    let mut lab = Lab::strangers(2);
    lab.act(0, |engine, now| engine.join(now, vec![address(5)]));
    assert!(!lab.engines[0].is_joined());
    lab.act(1, |engine, now| engine.join(now, vec![address(0)]));
    lab.answer_syncs(1);
    assert!(lab.engines[0].is_joined() && lab.engines[1].is_joined());
}

#[test]
fn an_address_of_its_own_is_called_once_and_forgotten() {
    let mut lab = Lab::strangers(1);
    let alias: NodeAddress = "localhost:7000".parse().expect("legal");
    lab.act(0, |engine, now| engine.join(now, vec![alias.clone()]));
    fail_all(&mut lab, 0, Reason::Refused(RefusalReason::SelfConnection));
    assert!(lab.commands[0].contains(&Command::ForgetSeed { address: alias }));
    assert!(lab.engines[0].is_joined(), "there is nobody else");
    lab.run(secs(300));
    assert_eq!(called(&lab, 0), []);
}

#[test]
fn after_joining_only_seeds_that_are_no_members_are_called_on_and_for_ever() {
    let mut lab = Lab::cluster(3);
    lab.act(1, |engine, now| engine.join(now, vec![address(0), address(2), address(9)]));
    lab.run(secs(300));
    let calls: Vec<_> = lab.calls.iter().filter(|(at, node, _)| *node == 1 && *at > secs(4)).collect();
    assert!(calls.iter().all(|(_, _, called)| *called == address(9)), "{calls:?}");
    let gaps: Vec<Duration> = calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.len() >= 6 && gaps.iter().all(|gap| (secs(22)..=secs(38)).contains(gap)), "{gaps:?}");
}

#[test]
fn seeds_come_and_go_with_discovery() {
    let mut lab = Lab::strangers(1);
    lab.act(0, |engine, now| engine.handle_discovery(now, &snapshot(&[1, 2], Freshness::Live)));
    assert_eq!(called(&lab, 0).len(), 2);
    let node = Arc::new(NodeInfo::seed(address(1)));
    let gone = DiscoveryEvent::Removed { node, why: RemovalReason::Deregistered };
    lab.act(0, |engine, now| engine.handle_discovery(now, &gone));
    assert!(lab.commands[0].contains(&Command::ForgetSeed { address: address(1) }));
    assert_eq!(lab.engines[0].statistics().seeds, 1);
    let added = DiscoveryEvent::Added(Arc::new(NodeInfo::seed(address(3))));
    lab.act(0, |engine, now| engine.handle_discovery(now, &added));
    assert!(called(&lab, 0).contains(&address(3)));
    let degraded = DiscoveryEvent::Degraded { cause: Cause::unavailable("no answer") };
    lab.act(0, |engine, now| engine.handle_discovery(now, &degraded));
    let report = lab.engines[0].report();
    assert!(report.parts.iter().any(|(part, _, why)| part == "discovery" && why.contains("no answer")));
}

#[test]
fn a_newcomer_whose_id_is_taken_is_told_to_stop_and_the_cluster_goes_on() {
    let mut lab = Lab::cluster(3);
    let mut rival_info = info(1);
    rival_info.boot = BootId(999);
    rival_info.address = address(8);
    let rival = Engine::new(EngineConfig::default(), cluster(), rival_info, gossip(8), 8, lab.now);
    let mut rival = rival.expect("legal settings");
    rival.join(lab.now, vec![address(0)]);
    let Some(Command::Sync { token, request, .. }) = rival.poll_command() else { panic!("it calls its seed") };
    let SyncAnswer::Pending(sync) = lab.act(0, |engine, now| engine.handle_sync_request(now, &id(1), &request)) else {
        panic!("the known life is asked first");
    };
    let answered = lab.commands[0].iter().find_map(|command| match command {
        Command::AnswerSync { id, reply } if *id == sync => Some(reply.clone()),
        _ => None,
    });
    rival.handle_sync_reply(lab.now, token, Ok(answered.expect("the known life answers at once")));
    assert_eq!(rival.poll_event(), Some(EngineEvent::DuplicateNode { address: Some(gossip(1)) }));
    assert_eq!(rival.poll_event(), None, "it is told once");
    assert!(matches!(&lab.events[0][..], [EngineEvent::Conflict { node, .. }] if *node == id(1)));
    assert!(lab.engines[1].is_joined());
}

#[test]
fn a_hello_that_meets_the_same_id_tells_of_it_too() {
    let mut lab = Lab::strangers(1);
    lab.act(0, |engine, now| engine.join(now, vec![address(1)]));
    fail_all(&mut lab, 0, Reason::Refused(RefusalReason::DuplicateNode));
    assert!(lab.events[0].contains(&EngineEvent::DuplicateNode { address: None }));
}

#[test]
fn a_request_in_another_nodes_name_is_refused() {
    let mut lab = Lab::strangers(2);
    lab.act(1, |engine, now| engine.join(now, vec![address(0)]));
    let Command::Sync { request, .. } = &lab.commands[1][0] else { panic!("it calls its seed") };
    let request = request.clone();
    let answer = lab.act(0, |engine, now| engine.handle_sync_request(now, &id(7), &request));
    assert_eq!(answer, SyncAnswer::Refused(SyncRefusal::OtherNode { claimed: id(1), proved: id(7) }));
    assert_eq!(lab.engines[0].members().len(), 1, "nothing was taken in");
    let answer = lab.act(0, |engine, now| engine.handle_sync_request(now, &id(7), b"hello"));
    assert!(matches!(answer, SyncAnswer::Refused(SyncRefusal::Malformed(_))));
    assert_eq!(lab.engines[0].statistics().engine.syncs_refused, 2);
}

#[test]
fn a_newcomer_looks_again_and_finds_what_gossip_has_missed() {
    let mut lab = Lab::strangers(4);
    lab.act(1, |engine, now| engine.join(now, vec![address(0)]));
    lab.answer_syncs(1);
    // Two more join through the first, whose packets to the second are lost.
    lab.cut[1] = true;
    for node in [2, 3] {
        lab.act(node, |engine, now| engine.join(now, vec![address(0)]));
        lab.answer_syncs(node);
    }
    lab.run(ms(200));
    lab.cut[1] = false;
    lab.run(ms(500));
    assert_eq!(lab.engines[1].census().alive, 4, "long before the regular exchange");
}
