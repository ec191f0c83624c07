//! The detector against a virtual clock: the properties P1 to P5, the scales of its models, and its edges.

use proptest::prelude::*;
use rdb_net_types::SeededRandom;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Without pause and with a deviation of a tenth of the mean, so that times are easy to work out.
fn bare(model: Model) -> Config {
    Config { model, acceptable_pause: Duration::ZERO, deviation_min: ms(1), ..Config::default() }
}

/// A detector after beats at these intervals, and the time of the last one.
fn fed(config: Config, intervals: &[Duration]) -> (PhiDetector, Duration) {
    let mut now = Duration::ZERO;
    let mut detector = PhiDetector::new(config, now);
    for interval in intervals {
        now += *interval;
        detector.heartbeat(now, None);
    }
    (detector, now)
}

fn any_model() -> impl Strategy<Value = Model> {
    prop_oneof![Just(Model::Normal), Just(Model::Exponential)]
}

fn any_config() -> impl Strategy<Value = Config> {
    (any_model(), 1u64..20_000_000, 0u64..10_000_000, 1u64..2_000_000, 0.0f64..0.5, 1u64..60_000_000).prop_map(
        |(model, first, pause, deviation, fraction, max)| Config {
            model,
            first_interval: Duration::from_micros(first),
            acceptable_pause: Duration::from_micros(pause),
            deviation_min: Duration::from_micros(deviation),
            deviation_min_fraction: fraction,
            max_interval: Duration::from_micros(max),
        },
    )
}

fn any_intervals() -> impl Strategy<Value = Vec<Duration>> {
    let interval = prop_oneof![Just(0u64), 1u64..3_000, 900_000u64..1_100_000, 1u64..30_000_000];
    prop::collection::vec(interval.prop_map(Duration::from_micros), 0..300)
}

proptest! {
    /// P1: finite and zero or above, never falling with silence, and no more than even odds right after a beat.
    #[test]
    fn phi_is_finite_grows_with_silence_and_drops_on_a_beat(
        config in any_config(),
        intervals in any_intervals(),
        mut silences in prop::collection::vec(0u64..100_000_000, 1..20),
    ) {
        let (mut detector, last) = fed(config, &intervals);
        silences.sort_unstable();
        let mut before = 0.0;
        for silence in silences {
            let phi = detector.phi(last + Duration::from_micros(silence));
            prop_assert!(phi.is_finite() && phi >= before, "{phi} after {before}");
            before = phi;
        }
        prop_assert!(detector.phi(Duration::MAX).is_finite());
        let beat = last + 100 * SECOND;
        detector.heartbeat(beat, None);
        prop_assert!(detector.phi(beat) <= 2f64.log10());
    }

    /// P2: at the deadline phi has just reached the threshold: not below it, and two nanoseconds earlier not above it.
    #[test]
    fn the_deadline_is_the_moment_when_phi_reaches_the_threshold(
        config in any_config(),
        intervals in any_intervals(),
        threshold in 0.001f64..100.0,
    ) {
        let (detector, last) = fed(config, &intervals);
        let deadline = detector.deadline(threshold).expect("finite");
        prop_assert!(deadline >= last);
        prop_assert!(detector.phi(deadline) >= threshold - 1e-9);
        if deadline > last {
            prop_assert!(detector.phi(deadline - Duration::from_nanos(2)) <= threshold + 1e-9);
        }
    }

    /// P3: all times `c` times as long give the same phi, by either model. A factor above 71 would take the longest interval here past
    /// what can be counted.
    #[test]
    fn phi_has_no_scale_of_time(
        model in any_model(),
        intervals in any_intervals(),
        silence in 0u64..60_000_000,
        c in 2u32..50,
    ) {
        let config = Config { model, max_interval: 60 * SECOND, ..Config::default() };
        let scaled = Config {
            first_interval: config.first_interval * c,
            acceptable_pause: config.acceptable_pause * c,
            deviation_min: config.deviation_min * c,
            max_interval: config.max_interval * c,
            ..config
        };
        let silence = Duration::from_micros(silence);
        let (plain, last) = fed(config, &intervals);
        // The microsecond that a mean has at the least is the same on any scale.
        prop_assume!(plain.stats().mean > Duration::from_micros(1));
        let slow: Vec<Duration> = intervals.iter().map(|interval| *interval * c).collect();
        let (slow, slow_last) = fed(scaled, &slow);
        let (a, b) = (plain.phi(last + silence), slow.phi(slow_last + silence * c));
        prop_assert!((a - b).abs() <= 1e-9 * (1.0 + a), "{a} and {b}");
    }

    /// P5: a sequence number that is not new, whether repeated or late, leaves everything but its counter as it was.
    #[test]
    fn a_beat_that_came_before_is_a_no_op(intervals in any_intervals(), again in prop::collection::vec(any::<prop::sample::Index>(), 300)) {
        let mut now = Duration::ZERO;
        let mut once = PhiDetector::new(Config::default(), now);
        let mut twice = once.clone();
        for (i, (interval, again)) in intervals.iter().zip(&again).enumerate() {
            now += *interval;
            let sequence = i as u64;
            prop_assert!(once.heartbeat(now, Some(sequence)));
            prop_assert!(twice.heartbeat(now, Some(sequence)));
            prop_assert!(!twice.heartbeat(now + ms(300), Some(again.index(i + 1) as u64)));
            prop_assert_eq!(once.phi(now + SECOND), twice.phi(now + SECOND));
            prop_assert_eq!(once.deadline(8.0), twice.deadline(8.0));
        }
        prop_assert_eq!(twice.stats().stale, intervals.len() as u64);
        prop_assert_eq!(twice.stats(), Statistics { stale: twice.stats().stale, ..once.stats() });
    }
}

