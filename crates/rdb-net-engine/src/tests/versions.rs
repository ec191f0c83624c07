//! A node that speaks another version of membership is told of by name, and not taken in.

use rdb_swim::Versions;

use super::lab::{Lab, address, gossip, id, secs};
use crate::{Command, EngineEvent, SyncAnswer};

/// The first bytes of everything that the engine says of itself: magic, version, cluster.
fn head(lab: &Lab, version: u8) -> Vec<u8> {
    let mut head = lab.engines[0].membership().sync_request()[..7].to_vec();
    head[2] = version;
    head
}

/// A header of this version and kind, the sender's id, and what nobody of today can read.
fn of_version(lab: &Lab, version: u8, kind: u8) -> Vec<u8> {
    let name = id(7);
    let mut bytes = head(lab, version);
    bytes.extend([kind, name.as_str().len() as u8]);
    bytes.extend(name.as_str().as_bytes());
    bytes.extend(b"who knows");
    bytes
}

fn told(lab: &Lab) -> Vec<(String, u8, u8)> {
    let found = lab.events[0].iter().filter_map(|event| match event {
        EngineEvent::Incompatible { node, theirs, ours } => {
            assert_eq!(*ours, Versions::SPOKEN);
            Some((node.to_string(), theirs.lowest(), theirs.highest()))
        }
        _ => None,
    });
    found.collect()
}

#[test]
fn a_packet_of_an_unknown_version_is_told_of_with_its_sender() {
    let mut lab = Lab::cluster(2);
    let packet = of_version(&lab, 9, 1);
    lab.act(0, |engine, now| engine.handle_packet(now, gossip(7), &packet));
    assert_eq!(told(&lab), [(id(7).to_string(), 9, 9)]);
    assert_eq!((lab.engines[0].statistics().swim.dropped_version, lab.engines[0].members().len()), (1, 2));
}

#[test]
fn a_request_of_an_unknown_version_is_answered_with_what_this_node_understands() {
    let mut lab = Lab::cluster(2);
    let request = of_version(&lab, 9, 16);
    let answer = lab.act(0, |engine, now| engine.handle_sync_request(now, &id(7), &request));
    let SyncAnswer::Ready(reply) = answer else { panic!("{answer:?}") };
    let mut expected = head(&lab, 9);
    expected.extend([17, 5, Versions::SPOKEN.lowest(), Versions::SPOKEN.highest(), 2]);
    expected.extend(b"n0");
    assert_eq!(reply, expected);
    assert_eq!(told(&lab), [(id(7).to_string(), 9, 9)]);
    let of_another = lab.act(0, |engine, now| engine.handle_sync_request(now, &id(1), &request));
    assert!(matches!(of_another, SyncAnswer::Refused(_)), "whose connection it is counts in every version");
}

/// The seed's cluster understands nothing that this node does.
#[test]
fn a_seed_that_shares_no_version_is_told_of_and_called_again() {
    let mut lab = Lab::strangers(1);
    lab.act(0, |engine, now| engine.join(now, vec![address(7)]));
    let is_call = |command: &Command| match command {
        Command::Sync { token, .. } => Some(*token),
        _ => None,
    };
    let token = lab.commands[0].iter().find_map(is_call).expect("it calls its seed");
    let mut reply = head(&lab, Versions::SPOKEN.lowest());
    reply.extend([17, 5, 7, 9, 2]);
    reply.extend(b"n7");
    lab.act(0, |engine, now| engine.handle_sync_reply(now, token, Ok(reply)));
    assert_eq!(told(&lab), [("n7".to_owned(), 7, 9)]);
    assert!(!lab.engines[0].is_joined());
    let calls = lab.calls.len();
    lab.run(secs(5));
    assert!(lab.calls.len() > calls, "an operator may upgrade it");
}
