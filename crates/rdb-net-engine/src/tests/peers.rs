//! Links, and what connections show.

use rdb_net_peer::LinkSide;
use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::{BootId, NodeState};

use super::lab::{Lab, address, id, ms, secs};
use crate::{Command, SyncTarget};

#[test]
fn links_are_kept_to_the_members_and_dropped_with_them() {
    let mut lab = Lab::strangers(2);
    lab.act(0, |engine, now| engine.join(now, vec![]));
    assert_eq!(lab.engines[0].kept_links(), []);
    lab.act(1, |engine, now| engine.join(now, vec![address(0)]));
    lab.answer_syncs(1);
    let keep = Command::KeepLink { node: id(1), address: address(1) };
    assert!(lab.commands[0].contains(&keep));
    lab.act(1, |engine, now| engine.leave(now));
    assert!(lab.commands[0].contains(&Command::DropLink { node: id(1) }));
    assert!(lab.commands[0].contains(&Command::ForgetPeer { node: id(1) }));
}

#[test]
fn two_refusals_are_enough_and_one_is_not() {
    let mut lab = Lab::cluster(5);
    lab.cut[4] = true;
    lab.refused(0, 4);
    lab.run(ms(900));
    assert_eq!(lab.state(1, 4), Some(NodeState::Alive), "one observer may be wrong about an address");

    lab.refused(1, 4);
    lab.run(ms(400));
    for node in 0..4 {
        assert_eq!(lab.state(node, 4), Some(NodeState::Failed));
        assert_eq!(lab.told(node, 4).last(), Some(&"NodeFailed"));
        assert!(!lab.engines[node].kept_links().contains(&id(4)));
    }
}

#[test]
fn who_answers_is_not_failed_by_refusals() {
    let mut lab = Lab::cluster(5);
    lab.refused(0, 4);
    lab.refused(1, 4);
    lab.run(secs(5));
    assert_eq!(lab.state(0, 4), Some(NodeState::Alive));
    assert_eq!(lab.told(2, 4), Vec::<&str>::new());
}

#[test]
fn what_an_address_says_that_a_member_has_left_is_nothing_about_the_member() {
    let mut lab = Lab::cluster(5);
    let mut moved = (**lab.engines[4].local()).clone();
    moved.address = address(44);
    lab.act(4, |engine, now| engine.update_local(now, moved)).expect("legal");
    lab.run(secs(1));
    let before = lab.engines[0].statistics().engine.refusals_seen;
    lab.refused(0, 4);
    assert_eq!(lab.engines[0].statistics().engine.refusals_seen, before);
}

#[test]
fn a_reset_asks_at_once_and_dials_at_once() {
    for (loss, side) in [(Loss::Reset, LinkSide::Dialer), (Loss::Eof, LinkSide::Acceptor)] {
        let mut lab = Lab::cluster(5);
        lab.up(0, 3, side);
        let before = lab.urgent_probes(0);
        lab.forget();
        lab.down(0, 3, side, CloseReason::Lost(loss));
        assert_eq!(lab.urgent_probes(0), before + 1);
        assert!(lab.commands[0].contains(&Command::Hurry { node: id(3) }));
    }
}

#[test]
fn a_farewell_is_no_evidence() {
    let mut lab = Lab::cluster(5);
    lab.up(0, 3, LinkSide::Dialer);
    let before = lab.urgent_probes(0);
    lab.forget();
    lab.down(0, 3, LinkSide::Dialer, CloseReason::Local);
    assert_eq!(lab.urgent_probes(0), before);
    assert_eq!(lab.commands[0], []);
}

#[test]
fn silence_asks_but_does_not_dial() {
    let mut lab = Lab::cluster(5);
    lab.up(0, 3, LinkSide::Dialer);
    let before = lab.urgent_probes(0);
    lab.forget();
    lab.down(0, 3, LinkSide::Dialer, CloseReason::Silent);
    assert_eq!(lab.urgent_probes(0), before + 1);
    assert!(!lab.commands[0].contains(&Command::Hurry { node: id(3) }));
}

#[test]
fn another_life_than_the_known_one_is_asked_after() {
    let mut lab = Lab::cluster(5);
    let before = lab.urgent_probes(0);
    lab.up_with(0, 3, BootId(4711), LinkSide::Acceptor);
    assert_eq!(lab.urgent_probes(0), before + 1);
    assert_eq!(lab.engines[0].statistics().engine.other_lives, 1);
    lab.up(0, 2, LinkSide::Acceptor);
    assert_eq!(lab.urgent_probes(0), before + 1, "the known life is no news");
}

#[test]
fn who_was_given_up_and_connects_is_asked_for_its_view() {
    let mut lab = Lab::cluster(5);
    lab.cut[4] = true;
    lab.refused(0, 4);
    lab.refused(1, 4);
    lab.run(secs(1));
    assert_eq!(lab.state(0, 4), Some(NodeState::Failed));
    lab.forget();
    lab.up(0, 4, LinkSide::Acceptor);
    let syncs: Vec<SyncTarget> = lab.syncs(0).into_iter().map(|(_, to)| to).collect();
    assert_eq!(syncs, [SyncTarget::Node { node: id(4), address: address(4) }]);
    lab.cut[4] = false;
    lab.answer_syncs(0);
    lab.run(secs(1));
    assert_eq!(lab.state(0, 4), Some(NodeState::Alive));
    assert!(lab.told(0, 4).contains(&"NodeRecovered"));
}
