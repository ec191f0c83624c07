//! A fleet is a formed cluster, one seed is one run, and what is quiet stays quiet.

use std::time::Duration;

use super::{Change, Fleet, FleetConfig, Told};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fleet(members: usize, seed: u64) -> Fleet {
    Fleet::new(FleetConfig::lan(members, seed)).expect("legal settings")
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let run = |seed| {
        let mut fleet = fleet(50, seed);
        fleet.run_for(seconds(3));
        fleet.crash(7);
        fleet.set_loss(0.1);
        fleet.run_for(seconds(10));
        (fleet.trace(), fleet.traffic(), fleet.take_told())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn a_quiet_fleet_sends_two_packets_a_member_and_period_and_suspects_nobody() {
    let mut fleet = fleet(100, 3);
    fleet.run_for(seconds(30));
    let traffic = fleet.traffic();
    assert!((2 * 100 * 29..=2 * 100 * 31).contains(&traffic.packets), "{traffic:?}");
    assert_eq!((traffic.packets, traffic.syncs), (traffic.probe_packets, 0));
    assert_eq!(fleet.take_told(), []);
    assert!(fleet.under_way_max() <= 10, "buffers are used again");
}

#[test]
fn a_crash_is_told_by_everybody_and_of_nobody_else() {
    let mut fleet = fleet(60, 4);
    fleet.run_for(seconds(2));
    fleet.crash(9);
    fleet.run_for(seconds(20));
    let told = fleet.take_told();
    assert!(told.iter().all(|told| told.of == 9 && told.by != 9));
    let count = |change: Change| told.iter().filter(|told| told.change == change).count();
    assert_eq!((count(Change::Suspected), count(Change::Failed), count(Change::Back)), (59, 59, 0));
    assert!(!fleet.is_up(9) && fleet.is_up(8));
}

#[test]
fn waiting_for_news_ends_with_the_news_or_the_limit() {
    let mut fleet = fleet(20, 5);
    fleet.crash(3);
    let is_suspected = |told: &Told| told.change == Change::Suspected && told.of == 3;
    let found = fleet.run_until_told(seconds(60), is_suspected).expect("it is found");
    assert_eq!(found.at, fleet.now());
    let before = fleet.now();
    assert_eq!(fleet.run_until_told(seconds(2), |told| told.of == 4), None);
    assert_eq!(fleet.now(), before + seconds(2));
}

#[test]
fn a_missed_rumour_is_made_up_for_by_an_exchange_of_views() {
    let mut config = FleetConfig { syncs: true, ..FleetConfig::lan(30, 6) };
    // Told once by each, and most of that lost: many miss it.
    config.swim.retransmit_factor = 1;
    config.swim.gossip_fanout = 1;
    let mut fleet = Fleet::new(config).expect("legal settings");
    fleet.set_loss(0.6);
    fleet.act(0, |swim, now| swim.update_meta(now, "news".into()).expect("short enough"));
    fleet.run_for(Duration::from_millis(900));
    let informed = |fleet: &Fleet| {
        let own = fleet.member(0).expect("there").local().id.clone();
        let knows =
            |node: &usize| fleet.member(*node).and_then(|swim| swim.member(&own)).is_some_and(|own| own.meta == "news");
        (0..30).filter(knows).count()
    };
    assert!(informed(&fleet) < 30);
    fleet.set_loss(0.0);
    fleet.run_for(seconds(90));
    assert_eq!(informed(&fleet), 30);
    assert!(fleet.traffic().syncs > 0 && fleet.traffic().sync_bytes > 0);
}

#[test]
fn nothing_gets_in_or_out_of_a_slow_member_until_it_catches_up() {
    let mut fleet = fleet(20, 7);
    fleet.run_for(seconds(2));
    fleet.slow_down(3);
    let received = |fleet: &Fleet| fleet.member(3).expect("there").stats().packets_received;
    let before = received(&fleet);
    fleet.run_for(seconds(4));
    assert!(fleet.is_slow(3) && received(&fleet) == before);
    let told = fleet.take_told();
    assert!(told.iter().any(|told| told.by == 3 && told.change == Change::Suspected), "its own timers go on");
    assert!(told.iter().all(|told| told.by == 3 || told.of == 3), "what it says is not heard");
    fleet.catch_up(3);
    assert!(!fleet.is_slow(3) && received(&fleet) > before, "what waited has come");
    fleet.run_for(seconds(3));
    let told = fleet.take_told();
    assert!(told.iter().any(|told| told.by != 3 && told.of != 3 && told.change == Change::Suspected), "and is heard");
    assert_eq!(told.iter().filter(|told| told.change == Change::Failed).count(), 0);
}

#[test]
fn a_verdict_of_its_own_is_told_from_one_that_was_heard() {
    let verdicts = |own_verdicts: bool| {
        let mut config = FleetConfig::lan(20, 8);
        config.swim.lifeguard.own_verdicts = own_verdicts;
        let mut fleet = Fleet::new(config).expect("legal settings");
        fleet.crash(3);
        fleet.run_for(seconds(30));
        let told = fleet.take_told();
        let failed = told.iter().filter(|told| told.change == Change::Failed);
        (failed.clone().count(), failed.filter(|told| told.is_own).count())
    };
    let (all, own) = verdicts(false);
    assert!(all == 19 && (1..19).contains(&own), "{own} of {all}");
    assert_eq!(verdicts(true), (19, 19), "where nobody believes others, each finds it by itself");
}

#[test]
fn settings_that_no_fleet_has_are_refused() {
    assert!(Fleet::new(FleetConfig::lan(0, 1)).is_err());
    assert!(Fleet::new(FleetConfig { meta_bytes: 513, ..FleetConfig::lan(2, 1) }).is_err());
    let mut config = FleetConfig::lan(2, 1);
    config.swim.probe_timeout = config.swim.probe_interval;
    assert!(Fleet::new(config).is_err());
}
