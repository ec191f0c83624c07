//! Which connection a peer's messages take.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rdb_net_peer::{Action, Epoch, LinkSide, PeerConfig, Slot, State};
use rdb_net_session::{CloseReason, Config as SessionConfig, Loss, Session, Side};
use rdb_net_types::{Effect, Reason};

use super::{ECHO, NEVER, Network, SOON, config, echo, id, message, pair, start, to, until};
use crate::link::Link;
use crate::pool::PeerShared;
use crate::{CallOptions, Clock, Transport};

fn link(number: u64) -> Arc<Link> {
    static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::start);
    let clock = *CLOCK;
    let side = Side::Dialer { target: Some(id("b")) };
    let session = Session::new(SessionConfig::default(), config("a").identity, side, clock.now());
    Arc::new(Link::new(session, clock, LinkSide::Dialer, number, None, None))
}

#[test]
fn the_end_of_a_replaced_connection_does_not_disturb_the_next_dial() {
    let address = "b:1".parse().expect("legal");
    let peer = PeerShared::new(Some(id("b")), address, PeerConfig::default(), 1);
    let (old, new) = (link(1), link(2));
    peer.with_machine(|machine| machine.keep(true));
    let now = old.clock.now();
    assert_eq!(peer.with_machine(|machine| machine.poll_action(now)), Action::Dial(Slot::FIRST));
    peer.lock_pool().hold(Slot::FIRST, &old);
    assert_eq!(peer.came_up(&old), Some((Slot::FIRST, Epoch(1))));
    // It is asked to go away, and another one is dialled while it drains.
    peer.ended(&old, CloseReason::Local);
    assert!(peer.link(Slot::FIRST).is_none());
    assert_eq!(peer.with_machine(|machine| machine.poll_action(now)), Action::Dial(Slot::FIRST));
    peer.lock_pool().hold(Slot::FIRST, &new);
    peer.ended(&old, CloseReason::Lost(Loss::Eof));
    assert_eq!(peer.with_machine(|machine| machine.state()), State::Dialing);
}

/// A peer and, as if dialled and connected, a connection whose hello is under way.
fn dialled(config: PeerConfig, link: &Arc<Link>) -> PeerShared {
    let peer = PeerShared::new(Some(id("b")), "b:1".parse().expect("legal"), config, 1);
    peer.with_machine(|machine| machine.keep(true));
    let action = peer.with_machine(|machine| machine.poll_action(link.clock.now()));
    assert_eq!(action, Action::Dial(Slot::FIRST));
    peer.lock_pool().hold(Slot::FIRST, link);
    peer
}

#[test]
fn who_knows_of_the_new_epoch_does_not_take_the_former_connection() {
    let (old, new) = (link(1), link(2));
    let peer = dialled(PeerConfig { age_max: Some(Duration::ZERO), ..PeerConfig::default() }, &old);
    peer.came_up(&old).expect("it is needed");
    let action = peer.with_machine(|machine| machine.poll_action(old.clock.now()));
    assert_eq!((action, old.is_retired()), (Action::Dial(Slot::FIRST), false));
    peer.lock_pool().hold(Slot::FIRST, &new);
    assert_eq!(peer.came_up(&new), Some((Slot::FIRST, Epoch(2))));
    assert!(old.is_retired() && !new.is_retired());
}

#[test]
fn a_lent_connection_is_not_driven_out_by_the_one_that_comes_late() {
    let (own, lent) = (link(1), link(2));
    let peer = dialled(PeerConfig::default(), &own);
    assert_eq!(peer.lend(&lent, None), Some((Slot::FIRST, Epoch(1))));
    assert_eq!(peer.came_up(&own), None);
    assert!(peer.link(Slot::FIRST).is_some_and(|link| Arc::ptr_eq(&link, &lent)));
    let action = peer.with_machine(|machine| machine.poll_action(own.clock.now()));
    assert_eq!(action, Action::None, "nothing drains");
}

