//! Whatever comes in, the engine neither panics nor is due for ever.

use std::time::Duration;

use proptest::prelude::*;
use rdb_health::PingId;
use rdb_net_peer::{DialFailure, Failure, LinkSide, PeerEvent};
use rdb_net_session::{CloseReason, Loss};
use rdb_net_types::{BootId, Evidence, EvidenceKind, Incarnation, Reason};

use super::lab::{Lab, address, gossip, id, ms};
use crate::SyncToken;

#[derive(Debug, Clone)]
enum Input {
    Packet(Vec<u8>),
    SyncRequest(usize, Vec<u8>),
    SyncReply(u64, Result<Vec<u8>, Reason>),
    Pong(u64, bool),
    Up(usize, u64, bool),
    Down(usize, bool),
    Refused(usize),
    Phi(usize),
    Time(u64),
    Leave,
    Join(usize),
    Forget(usize),
}

fn input() -> impl Strategy<Value = Input> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        bytes().prop_map(Input::Packet),
        (0usize..6, bytes()).prop_map(|(node, bytes)| Input::SyncRequest(node, bytes)),
        (0u64..40, bytes()).prop_map(|(token, bytes)| Input::SyncReply(token, Ok(bytes))),
        (0u64..40).prop_map(|token| Input::SyncReply(token, Err(Reason::Unreachable))),
        (0u64..40, any::<bool>()).prop_map(|(id, is_good)| Input::Pong(id, is_good)),
        (0usize..6, 99u64..106, any::<bool>()).prop_map(|(node, boot, side)| Input::Up(node, boot, side)),
        (0usize..6, any::<bool>()).prop_map(|(node, side)| Input::Down(node, side)),
        (0usize..6).prop_map(Input::Refused),
        (0usize..6).prop_map(Input::Phi),
        (0u64..3_000).prop_map(Input::Time),
        Just(Input::Leave),
        (0usize..9).prop_map(Input::Join),
        (0usize..6).prop_map(Input::Forget),
    ]
}

const fn side(is_dialer: bool) -> LinkSide {
    if is_dialer { LinkSide::Dialer } else { LinkSide::Acceptor }
}

fn give(lab: &mut Lab, input: Input) {
    lab.act(0, |engine, now| match input {
        Input::Packet(bytes) => engine.handle_packet(now, gossip(1), &bytes),
        Input::SyncRequest(node, bytes) => {
            engine.handle_sync_request(now, &id(node), &bytes);
        }
        Input::SyncReply(token, reply) => engine.handle_sync_reply(now, SyncToken(token), reply),
        Input::Pong(id, is_good) => {
            engine.handle_pong(now, PingId(id), if is_good { Ok(ms(1)) } else { Err(Reason::Expired) });
        }
        Input::Up(node, boot, is_dialer) => {
            let (incarnation, address) = (Incarnation::default(), address(node));
            let up = PeerEvent::Up {
                node: id(node),
                boot: BootId(boot),
                incarnation,
                address,
                side: side(is_dialer),
                place: None,
            };
            engine.handle_peer(now, &up);
        }
        Input::Down(node, is_dialer) => {
            let (boot, reason) = (BootId(100 + node as u64), CloseReason::Lost(Loss::Reset));
            engine.handle_peer(now, &PeerEvent::Down { node: id(node), boot, side: side(is_dialer), reason });
        }
        Input::Refused(node) => {
            let failure = Failure::Dial(DialFailure::Refused);
            engine.handle_peer(now, &PeerEvent::DialFailed { node: Some(id(node)), address: address(node), failure });
        }
        Input::Phi(node) => {
            let evidence = Evidence { node: id(node), boot: None, kind: EvidenceKind::PhiCrossed };
            engine.handle_evidence(now, &evidence);
        }
        Input::Leave => engine.leave(now),
        Input::Join(seed) => engine.join(now, vec![address(seed)]),
        Input::Forget(node) => {
            engine.forget(now, &id(node));
        }
        Input::Time(_) => {}
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_inputs_in_any_order(inputs in proptest::collection::vec(input(), 0..60)) {
        let mut lab = Lab::cluster(4);
        for input in inputs {
            if let Input::Time(wait_ms) = input {
                lab.run(Duration::from_millis(wait_ms));
            } else {
                give(&mut lab, input);
            }
            let engine = &lab.engines[0];
            prop_assert!(engine.kept_links().len() <= 3);
            prop_assert!(engine.members().iter().any(|node| node.id == id(0)));
        }
        lab.run(Duration::from_secs(2));
    }
}
