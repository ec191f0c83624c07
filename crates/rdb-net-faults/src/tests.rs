//! What a link does, and that one seed is one run.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::{LinkFaults, Network, Pipe, Sent};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn datagrams(link: LinkFaults, seed: u64, count: usize) -> Vec<Vec<Duration>> {
    let mut network = Network::new(link, seed);
    (0..count).map(|_| network.datagram(Duration::ZERO, &1, &2, 100)).collect()
}

/// That this share of a thousand is between 200 and 300, where a quarter was asked for.
#[track_caller]
fn is_a_quarter(count: usize) {
    assert!((200..300).contains(&count), "{count} of 1,000");
}

const ROUGH: LinkFaults = LinkFaults {
    latency: ms(5),
    jitter: ms(10),
    loss: 0.25,
    duplication: 0.25,
    reordering: 0.25,
    reordering_delay: ms(100),
    ..LinkFaults::NONE
};

#[test]
fn one_seed_is_one_run() {
    assert_eq!(datagrams(ROUGH, 1, 1000), datagrams(ROUGH, 1, 1000));
    assert_ne!(datagrams(ROUGH, 1, 1000), datagrams(ROUGH, 2, 1000));
}

#[test]
fn a_link_without_faults_passes_everything_once_and_at_once() {
    assert!(datagrams(LinkFaults::NONE, 1, 100).iter().all(|copies| copies == &[Duration::ZERO]));
    assert_eq!(LinkFaults::NONE, LinkFaults::default());
}

#[test]
fn shares_are_kept() {
    let only = |loss, duplication| LinkFaults { loss, duplication, ..LinkFaults::NONE };
    is_a_quarter(datagrams(only(0.25, 0.0), 3, 1000).iter().filter(|copies| copies.is_empty()).count());
    is_a_quarter(datagrams(only(0.0, 0.25), 3, 1000).iter().filter(|copies| copies.len() == 2).count());
    assert!(datagrams(only(1.0, 1.0), 3, 1000).iter().all(Vec::is_empty));
    let held_up = LinkFaults { reordering: 0.25, reordering_delay: ms(100), ..LinkFaults::NONE };
    is_a_quarter(datagrams(held_up, 3, 1000).iter().filter(|copies| copies[0] > Duration::ZERO).count());
}

#[test]
fn delays_stay_in_their_bounds_and_use_them() {
    let delays: Vec<Duration> = datagrams(ROUGH, 4, 1000).into_iter().flatten().collect();
    assert!(delays.iter().all(|delay| (ms(5)..=ms(115)).contains(delay)));
    assert!(delays.iter().any(|delay| *delay < ms(6)) && delays.iter().any(|delay| *delay > ms(90)));
}

#[test]
fn a_loss_in_a_stream_is_a_delay_that_doubles() {
    let mut network = Network::new(LinkFaults { loss: 0.5, ..LinkFaults::NONE }, 5);
    let steps: Vec<Duration> = (0..7).map(|losses| ms(200) * ((1 << losses) - 1)).collect();
    let mut seen = [0; 7];
    for _ in 0..1000 {
        let delay = network.segment(Duration::ZERO, &1, &2, 100);
        let losses = steps.iter().position(|step| *step == delay).expect("a number of retransmissions");
        seen[losses] += 1;
    }
    assert!(seen[..4].is_sorted_by(|fewer, more| fewer > more) && seen[6] > 0, "{seen:?}");
}

#[test]
fn a_link_has_its_own_faults_in_one_direction() {
    let mut network = Network::new(LinkFaults::NONE, 6);
    network.set_link(1, 2, LinkFaults { latency: ms(7), ..LinkFaults::NONE });
    assert_eq!(network.segment(Duration::ZERO, &1, &2, 1), ms(7));
    assert_eq!(network.segment(Duration::ZERO, &2, &1, 1), Duration::ZERO);
    network.default_link().latency = ms(1);
    assert_eq!(network.segment(Duration::ZERO, &2, &1, 1), ms(1));
    assert_eq!(network.segment(Duration::ZERO, &1, &2, 1), ms(7));
}

#[test]
fn a_cut_is_of_one_direction_and_changes_nothing_else() {
    let run = |cut: bool| {
        let mut network = Network::new(ROUGH, 7);
        let mut arrived = Vec::new();
        for round in 0..100 {
            if cut && round == 20 {
                network.cut(1, 2);
            }
            if cut && round == 40 {
                network.mend(1, 2);
            }
            let there = network.datagram(Duration::ZERO, &1, &2, 100);
            let back = network.segment(Duration::ZERO, &2, &1, 100);
            arrived.push((there, back));
        }
        arrived
    };
    let (whole, cut) = (run(false), run(true));
    assert!(cut[20..40].iter().all(|(there, _)| there.is_empty()));
    assert!(whole[20..40].iter().any(|(there, _)| !there.is_empty()));
    for (round, (whole, cut)) in whole.iter().zip(&cut).enumerate() {
        assert!(whole.1 == cut.1 && (whole.0 == cut.0 || (20..40).contains(&round)), "round {round}");
    }
}

#[test]
fn bandwidth_makes_the_next_wait_for_the_one_before() {
    let slow = LinkFaults { bytes_per_second: NonZeroU64::new(1000), latency: ms(3), ..LinkFaults::NONE };
    let mut network = Network::new(slow, 8);
    assert_eq!(network.segment(ms(0), &1, &2, 100), ms(103));
    assert_eq!(network.segment(ms(0), &1, &2, 100), ms(203));
    assert_eq!(network.segment(ms(0), &2, &1, 100), ms(103), "the other direction is another link");
    assert_eq!(network.segment(ms(150), &1, &2, 100), ms(153));
    assert_eq!(network.segment(ms(900), &1, &2, 100), ms(103), "an idle link saves nothing up");
    assert_eq!(network.datagram(ms(900), &1, &2, 100), [ms(203)]);
}

#[test]
fn a_pipe_keeps_the_order() {
    let mut pipe = Pipe::default();
    assert_eq!(pipe.send(ms(0), ms(9), true, 'a'), Sent::Arrives { at: ms(9), piece: 'a' });
    assert_eq!(pipe.send(ms(1), ms(2), true, 'b'), Sent::Arrives { at: ms(9), piece: 'b' });
    assert_eq!(pipe.send(ms(9), ms(2), true, 'c'), Sent::Arrives { at: ms(11), piece: 'c' });
}

#[test]
fn a_pipe_holds_what_does_not_pass_and_what_comes_behind_it() {
    let mut pipe = Pipe::default();
    assert_eq!(pipe.held_since(), None);
    assert_eq!(pipe.send(ms(5), ms(1), false, 'a'), Sent::Held { is_first: true });
    assert_eq!(pipe.send(ms(6), ms(1), true, 'b'), Sent::Held { is_first: false });
    assert_eq!(pipe.held_since(), Some(ms(5)));
    assert_eq!(pipe.take_held(), ['a', 'b']);
    assert_eq!(pipe.held_since(), None);
    assert_eq!(pipe.send(ms(7), ms(1), true, 'a'), Sent::Arrives { at: ms(8), piece: 'a' });
}
