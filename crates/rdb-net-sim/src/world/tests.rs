//! What a world does to hosts and links, and that one seed is one run.

use std::time::Duration;

use super::{Birth, LinkFaults, Machine, World, WorldConfig};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Ten milliseconds, always.
const STEADY: LinkFaults = LinkFaults { latency: ms(10), ..LinkFaults::NONE };

/// Writes down what comes and when, sends what it is told to, and ticks once a second.
struct Notes {
    birth: Birth,
    heard: Vec<(Duration, usize, u8)>,
    ages: Vec<Duration>,
    ticks: Vec<Duration>,
    to_send: Vec<(usize, u8)>,
    tick: Duration,
}

impl Notes {
    fn new(birth: &Birth) -> Self {
        let (heard, ages, ticks, to_send) = Default::default();
        Self { birth: *birth, heard, ages, ticks, to_send, tick: Duration::from_secs(1) }
    }

    fn heard(&self) -> Vec<u8> {
        self.heard.iter().map(|(_, _, number)| *number).collect()
    }
}

impl Machine for Notes {
    fn handle_packet(&mut self, now: Duration, from: usize, bytes: &[u8]) {
        self.heard.push((now - self.birth.now, from, bytes[0]));
    }

    fn poll_transmit(&mut self, _: Duration, bytes: &mut Vec<u8>) -> Option<usize> {
        assert!(bytes.is_empty());
        let (to, number) = if self.to_send.is_empty() { return None } else { self.to_send.remove(0) };
        bytes.push(number);
        Some(to)
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.birth.now + self.tick * (self.ticks.len() as u32 + 1))
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.ticks.push(now - self.birth.now);
    }

    fn note_ingress_age(&mut self, _: Duration, age: Duration) {
        self.ages.push(age);
    }
}

fn world(hosts: usize, network: LinkFaults) -> World<Notes> {
    let mut world = World::new(WorldConfig { network, ..WorldConfig::lan(hosts, 7) }, Notes::new);
    world.start_all();
    world
}

fn say(world: &mut World<Notes>, from: usize, to: usize, numbers: impl IntoIterator<Item = u8>) {
    world.with(from, |notes, _| notes.to_send.extend(numbers.into_iter().map(|number| (to, number))));
}

