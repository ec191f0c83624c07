//! The time of a direct ping follows the round trips of whom it asks.

use super::network::{Network, cluster, id, local, ms, secs};
use crate::{Config, Profile, Swim};

/// How long one member pings another one before it asks others, from a crash of the other on.
fn patience(net: &mut Network) -> std::time::Duration {
    let others: Vec<usize> = (1..net.nodes.len()).collect();
    net.part(&[0], &others, true);
    let begun = net.nodes[0].swim.stats().probes_started;
    net.run_until(secs(3), "the next probe", |net| net.nodes[0].swim.stats().probes_started > begun);
    let (start, asked) = (net.now, net.nodes[0].swim.stats().probes_indirect);
    net.run_until(secs(1), "others are asked", |net| net.nodes[0].swim.stats().probes_indirect > asked);
    net.now - start
}

#[test]
fn who_answers_within_milliseconds_is_asked_for_by_others_after_the_least_time() {
    let mut net = Network::cluster_of(3, 950);
    net.run(secs(20));
    let round_trip = net.nodes[0].swim.member(&id(1)).and_then(|member| member.round_trip).expect("measured");
    assert!((ms(2)..=ms(10)).contains(&round_trip), "{round_trip:?}");
    let patience = patience(&mut net);
    assert!(patience.abs_diff(Config::lan().probe_timeout_min) <= ms(1), "{patience:?}");
}

#[test]
fn who_needs_longer_is_given_longer_and_never_more_than_is_configured() {
    for (latency, from, to) in [((ms(25), ms(28)), ms(200), ms(400)), ((ms(55), ms(60)), ms(440), ms(500))] {
        let mut net = Network::cluster_of(3, 951);
        net.latency = latency;
        net.run(secs(60));
        let patience = patience(&mut net);
        assert!((from..=to).contains(&patience), "{latency:?}: {patience:?}");
    }
}

/// Its answers come later than the second ping is sent, so none can be told from another: what was measured is given up.
#[test]
fn a_way_that_became_slow_is_measured_anew() {
    let mut net = Network::cluster_of(2, 952);
    net.run(secs(20));
    net.latency = (ms(50), ms(55));
    net.run(secs(20));
    let round_trip = net.nodes[0].swim.member(&id(1)).and_then(|member| member.round_trip).expect("measured again");
    assert!((ms(100)..=ms(110)).contains(&round_trip), "{round_trip:?}");
    assert_eq!(net.count(|event| matches!(event, crate::Event::Suspected(_))), 0);
}

#[test]
fn who_was_not_asked_yet_is_given_the_configured_time() {
    let mut swim = Swim::new(Config::lan(), &cluster(), local(0, 1, 1), 1, secs(1));
    let others = [local(1, 2, 1), local(2, 3, 1)];
    swim.restore(secs(1), others.map(|of| (Profile::new(of.id, of.boot, of.address, of.meta), of.incarnation)));
    let mut begun = None;
    while swim.stats().probes_indirect == 0 {
        let due = swim.poll_timeout().expect("it goes on");
        swim.handle_timeout(due);
        if swim.stats().probes_started > 0 {
            begun = begun.or(Some(due));
        }
        while swim.poll_event().is_some() {}
    }
    let asked = swim.last_timeout;
    assert_eq!(asked - begun.expect("a probe began"), Config::lan().probe_timeout);
}
