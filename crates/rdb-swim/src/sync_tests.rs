//! The bytes of requests and replies.

use proptest::prelude::*;
use rdb_net_types::EvidenceKind;

use super::*;
use crate::tests::network::{Network, address, cluster, id, local, secs};
use crate::verify::VERIFICATIONS_MAX;
use crate::{Config, Profile};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn machine() -> Swim {
    Swim::new(Config::lan(), &cluster(), local(0, 0x77, 5), 1, secs(1))
}

#[test]
fn the_bytes_of_a_request_and_of_each_reply_never_change() {
    let swim = machine();
    let alive = "07 6e6f64652d3030 0000000500000000 0000000000000077 04 0a000001 1b59 09 6d657461206f662030";
    // The digest is compared between members, so its value is part of the format.
    let digest = "eaa14784980b64c0";
    let header = "5253 01 e09acdca";
    // A small view is asked for whole, so there are no buckets.
    let request = format!("{header} 10 {alive} {digest} 00").replace(' ', "");
    assert_eq!(hex(&swim.sync_request()), request);
    let conflict = swim.conflict_reply(1, address(1), BootId(9));
    assert_eq!(hex(&conflict), format!("{header} 11 02 04 0a000002 1b59 0000000000000009").replace(' ', ""));
    assert_eq!(hex(&swim.verdict(1, BUSY)), format!("{header} 11 03").replace(' ', ""));

    let mut swim = machine();
    let newcomer = Swim::new(Config::lan(), &cluster(), local(1, 0x88, 5), 1, secs(1));
    let answer = swim.handle_sync_request(secs(1), &newcomer.sync_request()).expect("a request");
    let SyncAnswer::Ready(reply) = answer else { panic!("nobody rivals") };
    assert_eq!(hex(&reply), format!("{header} 11 01 00 2a 00 {alive}").replace(' ', ""));
}

/// One of so many members, each of which holds all others.
fn one_of(members: usize, own: usize) -> Swim {
    let mut swim = Swim::new(Config::lan(), &cluster(), local(own, own as u64, 1), 1, secs(1));
    let others = (0..members).filter(|n| *n != own).map(|n| local(n, n as u64, 1));
    swim.restore(secs(1), others.map(|of| (Profile::new(of.id, of.boot, of.address, of.meta), of.incarnation)));
    swim
}

#[test]
fn a_view_that_differs_by_one_member_is_answered_by_one_bucket() {
    for (members, request_bytes_max, reply_bytes_max) in
        [(20, 100, 1_500), (50, 150, 1_500), (1_000, 700, 2_000), (10_000, 8_500, 1_500)]
    {
        let (mut asker, mut replier) = (one_of(members, 0), one_of(members, 1));
        assert_eq!(asker.digest(), replier.digest());
        asker.differences.has_view = true;
        let news = local(99_999, 9, 3);
        replier.restore(secs(1), [(Profile::new(news.id, news.boot, news.address, news.meta), news.incarnation)]);
        let request = asker.sync_request();
        let answer = replier.handle_sync_request(secs(2), &request).expect("a request");
        let SyncAnswer::Ready(reply) = answer else { panic!("nobody rivals") };
        assert!(request.len() < request_bytes_max, "{members} members: a request of {} bytes", request.len());
        assert!(reply.len() < reply_bytes_max, "{members} members: a reply of {} bytes", reply.len());
        asker.handle_sync_reply(secs(2), &reply).expect("a reply");
        assert_eq!(asker.stats().unverified_asked, 1, "the news is in it");
    }
}

/// Gossip of one member, or a memory of a former life, is no view yet.
#[test]
fn who_has_heard_of_one_member_takes_the_first_view_as_it_is() {
    let (mut newcomer, mut replier) = (one_of(0, 5_000), one_of(1_000, 1));
    let heard = local(77, 77, 1);
    newcomer.restore(secs(1), [(Profile::new(heard.id, heard.boot, heard.address, heard.meta), heard.incarnation)]);
    let answer = replier.handle_sync_request(secs(2), &newcomer.sync_request()).expect("a request");
    let SyncAnswer::Ready(reply) = answer else { panic!("nobody rivals") };
    newcomer.handle_sync_reply(secs(2), &reply).expect("a reply");
    assert_eq!(newcomer.digest(), replier.digest());
    assert_eq!(newcomer.stats().unverified_asked, 0);
}

