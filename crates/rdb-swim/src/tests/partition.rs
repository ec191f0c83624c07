//! Partitions heal by themselves.

use super::network::{Network, ms, secs};
use crate::Event;

#[test]
fn a_partition_heals_into_one_view() {
    for (n, cut, seed) in [(2, 1, 400), (5, 2, 401), (10, 5, 402), (20, 3, 403)] {
        let mut net = Network::cluster_of(n, seed);
        let (left, right): (Vec<usize>, Vec<usize>) = ((0..cut).collect(), (cut..n).collect());
        net.part(&left, &right, true);
        net.run(secs(60));
        let failed = net.count(|event| matches!(event, Event::Failed(_)));
        assert_eq!(failed, 2 * cut * (n - cut), "each side gives the other up, once");
        net.part(&left, &right, false);
        net.forget_events();
        let took = net.run_until(secs(20), "one view", |net| net.agrees(n));
        assert!(took > ms(0));
        assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0, "healing fails nobody");
        assert_eq!(net.count(|event| matches!(event, Event::Recovered(_))), 2 * cut * (n - cut));
    }
}

#[test]
fn a_link_that_is_cut_one_way_fails_nobody() {
    let mut net = Network::cluster_of(6, 404);
    net.part(&[0], &[1], true);
    net.run(secs(120));
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0, "others relay the pings");
}

#[test]
fn healing_comes_to_an_end() {
    let mut net = Network::cluster_of(10, 405);
    net.part(&[0, 1, 2, 3, 4], &[5, 6, 7, 8, 9], true);
    net.run(secs(60));
    net.part(&[0, 1, 2, 3, 4], &[5, 6, 7, 8, 9], false);
    net.run(secs(60));
    let before = net.packets;
    net.run(secs(10));
    assert!(net.packets - before <= 200, "nobody quarrels on: {}", net.packets - before);
}