#[test]
fn exponential_phi_is_on_the_scale_of_cassandra() {
    let (detector, last) = fed(bare(Model::Exponential), &[SECOND; 200]);
    assert_eq!(detector.phi(last), 0.0);
    // Cassandra convicts at threshold 8 after 18.42 mean intervals.
    assert!((detector.phi(last + ms(18_420)) - 8.0).abs() < 1e-3);
    let deadline = detector.deadline(8.0).expect("finite") - last;
    assert!((ms(18_420)..ms(18_421)).contains(&deadline), "{deadline:?}");
    // Chitchat's 8 is eight mean intervals.
    assert!((detector.phi(last + 8 * SECOND) - 3.474).abs() < 1e-3);
}

#[test]
fn normal_phi_counts_deviations_beyond_mean_and_pause() {
    let config = Config { acceptable_pause: 3 * SECOND, ..bare(Model::Normal) };
    let (detector, last) = fed(config, &[SECOND; 200]);
    // The deviation of a perfectly regular stream is the least one: a tenth of the mean.
    assert_eq!(detector.stats().deviation, ms(100));
    assert!((detector.phi(last + 4 * SECOND) - 2f64.log10()).abs() < 1e-9);
    assert!((detector.phi(last + ms(4_600)) - 9.005_864).abs() < 1e-5);
}

#[test]
fn a_stream_that_never_starts_is_found_out() {
    let start = 5 * SECOND;
    let detector = PhiDetector::new(Config::default(), start);
    assert!(detector.phi(start + SECOND) < 0.01);
    assert!(detector.phi(start + 10 * SECOND) > 8.0);
    let stats = detector.stats();
    assert_eq!((stats.samples, stats.mean, stats.deviation), (2, SECOND, ms(250)));
}

#[test]
fn the_window_adapts_to_a_slower_stream_and_one_long_silence_does_not_blind_it() {
    let (mut detector, mut now) = fed(bare(Model::Normal), &[SECOND; 128]);
    assert!(detector.phi(now + 3 * SECOND) > 8.0);
    for _ in 0..128 {
        now += 3 * SECOND;
        detector.heartbeat(now, None);
    }
    assert!(detector.phi(now + 3 * SECOND) < 0.5);
    now += 100_000 * SECOND;
    detector.heartbeat(now, None);
    let stats = detector.stats();
    assert_eq!(stats.clipped, 1);
    assert!(stats.mean < ms(3_100), "a hundred thousand seconds count as ten");
    assert!(detector.phi(now + 15 * SECOND) > 8.0);
}