#[track_caller]
fn notes(world: &World<Notes>, host: usize) -> &Notes {
    world.machine(host).expect("it runs")
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let run = |seed| {
        let mut world = World::new(WorldConfig::lan(4, seed), Notes::new);
        world.set_links(LinkFaults { loss: 0.2, duplication: 0.2, reordering: 0.2, ..LinkFaults::wan() });
        world.start_all();
        for number in 0..50 {
            let (from, to) = (world.random().index(4), world.random().index(4));
            say(&mut world, from, to, [number]);
            world.run_for(ms(100));
        }
        world.restart(2);
        (world.trace(), world.traffic(), world.steps(), notes(&world, 2).birth.seed)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn what_is_sent_arrives_once_in_order_and_in_time() {
    let mut world = world(2, STEADY);
    say(&mut world, 0, 1, [1, 2, 3]);
    world.run_for(ms(9));
    assert_eq!(notes(&world, 1).heard, []);
    world.run_for(ms(1));
    assert_eq!(notes(&world, 1).heard, [1, 2, 3].map(|number| (ms(10), 0, number)));
    assert_eq!((world.traffic().packets, world.traffic().taken, world.traffic().lost), (3, 3, 0));
}

#[test]
fn a_cut_one_way_is_one_way() {
    let mut world = world(2, STEADY);
    world.cut_one_way(0, 1);
    say(&mut world, 0, 1, [1]);
    say(&mut world, 1, 0, [2]);
    world.run_for(ms(100));
    assert_eq!((notes(&world, 1).heard(), notes(&world, 0).heard()), (vec![], vec![2]));
    world.mend_one_way(0, 1);
    say(&mut world, 0, 1, [3]);
    world.run_for(ms(100));
    assert_eq!(notes(&world, 1).heard(), [3]);
}

#[test]
fn nothing_passes_between_two_groups_and_everything_within_them() {
    let mut world = world(4, STEADY);
    let everybody_says = |world: &mut World<Notes>, number| {
        (0..4).for_each(|from| (0..4).filter(|to| *to != from).for_each(|to| say(world, from, to, [number])));
        world.run_for(ms(100));
    };
    world.cut(&[0, 1], &[2, 3]);
    everybody_says(&mut world, 1);
    let heard_from: Vec<Vec<usize>> =
        world.machines().map(|(_, notes)| notes.heard.iter().map(|(_, from, _)| *from).collect()).collect();
    assert_eq!(heard_from, [[1], [0], [3], [2]]);
    world.mend(&[0, 1], &[2, 3]);
    everybody_says(&mut world, 2);
    assert!(world.machines().all(|(_, notes)| notes.heard() == [1, 2, 2, 2]));
}

#[test]
fn a_link_that_loses_loses_its_share_and_the_others_nothing() {
    let mut world = world(3, STEADY);
    world.set_link(0, 1, LinkFaults { loss: 0.3, ..STEADY });
    say(&mut world, 0, 1, [1; 1_000]);
    say(&mut world, 1, 0, [1; 1_000]);
    say(&mut world, 0, 2, [1; 1_000]);
    world.run_for(ms(100));
    let lost = 1_000 - notes(&world, 1).heard.len();
    assert!((240..=360).contains(&lost) && world.traffic().lost == lost as u64, "{lost}");
    assert_eq!((notes(&world, 0).heard.len(), notes(&world, 2).heard.len()), (1_000, 1_000));
}

#[test]
fn a_link_that_doubles_delivers_twice() {
    let mut world = world(2, LinkFaults { duplication: 1.0, ..STEADY });
    say(&mut world, 0, 1, [1, 2]);
    world.run_for(ms(100));
    assert_eq!(notes(&world, 1).heard(), [1, 1, 2, 2]);
    assert_eq!((world.traffic().packets, world.traffic().taken), (2, 4));
}

#[test]
fn a_link_that_reorders_lets_later_packets_overtake() {
    let mut world = world(2, LinkFaults { reordering: 0.2, reordering_delay: ms(50), ..STEADY });
    say(&mut world, 0, 1, 0..200);
    world.run_for(ms(100));
    let heard = notes(&world, 1).heard();
    let mut sorted = heard.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..200).collect::<Vec<u8>>());
    let held_up = notes(&world, 1).heard.iter().filter(|(at, _, _)| *at > ms(10)).count();
    assert!((20..=60).contains(&held_up) && heard != sorted, "{held_up} of 200");
}

#[test]
fn a_link_with_jitter_takes_between_its_least_and_its_most_time() {
    let mut world = world(2, LinkFaults { jitter: ms(20), ..STEADY });
    say(&mut world, 0, 1, [1; 500]);
    world.run_for(ms(100));
    let took: Vec<Duration> = notes(&world, 1).heard.iter().map(|(at, _, _)| *at).collect();
    assert!(took[0] < ms(11) && took[499] > ms(29) && took[499] <= ms(30), "{:?} to {:?}", took[0], took[499]);
}

#[test]
fn a_paused_host_gets_its_packets_later_and_then_does_what_was_due() {
    let mut world = world(2, STEADY);
    world.pause(1);
    say(&mut world, 0, 1, [1, 2]);
    world.run_for(ms(2_500));
    assert_eq!(world.with(1, |_, _| ()), None, "it does nothing that it is told");
    assert!(notes(&world, 1).heard.is_empty() && notes(&world, 1).ticks.is_empty());
    world.wake(1);
    assert_eq!(notes(&world, 1).heard, [1, 2].map(|number| (ms(2_500), 0, number)));
    assert_eq!(notes(&world, 1).ages, [ms(2_490); 2], "it may see that they are old");
    world.run_for(ms(600));
    assert_eq!(notes(&world, 1).ticks, [2_500, 2_500, 3_000].map(ms));
}

