//! Membership as it is told, descriptions, leaving, and one seed's one run.

use std::collections::BTreeMap;

use bytes::Bytes;
use rdb_net_types::{BootId, Incarnation, NodeState, SelectionCriteria};
use rdb_swim::{LocalNode, Swim, SyncAnswer};

use super::lab::{Lab, address, cluster, engine, fold, gossip, id, info, secs};
use crate::{Command, Engine, EngineConfig, EngineError, EngineEvent, SyncAnswer as Answer};

#[test]
fn folding_the_events_over_the_first_members_gives_the_members() {
    let mut lab = Lab::strangers(5);
    let first: Vec<BTreeMap<_, _>> = lab
        .engines
        .iter()
        .map(|engine| engine.members().into_iter().map(|node| (node.id.clone(), node)).collect())
        .collect();
    for node in 0..5 {
        lab.act(node, |engine, now| engine.join(now, vec![address(0)]));
        lab.answer_syncs(node);
    }
    lab.run(secs(3));
    let mut changed = (**lab.engines[1].local()).clone();
    changed.version = "2.0".to_owned();
    lab.act(1, |engine, now| engine.update_local(now, changed)).expect("legal");
    lab.cut[4] = true;
    lab.run(secs(15));
    lab.cut[4] = false;
    lab.run(secs(15));
    lab.act(3, |engine, now| engine.leave(now));
    lab.run(secs(2));
    lab.act(0, |engine, now| assert!(engine.forget(now, &id(3))));
    lab.run(secs(2));
    for (node, first) in first.into_iter().enumerate() {
        let members: BTreeMap<_, _> =
            lab.engines[node].members().into_iter().map(|node| (node.id.clone(), node)).collect();
        assert_eq!(fold(first, &lab.events[node]), members, "node {node}");
    }
    assert!(lab.told(0, 4).contains(&"NodeFailed") && lab.told(0, 4).contains(&"NodeRecovered"));
    assert_eq!(lab.told(2, 3).last(), Some(&"NodeForgotten"));
    assert_eq!(lab.engines[2].member(&id(1)).map(|member| member.version.as_str()), Some("2.0"));
}

#[test]
fn a_description_that_is_too_large_is_refused_with_the_limit() {
    let mut large = info(0);
    large.labels.insert("note".to_owned(), "x".repeat(600));
    let made = Engine::new(EngineConfig::default(), cluster(), large.clone(), gossip(0), 1, secs(1));
    assert!(matches!(made, Err(EngineError::DescriptionTooLarge { limit: 512, bytes: 600.. })));
    let mut engine = engine(0);
    let before = engine.local().clone();
    assert!(matches!(engine.update_local(secs(2), large), Err(EngineError::DescriptionTooLarge { .. })));
    assert_eq!(*engine.local(), before);
    assert!(matches!(engine.update_local(secs(2), info(1)), Err(EngineError::OtherNode { .. })));
}

#[test]
fn settings_are_checked() {
    let config = EngineConfig { sync_timeout: secs(0), ..EngineConfig::default() };
    let made = Engine::new(config, cluster(), info(0), gossip(0), 1, secs(1));
    assert!(matches!(made, Err(EngineError::Config { field: "sync_timeout", .. })));
}

#[test]
fn a_member_whose_description_cannot_be_read_is_a_member_but_not_routed_to() {
    let mut engine = engine(0);
    engine.join(secs(1), vec![]);
    let local = LocalNode {
        id: id(1),
        boot: BootId(5),
        incarnation: Incarnation::first_of(7),
        address: gossip(1),
        meta: Bytes::from_static(b"what is this?"),
    };
    let stranger = Swim::new(rdb_swim::Config::lan(), &cluster(), local, 3, secs(1));
    let answer = engine.handle_sync_request(secs(2), &id(1), &stranger.sync_request());
    assert!(matches!(answer, Answer::Ready(_)));
    let member = engine.member(&id(1)).expect("it is a member");
    assert_eq!((member.address.port(), member.state), (0, NodeState::Alive));
    assert_eq!(engine.statistics().descriptions_undecodable, 1);
    assert_eq!(engine.balancer().select_node(&SelectionCriteria::default()), None);
    assert_eq!(engine.kept_links(), []);
    assert!(!matches!(engine.poll_command(), Some(Command::KeepLink { .. })));
}

#[test]
fn a_leaver_is_told_when_enough_know_and_can_come_back() {
    let mut lab = Lab::cluster(4);
    lab.act(3, |engine, now| engine.leave(now));
    assert_eq!(lab.told(3, 3), ["NodeLeft"]);
    assert!(lab.events[3].contains(&EngineEvent::LeaveFinished { acknowledged: 3 }));
    assert!(lab.commands[3].iter().any(|command| matches!(command, Command::DropLink { .. })));
    lab.run(secs(1));
    assert!((0..3).all(|node| lab.told(node, 3) == ["NodeLeft"]));
    assert!(!lab.engines[3].is_joined());

    lab.act(3, |engine, now| engine.join(now, vec![address(0)]));
    lab.answer_syncs(3);
    lab.run(secs(2));
    assert!(lab.engines[3].is_joined());
    assert!((0..3).all(|node| lab.told(node, 3) == ["NodeLeft", "NodeJoined"]));
    assert_eq!(lab.engines[3].local().state, NodeState::Alive);
    assert_eq!(lab.engines[3].kept_links().len(), 3);
}

#[test]
fn leaving_alone_ends_at_once() {
    let mut lab = Lab::cluster(1);
    lab.act(0, |engine, now| engine.leave(now));
    assert!(lab.events[0].contains(&EngineEvent::LeaveFinished { acknowledged: 0 }));
}

#[test]
fn who_is_leaving_takes_nobody_in() {
    let mut lab = Lab::cluster(2);
    lab.act(0, |engine, now| engine.leave(now));
    let newcomer = engine(2);
    let request = Swim::new(
        rdb_swim::Config::lan(),
        &cluster(),
        LocalNode {
            id: newcomer.local().id.clone(),
            boot: BootId(1),
            incarnation: Incarnation::first_of(1),
            address: gossip(2),
            meta: Bytes::new(),
        },
        1,
        secs(1),
    )
    .sync_request();
    assert!(matches!(lab.engines[0].swim.handle_sync_request(lab.now, &request), Ok(SyncAnswer::Ready(_))));
    assert_eq!(lab.engines[0].member(&id(2)), None);
}

#[test]
fn an_operators_suspicion_is_refuted_and_told() {
    let mut lab = Lab::cluster(3);
    lab.act(0, |engine, now| engine.suspect(now, &id(2)));
    lab.run(secs(1));
    assert_eq!(lab.told(0, 2), ["NodeSuspected", "NodeTrusted"]);
    assert_eq!(lab.told(2, 2), ["NodeUpdated"], "it has raised its incarnation");
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = || {
        let mut lab = Lab::cluster(6);
        lab.cut[5] = true;
        lab.run(secs(20));
        lab.cut[5] = false;
        lab.run(secs(20));
        (lab.trace, lab.events, lab.commands)
    };
    assert_eq!(run(), run());
}