#[test]
fn a_clock_that_steps_back_stands_still() {
    let (mut detector, last) = fed(Config::default(), &[SECOND; 10]);
    let at_last = detector.phi(last);
    assert_eq!(detector.phi(last - 5 * SECOND), at_last);
    detector.heartbeat(last - 5 * SECOND, None);
    assert_eq!(detector.deadline(-1.0), Some(last));
}

#[test]
fn a_new_life_starts_with_an_empty_window_and_any_sequence() {
    let (mut detector, last) = fed(Config::default(), &[ms(10); 200]);
    detector.heartbeat(last, Some(1_000_000));
    assert!(!detector.heartbeat(last + SECOND, Some(1)));
    detector.reset(last + SECOND);
    assert_eq!(detector.stats(), PhiDetector::new(Config::default(), last).stats());
    assert!(detector.heartbeat(last + 2 * SECOND, Some(1)));
}

#[test]
fn thresholds_at_the_edges() {
    let (detector, last) = fed(Config::default(), &[SECOND; 10]);
    assert_eq!(detector.deadline(f64::NAN), None);
    assert_eq!(detector.deadline(f64::INFINITY), None);
    assert_eq!(detector.deadline(f64::MAX), None);
    assert_eq!(detector.deadline(0.0), Some(last));
    assert_eq!(detector.trust(last + SECOND, 0.0), 0.0);
    assert!(detector.trust(last + SECOND, 8.0) > 0.999);
    assert_eq!(detector.trust(last + 60 * SECOND, 8.0), 0.0);
    let deadline = detector.deadline(4.0).expect("finite");
    assert!((detector.trust(deadline, 8.0) - 0.5).abs() < 1e-6);
}

#[test]
fn settings_out_of_range_are_taken_as_the_end_of_the_range() {
    let wild = Config {
        first_interval: Duration::MAX,
        acceptable_pause: Duration::MAX,
        deviation_min: Duration::ZERO,
        deviation_min_fraction: f64::NAN,
        max_interval: Duration::MAX,
        ..Config::default()
    };
    let mut detector = PhiDetector::new(wild, Duration::ZERO);
    for second in 0..300 {
        detector.heartbeat(second * SECOND, None);
    }
    assert!(detector.phi(Duration::MAX).is_finite());
    assert!(detector.deadline(8.0).expect("finite") > 3600 * SECOND);
}

/// The shape of the curve of the paper (figure 8): a higher threshold makes fewer mistakes and finds a crash later.
#[test]
fn a_higher_threshold_makes_fewer_mistakes_and_detects_later() {
    let config = Config { first_interval: ms(100), deviation_min: ms(1), ..bare(Model::Normal) };
    let mut random = SeededRandom::new(2004);
    let (mut detector, mut now) = fed(config, &[]);
    let thresholds = [0.5, 1.0, 2.0, 4.0, 8.0];
    let mut mistakes = [0u32; 5];
    for _ in 0..50_000 {
        let lost = random.chance(0.004);
        let interval = random.duration(ms(90), ms(110)) * if lost { 2 } else { 1 };
        for (mistakes, threshold) in mistakes.iter_mut().zip(thresholds) {
            *mistakes += u32::from(detector.phi(now + interval) >= threshold);
        }
        now += interval;
        detector.heartbeat(now, None);
    }
    assert!(mistakes.is_sorted_by(|a, b| a >= b), "{mistakes:?}");
    assert!(mistakes[0] > 100 * mistakes[4].max(1) / 4, "{mistakes:?}");
    let detection: Vec<Duration> = thresholds.iter().map(|t| detector.deadline(*t).expect("finite") - now).collect();
    assert!(detection.is_sorted_by(|a, b| a < b) && detection[4] < ms(300), "{detection:?}");
}

#[test]
fn a_detector_is_small() {
    assert!(size_of::<PhiDetector>() <= 720, "{}", size_of::<PhiDetector>());
}