#[test]
fn a_host_holds_no_more_for_a_paused_machine_than_its_buffer_does() {
    let config = WorldConfig { network: STEADY, buffer_bytes: 2, ..WorldConfig::lan(2, 1) };
    let mut world = World::new(config, Notes::new);
    world.start_all();
    world.pause(1);
    say(&mut world, 0, 1, 1..=5);
    world.run_for(ms(100));
    world.wake(1);
    assert_eq!((notes(&world, 1).heard(), world.traffic().overflowed), (vec![1, 2], 3));
    say(&mut world, 0, 1, [6]);
    world.run_for(ms(100));
    assert_eq!(notes(&world, 1).heard(), [1, 2, 6]);
}

/// Lifeguard's anomaly.
#[test]
fn nothing_gets_in_or_out_of_a_slow_host_until_it_catches_up_and_its_timers_go_on() {
    let mut world = world(2, STEADY);
    world.slow_down(1);
    say(&mut world, 0, 1, [1]);
    say(&mut world, 1, 0, [2]);
    world.run_for(ms(1_500));
    assert_eq!((notes(&world, 1).heard(), notes(&world, 0).heard()), (vec![], vec![]));
    assert_eq!(notes(&world, 1).ticks, [ms(1_000)]);
    world.catch_up(1);
    assert_eq!((notes(&world, 1).heard(), &notes(&world, 1).ages), (vec![1], &vec![ms(1_490)]));
    world.run_for(ms(100));
    assert_eq!(notes(&world, 0).heard, [(ms(1_510), 1, 2)]);
}

#[test]
fn a_host_with_slow_processing_takes_packets_late_and_one_after_the_other() {
    let mut world = world(2, STEADY);
    world.set_processing(1, ms(300));
    say(&mut world, 0, 1, [1, 2, 3, 4]);
    world.run_for(ms(2_000));
    let heard: Vec<Duration> = notes(&world, 1).heard.iter().map(|(at, _, _)| *at).collect();
    assert_eq!(heard, [310, 610, 910, 1_210].map(ms));
    assert_eq!(notes(&world, 1).ages, [300, 600, 900].map(ms), "the first one was taken up at once");
    assert_eq!(notes(&world, 1).ticks, [1_210, 2_000].map(ms), "what is due waits for the packet at hand");
    world.set_processing(1, Duration::ZERO);
    say(&mut world, 0, 1, [5]);
    world.run_for(ms(100));
    assert_eq!(notes(&world, 1).heard.last(), Some(&(ms(2_010), 0, 5)));
}

#[test]
fn a_drifting_clock_makes_what_is_due_come_early_or_late() {
    let mut world = world(3, STEADY);
    world.set_drift(1, 100_000);
    world.set_drift(2, -100_000);
    world.run_for(Duration::from_secs(10));
    let ticks: Vec<usize> = world.machines().map(|(_, notes)| notes.ticks.len()).collect();
    assert_eq!(ticks, [10, 11, 9]);
    let off_by = |host| world.clock(host).as_secs_f64() - world.now().as_secs_f64();
    assert_eq!([0, 1, 2].map(|host| off_by(host).round()), [0.0, 1.0, -1.0]);
    assert_eq!(notes(&world, 1).ticks[4], ms(5_000), "to the machine its own clock is right");
}

#[test]
fn a_clock_that_is_set_shows_that_and_what_is_due_follows_it() {
    let mut world = world(2, STEADY);
    let shown = world.clock(0);
    world.set_clock(0, shown + ms(5_500));
    world.set_clock(1, shown - ms(5_500));
    world.run_for(ms(1_000));
    assert_eq!([0, 1].map(|host| notes(&world, host).ticks.len()), [6, 0]);
    assert_eq!(world.with(1, |_, now| now), Some(shown - ms(4_500)));
    world.run_for(ms(5_500));
    assert_eq!(notes(&world, 1).ticks.len(), 1);
}