#[tokio::test]
async fn a_connection_that_drains_is_replaced_for_the_seed_and_for_the_node_it_led_to() {
    let (a, b) = pair().await;
    let seed = a.seed(&"b:1".parse().expect("legal"));
    echo(&seed).await.expect("answered");
    let named = a.find_peer(&id("b")).expect("the seed has told its name");
    assert!(named.is_up());
    // A request under way keeps the connection from ending.
    let under_way = tokio::spawn({
        let named = named.clone();
        async move { named.request(&message(NEVER, "x"), CallOptions::timeout(SOON)).await.map(drop) }
    });
    until("the handler runs", || b.inner.registry.links().iter().any(|link| !link.lock().handlers.is_empty())).await;
    let (old, theirs) = (a.inner.registry.links()[0].number, b.inner.registry.links()[0].clone());
    theirs.drain();
    until("the seed's connection is retired", || !seed.is_up()).await;
    assert!(!named.is_up(), "the node's messages take the draining connection no more");
    echo(&named).await.expect("answered");
    assert_eq!(a.inner.registry.links().len(), 2, "the old connection still drains");
    theirs.close(CloseReason::Local);
    until("the old connection ends", || a.inner.registry.links().iter().all(|link| link.number != old)).await;
    assert!(named.is_up() && under_way.await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_peer_that_moved_is_dialled_at_once() {
    let network = Network::default();
    let mut patient = config("a");
    patient.peer.backoff.shortest = Duration::from_secs(3600);
    patient.peer.backoff.longest = Duration::from_secs(3600);
    let a = start(&network, patient).await;
    let peer = a.peer(&id("b"), &"nowhere:1".parse().expect("legal"));
    peer.keep(true);
    until("the dial has failed", || matches!(peer.state(), State::Waiting { .. })).await;
    let _b = start(&network, config("b")).await;
    to(&a, "b");
    until("it is up", || peer.is_up()).await;
}

#[tokio::test]
async fn a_dial_that_nobody_answers_begins_anew_with_the_first_news_of_the_peer() {
    let network = Network::default();
    network.unanswered.store(1, Ordering::SeqCst);
    let a = start(&network, config("a")).await;
    let _b = start(&network, config("b")).await;
    let peer = to(&a, "b");
    let begun = std::time::Instant::now();
    let waiting = tokio::spawn({
        let peer = peer.clone();
        async move { echo(&peer).await }
    });
    until("it is dialled", || network.unanswered.load(Ordering::SeqCst) == 0).await;
    while !waiting.is_finished() && begun.elapsed() < Duration::from_secs(2) {
        peer.hurry();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    waiting.await.expect("no panic").expect("it is dialled again");
    assert!(begun.elapsed() < Duration::from_secs(2), "and not only when the first dial is given up");
}

#[tokio::test]
async fn a_forgotten_peer_is_not_dialled_for_those_who_still_wait() {
    let network = Network::default();
    let a = start(&network, config("a")).await;
    let _b = start(&network, config("b")).await;
    let dials = network.dials.available_permits();
    network.dials.forget_permits(dials);
    let peer = to(&a, "b");
    let waiting = tokio::spawn({
        let peer = peer.clone();
        async move { echo(&peer).await }
    });
    until("it is dialled", || peer.state() == State::Dialing).await;
    a.forget(&id("b"));
    let error = waiting.await.expect("no panic").expect_err("forgotten");
    assert_eq!((error.effect, error.reason), (Effect::NotSent, Reason::Unreachable));
    network.dials.add_permits(dials);
    echo(&peer).await.expect_err("forgotten");
    echo(&to(&a, "b")).await.expect("a peer that is named again is dialled");
    assert_eq!(a.inner.registry.links().len(), 1);
}

#[test]
fn threads_outside_of_a_runtime_may_keep_hurry_send_and_recheck() {
    let network = Network::default();
    // Before there is a runtime, nothing can be dialled, and nothing is harmed.
    let a = Transport::new(config("a"), Arc::new(network.clone()));
    let peer = to(&a, "b");
    peer.keep(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let b = runtime.block_on(async {
        a.start().await.expect("the name is free");
        start(&network, config("b")).await
    });
    peer.hurry();
    peer.keep(true);
    runtime.block_on(until("it is up", || peer.is_up()));
    assert!(peer.try_send(&message(ECHO, "x"), CallOptions::default()).is_ok());
    a.recheck_trust();
    runtime.block_on(async { tokio::join!(a.shutdown(), b.shutdown()) });
}