#[test]
fn a_newcomer_is_told_everything() {
    let (newcomer, mut replier) = (one_of(0, 5_000), one_of(1_000, 1));
    let answer = replier.handle_sync_request(secs(2), &newcomer.sync_request()).expect("a request");
    let SyncAnswer::Ready(reply) = answer else { panic!("nobody rivals") };
    let mut newcomer = newcomer;
    newcomer.handle_sync_reply(secs(2), &reply).expect("a reply");
    assert_eq!(newcomer.digest(), replier.digest());
}

/// Where buckets cancel out, or views of very different sizes meet, nothing may stay untold.
#[test]
fn hashes_that_say_nothing_bring_the_whole_view() {
    let (asker, replier) = (one_of(200, 0), one_of(200, 1));
    let mut summary = Summary::of(&asker.table);
    assert!(!summary.differs(&replier.table)(&id(7)), "equal views");
    summary.digest ^= 1;
    assert!(summary.differs(&replier.table)(&id(7)), "the whole differs and no bucket does");
}

/// As the release before buckets sent it.
#[test]
fn a_request_without_buckets_is_answered_whole() {
    let (asker, mut replier) = (one_of(999, 0), one_of(1_000, 1));
    let mut request = asker.sync_request();
    request.truncate(request.len() - 1 - 64 * 8);
    assert!(matches!(asker.sync_asker(&request), Ok(asker) if asker == id(0)));
    let answer = replier.handle_sync_request(secs(2), &request).expect("a request");
    let SyncAnswer::Ready(reply) = answer else { panic!("nobody rivals") };
    assert!(reply.len() > 40_000, "{} bytes", reply.len());
}

#[test]
fn a_summary_with_an_illegal_number_of_buckets_is_refused() {
    let mut out = vec![0; 8];
    out.varint(3);
    out.extend([0; 24]);
    assert_eq!(Summary::read(&mut Reader::new(&out)), Err(DecodeError::Value { field: "buckets" }));
    let mut out = vec![0; 8];
    out.varint(2_048);
    assert_eq!(Summary::read(&mut Reader::new(&out)), Err(DecodeError::Value { field: "buckets" }));
}

#[test]
fn every_state_travels_in_a_reply() {
    let mut net = Network::cluster_of(5, 600);
    net.crash(1);
    net.leave(2);
    net.run_until(secs(20), "failed", |net| net.all_hold(1, NodeState::Failed));
    net.evidence(0, 4, EvidenceKind::Silent);
    let newcomer = net.add(local(7, 700, 1_000));
    net.sync(newcomer, 0);
    let held = |n: usize| net.nodes[newcomer].swim.member(&id(n)).map(|member| member.state);
    let expected = [NodeState::Alive, NodeState::Failed, NodeState::Left, NodeState::Alive].map(Some);
    assert_eq!([held(0), held(1), held(2), held(3)], expected);
}

/// S17.
#[test]
fn what_a_reply_calls_failed_is_only_suspected() {
    let mut net = Network::cluster_of(4, 601);
    let incarnation = net.nodes[2].swim.local().incarnation;
    net.part(&[0], &[1, 2, 3], true);
    let claim = Accusation { id: id(2), incarnation, from: id(3) };
    net.act(0, |swim, now| swim.apply_claim(now, claim, NodeState::Failed, Spread::No));
    net.part(&[0], &[1, 2, 3], false);
    net.sync(1, 0);
    assert_eq!(net.nodes[1].swim.member(&id(2)).map(|member| member.state), Some(NodeState::Suspect));
    net.run_until(secs(20), "refuted", |net| net.agrees(4));
    assert_eq!(net.nodes[1].events.iter().filter(|(_, event)| matches!(event, Event::Failed(_))).count(), 0);
}