#[test]
fn a_crash_takes_the_state_and_a_restart_makes_another_life() {
    let mut world = world(2, STEADY);
    say(&mut world, 0, 1, [1]);
    world.run_for(ms(1_500));
    let gone = world.crash(1).expect("one has run");
    assert_eq!((gone.heard(), gone.birth.former_lives), (vec![1], 0));
    assert!(world.machine(1).is_none() && world.crash(1).is_none());
    say(&mut world, 0, 1, [2]);
    world.run_for(ms(100));
    assert_eq!(world.traffic().unheard, 1, "nobody takes what comes meanwhile");
    world.restart(1);
    say(&mut world, 0, 1, [3]);
    world.run_for(ms(1_500));
    let now = notes(&world, 1);
    assert_eq!((now.heard(), now.birth.former_lives, &now.ticks), (vec![3], 1, &vec![ms(1_000)]));
    assert_ne!(now.birth.seed, gone.birth.seed);
    // What was stored can be brought along.
    world.start_with(1, |birth| Notes { heard: gone.heard, ..Notes::new(birth) });
    assert_eq!((notes(&world, 1).heard(), notes(&world, 1).birth.former_lives), (vec![1], 2));
}

#[test]
fn a_rule_that_is_broken_tells_seed_time_and_what_happened() {
    let mut world = world(3, STEADY);
    world.always("nobody hears a 9", |world, host| match world.machine(host) {
        Some(notes) if notes.heard().contains(&9) => Err(format!("host {host} has")),
        _ => Ok(()),
    });
    world.at_rest("everybody has heard something", |world| {
        let deaf = world.machines().find(|(_, notes)| notes.heard.is_empty());
        deaf.map_or(Ok(()), |(host, _)| Err(format!("host {host} has not")))
    });
    say(&mut world, 0, 1, [1]);
    world.run_for(ms(100));
    assert_eq!(world.verdict(), Ok(()));
    world.check_at_rest();
    say(&mut world, 0, 2, [9]);
    world.run_for(ms(100));
    let told: Vec<String> = world.breaches().iter().map(ToString::to_string).collect();
    let expected = [
        "seed 7, at 1000.100000 s, everybody has heard something: host 0 has not",
        "seed 7, at 1000.110000 s, nobody hears a 9: host 2 has",
    ];
    assert_eq!(told, expected);
    assert_eq!(world.verdict().map_err(|breach| breach.at), Err(ms(1_000_100)));
}

#[test]
fn waiting_ends_when_the_condition_holds_or_the_limit_passes() {
    let mut world = world(2, STEADY);
    say(&mut world, 0, 1, [1]);
    assert_eq!(world.run_until(ms(100), |world| !notes(world, 1).heard.is_empty()), Some(ms(10)));
    assert_eq!(world.run_until(ms(100), |world| notes(world, 1).heard.len() > 1), None);
    assert_eq!(world.now(), ms(1_000_110));
}

/// Says the same for ever.
struct Babbler;

impl Machine for Babbler {
    fn handle_packet(&mut self, _: Duration, _: usize, _: &[u8]) {}

    fn poll_transmit(&mut self, _: Duration, _: &mut Vec<u8>) -> Option<usize> {
        Some(0)
    }
}

#[test]
fn a_machine_that_sends_for_ever_ends_the_run_with_a_breach() {
    let mut world = World::new(WorldConfig::lan(1, 1), |_| Babbler);
    world.start_all();
    world.run_for(ms(100));
    assert_eq!(world.verdict().map_err(|breach| breach.rule), Err("a step ends"));
    assert_eq!((world.steps(), world.now()), (0, ms(1_000_100)));
}

#[test]
fn a_machine_that_goes_on_for_ever_ends_the_run_with_a_breach() {
    let mut world = world(2, STEADY);
    world.with(1, |notes, _| notes.tick = Duration::ZERO);
    world.run_for(ms(100));
    assert_eq!(world.verdict().map_err(|breach| breach.rule), Err("time moves on"));
    assert_eq!(world.now(), ms(1_000_100));
}

#[test]
fn a_packet_to_a_host_that_there_is_not_is_heard_by_nobody() {
    let mut world = world(2, STEADY);
    say(&mut world, 0, 2, [1]);
    world.run_for(ms(100));
    assert_eq!((world.traffic().unheard, world.traffic().taken), (1, 0));
}
