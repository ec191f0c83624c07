//! New settings of a running member hold at once.

use rdb_net_types::NodeState;

use super::network::{Network, ms, secs};
use crate::{Config, ConfigError, Event, Lifeguard, ReconfigureError, Statistics};

fn set_all(net: &mut Network, config: &Config) {
    for node in 0..net.nodes.len() {
        let config = config.clone();
        net.act(node, |swim, now| swim.set_config(now, config)).expect("legal");
    }
}

/// How often any member's exchange of views was due, and how many probes were begun, in so many seconds.
fn rates(net: &mut Network, seconds: u64) -> (usize, u64) {
    let sum = |net: &Network, count: fn(&Statistics) -> u64| {
        net.nodes.iter().map(|node| count(node.swim.stats())).sum::<u64>()
    };
    let totals = |net: &Network| (sum(net, |stats| stats.probes_started), sum(net, |stats| stats.syncs_spared));
    net.forget_events();
    let before = totals(net);
    net.run(secs(seconds));
    let after = totals(net);
    let wanted = net.count(|event| matches!(event, Event::SyncWanted { .. }));
    (wanted + usize::try_from(after.1 - before.1).expect("few"), after.0 - before.0)
}

#[test]
fn every_regular_interval_follows_the_new_settings_up_and_down() {
    let mut net = Network::cluster_of(4, 700);
    let slow = Config { probe_interval: secs(10), probe_timeout: secs(5), sync_interval: secs(60), ..Config::lan() };
    let quick = Config { probe_interval: ms(100), probe_timeout: ms(50), sync_interval: secs(1), ..Config::lan() };
    set_all(&mut net, &slow);
    let (syncs, probes) = rates(&mut net, 120);
    assert!((4..=13).contains(&syncs) && (44..=52).contains(&probes), "{syncs} and {probes}");
    // From a timer that is set an hour ahead to one of a second: the old deadline is not waited for.
    set_all(&mut net, &quick);
    let (syncs, probes) = rates(&mut net, 5);
    assert!((14..=24).contains(&syncs) && (180..=204).contains(&probes), "{syncs} and {probes}");
    set_all(&mut net, &slow);
    let (syncs, probes) = rates(&mut net, 120);
    assert!((4..=13).contains(&syncs) && (44..=52).contains(&probes), "{syncs} and {probes}");
}

#[test]
fn a_crash_after_the_change_is_failed_in_the_new_time() {
    let took = |config: &Config| {
        let mut net = Network::cluster_of(6, 701);
        set_all(&mut net, config);
        net.crash(5);
        net.run_until(secs(120), "failed everywhere", |net| net.all_hold(5, NodeState::Failed))
    };
    let short = Config { suspicion_pause: ms(500), ..Config::lan() };
    let long = Config { suspicion_pause: secs(30), ..Config::lan() };
    assert!(took(&short) < secs(8) && took(&long) > secs(30));
}

#[test]
fn a_suspicion_that_has_begun_keeps_its_time() {
    let mut net = Network::cluster_of(3, 702);
    net.crash(2);
    net.run_until(secs(20), "suspected", |net| net.all_hold(2, NodeState::Suspect));
    set_all(&mut net, &Config { suspicion_pause: secs(600), ..Config::lan() });
    net.run_until(secs(30), "failed at the old time", |net| net.all_hold(2, NodeState::Failed));
}

#[test]
fn a_failed_member_is_called_on_in_the_new_interval() {
    let mut net = Network::cluster_of(3, 703);
    net.crash(2);
    net.run_until(secs(60), "failed", |net| net.all_hold(2, NodeState::Failed));
    set_all(&mut net, &Config { revisit_interval: ms(100), ..Config::lan() });
    let revisits = |net: &Network| net.nodes[0].swim.stats().revisits;
    let before = revisits(&net);
    net.run(secs(3));
    assert!(revisits(&net) - before >= 25, "each draw succeeds where one in three has failed");
}

#[test]
fn a_lower_limit_of_health_holds_at_once() {
    let mut net = Network::cluster_of(6, 704);
    net.part(&[0], &[1, 2, 3, 4, 5], true);
    net.run(secs(20));
    assert_eq!(net.nodes[0].swim.local_health(), 3);
    set_all(&mut net, &Config { lifeguard: Lifeguard { health_max: 1, ..Lifeguard::ON }, ..Config::lan() });
    assert_eq!(net.nodes[0].swim.local_health(), 1);
    set_all(&mut net, &Config { lifeguard: Lifeguard::OFF, ..Config::lan() });
    assert_eq!(net.nodes[0].swim.local_health(), 0);
}

#[test]
fn what_no_member_can_run_with_changes_nothing() {
    let mut net = Network::cluster_of(2, 705);
    let swim = &mut net.nodes[0].swim;
    let illegal = Config { probe_timeout: secs(1), ..Config::lan() };
    let refused = swim.set_config(secs(100), illegal);
    let rule = ConfigError { field: "probe_timeout", rule: "below probe_interval" };
    assert_eq!(refused, Err(ReconfigureError::Config(rule)));
    let short = swim.set_config(secs(100), Config { meta_bytes_max: 3, ..Config::lan() });
    assert!(matches!(&short, Err(ReconfigureError::Meta { bytes: 9, limit: 3, .. })), "{short:?}");
    assert_eq!(swim.config(), &Config::lan());
}
