//! Several listeners of one stream of heartbeats, each with a threshold of its own.
//!
//! A consensus group gives a peer up sooner than a cache does. Both read the same samples; what differs is how unlikely the
//! silence has to be before they act (Hayashibara et al., section 2.1: monitoring is apart from interpretation). Nobody polls:
//! [`Listeners::poll_timeout`] says when the next threshold is reached if no heartbeat comes before.

use std::time::Duration;

use crate::detector::PhiDetector;

/// What a listener is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice<K> {
    /// Phi has reached this listener's threshold.
    Suspected(K),
    /// A heartbeat has come since: phi is below the threshold again.
    Trusted(K),
}

/// Thresholds and who has chosen them.
#[derive(Debug, Clone, PartialEq)]
pub struct Listeners<K> {
    /// By ascending threshold.
    listeners: Vec<Listener<K>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Listener<K> {
    threshold: f64,
    key: K,
    is_told: bool,
}

impl<K> Default for Listeners<K> {
    fn default() -> Self {
        Self { listeners: Vec::new() }
    }
}

impl<K: Copy + PartialEq> Listeners<K> {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a listener, or gives one that is there another threshold; it is then told anew. A threshold that is not finite is
    /// never reached.
    pub fn set(&mut self, key: K, threshold: f64) {
        self.remove(key);
        let threshold = if threshold.is_nan() { f64::INFINITY } else { threshold };
        let at = self.listeners.partition_point(|other| other.threshold <= threshold);
        self.listeners.insert(at, Listener { threshold, key, is_told: false });
    }

    /// Removes a listener, without another word to it.
    pub fn remove(&mut self, key: K) {
        self.listeners.retain(|other| other.key != key);
    }

    /// When [`Listeners::poll`] has something to tell if no heartbeat comes before. `None` where nobody waits for anything.
    pub fn poll_timeout(&self, detector: &PhiDetector) -> Option<Duration> {
        self.listeners.iter().find(|listener| !listener.is_told)?.deadline(detector)
    }

    /// The next notice: call it after a heartbeat and when the timeout is over, until it gives `None`. First those are told that
    /// trust again, the highest threshold first; then those that suspect, the lowest first.
    pub fn poll(&mut self, detector: &PhiDetector, now: Duration) -> Option<Notice<K>> {
        let is_reached = |listener: &Listener<K>| listener.deadline(detector).is_some_and(|deadline| deadline <= now);
        let calmed = self.listeners.iter_mut().rev().find(|listener| listener.is_told && !is_reached(listener));
        if let Some(listener) = calmed {
            listener.is_told = false;
            return Some(Notice::Trusted(listener.key));
        }
        let next = self.listeners.iter_mut().find(|listener| !listener.is_told)?;
        next.is_told = is_reached(next);
        next.is_told.then_some(Notice::Suspected(next.key))
    }
}

impl<K> Listener<K> {
    fn deadline(&self, detector: &PhiDetector) -> Option<Duration> {
        detector.deadline(self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Config;

    const SECOND: Duration = Duration::from_secs(1);

    fn notices(
        listeners: &mut Listeners<&'static str>,
        detector: &PhiDetector,
        now: Duration,
    ) -> Vec<Notice<&'static str>> {
        std::iter::from_fn(|| listeners.poll(detector, now)).collect()
    }

    #[test]
    fn each_is_told_once_at_its_own_threshold_and_again_when_trust_returns() {
        let mut detector = PhiDetector::new(Config::default(), Duration::ZERO);
        for beat in 1..=60 {
            detector.heartbeat(beat * SECOND, None);
        }
        let mut listeners = Listeners::new();
        listeners.set("membership", 8.0);
        listeners.set("consensus", 5.0);
        listeners.set("reads", 3.0);
        let mut told = Vec::new();
        while let Some(at) = listeners.poll_timeout(&detector) {
            let fresh = notices(&mut listeners, &detector, at);
            assert!(detector.phi(at) >= [3.0, 5.0, 8.0][told.len()] - 1e-9);
            told.extend(fresh);
        }
        assert_eq!(told, ["reads", "consensus", "membership"].map(Notice::Suspected));
        let now = 80 * SECOND;
        assert_eq!(notices(&mut listeners, &detector, now), []);
        detector.heartbeat(now, None);
        let calm = notices(&mut listeners, &detector, now);
        assert_eq!(calm, ["membership", "consensus", "reads"].map(Notice::Trusted));
        assert!(listeners.poll_timeout(&detector) > Some(now));
    }

    #[test]
    fn a_listener_may_come_change_and_go_at_any_time() {
        let detector = PhiDetector::new(Config::default(), Duration::ZERO);
        let now = 100 * SECOND;
        let mut listeners = Listeners::new();
        listeners.set("a", 8.0);
        assert_eq!(notices(&mut listeners, &detector, now), [Notice::Suspected("a")]);
        listeners.set("b", 2.0);
        assert_eq!(notices(&mut listeners, &detector, now), [Notice::Suspected("b")], "below one that was told");
        listeners.set("a", f64::MAX);
        listeners.set("c", f64::NAN);
        assert_eq!(notices(&mut listeners, &detector, now), [], "never reached");
        assert_eq!(listeners.poll_timeout(&detector), None);
        listeners.remove("b");
        listeners.set("a", 1.0);
        assert_eq!(notices(&mut listeners, &detector, now), [Notice::Suspected("a")]);
    }

    proptest! {
        /// Whatever the stream does, a listener stands as suspecting exactly while phi is at or above its threshold.
        #[test]
        fn notices_follow_phi(
            gaps in prop::collection::vec(1u64..20_000, 1..60),
            thresholds in prop::collection::vec(0.5f64..12.0, 1..6),
        ) {
            let mut now = Duration::ZERO;
            let mut detector = PhiDetector::new(Config::default(), now);
            let mut listeners = Listeners::new();
            (0..thresholds.len()).for_each(|key| listeners.set(key, thresholds[key]));
            let mut suspects = vec![false; thresholds.len()];
            for gap in gaps {
                now += Duration::from_millis(gap);
                for is_beat in [false, true] {
                    if is_beat {
                        detector.heartbeat(now, None);
                    }
                    while let Some(notice) = listeners.poll(&detector, now) {
                        let (key, is_suspect) = match notice {
                            Notice::Suspected(key) => (key, true),
                            Notice::Trusted(key) => (key, false),
                        };
                        prop_assert_ne!(suspects[key], is_suspect, "told once");
                        suspects[key] = is_suspect;
                    }
                    for (threshold, is_suspect) in thresholds.iter().zip(&suspects) {
                        let reached = detector.deadline(*threshold).is_some_and(|at| at <= now);
                        prop_assert_eq!(*is_suspect, reached);
                    }
                }
            }
        }
    }
}