/// al8n/memberlist #165, of a member that is gone: what the list shows of it was told.
#[test]
fn a_newer_end_that_shows_other_versions_alone_is_told() {
    let mut net = Network::cluster_of(4, 605);
    net.crash(2);
    net.run_until(secs(30), "failed", |net| net.all_hold(2, NodeState::Failed));
    let held = alive_of(&net.nodes[0].swim.member(&id(2)).expect("held"));
    let versions = Versions::new(1, 2).expect("a range");
    let later = Alive { incarnation: held.incarnation.next(), versions, ..held };
    net.act(0, |swim, now| swim.take_record(now, NodeState::Failed, later, &id(1), Spread::Yes));
    let told = net.nodes[0].events.iter().rev().find_map(|(_, event)| match event {
        Event::Updated(record) => Some((record.state, record.versions)),
        _ => None,
    });
    assert_eq!(told, Some((NodeState::Failed, versions)));
}

#[test]
fn a_leaver_leaves_no_newcomer_without_an_answer() {
    let mut net = Network::cluster_of(2, 603);
    let rival = LocalRival::new(0);
    let answer = net.act(0, |swim, now| swim.handle_sync_request(now, &rival.0)).expect("a request");
    assert_eq!(answer, SyncAnswer::Pending(SyncId(0)));
    net.leave(0);
    let reply = net.nodes[0].swim.verdict(1, BUSY);
    let told = Event::SyncAnswered { id: SyncId(0), reply };
    assert!(net.nodes[0].events.iter().any(|(_, event)| *event == told));
}

#[test]
fn a_replier_that_was_held_failed_is_called_on() {
    let mut net = Network::cluster_of(2, 604);
    let incarnation = net.nodes[1].swim.local().incarnation;
    net.act(0, |swim, now| {
        let slot = swim.table.slot_of(&id(1)).expect("held");
        swim.declare_failed(now, slot, incarnation);
    });
    net.sync(0, 1);
    net.run(secs(1) / 20);
    assert!(net.agrees(2), "it has refuted");
}

#[test]
fn at_its_limit_a_member_asks_newcomers_to_come_again() {
    let mut net = Network::cluster_of(2, 602);
    let now = net.now;
    for boot in 0..=VERIFICATIONS_MAX as u64 {
        let rival = LocalRival::new(boot);
        let answer = net.nodes[0].swim.handle_sync_request(now, &rival.0).expect("a request");
        let is_pending = matches!(answer, SyncAnswer::Pending(_));
        assert_eq!(is_pending, boot < VERIFICATIONS_MAX as u64);
    }
    assert_eq!(net.nodes[0].swim.stats().limit_verifications, 1);
}

#[test]
fn a_request_says_whom_it_speaks_for() {
    let (swim, other) = (machine(), Swim::new(Config::lan(), &cluster(), local(1, 0x88, 5), 1, secs(1)));
    assert_eq!(swim.sync_asker(&other.sync_request()), Ok(local(1, 0x88, 5).id));
    assert!(swim.sync_asker(b"hello").is_err());
}

/// A request by which another process claims the id of node 1.
struct LocalRival(Vec<u8>);

impl LocalRival {
    fn new(boot: u64) -> Self {
        let rival = crate::LocalNode { address: address(60), ..local(1, 5_000 + boot, 9_000) };
        Self(Swim::new(Config::lan(), &cluster(), rival, boot, secs(1)).sync_request())
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(kind in 14u8..20, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut swim = machine();
        let mut headed = Vec::new();
        write_header(&mut headed, 1, swim.cluster, kind);
        headed.extend_from_slice(&bytes);
        for input in [&bytes, &headed] {
            let _ = swim.handle_sync_request(secs(2), input);
            let _ = swim.handle_sync_reply(secs(2), input);
        }
        prop_assert_eq!(swim.local().state, NodeState::Alive);
    }

    #[test]
    fn a_cut_reply_changes_nothing(cut in 1usize..200) {
        let mut seed = machine();
        let mut newcomer = Swim::new(Config::lan(), &cluster(), local(1, 0x88, 5), 1, secs(1));
        let answer = seed.handle_sync_request(secs(1), &newcomer.sync_request()).expect("a request");
        let SyncAnswer::Ready(reply) = answer else { panic!("nobody rivals") };
        let before = newcomer.digest();
        let cut = &reply[..reply.len() - cut.min(reply.len() - 10).min(40)];
        prop_assert!(newcomer.handle_sync_reply(secs(1), cut).is_err());
        prop_assert_eq!(newcomer.digest(), before);
    }
}
